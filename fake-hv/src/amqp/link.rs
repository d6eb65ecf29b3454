//! What one hypervisor holds of the broker.

use std::{borrow::Cow, sync::Arc, time::Duration};

use hypervisor::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::{
    Broker,
    connection::{Command, Handle},
    envelope::{Incoming, Message, Raised, ReplyError, ReplyTo},
    outgoing::{Exchange, Outgoing},
    process::Process,
    topology,
};

/// Position of a hypervisor in its fleet.
pub type HostIndex = u32;

/// What a link tells its hypervisor.
#[derive(Debug)]
pub enum LinkEvent {
    /// The answer to a call.
    Reply(RequestId, Result<Value, ReplyError>),
    /// A request to the compute service.
    Request(Box<Incoming>),
    /// A request to an agent, which is likely to have come to many hosts.
    Broadcast(Arc<Incoming>),
    /// The RPC server of this topic consumes; told again after a loss.
    Serving(&'static str),
    /// A connection was lost, or a channel closed, and why; calls that were under way will time out. In `faithful` mode each
    /// of the four connections tells for itself. [`LinkEvent::Restored`] always comes between two of these.
    Lost(String),
    /// What was lost is there again, with everything declared.
    Restored,
}

/// Where the events of many links go.
pub type EventSender = mpsc::UnboundedSender<(HostIndex, LinkEvent)>;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    exchange: &'static str,
    topic: Cow<'static, str>,
}

impl Target {
    /// A topic on Nova's exchange.
    pub fn nova(topic: impl Into<Cow<'static, str>>) -> Self {
        Self { exchange: topology::NOVA, topic: topic.into() }
    }

    /// A topic on Neutron's exchange.
    pub fn neutron(topic: impl Into<Cow<'static, str>>) -> Self {
        Self { exchange: topology::NEUTRON, topic: topic.into() }
    }

    fn outgoing(self, body: Vec<u8>) -> Outgoing {
        Outgoing::new(Exchange::Topic(self.exchange), &*self.topic, body)
    }
}

/// What a link queues for a channel.
pub(crate) enum Order {
    Call {
        id: RequestId,
        target: Target,
        message: Message,
        timeout: Duration,
    },
    Cast {
        target: Target,
        message: Message,
    },
    Fanout {
        topic: &'static str,
        message: Message,
    },
    Reply {
        to: ReplyTo,
        result: Result<Value, Raised>,
    },
    /// A call whose reply queue, on another connection, is there.
    Forwarded(Outgoing),
    /// Be open before there is anything to say.
    Open,
    /// Have the reply queue before the first call.
    Replies,
    /// Start the RPC server of this topic.
    Serve {
        server: usize,
    },
    Close(oneshot::Sender<()>, Farewell),
}

/// How a hypervisor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Farewell {
    /// Its queues are deleted: nobody will come back to them.
    TidyUp,
    /// As a nova-compute that is stopped: the RPC servers end with their fanout queues, the other connections just vanish, and the
    /// queues of its host wait for it.
    Leave,
}

impl Order {
    /// The message of an order that is nothing but a message.
    pub(crate) fn into_outgoing(self) -> Option<Outgoing> {
        match self {
            Self::Cast { target, message } => Some(target.outgoing(message.cast())),
            Self::Fanout { topic, message } => Some(Outgoing::new(Exchange::Fanout(topic), "", message.cast())),
            Self::Reply { to, result } => {
                let body = super::write_reply(&to, result);
                Some(Outgoing::new(Exchange::Default, to.queue, body).mandatory())
            }
            Self::Forwarded(message) => Some(message),
            Self::Call { .. } | Self::Open | Self::Replies | Self::Serve { .. } | Self::Close(..) => None,
        }
    }

    pub(crate) fn call(id: RequestId, target: Target, message: Message, timeout: Duration, queue: &str) -> Outgoing {
        target.outgoing(message.call(id, queue)).expiring(timeout)
    }
}

/// The channels of one process of a hypervisor. In `single` and `shared` mode there is one.
pub(crate) struct Channels {
    /// Requests and answers leave here.
    pub(crate) send: Handle,
    /// `faithful` mode: the others.
    pub(crate) others: Option<Box<Others>>,
}

/// The listening channels of `faithful` mode.
pub(crate) struct Others {
    pub(crate) reply: Handle,
    pub(crate) servers: Box<[Handle]>,
}

/// RabbitMQ deletes about a thousand queues a second, so that the end of a large fleet takes a while; a broker that hangs must
/// not hold it up for ever.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(120);

/// The way of a hypervisor's process to the broker. It has to be closed: in `shared` mode its channel outlives it otherwise.
pub struct Link {
    broker: Broker,
    host: HostIndex,
    process: Arc<Process>,
    channels: Channels,
}

impl Link {
    /// The link of a nova-compute. It connects in the background, at the first order; what is ordered before it is there is
    /// kept until then.
    pub fn open(broker: Broker, host: HostIndex, name: &str, events: EventSender) -> Self {
        let process = Arc::clone(broker.nova_compute());
        let channels = broker.open_channels(host, name, &events, &process, None);
        Self { broker, host, process, channels }
    }

    /// The link of another process on the same hypervisor. In `single` mode both are on one connection.
    pub(crate) fn beside(&self, name: &str, events: &EventSender, process: &Arc<Process>) -> Self {
        let broker = self.broker.clone();
        let channels = broker.open_channels(self.host, name, events, process, Some(&self.channels.send));
        Self { broker, host: self.host, process: Arc::clone(process), channels }
    }

    /// A link whose orders go to `commands` instead of a connection.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn detached(broker: Broker, process: Arc<Process>, commands: super::connection::Commands) -> Self {
        let channels = Channels { send: Handle { commands, channel: 1 }, others: None };
        Self { broker, host: 0, process, channels }
    }

    fn to(&self, handle: &Handle, order: Order) {
        // The task ends only when its senders are gone, or with its runtime, when nothing matters any more.
        let _gone = handle.commands.unbounded_send(Command::Order(handle.channel, Box::new(order)));
    }

    /// Publishes a call. Its answer comes as [`LinkEvent::Reply`], if it comes; giving up is the caller's business. `timeout`
    /// is the message's time to live. The reply queue is declared with the first call.
    pub fn call(&self, id: RequestId, target: Target, message: Message, timeout: Duration) {
        self.to(self.replies(), Order::Call { id, target, message, timeout });
    }

    /// Has what otherwise comes with the first call: the connection that it leaves by, and the reply queue.
    pub(crate) fn prepare_calls(&self) {
        self.to(&self.channels.send, Order::Open);
        self.to(self.replies(), Order::Replies);
    }

    fn replies(&self) -> &Handle {
        self.channels.others.as_ref().map_or(&self.channels.send, |others| &others.reply)
    }

    /// Publishes a cast.
    pub fn cast(&self, target: Target, message: Message) {
        self.to(&self.channels.send, Order::Cast { target, message });
    }

    /// Publishes to every consumer of a topic.
    pub fn fanout(&self, topic: &'static str, message: Message) {
        self.to(&self.channels.send, Order::Fanout { topic, message });
    }

    /// Answers a request. A missing reply queue is tried for 60 s, as oslo.messaging does, then the answer is dropped.
    pub fn reply(&self, to: ReplyTo, result: Result<Value, Raised>) {
        self.to(&self.channels.send, Order::Reply { to, result });
    }

    /// Starts the RPC servers of these topics.
    pub fn serve(&self, topics: &[impl AsRef<str>]) {
        let is_served = |server: &usize| topics.iter().any(|topic| topic.as_ref() == self.process.topics[*server]);
        for server in (0..self.process.topics.len()).filter(is_served) {
            let handle = self.channels.others.as_ref().map_or(&self.channels.send, |others| &others.servers[server]);
            self.to(handle, Order::Serve { server });
        }
    }

    /// Loses its connections, as behind a switch that restarts. A connection that many share is lost to all of them.
    pub fn cut(&self) {
        for handle in self.handles() {
            let _gone = handle.commands.unbounded_send(Command::Cut);
        }
    }

    fn handles(&self) -> impl Iterator<Item = &Handle> {
        let others = self.channels.others.iter().flat_map(|others| others.servers.iter().chain([&others.reply]));
        others.chain([&self.channels.send])
    }

    /// Stops, and closes its connections. Completes when that is done, after two minutes at the latest. A connection that is lost
    /// at that moment leaves its queues behind.
    pub async fn close(self, farewell: Farewell) {
        let mut waiting = Vec::new();
        for handle in self.handles() {
            let (done, closed) = oneshot::channel();
            self.to(handle, Order::Close(done, farewell));
            waiting.push(closed);
        }
        let all = async {
            for closed in waiting {
                let _task_gone = closed.await;
            }
        };
        if tokio::time::timeout(CLOSE_TIMEOUT, all).await.is_ok() {
            self.broker.release(&self.channels.send);
        } else {
            tracing::warn!(host = self.host, "the broker did not answer the end of a link");
        }
    }
}

#[cfg(test)]
mod tests {
    use hypervisor::RabbitOptions;
    use scenarios::plan::ConnectionMode;
    use tokio::net::TcpListener;

    use super::*;
    use crate::fuzzing::address;

    /// Shorter than any connection waits for a broker that says nothing, before it tries again.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Four: what it sends, what comes back, and its two RPC servers.
    #[tokio::test]
    async fn a_faithful_link_has_all_connections_of_a_nova_compute_before_its_first_call() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let runtime = tokio::runtime::Handle::current();
        let broker = Broker::new(address(port), ConnectionMode::Faithful, RabbitOptions::default(), runtime);
        let link = Link::open(broker, 0, "host-0", mpsc::unbounded_channel().0);
        link.serve(&["compute", "compute-alt"]);
        link.prepare_calls();
        let mut made = Vec::new();
        for _ in 0..4 {
            let next = tokio::time::timeout(PATIENCE, listener.accept()).await;
            made.push(next.expect("it connects").expect("it is a connection"));
        }
    }
}
