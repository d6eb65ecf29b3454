//! Links on a real RabbitMQ: `KAGEMUSHA_TEST_AMQP_URL=amqp://user:password@host:port/vhost`. Without it these tests say that
//! they were skipped. They leave nothing behind, and need a broker where no compute service runs.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fake_hv::{
    Secret,
    amqp::{Broker, BrokerAddress, BrokerNode, Farewell, HostIndex, Link, LinkEvent, Message, Raised, ReplyTo, Target},
};
use hypervisor::{RabbitOptions, RequestId};
use scenarios::plan::ConnectionMode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Mutex, broadcast, mpsc},
};

/// Longer than anything here takes, so that a hang is an error and not a wait.
const PATIENCE: Duration = Duration::from_secs(60);
const MODES: [ConnectionMode; 3] =
    [ConnectionMode::Single, ConnectionMode::Faithful, ConnectionMode::Shared { connections: 1 }];
/// The tests share queues (`compute`, `compute-alt`), so they take turns.
static TURN: Mutex<()> = Mutex::const_new(());

fn address() -> Option<BrokerAddress> {
    address_in("KAGEMUSHA_TEST_AMQP_URL")
}

fn address_in(variable: &str) -> Option<BrokerAddress> {
    let Ok(url) = env::var(variable) else {
        eprintln!("skipped: {variable} names no RabbitMQ (amqp://user:password@host:port/vhost)");
        return None;
    };
    let parts = || {
        let (user, place) = url.strip_prefix("amqp://")?.split_once('@')?;
        let (user, password) = user.split_once(':')?;
        let (place, vhost) = place.split_once('/')?;
        let (host, port) = place.split_once(':')?;
        Some(BrokerAddress {
            nodes: vec![BrokerNode { host: host.to_owned(), port: port.parse().ok()? }],
            user: user.to_owned(),
            password: Secret::new(password),
            vhost: if vhost.is_empty() { "/".to_owned() } else { vhost.to_owned() },
        })
    };
    Some(parts().expect("the URL is amqp://user:password@host:port/vhost"))
}

/// Links of one broker and what they tell.
struct Fleet {
    broker: Broker,
    events: mpsc::UnboundedReceiver<(HostIndex, LinkEvent)>,
    sender: mpsc::UnboundedSender<(HostIndex, LinkEvent)>,
}

impl Fleet {
    fn new(address: BrokerAddress, mode: ConnectionMode) -> Self {
        Self::with(address, mode, RabbitOptions::default())
    }

    fn with(address: BrokerAddress, mode: ConnectionMode, options: RabbitOptions) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        Self { broker: Broker::new(address, mode, options, Handle::current()), events, sender }
    }

    fn link(&self, host: HostIndex) -> Link {
        Link::open(self.broker.clone(), host, &format!("km-test-{host}"), self.sender.clone())
    }

    async fn next(&mut self) -> (HostIndex, LinkEvent) {
        let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
        event.expect("something is told within a minute").expect("the fleet holds a sender")
    }

    async fn next_request(&mut self) -> (HostIndex, String, Value, Option<ReplyTo>) {
        match self.next().await {
            (host, LinkEvent::Request(request)) => (host, request.method, request.args, request.reply_to),
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    async fn end(self, links: impl IntoIterator<Item = Link>) {
        for link in links {
            link.close(Farewell::TidyUp).await;
        }
        self.broker.close_shared().await;
        self.broker.delete_unused(&["compute", "compute-alt"]).await.expect("the broker is there");
    }
}

fn message(method: &'static str) -> Message {
    Message::new(method, None, "1.0", json!({"text": "é".repeat(100_000)}), json!({"_context_request_id": "req-1"}))
}

/// Calls `server`, which answers on its own link; returns when the answer is there.
async fn round_trip(fleet: &mut Fleet, client: &Link, server: &Link, target: &'static str) {
    client.call(RequestId(77), Target::nova(target), message("ping"), PATIENCE);
    let (_, method, args, reply_to) = fleet.next_request().await;
    assert_eq!((method.as_str(), args["text"].as_str().map(str::len)), ("ping", Some(200_000)));
    server.reply(reply_to.expect("it is a call"), Ok(json!({"pong": 1})));
    match fleet.next().await {
        (1, LinkEvent::Reply(RequestId(77), Ok(answer))) => assert_eq!(answer, json!({"pong": 1})),
        other => panic!("the answer was expected, not {other:?}"),
    }
}

#[tokio::test]
async fn calls_fanouts_and_failures_arrive_in_every_mode() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    for mode in MODES {
        let mut fleet = Fleet::new(address.clone(), mode);
        fleet.broker.probe(2).await.expect("the broker is there");
        let (client, server) = (fleet.link(1), fleet.link(2));
        serve(&mut fleet, &server).await;
        round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
        round_trip(&mut fleet, &client, &server, "compute-alt.km-test-2").await;
        round_trip(&mut fleet, &client, &server, "compute").await;
        client.fanout("compute", message("to_all"));
        let (host, method, _, reply_to) = fleet.next_request().await;
        assert_eq!((host, method.as_str(), reply_to), (2, "to_all", None));
        client.call(RequestId(5), Target::nova("compute.km-test-2"), message("fail"), PATIENCE);
        let (_, _, _, reply_to) = fleet.next_request().await;
        let raised = Raised {
            class: "UnsupportedVersion".into(),
            module: "oslo_messaging.rpc.dispatcher".into(),
            message: "no such thing".to_owned(),
            kwargs: Value::Null,
        };
        server.reply(reply_to.expect("it is a call"), Err(raised));
        let (_, event) = fleet.next().await;
        let LinkEvent::Reply(RequestId(5), Err(error)) = event else { panic!("a failure was expected, not {event:?}") };
        assert_eq!((error.class.as_str(), error.message.as_str()), ("UnsupportedVersion", "no such thing"));
        fleet.end([client, server]).await;
    }
}

/// Starts both servers and waits until they are there: a call that comes earlier finds no queue and vanishes.
async fn serve(fleet: &mut Fleet, link: &Link) {
    link.serve(&["compute", "compute-alt"]);
    let mut topics = ["", ""];
    for topic in &mut topics {
        match fleet.next().await {
            (_, LinkEvent::Serving(name)) => *topic = name,
            other => panic!("a server was expected, not {other:?}"),
        }
    }
    topics.sort_unstable();
    assert_eq!(topics, ["compute", "compute-alt"]);
}

#[tokio::test]
async fn an_answer_to_a_caller_that_is_gone_does_no_harm() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    let mut fleet = Fleet::new(address, ConnectionMode::Single);
    let (client, server, vanishing) = (fleet.link(1), fleet.link(2), fleet.link(3));
    serve(&mut fleet, &server).await;
    vanishing.call(RequestId(1), Target::nova("compute.km-test-2"), message("ping"), PATIENCE);
    let (_, _, _, reply_to) = fleet.next_request().await;
    vanishing.close(Farewell::TidyUp).await;
    server.reply(reply_to.expect("it is a call"), Ok(Value::Null));
    round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
    fleet.end([client, server]).await;
}

/// Passes bytes between a client and the broker until it is told to cut, or to talk nonsense to the broker.
struct Proxy {
    port: u16,
    orders: broadcast::Sender<Fault>,
    accepted: Arc<AtomicUsize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Cut,
    /// A frame of a type that does not exist: the broker closes the connection with 501.
    Nonsense,
    /// Nothing is passed any more, and nothing closed.
    Silence,
}

impl Proxy {
    async fn start(to: &BrokerAddress) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port of our own");
        let port = listener.local_addr().expect("it is bound").port();
        let (orders, _) = broadcast::channel(4);
        let accepted = Arc::new(AtomicUsize::new(0));
        let (place, orders_of_all, count) =
            ((to.nodes[0].host.clone(), to.nodes[0].port), orders.clone(), Arc::clone(&accepted));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let broker = TcpStream::connect(place.clone()).await.expect("the broker is there");
                tokio::spawn(pass(client, broker, orders_of_all.subscribe()));
            }
        });
        Self { port, orders, accepted }
    }
}

async fn pass(mut client: TcpStream, mut broker: TcpStream, mut orders: broadcast::Receiver<Fault>) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(bytes) if bytes > 0 => broker.write_all(&up[..bytes]).await.expect("the broker listens"),
                _ => return,
            },
            read = broker.read(&mut down) => match read {
                Ok(bytes) if bytes > 0 => client.write_all(&down[..bytes]).await.expect("the client listens"),
                _ => return,
            },
            order = orders.recv() => match order {
                Ok(Fault::Silence) => std::future::pending().await,
                Ok(Fault::Nonsense) => broker.write_all(&[99, 0, 1, 0, 0, 0, 0, 206]).await.expect("the broker listens"),
                _ => return,
            },
        }
    }
}

#[tokio::test]
async fn a_lost_connection_is_told_and_everything_is_declared_again() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    for fault in [Fault::Cut, Fault::Nonsense] {
        let proxy = Proxy::start(&address).await;
        let through = BrokerAddress { nodes: vec![BrokerNode::local(proxy.port)], ..address.clone() };
        let mut fleet = Fleet::new(through, ConnectionMode::Single);
        let (client, server) = (fleet.link(1), fleet.link(2));
        serve(&mut fleet, &server).await;
        round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
        assert_eq!(proxy.accepted.load(Ordering::Relaxed), 2);
        proxy.orders.send(fault).expect("two connections listen");
        let mut restored = 0;
        while restored < 2 {
            match fleet.next().await {
                (_, LinkEvent::Lost(reason)) if fault == Fault::Nonsense => assert!(reason.contains("501"), "{reason}"),
                (_, LinkEvent::Lost(_)) => {}
                (_, LinkEvent::Serving(_)) => {}
                (_, LinkEvent::Restored) => restored += 1,
                other => panic!("nothing was sent, but there is {other:?}"),
            }
        }
        assert_eq!(proxy.accepted.load(Ordering::Relaxed), 4);
        round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
        fleet.end([client, server]).await;
    }
}

/// With the default of a minute it would take two.
#[tokio::test]
async fn a_silent_broker_is_given_up_after_two_heartbeats_and_an_idle_one_is_not() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    let proxy = Proxy::start(&address).await;
    let through = BrokerAddress { nodes: vec![BrokerNode::local(proxy.port)], ..address };
    let options = RabbitOptions { heartbeat_timeout: Duration::from_secs(1), ..RabbitOptions::default() };
    let mut fleet = Fleet::with(through, ConnectionMode::Single, options);
    let (client, server) = (fleet.link(1), fleet.link(2));
    serve(&mut fleet, &server).await;
    round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
    // Both ends have to beat for that: RabbitMQ, too, gives up whoever it does not hear of for two seconds.
    let idle = tokio::time::timeout(Duration::from_secs(6), fleet.events.recv()).await;
    assert!(idle.is_err(), "{idle:?}");
    proxy.orders.send(Fault::Silence).expect("two connections listen");
    let mut restored = 0;
    while restored < 2 {
        match fleet.next().await {
            (_, LinkEvent::Lost(reason)) => assert!(reason.contains("nothing was heard of the broker"), "{reason}"),
            (_, LinkEvent::Serving(_)) => {}
            (_, LinkEvent::Restored) => restored += 1,
            other => panic!("nothing was sent, but there is {other:?}"),
        }
    }
    round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
    fleet.end([client, server]).await;
}

#[tokio::test]
async fn a_connection_that_the_scenario_cuts_is_made_again() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    let mut fleet = Fleet::new(address, ConnectionMode::Single);
    let (client, server) = (fleet.link(1), fleet.link(2));
    serve(&mut fleet, &server).await;
    round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
    server.cut();
    match fleet.next().await {
        (2, LinkEvent::Lost(reason)) => assert_eq!(reason, "the scenario cut it"),
        other => panic!("a loss was expected, not {other:?}"),
    }
    while !matches!(fleet.next().await, (2, LinkEvent::Restored)) {}
    round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
    fleet.end([client, server]).await;
}

#[tokio::test]
async fn a_closed_fleet_leaves_no_queue() {
    let Some(address) = address() else { return };
    let _turn = TURN.lock().await;
    for mode in MODES {
        let mut fleet = Fleet::new(address.clone(), mode);
        let (client, server) = (fleet.link(1), fleet.link(2));
        serve(&mut fleet, &server).await;
        round_trip(&mut fleet, &client, &server, "compute.km-test-2").await;
        fleet.end([client, server]).await;
        // Were a queue left, a message sent to it now would be waiting for the server that comes next.
        let mut later = Fleet::new(address.clone(), ConnectionMode::Single);
        let (caller, successor) = (later.link(1), later.link(2));
        for target in ["compute", "compute.km-test-2", "compute-alt", "compute-alt.km-test-2"] {
            caller.cast(Target::nova(target), message("lost"));
        }
        caller.close(Farewell::TidyUp).await; // the broker takes what is sent in order, so all of it is routed now
        let caller = later.link(1);
        serve(&mut later, &successor).await;
        round_trip(&mut later, &caller, &successor, "compute.km-test-2").await;
        round_trip(&mut later, &caller, &successor, "compute-alt.km-test-2").await;
        later.end([caller, successor]).await;
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_port_are_told_apart() {
    let Some(address) = address() else { return };
    let wrong = BrokerAddress { password: Secret::new("wrong"), ..address.clone() };
    let refused = Fleet::new(wrong, ConnectionMode::Single).broker.probe(1).await.expect_err("it is wrong");
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");
    let vhost = BrokerAddress { vhost: "none such".to_owned(), ..address.clone() };
    let refused = Fleet::new(vhost, ConnectionMode::Single).broker.probe(1).await.expect_err("it is wrong");
    assert!(refused.to_string().contains("NOT_ALLOWED"), "{refused}");
    let unused = TcpListener::bind(("127.0.0.1", 0)).await.and_then(|listener| listener.local_addr());
    let port = unused.expect("a port of our own").port();
    let absent = BrokerAddress { nodes: vec![BrokerNode::local(port)], ..address.clone() };
    let refused = Fleet::new(absent, ConnectionMode::Single).broker.probe(1).await.expect_err("nobody is there");
    assert!(refused.to_string().contains("refused"), "{refused}");
    let crowded = Fleet::new(address, ConnectionMode::Shared { connections: 1 }).broker.probe(100_000).await;
    assert!(crowded.expect_err("too many").to_string().contains("have to share"));
}

/// The RPC target of Nova's conductor, asked as nova-compute asks it when it starts. Needs the broker of a real Nova:
/// `KAGEMUSHA_TEST_CONDUCTOR_AMQP_URL`.
#[tokio::test]
async fn a_real_conductor_answers() {
    let Some(address) = address_in("KAGEMUSHA_TEST_CONDUCTOR_AMQP_URL") else { return };
    let recorded = include_str!("../data/wire/envelope.jsonl").lines().next().expect("the first is a ping");
    let mut context: Value = serde_json::from_str(recorded).expect("it is JSON");
    let mut context = context["message"].take();
    context.as_object_mut().expect("an object").retain(|member, _| member.starts_with("_context_"));
    for mode in MODES {
        let mut fleet = Fleet::new(address.clone(), mode);
        let link = fleet.link(1);
        let arg = json!({"arg": "1.21 GigaWatts"});
        let ping = Message::new("ping", Some("baseapi"), "1.0", arg, context.clone());
        link.call(RequestId(1), Target::nova("conductor"), ping, PATIENCE);
        let answer = fleet.next().await;
        let (_, LinkEvent::Reply(RequestId(1), Ok(pong))) = answer else {
            panic!("a pong was expected, not {answer:?}")
        };
        assert_eq!(pong, json!({"service": "conductor", "arg": "1.21 GigaWatts"}));
        let args = json!({
            "objname": "Service", "objmethod": "get_by_host_and_binary", "args": ["no-such-host", "nova-compute"],
            "object_versions": {"Service": "1.22", "ComputeNode": "1.19", "HVSpec": "1.2", "PciDevicePoolList": "1.1",
                "PciDevicePool": "1.1"},
            "kwargs": {},
        });
        let get = Message::new("object_class_action_versions", None, "3.0", args, context.clone());
        link.call(RequestId(2), Target::nova("conductor"), get, PATIENCE);
        let answer = fleet.next().await;
        assert!(matches!(answer, (_, LinkEvent::Reply(RequestId(2), Ok(Value::Null)))), "there is none: {answer:?}");
        let unknown = Message::new("no_such_method", None, "3.0", json!({}), context.clone());
        link.call(RequestId(3), Target::nova("conductor"), unknown, PATIENCE);
        let answer = fleet.next().await;
        let (_, LinkEvent::Reply(RequestId(3), Err(error))) = answer else {
            panic!("an error was expected, not {answer:?}")
        };
        assert_eq!(error.class, "NoSuchMethod");
        link.close(Farewell::TidyUp).await;
        fleet.broker.close_shared().await;
    }
}
