//! `kagemusha conformance --load`

use std::{fs, process::ExitCode, time::Duration};

use conformance::{LabError, LoadPlan, LoadReport, load};
use control_plane::Lock;

use super::{Args, DIFFERS, cloud_of};
use crate::verbs::{exit, fail, runtime};

/// What only a measurement of load takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
pub(super) struct Options {
    /// Measure the load that real and simulated hypervisors are, in two turns of each kind. A real one takes 150 MB; with the
    /// defaults it goes on for an hour and a half, on a machine that should do nothing else
    #[arg(long)]
    pub(super) load: bool,
    /// Hypervisors of each kind
    #[arg(long, value_name = "N", default_value_t = 20, requires = "load", value_parser = clap::value_parser!(u32).range(1..=100))]
    hosts: u32,
    /// How long they are idle in each turn, such as 10m: best a whole number of periods of the tasks that matter
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "load", value_parser = scenarios::read_time)]
    idle: Duration,
    /// Servers that are booted and deleted in each turn, two seconds from one to the next
    #[arg(long, value_name = "N", default_value_t = 100, requires = "load", value_parser = clap::value_parser!(u32).range(1..=500))]
    boots: u32,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let measured = runtime().map_err(LabError::from).and_then(|runtime| runtime.block_on(measure(args)));
    match measured.and_then(|report| report.map(|report| finish(args, &report)).transpose()) {
        Ok(Some(true)) => ExitCode::from(exit::OK),
        Ok(Some(false)) => ExitCode::from(DIFFERS),
        Ok(None) => fail(&"interrupted: nothing measured"),
        Err(error) => fail(&error),
    }
}

async fn measure(args: &Args) -> Result<Option<LoadReport>, LabError> {
    let (state, cloud) = cloud_of(args)?;
    let _mine = Lock::take(&state)?;
    let folder = tempfile::tempdir()?;
    let Options { hosts, idle, boots, .. } = args.load;
    load(&cloud, &LoadPlan { hosts, idle, boots }, folder.path(), &|what| say!("{what}")).await
}

/// Shows the report, and writes the file; whether no figure differs.
fn finish(args: &Args, report: &LoadReport) -> Result<bool, LabError> {
    tell!("{}", report.to_string().trim_end());
    let differing = report.differing().count();
    let figures: usize = report.windows.iter().map(|window| window.rows.len()).sum();
    tell!("\n{differing} of {figures} figures differ");
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(report).expect("a report has text keys only");
        fs::write(path, text + "\n")?;
    }
    Ok(differing == 0)
}
