//! `kagemusha scenarios`

use std::process::ExitCode;

/// Lists the scenarios that ship with the harness.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
