//! A connection while it is open: reads, writes, heartbeats. What goes over its channels is the business of
//! [`super::channel::Channel`].

use std::{cmp::Reverse, collections::BinaryHeap, io};

use amq_protocol::protocol::{AMQPClass, connection};
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{
    channel::After,
    connection::{Command, Connection},
    frames::{Cutter, Frame, FrameError},
    handshake::Terms,
    outbox::Outbox,
    topology::short,
};

/// Two heartbeat periods without a byte: the broker is gone. A third of one without sending: send a heartbeat.
const SILENT_PERIODS: u32 = 2;
const IDLE_FRACTION: u32 = 3;
/// Read in one go, on the stack of whichever thread runs the task: connections have no read buffer of their own.
const READ_BYTES: usize = 16 << 10;
/// Reads and orders in a row before other connections have their turn.
const IN_A_ROW: usize = 16;
/// A broker that does not answer the end of a connection is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection is no more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker sent {0}")]
    Frame(#[from] FrameError),
    #[error("the broker closed the connection: {code} {text}")]
    Closed { code: u16, text: String },
    #[error("the broker hung up")]
    HungUp,
    #[error("nothing was heard of the broker for {0} s")]
    Silent(u64),
}

/// A connection while it is open.
pub(super) struct Session<'a> {
    connection: &'a mut Connection,
    stream: TcpStream,
    terms: Terms,
    outbox: Outbox,
    cutter: Cutter,
    last_sent: Instant,
    last_received: Instant,
    /// Channels that want to be woken, and whether to open them, soonest first.
    wakes: BinaryHeap<Reverse<(Instant, u16)>>,
    closed: bool,
}

impl<'a> Session<'a> {
    pub(super) fn new(connection: &'a mut Connection, stream: TcpStream, terms: Terms) -> Self {
        let now = Instant::now();
        Self {
            connection,
            stream,
            terms,
            outbox: Outbox::new(terms.frame_max_bytes),
            cutter: Cutter::default(),
            last_sent: now,
            last_received: now,
            wakes: BinaryHeap::new(),
            closed: false,
        }
    }

    /// Returns when the connection is lost, or closed because nobody wants it any more.
    pub(super) async fn run(&mut self) -> Result<(), Lost> {
        let numbers: Vec<u16> = self.connection.channels.keys().copied().collect();
        for number in numbers {
            self.open(number);
        }
        while !self.connection.ended {
            self.step().await?;
        }
        if self.connection.vanishes {
            return Ok(());
        }
        self.close().await
    }

    /// Sends what waits, then takes the next thing that happens.
    async fn step(&mut self) -> Result<(), Lost> {
        self.flush()?;
        let interest =
            if self.outbox.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
        let due = self.due();
        tokio::select! {
            ready = self.stream.ready(interest) => if ready?.is_readable() { self.read()? },
            command = self.connection.commands.recv() => self.take_orders(command),
            () = tokio::time::sleep_until(due) => self.tick()?,
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Lost> {
        if !self.outbox.is_empty() && self.outbox.flush(&self.stream)? {
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    fn due(&self) -> Instant {
        let heartbeat = self.last_sent + self.terms.heartbeat / IDLE_FRACTION;
        self.wakes.peek().map_or(heartbeat, |Reverse((wake, _))| heartbeat.min(*wake))
    }

    fn tick(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        let silence = now.duration_since(self.last_received);
        if silence > self.terms.heartbeat * SILENT_PERIODS {
            return Err(Lost::Silent(silence.as_secs()));
        }
        if now.duration_since(self.last_sent) >= self.terms.heartbeat / IDLE_FRACTION {
            self.outbox.heartbeat();
        }
        while let Some(Reverse((_, number))) = self.wakes.pop_if_due(now) {
            self.open(number);
            if let Some(channel) = self.connection.channels.get_mut(&number) {
                channel.wake(now, &mut self.outbox);
            }
        }
        Ok(())
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

    fn take_orders(&mut self, first: Option<Command>) {
        self.take_order(first);
        for _ in 0..IN_A_ROW {
            match self.connection.commands.try_recv() {
                Ok(command) => self.take_order(Some(command)),
                Err(_) => return,
            }
        }
    }

    fn take_order(&mut self, command: Option<Command>) {
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
                let delay = self.connection.broker.reconnect().delay;
                self.wakes.push(Reverse((Instant::now() + delay, number)));
            }
            After::Gone(waiter) => self.connection.forget(number, waiter),
        }
    }

    fn read(&mut self) -> Result<(), Lost> {
        let mut bytes = [0; READ_BYTES];
        for _ in 0..IN_A_ROW {
            let read = match self.stream.try_read(&mut bytes) {
                Ok(0) => return Err(Lost::HungUp),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.last_received = Instant::now();
            let mut cutter = std::mem::take(&mut self.cutter);
            cutter.feed(&bytes[..read], self.terms.frame_max_bytes, |frame| self.frame(frame))?;
            self.cutter = cutter;
            if read < bytes.len() {
                return Ok(());
            }
        }
        Ok(())
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
                self.flush()?;
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

    /// Says goodbye, so that the broker does not log a client that vanished.
    async fn close(&mut self) -> Result<(), Lost> {
        self.outbox.method(0, goodbye());
        let goodbye = async {
            while !self.closed {
                self.flush()?;
                let more = !self.outbox.is_empty();
                let interest = if more { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
                if self.stream.ready(interest).await?.is_readable() {
                    self.read()?;
                }
            }
            Ok::<_, Lost>(())
        };
        // Whatever happens to a connection that is being closed, it is closed.
        let _closed = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
        Ok(())
    }
}

/// The method that ends a connection in good order.
pub(crate) fn goodbye() -> connection::AMQPMethod {
    connection::AMQPMethod::Close(connection::Close {
        // As py-amqp closes.
        reply_code: 0,
        reply_text: short(""),
        class_id: 0,
        method_id: 0,
    })
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
