//! `kagemusha down`

use std::{path::PathBuf, process::ExitCode};

use control_plane::{StateDir, UpError};

use super::{exit, fail, runtime};

/// Stops what up started.
///
/// Stops exactly the processes of the state folder, in reverse order, also when `up` or a run was killed half-way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kagemusha down\n  kagemusha down --purge --state /var/tmp/cloud")]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Remove the state folder too: databases, logs, passwords, the Python environment, and all snapshots of the cloud
    #[arg(long)]
    purge: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match stop(args) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => fail(&error),
    }
}

fn stop(args: &Args) -> Result<(), UpError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let snapshots = if args.purge { control_plane::snapshots(&state).unwrap_or_default() } else { Vec::new() };
    let stopped = match runtime()?.block_on(control_plane::down(&state, args.purge)) {
        Err(UpError::NoCloud(state)) if !state.path().exists() => {
            // What was asked for is the case already: a clean-up may come twice.
            tell!("There is no {}: nothing to stop.", state.path().display());
            return Ok(());
        }
        stopped => stopped?,
    };
    match stopped.len() {
        0 => tell!("Nothing was running."),
        count => tell!("Stopped {count} processes; none is left."),
    }
    if args.purge {
        let names: Vec<&str> = snapshots.iter().map(|snapshot| snapshot.name.as_str()).collect();
        let with = if names.is_empty() { String::new() } else { format!(", with its snapshots {}", names.join(", ")) };
        tell!("Removed {}{with}.", state.path().display());
    }
    Ok(())
}
