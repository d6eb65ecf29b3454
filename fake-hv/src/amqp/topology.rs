//! Exchanges, queues and consumers, declared as oslo.messaging declares them (`impl_rabbit.py`, class `Consumer`).

use amq_protocol::{
    protocol::{basic, exchange, queue},
    types::{AMQPValue, FieldTable, ShortString},
};
use uuid::Uuid;

use super::{outbox::Outbox, outgoing::Exchange};

/// `rabbit_transient_queues_ttl`, 1,800 s, in milliseconds: reply and fanout queues go when nobody uses them for that long.
const TRANSIENT_QUEUES_TTL_MS: i32 = 1_800_000;
/// `control_exchange` of Nova.
pub(crate) const NOVA: &str = "nova";
/// `control_exchange` of Neutron.
pub(crate) const NEUTRON: &str = "neutron";
/// The topics that a nova-compute may serve, each with an RPC server of its own; which ones a release does is in its data.
pub(crate) const TOPICS: [&str; 2] = ["compute", "compute-alt"];
/// Consumers of one RPC server: the topic, the topic on this host, everyone.
pub(crate) const CONSUMERS_PER_SERVER: u16 = 3;

/// A name for the wire. AMQP counts its length in one byte; names from outside are checked where they come in, so the
/// empty name stands for a defect of ours, and the broker refuses it.
pub(crate) fn short(text: impl Into<String>) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

/// The queue of a topic on one host.
pub(crate) fn host_queue(topic: &str, host: &str) -> String {
    format!("{topic}.{host}")
}

/// The exchange that copies to every consumer of a topic.
pub(crate) fn fanout_exchange_name(topic: &str) -> String {
    format!("{topic}_fanout")
}

/// A consumer's own queue on a fanout exchange.
pub(crate) fn fanout_queue(topic: &str, id: Uuid) -> String {
    format!("{topic}_fanout_{}", id.simple())
}

/// The queue that answers to one process come to.
pub(crate) fn reply_queue(id: Uuid) -> String {
    format!("reply_{}", id.simple())
}

/// Writes declarations to one channel and counts the answers they will have.
pub(crate) struct Declare<'a> {
    pub(crate) channel: u16,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) answers: u32,
}

impl Declare<'_> {
    /// Declares an exchange; the default one needs none.
    pub(crate) fn exchange(&mut self, exchange: Exchange) {
        let (name, kind, auto_delete) = match exchange {
            Exchange::Default => return,
            Exchange::Topic(name) => (name.to_owned(), "topic", false),
            Exchange::Fanout(topic) => (fanout_exchange_name(topic), "fanout", true),
        };
        let declare = exchange::Declare {
            exchange: short(name),
            kind: short(kind),
            passive: false,
            durable: false,
            auto_delete,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.outbox.method(self.channel, exchange::AMQPMethod::Declare(declare));
        self.answers += 1;
    }

    fn queue(&mut self, name: &str, transient: bool) {
        let mut arguments = FieldTable::default();
        if transient {
            arguments.insert(short("x-expires"), AMQPValue::LongInt(TRANSIENT_QUEUES_TTL_MS));
        }
        let declare = queue::Declare {
            queue: short(name),
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments,
        };
        self.outbox.method(self.channel, queue::AMQPMethod::Declare(declare));
        self.answers += 1;
    }

    fn bind(&mut self, queue: &str, exchange: &str, routing_key: &str) {
        let bind = queue::Bind {
            queue: short(queue),
            exchange: short(exchange),
            routing_key: short(routing_key),
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.outbox.method(self.channel, queue::AMQPMethod::Bind(bind));
        self.answers += 1;
    }

    fn consume(&mut self, queue: &str, tag: u16) {
        let consume = basic::Consume {
            queue: short(queue),
            consumer_tag: short(tag.to_string()),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.outbox.method(self.channel, basic::AMQPMethod::Consume(consume));
        self.answers += 1;
    }

    /// The reply queue of a process and its consumer.
    pub(crate) fn replies(&mut self, id: Uuid, tag: u16) {
        let name = reply_queue(id);
        self.queue(&name, true);
        self.consume(&name, tag);
    }

    /// The three queues of an RPC server, then their consumers: the id of its own queue, and the first tag, are its own.
    pub(crate) fn server(&mut self, exchange: &'static str, topic: &'static str, host: &str, own: (Uuid, u16)) {
        let (fanout, first_tag) = own;
        let queues = [topic.to_owned(), host_queue(topic, host), fanout_queue(topic, fanout)];
        for name in &queues[..2] {
            self.exchange(Exchange::Topic(exchange));
            self.queue(name, false);
            self.bind(name, exchange, name);
        }
        self.exchange(Exchange::Fanout(topic));
        self.queue(&queues[2], true);
        self.bind(&queues[2], &fanout_exchange_name(topic), topic);
        for (tag, name) in (first_tag..).zip(&queues) {
            self.consume(name, tag);
        }
    }

    /// Deletes a queue, used or not; one that does not exist is fine.
    pub(crate) fn delete_queue(&mut self, name: &str, if_unused: bool) {
        let delete = queue::Delete { queue: short(name), if_unused, if_empty: false, nowait: false };
        self.outbox.method(self.channel, queue::AMQPMethod::Delete(delete));
        self.answers += 1;
    }
}
