//! A fleet: many hypervisors, one process.

use std::{sync::Arc, thread, time::Instant};

use hypervisor::{ComputeOptions, Config, Driver, Services};
use rand::seq::SliceRandom;
use recording::Recorder;
use scenarios::{
    plan::{FleetPlan, Start},
    seed::generator,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    Broker, BrokerAddress, BuildTimeline, FleetStats, KnownHost, LinkError, Release, ReleaseError, ServiceApis,
    amqp::Farewell,
    nova::Identity,
    stats::Counters,
    worker::{self, Order, Setup},
};

/// What a fleet is made of.
#[derive(Debug, Clone)]
pub struct FleetSpec {
    /// How many hypervisors, how they connect, what they offer.
    pub plan: FleetPlan,
    /// Options of nova-compute and its agent.
    pub options: ComputeOptions,
    /// OpenStack release whose nova-compute they are.
    pub release: String,
    /// Seed of their jitter and delays.
    pub seed: u64,
    /// Hosts are named `{prefix}-{number}`, five digits.
    pub host_prefix: String,
    /// What they were named after when they were first started, if they have been renamed since: they keep their nodes' identity.
    pub first_host_prefix: Option<String>,
    /// Number of the first host.
    pub first_host: u32,
    /// The broker.
    pub broker: BrokerAddress,
    /// The HTTP services.
    pub apis: ServiceApis,
    /// What their virt driver does.
    pub driver: Driver,
    /// What runs on each host.
    pub services: Services,
}

impl FleetSpec {
    /// Names of all hosts, in the order they start.
    pub fn host_names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.plan.hypervisors).map(|index| self.host_name(index))
    }

    fn host_name(&self, index: u32) -> String {
        self.name_after(&self.host_prefix, index)
    }

    fn name_after(&self, prefix: &str, index: u32) -> String {
        format!("{prefix}-{:05}", self.first_host + index)
    }

    fn identity(&self, index: u32) -> Identity {
        let host = self.host_name(index);
        // A nova-compute keeps its node's UUID on disk; ours follows from its first name and the seed.
        let first = self.name_after(self.first_host_prefix.as_ref().unwrap_or(&self.host_prefix), index);
        let node = Uuid::from_u128((u128::from(self.seed) << 64) ^ fnv(&first));
        let node = uuid::Builder::from_random_bytes(*node.as_bytes()).into_uuid();
        Identity { host: host.into_boxed_str(), node }
    }
}

/// FNV-1a of 128 bits: spreads names over UUIDs, the same on every machine.
fn fnv(text: &str) -> u128 {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    text.bytes().fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

/// A fleet could not be started.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The broker refused, or is not there.
    #[error(transparent)]
    Broker(#[from] LinkError),
    /// Nothing is known of the release.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// The operating system gave no thread.
    #[error("cannot start a thread for the fleet: {0}")]
    Thread(#[from] std::io::Error),
}

/// A running fleet.
pub struct Fleet {
    hypervisors: u32,
    seed: u64,
    orders: mpsc::UnboundedSender<Order>,
    counters: Arc<Counters>,
    starting: JoinHandle<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Fleet {
    /// Starts the hypervisors at the plan's pace, in the background. Times in the recording count from `origin`.
    ///
    /// # Errors
    /// When the broker cannot be reached, the release is unknown, or there is no thread to be had.
    pub async fn start(spec: FleetSpec, recorder: Recorder, origin: Instant) -> Result<Self, FleetError> {
        Self::go_on(spec, Vec::new(), recorder, origin).await
    }

    /// Goes on with hypervisors that ran before, as the cloud's records have them, all at once: with those of the plan from the first
    /// one on. Those after them start.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn go_on(
        spec: FleetSpec,
        known: Vec<KnownHost>,
        recorder: Recorder,
        origin: Instant,
    ) -> Result<Self, FleetError> {
        let release = Release::load(&spec.release)?;
        let reconnect = spec.options.reconnect.clone();
        let broker = Broker::new(spec.broker.clone(), spec.plan.connections, reconnect, Handle::current());
        broker.probe(spec.plan.hypervisors).await?;
        let counters = Arc::new(Counters::default());
        let (orders, queue) = mpsc::unbounded_channel();
        let setup = Setup {
            config: Config {
                options: spec.options.clone(),
                resources: spec.plan.resources.clone(),
                times: spec.plan.times.clone(),
                driver: spec.driver,
                services: spec.services,
                habits: release.habits(),
            },
            release,
            apis: spec.apis.clone(),
            broker,
            recorder,
            counters: Arc::clone(&counters),
            seed: spec.seed,
            origin,
            orders: orders.downgrade(),
        };
        let thread = thread::Builder::new().name("fleet".to_owned()).spawn(move || run_worker(setup, queue))?;
        let (hypervisors, seed) = (spec.plan.hypervisors, spec.seed);
        let starting = tokio::spawn(start_all(spec, orders.clone(), Arc::clone(&counters), known));
        Ok(Self { hypervisors, seed, orders, counters, starting, thread: Some(thread) })
    }

    /// Counters at this moment.
    pub fn stats(&self) -> FleetStats {
        self.counters.read()
    }

    /// Puts ports on the bridge of a host, where its L2 agent finds them, or takes them away: for hosts whose nova-compute is none
    /// of ours.
    pub fn change_bridge(&self, host: u32, added: Vec<Uuid>, removed: Vec<Uuid>) {
        let _stopped = self.orders.send(Order::Bridge { host, added, removed });
    }

    /// Part of the hypervisors, chosen by the seed, lose all their connections at once.
    pub fn lose_connections(&self, share: f64) {
        for host in self.chosen(share) {
            let _stopped = self.orders.send(Order::Cut(host));
        }
    }

    /// On part of the hypervisors, chosen by the seed, everything ends and starts again, each in its turn.
    pub fn restart(&self, share: f64, start: Start) -> impl Future<Output = ()> + Send + use<> {
        let (orders, counters, seed) = (self.orders.clone(), Arc::clone(&self.counters), self.seed);
        let hosts = self.chosen(share);
        async move {
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            in_turn(start, count, seed, &counters, |number| {
                orders.send(Order::Restart(hosts[number as usize])).is_ok()
            })
            .await;
        }
    }

    fn chosen(&self, share: f64) -> Vec<u32> {
        let mut hosts: Vec<u32> = (0..self.hypervisors).collect();
        hosts.shuffle(&mut generator(self.seed, "fleet/incident"));
        hosts.truncate((f64::from(self.hypervisors) * share).ceil() as usize);
        hosts
    }

    /// When a VM passed the steps of its build; asked for once, then forgotten.
    pub fn take_build_timeline(&self, vm: Uuid) -> Option<BuildTimeline> {
        self.counters.take_timeline(vm)
    }

    /// Stops all hypervisors and deletes their queues.
    pub async fn stop(self) {
        self.end(Farewell::TidyUp).await;
    }

    /// Stops all hypervisors as nova-computes are stopped that will be started again.
    pub async fn halt(self) {
        self.end(Farewell::Leave).await;
    }

    async fn end(mut self, farewell: Farewell) {
        self.starting.abort();
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::Stop(done, farewell)).is_ok() {
            let _thread_gone = stopped.await;
        }
        if let Some(thread) = self.thread.take() {
            // It has nothing left to do; a panic in it was reported when it happened.
            let _panicked = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

fn run_worker(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    match runtime {
        Ok(runtime) => runtime.block_on(worker::run(setup, orders)),
        Err(error) => tracing::error!(%error, "the fleet's thread has no timer"),
    }
}

/// Those that are known go on at once; the others start when the plan says.
async fn start_all(
    spec: FleetSpec,
    orders: mpsc::UnboundedSender<Order>,
    counters: Arc<Counters>,
    known: Vec<KnownHost>,
) {
    let mut hosts = 0..spec.plan.hypervisors;
    for (index, host) in hosts.by_ref().take(known.len()).zip(known) {
        let identity = Identity { node: host.node.uuid, ..spec.identity(index) };
        if orders.send(Order::Start(index, identity, Some(Box::new(host)))).is_err() {
            return;
        }
    }
    let first = hosts.start;
    let start = spec.plan.start;
    in_turn(start, spec.plan.hypervisors - first, spec.seed, &counters, |number| {
        let index = first + number;
        orders.send(Order::Start(index, spec.identity(index), None)).is_ok()
    })
    .await;
}

/// Does something for each of so many hypervisors when it is its turn, until it says `false`. What is done ends in a start-up.
async fn in_turn(start: Start, count: u32, seed: u64, counters: &Counters, act: impl Fn(u32) -> bool) {
    let moments = start.moments(count, seed);
    let (begun, over) = (tokio::time::Instant::now(), counters.start_ups_over());
    for number in 0..count {
        match (&moments, start) {
            (Some(moments), _) => tokio::time::sleep_until(begun + moments[number as usize]).await,
            (None, Start::UnderWay { hypervisors }) => {
                counters.through(over + u64::from((number + 1).saturating_sub(hypervisors))).await;
            }
            (None, _) => {}
        }
        if !act(number) {
            return;
        }
    }
}
