//! `kagemusha status`

use std::process::ExitCode;

/// Shows each process of the cloud, its health, CPU, memory and port.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> ExitCode {
    ExitCode::from(super::exit::COULD_NOT_RUN)
}
