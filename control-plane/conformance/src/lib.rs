//! Real and simulated hypervisors side by side on one cloud.

mod lab;
mod operations;
mod run;
mod scene;
mod tap;
pub mod trace;

pub use lab::{Kind, Lab, LabError, quiet_options};
pub use operations::{OPERATIONS, Operation};
pub use run::{Recorded, choose, record};
