//! `kagemusha doctor`

use std::process::ExitCode;

/// Says what is missing on this machine and how to get it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
