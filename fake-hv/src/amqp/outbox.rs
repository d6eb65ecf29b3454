//! Bytes that wait for the socket.

use std::io;

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame},
    protocol::{AMQPClass, basic, constants},
};
use tokio::net::TcpStream;

use super::outgoing::Outgoing;

const BASIC_CLASS: u16 = 60;
const FRAME_OVERHEAD_BYTES: usize = 8;
/// What an empty outbox may keep allocated.
const KEPT_BYTES: usize = 256;

/// Serialised frames. Grows as needed and gives the memory back when it is empty.
#[derive(Debug)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    frame_max_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(frame_max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), frame_max_bytes }
    }

    pub(crate) fn frame_max_bytes(&self) -> usize {
        self.frame_max_bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn frame(&mut self, frame: &AMQPFrame) {
        self.bytes.extend_from_slice(&write_frame(frame));
    }

    pub(crate) fn method(&mut self, channel: u16, method: impl Into<Method>) {
        self.frame(&AMQPFrame::Method(channel, method.into().0));
    }

    pub(crate) fn heartbeat(&mut self) {
        self.frame(&AMQPFrame::Heartbeat);
    }

    /// A method, a header and as many body frames as the agreed size asks for.
    pub(crate) fn message(&mut self, channel: u16, message: &Outgoing) {
        self.method(channel, basic::AMQPMethod::Publish(message.publish()));
        let body_size = u64::try_from(message.body.len()).expect("a length fits 64 bits");
        let header = AMQPContentHeader { class_id: BASIC_CLASS, body_size, properties: message.properties() };
        self.frame(&AMQPFrame::Header(channel, header));
        for chunk in message.body.chunks(self.frame_max_bytes - FRAME_OVERHEAD_BYTES) {
            let size = u32::try_from(chunk.len()).expect("a chunk is smaller than a frame");
            self.bytes.push(constants::FRAME_BODY);
            self.bytes.extend_from_slice(&channel.to_be_bytes());
            self.bytes.extend_from_slice(&size.to_be_bytes());
            self.bytes.extend_from_slice(chunk);
            self.bytes.push(constants::FRAME_END);
        }
    }

    /// Writes what the socket takes now. Returns whether anything went.
    pub(crate) fn flush(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let mut sent = 0;
        while sent < self.bytes.len() {
            match stream.try_write(&self.bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.bytes.drain(..sent);
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        Ok(sent > 0)
    }

    /// All that waits, for a stream that takes it in one go.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// The bytes of a frame.
pub(crate) fn write_frame(frame: &AMQPFrame) -> Vec<u8> {
    match gen_frame(frame)(WriteContext::from(Vec::with_capacity(64))) {
        Ok(written) => written.into_inner().0,
        Err(error) => {
            // Memory takes everything, and every name was checked when it became a short string.
            tracing::error!(?error, %frame, "a frame could not be serialised");
            Vec::new()
        }
    }
}

/// A method of any class.
pub(crate) struct Method(AMQPClass);

macro_rules! methods {
    ($($class:ident = $module:ident),*) => {$(
        impl From<amq_protocol::protocol::$module::AMQPMethod> for Method {
            fn from(method: amq_protocol::protocol::$module::AMQPMethod) -> Self {
                Self(AMQPClass::$class(method))
            }
        }
    )*};
}

methods!(
    Basic = basic,
    Channel = channel,
    Confirm = confirm,
    Connection = connection,
    Exchange = exchange,
    Queue = queue
);
