//! The verbs of the command.

pub(crate) mod check;
pub(crate) mod doctor;
pub(crate) mod down;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scenarios;
pub(crate) mod status;
pub(crate) mod up;

/// Exit statuses of the command, one meaning each.
pub(crate) mod exit {
    /// Gates passed, or the verb did what it was asked to.
    pub(crate) const OK: u8 = 0;
    /// A gate failed.
    pub(crate) const GATE_FAILED: u8 = 1;
    /// The command could not be carried out.
    pub(crate) const COULD_NOT_RUN: u8 = 2;
    /// The harness itself was late or starved: the run proves nothing about the cloud.
    pub(crate) const INVALID: u8 = 3;
}
