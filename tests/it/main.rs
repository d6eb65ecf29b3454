//! Tests of the whole repository.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod command;
mod layers;
mod live;
mod readmes;
mod simulated;
mod style;
