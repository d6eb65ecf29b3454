use hypervisor::Sessions;
use serde_json::json;

use super::*;
use crate::{
    KnownNode, KnownService, KnownToken, Secret,
    amqp::{Command, Order, commands, read_request},
    fleet::testing::spec,
    fuzzing::no_broker,
};

/// A worker whose broker is not there, 300 s after the beginning of its run.
fn worker() -> Worker {
    let spec = spec();
    let release = Release::load(&spec.release).expect("it ships");
    let origin = Instant::now().checked_sub(Duration::from_secs(300)).expect("this machine has run for longer");
    let setup = Setup {
        config: spec.config(&release),
        release,
        apis: spec.apis.clone(),
        broker: no_broker(),
        log: Log::Told(mpsc::unbounded_channel().0),
        counters: Arc::default(),
        seed: 1,
        origin,
        orders: mpsc::unbounded_channel().0.downgrade(),
    };
    Worker::new(setup, mpsc::unbounded_channel().0, mpsc::unbounded_channel().0)
}

fn known(tokens: Sessions<KnownToken>) -> KnownHost {
    let (service, node) = (KnownService::default(), KnownNode::default());
    KnownHost { service, node, provider_generation: 0, since_beat: Duration::ZERO, vms: Vec::new(), tokens }
}

fn identity() -> Identity {
    Identity { host: "km-00001".into(), node: Uuid::from_u128(1) }
}

/// Starts a hypervisor that ran before.
fn rest(worker: &mut Worker, tokens: Sessions<KnownToken>) {
    worker.start(0, identity(), Some(Box::new(known(tokens))));
}

#[test]
fn one_that_rests_wants_a_way_to_call_its_reply_queue_and_its_rpc_servers() {
    let worker = worker();
    let (sender, mut ordered) = commands();
    let link = Link::detached(no_broker(), Process::nova_compute(), sender);
    let known = known(Sessions::default());
    Host::known(&worker.common, identity(), (1, worker.now()), (link, None), known).rejoin(&worker.common);
    let orders: Vec<_> = std::iter::from_fn(|| ordered.try_recv().ok()).collect();
    let is = |at: usize, what: fn(&Order) -> bool| matches!(&orders[at], Command::Order(_, order) if what(order));
    assert_eq!(orders.len(), 4);
    assert!(is(0, |order| matches!(order, Order::Open)));
    assert!(is(1, |order| matches!(order, Order::Replies)));
    assert!(is(2, |order| matches!(order, Order::Serve { server: 0 })));
    assert!(is(3, |order| matches!(order, Order::Serve { server: 1 })));
}

#[test]
fn what_is_asked_of_one_that_rests_waits_until_it_goes_on() {
    let mut worker = worker();
    rest(&mut worker, Sessions::default());
    let instance = json!({"nova_object.name": "Instance", "nova_object.namespace": "nova", "nova_object.version": "2.8",
        "nova_object.data": {"uuid": Uuid::from_u128(9), "flavor": null}});
    let args = json!({"instance": instance, "bdms": []});
    let terminate = json!({"method": "terminate_instance", "version": "6.0", "args": args});
    let body = json!({"oslo.version": "2.0", "oslo.message": terminate.to_string()}).to_string();
    let request = read_request(body.as_bytes()).expect("it is a request");
    worker.link_event(0, LinkEvent::Request(Box::new(request)));
    assert_eq!((worker.hosts[&0].due(), worker.hosts[&0].kept().requests), (None, 0), "it rests");
    assert_eq!((worker.counters.read().started, worker.counters.read().registered), (1, 0));
    worker.go_on();
    assert_eq!(worker.counters.read().registered, 1);
    assert!(worker.hosts[&0].due().is_some(), "it beats");
    assert_eq!(worker.hosts[&0].kept().requests, 1, "and carries out what it was asked for");
}

#[test]
fn tokens_of_one_that_rests_end_when_they_would_have() {
    let mut worker = worker();
    let until_unix_s = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs() + 1_000;
    let token = KnownToken { token: Secret::new("token"), until_unix_s };
    rest(&mut worker, Sessions { placement: Some(token), ..Default::default() });
    // As if it had rested for a minute.
    worker.origin -= Duration::from_secs(60);
    let kept = |worker: &Worker| {
        let token = worker.hosts[&0].tokens(worker.now()).placement.expect("it has one");
        until_unix_s - token.until_unix_s
    };
    assert!((60..63).contains(&kept(&worker)), "it counts down: {}", kept(&worker));
    worker.go_on();
    assert!((60..63).contains(&kept(&worker)), "going on does not make it last: {}", kept(&worker));
}

#[test]
fn an_rpc_server_counts_once_and_with_its_hypervisor() {
    let mut worker = worker();
    rest(&mut worker, Sessions::default());
    for topic in ["compute", "compute-alt", "compute", "q-agent-notifier-port-update"] {
        worker.link_event(0, LinkEvent::Serving(topic));
    }
    assert_eq!(worker.counters.read().serving, 2);
    worker.restart(0);
    assert_eq!(worker.counters.read().serving, 0);
    worker.go_on();
    assert_eq!(worker.counters.read().registered, 0, "it starts anew, when it is told to");
}
