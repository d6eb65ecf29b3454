//! A broker and how a fleet connects to it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use amq_protocol::protocol::{AMQPClass, channel as wire, connection};
use hypervisor::RabbitOptions;
use scenarios::plan::ConnectionMode;
use serde::{Deserialize, Serialize};
use tokio::{
    net::TcpStream,
    runtime::Handle as Runtime,
    sync::{Semaphore, oneshot},
    time::Duration,
};
use uuid::Uuid;

use super::{
    EventSender, HostIndex,
    channel::Channel,
    connection::{Command, Commands, Connection, Handle},
    frames::{Cutter, Frame},
    handshake::{self, HandshakeError, Terms},
    link::{Channels, Others},
    outbox::Outbox,
    process::Process,
    session::goodbye,
    topology::Declare,
};
use crate::Secret;

/// A node of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerNode {
    /// Host name or address.
    pub host: String,
    /// AMQP port.
    pub port: u16,
}

impl BrokerNode {
    /// On this machine.
    pub fn local(port: u16) -> Self {
        Self { host: "127.0.0.1".to_owned(), port }
    }
}

/// Where the broker is and who we are there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BrokerAddress {
    /// Its nodes: one, or those of a cluster.
    pub nodes: Vec<BrokerNode>,
    /// User.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Virtual host.
    pub vhost: String,
}

/// The broker could not be reached, or refused what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("RabbitMQ at {address}: {reason}")]
pub struct LinkError {
    address: String,
    reason: String,
}

/// Connection attempts under way at once. More only fill the broker's accept queue, which holds 128 by default.
const CONCURRENT_CONNECTS: usize = 64;
/// Deleting a queue takes RabbitMQ a millisecond; this is for a broker that hangs.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A broker and the way a fleet connects to it. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    address: BrokerAddress,
    mode: ConnectionMode,
    options: RabbitOptions,
    runtime: Runtime,
    connecting: Semaphore,
    /// Connections that were tried.
    tried: AtomicUsize,
    nova_compute: Arc<Process>,
    /// Connections of `shared` mode.
    shared: Mutex<Vec<Shared>>,
}

/// A connection that hypervisors share, one channel each.
#[derive(Default)]
struct Shared {
    /// `None` until the first hypervisor wants it.
    commands: Option<Commands>,
    last_channel: u16,
    free_channels: Vec<u16>,
}

impl Shared {
    fn channels(&self) -> usize {
        usize::from(self.last_channel) - self.free_channels.len()
    }

    fn take_channel(&mut self) -> u16 {
        self.free_channels.pop().unwrap_or_else(|| {
            self.last_channel = self.last_channel.saturating_add(1);
            self.last_channel
        })
    }
}

impl Broker {
    /// Nothing is opened yet. Connections live on `runtime`.
    pub fn new(address: BrokerAddress, mode: ConnectionMode, options: RabbitOptions, runtime: Runtime) -> Self {
        let shared = match mode {
            ConnectionMode::Shared { connections } => (0..connections.max(1)).map(|_| Shared::default()).collect(),
            ConnectionMode::Single | ConnectionMode::Faithful => Vec::new(),
        };
        let shared = Mutex::new(shared);
        let connecting = Semaphore::new(CONCURRENT_CONNECTS);
        let (tried, nova_compute) = (AtomicUsize::new(0), Process::nova_compute());
        Self(Arc::new(Inner { address, mode, options, runtime, connecting, tried, nova_compute, shared }))
    }

    pub(crate) fn nova_compute(&self) -> &Arc<Process> {
        &self.0.nova_compute
    }

    /// Where its connections live.
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    fn error(&self, reason: &impl ToString) -> LinkError {
        let BrokerAddress { nodes, vhost, .. } = &self.0.address;
        let nodes: Vec<String> = nodes.iter().map(|BrokerNode { host, port }| format!("{host}:{port}")).collect();
        LinkError { address: format!("{}, virtual host {vhost}", nodes.join(" or ")), reason: reason.to_string() }
    }

    /// The node whose turn it is. oslo.messaging shuffles the nodes for each connection and tries one after the other; taken in
    /// turn they have as many connections each, and a node that does not answer is not tried twice in a row.
    fn node(&self) -> &BrokerNode {
        let nodes = &self.0.address.nodes;
        &nodes[self.0.tried.fetch_add(1, Ordering::Relaxed) % nodes.len()]
    }

    /// How connections are kept, and tried again when they are lost.
    pub(crate) fn options(&self) -> &RabbitOptions {
        &self.0.options
    }

    /// Opens a connection when it is its turn.
    pub(crate) async fn connect(&self, name: &str) -> Result<(TcpStream, Terms), LinkError> {
        let _turn = self.0.connecting.acquire().await.expect("the semaphore is never closed");
        let heartbeat = self.0.options.heartbeat_timeout;
        let connected = handshake::connect(&self.0.address, self.node(), name, heartbeat).await;
        connected.map_err(|error| self.error(&error))
    }

    /// Connects once, to tell a wrong address or password, and too few shared connections, before a fleet tries whose nova-computes
    /// and L2 agents are this many.
    ///
    /// # Errors
    /// What the broker, or the network, said; or how many connections such a fleet has to share.
    pub async fn probe(&self, services: u32) -> Result<(), LinkError> {
        let (stream, terms) = self.connect("kagemusha probe").await?;
        let closed = end(&stream, Outbox::new(terms.frame_max_bytes)).await;
        if let ConnectionMode::Shared { connections } = self.0.mode {
            let needed = services.div_ceil(u32::from(terms.channel_max));
            if connections < needed {
                let allowed = terms.channel_max;
                let reason = format!(
                    "{allowed} channels fit on a connection; {services} nova-computes and L2 agents have to share {needed}"
                );
                return Err(self.error(&reason));
            }
        }
        closed.map_err(|error| self.error(&error))
    }

    /// Deletes queues that nobody consumes from, such as the ones that all hypervisors of a topic shared; one that does not
    /// exist, or is in use, is left alone.
    ///
    /// # Errors
    /// What the broker, or the network, said.
    pub async fn delete_unused(&self, queues: &[&str]) -> Result<(), LinkError> {
        let (stream, terms) = self.connect("kagemusha clean-up").await?;
        let mut outbox = Outbox::new(terms.frame_max_bytes);
        for (channel, queue) in (1..).zip(queues) {
            // A queue in use closes the channel, so that each has one of its own.
            outbox.method(channel, wire::AMQPMethod::Open(wire::Open {}));
            Declare { channel, outbox: &mut outbox, answers: 0 }.delete_queue(queue, true);
        }
        end(&stream, outbox).await.map_err(|error| self.error(&error))
    }

    /// Makes the channels of a process of a hypervisor; they connect when they have something to do. `beside`: another
    /// process is there already.
    pub(crate) fn open_channels(
        &self,
        host: HostIndex,
        name: &str,
        events: &EventSender,
        process: &Arc<Process>,
        beside: Option<&Handle>,
    ) -> Channels {
        let reply_queue = Uuid::new_v4();
        let channel = |number| Channel::new(number, host, name, events.clone(), (Arc::clone(process), reply_queue));
        let own = |channel| attach(Connection::spawn(self, name, true), channel);
        match self.0.mode {
            ConnectionMode::Single => {
                let send = match beside {
                    None => own(channel(1)),
                    Some(other) => attach(other.commands.clone(), channel(other.channel + 1)),
                };
                Channels { send, others: None }
            }
            ConnectionMode::Shared { .. } => {
                let mut shared = self.shared();
                let emptiest = shared.iter_mut().enumerate().min_by_key(|(_, shared)| shared.channels());
                let (number, shared) = emptiest.expect("at least one is made");
                let connect = || Connection::spawn(self, &format!("kagemusha shared {number}"), false);
                let commands = shared.commands.get_or_insert_with(connect).clone();
                Channels { send: attach(commands, channel(shared.take_channel())), others: None }
            }
            ConnectionMode::Faithful => {
                let send = own(channel(1));
                let reply = own(channel(1).sending_by(send.clone()));
                let servers = process.topics.iter().map(|_| own(channel(1))).collect();
                Channels { send, others: Some(Box::new(Others { reply, servers })) }
            }
        }
    }

    fn shared(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The channel of a link that was closed can be used again.
    pub(crate) fn release(&self, handle: &Handle) {
        let is_its = |shared: &&mut Shared| {
            shared.commands.as_ref().is_some_and(|commands| commands.same_receiver(&handle.commands))
        };
        if let Some(shared) = self.shared().iter_mut().find(is_its) {
            shared.free_channels.push(handle.channel);
        }
    }

    /// Closes the connections that hypervisors shared.
    pub async fn close_shared(&self) {
        let shared: Vec<Shared> = self.shared().iter_mut().map(std::mem::take).collect();
        let mut waiting = Vec::new();
        for commands in shared.into_iter().filter_map(|shared| shared.commands) {
            let (done, closed) = oneshot::channel();
            if commands.unbounded_send(Command::End(done)).is_ok() {
                waiting.push(closed);
            }
        }
        for closed in waiting {
            let _task_gone = closed.await;
        }
    }
}

fn attach(commands: Commands, channel: Channel) -> Handle {
    let number = channel.number();
    let _runtime_gone = commands.unbounded_send(Command::Attach(Box::new(channel)));
    Handle { commands, channel: number }
}

/// Sends what there is, ends the connection and waits until the broker has done all of it.
async fn end(stream: &TcpStream, mut outbox: Outbox) -> Result<(), HandshakeError> {
    outbox.method(0, goodbye());
    tokio::time::timeout(END_TIMEOUT, drain(stream, outbox)).await.unwrap_or(Err(HandshakeError::TimedOut))
}

async fn drain(stream: &TcpStream, mut outbox: Outbox) -> Result<(), HandshakeError> {
    while !outbox.is_empty() {
        stream.writable().await?;
        outbox.flush(stream)?;
    }
    let (mut cutter, mut bytes, mut closed) = (Cutter::default(), [0; 1024], false);
    while !closed {
        stream.readable().await?;
        let read = match stream.try_read(&mut bytes) {
            Ok(0) => return Err(HandshakeError::HungUp),
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        };
        cutter.feed(&bytes[..read], outbox.frame_max_bytes(), |frame| {
            closed |= matches!(frame, Frame::Method(0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))));
            Ok::<_, HandshakeError>(())
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::address;

    fn shared(connections: u32) -> Broker {
        Broker::new(address(1), ConnectionMode::Shared { connections }, RabbitOptions::default(), Runtime::current())
    }

    /// As in the second of three processes of a fleet, which has every third host.
    #[tokio::test]
    async fn all_shared_connections_are_used_whichever_hosts_are_here() {
        let broker = shared(3);
        let (events, _events) = tokio::sync::mpsc::unbounded_channel();
        let open = |host| broker.open_channels(host, "host", &events, broker.nova_compute(), None);
        let links: Vec<Channels> = (0..9).map(|number| open(1 + 3 * number)).collect();
        let used = |broker: &Broker| -> Vec<usize> { broker.shared().iter().map(Shared::channels).collect() };
        assert_eq!(used(&broker), [3, 3, 3]);

        broker.release(&links[4].send);
        broker.release(&links[7].send);
        assert_eq!(used(&broker), [3, 1, 3]);
        let again = open(100);
        assert_eq!(used(&broker), [3, 2, 3]);
        assert!(again.send.commands.same_receiver(&links[4].send.commands) && again.send.channel <= 3);
    }
}
