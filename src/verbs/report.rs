//! `kagemusha report`

use std::{path::PathBuf, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  kagemusha report runs/quickstart-4242          make the report anew and show the figures
  kagemusha report runs/quickstart-4242 --json   print summary.json, for scripts and CI

Exit status:
  0  every gate held
  1  a gate failed
  2  the folder cannot be read, or the run could not be carried out or did not end
  3  the run is not valid, because the harness itself was late";

/// Makes the report of a run folder again.
///
/// Writes summary.json and report.html into the folder, from what the run recorded. Works on a run that was interrupted
/// or killed too, and then says that it is partial.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The run folder: the one that holds manifest.json, or that of replications
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Print the summary as JSON instead of words
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    let replications = reports::replication_folders(&args.folder);
    if !replications.is_empty() {
        let runs: Result<Vec<_>, _> = replications.iter().map(|folder| reports::write(folder)).collect();
        let told = runs.map_err(|error| error.to_string()).and_then(|runs| {
            let all = reports::replications(&runs, runs.len() as u32);
            super::run::replicate::tell(&all, &args.folder, args.json)
        });
        return told.map_or_else(|error| super::fail(&error), ExitCode::from);
    }
    match reports::write(&args.folder) {
        Ok(summary) => {
            if args.json {
                tell!("{}", reports::summary_json(&summary).trim_end());
            } else {
                let report = args.folder.join(reports::REPORT);
                tell!("{}\nreport: {}", reports::terminal(&summary), report.display());
            }
            ExitCode::from(summary.outcome.exit_status())
        }
        Err(error) => super::fail(&error),
    }
}
