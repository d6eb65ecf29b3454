//! `kagemusha down`

use std::process::ExitCode;

/// Stops what up started.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
