//! The sending side of a channel: exchanges declared once, publisher confirms, answers that find no queue.

use std::collections::VecDeque;

use amq_protocol::protocol::confirm;
use tokio::time::{Duration, Instant};

use crate::amqp::{
    outbox::Outbox,
    outgoing::{Exchange, Outgoing},
    topology::Declare,
};

/// Pause before an answer whose queue is missing is sent again (`amqpdriver.py`, `AMQPIncomingMessage.reply`).
const MISSING_QUEUE_RETRY: Duration = Duration::from_millis(250);
/// `kombu_missing_consumer_retry_timeout`, and the time a queue then counts as obsolete.
const MISSING_QUEUE_TIMEOUT: Duration = Duration::from_secs(60);
/// Queues remembered as obsolete (`ObsoleteReplyQueuesCache.SIZE`).
const OBSOLETE_QUEUES: usize = 200;
/// Pause after the broker could not take a message.
const NACK_RETRY: Duration = Duration::from_secs(1);

/// An open channel to write to.
pub(crate) struct Wire<'a> {
    pub(crate) channel: u16,
    pub(crate) outbox: &'a mut Outbox,
    /// Answers that the broker owes this channel.
    pub(crate) awaited: &'a mut u32,
}

impl Wire<'_> {
    /// Declares, and waits for the answers in the background.
    pub(crate) fn declare(&mut self, write: impl FnOnce(&mut Declare<'_>)) {
        let mut declare = Declare { channel: self.channel, outbox: self.outbox, answers: 0 };
        write(&mut declare);
        *self.awaited += declare.answers;
    }
}

/// Messages on their way.
#[derive(Default)]
pub(crate) struct Publisher {
    confirming: bool,
    declared: Vec<Exchange>,
    /// Number that the broker gave to the first of `unconfirmed`.
    first_tag: u64,
    /// Published and not confirmed, in order; `None`: confirmed out of order.
    unconfirmed: VecDeque<Option<Outgoing>>,
    /// To be published when the channel is open.
    waiting: Vec<Outgoing>,
    /// To be published again, and when.
    retries: Vec<(Instant, Outgoing)>,
    /// Reply queues that are gone for good, and since when.
    obsolete: VecDeque<(Instant, Box<str>)>,
}

impl Publisher {
    /// Publishes, or keeps the message until there is a wire.
    pub(crate) fn submit(&mut self, wire: Option<&mut Wire<'_>>, message: Outgoing) {
        let now = Instant::now();
        if message.is_stale(now) || (message.mandatory && self.is_obsolete(&message.routing_key, now)) {
            return;
        }
        let Some(wire) = wire else { return self.waiting.push(message) };
        // As kombu and py-amqp: confirms are asked for with the first message, after its exchange.
        if message.exchange != Exchange::Default && !self.declared.contains(&message.exchange) {
            wire.declare(|declare| declare.exchange(message.exchange));
            self.declared.push(message.exchange);
        }
        if !self.confirming {
            let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
            wire.outbox.method(wire.channel, select);
            *wire.awaited += 1;
            self.confirming = true;
            self.first_tag = 1;
        }
        wire.outbox.message(wire.channel, &message);
        self.unconfirmed.push_back(Some(message));
    }

    /// The channel is open (again): publishes what was kept, and what was never confirmed once more. The other side drops
    /// what it has seen before.
    pub(crate) fn opened(&mut self, wire: &mut Wire<'_>) {
        for message in std::mem::take(&mut self.waiting) {
            self.submit(Some(wire), message);
        }
    }

    /// The channel is gone, and with it all confirms.
    pub(crate) fn closed(&mut self) {
        let mut again: Vec<_> = std::mem::take(&mut self.unconfirmed).into_iter().flatten().collect();
        for message in &mut again {
            message.returned = false;
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        self.confirming = false;
        self.declared = Vec::new();
    }

    /// The broker gave a message back; its confirm follows.
    pub(crate) fn returned(&mut self, routing_key: &str) {
        let candidates = self.unconfirmed.iter_mut().flatten();
        let mut missed = candidates.filter(|message| message.mandatory && !message.returned);
        if let Some(message) = missed.find(|message| &*message.routing_key == routing_key) {
            message.returned = true;
        }
    }

    /// The broker confirmed (`taken`) or could not take a message, or all up to it. Returns when to call
    /// [`Publisher::retry_due`].
    pub(crate) fn confirmed(&mut self, tag: u64, multiple: bool, taken: bool) -> Option<Instant> {
        let last = tag.checked_sub(self.first_tag).and_then(|last| usize::try_from(last).ok())?;
        let first = if multiple { 0 } else { last };
        let now = Instant::now();
        let mut wake = None;
        for index in first..=last.min(self.unconfirmed.len().saturating_sub(1)) {
            let Some(message) = self.unconfirmed.get_mut(index).and_then(Option::take) else { continue };
            let pause = match (taken, message.returned) {
                (true, false) => continue,
                (true, true) => MISSING_QUEUE_RETRY,
                (false, _) => NACK_RETRY,
            };
            if let Some(due) = self.retry(message, now, pause) {
                wake = wake.map_or(Some(due), |wake: Instant| Some(wake.min(due)));
            }
        }
        while let Some(None) = self.unconfirmed.front() {
            self.unconfirmed.pop_front();
            self.first_tag += 1;
        }
        if self.unconfirmed.is_empty() {
            self.unconfirmed = VecDeque::new(); // a link is idle most of its life
        }
        wake
    }

    fn retry(&mut self, mut message: Outgoing, now: Instant, pause: Duration) -> Option<Instant> {
        if message.returned && now.duration_since(message.born) >= MISSING_QUEUE_TIMEOUT {
            tracing::debug!(queue = %message.routing_key, "the reply queue is gone; the answer is dropped");
            self.obsolete.push_back((now, message.routing_key));
            if self.obsolete.len() > OBSOLETE_QUEUES {
                self.obsolete.pop_front();
            }
            return None;
        }
        message.returned = false;
        self.retries.push((now + pause, message));
        Some(now + pause)
    }

    fn is_obsolete(&mut self, queue: &str, now: Instant) -> bool {
        while self.obsolete.front().is_some_and(|(since, _)| now.duration_since(*since) >= MISSING_QUEUE_TIMEOUT) {
            self.obsolete.pop_front();
        }
        self.obsolete.iter().any(|(_, obsolete)| &**obsolete == queue)
    }

    /// Publishes again what is due.
    pub(crate) fn retry_due(&mut self, mut wire: Option<&mut Wire<'_>>, now: Instant) {
        let (due, later) = std::mem::take(&mut self.retries).into_iter().partition(|(at, _)| *at <= now);
        self.retries = later;
        for (_, message) in Vec::<(Instant, Outgoing)>::from_iter(due) {
            self.submit(wire.as_deref_mut(), message);
        }
    }
}
