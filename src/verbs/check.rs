//! `kagemusha check`

use std::process::ExitCode;

/// Validates a scenario and prints the resolved plan.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
