//! What a fleet counts while it runs.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hypervisor::{Milestone, Sessions, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{KnownToken, amqp::HostIndex};

/// Tokens of hypervisors that are to be gone on with, by their places in the fleet.
pub type Tokens = BTreeMap<HostIndex, Sessions<KnownToken>>;

/// Counters of a fleet at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStats {
    /// Hypervisors whose start-up has begun, and those that go on.
    pub started: u64,
    /// Hypervisors whose start-up went through.
    pub registered: u64,
    /// Hypervisors that refused to start, as a nova-compute does whose host was renamed.
    pub refused: u64,
    /// RPC servers of compute services that have begun to consume.
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
    /// HTTP requests under way at this moment.
    pub http_under_way: u64,
    /// Tasks of the processes that it has beside its own.
    pub tasks_beside: u64,
}

/// When a VM passed the milestones of its build, since the beginning of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl BuildTimeline {
    /// Adds what was noted later. A build that is received anew starts a new timeline.
    fn go_on(&mut self, later: Self) {
        if later.received.is_some() {
            *self = later;
            return;
        }
        let later_or = |at: &mut Option<Duration>, later: Option<Duration>| *at = later.or(*at);
        later_or(&mut self.started, later.started);
        later_or(&mut self.network_started, later.network_started);
        later_or(&mut self.network_allocated, later.network_allocated);
        later_or(&mut self.spawn_started, later.spawn_started);
        later_or(&mut self.spawn_finished, later.spawn_finished);
        later_or(&mut self.active, later.active);
    }
}

/// What a process of a fleet has counted, as its fleet has to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) stats: FleetStats,
    pub(crate) start_ups_over: u64,
    pub(crate) waiting_peak: u64,
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
    pub(crate) http_under_way: AtomicU64,
    pub(crate) tasks_beside: AtomicU64,
    /// The most events that have waited for a worker at once, since somebody asked.
    waiting_peak: AtomicU64,
    /// Start-ups that are over, well or not, of hypervisors that restarted as well.
    start_ups_over: AtomicU64,
    /// Somebody waits for start-ups to end.
    through: Notify,
    timelines: Mutex<BTreeMap<Uuid, BuildTimeline>>,
    /// Of hypervisors that have stopped.
    tokens: Mutex<Tokens>,
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
            http_under_way: get(&self.http_under_way),
            tasks_beside: get(&self.tasks_beside),
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
        let mut timelines = self.timelines();
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

    /// `to_its_end`: only if the build is noted to its end.
    pub(crate) fn take_timeline(&self, vm: Uuid, to_its_end: bool) -> Option<BuildTimeline> {
        let mut timelines = self.timelines();
        let there = timelines.get(&vm).is_some_and(|line| line.active.is_some() || !to_its_end);
        there.then(|| timelines.remove(&vm)).flatten()
    }

    /// What was noted of builds since the last time.
    pub(crate) fn take_timelines(&self) -> BTreeMap<Uuid, BuildTimeline> {
        std::mem::take(&mut *self.timelines())
    }

    /// Adds what another process has noted of builds.
    pub(crate) fn add_timelines(&self, noted: BTreeMap<Uuid, BuildTimeline>) {
        let mut timelines = self.timelines();
        for (vm, later) in noted {
            timelines.entry(vm).or_default().go_on(later);
        }
    }

    /// Adds tokens of hypervisors that stop.
    pub(crate) fn add_tokens(&self, tokens: impl IntoIterator<Item = (HostIndex, Sessions<KnownToken>)>) {
        self.tokens().extend(tokens);
    }

    /// Tokens that were added since the last time.
    pub(crate) fn take_tokens(&self) -> Tokens {
        std::mem::take(&mut *self.tokens())
    }

    /// Adds what another process has counted between two looks.
    pub(crate) fn add_counted(&self, (before, now): (Counted, Counted)) {
        // Some go down as well: a difference below zero wraps around, and so does the addition.
        let grow = |counter: &AtomicU64, before: u64, now: u64| {
            counter.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
        };
        let (then, stats) = (before.stats, now.stats);
        grow(&self.started, then.started, stats.started);
        grow(&self.registered, then.registered, stats.registered);
        grow(&self.refused, then.refused, stats.refused);
        grow(&self.serving, then.serving, stats.serving);
        grow(&self.links_down, then.links_down, stats.links_down);
        grow(&self.requests, then.requests, stats.requests);
        grow(&self.failed, then.failed, stats.failed);
        grow(&self.timed_out, then.timed_out, stats.timed_out);
        grow(&self.unknown_requests, then.unknown_requests, stats.unknown_requests);
        grow(&self.http_under_way, then.http_under_way, stats.http_under_way);
        grow(&self.tasks_beside, then.tasks_beside, stats.tasks_beside);
        self.waiting(now.waiting_peak);
        grow(&self.start_ups_over, before.start_ups_over, now.start_ups_over);
        self.through.notify_waiters();
    }

    /// Everything that is counted.
    pub(crate) fn counted(&self) -> Counted {
        Counted { stats: self.read(), start_ups_over: self.start_ups_over(), waiting_peak: self.take_waiting_peak() }
    }

    /// So many events wait for a worker.
    pub(crate) fn waiting(&self, events: u64) {
        self.waiting_peak.fetch_max(events, Ordering::Relaxed);
    }

    /// The most that have waited at once since the last time.
    pub(crate) fn take_waiting_peak(&self) -> u64 {
        self.waiting_peak.swap(0, Ordering::Relaxed)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn timelines(&self) -> std::sync::MutexGuard<'_, BTreeMap<Uuid, BuildTimeline>> {
        self.timelines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(registered: u64, links_down: u64, start_ups_over: u64) -> Counted {
        Counted {
            stats: FleetStats { registered, links_down, ..FleetStats::default() },
            start_ups_over,
            waiting_peak: 0,
        }
    }

    #[test]
    fn what_two_processes_count_adds_up_also_where_it_falls() {
        let fleet = Counters::default();
        fleet.add_counted((Counted::default(), counted(3, 2, 3)));
        fleet.add_counted((Counted::default(), counted(5, 0, 5)));
        fleet.add_counted((counted(3, 2, 3), counted(2, 0, 4)));
        assert_eq!(fleet.counted(), counted(7, 0, 9));
    }

    #[test]
    fn a_build_that_is_told_in_parts_is_one_until_another_host_builds_it() {
        let (fleet, vm, at) = (Counters::default(), Uuid::from_u128(7), |ms| Some(Duration::from_millis(ms)));
        let told = |part: BuildTimeline| fleet.add_timelines(BTreeMap::from([(vm, part)]));
        told(BuildTimeline { host: "a".to_owned(), received: at(1), started: at(2), ..BuildTimeline::default() });
        told(BuildTimeline { active: at(9), ..BuildTimeline::default() });
        let line = BuildTimeline {
            host: "a".to_owned(),
            received: at(1),
            started: at(2),
            active: at(9),
            ..BuildTimeline::default()
        };
        assert_eq!(fleet.take_timeline(vm, true), Some(line));
        told(BuildTimeline { host: "a".to_owned(), received: at(1), active: at(2), ..BuildTimeline::default() });
        let again = BuildTimeline { host: "b".to_owned(), received: at(3), ..BuildTimeline::default() };
        told(again.clone());
        assert_eq!(fleet.take_timeline(vm, true), None, "it is not over");
        assert_eq!(fleet.take_timeline(vm, false), Some(again));
    }
}
