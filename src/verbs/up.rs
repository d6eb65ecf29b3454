//! `kagemusha up`

use std::process::ExitCode;

/// Brings up a real OpenStack on loopback.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
