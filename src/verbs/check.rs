//! `kagemusha check`

use std::process::ExitCode;

use scenarios::Plan;
use serde_json::json;

use super::{exit, fail, scenarios::load};

/// Validates a scenario and prints the resolved plan: every value that a run would use.
///
/// Exit status: 0 the scenario is right, 2 it is not, and everything that is wrong is told.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A shipped scenario's name, or the path of a scenario.toml or of its folder, or `-` for standard input
    scenario: String,
    /// Override a value of the scenario; may be given several times, the last one wins
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Seed of every random choice [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Print the plan as JSON, as a run stores it; what is wrong, as {"errors": […]}
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kagemusha check quickstart
  kagemusha check my/scenario.toml --json
  kagemusha check quickstart --set fleet.hypervisors=2000 --set load.boot.rate=5/s
  kagemusha check quickstart --set tuning.nova.DEFAULT.report_interval=60
  kagemusha check quickstart --set fleet.times.spawn='{ distribution = \"exponential\", mean = \"3s\" }'";

pub(crate) fn run(args: &Args) -> ExitCode {
    let source = match load(&args.scenario) {
        Ok(source) => source,
        Err(error) if args.json => {
            tell!("{:#}", json!({"errors": [{"message": error}]}));
            return ExitCode::from(exit::COULD_NOT_RUN);
        }
        Err(error) => return fail(&error),
    };
    match scenarios::resolve(&source, &args.sets, args.seed) {
        Ok(plan) if let Some(objection) = sim::objection(&plan).filter(|_| sim::only_live(&plan).is_none()) => {
            if args.json {
                tell!("{:#}", json!({"errors": [{"message": objection}]}));
                return ExitCode::from(exit::COULD_NOT_RUN);
            }
            return fail(&objection);
        }
        Ok(plan) if args.json => tell!("{}", serde_json::to_string_pretty(&plan).expect("a plan is JSON")),
        Ok(plan) if let Some(only_live) = sim::only_live(&plan) => {
            tell!("{}\n\nnote: {only_live}", scenarios::describe(&plan).trim_end());
        }
        Ok(plan) => tell!("{}\n\n{}", scenarios::describe(&plan).trim_end(), processes(&plan)),
        Err(errors) => {
            if args.json {
                tell!("{:#}", json!({"errors": errors}));
            } else {
                say!("{errors}");
            }
            return ExitCode::from(exit::COULD_NOT_RUN);
        }
    }
    ExitCode::from(exit::OK)
}

/// How many processes each service has in virtual time, and what keys set it.
fn processes(plan: &Plan) -> String {
    let row = |service: sim::ServiceSize| {
        let sim::ServiceSize { name, processes, threads, key } = service;
        format!("  {name:<22} {:<18} {:<14} {key}", plural(processes, "process", "es"), plural(threads, "thread", "s"))
    };
    let rows: Vec<String> = sim::services(plan).into_iter().map(row).collect();
    let head = "processes on each controller (of the model), and the key that sets their number";
    let corrections = sim::corrections(plan).into_iter().map(|note| format!("\nnote: {note}"));
    format!("{head}\n{}{}", rows.join("\n"), corrections.collect::<String>())
}

fn plural(count: u32, noun: &str, end: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { end })
}
