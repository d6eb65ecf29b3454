//! A message on its way to the broker.

use amq_protocol::{
    protocol::{BasicProperties, basic},
    types::FieldTable,
};
use tokio::time::{Duration, Instant};

use super::topology::short;

/// Where a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// The nameless one, which routes to the queue named by the routing key.
    Default,
    /// A project's topic exchange.
    Topic(&'static str),
    /// The fanout exchange of a topic.
    Fanout(&'static str),
}

/// A message, kept until the broker confirms it, because oslo.messaging publishes it again when the connection breaks.
#[derive(Debug, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) exchange: Exchange,
    pub(crate) routing_key: Box<str>,
    pub(crate) body: Box<[u8]>,
    /// Set on calls: how long the caller waits, which is also the message's time to live.
    pub(crate) timeout: Option<Duration>,
    /// When it was handed over.
    pub(crate) born: Instant,
    /// The broker gives it back when it reaches no queue; set on answers.
    pub(crate) mandatory: bool,
    /// The broker gave it back.
    pub(crate) returned: bool,
}

impl Outgoing {
    pub(crate) fn new(exchange: Exchange, routing_key: impl Into<Box<str>>, body: Vec<u8>) -> Self {
        Self {
            exchange,
            routing_key: routing_key.into(),
            body: body.into_boxed_slice(),
            timeout: None,
            born: Instant::now(),
            mandatory: false,
            returned: false,
        }
    }

    pub(crate) fn expiring(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) fn mandatory(mut self) -> Self {
        self.mandatory = true;
        self
    }

    /// Whether its caller has given up: a call that could not be sent in time is not sent at all.
    pub(crate) fn is_stale(&self, now: Instant) -> bool {
        self.timeout.is_some_and(|timeout| now.duration_since(self.born) > timeout)
    }

    pub(crate) fn publish(&self) -> basic::Publish {
        let exchange = match self.exchange {
            Exchange::Default => String::new(),
            Exchange::Topic(name) => name.to_owned(),
            Exchange::Fanout(topic) => super::topology::fanout_exchange_name(topic),
        };
        basic::Publish {
            exchange: short(exchange),
            routing_key: short(&*self.routing_key),
            mandatory: self.mandatory,
            immediate: false,
        }
    }

    /// Properties as kombu sets them: persistent JSON with empty headers.
    pub(crate) fn properties(&self) -> BasicProperties {
        let properties = BasicProperties::default()
            .with_content_type(short("application/json"))
            .with_content_encoding(short("utf-8"))
            .with_headers(FieldTable::default())
            .with_delivery_mode(2)
            .with_priority(0);
        match self.timeout {
            Some(timeout) => properties.with_expiration(short(timeout.as_millis().to_string())),
            None => properties,
        }
    }
}
