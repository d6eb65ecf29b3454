//! What one nova-compute and its Neutron L2 agent do, as a state machine: no clock, no socket, no ambient randomness.

mod config;
mod delay;

pub use config::{ComputeOptions, Resources, Times};
pub use delay::Delay;
