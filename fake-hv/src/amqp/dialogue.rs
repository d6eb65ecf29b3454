//! What is said on a connection while it is open, without its socket: frames in, frames out. What goes over its channels is
//! the business of [`super::channel::Channel`].

use std::{cmp::Reverse, collections::BinaryHeap, io};

use amq_protocol::protocol::{AMQPClass, connection};
use tokio::time::Instant;

use super::{
    channel::After,
    connection::{Command, Connection},
    frames::{Cutter, Frame, FrameError},
    handshake::Terms,
    outbox::Outbox,
};

/// Orders in a row before other connections have their turn.
pub(super) const IN_A_ROW: usize = 16;

/// Why a connection is no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker sent {0}")]
    Frame(#[from] FrameError),
    #[error("the broker closed the connection: {code} {text}")]
    Closed { code: u16, text: String },
    #[error("the scenario cut it")]
    Cut,
    #[error("the broker hung up")]
    HungUp,
    #[error("nothing was heard of the broker for {0} s")]
    Silent(u64),
}

/// One side of a connection.
pub(crate) struct Dialogue<'a> {
    pub(super) connection: &'a mut Connection,
    terms: Terms,
    pub(crate) outbox: Outbox,
    cutter: Cutter,
    /// Channels that want to be woken, and whether to open them, soonest first.
    wakes: BinaryHeap<Reverse<(Instant, u16)>>,
    /// The broker has agreed to the end.
    pub(super) closed: bool,
}

impl<'a> Dialogue<'a> {
    pub(crate) fn new(connection: &'a mut Connection, terms: Terms) -> Self {
        let outbox = Outbox::new(terms.frame_max_bytes);
        Self { connection, terms, outbox, cutter: Cutter::default(), wakes: BinaryHeap::new(), closed: false }
    }

    pub(crate) fn open_all(&mut self) {
        let numbers: Vec<u16> = self.connection.channels.keys().copied().collect();
        for number in numbers {
            self.open(number);
        }
    }

    /// When a channel wants to be woken.
    pub(super) fn due(&self) -> Option<Instant> {
        self.wakes.peek().map(|Reverse((wake, _))| *wake)
    }

    pub(crate) fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((_, number))) = self.wakes.pop_if_due(now) {
            self.open(number);
            if let Some(channel) = self.connection.channels.get_mut(&number) {
                channel.wake(now, &mut self.outbox);
            }
        }
    }

    /// Takes what the broker sent, in whatever pieces.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let mut cutter = std::mem::take(&mut self.cutter);
        cutter.feed(bytes, self.terms.frame_max_bytes, |frame| self.frame(frame))?;
        self.cutter = cutter;
        Ok(())
    }

    /// Bytes that wait for the rest of their frame.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.cutter.kept_bytes()
    }

    fn open(&mut self, number: u16) {
        let Some(channel) = self.connection.channels.get_mut(&number) else { return };
        if number > self.terms.channel_max {
            let allowed = self.terms.channel_max;
            let _for_good =
                channel.lost(&format!("the broker allows {allowed} channels on a connection; share more connections"));
        } else if channel.is_wanted() {
            channel.open(&mut self.outbox);
        }
    }

    pub(super) fn take_orders(&mut self, first: Option<Command>) {
        self.take_order(first);
        for _ in 0..IN_A_ROW {
            match self.connection.commands.try_recv() {
                Ok(command) => self.take_order(Some(command)),
                Err(_) => return,
            }
        }
    }

    pub(crate) fn take_order(&mut self, command: Option<Command>) {
        let Some(Command::Order(number, order)) = command else { return self.connection.offline(command) };
        let Some(channel) = self.connection.channels.get_mut(&number) else { return };
        let was_wanted = channel.is_wanted();
        let after = channel.order(*order, &mut self.outbox);
        if !was_wanted {
            self.open(number);
        }
        self.follow(number, after);
    }

    fn follow(&mut self, number: u16, after: After) {
        match after {
            After::Nothing => {}
            After::WakeAt(wake) => self.wakes.push(Reverse((wake, number))),
            After::Reopen => {
                let delay = self.connection.broker.options().reconnect_delay;
                self.wakes.push(Reverse((Instant::now() + delay, number)));
            }
            After::Gone(waiter) => self.connection.forget(number, waiter),
        }
    }

    fn frame(&mut self, frame: Frame<'_>) -> Result<(), Lost> {
        let (number, after) = match frame {
            Frame::Heartbeat => return Ok(()),
            Frame::Method(0, AMQPClass::Connection(method)) => return self.connection_method(method),
            Frame::Method(number, method) => {
                let Some(channel) = self.connection.channels.get_mut(&number) else { return Ok(()) };
                (number, channel.method(method, &mut self.outbox))
            }
            Frame::Header(number, header) => {
                let Some(channel) = self.connection.channels.get_mut(&number) else { return Ok(()) };
                channel.header(&header, &mut self.outbox);
                return Ok(());
            }
            Frame::Body(number, bytes) => {
                let Some(channel) = self.connection.channels.get_mut(&number) else { return Ok(()) };
                channel.body(bytes, &mut self.outbox);
                return Ok(());
            }
        };
        self.follow(number, after);
        Ok(())
    }

    fn connection_method(&mut self, method: connection::AMQPMethod) -> Result<(), Lost> {
        match method {
            connection::AMQPMethod::Close(close) => {
                self.outbox.method(0, connection::AMQPMethod::CloseOk(connection::CloseOk {}));
                Err(Lost::Closed { code: close.reply_code, text: close.reply_text.to_string() })
            }
            connection::AMQPMethod::CloseOk(_) => {
                self.closed = true;
                Ok(())
            }
            connection::AMQPMethod::Blocked(blocked) => {
                tracing::warn!(reason = %blocked.reason, "the broker takes no more messages for now");
                Ok(())
            }
            other => {
                tracing::debug!(?other, "a method of the connection that asks for nothing");
                Ok(())
            }
        }
    }
}

/// Taking the next wake only when it is due.
trait PopIfDue {
    fn pop_if_due(&mut self, now: Instant) -> Option<Reverse<(Instant, u16)>>;
}

impl PopIfDue for BinaryHeap<Reverse<(Instant, u16)>> {
    fn pop_if_due(&mut self, now: Instant) -> Option<Reverse<(Instant, u16)>> {
        if self.peek().is_some_and(|Reverse((wake, _))| *wake <= now) { self.pop() } else { None }
    }
}
