//! Connections to RabbitMQ, by mode.

use std::sync::Arc;

use amqprs::{
    channel::Channel,
    connection::{Connection, OpenConnectionArguments},
};
use scenarios::plan::ConnectionMode;
use tokio::{
    runtime::Handle,
    sync::{Mutex, Notify, Semaphore},
};

use super::{HostIndex, consumers::CloseNotice};
use crate::Secret;

/// Where the broker is and who we are there.
#[derive(Debug, Clone)]
pub struct BrokerAddress {
    /// Host name or address.
    pub host: String,
    /// AMQP port.
    pub port: u16,
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
/// Seconds, as `heartbeat_timeout_threshold` has it.
const HEARTBEAT_S: u16 = 60;

/// A broker and the way a fleet connects to it. Cheap to clone.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    address: BrokerAddress,
    mode: ConnectionMode,
    runtime: Handle,
    connecting: Semaphore,
    /// Connections of `shared` mode, opened when the first hypervisor wants them.
    shared: Vec<Mutex<Option<Connection>>>,
}

/// The channels that one hypervisor uses; in `single` and `shared` mode they are one and the same.
pub(crate) struct Channels {
    pub(crate) compute: Channel,
    pub(crate) compute_alt: Channel,
    pub(crate) reply: Channel,
    pub(crate) send: Channel,
    /// Own connections, which end with the hypervisor; none in `shared` mode.
    connections: Vec<Connection>,
}

impl Channels {
    pub(crate) fn is_open(&self) -> bool {
        self.distinct().all(|channel| channel.is_open() && channel.is_connection_open())
    }

    fn distinct(&self) -> impl Iterator<Item = &Channel> {
        let all = [&self.compute, &self.compute_alt, &self.reply, &self.send];
        let several = self.connections.len() > 1;
        all.into_iter().take(if several { 4 } else { 1 })
    }

    pub(crate) async fn close(self) {
        if self.connections.is_empty() {
            // Errors of a close mean that it was closed already.
            let _already = self.send.close().await;
        }
        for connection in self.connections {
            let _already = connection.close().await;
        }
    }
}

impl Broker {
    /// Nothing is opened yet. Connections live on `runtime`.
    pub fn new(address: BrokerAddress, mode: ConnectionMode, runtime: Handle) -> Self {
        let shared = match mode {
            ConnectionMode::Shared { connections } => (0..connections).map(|_| Mutex::default()).collect(),
            ConnectionMode::Single | ConnectionMode::Faithful => Vec::new(),
        };
        let connecting = Semaphore::new(CONCURRENT_CONNECTS);
        Self(Arc::new(Inner { address, mode, runtime, connecting, shared }))
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Connects once, to tell a wrong address or password before a fleet tries.
    ///
    /// # Errors
    /// What the broker, or the network, said.
    pub async fn probe(&self) -> Result<(), LinkError> {
        let connection = self.connect("kagemusha probe").await?;
        let _already = connection.close().await;
        Ok(())
    }

    fn error(&self, reason: impl ToString) -> LinkError {
        let BrokerAddress { host, port, vhost, .. } = &self.0.address;
        LinkError { address: format!("{host}:{port}{vhost}"), reason: reason.to_string() }
    }

    async fn connect(&self, name: &str) -> Result<Connection, LinkError> {
        let _turn = self.0.connecting.acquire().await.expect("the semaphore is never closed");
        let BrokerAddress { host, port, user, password, vhost } = &self.0.address;
        let mut arguments = OpenConnectionArguments::new(host, *port, user, password.reveal());
        arguments.virtual_host(vhost).heartbeat(HEARTBEAT_S).connection_name(name);
        Connection::open(&arguments).await.map_err(|error| self.error(error))
    }

    /// Opens what one hypervisor needs; `lost` is notified when any of it breaks.
    pub(crate) async fn open(&self, host: HostIndex, name: &str, lost: &Arc<Notify>) -> Result<Channels, LinkError> {
        match self.0.mode {
            ConnectionMode::Faithful => self.open_faithful(name, lost).await,
            ConnectionMode::Single => {
                let connection = self.connect(name).await?;
                let channel = self.channel(&connection, lost).await?;
                Ok(Channels {
                    compute: channel.clone(),
                    compute_alt: channel.clone(),
                    reply: channel.clone(),
                    send: channel,
                    connections: vec![connection],
                })
            }
            ConnectionMode::Shared { connections } => {
                let slot = usize::try_from(host % connections.max(1)).expect("an index of a list");
                let channel = self.shared_channel(slot, lost).await?;
                Ok(Channels {
                    compute: channel.clone(),
                    compute_alt: channel.clone(),
                    reply: channel.clone(),
                    send: channel,
                    connections: Vec::new(),
                })
            }
        }
    }

    async fn open_faithful(&self, name: &str, lost: &Arc<Notify>) -> Result<Channels, LinkError> {
        let mut connections = Vec::with_capacity(4);
        let mut channels = Vec::with_capacity(4);
        for _ in 0..4 {
            let connection = self.connect(name).await?;
            channels.push(self.channel(&connection, lost).await?);
            connections.push(connection);
        }
        let mut next = channels.into_iter();
        let mut take = || next.next().expect("four were opened");
        Ok(Channels { compute: take(), compute_alt: take(), reply: take(), send: take(), connections })
    }

    async fn shared_channel(&self, slot: usize, lost: &Arc<Notify>) -> Result<Channel, LinkError> {
        let mut shared = self.0.shared[slot].lock().await;
        if shared.as_ref().is_none_or(|connection| !connection.is_open()) {
            *shared = Some(self.connect(&format!("kagemusha shared {slot}")).await?);
        }
        let connection = shared.as_ref().expect("it was opened just above");
        self.channel(connection, lost).await
    }

    async fn channel(&self, connection: &Connection, lost: &Arc<Notify>) -> Result<Channel, LinkError> {
        let channel = connection.open_channel(None).await.map_err(|error| self.error(error))?;
        let notice = CloseNotice(Arc::clone(lost));
        channel.register_callback(notice.clone()).await.map_err(|error| self.error(error))?;
        let confirm = amqprs::channel::ConfirmSelectArguments::default();
        channel.confirm_select(confirm).await.map_err(|error| self.error(error))?;
        Ok(channel)
    }

    /// Closes the connections that hypervisors shared.
    pub(crate) async fn close_shared(&self) {
        for slot in &self.0.shared {
            if let Some(connection) = slot.lock().await.take() {
                let _already = connection.close().await;
            }
        }
    }
}
