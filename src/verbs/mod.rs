//! The verbs of the command.

/// A line on standard output. Whoever read it may have gone, as `head` does, and a verb ends what it began all the same.
macro_rules! tell {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _nobody_reads = writeln!(std::io::stdout(), $($words)*);
    }};
}

/// A line on standard error; likewise.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _nobody_reads = writeln!(std::io::stderr(), $($words)*);
    }};
}

pub(crate) mod check;
pub(crate) mod conformance;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod fleet_process;
pub(crate) mod learn;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scenarios;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod up;

use std::{fmt::Display, process::ExitCode};

use control_plane::UpError;

/// Tells what a run came to: in words on standard output, or as JSON there and in words on standard error.
pub(crate) fn conclude(json: Option<String>, words: &str) {
    match json {
        Some(json) => {
            tell!("{}", json.trim_end());
            say!("{words}");
        }
        None => tell!("{words}"),
    }
}

/// Tells why a verb could not be carried out.
pub(crate) fn fail(error: &impl Display) -> ExitCode {
    say!("error: {error}");
    ExitCode::from(exit::COULD_NOT_RUN)
}

/// The runtime of a verb that waits for processes and sockets.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, UpError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| UpError::invalid(format!("cannot start the runtime: {error}")))
}

/// Exit statuses of the command, one meaning each.
pub(crate) mod exit {
    /// Gates passed, or the verb did what it was asked to.
    pub(crate) const OK: u8 = 0;
    /// A search ended without an answer that is as close as was asked.
    pub(crate) const UNDECIDED: u8 = 1;
    /// The command could not be carried out.
    pub(crate) const COULD_NOT_RUN: u8 = 2;
}
