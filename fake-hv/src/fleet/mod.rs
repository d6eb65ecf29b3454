//! A fleet: many hypervisors, in one process or in a few.

mod process;
mod serve;
#[cfg(test)]
pub(crate) mod testing;
mod told;
mod turns;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use hypervisor::{ComputeOptions, Config, Driver, Services};
use rand::seq::SliceRandom;
use recording::Recorder;
use scenarios::{
    plan::{ConnectionMode, FleetPlan, Start},
    seed::generator,
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
};
use uuid::Uuid;

use crate::{
    Broker, BrokerAddress, BuildTimeline, FleetStats, KnownHost, LinkError, Release, ReleaseError, ServiceApis,
    agent::AgentRelease,
    amqp::Farewell,
    log::Log,
    nova::Identity,
    stats::{Counters, Tokens},
    worker::{self, Order, Setup},
};
use process::{Desk, Process};

pub use process::Processes;
pub use serve::serve;
pub(crate) use told::Told;

/// What a fleet is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// Processes that it is spread over; `None`: all of it runs in this one.
    #[serde(skip)]
    pub processes: Option<Processes>,
}

impl FleetSpec {
    /// TCP connections to the broker that each hypervisor keeps open; zero where they share a few.
    ///
    /// # Errors
    /// When nothing is known of the release.
    pub fn connections_each(&self) -> Result<u32, ReleaseError> {
        /// For what a process sends, and for the replies to it.
        const SEND_AND_REPLY: usize = 2;
        let count = match self.plan.connections {
            ConnectionMode::Shared { .. } => 0,
            ConnectionMode::Single => 1,
            ConnectionMode::Faithful => {
                let compute = SEND_AND_REPLY + Release::load(&self.release)?.rpc_topics().len();
                let agent = SEND_AND_REPLY + AgentRelease::load(&self.release).topics().len();
                match self.services {
                    Services::All => compute + agent,
                    Services::ComputeOnly => compute,
                    Services::AgentOnly => agent,
                }
            }
        };
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// What each of so many processes has of it: its part of the hypervisors, and of the connections that they share, rounded up.
    fn part(&self, processes: u32) -> Self {
        let mut part = self.clone();
        part.plan.hypervisors = part.plan.hypervisors.div_ceil(processes);
        if let ConnectionMode::Shared { connections } = &mut part.plan.connections {
            *connections = connections.div_ceil(processes);
        }
        part
    }

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

    /// What each hypervisor is made with.
    pub(crate) fn config(&self, release: &Release) -> Config {
        Config {
            options: self.options.clone(),
            resources: self.plan.resources.clone(),
            times: self.plan.times.clone(),
            driver: self.driver,
            services: self.services,
            habits: release.habits(),
        }
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
    /// The operating system gave no process, or no way to talk to it.
    #[error("cannot start a process for the fleet: {0}")]
    Process(std::io::Error),
    /// A process of the fleet could not begin.
    #[error("{0}")]
    Refused(String),
    /// This is a process of a fleet, and its input is no beginning of one.
    #[error("a process of a fleet is started by its fleet; standard input does not say what to run")]
    NoBeginning,
}

/// A running fleet.
pub struct Fleet {
    hypervisors: u32,
    seed: u64,
    orders: Orders,
    counters: Arc<Counters>,
    starting: JoinHandle<()>,
    wake: watch::Sender<bool>,
    crews: Vec<Crew>,
    lost: watch::Receiver<Option<String>>,
}

/// Some of the hypervisors of a fleet, and where they run.
enum Crew {
    Here(Hands),
    Process(Process),
}

impl Fleet {
    /// Starts the hypervisors at the plan's pace, in the background. Times in the recording count from `origin`.
    ///
    /// # Errors
    /// When the broker cannot be reached, the release is unknown, or there is no thread or process to be had.
    pub async fn start(spec: FleetSpec, recorder: Recorder, origin: Instant) -> Result<Self, FleetError> {
        Self::go_on(spec, Vec::new(), recorder, origin).await
    }

    /// Hypervisors that ran before, as the cloud's records have them: those of the plan from the first one on. They connect to the broker
    /// all at once, and rest there until [`Fleet::wake`]. Those after them start when the former have gone on.
    ///
    /// # Errors
    /// As [`Fleet::start`].
    pub async fn go_on(
        spec: FleetSpec,
        known: Vec<KnownHost>,
        recorder: Recorder,
        origin: Instant,
    ) -> Result<Self, FleetError> {
        let counters = Arc::new(Counters::default());
        let (report_loss, lost) = watch::channel(None);
        let (mut crews, mut senders) = (Vec::new(), Vec::new());
        match spec.processes.clone().filter(|processes| processes.count > 1) {
            None => {
                let (orders, queue) = mpsc::unbounded_channel();
                let log = (Log::Recording(recorder), origin);
                crews.push(Crew::Here(Hands::here(&spec, log, &counters, (&orders, queue), report_loss).await?));
                senders.push(orders);
            }
            Some(Processes { count, command }) => {
                let desk = Desk { counters: Arc::clone(&counters), recorder, origin, lost: report_loss };
                let part = spec.part(count);
                for _ in 0..count {
                    let (orders, queue) = mpsc::unbounded_channel();
                    crews.push(Crew::Process(Process::start(&command, part.clone(), desk.clone(), queue).await?));
                    senders.push(orders);
                }
            }
        }
        let orders = Orders(senders.into());
        let (hypervisors, seed) = (spec.plan.hypervisors, spec.seed);
        let (wake, awake) = watch::channel(known.is_empty());
        let starting = tokio::spawn(turns::start_all(spec, orders.clone(), Arc::clone(&counters), (known, awake)));
        Ok(Self { hypervisors, seed, orders, counters, starting, wake, crews, lost })
    }

    /// Has those that rest go on: each beats when its next beat is due, counted from now.
    pub fn wake(&self) {
        self.wake.send_replace(true);
    }

    /// Counters at this moment.
    pub fn stats(&self) -> FleetStats {
        self.counters.read()
    }

    /// The most events that have waited for the fleet's own threads at once, since this was last asked.
    pub fn take_waiting_peak(&self) -> u64 {
        self.counters.take_waiting_peak()
    }

    /// Ids of the processes that it has beside this one.
    pub fn process_ids(&self) -> Vec<u32> {
        let id = |crew: &Crew| match crew {
            Crew::Here(_) => None,
            Crew::Process(process) => Some(process.id),
        };
        self.crews.iter().filter_map(id).collect()
    }

    /// Why a process of the fleet has ended that was not told to; `None`: none has.
    pub fn loss(&self) -> Option<String> {
        self.lost.borrow().clone()
    }

    /// Waits until a process of the fleet ends that was not told to, and says why; for ever where none does.
    pub fn lost(&self) -> impl Future<Output = String> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            let reason = lost.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                None => std::future::pending().await,
            }
        }
    }

    /// Puts ports on the bridge of a host, where its L2 agent finds them, or takes them away: for hosts whose nova-compute is none
    /// of ours.
    pub fn change_bridge(&self, host: u32, added: Vec<Uuid>, removed: Vec<Uuid>) {
        self.orders.give(Order::Bridge { host, added, removed });
    }

    /// Part of the hypervisors, chosen by the seed, lose all their connections at once.
    pub fn lose_connections(&self, share: f64) {
        for host in self.chosen(share) {
            self.orders.give(Order::Cut(host));
        }
    }

    /// On part of the hypervisors, chosen by the seed, everything ends and starts again, each in its turn.
    pub fn restart(&self, share: f64, start: Start) -> impl Future<Output = ()> + Send + use<> {
        let (orders, counters, seed) = (self.orders.clone(), Arc::clone(&self.counters), self.seed);
        let hosts = self.chosen(share);
        async move {
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            turns::in_turn(start, count, seed, &counters, |number| orders.give(Order::Restart(hosts[number as usize])))
                .await;
        }
    }

    fn chosen(&self, share: f64) -> Vec<u32> {
        let mut hosts: Vec<u32> = (0..self.hypervisors).collect();
        hosts.shuffle(&mut generator(self.seed, "fleet/incident"));
        hosts.truncate((f64::from(self.hypervisors) * share).ceil() as usize);
        hosts
    }

    /// When a VM passed the steps of its build; asked for once, then forgotten. A hypervisor notes the last step when the conductor has
    /// answered, and users see the VM as ACTIVE before: `to_its_end` gives nothing until then.
    pub fn take_build_timeline(&self, vm: Uuid, to_its_end: bool) -> Option<BuildTimeline> {
        self.counters.take_timeline(vm, to_its_end)
    }

    /// Stops all hypervisors and deletes their queues.
    pub async fn stop(self) {
        self.end(Farewell::TidyUp).await;
    }

    /// What gives the tokens of its hypervisors, once they are being halted, whether or not the broker ever answers to that.
    pub fn tokens(&self) -> impl FnOnce() -> Tokens + Send + use<> {
        let counters = Arc::clone(&self.counters);
        move || counters.take_tokens()
    }

    /// Stops all hypervisors as nova-computes are stopped that will be started again.
    pub async fn halt(self) {
        self.end(Farewell::Leave).await;
    }

    async fn end(self, farewell: Farewell) {
        self.starting.abort();
        self.orders.give_all(|| Order::Stop(farewell));
        for crew in self.crews {
            match crew {
                Crew::Here(hands) => hands.ended().await,
                Crew::Process(process) => process.ended().await,
            }
        }
    }
}

/// Where the orders to each hypervisor go. Cheap to clone.
#[derive(Clone)]
struct Orders(Arc<[mpsc::UnboundedSender<Order>]>);

impl Orders {
    /// `false`: those who would have to obey have stopped.
    fn give(&self, order: Order) -> bool {
        let crew = order.host().map_or(0, |host| host as usize % self.0.len());
        self.0[crew].send(order).is_ok()
    }

    fn give_all(&self, order: impl Fn() -> Order) {
        for crew in self.0.iter() {
            let _stopped = crew.send(order());
        }
    }
}

/// Hypervisors that run in this very process, on a thread.
struct Hands(thread::JoinHandle<()>);

impl Hands {
    /// A thread that waits for orders, once the broker has been reached. Should it panic, `lost` is told.
    async fn here(
        spec: &FleetSpec,
        (log, origin): (Log, Instant),
        counters: &Arc<Counters>,
        (orders, queue): (&mpsc::UnboundedSender<Order>, mpsc::UnboundedReceiver<Order>),
        lost: watch::Sender<Option<String>>,
    ) -> Result<Self, FleetError> {
        let release = Release::load(&spec.release)?;
        let options = spec.options.rabbit.clone();
        let broker = Broker::new(spec.broker.clone(), spec.plan.connections, options, Handle::current());
        let services_each = if spec.services == Services::ComputeOnly { 1 } else { 2 };
        broker.probe(spec.plan.hypervisors * services_each).await?;
        let setup = Setup {
            config: spec.config(&release),
            release,
            apis: spec.apis.clone(),
            broker,
            log,
            counters: Arc::clone(counters),
            seed: spec.seed,
            origin,
            orders: orders.downgrade(),
        };
        let work = move || {
            // Nothing of the worker is looked at afterwards.
            if catch_unwind(AssertUnwindSafe(|| run_worker(setup, queue))).is_err() {
                let reason =
                    "the fleet's thread has panicked: that is a defect of this program; standard error says where";
                lost.send_replace(Some(reason.to_owned()));
            }
        };
        let thread = thread::Builder::new().name("fleet".to_owned()).spawn(work)?;
        Ok(Self(thread))
    }

    /// Waits until its hypervisors have stopped. A panic was reported when it happened.
    async fn ended(self) {
        let _panicked = tokio::task::spawn_blocking(move || self.0.join()).await;
    }
}

fn run_worker(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime
        .expect("a runtime with a timer alone asks the system for nothing that it could refuse")
        .block_on(worker::run(setup, orders));
}
