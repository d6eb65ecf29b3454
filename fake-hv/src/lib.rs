//! A fleet of simulated hypervisors on real AMQP and HTTP.
//!
//! Each does what a nova-compute and its L2 agent do (crate `hypervisor`); this crate writes and reads their messages and
//! keeps their connections. [`Fleet`] is the way in.

pub mod amqp;
pub mod procedure;

mod agent;
mod apis;
mod contexts;
mod fleet;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod host;
mod http;
mod http_client;
mod known;
mod log;
mod nova;
mod secret;
mod stats;
mod timestamp;
mod values;
mod worker;

pub use amqp::{Broker, BrokerAddress, BrokerNode, LinkError};
pub use apis::ServiceApis;
pub use fleet::{Fleet, FleetError, FleetSpec, Processes, serve};
pub use known::{KnownHost, KnownNode, KnownService, KnownToken, KnownVm};
pub use nova::{Release, ReleaseError};
pub use secret::Secret;
pub use stats::{BuildTimeline, FleetStats, Tokens};
