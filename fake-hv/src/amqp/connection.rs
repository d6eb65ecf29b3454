//! One TCP connection to the broker and the task that serves it for as long as anybody wants it, through all reconnects.
//! While it is open it is a [`Session`].

use std::collections::BTreeMap;

use futures_channel::mpsc;
use rand_pcg::Pcg64Mcg;
use scenarios::seed::generator;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{Duration, Instant},
};

use super::{
    Broker,
    channel::{After, Channel},
    handshake::{FRAME_MIN_BYTES, Terms},
    link::Order,
    outbox::Outbox,
    session::Session,
};

/// What is queued for a connection.
pub(crate) enum Command {
    /// A channel that from now on is served here.
    Attach(Box<Channel>),
    /// For the channel of this number.
    Order(u16, Box<Order>),
    /// Lose the connection, if there is one, without a word to the broker.
    Cut,
    /// Close the connection, whatever channels it has.
    End(oneshot::Sender<()>),
}

/// Where commands for a connection are put. Empty, it holds one small node. Tokio's channel keeps blocks for 32 messages, of 640 bytes: one
/// at first, two from the 33rd message on, for each connection.
pub(crate) type Commands = mpsc::UnboundedSender<Command>;

/// A queue of commands, and its other end.
pub(crate) fn commands() -> (Commands, mpsc::UnboundedReceiver<Command>) {
    mpsc::unbounded()
}

/// A way to a channel.
#[derive(Clone)]
pub(crate) struct Handle {
    pub(crate) commands: Commands,
    pub(crate) channel: u16,
}

/// Channels, orders for them, and those who wait for the end.
pub(crate) struct Connection {
    pub(super) broker: Broker,
    name: Box<str>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) channels: BTreeMap<u16, Box<Channel>>,
    /// Of the splay.
    rng: Pcg64Mcg,
    /// Ends with its last channel; a shared connection does not.
    own: bool,
    ending: Vec<oneshot::Sender<()>>,
    pub(super) ended: bool,
    /// It ends without a word.
    pub(super) vanishes: bool,
    /// It is to be lost.
    pub(super) cut: bool,
}

impl Connection {
    /// Nothing happens until one of its channels has something to do.
    pub(crate) fn spawn(broker: &Broker, name: &str, own: bool) -> Commands {
        let (connection, sender) = Self::new(broker, name, own);
        broker.runtime().spawn(connection.run());
        sender
    }

    pub(crate) fn new(broker: &Broker, name: &str, own: bool) -> (Self, Commands) {
        let (sender, commands) = commands();
        let connection = Self {
            broker: broker.clone(),
            name: name.into(),
            commands,
            channels: BTreeMap::new(),
            rng: generator(0, name),
            own,
            ending: Vec::new(),
            ended: false,
            vanishes: false,
            cut: false,
        };
        (connection, sender)
    }

    async fn run(mut self) {
        self.idle().await;
        while !self.ended {
            let Some((stream, terms)) = self.connect().await else { break };
            let mut session = Session::new(&mut self, stream, terms);
            if let Err(lost) = session.run().await {
                let reason = lost.to_string();
                tracing::debug!(connection = %self.name, reason, "a connection was lost");
                self.lose(&reason);
                let pause = self.broker.options().after_loss(&mut self.rng);
                self.pause(pause).await;
            }
        }
        for waiter in self.ending {
            let _gone = waiter.send(());
        }
    }

    /// Tells all channels. Those that were being closed are; their queues stay behind.
    pub(crate) fn lose(&mut self, reason: &str) {
        let mut over = Vec::new();
        for (number, channel) in &mut self.channels {
            if let After::Gone(waiter) = channel.lost(reason) {
                over.push((*number, waiter));
            }
        }
        for (number, waiter) in over {
            self.forget(number, waiter);
        }
    }

    /// Waits until a channel has something to do.
    async fn idle(&mut self) {
        while !self.ended && !self.channels.values().any(|channel| channel.is_wanted()) {
            let command = self.commands.recv().await;
            self.offline(command.ok());
        }
    }

    /// Tries until there is a connection; `None`: nobody wants one any more.
    async fn connect(&mut self) -> Option<(TcpStream, Terms)> {
        let mut failures = 0;
        while !self.ended {
            match self.broker.connect(&self.name).await {
                Ok(open) => return Some(open),
                Err(error) => self.lose(&error.to_string()),
            }
            failures += 1;
            let pause = self.broker.options().after_failures(failures);
            self.pause(pause).await;
        }
        None
    }

    /// Lets time pass without a connection, and takes orders meanwhile.
    async fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while !self.ended {
            match tokio::time::timeout_at(until, self.commands.recv()).await {
                Ok(command) => self.offline(command.ok()),
                Err(_elapsed) => return,
            }
        }
    }

    pub(crate) fn offline(&mut self, command: Option<Command>) {
        match command {
            None => self.ended = true,
            Some(Command::Attach(channel)) => {
                self.channels.insert(channel.number(), channel);
            }
            Some(Command::Order(number, order)) => {
                let Some(channel) = self.channels.get_mut(&number) else { return };
                // A closed channel writes nothing.
                if let After::Gone(waiter) = channel.order(*order, &mut Outbox::new(FRAME_MIN_BYTES)) {
                    self.forget(number, waiter);
                }
            }
            Some(Command::Cut) => self.cut = true,
            Some(Command::End(waiter)) => {
                self.ending.push(waiter);
                self.ended = true;
            }
        }
    }

    /// A channel is closed for good. Whoever waits for it waits for its own connection, too.
    pub(super) fn forget(&mut self, number: u16, waiter: Option<oneshot::Sender<()>>) {
        let channel = self.channels.remove(&number);
        if self.own {
            self.vanishes |= channel.is_some_and(|channel| channel.vanishes());
            self.ending.extend(waiter);
            self.ended |= self.channels.is_empty();
        } else if let Some(waiter) = waiter {
            let _gone = waiter.send(());
        }
    }
}
