//! One AMQP channel of one hypervisor, without I/O: it is told what arrived and writes frames to an outbox.
//!
//! A channel outlives the connection under it: when that is lost it remembers what it has to declare and to publish, and
//! does so when it is opened again.

mod arrivals;
mod publisher;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use amq_protocol::{
    frame::AMQPContentHeader,
    protocol::{AMQPClass, basic, channel},
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use self::{
    arrivals::{Announced, Arrivals, Content, Seen},
    publisher::{Publisher, Wire},
};
use super::{
    EventSender, Farewell, HostIndex, LinkEvent,
    connection::{Command, Handle},
    envelope,
    link::Order,
    outbox::Outbox,
    outgoing::Outgoing,
    process::Process,
    topology::{self, CONSUMERS_PER_SERVER, short},
};

/// An RPC server that consumes here.
struct Server {
    topic: &'static str,
    /// Of its consumers, which have tags in a row.
    first_tag: u16,
    /// What makes the name of its queue on the fanout exchange unique.
    fanout: Uuid,
    seen: Seen,
}

/// The consumer of the reply queue.
struct Replies {
    tag: u16,
    /// Whether the broker has it.
    ready: bool,
    seen: Seen,
}

/// What the connection has to do for a channel.
#[derive(Debug)]
pub(crate) enum After {
    Nothing,
    /// Call [`Channel::wake`] then.
    WakeAt(Instant),
    /// The broker closed the channel, or it had to be: open it again after the usual pause.
    Reopen,
    /// The channel is closed for good; tell this one when its connection is, too.
    Gone(Option<oneshot::Sender<()>>),
}

/// One channel.
pub(crate) struct Channel {
    number: u16,
    host: HostIndex,
    name: Box<str>,
    events: EventSender,
    process: Arc<Process>,
    /// What makes the name of the process's reply queue unique.
    reply_queue: Uuid,
    /// `faithful` mode: calls leave on another connection, once the reply queue is here.
    sender: Option<Handle>,
    wanted: bool,
    open: bool,
    /// What is declared here.
    replies: Option<Replies>,
    servers: Vec<Server>,
    last_tag: u16,
    /// Answers that the broker owes.
    awaited: u32,
    told_lost: bool,
    held: Vec<Outgoing>,
    publisher: Publisher,
    arrivals: Arrivals,
    closing: Option<oneshot::Sender<()>>,
    /// It ends as the channel of a process that is gone: without a word.
    vanishes: bool,
}

impl Channel {
    pub(crate) fn new(number: u16, host: HostIndex, name: &str, events: EventSender, of: (Arc<Process>, Uuid)) -> Self {
        let (process, reply_queue) = of;
        Self {
            number,
            host,
            name: name.into(),
            events,
            process,
            reply_queue,
            sender: None,
            wanted: false,
            open: false,
            replies: None,
            servers: Vec::new(),
            last_tag: 0,
            awaited: 0,
            told_lost: false,
            held: Vec::new(),
            publisher: Publisher::default(),
            arrivals: Arrivals::default(),
            closing: None,
            vanishes: false,
        }
    }

    /// Calls leave by `sender`; replies come here.
    pub(crate) fn sending_by(mut self, sender: Handle) -> Self {
        self.sender = Some(sender);
        self
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// Whether its connection is to end without a word.
    pub(crate) fn vanishes(&self) -> bool {
        self.vanishes
    }

    /// Whether there is anything to do on it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted
    }

    fn tell(&self, event: LinkEvent) {
        let _fleet_stopped = self.events.send((self.host, event));
    }

    /// The connection could not be made, or is gone, or the channel is closed.
    pub(crate) fn lost(&mut self, reason: &str) -> After {
        self.open = false;
        self.awaited = 0;
        if let Some(replies) = &mut self.replies {
            replies.ready = false;
        }
        self.arrivals = Arrivals::default();
        self.publisher.closed();
        if !self.told_lost && self.wanted {
            self.told_lost = true;
            self.tell(LinkEvent::Lost(reason.to_owned()));
        }
        if self.closing.is_some() { After::Gone(self.closing.take()) } else { After::Reopen }
    }

    /// Opens the channel on a connection that is open, declares what was declared and publishes what waits.
    pub(crate) fn open(&mut self, outbox: &mut Outbox) {
        if self.open {
            return;
        }
        self.open = true;
        outbox.method(self.number, channel::AMQPMethod::Open(channel::Open {}));
        self.awaited = 1;
        let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
        if let Some(replies) = &self.replies {
            wire.declare(|declare| declare.replies(self.reply_queue, replies.tag));
        }
        for Server { topic, first_tag, fanout, .. } in &self.servers {
            wire.declare(|declare| declare.server(self.process.exchange, topic, &self.name, (*fanout, *first_tag)));
        }
        self.publisher.opened(&mut wire);
    }

    /// Does what the hypervisor asks for, now or when the channel is open.
    pub(crate) fn order(&mut self, order: Order, outbox: &mut Outbox) -> After {
        self.wanted = true;
        match order {
            Order::Close(done, farewell) => return self.close(done, farewell, outbox),
            Order::Open => {}
            Order::Replies => self.want_replies(outbox),
            Order::Serve { server } => self.serve(server, outbox),
            Order::Call { id, target, message, timeout } => {
                self.want_replies(outbox);
                let queue = topology::reply_queue(self.reply_queue);
                let message = Order::call(id, target, message, timeout, &queue);
                match &self.sender {
                    None => self.publish(message, outbox),
                    Some(_) => {
                        self.held.push(message);
                        self.forward_held();
                    }
                }
            }
            other => {
                if let Some(message) = other.into_outgoing() {
                    self.publish(message, outbox);
                }
            }
        }
        After::Nothing
    }

    fn serve(&mut self, server: usize, outbox: &mut Outbox) {
        let topic = self.process.topics[server];
        if self.servers.iter().any(|server| server.topic == topic) {
            return;
        }
        let (fanout, first_tag) = (Uuid::new_v4(), self.last_tag + 1);
        self.last_tag += CONSUMERS_PER_SERVER;
        self.servers.push(Server { topic, first_tag, fanout, seen: Seen::default() });
        if self.open {
            let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
            wire.declare(|declare| declare.server(self.process.exchange, topic, &self.name, (fanout, first_tag)));
        }
    }

    fn want_replies(&mut self, outbox: &mut Outbox) {
        if self.replies.is_some() {
            return;
        }
        self.last_tag += 1;
        let tag = self.last_tag;
        self.replies = Some(Replies { tag, ready: false, seen: Seen::with_room() });
        if self.open {
            let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
            wire.declare(|declare| declare.replies(self.reply_queue, tag));
        }
    }

    fn publish(&mut self, message: Outgoing, outbox: &mut Outbox) {
        let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
        self.publisher.submit(self.open.then_some(&mut wire), message);
    }

    fn forward_held(&mut self) {
        let ready = self.replies.as_ref().is_some_and(|replies| replies.ready);
        let Some(sender) = self.sender.as_ref().filter(|_| ready) else { return };
        // Without the room that they took: a link is idle most of its life.
        for message in std::mem::take(&mut self.held) {
            let _gone =
                sender.commands.unbounded_send(Command::Order(sender.channel, Box::new(Order::Forwarded(message))));
        }
    }

    /// Closes the channel, without the queues that are not to stay.
    fn close(&mut self, done: oneshot::Sender<()>, farewell: Farewell, outbox: &mut Outbox) -> After {
        let leaves = farewell == Farewell::Leave;
        self.vanishes = leaves && self.servers.is_empty();
        if !self.open || self.vanishes {
            return After::Gone(Some(done));
        }
        let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
        wire.declare(|declare| {
            for Server { topic, fanout, .. } in &self.servers {
                declare.delete_queue(&topology::fanout_queue(topic, *fanout), false);
                if !leaves {
                    declare.delete_queue(&topology::host_queue(topic, &self.name), false);
                }
            }
            if self.replies.is_some() && !leaves {
                declare.delete_queue(&topology::reply_queue(self.reply_queue), false);
            }
        });
        self.write_close(outbox);
        self.closing = Some(done);
        After::Nothing
    }

    fn write_close(&self, outbox: &mut Outbox) {
        let close = channel::Close { reply_code: 0, reply_text: short(""), class_id: 0, method_id: 0 };
        outbox.method(self.number, channel::AMQPMethod::Close(close));
    }

    /// A method of the broker's.
    pub(crate) fn method(&mut self, method: AMQPClass, outbox: &mut Outbox) -> After {
        use amq_protocol::protocol::{confirm, exchange, queue};
        match method {
            AMQPClass::Basic(method) => return self.basic(method, outbox),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                outbox.method(self.number, channel::AMQPMethod::CloseOk(channel::CloseOk {}));
                tracing::warn!(host = %self.name, reason = %close.reply_text, "the broker closed a channel");
                let reason = format!("the broker closed the channel: {} {}", close.reply_code, close.reply_text);
                return self.lost(&reason);
            }
            AMQPClass::Channel(channel::AMQPMethod::CloseOk(_)) => {
                return if self.closing.is_some() { After::Gone(self.closing.take()) } else { After::Reopen };
            }
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))
            | AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_))
            | AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_))
            | AMQPClass::Queue(
                queue::AMQPMethod::DeclareOk(_) | queue::AMQPMethod::BindOk(_) | queue::AMQPMethod::DeleteOk(_),
            ) => self.answered(),
            other => tracing::debug!(?other, "a method that is not for this client"),
        }
        After::Nothing
    }

    fn basic(&mut self, method: basic::AMQPMethod, outbox: &mut Outbox) -> After {
        match method {
            basic::AMQPMethod::ConsumeOk(ok) => {
                self.consuming(ok.consumer_tag.as_str().parse().unwrap_or_default());
                self.answered();
            }
            basic::AMQPMethod::Deliver(deliver) => self.arrivals.deliver(&deliver),
            basic::AMQPMethod::Return(returned) => {
                self.arrivals.announce(Announced::Return { routing_key: returned.routing_key.as_str().into() });
            }
            basic::AMQPMethod::Ack(ack) => return self.confirmed(ack.delivery_tag, ack.multiple, true),
            basic::AMQPMethod::Nack(nack) => return self.confirmed(nack.delivery_tag, nack.multiple, false),
            // A queue went away under its consumer. kombu starts over on a new channel; its answer to our close says when.
            basic::AMQPMethod::Cancel(_) if self.open && self.closing.is_none() => {
                self.write_close(outbox);
                let _reopened_later = self.lost("the broker cancelled a consumer");
            }
            basic::AMQPMethod::Cancel(_) => {}
            other => tracing::debug!(?other, "a method that is not for this client"),
        }
        After::Nothing
    }

    /// The broker has the consumer of this tag.
    fn consuming(&mut self, tag: u16) {
        if let Some(replies) = self.replies.as_mut().filter(|replies| replies.tag == tag) {
            replies.ready = true;
            self.forward_held();
        }
        let complete = |server: &&Server| server.first_tag + CONSUMERS_PER_SERVER - 1 == tag;
        if let Some(server) = self.servers.iter().find(complete) {
            self.tell(LinkEvent::Serving(server.topic));
        }
    }

    fn confirmed(&mut self, tag: u64, multiple: bool, taken: bool) -> After {
        self.publisher.confirmed(tag, multiple, taken).map_or(After::Nothing, After::WakeAt)
    }

    /// One of the answers that were awaited; after the last one all is as it was before a loss.
    fn answered(&mut self) {
        self.awaited = self.awaited.saturating_sub(1);
        if self.awaited == 0 && self.told_lost {
            self.told_lost = false;
            self.tell(LinkEvent::Restored);
        }
    }

    /// A time that was asked for has come.
    pub(crate) fn wake(&mut self, now: Instant, outbox: &mut Outbox) {
        let mut wire = Wire { channel: self.number, outbox, awaited: &mut self.awaited };
        self.publisher.retry_due(self.open.then_some(&mut wire), now);
    }

    pub(crate) fn header(&mut self, header: &AMQPContentHeader, outbox: &mut Outbox) {
        if let Some(content) = self.arrivals.header(header) {
            self.received(content, outbox);
        }
    }

    pub(crate) fn body(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        if let Some(content) = self.arrivals.body(bytes) {
            self.received(content, outbox);
        }
    }

    fn received(&mut self, content: Content, outbox: &mut Outbox) {
        let (consumer, delivery_tag) = match content.announced {
            Announced::Return { routing_key } => return self.publisher.returned(&routing_key),
            Announced::Delivery { consumer, delivery_tag } => (consumer, delivery_tag),
        };
        if !self.open {
            return; // the channel is being closed; the broker will deliver again
        }
        // Acknowledged on receipt, before anybody works on it (`amqpdriver.py`, `AMQPListener`).
        let ack = basic::Ack { delivery_tag, multiple: false };
        outbox.method(self.number, basic::AMQPMethod::Ack(ack));
        let is_its = |server: &Server| (server.first_tag..server.first_tag + CONSUMERS_PER_SERVER).contains(&consumer);
        match self.servers.iter().position(is_its) {
            Some(server) => self.requested(server, &content.body),
            None => self.replied(&content.body),
        }
    }

    fn replied(&mut self, body: &[u8]) {
        let (Some(reply), Some(replies)) = (envelope::read_reply(body), &mut self.replies) else { return };
        if !replies.seen.is_duplicate(reply.unique_id.as_deref()) {
            self.tell(LinkEvent::Reply(reply.to, reply.result));
        }
    }

    fn requested(&mut self, server: usize, body: &[u8]) {
        let request = match self.process.hears_broadcasts() {
            true => self.process.read_broadcast(body).map(LinkEvent::Broadcast),
            false => envelope::read_request(body).map(|request| LinkEvent::Request(Box::new(request))),
        };
        let unique_id = match &request {
            Some(LinkEvent::Broadcast(request)) => request.unique_id.as_deref(),
            Some(LinkEvent::Request(request)) => request.unique_id.as_deref(),
            _ => {
                let bytes = body.len();
                tracing::warn!(host = %self.name, bytes, "a message to a service is not an RPC request; dropped");
                return;
            }
        };
        let duplicate = self.servers[server].seen.is_duplicate(unique_id);
        if let Some(request) = request.filter(|_| !duplicate) {
            self.tell(request);
        }
    }
}
