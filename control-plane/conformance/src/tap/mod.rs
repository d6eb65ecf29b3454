//! Recording relays between one hypervisor and its cloud. The hypervisor is configured with their addresses instead of the
//! services'; nothing else about it changes.

mod amqp;
mod http;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use control_plane::Cloud;
use fake_hv::BrokerNode;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    load::{Figures, Tally},
    trace::{Direction, Event, What},
};

pub(crate) use http::Hold;

const LOCALHOST: &str = "127.0.0.1";

/// Where the relays of one hypervisor write.
#[derive(Debug, Clone)]
pub(crate) struct Notes {
    book: Arc<Mutex<Book>>,
    connections: Arc<AtomicU32>,
    connection: u32,
    origin: Instant,
}

/// What becomes of what is noted.
#[derive(Debug)]
enum Book {
    Kept(Vec<Event>),
    Counted(Tally),
}

impl Notes {
    fn new(origin: Instant, book: Book) -> Self {
        Self { book: Arc::new(Mutex::new(book)), connections: Arc::default(), connection: 0, origin }
    }

    /// The notes of one more connection.
    fn connection(&self) -> Self {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        Self { connection, ..self.clone() }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, direction: Direction, what: What) {
        self.note_at(self.now_us(), direction, what);
    }

    fn note_at(&self, at_us: u64, direction: Direction, what: What) {
        match &mut *self.book.lock().unwrap_or_else(PoisonError::into_inner) {
            Book::Kept(events) => events.push(Event { at_us, connection: self.connection, direction, what }),
            Book::Counted(tally) => tally.count(direction, &what),
        }
    }
}

/// The relays of one hypervisor.
#[derive(Debug)]
pub(crate) struct Tap {
    amqp: u16,
    http: BTreeMap<&'static str, u16>,
    notes: Notes,
    /// Which requests to Neutron are held.
    hold: tokio::sync::watch::Sender<Hold>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Tap {
    /// Listens on free ports of loopback. Times count from `origin`.
    pub(crate) async fn open(cloud: &Cloud, origin: Instant) -> std::io::Result<Self> {
        Self::listen(cloud, Notes::new(origin, Book::Kept(Vec::new()))).await
    }

    /// Likewise, and only counts, for as long as it may take.
    pub(crate) async fn counting(cloud: &Cloud, origin: Instant) -> std::io::Result<Self> {
        Self::listen(cloud, Notes::new(origin, Book::Counted(Tally::default()))).await
    }

    async fn listen(cloud: &Cloud, notes: Notes) -> std::io::Result<Self> {
        let listener = TcpListener::bind((LOCALHOST, 0)).await?;
        let amqp = listener.local_addr()?.port();
        let BrokerNode { host, port } = cloud.amqp.nodes[0].clone();
        let broker = (host, port);
        let (hold, gate) = tokio::sync::watch::channel(Hold::Nothing);
        let mut tasks = vec![tokio::spawn(amqp::relay(listener, broker, notes.clone()))];
        let mut http = BTreeMap::new();
        for (name, url) in services(cloud) {
            let listener = TcpListener::bind((LOCALHOST, 0)).await?;
            let relay = listener.local_addr()?.port();
            let (host, port) = address(url);
            let service = http::Service { name, host, port, relay };
            tasks.push(tokio::spawn(http::relay(listener, service, notes.clone(), gate.clone())));
            http.insert(name, relay);
        }
        Ok(Self { amqp, http, notes, hold, tasks })
    }

    /// Port of the relay in front of the broker.
    pub(crate) fn amqp_port(&self) -> u16 {
        self.amqp
    }

    /// `http://127.0.0.1:PORT` of the relay in front of a service.
    pub(crate) fn url(&self, service: &str) -> String {
        format!("http://{LOCALHOST}:{}", self.http.get(service).copied().unwrap_or_default())
    }

    /// Holds requests to Neutron, and lets others go: so a build can be stopped half way.
    pub(crate) fn hold_network(&self, hold: Hold) {
        self.hold.send_replace(hold);
    }

    /// Microseconds since the origin.
    pub(crate) fn now_us(&self) -> u64 {
        self.notes.now_us()
    }

    /// What was counted so far; nothing when it was kept.
    pub(crate) fn figures(&self) -> Figures {
        match &*self.notes.book.lock().unwrap_or_else(PoisonError::into_inner) {
            Book::Counted(tally) => tally.figures().clone(),
            Book::Kept(_) => Figures::new(),
        }
    }

    /// Counts what the hypervisor has asked for so far, wherever it is called; nothing when that was kept.
    pub(crate) fn requests(&self) -> impl Fn() -> u64 + Send + Clone + use<> {
        let book = Arc::clone(&self.notes.book);
        move || match &*book.lock().unwrap_or_else(PoisonError::into_inner) {
            Book::Counted(tally) => tally.requests(),
            Book::Kept(_) => 0,
        }
    }

    /// Everything that was kept from a moment on, in order.
    pub(crate) fn since(&self, from_us: u64) -> Vec<Event> {
        let book = self.notes.book.lock().unwrap_or_else(PoisonError::into_inner);
        let Book::Kept(events) = &*book else { return Vec::new() };
        let mut found: Vec<Event> = events.iter().filter(|event| event.at_us >= from_us).cloned().collect();
        drop(book);
        // A request is noted when it is answered, at the time when it was sent.
        found.sort_by_key(|event| event.at_us);
        found
    }
}

fn services(cloud: &Cloud) -> [(&'static str, &str); 4] {
    [
        ("keystone", &cloud.identity_url),
        ("placement", &cloud.placement_url),
        ("glance", &cloud.image_url),
        ("neutron", &cloud.network_url),
    ]
}

/// Host and port of a URL of the cloud, which always has both.
fn address(url: &str) -> (String, u16) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    (host.to_owned(), port.parse().unwrap_or(80))
}
