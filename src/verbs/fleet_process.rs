//! `kagemusha fleet-process`: what `run` starts where one process has not enough open files for a fleet.

use std::{env, ffi::OsString, io, process::ExitCode};

use super::{exit, fail, runtime};

/// Name of the verb.
pub(crate) const NAME: &str = "fleet-process";

/// This very program, as a process of a fleet.
///
/// # Errors
/// When the system does not say where the program lies.
pub(crate) fn command() -> io::Result<Vec<OsString>> {
    Ok(vec![env::current_exe()?.into(), NAME.into()])
}

pub(crate) fn run() -> ExitCode {
    let served = match runtime() {
        Ok(runtime) => runtime.block_on(fake_hv::serve()),
        Err(error) => return fail(&error),
    };
    match served {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => fail(&error),
    }
}
