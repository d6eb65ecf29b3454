//! What one nova-compute and its Neutron L2 agent do, as a state machine: no clock, no socket, no ambient randomness.
//!
//! [`Hypervisor`] is the contract. The modules behind it are one for each thing a nova-compute does, in the order and with
//! the waits of release 2026.2 (`nova/compute/manager.py`, `resource_tracker.py`, `nova/network/neutron.py`).

mod agent;
mod agent_messages;
mod answers;
mod at_rest;
mod build;
mod config;
mod delay;
mod executor;
mod failed_build;
mod heartbeat;
mod http_requests;
mod hypervisor;
mod lock;
mod messages;
mod names;
mod network;
mod periodic;
pub mod power_state;
mod procedure;
mod rabbit;
mod requests;
mod resources;
mod sessions;
mod startup;
mod state;
mod terminate;
mod time;
mod tracker;
mod wiring;

pub use agent_messages::{AgentCall, AgentPort, Lookup, Push};
pub use answers::{Fault, Instance, Response};
pub use config::{ComputeOptions, Resources, Times};
pub use delay::{Delay, exponential};
pub use http_requests::{NetworkRequest, PlacementRequest};
pub use hypervisor::Hypervisor;
pub use messages::{
    ActionEvent, ConductorCall, Input, InstanceState, LazyField, Milestone, Notice, Origin, Output, Request, RequestId,
    Rpc, Servers, Session, Ticket,
};
pub use procedure::{HttpService, Operation, OperationId, Procedure, Saved, Step, StepKind, StepMessage};
pub use rabbit::RabbitOptions;
pub use sessions::Sessions;
pub use state::{Config, Driver, Habits, Services};
pub use time::Time;
pub use tracker::{Stats, Touched, Usage};
