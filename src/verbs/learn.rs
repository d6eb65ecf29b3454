//! `kagemusha learn`

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use conformance::{
    Kind, Lab, LabError, Operation, Recorded, Recordings, Stage, Take, Variation, learn, learnable, quiet_options,
    record,
};
use control_plane::{Cloud, Lock, StateDir};

use super::{exit, fail, runtime};

/// Learns from real nova-computes what their release does on each RPC.
///
/// Does every operation four times to unmodified nova-computes (fake driver) on the cloud that is up: with and without NICs, and
/// with the hosts' roles and the flavors swapped. What is the same each time is constant; what is not is traced to
/// where it comes from. The result is the release's `procedures.json`. Takes half an hour.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kagemusha learn --out fake-hv/releases/2026.2/procedures.json\n  kagemusha learn \
    --recordings ./recorded --out procedures.json   # goes on where an interrupted one ended"
)]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to write the procedures
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Keep the recordings in this folder; those that it has already are not made again, and when it has all of them no cloud
    /// is needed
    #[arg(long, value_name = "DIR")]
    recordings: Option<PathBuf>,
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
    let folder = tempfile::tempdir()?;
    let kept = args.recordings.clone().unwrap_or_else(|| folder.path().join("recordings"));
    let recordings = Recordings::open(&kept)?;
    let missing = missing(&recordings)?;
    let complete =
        missing.is_empty() || record_missing(args, &recordings, &missing, &folder.path().join("run")).await?;
    if !complete {
        say!("Interrupted: nothing learned");
        return Ok(false);
    }
    let (mut pairs, mut release) = (Vec::new(), String::new());
    for [once, again] in schedule() {
        let (once, again) = (load(&recordings, once)?, load(&recordings, again)?);
        release = once.release;
        let only = |mut recorded: Vec<Recorded>| recorded.remove(0);
        pairs.push((only(once.recorded), only(again.recorded)));
    }
    let lesson = learn(&release, &pairs);
    for left in &lesson.left {
        say!("not understood: {left}");
    }
    let text = serde_json::to_string_pretty(&lesson.procedures).expect("procedures have text keys only");
    fs::write(&args.out, text + "\n")?;
    tell!("{} procedures written to {}", lesson.procedures.procedures.len(), args.out.display());
    Ok(lesson.left.is_empty())
}

type Turn = (&'static Operation, Variation);

/// Every operation with NICs and without, each time twice: with the roles of hosts and flavors swapped the second time.
fn schedule() -> Vec<[Turn; 2]> {
    let with =
        |nics| learnable().map(move |operation| [false, true].map(|swapped| (operation, Variation { nics, swapped })));
    [2, 0].into_iter().flat_map(with).collect()
}

fn missing(recordings: &Recordings) -> Result<Vec<[Turn; 2]>, LabError> {
    let mut missing = Vec::new();
    for turns in schedule() {
        let mut there = true;
        for (operation, variation) in turns {
            there &= recordings.load(operation.name, variation)?.is_some();
        }
        if !there {
            missing.push(turns);
        }
    }
    Ok(missing)
}

fn load(recordings: &Recordings, (operation, variation): Turn) -> Result<Take, LabError> {
    let gone = || std::io::Error::other(format!("the recording of {} has gone", operation.name));
    Ok(recordings.load(operation.name, variation)?.ok_or_else(gone)?)
}

/// Records on the cloud that is up; whether all is there now, or Ctrl-C came before.
async fn record_missing(
    args: &Args,
    recordings: &Recordings,
    missing: &[[Turn; 2]],
    folder: &Path,
) -> Result<bool, LabError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let cloud = Cloud::open(&state)?;
    let _mine = Lock::take(&state)?;
    // Each operation is done in both variations at once, on hypervisors of their own.
    let lab = Lab::open(&cloud, &[Kind::Real, Kind::Real], Stage::Plain, &quiet_options(true), folder).await?;
    let recorded = tokio::select! {
        recorded = record_all(&lab, recordings, missing) => recorded.map(|()| true),
        _ = tokio::signal::ctrl_c() => Ok(false),
    };
    lab.close().await?;
    recorded
}

async fn record_all(lab: &Lab, recordings: &Recordings, missing: &[[Turn; 2]]) -> Result<(), LabError> {
    for [(operation, once), (_, again)] in missing {
        let recorded = record(lab, operation, &[*once, *again]).await?;
        for (variation, recorded) in [*once, *again].into_iter().zip(recorded) {
            let how = recorded.failure.clone().unwrap_or_else(|| "recorded".to_owned());
            say!("{:26} {} NICs: {how}", operation.name, variation.nics);
            let take = Take { release: lab.release().to_owned(), variation, recorded: vec![recorded] };
            recordings.save(operation.name, 1, &take)?;
        }
    }
    Ok(())
}
