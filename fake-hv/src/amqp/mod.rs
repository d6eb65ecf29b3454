//! oslo.messaging RPC over RabbitMQ, as a nova-compute of release 2026.2 does it (oslo.messaging 18, `impl_rabbit.py`,
//! `amqpdriver.py`): two RPC servers, a reply queue, requests acknowledged on receipt, answers on the default exchange,
//! publisher confirms, everything declared again after a lost connection.
//!
//! A [`Link`] is what one hypervisor holds: it only queues work for the tasks that own the connections, and events of many
//! links come back on one channel. One task serves one TCP connection, whatever number of channels and consumers it has,
//! and keeps no buffer while nothing moves; `AMQP.md` says what that saves.
//!
//! ```text
//! Link ── orders ──► Connection (a task: socket, heartbeats, reconnects)
//!                      └─ Channel (sans I/O: topology, confirms, deliveries) ── LinkEvent ──► the fleet's worker
//! ```

mod broker;
mod channel;
mod connection;
mod dialogue;
mod envelope;
mod frames;
mod handshake;
pub(crate) mod json;
mod link;
mod outbox;
mod outgoing;
mod process;
mod session;
mod topology;

pub use broker::{Broker, BrokerAddress, BrokerNode, LinkError};
pub use envelope::{
    Incoming, LARGEST_BODY_BYTES, Message, Raised, Reply, ReplyError, ReplyTo, read_reply, read_request, write_reply,
};
pub use frames::{Cutter, Frame, FrameError};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use link::Order;
pub(crate) use process::Process;
pub(crate) use topology::TOPICS;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use {
    channel::Channel,
    connection::{Command, Connection, commands},
    dialogue::Dialogue,
    handshake::{Terms, greet},
    outbox::write_frame,
};

pub use link::{EventSender, Farewell, HostIndex, Link, LinkEvent, Target};
