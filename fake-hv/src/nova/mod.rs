//! What a nova-compute writes into its messages, and what it reads from them.
//!
//! Shapes and versions are those of the release's own objects; see `releases/` for what comes from the release as data.

mod conductor;
mod dispatch;
mod incoming;
mod instance;
mod operations;
mod records;
mod release;
mod replies;
mod rows;
mod states;
mod traceback;

pub(crate) use conductor::{Author, Body, call, notice};
pub(crate) use dispatch::{dispatch, unsupported_version};
pub(crate) use incoming::{Received, receive};
pub(crate) use instance::{Documents, InstanceDocument, Port};
pub(crate) use operations::{Catalogue, Facts, Operations, StepBody};
pub(crate) use records::Records;
pub use release::{Release, ReleaseError};
pub(crate) use replies::reply;
pub(crate) use rows::{Identity, Rows, Save};
pub(crate) use states::{known_instance, power_state_of, task_state, vm_state};
