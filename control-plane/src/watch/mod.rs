//! Samplers: what the cloud, its hosts and the harness itself do while a run goes on, as time series of the recording.
//!
//! | sampler | how | how often |
//! |---|---|---|
//! | `processes` | `/proc` | 2 s |
//! | `broker` | RabbitMQ's Prometheus page, whose size does not grow with the number of queues; where there is a backlog, the deepest queues from that of single queues | 2 s |
//! | `database` | `SHOW GLOBAL STATUS` over the Unix socket | 2 s |
//! | `heartbeats` | Nova's records of its services, in the database | 2 s |
//! | `services` | Nova's own service list, of a cloud whose database is not ours | 5 s |
//! | `fleet` | counters of the fleet, tasks and open files of this process | 2 s |
//! | `load` | counters of this process | 1 s |
//! | `timer` | a sleep of 100 ms, and how late it ends | 100 ms |
//!
//! A look that takes long is repeated less often: samplers rest for at least nine times as long as they worked.

mod broker;
mod database;
mod fleet;
mod heartbeats;
mod processes;
mod queues;
mod roll_call;
mod services;
mod timer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fake_hv::Fleet;
use recording::{Event, Recorder, Sample, millis};
use tokio::task::JoinSet;

pub(crate) use database::Link;
pub use database::global_status;
pub(crate) use heartbeats::{is_up, whole_s};
pub use roll_call::{Roll, RollCall};
pub use services::{ServiceState, compute_services};

/// Where samples go, and the clock that they carry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scribe {
    recorder: Recorder,
    origin: Instant,
}

impl Scribe {
    /// Times count from `origin`.
    pub fn new(recorder: Recorder, origin: Instant) -> Self {
        Self { recorder, origin }
    }

    /// Time since `t = 0`.
    pub fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// `t = 0`.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// Where it writes.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Notes a value of a metric.
    pub fn sample(&self, metric: &str, instance: &str, value: f64) {
        self.sample_at(self.now(), metric, instance, value);
    }

    /// Notes a value that a metric had at a time that has gone by.
    pub(crate) fn sample_at(&self, at: Duration, metric: &str, instance: &str, value: f64) {
        let (metric, instance) = (metric.to_owned(), instance.to_owned());
        self.recorder.sample(&Sample { t_ms: millis(at), metric, instance, value });
    }

    /// Notes something that happened.
    pub fn event(&self, kind: &str, detail: impl Into<String>) {
        self.event_at(self.now(), kind, detail);
    }

    /// Notes something that happened at a time that has gone by.
    pub(crate) fn event_at(&self, at: Duration, kind: &str, detail: impl Into<String>) {
        self.recorder.event(&Event { t_ms: millis(at), kind: kind.to_owned(), detail: detail.into() });
    }
}

/// A fleet that comes and goes while samplers run. Cheap to clone.
#[derive(Clone, Default)]
pub struct SharedFleet(Arc<Mutex<Option<Fleet>>>);

impl SharedFleet {
    /// The processes of the harness: this one, and those of the fleet.
    fn harness_processes(&self) -> Vec<u32> {
        let mut processes = self.with(Fleet::process_ids).unwrap_or_default();
        processes.push(std::process::id());
        processes
    }

    /// Looks at the fleet, if there is one.
    pub fn with<T>(&self, look: impl FnOnce(&Fleet) -> T) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// Whether there is a fleet.
    pub(crate) fn is_there(&self) -> bool {
        self.with(|_| ()).is_some()
    }

    /// The fleet is there.
    pub fn put(&self, fleet: Fleet) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fleet);
    }

    /// Takes the fleet out, to stop it.
    pub fn take(&self) -> Option<Fleet> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Processes that come while samplers run. Cheap to clone.
#[derive(Clone, Default)]
pub struct SharedProcesses(Arc<Mutex<Vec<crate::ManagedProcess>>>);

impl SharedProcesses {
    /// One more.
    pub(crate) fn add(&self, process: crate::ManagedProcess) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(process);
    }

    /// Those that are there.
    fn all(&self) -> Vec<crate::ManagedProcess> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes all out, to stop them.
    pub(crate) fn take(&self) -> Vec<crate::ManagedProcess> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One thing that is looked at again and again.
pub(crate) trait Sampler: Send + 'static {
    /// What it looks at, for warnings.
    const WHAT: &'static str;
    /// Time from one look to the next.
    const EVERY: Duration;

    /// Looks once. An error is told once, as a warning of the run, until a look succeeds again.
    fn look(&mut self, scribe: &Scribe) -> impl Future<Output = Result<(), String>> + Send;
}

/// All samplers of a run. Dropping it stops them.
pub struct Watch {
    scribe: Scribe,
    tasks: JoinSet<()>,
}

impl Watch {
    /// Watches how late this process itself is, and nothing else yet.
    pub fn new(scribe: Scribe) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(timer::run(scribe.clone()));
        Self { scribe, tasks }
    }

    /// CPU and memory of the cloud's processes, the machine and the harness.
    pub fn processes(&mut self, processes: Vec<crate::ManagedProcess>, real: SharedProcesses, fleet: SharedFleet) {
        self.add(processes::Processes { processes, real, fleet, harness_ticks: BTreeMap::new() });
    }

    /// The broker, by the Prometheus pages of its nodes.
    pub fn broker(&mut self, metrics_urls: &[String]) {
        self.add(broker::Broker::new(metrics_urls));
    }

    /// The database server.
    pub fn database(&mut self, database: &crate::Database) {
        self.add(database::Server(database::Link::new(database)));
    }

    /// Which hosts of the run Nova takes for up, by its records in the database.
    pub fn heartbeats(
        &mut self,
        database: &crate::Database,
        service_down_time: Duration,
        (run, hypervisors): (crate::load::RunName, u32),
        fleet: SharedFleet,
    ) {
        let (link, heard) = (database::Link::new(database), heartbeats::Heard::new(service_down_time));
        self.add(heartbeats::Heartbeats { link, run, hypervisors, fleet, heard, looked: Duration::ZERO });
    }

    /// Which hosts of the run Nova takes for up, as its API says.
    pub fn services(&mut self, admin: crate::load::Session, run: crate::load::RunName, fleet: SharedFleet) {
        self.add(services::Services::new(admin, run, fleet));
    }

    /// Counters of the fleet.
    pub fn fleet(&mut self, fleet: SharedFleet) {
        self.add(fleet::Counters { fleet });
    }

    /// How many operations of each stream have started.
    pub fn load(&mut self, started: impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static) {
        self.add(fleet::Started { started: Box::new(started) });
    }

    fn add<S: Sampler>(&mut self, sampler: S) {
        self.tasks.spawn(repeat(sampler, self.scribe.clone()));
    }

    /// Stops all samplers.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A sampler rests this many times as long as it worked: looking costs the cloud a tenth of one core at most.
const REST_FACTOR: u32 = 9;

async fn repeat<S: Sampler>(mut sampler: S, scribe: Scribe) {
    let mut told = false;
    loop {
        let begun = Instant::now();
        match sampler.look(&scribe).await {
            Ok(()) => told = false,
            Err(_) if told => {}
            Err(error) => {
                told = true;
                scribe.event("warning", format!("cannot look at {}: {error}", S::WHAT));
            }
        }
        let worked = begun.elapsed();
        tokio::time::sleep(S::EVERY.saturating_sub(worked).max(worked * REST_FACTOR)).await;
    }
}
