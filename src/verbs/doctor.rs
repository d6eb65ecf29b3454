//! `kagemusha doctor`

use std::{path::PathBuf, process::ExitCode};

use control_plane::{StateDir, UpError, Verdict};

use super::{exit, fail};

/// Says what is missing on this machine and how to get it.
///
/// Exit status 0 when `up` has all it needs, else 2. Changes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kagemusha doctor\n  kagemusha doctor --base-port 23000 --json")]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// First port of the range to look at [default: that of the cloud in the state folder, else 21000]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Print JSON: a list of findings
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match examine(args) {
        Ok(true) => ExitCode::from(exit::OK),
        Ok(false) => ExitCode::from(exit::COULD_NOT_RUN),
        Err(error) => fail(&error),
    }
}

/// Prints what was found; true when nothing is missing.
fn examine(args: &Args) -> Result<bool, UpError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let findings = control_plane::doctor(&state, args.base_port)?;
    if args.json {
        tell!("{}", serde_json::to_string_pretty(&findings).expect("findings have text keys only"));
    } else {
        for finding in &findings {
            let mark = match finding.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Missing => "MISSING",
            };
            tell!("{mark}  {:16} {}", finding.subject, finding.found);
            if !finding.remedy.is_empty() {
                tell!("{:26}→ {}", "", finding.remedy);
            }
        }
    }
    Ok(findings.iter().all(|finding| finding.verdict != Verdict::Missing))
}
