//! From recordings of a real nova-compute to data: what it does on each RPC.

mod explain;
mod fold;
mod invocations;
mod procedures;

pub use procedures::{Lesson, learn};
