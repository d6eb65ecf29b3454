//! `kagemusha run`

use std::process::ExitCode;

/// Runs a scenario and writes a report.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
