use amq_protocol::protocol::{AMQPClass, BasicProperties, basic, channel as wire, confirm, exchange, queue};
use hypervisor::RequestId;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::Duration,
};

use super::*;
use crate::amqp::{
    Message, ReplyTo, Target, commands,
    envelope::read_request,
    frames::{Cutter, Frame, FrameError},
};

const FRAME_MAX_BYTES: usize = 4096;
const MINUTE: Duration = Duration::from_secs(60);

/// A channel, what it wrote and what it told.
struct Fixture {
    channel: Channel,
    outbox: Outbox,
    events: mpsc::UnboundedReceiver<(HostIndex, LinkEvent)>,
}

impl Fixture {
    fn new() -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let channel = Channel::new(1, 7, "host-7", sender, (Process::nova_compute(), Uuid::new_v4()));
        Self { channel, outbox: Outbox::new(FRAME_MAX_BYTES), events }
    }

    fn order(&mut self, order: Order) -> After {
        self.channel.order(order, &mut self.outbox)
    }

    fn open(&mut self) {
        self.channel.open(&mut self.outbox);
    }

    fn call(&mut self, timeout: Duration) {
        let message = Message::new("ping", None, "1.0", json!({}), json!({}));
        self.order(Order::Call { id: RequestId(1), target: Target::nova("conductor"), message, timeout });
    }

    fn cast(&mut self) {
        let message = Message::new("tell", None, "1.0", json!({}), json!({}));
        self.order(Order::Cast { target: Target::nova("scheduler"), message });
    }

    fn basic(&mut self, method: basic::AMQPMethod) -> After {
        self.channel.method(AMQPClass::Basic(method), &mut self.outbox)
    }

    fn ack(&mut self, delivery_tag: u64, multiple: bool) -> After {
        self.basic(basic::AMQPMethod::Ack(basic::Ack { delivery_tag, multiple }))
    }

    fn deliver(&mut self, tag: &str, body: &[u8]) {
        let deliver = basic::Deliver {
            consumer_tag: tag.into(),
            delivery_tag: 5,
            redelivered: false,
            exchange: "".into(),
            routing_key: "".into(),
        };
        self.basic(basic::AMQPMethod::Deliver(deliver));
        self.content(body);
    }

    fn content(&mut self, body: &[u8]) {
        let body_size = u64::try_from(body.len()).expect("it fits");
        let header = AMQPContentHeader { class_id: 60, body_size, properties: BasicProperties::default() };
        self.channel.header(&header, &mut self.outbox);
        self.channel.body(body, &mut self.outbox);
    }

    /// What was written since the last look, in words; bodies are left out.
    fn written(&mut self) -> Vec<String> {
        let mut written = Vec::new();
        let take = |frame: Frame<'_>| {
            if let Frame::Method(_, method) = frame {
                written.push(in_words(&method));
            }
            Ok::<_, FrameError>(())
        };
        Cutter::default().feed(&self.outbox.take(), FRAME_MAX_BYTES, take).expect("it is AMQP");
        written
    }

    fn told(&mut self) -> Vec<LinkEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|(_, event)| event).collect()
    }
}

fn in_words(method: &AMQPClass) -> String {
    match method {
        AMQPClass::Channel(wire::AMQPMethod::Open(_)) => "open".to_owned(),
        AMQPClass::Channel(wire::AMQPMethod::Close(_)) => "close".to_owned(),
        AMQPClass::Channel(wire::AMQPMethod::CloseOk(_)) => "close-ok".to_owned(),
        AMQPClass::Confirm(_) => "confirm".to_owned(),
        AMQPClass::Exchange(exchange::AMQPMethod::Declare(it)) => format!("exchange {} {}", it.kind, it.exchange),
        AMQPClass::Queue(queue::AMQPMethod::Declare(it)) => format!("queue {}", stem(it.queue.as_str())),
        AMQPClass::Queue(queue::AMQPMethod::Bind(it)) => {
            format!("bind {} {} {}", stem(it.queue.as_str()), it.exchange, it.routing_key)
        }
        AMQPClass::Queue(queue::AMQPMethod::Delete(it)) => format!("delete {}", stem(it.queue.as_str())),
        AMQPClass::Basic(basic::AMQPMethod::Consume(it)) => {
            format!("consume {} {}", it.consumer_tag, stem(it.queue.as_str()))
        }
        AMQPClass::Basic(basic::AMQPMethod::Publish(it)) => {
            format!("publish {}/{}", it.exchange, stem(it.routing_key.as_str()))
        }
        AMQPClass::Basic(basic::AMQPMethod::Ack(it)) => format!("ack {}", it.delivery_tag),
        other => format!("{other:?}"),
    }
}

/// A name without the UUID that makes it unique.
fn stem(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((stem, id)) if id.len() == 32 => stem,
        _ => name,
    }
}

fn request(unique_id: &str) -> Vec<u8> {
    let inner =
        json!({"method": "ping", "args": {}, "_unique_id": unique_id, "_msg_id": "m", "_reply_q": "reply_gone"});
    serde_json::to_vec(&json!({"oslo.version": "2.0", "oslo.message": inner.to_string()})).expect("it is JSON")
}

const SERVE_COMPUTE: [&str; 12] = [
    "exchange topic nova",
    "queue compute",
    "bind compute nova compute",
    "exchange topic nova",
    "queue compute.host-7",
    "bind compute.host-7 nova compute.host-7",
    "exchange fanout compute_fanout",
    "queue compute_fanout",
    "bind compute_fanout compute_fanout compute",
    "consume 1 compute",
    "consume 2 compute.host-7",
    "consume 3 compute_fanout",
];

#[tokio::test]
async fn a_server_is_declared_as_oslo_messaging_does_and_again_after_a_loss() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Serve { server: 0 });
    assert!(fixture.written().is_empty(), "there is no connection yet");
    fixture.open();
    assert_eq!(fixture.written(), [&["open"][..], &SERVE_COMPUTE].concat());
    fixture.channel.lost("cut");
    fixture.open();
    assert_eq!(fixture.written(), [&["open"][..], &SERVE_COMPUTE].concat());
    assert!(matches!(&fixture.told()[..], [LinkEvent::Lost(reason)] if reason == "cut"));
    for _ in 0..12 {
        fixture.channel.answered();
    }
    assert!(fixture.told().is_empty(), "one answer is missing");
    fixture.channel.answered();
    assert!(matches!(fixture.told()[..], [LinkEvent::Restored]));
}

#[tokio::test]
async fn the_first_call_declares_the_reply_queue_and_the_exchange_the_second_neither() {
    let mut fixture = Fixture::new();
    fixture.open();
    fixture.call(MINUTE);
    let first = ["open", "queue reply", "consume 1 reply", "exchange topic nova", "confirm", "publish nova/conductor"];
    assert_eq!(fixture.written(), first);
    fixture.call(MINUTE);
    assert_eq!(fixture.written(), ["publish nova/conductor"]);
}

#[tokio::test]
async fn the_reply_queue_can_be_had_before_the_first_call_and_is_declared_once() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Replies);
    assert!(fixture.channel.is_wanted(), "for this alone a connection is made");
    fixture.open();
    assert_eq!(fixture.written(), ["open", "queue reply", "consume 1 reply"]);
    fixture.order(Order::Replies);
    fixture.call(MINUTE);
    assert_eq!(fixture.written(), ["exchange topic nova", "confirm", "publish nova/conductor"]);
}

#[tokio::test]
async fn a_channel_can_be_open_with_nothing_to_say() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Open);
    assert!(fixture.channel.is_wanted(), "for this alone a connection is made");
    fixture.open();
    assert_eq!(fixture.written(), ["open"]);
}

#[tokio::test]
async fn what_was_not_confirmed_is_published_again_in_order() {
    let mut fixture = Fixture::new();
    fixture.open();
    for _ in 0..3 {
        fixture.cast();
    }
    fixture.call(MINUTE);
    fixture.ack(2, true);
    fixture.written();
    fixture.channel.lost("cut");
    fixture.open();
    let published: Vec<_> = fixture.written().into_iter().filter(|method| method.starts_with("publish")).collect();
    assert_eq!(published, ["publish nova/scheduler", "publish nova/conductor"]);
    fixture.ack(2, false);
    fixture.ack(1, false);
    fixture.channel.lost("cut");
    fixture.open();
    assert!(!fixture.written().iter().any(|method| method.starts_with("publish")));
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_caller_gave_up_is_not_sent_any_more() {
    let mut fixture = Fixture::new();
    fixture.call(MINUTE);
    fixture.cast();
    tokio::time::advance(MINUTE * 2).await;
    fixture.open();
    let published: Vec<_> = fixture.written().into_iter().filter(|method| method.starts_with("publish")).collect();
    assert_eq!(published, ["publish nova/scheduler"]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_missing_queue_is_tried_for_a_minute_then_its_queue_is_given_up() {
    let mut fixture = Fixture::new();
    fixture.open();
    let to = || -> ReplyTo { read_request(&request("u")).and_then(|request| request.reply_to).expect("it is a call") };
    fixture.order(Order::Reply { to: to(), result: Ok(Value::Null) });
    let (mut tries, begun) = (0, Instant::now());
    loop {
        tries += fixture.written().iter().filter(|method| *method == "publish /reply_gone").count();
        let returned = basic::Return {
            reply_code: 312,
            reply_text: "NO_ROUTE".into(),
            exchange: "".into(),
            routing_key: "reply_gone".into(),
        };
        fixture.basic(basic::AMQPMethod::Return(returned));
        fixture.content(b"the answer");
        let After::WakeAt(wake) = fixture.ack(u64::try_from(tries).expect("small"), false) else { break };
        tokio::time::advance(wake - Instant::now()).await;
        fixture.channel.wake(wake, &mut fixture.outbox);
    }
    assert_eq!((tries, begun.elapsed()), (241, MINUTE));
    fixture.order(Order::Reply { to: to(), result: Ok(Value::Null) });
    assert!(fixture.written().is_empty(), "the queue is remembered as gone");
    tokio::time::advance(MINUTE).await;
    fixture.order(Order::Reply { to: to(), result: Ok(Value::Null) });
    assert_eq!(fixture.written(), ["publish /reply_gone"]);
}

#[tokio::test]
async fn a_request_is_acknowledged_and_told_once() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Serve { server: 0 });
    fixture.order(Order::Serve { server: 1 });
    fixture.open();
    fixture.written();
    let id = Uuid::new_v4().simple().to_string();
    fixture.deliver("2", &request(&id));
    fixture.deliver("2", &request(&id));
    fixture.deliver("2", b"no JSON");
    assert_eq!(fixture.written(), ["ack 5", "ack 5", "ack 5"]);
    assert!(matches!(&fixture.told()[..], [LinkEvent::Request(request)] if request.method == "ping"));
    fixture.deliver("5", &request(&id));
    assert_eq!(fixture.told().len(), 1, "the other server remembers for itself");
}

#[tokio::test]
async fn a_channel_that_the_broker_closes_is_opened_again() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Serve { server: 0 });
    fixture.open();
    fixture.written();
    let close = wire::Close { reply_code: 406, reply_text: "PRECONDITION_FAILED".into(), class_id: 50, method_id: 10 };
    let after = fixture.channel.method(AMQPClass::Channel(wire::AMQPMethod::Close(close)), &mut fixture.outbox);
    assert!(matches!(after, After::Reopen));
    assert_eq!(fixture.written(), ["close-ok"]);
    assert!(matches!(&fixture.told()[..], [LinkEvent::Lost(reason)] if reason.contains("406 PRECONDITION_FAILED")));
}

#[tokio::test]
async fn a_cancelled_consumer_starts_its_channel_over() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Serve { server: 0 });
    fixture.open();
    fixture.written();
    let cancel = || basic::AMQPMethod::Cancel(basic::Cancel { consumer_tag: "2".into(), nowait: true });
    fixture.basic(cancel());
    fixture.basic(cancel());
    assert_eq!(fixture.written(), ["close"]);
    let close_ok = AMQPClass::Channel(wire::AMQPMethod::CloseOk(wire::CloseOk {}));
    assert!(matches!(fixture.channel.method(close_ok, &mut fixture.outbox), After::Reopen));
    assert_eq!(fixture.told().len(), 1);
}

#[tokio::test]
async fn closing_deletes_the_queues_of_the_host_and_ends_even_when_the_connection_breaks() {
    let mut fixture = Fixture::new();
    fixture.order(Order::Serve { server: 1 });
    fixture.call(MINUTE);
    fixture.open();
    fixture.written();
    let (done, _closed) = oneshot::channel();
    assert!(matches!(fixture.order(Order::Close(done, Farewell::TidyUp)), After::Nothing));
    let end = ["delete compute-alt_fanout", "delete compute-alt.host-7", "delete reply", "close"];
    assert_eq!(fixture.written(), end);
    assert!(matches!(fixture.channel.lost("cut"), After::Gone(Some(_))));
}

#[tokio::test]
async fn in_faithful_mode_a_call_leaves_elsewhere_once_the_reply_queue_is_there() {
    let mut fixture = Fixture::new();
    let (commands, mut elsewhere) = commands();
    fixture.channel.sender = Some(Handle { commands, channel: 1 });
    fixture.open();
    fixture.call(MINUTE);
    assert_eq!(fixture.written(), ["open", "queue reply", "consume 1 reply"]);
    assert!(elsewhere.try_recv().is_err());
    fixture.basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: "1".into() }));
    let Ok(Command::Order(1, order)) = elsewhere.try_recv() else { panic!("it was not forwarded") };
    assert!(order.into_outgoing().is_some());
}

#[tokio::test]
async fn a_server_tells_when_its_last_consumer_is_there() {
    let mut fixture = Fixture::new();
    fixture.call(MINUTE);
    fixture.order(Order::Serve { server: 1 });
    for tag in ["1", "2", "3", "4"] {
        assert!(fixture.told().is_empty());
        fixture.basic(basic::AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag: tag.into() }));
    }
    assert!(matches!(fixture.told()[..], [LinkEvent::Serving("compute-alt")]));
}

#[tokio::test]
async fn select_ok_counts_as_an_answer() {
    let mut fixture = Fixture::new();
    fixture.open();
    fixture.cast();
    let awaited = fixture.channel.awaited;
    let select_ok = AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {}));
    fixture.channel.method(select_ok, &mut fixture.outbox);
    assert_eq!(fixture.channel.awaited, awaited - 1);
}
