//! `kagemusha run`

mod edge;
mod live;
mod manifest;
mod pace;
mod progress;
pub(super) mod replicate;
mod sim;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
    process::ExitCode,
};

use reports::Summary;
use scenarios::Plan;

use super::{conclude, exit, fail, scenarios::load};

/// Runs a scenario and writes a report.
///
/// By default in virtual time, on a model of the control plane: in seconds, for any size, without root, packages or network.
///
/// With `--target live` on a real OpenStack: brings the cloud up if need be, as the scenario wants it, and leaves it running.
/// A scenario with [edge] is run again and again, with a size that grows until a gate breaks, and then around that size, until it
/// is known where the edge lies. On a real cloud its hypervisors then stay, as with --keep.
///
/// What the run makes in the cloud is removed again. Ctrl-C starts nothing more, waits for what is under way, cleans up and
/// reports; a second one stops at once.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A shipped scenario's name, or the path of a scenario.toml or of its folder, or `-` for standard input
    scenario: String,
    /// Where to run it: on a model in virtual time, or on a real cloud
    #[arg(long, value_enum, default_value_t = TargetKind::Sim)]
    target: TargetKind,
    /// Override a value of the scenario; may be given several times, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seed of every random choice [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Folder of the run, which must not exist yet [default: runs/SCENARIO-TIME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with a search that did not end, in its folder: its trials count, so all must be as it was but for the range, the
    /// precision and the number of trials (edge.from, edge.to, edge.within, edge.most_trials)
    #[arg(long, value_name = "DIR", conflicts_with = "out")]
    resume: Option<PathBuf>,
    /// Print summary.json on standard output, of a search edge.json, with --replications replications.json; all else goes to
    /// standard error
    #[arg(long)]
    json: bool,
    /// Simulated runs with as many seeds, SEED and those after it, for confidence intervals; uses all cores
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = SIM)]
    replications: u32,
    /// Service times of the model [default: those that ship for the scenario's release]
    #[arg(long, value_name = "FILE", help_heading = SIM)]
    calibration: Option<PathBuf>,
    /// State folder of the cloud [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR", help_heading = LIVE)]
    state: Option<PathBuf>,
    /// First port of the cloud's range on 127.0.0.1, if there is no cloud in the state folder yet [default: 21000]
    #[arg(long, value_name = "PORT", help_heading = LIVE)]
    base_port: Option<u16>,
    /// Leave tenants, hypervisors and servers in the cloud when the run ends; the next run goes on with them, and leaves them too
    #[arg(long, help_heading = LIVE)]
    keep: bool,
    /// Stop the cloud after the run
    #[arg(long, help_heading = LIVE)]
    down: bool,
    /// Load the cloud that the scenario names, which this harness did not start
    #[arg(long, help_heading = LIVE)]
    allow_foreign_cloud: bool,
}

const SIM: &str = "Options of --target sim";
const LIVE: &str = "Options of --target live";

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum TargetKind {
    /// Virtual time.
    Sim,
    /// A real OpenStack.
    Live,
}

impl TargetKind {
    /// As manifests have it.
    fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Live => "live",
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  kagemusha run yahoo-2014
  kagemusha run yahoo-2014 --set fleet.hypervisors=2000 --seed 7
  kagemusha run db-pool --replications 20
  kagemusha run quickstart --target live
  kagemusha run find-the-edge --set edge.to=4000
  kagemusha run find-the-edge --target live --resume runs/find-the-edge-20261127T224511Z
  kagemusha run my/scenario.toml --out runs/before --json > before.json

Exit status:
  0  every gate held
  1  a gate failed; of a search: an edge is not known as closely as was asked (known, or outside of the range, is 0)
  2  the run could not be carried out, or did not end
  3  the run is not valid, because the harness itself was late
With --replications it is that of the worst run.";

pub(crate) fn run(args: &Args) -> ExitCode {
    if let Err(error) = args.fit_the_target() {
        return fail(&error);
    }
    // Read once: it may be standard input.
    let source = match load(&args.scenario) {
        Ok(source) => source,
        Err(error) => return fail(&error),
    };
    let plan = match scenarios::resolve(&source, &args.sets, args.seed) {
        Ok(plan) => plan,
        Err(errors) => {
            say!("{errors}");
            return ExitCode::from(exit::COULD_NOT_RUN);
        }
    };
    if args.resume.is_some() && plan.edge.is_none() {
        return fail(&format!("--resume goes on with a search, and {} has no [edge]: it is one run", plan.scenario));
    }
    say!("seed {}", plan.seed);
    let status = match args.target {
        TargetKind::Sim => sim::run(args, &source, &plan),
        TargetKind::Live => live::run(args, &source, &plan),
    };
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => fail(&error),
    }
}

impl Args {
    /// An option of the other target is a mistake, not something to be passed over.
    fn fit_the_target(&self) -> Result<(), String> {
        let given = match self.target {
            TargetKind::Sim => [
                (self.state.is_some(), "--state"),
                (self.base_port.is_some(), "--base-port"),
                (self.keep, "--keep"),
                (self.down, "--down"),
                (self.allow_foreign_cloud, "--allow-foreign-cloud"),
            ]
            .to_vec(),
            TargetKind::Live => {
                [(self.replications > 1, "--replications"), (self.calibration.is_some(), "--calibration")].to_vec()
            }
        };
        let other = if self.target == TargetKind::Sim { TargetKind::Live } else { TargetKind::Sim }.name();
        match given.iter().find(|(given, _)| *given) {
            Some((_, option)) => {
                Err(format!("{option} is an option of --target {other}; give that too, or leave it out"))
            }
            None => Ok(()),
        }
    }
}

/// An error of any stage, in words.
type Failure = String;

fn words(error: impl Display) -> Failure {
    error.to_string()
}

/// Shows what a run came to.
fn show(args: &Args, summary: &Summary, out: &Path) {
    let report = out.join(reports::REPORT);
    let words = format!("{}\nreport: {}", reports::terminal(summary), report.display());
    conclude(args.json.then(|| reports::summary_json(summary)), &words);
}

/// The folder that the run makes.
fn new_folder(args: &Args, plan: &Plan) -> Result<PathBuf, Failure> {
    let Some(out) = args.out.clone() else { return Ok(manifest::default_folder(&plan.scenario)) };
    if out.exists() {
        return Err(format!("{} exists already; give another folder with --out DIR", out.display()));
    }
    Ok(out)
}
