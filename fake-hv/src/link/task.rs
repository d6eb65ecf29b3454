//! The task behind a link: it owns the connections of one hypervisor and does what is queued for it, in order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use amqprs::{BasicProperties, channel::BasicPublishArguments, error::Error};
use hypervisor::RequestId;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    Broker, EventSender, HostIndex, LinkEvent, Message, ReplyTo, Target,
    broker::Channels,
    consumers::{Replies, Requests},
    envelope, topology,
};

/// What a link queues for its task.
pub(crate) enum Command {
    Call { id: RequestId, target: Target, message: Message, timeout: Duration },
    Cast { target: Target, message: Message },
    Fanout { topic: &'static str, message: Message },
    Reply { to: ReplyTo, result: Result<Value, (&'static str, String)> },
    Serve,
    Close(oneshot::Sender<()>),
}

/// The topics that a nova-compute serves since release 2026.2.
const TOPICS: [&str; 2] = ["compute", "compute-alt"];
/// kombu's first interval, step and longest interval between attempts to connect, in seconds, and oslo.messaging's
/// `kombu_reconnect_delay` before them.
const RETRY_INTERVAL_S: u64 = 1;
const RETRY_BACKOFF_S: u64 = 2;
const RETRY_INTERVAL_MAX_S: u64 = 30;
const RECONNECT_DELAY: Duration = Duration::from_secs(1);

/// State of one hypervisor's connection to the broker.
pub(crate) struct Session {
    broker: Broker,
    host: HostIndex,
    name: Box<str>,
    events: EventSender,
    lost: Arc<Notify>,
    serving: bool,
    reply_queue: Option<Box<str>>,
    fanout_queues: [Box<str>; 2],
    /// Exchanges declared on the sending channel since it was opened.
    declared: BTreeSet<&'static str>,
}

impl Session {
    pub(crate) fn new(broker: Broker, host: HostIndex, name: &str, events: EventSender) -> Self {
        let fanout_queues = TOPICS.map(|topic| topology::unique(&format!("{topic}_fanout")).into_boxed_str());
        Self {
            broker,
            host,
            name: name.into(),
            events,
            lost: Arc::default(),
            serving: false,
            reply_queue: None,
            fanout_queues,
            declared: BTreeSet::new(),
        }
    }

    /// Runs until it is closed.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Box<Command>>) {
        let mut channels = self.connect().await;
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                () = self.lost.notified() => {
                    channels = self.reconnect(channels, "the broker closed it").await;
                    continue;
                }
            };
            match command.map(|command| *command) {
                None => return channels.close().await,
                Some(Command::Close(done)) => {
                    self.clean_up(&channels).await;
                    channels.close().await;
                    let _waiter_gone = done.send(());
                    return;
                }
                Some(command) => {
                    if let Err(error) = self.perform(&channels, command).await {
                        channels = self.reconnect(channels, &error.to_string()).await;
                    }
                }
            }
        }
    }

    async fn reconnect(&mut self, channels: Channels, reason: &str) -> Channels {
        let _stopped = self.events.send((self.host, LinkEvent::Lost(reason.to_owned())));
        if channels.is_open() {
            channels.close().await;
        }
        tokio::time::sleep(RECONNECT_DELAY).await;
        let channels = self.connect().await;
        let _stopped = self.events.send((self.host, LinkEvent::Restored));
        channels
    }

    /// Opens channels and declares what was declared before; tries until it succeeds.
    async fn connect(&mut self) -> Channels {
        let mut interval_s = RETRY_INTERVAL_S;
        loop {
            match self.try_connect().await {
                Ok(channels) => return channels,
                Err(error) => tracing::debug!(host = %self.name, %error, "cannot connect; trying again"),
            }
            tokio::time::sleep(Duration::from_secs(interval_s)).await;
            interval_s = (interval_s + RETRY_BACKOFF_S).min(RETRY_INTERVAL_MAX_S);
        }
    }

    async fn try_connect(&mut self) -> Result<Channels, String> {
        let channels = self.broker.open(self.host, &self.name, &self.lost).await.map_err(|error| error.to_string())?;
        self.declared.clear();
        if let Some(queue) = self.reply_queue.clone() {
            self.consume_replies(&channels, &queue).await.map_err(|error| error.to_string())?;
        }
        if self.serving {
            self.serve(&channels).await.map_err(|error| error.to_string())?;
        }
        Ok(channels)
    }

    async fn perform(&mut self, channels: &Channels, command: Command) -> Result<(), Error> {
        match command {
            Command::Call { id, target, message, timeout } => {
                let queue = self.reply_queue(channels).await?;
                self.declare(channels, target.exchange).await?;
                let body = message.call(id, &queue);
                publish(channels, target.exchange, target.topic, body, Some(timeout), false).await
            }
            Command::Cast { target, message } => {
                self.declare(channels, target.exchange).await?;
                publish(channels, target.exchange, target.topic, message.cast(), None, false).await
            }
            Command::Fanout { topic, message } => {
                if self.declared.insert(topic) {
                    topology::fanout_exchange(&channels.send, topic).await?;
                }
                publish(channels, &format!("{topic}_fanout"), "", message.cast(), None, false).await
            }
            Command::Reply { to, result } => {
                let body = envelope::write_reply(&to, result);
                publish(channels, "", &to.queue, body, None, true).await
            }
            Command::Serve => {
                self.serving = true;
                self.serve(channels).await
            }
            Command::Close(_) => unreachable!("the loop takes it"),
        }
    }

    async fn declare(&mut self, channels: &Channels, exchange: &'static str) -> Result<(), Error> {
        if self.declared.insert(exchange) {
            topology::topic_exchange(&channels.send, exchange).await?;
        }
        Ok(())
    }

    /// The reply queue, made at the first call.
    async fn reply_queue(&mut self, channels: &Channels) -> Result<Box<str>, Error> {
        if let Some(queue) = &self.reply_queue {
            return Ok(queue.clone());
        }
        let queue = topology::unique("reply").into_boxed_str();
        self.consume_replies(channels, &queue).await?;
        self.reply_queue = Some(queue.clone());
        Ok(queue)
    }

    async fn consume_replies(&self, channels: &Channels, queue: &str) -> Result<(), Error> {
        topology::reply_queue(&channels.reply, queue, Replies::new(self.host, self.events.clone())).await
    }

    async fn serve(&self, channels: &Channels) -> Result<(), Error> {
        let listeners = [&channels.compute, &channels.compute_alt];
        for ((topic, channel), fanout_queue) in TOPICS.into_iter().zip(listeners).zip(&self.fanout_queues) {
            let consumer = || Requests::new(self.host, self.events.clone());
            topology::rpc_server(channel, topic, &self.name, fanout_queue, consumer).await?;
        }
        Ok(())
    }

    /// Deletes the queues that only this host uses, so that a run leaves none behind.
    async fn clean_up(&self, channels: &Channels) {
        let hosts = TOPICS.iter().map(|topic| topology::host_queue(topic, &self.name));
        let fanouts = self.fanout_queues.iter().map(ToString::to_string);
        let served = hosts.chain(fanouts).filter(|_| self.serving);
        for queue in served.chain(self.reply_queue.iter().map(ToString::to_string)) {
            if let Err(error) = topology::delete(&channels.send, &queue).await {
                tracing::warn!(queue, %error, "a queue of a simulated hypervisor could not be deleted");
                return;
            }
        }
    }
}

async fn publish(
    channels: &Channels,
    exchange: &str,
    routing_key: &str,
    body: Vec<u8>,
    expires_after: Option<Duration>,
    mandatory: bool,
) -> Result<(), Error> {
    let mut properties = BasicProperties::default();
    properties
        .with_content_type("application/json")
        .with_content_encoding("utf-8")
        .with_persistence(true)
        .with_priority(0)
        .with_headers(amqprs::FieldTable::new());
    if let Some(timeout) = expires_after {
        properties.with_expiration(&timeout.as_millis().to_string());
    }
    let arguments = BasicPublishArguments::new(exchange, routing_key).mandatory(mandatory).finish();
    channels.send.basic_publish(properties.finish(), body, arguments).await
}
