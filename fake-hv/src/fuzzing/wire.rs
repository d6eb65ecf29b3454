//! A connection without a socket: what a broker sends, in pieces, to a client that has been given orders.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame},
    protocol::{AMQPClass, basic},
};
use hypervisor::RequestId;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::Instant,
};

use super::{address, no_broker};
use crate::amqp::{
    Channel, Command, Connection, Cutter, Dialogue, Frame, FrameError, HostIndex, LARGEST_BODY_BYTES, LinkEvent,
    Message, Order, Process, Target, Terms, greet, write_frame,
};

/// The largest frame that any broker is allowed, and what one read brings.
const MOST_KEPT_BYTES: usize = LARGEST_BODY_BYTES + (16 << 10);

/// Leads a connection through its handshake and through what a broker sends then, in pieces of `cut` bytes at most, after
/// orders that the bits of `orders` choose. Then the connection is lost, and made again to a broker in good order.
///
/// # Panics
/// When it keeps more than a frame, writes what is no AMQP, or does not take a request in the end.
pub fn converse(orders: u8, cut: u8, bytes: &[u8]) {
    let piece = usize::from(cut).max(1);
    let (mut connection, _sender) = Connection::new(&no_broker(), "fuzz", true);
    let (sender, mut events) = mpsc::unbounded_channel();
    let channel = Channel::new(1, 7, "host-7", sender, (Process::nova_compute(), uuid::Uuid::from_u128(7)));
    connection.offline(Some(Command::Attach(Box::new(channel))));
    for order in chosen(orders) {
        connection.offline(Some(Command::Order(1, Box::new(order))));
    }
    let (broker, address) = (Script { bytes, piece }, address(0));
    let mut greeting = std::pin::pin!(greet(broker, &address, "fuzz", Duration::from_secs(60)));
    let greeted = greeting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(Ok((rest, terms))) = greeted {
        let mut dialogue = Dialogue::new(&mut connection, terms);
        dialogue.open_all();
        for piece in rest.bytes.chunks(piece) {
            if hear(&mut dialogue, piece, terms, &mut events).is_err() {
                break;
            }
        }
    }
    connection.lose("the end of what was made up");
    serve_again(&mut connection, &mut events);
}

type Events = mpsc::UnboundedReceiver<(HostIndex, LinkEvent)>;

/// Takes a piece in, answers the requests in it, and looks at what is kept and written.
fn hear(dialogue: &mut Dialogue<'_>, piece: &[u8], terms: Terms, events: &mut Events) -> Result<(), ()> {
    let heard = dialogue.received(piece);
    assert!(dialogue.kept_bytes() <= MOST_KEPT_BYTES, "no more than a frame is kept");
    while let Ok((_, event)) = events.try_recv() {
        if let LinkEvent::Request(request) = event
            && let Some(to) = request.reply_to
        {
            dialogue.take_order(Some(Command::Order(1, Box::new(Order::Reply { to, result: Ok(request.args) }))));
        }
    }
    dialogue.wake_due(Instant::now() + Duration::from_secs(1));
    let mut written = Cutter::default();
    let read = written.feed(&dialogue.outbox.take(), terms.frame_max_bytes, |_| Ok::<_, FrameError>(()));
    assert_eq!((read, written.kept_bytes()), (Ok(()), 0), "what is written is AMQP");
    heard.map_err(drop)
}

/// A broker in good order delivers a request: it arrives, and is acknowledged.
fn serve_again(connection: &mut Connection, events: &mut Events) {
    while events.try_recv().is_ok() {}
    let terms = Terms { frame_max_bytes: 4096, channel_max: 1, heartbeat: Some(Duration::from_secs(60)) };
    connection.offline(Some(Command::Order(1, Box::new(Order::Serve { server: 0 }))));
    let mut dialogue = Dialogue::new(connection, terms);
    dialogue.open_all();
    let ping = Message::new("ping", None, "1.0", json!({}), json!({})).cast();
    // Replies have one consumer; when a call came before the first server, it has the first tag.
    for consumer in ["1", "2"] {
        dialogue.received(&delivery(consumer, &ping)).expect("it is AMQP");
    }
    let arrived =
        std::iter::from_fn(|| events.try_recv().ok()).any(|(_, event)| matches!(event, LinkEvent::Request(_)));
    assert!(arrived, "a request arrives on the new connection");
    let mut acknowledged = false;
    let read = Cutter::default().feed(&dialogue.outbox.take(), terms.frame_max_bytes, |frame| {
        acknowledged |= matches!(frame, Frame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(_))));
        Ok::<_, FrameError>(())
    });
    assert!(read.is_ok() && acknowledged, "a request is acknowledged");
}

fn delivery(consumer: &str, body: &[u8]) -> Vec<u8> {
    let deliver = basic::Deliver {
        consumer_tag: consumer.into(),
        delivery_tag: 1,
        redelivered: false,
        exchange: "nova".into(),
        routing_key: "compute.host-7".into(),
    };
    let body_size = u64::try_from(body.len()).expect("a length fits 64 bits");
    let header = AMQPContentHeader { class_id: 60, body_size, properties: Default::default() };
    let method = AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)));
    [method, AMQPFrame::Header(1, header), AMQPFrame::Body(1, body.to_vec())].iter().flat_map(write_frame).collect()
}

fn chosen(bits: u8) -> impl Iterator<Item = Order> {
    let message = |method| Message::new(method, None, "1.0", json!({}), json!({}));
    let (id, timeout) = (RequestId(1), Duration::from_secs(60));
    let all = [
        Order::Serve { server: 0 },
        Order::Serve { server: 1 },
        Order::Call { id, target: Target::nova("conductor"), message: message("call"), timeout },
        Order::Cast { target: Target::nova("conductor"), message: message("cast") },
        Order::Fanout { topic: "scheduler", message: message("fanout") },
        Order::Replies,
        Order::Open,
    ];
    all.into_iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, order)| order)
}

/// A broker that sends what it has, whatever it is told.
struct Script<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Script<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let size = self.piece.min(self.bytes.len()).min(into.remaining());
        let (now, later) = self.bytes.split_at(size);
        into.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
