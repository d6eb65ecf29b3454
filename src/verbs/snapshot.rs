//! `kagemusha snapshot`

use std::{path::PathBuf, process::ExitCode, time::Instant};

use control_plane::{CloudSpec, StateDir, UpError};
use scenarios::show_size;

use super::{exit, fail, runtime, up::Terminal};

/// Puts a cloud aside with everything in it, and takes it back.
///
/// Registering thousands of hypervisors and booting servers on them takes many minutes. A run with `--keep` leaves them in the cloud,
/// a snapshot keeps that cloud in its state folder, and a run after `restore` goes on with it: hypervisors, users and servers
/// are there as they were, and the time in between has not passed for them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR", global = true)]
    state: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Save the cloud under a name; it stands still meanwhile, and runs again afterwards if it did before
    Save {
        /// What the snapshot is called: up to 64 of a-z, 0-9, `-`, `_` and `.`, and no `.` first
        name: String,
    },
    /// Take the cloud back to a snapshot and bring it up; what it was instead is gone
    Restore {
        /// Which
        name: String,
    },
    /// Show all snapshots
    List,
    /// Remove a snapshot
    Remove {
        /// Which
        name: String,
    },
}

const EXAMPLES: &str = "\
Examples:
  kagemusha snapshot save empty
  kagemusha run yahoo-2014-live --target live --keep
  kagemusha snapshot save 7000-hosts
  kagemusha snapshot restore 7000-hosts
  kagemusha snapshot list";

pub(crate) fn run(args: &Args) -> ExitCode {
    match carry_out(args) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => fail(&error),
    }
}

fn carry_out(args: &Args) -> Result<(), UpError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let begun = Instant::now();
    match &args.what {
        What::Save { name } => {
            let (snapshot, still) = runtime()?.block_on(control_plane::save_snapshot(&state, name))?;
            let was_up = still.was_up.clone();
            drop(still);
            tell!("Saved {name}: {}, in {:.1} s.", facts(&snapshot), begun.elapsed().as_secs_f64());
            was_up.map_or(Ok(()), |spec| bring_up(&state, &spec))
        }
        What::Restore { name } => {
            let (snapshot, spec) = runtime()?.block_on(control_plane::restore_snapshot(&state, name))?;
            tell!("Restored {name}: {}, in {:.1} s.", facts(&snapshot), begun.elapsed().as_secs_f64());
            bring_up(&state, &spec)
        }
        What::List => {
            let snapshots = control_plane::snapshots(&state)?;
            if snapshots.is_empty() {
                tell!("There are no snapshots in {}.", state.path().display());
            }
            for snapshot in &snapshots {
                tell!("{:20} {}, made {}", snapshot.name, facts(snapshot), snapshot.made_at);
            }
            Ok(())
        }
        What::Remove { name } => {
            let snapshot = control_plane::remove_snapshot(&state, name)?;
            tell!("Removed {name}: {}.", facts(&snapshot));
            Ok(())
        }
    }
}

fn facts(snapshot: &control_plane::Snapshot) -> String {
    let mib = snapshot.bytes.div_ceil(1 << 20) << 20;
    format!("release {}, {} hypervisors, {}", snapshot.release, snapshot.hypervisors, show_size(mib))
}

fn bring_up(state: &StateDir, spec: &CloudSpec) -> Result<(), UpError> {
    let begun = Instant::now();
    let up = runtime()?.block_on(control_plane::bring_up(state, spec, &Terminal::new()))?;
    tell!("The cloud is up: {} processes, in {:.1} s.", up.cloud.processes.len(), begun.elapsed().as_secs_f64());
    Ok(())
}
