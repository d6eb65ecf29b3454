//! oslo.messaging RPC over RabbitMQ, as a nova-compute of release 2026.2 does it (oslo.messaging 18, `impl_rabbit.py`,
//! `amqpdriver.py`): two RPC servers, a reply queue, requests acknowledged on receipt, answers on the default exchange,
//! everything declared again after a lost connection.
//!
//! [`Link`] is what one hypervisor holds: it only queues work for a task of its own, which owns the connections, and events
//! come back on one channel for many hypervisors.

mod broker;
mod consumers;
mod envelope;
mod task;
mod topology;

use hypervisor::RequestId;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

pub use broker::{Broker, BrokerAddress, LinkError};
pub(crate) use envelope::{Incoming, Message, ReplyError, ReplyTo};
use task::{Command, Session};

/// Position of a hypervisor in its fleet.
pub(crate) type HostIndex = u32;

/// What a link tells its hypervisor.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// The answer to a call.
    Reply(RequestId, Result<Value, ReplyError>),
    /// A request to the compute service.
    Request(Box<Incoming>),
    /// The connection was lost; calls that were under way will time out.
    Lost(String),
    /// Everything is declared again.
    Restored,
}

/// Where the events of many links go.
pub(crate) type EventSender = mpsc::UnboundedSender<(HostIndex, LinkEvent)>;

/// Where a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    exchange: &'static str,
    topic: &'static str,
}

impl Target {
    /// A topic on Nova's exchange.
    pub(crate) fn nova(topic: &'static str) -> Self {
        Self { exchange: "nova", topic }
    }

    /// A topic on Neutron's exchange.
    pub(crate) fn neutron(topic: &'static str) -> Self {
        Self { exchange: "neutron", topic }
    }
}

/// One hypervisor's way to the broker.
pub(crate) struct Link {
    commands: mpsc::UnboundedSender<Box<Command>>,
}

impl Link {
    /// Connects in the background; what is sent before is sent when the connection is there.
    pub(crate) fn open(broker: Broker, host: HostIndex, name: &str, events: EventSender) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        broker.runtime().spawn(Session::new(broker.clone(), host, name, events).run(queue));
        Self { commands }
    }

    fn send(&self, command: Command) {
        // The task ends only when this sender is gone, or with its runtime, when nothing matters any more.
        let _gone = self.commands.send(Box::new(command));
    }

    /// Publishes a call. Its answer comes as [`LinkEvent::Reply`], if it comes; giving up is the caller's business.
    pub(crate) fn call(&self, id: RequestId, target: Target, message: Message, timeout: std::time::Duration) {
        self.send(Command::Call { id, target, message, timeout });
    }

    /// Publishes a cast.
    pub(crate) fn cast(&self, target: Target, message: Message) {
        self.send(Command::Cast { target, message });
    }

    /// Publishes to every consumer of a topic of Nova's.
    pub(crate) fn fanout(&self, topic: &'static str, message: Message) {
        self.send(Command::Fanout { topic, message });
    }

    /// Answers a request.
    pub(crate) fn reply(&self, to: ReplyTo, result: Result<Value, (&'static str, String)>) {
        self.send(Command::Reply { to, result });
    }

    /// Starts both RPC servers.
    pub(crate) fn serve(&self) {
        self.send(Command::Serve);
    }

    /// Stops: deletes this host's queues and closes its connections. Completes when that is done.
    pub(crate) async fn close(self) {
        let (done, closed) = oneshot::channel();
        self.send(Command::Close(done));
        let _runtime_gone = closed.await;
    }
}
