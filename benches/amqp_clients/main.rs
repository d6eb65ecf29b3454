//! What the AMQP side of simulated hypervisors costs, against a RabbitMQ that is there.
//!
//! ```text
//! export KAGEMUSHA_TEST_AMQP_URL=amqp://user:password@127.0.0.1:5672/
//! cargo build --release -p fake-hv --example amqp_clients
//! target/release/examples/amqp_clients echo &            # answers calls, in a process of its own
//! target/release/examples/amqp_clients single 1000       # or faithful, or shared
//! target/release/examples/amqp_clients rate 64 10 2000   # calls under way, seconds, bytes: JSON, for benches/rpc_rate
//! ```
//!
//! Each link has both RPC servers and a reply queue: 7 consumers on 7 queues, publisher confirms. Calls carry 2 kB.

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use fake_hv::{
    Secret,
    amqp::{Broker, BrokerAddress, BrokerNode, EventSender, Farewell, HostIndex, Link, LinkEvent, Message, Target},
};
use hypervisor::{RabbitOptions, RequestId};
use scenarios::plan::ConnectionMode;
use serde_json::json;
use tokio::{runtime::Handle, sync::mpsc};

/// The host that answers calls, and the queue on which it hears them.
const ECHO: (&str, &str) = ("echo", "compute.echo");
const TIMEOUT: Duration = Duration::from_secs(60);
/// Calls under way at once when throughput is measured.
const OUTSTANDING: u32 = 64;
const CALLS: u32 = 12_800;
const SERIAL_CALLS: u32 = 1_000;
const ROUNDS: u32 = 3;
const PAYLOAD_BYTES: usize = 2_000;

type Events = mpsc::UnboundedReceiver<(HostIndex, LinkEvent)>;

fn address() -> Option<BrokerAddress> {
    let url = env::var("KAGEMUSHA_TEST_AMQP_URL").ok()?;
    let (user, place) = url.strip_prefix("amqp://")?.split_once('@')?;
    let (user, password) = user.split_once(':')?;
    let (place, vhost) = place.split_once('/')?;
    let (host, port) = place.split_once(':')?;
    let vhost = if vhost.is_empty() { "/" } else { vhost };
    Some(BrokerAddress {
        nodes: vec![BrokerNode { host: host.to_owned(), port: port.parse().ok()? }],
        user: user.to_owned(),
        password: Secret::new(password),
        vhost: vhost.to_owned(),
    })
}

fn of_self(file: &str) -> String {
    fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default()
}

fn status(key: &str) -> u64 {
    let status = of_self("status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// User and system time, in seconds; the kernel counts hundredths.
fn cpu_s() -> f64 {
    let stat = of_self("stat");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

struct Meter {
    begun: Instant,
    cpu_s: f64,
    rss_before_kb: u64,
    links: u64,
}

impl Meter {
    fn new(links: u32) -> Self {
        Self { begun: Instant::now(), cpu_s: cpu_s(), rss_before_kb: status("VmRSS:"), links: links.into() }
    }

    fn lap(&mut self, what: &str) {
        let each = 1024 * status("VmRSS:").saturating_sub(self.rss_before_kb) / self.links;
        let (took_s, used_s) = (self.begun.elapsed().as_secs_f64(), cpu_s() - self.cpu_s);
        let threads = status("Threads:");
        println!("{what:22} {took_s:7.2} s  {used_s:6.2} s of CPU  {each:7} bytes each  {threads} threads");
        (self.begun, self.cpu_s) = (Instant::now(), cpu_s());
    }
}

fn call(link: &Link, id: u32) {
    call_with(link, id, PAYLOAD_BYTES);
}

fn call_with(link: &Link, id: u32, payload_bytes: usize) {
    let args = json!({"payload": "x".repeat(payload_bytes)});
    link.call(RequestId(id), Target::nova(ECHO.1), Message::new("ping", None, "1.0", args, json!({})), TIMEOUT);
}

async fn echo(broker: Broker, sender: EventSender, mut events: Events) {
    let link = Link::open(broker, 0, ECHO.0, sender);
    link.serve(&["compute", "compute-alt"]);
    while let Some((_, event)) = events.recv().await {
        if let LinkEvent::Request(request) = event
            && let Some(to) = request.reply_to
        {
            link.reply(to, Ok(request.args));
        }
    }
}

/// Waits for this many answers; each lets its link do `next`.
async fn answers(events: &mut Events, count: u32, mut next: impl FnMut(HostIndex)) {
    let mut left = count;
    while left > 0 {
        match events.recv().await {
            Some((host, LinkEvent::Reply(_, Ok(_)))) => {
                left -= 1;
                next(host);
            }
            Some((host, LinkEvent::Lost(reason))) => println!("link {host} lost: {reason}"),
            Some(_) => {}
            None => return,
        }
    }
}

async fn measure(broker: Broker, count: u32, sender: EventSender, mut events: Events) {
    let mut meter = Meter::new(count);
    let name = |host: u32| format!("cost-{host:05}");
    let links: Vec<Link> =
        (0..count).map(|host| Link::open(broker.clone(), host, &name(host), sender.clone())).collect();
    for link in &links {
        link.serve(&["compute", "compute-alt"]);
        call(link, 1);
    }
    answers(&mut events, count, |_| {}).await;
    meter.lap("open, serve, one call");
    for round in 0..ROUNDS {
        links.iter().for_each(|link| call(link, round));
        answers(&mut events, count, |_| {}).await;
    }
    meter.lap("three calls each");
    let begun = Instant::now();
    let busy = OUTSTANDING.min(count);
    links.iter().take(64).for_each(|link| call(link, 2));
    let mut started = busy;
    answers(&mut events, CALLS, |host| {
        if started < CALLS {
            started += 1;
            call(&links[usize::try_from(host).expect("an index")], started);
        }
    })
    .await;
    println!("{:.0} calls/s with {busy} outstanding", f64::from(CALLS) / begun.elapsed().as_secs_f64());
    meter.lap("calls");
    let begun = Instant::now();
    for id in 0..SERIAL_CALLS {
        call(&links[0], id);
        answers(&mut events, 1, |_| {}).await;
    }
    println!("{:.0} calls/s with 1 outstanding", f64::from(SERIAL_CALLS) / begun.elapsed().as_secs_f64());
    meter.lap("serial calls");
    tokio::time::sleep(Duration::from_secs(10)).await;
    meter.lap("idle for 10 s");
    let mut closing = tokio::task::JoinSet::new();
    for link in links {
        closing.spawn(link.close(Farewell::TidyUp));
    }
    while closing.join_next().await.is_some() {}
    broker.close_shared().await;
    meter.lap("close");
}

/// So many calls at once, each from a link of its own, for so long.
async fn rate(
    broker: Broker,
    links: u32,
    length: Duration,
    payload_bytes: usize,
    sender: EventSender,
    mut events: Events,
) {
    let name = |host: u32| format!("rate-{host:05}");
    let links: Vec<Link> =
        (0..links).map(|host| Link::open(broker.clone(), host, &name(host), sender.clone())).collect();
    let count = u32::try_from(links.len()).unwrap_or(u32::MAX);
    links.iter().for_each(|link| call_with(link, 0, payload_bytes));
    answers(&mut events, count, |_| {}).await;
    let (begun, cpu_before_s, mut calls) = (Instant::now(), cpu_s(), 0_u32);
    links.iter().for_each(|link| call_with(link, 0, payload_bytes));
    while begun.elapsed() < length {
        answers(&mut events, 1, |host| {
            calls += 1;
            call_with(&links[usize::try_from(host).expect("an index")], calls, payload_bytes);
        })
        .await;
    }
    let (took_s, cpu_s) = (begun.elapsed().as_secs_f64(), cpu_s() - cpu_before_s);
    println!("{}", json!({"calls": calls, "took_s": took_s, "cpu_s": cpu_s}));
    answers(&mut events, count, |_| {}).await;
    for link in links {
        link.close(Farewell::TidyUp).await;
    }
}

fn mode(name: &str) -> Option<ConnectionMode> {
    match name {
        "faithful" => Some(ConnectionMode::Faithful),
        "shared" => Some(ConnectionMode::Shared { connections: 4 }),
        "single" | "echo" | "rate" => Some(ConnectionMode::Single),
        _ => None,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let what = arguments.first().map(String::as_str).unwrap_or_default();
    let count = arguments.get(1).and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let (Some(address), Some(mode)) = (address(), mode(what)) else {
        eprintln!(
            "usage: KAGEMUSHA_TEST_AMQP_URL=amqp://user:password@host:port/ amqp_clients single|faithful|shared|echo [links], or \
             rate [links] [seconds] [bytes]"
        );
        return ExitCode::from(2);
    };
    let broker = Broker::new(address, mode, RabbitOptions::default(), Handle::current());
    if let Err(error) = broker.probe(count).await {
        eprintln!("{error}");
        return ExitCode::from(2);
    }
    let (sender, events) = mpsc::unbounded_channel();
    let number = |at: usize, default: usize| arguments.get(at).and_then(|text| text.parse().ok()).unwrap_or(default);
    match what {
        "echo" => echo(broker, sender, events).await,
        "rate" => {
            let length = Duration::from_secs(number(2, 10) as u64);
            rate(broker, count, length, number(3, PAYLOAD_BYTES), sender, events).await;
        }
        _ => measure(broker, count, sender, events).await,
    }
    ExitCode::SUCCESS
}
