//! A recording relay in front of the broker: bytes pass unchanged, and what they say is noted.

use std::collections::BTreeMap;

use amq_protocol::{
    protocol::{AMQPClass, basic, channel, connection, exchange, queue},
    types::{AMQPValue, FieldTable},
};
use fake_hv::amqp::{Cutter, Frame, FrameError};
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::Notes;
use crate::trace::{Direction, What};

/// What a client says first; what follows is frames.
const PROTOCOL_HEADER_BYTES: usize = 8;
const READ_BYTES: usize = 16 << 10;

/// Takes connections until the listener is dropped with its task.
pub(super) async fn relay(listener: TcpListener, broker: (String, u16), notes: Notes) {
    while let Ok((client, _)) = listener.accept().await {
        let (broker, notes) = (broker.clone(), notes.connection());
        tokio::spawn(async move {
            // A connection that fails, fails for its client too: nothing is left to tell here.
            let _ended = relay_connection(client, &broker, &notes).await;
            notes.note(Direction::Sent, What::amqp("connection.gone", 0, Value::Null));
        });
    }
}

async fn relay_connection(client: TcpStream, broker: &(String, u16), notes: &Notes) -> std::io::Result<()> {
    let server = TcpStream::connect((broker.0.as_str(), broker.1)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let sent = Listener::new(Direction::Sent, PROTOCOL_HEADER_BYTES, notes.clone());
    let received = Listener::new(Direction::Received, 0, notes.clone());
    tokio::try_join!(pass(from_client, to_server, sent), pass(from_server, to_client, received))?;
    Ok(())
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut listener: Listener,
) -> std::io::Result<()> {
    let mut bytes = vec![0; READ_BYTES];
    loop {
        let read = from.read(&mut bytes).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        listener.hear(&bytes[..read]);
        to.write_all(&bytes[..read]).await?;
    }
}

/// What one side of a connection says, put together from its frames.
pub(crate) struct Listener {
    direction: Direction,
    skip: usize,
    cutter: Cutter,
    /// Messages whose body is still coming, by channel.
    partial: BTreeMap<u16, Partial>,
    notes: Notes,
}

struct Partial {
    name: &'static str,
    fields: Value,
    expected_bytes: u64,
    body: Vec<u8>,
}

impl Listener {
    pub(crate) fn new(direction: Direction, skip: usize, notes: Notes) -> Self {
        Self { direction, skip, cutter: Cutter::default(), partial: BTreeMap::new(), notes }
    }

    pub(crate) fn hear(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let mut cutter = std::mem::take(&mut self.cutter);
        let heard = cutter.feed(&bytes[skipped..], usize::MAX, |frame| {
            self.frame(frame);
            Ok::<_, FrameError>(())
        });
        self.cutter = cutter;
        if let Err(error) = heard {
            let what = What::amqp("not AMQP", 0, json!({"error": error.to_string()}));
            self.notes.note(self.direction, what);
        }
    }

    fn frame(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Method(channel, method) => self.method(channel, method),
            Frame::Header(channel, header) => {
                let Some(partial) = self.partial.get_mut(&channel) else { return };
                partial.expected_bytes = header.body_size;
                partial.fields["properties"] = properties(&header.properties);
                self.complete(channel);
            }
            Frame::Body(channel, bytes) => {
                let Some(partial) = self.partial.get_mut(&channel) else { return };
                partial.body.extend_from_slice(bytes);
                self.complete(channel);
            }
            Frame::Heartbeat => self.notes.note(self.direction, What::amqp("heartbeat", 0, Value::Null)),
        }
    }

    fn method(&mut self, channel: u16, method: AMQPClass) {
        let Some((name, fields)) = describe(method) else { return };
        if matches!(name, "basic.publish" | "basic.deliver" | "basic.return") {
            let partial = Partial { name, fields, expected_bytes: u64::MAX, body: Vec::new() };
            self.partial.insert(channel, partial);
        } else {
            self.notes.note(self.direction, What::amqp(name, channel, fields));
        }
    }

    fn complete(&mut self, channel: u16) {
        let whole =
            |partial: &Partial| u64::try_from(partial.body.len()).is_ok_and(|len| len >= partial.expected_bytes);
        if !self.partial.get(&channel).is_some_and(whole) {
            return;
        }
        let Some(mut partial) = self.partial.remove(&channel) else { return };
        partial.fields["bytes"] = partial.body.len().into();
        partial.fields["message"] = open_envelope(&partial.body);
        self.notes.note(self.direction, What::amqp(partial.name, channel, partial.fields));
    }
}

/// The message inside oslo.messaging's envelope; `Null` when there is none.
fn open_envelope(body: &[u8]) -> Value {
    let outer: Value = serde_json::from_slice(body).unwrap_or_default();
    let inner = outer["oslo.message"].as_str().map(serde_json::from_str::<Value>);
    let mut inner = inner.and_then(Result::ok).unwrap_or_default();
    if let Some(inner) = inner.as_object_mut() {
        inner.insert("oslo.version".to_owned(), outer["oslo.version"].clone());
    }
    inner
}

fn properties(properties: &basic::AMQPProperties) -> Value {
    let mut found = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            found.insert(name.to_owned(), value);
        }
    };
    let text = |text: &amq_protocol::types::ShortString| Value::from(text.as_str());
    add("content_type", properties.content_type().as_ref().map(text));
    add("content_encoding", properties.content_encoding().as_ref().map(text));
    add("headers", properties.headers().as_ref().map(table));
    add("delivery_mode", properties.delivery_mode().map(Value::from));
    add("priority", properties.priority().map(Value::from));
    add("correlation_id", properties.correlation_id().as_ref().map(text));
    add("reply_to", properties.reply_to().as_ref().map(text));
    add("expiration", properties.expiration().as_ref().map(text));
    add("message_id", properties.message_id().as_ref().map(text));
    add("type", properties.kind().as_ref().map(text));
    add("app_id", properties.app_id().as_ref().map(text));
    Value::Object(found)
}

fn table(table: &FieldTable) -> Value {
    table.inner().iter().map(|(key, value)| (key.to_string(), field(value))).collect()
}

/// Types are told with the values: `x-expires` as 32 or as 64 bits is a difference, to RabbitMQ as well.
fn field(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::FieldTable(inner) => table(inner),
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        other => format!("{other:?}").into(),
    }
}

/// Name and arguments of a method; `None` for those that only answer another.
fn describe(method: AMQPClass) -> Option<(&'static str, Value)> {
    match method {
        AMQPClass::Connection(method) => describe_connection(method),
        AMQPClass::Channel(channel::AMQPMethod::Open(_)) => Some(("channel.open", json!({}))),
        AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
            Some(("channel.close", json!({"code": close.reply_code, "text": close.reply_text.as_str()})))
        }
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(it)) => Some((
            "exchange.declare",
            json!({
                "exchange": it.exchange.as_str(), "type": it.kind.as_str(), "passive": it.passive, "durable": it.durable,
                "auto_delete": it.auto_delete, "internal": it.internal, "nowait": it.nowait,
                "arguments": table(&it.arguments),
            }),
        )),
        AMQPClass::Queue(method) => describe_queue(method),
        AMQPClass::Basic(method) => describe_basic(method),
        AMQPClass::Confirm(amq_protocol::protocol::confirm::AMQPMethod::Select(it)) => {
            Some(("confirm.select", json!({"nowait": it.nowait})))
        }
        _ => None,
    }
}

fn describe_connection(method: connection::AMQPMethod) -> Option<(&'static str, Value)> {
    match method {
        connection::AMQPMethod::StartOk(it) => {
            let capabilities = it.client_properties.inner().get("capabilities").map(field).unwrap_or_default();
            let mechanism = it.mechanism.as_str();
            Some(("connection.start-ok", json!({"mechanism": mechanism, "capabilities": capabilities})))
        }
        connection::AMQPMethod::TuneOk(it) => Some((
            "connection.tune-ok",
            json!({"channel_max": it.channel_max, "frame_max": it.frame_max, "heartbeat": it.heartbeat}),
        )),
        connection::AMQPMethod::Open(_) => Some(("connection.open", json!({}))),
        connection::AMQPMethod::Close(it) => {
            Some(("connection.close", json!({"code": it.reply_code, "text": it.reply_text.as_str()})))
        }
        _ => None,
    }
}

fn describe_queue(method: queue::AMQPMethod) -> Option<(&'static str, Value)> {
    match method {
        queue::AMQPMethod::Declare(it) => Some((
            "queue.declare",
            json!({
                "queue": it.queue.as_str(), "passive": it.passive, "durable": it.durable, "exclusive": it.exclusive,
                "auto_delete": it.auto_delete, "nowait": it.nowait, "arguments": table(&it.arguments),
            }),
        )),
        queue::AMQPMethod::Bind(it) => Some((
            "queue.bind",
            json!({
                "queue": it.queue.as_str(), "exchange": it.exchange.as_str(), "routing_key": it.routing_key.as_str(),
                "nowait": it.nowait, "arguments": table(&it.arguments),
            }),
        )),
        queue::AMQPMethod::Delete(it) => Some((
            "queue.delete",
            json!({
                "queue": it.queue.as_str(), "if_unused": it.if_unused, "if_empty": it.if_empty, "nowait": it.nowait,
            }),
        )),
        _ => None,
    }
}

fn describe_basic(method: basic::AMQPMethod) -> Option<(&'static str, Value)> {
    match method {
        basic::AMQPMethod::Qos(it) => {
            Some(("basic.qos", json!({"prefetch_count": it.prefetch_count, "global": it.global})))
        }
        basic::AMQPMethod::Consume(it) => Some((
            "basic.consume",
            json!({
                "queue": it.queue.as_str(), "consumer_tag": it.consumer_tag.as_str(), "no_local": it.no_local,
                "no_ack": it.no_ack, "exclusive": it.exclusive, "nowait": it.nowait, "arguments": table(&it.arguments),
            }),
        )),
        basic::AMQPMethod::Cancel(it) => Some(("basic.cancel", json!({"consumer_tag": it.consumer_tag.as_str()}))),
        basic::AMQPMethod::Publish(it) => Some((
            "basic.publish",
            json!({
                "exchange": it.exchange.as_str(), "routing_key": it.routing_key.as_str(), "mandatory": it.mandatory,
                "immediate": it.immediate,
            }),
        )),
        basic::AMQPMethod::Deliver(it) => Some((
            "basic.deliver",
            json!({
                "exchange": it.exchange.as_str(), "routing_key": it.routing_key.as_str(),
                "consumer_tag": it.consumer_tag.as_str(), "delivery_tag": it.delivery_tag, "redelivered": it.redelivered,
            }),
        )),
        basic::AMQPMethod::Return(it) => Some((
            "basic.return",
            json!({"code": it.reply_code, "exchange": it.exchange.as_str(), "routing_key": it.routing_key.as_str()}),
        )),
        basic::AMQPMethod::Ack(it) => {
            Some(("basic.ack", json!({"delivery_tag": it.delivery_tag, "multiple": it.multiple})))
        }
        basic::AMQPMethod::Reject(it) => {
            Some(("basic.reject", json!({"delivery_tag": it.delivery_tag, "requeue": it.requeue})))
        }
        _ => None,
    }
}
