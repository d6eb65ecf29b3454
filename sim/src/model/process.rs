//! Python processes: handler threads, the queue before them, the interpreter's lock.
//!
//! A process runs as many tasks at once as it has handler threads; more wait in its executor's queue, which has no bound, for a
//! request is acknowledged before it is handled. Only one thread holds the interpreter; others wait for it in the order they
//! came, and one that holds it for longer than the switch interval gives it up. Each time a thread has let go of it, for a query
//! or a message, getting it back costs the more, the more others want it: the convoy, as measured.
//!
//! Left out: eventlet (the release runs native threads), garbage collection, memory.

use std::{collections::VecDeque, time::Duration};

use super::{
    ServiceId, World,
    machine::{Job, MachineId},
    pool::Pool,
    task::{ProcessId, TaskId},
};
use crate::{
    calibration::{ConvoyPoint, InterpreterFacts},
    engine::Permits,
};

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) machine: MachineId,
    /// Handler threads.
    threads: u32,
    /// Tasks in handlers.
    pub(crate) busy: u32,
    backlog: VecDeque<TaskId>,
    /// Whether a thread runs Python.
    held: bool,
    /// Threads that want to.
    wanting: VecDeque<TaskId>,
    /// Pools of its databases, by `Schema`.
    pub(crate) pools: [Option<Pool>; 2],
    /// Alarms of the pools' timeouts, likewise.
    pub(crate) pool_alarms: [crate::engine::Alarm; 2],
    /// Connections to the broker that it sends on.
    pub(crate) senders: Permits<TaskId>,
    /// CPU spent so far.
    pub(crate) cpu_ns: f64,
    /// Whose it is.
    pub(crate) service: ServiceId,
}

impl Process {
    pub(crate) fn new(machine: MachineId, threads: u32, senders: u64, service: ServiceId) -> Self {
        Self {
            machine,
            threads,
            busy: 0,
            backlog: VecDeque::new(),
            held: false,
            wanting: VecDeque::new(),
            pools: [None, None],
            pool_alarms: Default::default(),
            senders: Permits::new(senders),
            cpu_ns: 0.0,
            service,
        }
    }

    /// Whether it answers HTTP requests.
    pub(crate) fn is_http(&self) -> bool {
        self.service as usize <= ServiceId::NovaApi as usize
    }

    /// Tasks that wait for a handler.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.len()
    }

    /// Tasks that wait for a connection to a database.
    pub(crate) fn pool_waiting(&self) -> usize {
        self.pools.iter().flatten().map(Pool::waiting).sum()
    }
}

/// What it costs to get the interpreter back, by the number of threads that want it: nanoseconds for each time, up to the
/// highest number measured.
#[derive(Debug)]
pub(crate) struct Convoy {
    /// For which the lock is held on top of the work.
    held_ns: Vec<f64>,
    /// CPU that other threads spend meanwhile.
    spun_ns: Vec<f64>,
    pub(crate) switch_interval_ns: u64,
}

impl Convoy {
    pub(crate) fn new(facts: &InterpreterFacts) -> Self {
        let points = &facts.convoy;
        let most = points.last().map_or(1, |last| last.handlers);
        let at = |handlers: u32, value: fn(&ConvoyPoint) -> f64| {
            let upper = points.iter().position(|point| point.handlers >= handlers).unwrap_or(points.len() - 1);
            let (low, high) = (&points[upper.saturating_sub(1)], &points[upper]);
            if high.handlers <= low.handlers {
                return value(high);
            }
            let share = f64::from(handlers - low.handlers) / f64::from(high.handlers - low.handlers);
            value(low) + (value(high) - value(low)) * share
        };
        let each_ns = 1e6 / f64::from(facts.releases.max(1));
        let table = |value: fn(&ConvoyPoint) -> f64| -> Vec<f64> {
            let alone_ms = value(&points[0]);
            (0..=most).map(|n| (at(n.max(1), value) - alone_ms).max(0.0) * each_ns).collect()
        };
        let held_ns = table(|point| point.held_ms);
        let spent_ns = table(|point| point.spent_ms);
        let spun_ns = spent_ns.iter().zip(&held_ns).map(|(spent, held)| (spent - held).max(0.0)).collect();
        Self { held_ns, spun_ns, switch_interval_ns: (facts.switch_interval_ms * 1e6) as u64 }
    }

    /// What so many times cost among so many threads: lock held, CPU spent by others.
    fn price_ns(&self, threads: usize, times: f64) -> (f64, f64) {
        let at = threads.min(self.held_ns.len() - 1);
        (self.held_ns[at] * times, self.spun_ns[at] * times)
    }
}

impl World {
    /// A task has arrived at its process.
    pub(crate) fn arrive(&mut self, task: TaskId) {
        let process = &mut self.processes[usize::from(self.tasks[task].process)];
        if process.busy >= process.threads {
            process.backlog.push_back(task);
            return;
        }
        process.busy += 1;
        self.begin_task(task);
    }

    fn begin_task(&mut self, task: TaskId) {
        self.tasks[task].begun = true;
        self.proceed(task);
    }

    /// A handler thread is free again.
    pub(crate) fn handler_free(&mut self, process: ProcessId) {
        let of = &mut self.processes[usize::from(process)];
        match of.backlog.pop_front() {
            Some(next) => self.begin_task(next),
            None => of.busy -= 1,
        }
    }

    /// The task wants to run Python for so long, letting go of the interpreter so many times.
    pub(crate) fn run_python(&mut self, task: TaskId, work_ns: u64, releases: f32) {
        let id = self.tasks[task].process;
        self.tasks[task].burst_ns = work_ns;
        self.tasks[task].releases = releases;
        let process = &mut self.processes[usize::from(id)];
        if process.held {
            process.wanting.push_back(task);
            return;
        }
        process.held = true;
        self.run_slice(id, task);
    }

    /// The task has the interpreter, until it is done or the switch interval is over.
    fn run_slice(&mut self, id: ProcessId, task: TaskId) {
        let slice_ns = self.tasks[task].burst_ns.min(self.convoy.switch_interval_ns);
        self.tasks[task].burst_ns -= slice_ns;
        // Those of the work are paid with its first slice; a slice that was cut off has to get the interpreter back once.
        let releases = std::mem::replace(&mut self.tasks[task].releases, 1.0);
        let process = &mut self.processes[usize::from(id)];
        let (held_ns, spun_ns) = self.convoy.price_ns(process.wanting.len() + 1, f64::from(releases));
        let held_ns = slice_ns as f64 + held_ns;
        process.cpu_ns += held_ns + spun_ns;
        let machine = process.machine;
        if spun_ns >= 1.0 {
            self.start_job(machine, Duration::from_nanos(spun_ns as u64), Job::Spin);
        }
        self.start_job(machine, Duration::from_nanos(held_ns as u64), Job::Slice(task));
    }

    pub(crate) fn slice_ended(&mut self, task: TaskId) {
        let id = self.tasks[task].process;
        let process = &mut self.processes[usize::from(id)];
        let more = self.tasks[task].burst_ns > 0;
        if more {
            process.wanting.push_back(task);
        }
        match process.wanting.pop_front() {
            Some(next) => self.run_slice(id, next),
            None => process.held = false,
        }
        if !more {
            self.proceed(task);
        }
    }
}
