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

/// Heartbeat periods without a byte after which the broker is gone.
const SILENT_PERIODS: u32 = 2;
/// Read in one go, on the stack of whichever thread runs the task: connections have no read buffer of their own.
const READ_BYTES: usize = 16 << 10;
/// A broker that does not answer the end of a connection is not waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What each end of a connection says when it has nothing else to say.
#[derive(Debug, Clone, Copy)]
struct Heartbeat {
    /// After so long without sending one is sent.
    idle: Duration,
    /// After so long without a byte the broker is gone.
    silence: Duration,
}

impl Heartbeat {
    /// When one is to be sent, or the broker is gone. Behind bytes that wait for the broker to read them another frame says nothing.
    fn due(self, last_sent: Instant, last_received: Instant, waits: bool) -> Instant {
        let gone = last_received + self.silence;
        if waits { gone } else { gone.min(last_sent + self.idle) }
    }
}

/// A connection while it is open.
pub(super) struct Session<'a> {
    dialogue: Dialogue<'a>,
    stream: TcpStream,
    heartbeat: Option<Heartbeat>,
    last_sent: Instant,
    last_received: Instant,
}

impl<'a> Session<'a> {
    pub(super) fn new(connection: &'a mut Connection, stream: TcpStream, terms: Terms) -> Self {
        let now = Instant::now();
        let heartbeat = terms.heartbeat.map(|period| {
            let rate = connection.broker.options().heartbeat_rate;
            Heartbeat { idle: period / rate.max(1), silence: period * SILENT_PERIODS }
        });
        let dialogue = Dialogue::new(connection, terms);
        Self { dialogue, stream, heartbeat, last_sent: now, last_received: now }
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
            () = at(due) => self.tick()?,
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

    fn due(&self) -> Option<Instant> {
        let waits = !self.dialogue.outbox.is_empty();
        let heartbeat = self.heartbeat.map(|heartbeat| heartbeat.due(self.last_sent, self.last_received, waits));
        heartbeat.into_iter().chain(self.dialogue.due()).min()
    }

    fn tick(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        if let Some(heartbeat) = self.heartbeat {
            let silence = now.duration_since(self.last_received);
            if silence >= heartbeat.silence {
                return Err(Lost::Silent(silence.as_secs()));
            }
            if self.dialogue.outbox.is_empty() && now.duration_since(self.last_sent) >= heartbeat.idle {
                self.dialogue.outbox.heartbeat();
            }
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

/// Waits until then; without a time for ever.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_broker_is_missed_however_much_is_sent() {
        let heartbeat = Heartbeat { idle: Duration::from_secs(20), silence: Duration::from_secs(120) };
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(heartbeat.due(at(5), at(7), false), at(25));
        assert_eq!(heartbeat.due(at(115), at(7), false), at(127));
        assert_eq!(heartbeat.due(at(5), at(7), true), at(127), "it does not read, so no more is sent");
    }
}
