//! The run: its phases, and what ends it.

use std::time::Duration;

use hypervisor::Time;
use recording::{Outcome, OutcomeKind, millis};
use scenarios::{
    Plan,
    plan::{FleetPlan, Start},
    show_time,
};

use super::{Event, World, process::Process};

/// Events between two looks at the world outside.
const TELL_EVERY: u64 = 1 << 16;
/// Events at one instant; more means that something of the plan takes no time at all and never ends.
const MOST_AT_ONCE: u64 = 50_000_000;
/// Requests under way; more means that the control plane falls behind for good, and takes memory for each.
const MOST_TASKS: usize = 5_000_000;

/// What a run needs to know of its plan.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    hypervisors: u32,
    /// When each starts, unless one starts when another is through.
    moments: Option<Vec<Duration>>,
    under_way: u32,
    register_within: Duration,
    drain: Duration,
}

impl Terms {
    pub(crate) fn of(plan: &Plan) -> Self {
        let FleetPlan { hypervisors, start, .. } = plan.fleet;
        Self {
            hypervisors,
            moments: start.moments(hypervisors, plan.seed),
            under_way: match start {
                Start::UnderWay { hypervisors: at_once } => at_once.min(hypervisors),
                _ => hypervisors.min(1),
            },
            register_within: plan.fleet.register_within,
            drain: plan.drain,
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// `register`, `load` or `drain`.
    pub phase: &'static str,
    /// Virtual time.
    pub now: Duration,
    /// Events so far.
    pub events: u64,
    /// Hypervisors that are up, by Nova's own rule.
    pub hosts_up: u32,
    /// Operations started, ended, and of these failed.
    pub operations: (u64, u64, u64),
}

/// Told of a run while it goes on; says whether it is to go on.
pub type Tell<'a> = dyn FnMut(Progress) -> bool + 'a;

/// Phases of a run, as the live target has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Register,
    Load,
    Drain,
    Over,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Load => "load",
            Self::Drain => "drain",
            Self::Over => "end",
        }
    }
}

/// Where a run is.
#[derive(Debug)]
pub(crate) struct Stage {
    terms: Terms,
    phase: Phase,
    began: Time,
    /// Whether each host was up at the last look, and whether it ever was.
    pub(crate) up: Vec<bool>,
    pub(crate) was_up: Vec<bool>,
    pub(crate) hosts_up: u32,
    /// Messages at the last look.
    pub(crate) messages: [u64; 2],
    ended: Option<(OutcomeKind, Option<String>)>,
}

impl Stage {
    pub(crate) fn new(terms: Terms) -> Self {
        let hosts = terms.hypervisors as usize;
        Self {
            terms,
            phase: Phase::Register,
            began: Time::ZERO,
            up: vec![false; hosts],
            was_up: vec![false; hosts],
            hosts_up: 0,
            messages: [0, 0],
            ended: None,
        }
    }

    /// When the next host starts after so many, if that does not follow from what the others do.
    pub(crate) fn next_host(&self, started: u32) -> Option<Time> {
        let moment = self.terms.moments.as_ref()?.get(started as usize)?;
        Some(Time::ZERO + *moment)
    }

    pub(crate) fn all_started(&self, started: u32) -> bool {
        started >= self.terms.hypervisors
    }

    /// Whether a host starts now that another is through with its start-up, after so many have started.
    pub(crate) fn starts_another(&self, started: u32) -> bool {
        self.terms.moments.is_none() && !self.all_started(started)
    }
}

impl World {
    /// Carries the plan out.
    pub(crate) fn run(&mut self, tell: &mut Tell<'_>) -> Outcome {
        self.begin();
        let mut at_once = 0;
        while self.stage.ended.is_none() {
            let Some((now, event)) = self.calendar.take_next() else {
                self.end(OutcomeKind::Error, Some("nothing is left to happen".to_owned()));
                break;
            };
            at_once = if now == self.now { at_once + 1 } else { 0 };
            self.now = now;
            self.counters.events += 1;
            self.happen(event);
            if at_once > MOST_AT_ONCE {
                let why = "time stands still: something takes no time and comes again at once; look for intervals and \
                           service times of zero";
                self.end(OutcomeKind::Error, Some(why.to_owned()));
            }
            if self.counters.events.is_multiple_of(TELL_EVERY) {
                self.tell(tell);
            }
        }
        let (kind, reason) = self.stage.ended.take().expect("the loop ends when it is set");
        self.log.event(self.now, "phase", "end");
        Outcome { kind, reason, duration_ms: millis(self.now.since_origin()) }
    }

    fn tell(&mut self, tell: &mut Tell<'_>) {
        let of = self.clients.progress();
        let progress = Progress {
            phase: self.stage.phase.name(),
            now: self.now.since_origin(),
            events: self.counters.events,
            hosts_up: self.stage.hosts_up,
            operations: (of.started, of.ended, of.failed),
        };
        if !tell(progress) {
            self.log.event(self.now, "interrupted", "interrupted");
            self.end(OutcomeKind::Interrupted, Some("interrupted".to_owned()));
        }
        if self.tasks.len() > MOST_TASKS {
            let why = format!(
                "{MOST_TASKS} requests are under way at once: the control plane does not keep up and its queues have no \
                 bound; shorten the run, or give it more processes"
            );
            self.end(OutcomeKind::Overwhelmed, Some(why));
        }
    }

    fn end(&mut self, kind: OutcomeKind, reason: Option<String>) {
        self.stage.ended.get_or_insert((kind, reason));
    }

    fn begin(&mut self) {
        self.log.event(self.now, "phase", "register");
        self.calendar.enter(self.now, Event::Look);
        for _ in 0..self.stage.terms.under_way {
            self.calendar.enter(self.now, Event::HostStarts);
        }
        let within = self.stage.terms.register_within;
        self.calendar.enter(self.now + within, Event::PhaseEnds(Phase::Register as u32));
    }

    /// Goes on to the next phase when the present one is through. Called at each look.
    pub(crate) fn go_on(&mut self) {
        match self.stage.phase {
            Phase::Register => {
                let all = self.stage.terms.hypervisors;
                if self.registered() >= all && self.stage.hosts_up >= all {
                    self.enter(Phase::Load);
                    self.begin_load();
                }
            }
            Phase::Load => {
                if self.clients.all_started() {
                    self.enter(Phase::Drain);
                    let drain = self.stage.terms.drain;
                    self.calendar.enter(self.now + drain, Event::PhaseEnds(Phase::Drain as u32));
                }
            }
            Phase::Drain => {
                if self.clients.all_ended() {
                    self.over();
                }
            }
            Phase::Over => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.stage.phase = phase;
        self.stage.began = self.now;
        self.log.event(self.now, "phase", phase.name());
    }

    pub(crate) fn phase_ends(&mut self, phase: u32) {
        if phase != self.stage.phase as u32 {
            return;
        }
        match self.stage.phase {
            Phase::Register => {
                let Terms { hypervisors, register_within, .. } = self.stage.terms;
                let up = self.stage.hosts_up;
                // Hosts that came up and fell are a finding, which the load is to show.
                if self.registered() >= hypervisors && self.stage.was_up.iter().all(|was_up| *was_up) {
                    self.log.event(self.now, "warning", format!("the load begins with {up} of {hypervisors} hosts up"));
                    self.enter(Phase::Load);
                    self.begin_load();
                    return;
                }
                let why = self.why_not_all_up(register_within);
                self.log.event(self.now, "error", why.clone());
                self.end(OutcomeKind::Overwhelmed, Some(why));
            }
            Phase::Drain => {
                self.stop_clients();
                self.over();
            }
            Phase::Load | Phase::Over => {}
        }
    }

    fn over(&mut self) {
        self.stage.phase = Phase::Over;
        self.log.event(self.now, "phase", "clean_up");
        self.end(OutcomeKind::Completed, None);
    }

    /// What the cloud is at when the fleet has not come up in time.
    fn why_not_all_up(&self, within: Duration) -> String {
        let (registered, all) = (self.registered(), self.stage.terms.hypervisors);
        let after = show_time(within);
        let mut parts = vec![if registered < all {
            format!("{registered} of {all} hypervisors were through with their start-up after {after}")
        } else {
            let up = self.stage.hosts_up;
            format!(
                "all {all} hypervisors were through with their start-up, but only {up} of them up by Nova's clock, after {after}"
            )
        }];
        parts.extend(self.fleet.worst_failure().map(|(op, (kind, times))| {
            format!("their {} {kind} {times} times", self.ops.recipes[usize::from(op)].name)
        }));
        let waiting = |of: fn(&Process) -> usize| {
            let groups = self.groups.0.iter().map(|group| {
                let waiting: usize = group.processes.iter().map(|id| of(&self.processes[usize::from(*id)])).sum();
                (waiting, group.name.as_str())
            });
            groups.max_by_key(|(waiting, _)| *waiting).filter(|(waiting, _)| *waiting > 0)
        };
        parts.extend(waiting(Process::backlog).map(|(requests, name)| format!("{requests} requests wait in {name}")));
        parts.extend(
            waiting(Process::pool_waiting)
                .map(|(tasks, name)| format!("{tasks} in {name} wait for a database connection")),
        );
        let refused = self.database.refused;
        if refused > 0 {
            parts.push(format!("the database refused {refused} connections (too many connections)"));
        }
        parts.push("allow more time with fleet.register_within, or start fewer at once with fleet.start".to_owned());
        parts.join("; ")
    }
}
