//! What a fleet counts while it runs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hypervisor::{Milestone, Time};
use tokio::sync::Notify;
use uuid::Uuid;

/// Counters of a fleet at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FleetStats {
    /// Hypervisors whose start-up has begun.
    pub started: u64,
    /// Hypervisors whose start-up went through.
    pub registered: u64,
    /// Hypervisors that refused to start, as a nova-compute does whose host was renamed.
    pub refused: u64,
    /// RPC servers of compute services that have begun to consume; those that did so again after a loss count again.
    pub serving: u64,
    /// Links that are lost at this moment.
    pub links_down: u64,
    /// Requests sent, of any kind.
    pub requests: u64,
    /// Requests that failed, time-outs among them.
    pub failed: u64,
    /// Requests that nobody answered in time.
    pub timed_out: u64,
    /// Requests that came in and that no simulated hypervisor knows.
    pub unknown_requests: u64,
    /// How late the fleet itself was at its worst with waking a hypervisor, in microseconds, since the last reading.
    pub late_us_max: u64,
}

/// When a VM passed the milestones of its build, since the beginning of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildTimeline {
    /// Host that built it.
    pub host: String,
    /// `build_and_run_instance` arrived.
    pub received: Option<Duration>,
    /// Its build slot came free.
    pub started: Option<Duration>,
    /// The network allocation began.
    pub network_started: Option<Duration>,
    /// All ports are bound.
    pub network_allocated: Option<Duration>,
    /// The driver began to start the guest.
    pub spawn_started: Option<Duration>,
    /// The guest ran, and its ports were wired.
    pub spawn_finished: Option<Duration>,
    /// Nova had it as ACTIVE.
    pub active: Option<Duration>,
}

/// Counters that the workers write and anyone reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) started: AtomicU64,
    pub(crate) registered: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) serving: AtomicU64,
    pub(crate) links_down: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) unknown_requests: AtomicU64,
    pub(crate) late_us_max: AtomicU64,
    /// Start-ups that are over, well or not, of hypervisors that restarted as well.
    start_ups_over: AtomicU64,
    /// Somebody waits for start-ups to end.
    through: Notify,
    timelines: Mutex<BTreeMap<Uuid, BuildTimeline>>,
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self) -> FleetStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FleetStats {
            started: get(&self.started),
            registered: get(&self.registered),
            refused: get(&self.refused),
            serving: get(&self.serving),
            links_down: get(&self.links_down),
            requests: get(&self.requests),
            failed: get(&self.failed),
            timed_out: get(&self.timed_out),
            unknown_requests: get(&self.unknown_requests),
            late_us_max: self.late_us_max.swap(0, Ordering::Relaxed),
        }
    }

    /// A hypervisor's start-up has ended, well or not.
    pub(crate) fn start_up_over(&self, counter: &AtomicU64) {
        add(counter);
        add(&self.start_ups_over);
        self.through.notify_waiters();
    }

    /// Start-ups that are over by now.
    pub(crate) fn start_ups_over(&self) -> u64 {
        self.start_ups_over.load(Ordering::Relaxed)
    }

    /// Waits until so many start-ups are over.
    pub(crate) async fn through(&self, start_ups: u64) {
        loop {
            let more = self.through.notified();
            if self.start_ups_over() >= start_ups {
                return;
            }
            more.await;
        }
    }

    /// Notes a milestone of a VM; its timeline starts anew when another host builds it.
    pub(crate) fn note(&self, host: &str, now: Time, milestone: Milestone) {
        use Milestone as M;
        let (M::BuildReceived(uuid)
        | M::BuildStarted(uuid)
        | M::NetworkStarted(uuid)
        | M::NetworkAllocated(uuid)
        | M::SpawnStarted(uuid)
        | M::SpawnFinished(uuid)
        | M::Active(uuid)) = milestone
        else {
            return;
        };
        let at = Some(now.since_origin());
        let mut timelines = self.timelines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = timelines.entry(uuid).or_default();
        match milestone {
            M::BuildReceived(_) => *line = BuildTimeline { host: host.to_owned(), received: at, ..Default::default() },
            M::BuildStarted(_) => line.started = at,
            M::NetworkStarted(_) => line.network_started = at,
            M::NetworkAllocated(_) => line.network_allocated = at,
            M::SpawnStarted(_) => line.spawn_started = at,
            M::SpawnFinished(_) => line.spawn_finished = at,
            _ => line.active = at,
        }
    }

    pub(crate) fn take_timeline(&self, vm: Uuid) -> Option<BuildTimeline> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner).remove(&vm)
    }
}
