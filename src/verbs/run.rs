//! `kagemusha run`

mod manifest;
mod progress;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use control_plane::{
    CloudSpec, Lock, StateDir, Up,
    live::{self, Cancel, Canceller, Target},
};
use recording::{OutcomeKind, Recorder};
use scenarios::Plan;
use tokio::signal::unix::{SignalKind, signal};

use super::{command, exit, fail, runtime, scenarios::load, scenarios::print, up::Terminal};
use progress::RunTerminal;

/// Runs a scenario and writes a report.
///
/// Brings the cloud up if need be, as the scenario wants it, and leaves it running. What the run makes in the cloud is
/// removed again. Ctrl-C starts nothing more, waits for what is under way, cleans up and reports; a second one stops at
/// once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A shipped scenario's name, or the path of a scenario.toml or of its folder, or `-` for standard input
    scenario: String,
    /// Where to run it: on a real cloud, or on a model in virtual time
    #[arg(long, value_enum, default_value_t = TargetKind::Live)]
    target: TargetKind,
    /// Override a value of the scenario; may be given several times, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seed of every random choice [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder of the run, which must not exist yet [default: runs/SCENARIO-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// State folder of the cloud [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print summary.json on standard output; everything else goes to standard error
    #[arg(long)]
    json: bool,
    /// Stop the cloud after the run
    #[arg(long)]
    down: bool,
    /// Load the cloud that the scenario names, which this harness did not start
    #[arg(long)]
    allow_foreign_cloud: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TargetKind {
    /// A real OpenStack.
    Live,
    /// Virtual time: not built yet.
    Sim,
}

const EXAMPLES: &str = "\
Examples:
  kagemusha run quickstart
  kagemusha run quickstart --set fleet.hypervisors=1000 --seed 7
  kagemusha run my/scenario.toml --out runs/before --json > before.json

Exit status:
  0  every gate held
  1  a gate failed
  2  the run could not be carried out, or did not end
  3  the run is not valid, because the harness itself was late";

pub(crate) fn run(args: &Args) -> ExitCode {
    let plan = match load(&args.scenario).map(|source| scenarios::resolve(&source, &args.sets, args.seed)) {
        Ok(Ok(plan)) => plan,
        Ok(Err(errors)) => {
            eprintln!("{errors}");
            return ExitCode::from(exit::COULD_NOT_RUN);
        }
        Err(error) => return fail(&error),
    };
    eprintln!("seed {}", plan.seed);
    if args.target == TargetKind::Sim {
        return fail(&"--target sim is not built yet; --target live runs the scenario on a real cloud");
    }
    match run_live(args, &plan) {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&error),
    }
}

/// An error of any stage, in words.
type Failure = String;

fn words(error: impl Display) -> Failure {
    error.to_string()
}

fn run_live(args: &Args, plan: &Plan) -> Result<u8, Failure> {
    let out = args.out.clone().unwrap_or_else(|| manifest::default_folder(&plan.scenario));
    if out.exists() {
        return Err(format!("{} exists already; give another folder with --out DIR", out.display()));
    }
    let state = StateDir::resolve(args.state.as_deref()).map_err(words)?;
    let (target, lock) = runtime().map_err(words)?.block_on(target(args, plan, &state))?;
    // Threads inherit it, and so would the processes of the cloud: hence between two runtimes.
    take_precedence();
    let runtime = runtime().map_err(words)?;
    let status = runtime.block_on(record(args, plan, &target, &out))?;
    drop(lock);
    if args.down {
        runtime.block_on(control_plane::down(&state, false)).map_err(words)?;
    } else if target.own.is_some() {
        let (openrc, down) = (state.join("openrc"), command("down", args.state.as_deref()));
        eprintln!("the cloud keeps running: `. {}` for the openstack client; {down} stops it", openrc.display());
    }
    Ok(status)
}

/// How much nicer the cloud shall be than the harness.
const NICER_BY: i32 = 10;

/// On the machine that it loads, a generator that waits for CPU measures its own waiting. Root may go first; others run as
/// they are, and the run tells how late it was in any case.
fn take_precedence() {
    let _stays_as_it_was = rustix::process::nice(-NICER_BY);
}

/// The cloud, up and open to its administrator, and the right to load it. A wrong password is told before anything is made.
async fn target(args: &Args, plan: &Plan, state: &StateDir) -> Result<(Target, Option<Lock>), Failure> {
    let (target, lock) = find(args, plan, state).await?;
    target.log_in(control_plane::load::Http::new(None)).await.map_err(words)?;
    Ok((target, lock))
}

async fn find(args: &Args, plan: &Plan, state: &StateDir) -> Result<(Target, Option<Lock>), Failure> {
    if let Some(foreign) = &plan.cloud.bring_your_own {
        if !args.allow_foreign_cloud {
            return Err(format!(
                "the scenario loads the cloud {:?}, which this harness did not start: servers, projects and {} simulated \
                 hypervisors will be made there\nIf that is what you want, say so with --allow-foreign-cloud",
                foreign.cloud, plan.fleet.hypervisors
            ));
        }
        return Ok((Target::foreign(foreign).await.map_err(words)?, None));
    }
    let spec = CloudSpec::from_plan(&plan.release, &plan.cloud, &plan.tuning);
    let Up { cloud, lock, .. } = control_plane::bring_up(state, &spec, &Terminal::new()).await.map_err(words)?;
    Ok((Target::own(&cloud), Some(lock)))
}

/// Carries the plan out, recording it, and reports.
async fn record(args: &Args, plan: &Plan, target: &Target, out: &Path) -> Result<u8, Failure> {
    let manifest = manifest::manifest(plan, target);
    let plan_json = serde_json::to_string_pretty(plan).expect("a plan is JSON");
    let recorder = Recorder::create(out, &manifest, &plan_json).map_err(words)?;
    let origin = Instant::now();
    let (canceller, cancel) = Cancel::new();
    let signals = tokio::spawn(listen(canceller, out.to_owned())?);
    let terminal = RunTerminal::new(plan);
    let outcome = live::run(plan, target, &recorder, origin, &cancel, &terminal).await;
    terminal.finish();
    signals.abort();
    let finished = recorder.finish(&outcome);
    if let (OutcomeKind::Error, Some(reason)) = (outcome.kind, &outcome.reason) {
        eprintln!("error: {reason}");
    }
    let summary = reports::write(out).map_err(words)?;
    finished.map_err(words)?;
    let report = out.join(reports::REPORT);
    if args.json {
        print(&reports::summary_json(&summary).trim_end());
        eprintln!("report: {}", report.display());
    } else {
        print(&format!("{}\nreport: {}", reports::terminal(&summary), report.display()));
    }
    Ok(summary.outcome.exit_status())
}

/// Turns the first SIGINT or SIGTERM into the wish to stop, and the second into the end.
fn listen(canceller: Canceller, out: PathBuf) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(words)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(words)?;
    Ok(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                eprintln!("\nstopping: nothing more is started, what is under way may end, then all is cleaned up");
                eprintln!("once more stops at once and leaves what was made for the next run to remove");
                canceller.cancel();
            } else {
                eprintln!(
                    "stopped at once: servers, tenants and hosts of the run stay until the next run removes them"
                );
                eprintln!("`kagemusha report {}` reports what was recorded", out.display());
                std::process::exit(exit::COULD_NOT_RUN.into());
            }
        }
    })
}
