//! `kagemusha learn`

use std::{fs, path::PathBuf, process::ExitCode};

use conformance::{Kind, Lab, LabError, OPERATIONS, Recorded, Variation, learn, quiet_options, record};
use control_plane::{Cloud, Lock, StateDir};

use super::{exit, fail, runtime};

/// Learns from real nova-computes what their release does on each RPC.
///
/// Does every operation four times to two unmodified nova-computes (fake driver) on the cloud that is up: with and without
/// NICs, and with the hosts' roles and the flavors swapped. What is the same each time is constant; what is not is traced to
/// where it comes from. The result is the release's `procedures.json`. Takes half an hour.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kagemusha learn --out fake-hv/releases/2026.2/procedures.json")]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to write the procedures
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let learned = runtime().map_err(LabError::from).and_then(|runtime| runtime.block_on(carry_out(args)));
    match learned {
        Ok(true) => ExitCode::from(exit::OK),
        Ok(false) => ExitCode::from(exit::COULD_NOT_RUN),
        Err(error) => fail(&error),
    }
}

/// Whether everything was understood.
async fn carry_out(args: &Args) -> Result<bool, LabError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let cloud = Cloud::open(&state)?;
    let _mine = Lock::take(&state)?;
    let folder = tempfile::tempdir()?;
    let lab = Lab::open(&cloud, &[Kind::Real], &quiet_options(true), &folder.path().join("run")).await?;
    let recorded = tokio::select! {
        recorded = record_all(&lab) => recorded,
        _ = tokio::signal::ctrl_c() => Ok(Vec::new()),
    };
    lab.close().await?;
    let pairs = recorded?;
    if pairs.is_empty() {
        eprintln!("Interrupted: nothing learned");
        return Ok(false);
    }
    let lesson = learn(&cloud.spec.release, &pairs);
    for left in &lesson.left {
        eprintln!("not understood: {left}");
    }
    let text = serde_json::to_string_pretty(&lesson.procedures).expect("procedures have text keys only");
    fs::write(&args.out, text + "\n")?;
    println!("{} procedures written to {}", lesson.procedures.procedures.len(), args.out.display());
    Ok(lesson.left.is_empty())
}

async fn record_all(lab: &Lab) -> Result<Vec<(Recorded, Recorded)>, LabError> {
    let mut pairs = Vec::new();
    for nics in [2, 0] {
        for operation in OPERATIONS {
            let once = record(lab, operation, Variation { nics, swapped: false }).await?.remove(0);
            let again = record(lab, operation, Variation { nics, swapped: true }).await?.remove(0);
            for recorded in [&once, &again] {
                let how = recorded.failure.as_deref().unwrap_or("recorded");
                eprintln!("{:26} {nics} NICs: {how}", operation.name);
            }
            pairs.push((once, again));
        }
    }
    Ok(pairs)
}
