//! A connection while it is open: reads, writes, heartbeats. What is said on it is the business of [`Dialogue`].

use std::io;

use amq_protocol::protocol::connection;
use tokio::{
    io::Interest,
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{
    connection::Connection,
    dialogue::{Dialogue, IN_A_ROW, Lost},
    handshake::Terms,
    topology::short,
};

/// Two heartbeat periods without a byte: the broker is gone. A third of one without sending: send a heartbeat.
const SILENT_PERIODS: u32 = 2;
const IDLE_FRACTION: u32 = 3;
/// Read in one go, on the stack of whichever thread runs the task: connections have no read buffer of their own.
const READ_BYTES: usize = 16 << 10;
/// A broker that does not answer the end of a connection is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection while it is open.
pub(super) struct Session<'a> {
    dialogue: Dialogue<'a>,
    stream: TcpStream,
    heartbeat: Duration,
    last_sent: Instant,
    last_received: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(connection: &'a mut Connection, stream: TcpStream, terms: Terms) -> Self {
        let now = Instant::now();
        let dialogue = Dialogue::new(connection, terms);
        Self { dialogue, stream, heartbeat: terms.heartbeat, last_sent: now, last_received: now }
    }

    /// Returns when the connection is lost, or closed because nobody wants it any more.
    pub(super) async fn run(&mut self) -> Result<(), Lost> {
        // There was none to be lost until now.
        self.dialogue.connection.cut = false;
        self.dialogue.open_all();
        while !self.dialogue.connection.ended {
            self.step().await?;
        }
        if self.dialogue.connection.vanishes {
            return Ok(());
        }
        self.close().await
    }

    /// Sends what waits, then takes the next thing that happens.
    async fn step(&mut self) -> Result<(), Lost> {
        self.flush()?;
        let interest = self.interest();
        let due = self.due();
        tokio::select! {
            ready = self.stream.ready(interest) => if ready?.is_readable() { self.read()? },
            command = self.dialogue.connection.commands.recv() => self.dialogue.take_orders(command.ok()),
            () = tokio::time::sleep_until(due) => self.tick()?,
        }
        // Of what is waited for, the queue of commands does not count towards this task's turn by itself.
        tokio::task::consume_budget().await;
        if self.dialogue.connection.cut { Err(Lost::Cut) } else { Ok(()) }
    }

    fn interest(&self) -> Interest {
        if self.dialogue.outbox.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE }
    }

    fn flush(&mut self) -> Result<(), Lost> {
        if !self.dialogue.outbox.is_empty() && self.dialogue.outbox.flush(&self.stream)? {
            self.last_sent = Instant::now();
        }
        Ok(())
    }

    fn due(&self) -> Instant {
        let heartbeat = self.last_sent + self.heartbeat / IDLE_FRACTION;
        self.dialogue.due().map_or(heartbeat, |wake| heartbeat.min(wake))
    }

    fn tick(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        let silence = now.duration_since(self.last_received);
        if silence > self.heartbeat * SILENT_PERIODS {
            return Err(Lost::Silent(silence.as_secs()));
        }
        if now.duration_since(self.last_sent) >= self.heartbeat / IDLE_FRACTION {
            self.dialogue.outbox.heartbeat();
        }
        self.dialogue.wake_due(now);
        Ok(())
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
            if let Err(lost) = self.dialogue.received(&bytes[..read]) {
                // A broker that said goodbye gets its answer.
                self.flush()?;
                return Err(lost);
            }
            if read < bytes.len() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Says goodbye, so that the broker does not log a client that vanished.
    async fn close(&mut self) -> Result<(), Lost> {
        self.dialogue.outbox.method(0, goodbye());
        let goodbye = async {
            while !self.dialogue.closed {
                self.flush()?;
                if self.stream.ready(self.interest()).await?.is_readable() {
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
