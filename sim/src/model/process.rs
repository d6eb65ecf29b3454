//! Python processes: handler threads, the queue before them, the interpreter's lock.
//!
//! A process runs as many tasks at once as it has handler threads; more wait in its executor's queue, which has no bound, for a
//! request is acknowledged before it is handled. Only one thread holds the interpreter; others wait for it in the order they
//! came, and one that holds it for longer than the switch interval gives it up. Each call costs more the more there are in
//! handlers: the convoy, as measured.
//!
//! Left out: eventlet (the release runs native threads), garbage collection, memory.

use std::{collections::VecDeque, time::Duration};

use super::{
    World,
    machine::{Job, MachineId},
    pool::Pool,
    task::{ProcessId, TaskId},
};
use crate::{calibration::InterpreterFacts, engine::Permits};

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
    /// Whether it answers HTTP requests.
    pub(crate) is_http: bool,
}

impl Process {
    pub(crate) fn new(machine: MachineId, threads: u32, senders: u64, is_http: bool) -> Self {
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
            is_http,
        }
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

/// How the cost of a call grows with the number in handlers: factors by that number, up to the highest measured.
#[derive(Debug)]
pub(crate) struct Convoy {
    held: Vec<f64>,
    spun: Vec<f64>,
    pub(crate) switch_interval_ns: u64,
}

impl Convoy {
    pub(crate) fn new(facts: &InterpreterFacts) -> Self {
        let alone_ms = facts.convoy[0].held_ms;
        let most = facts.convoy.last().map_or(1, |last| last.handlers);
        let at = |handlers: u32, value: fn(&crate::calibration::ConvoyPoint) -> f64| {
            let upper = facts.convoy.iter().position(|point| point.handlers >= handlers).unwrap_or(facts.convoy.len() - 1);
            let (low, high) = (&facts.convoy[upper.saturating_sub(1)], &facts.convoy[upper]);
            if high.handlers <= low.handlers {
                return value(high);
            }
            let share = f64::from(handlers - low.handlers) / f64::from(high.handlers - low.handlers);
            value(low) + (value(high) - value(low)) * share
        };
        let held = (0..=most).map(|n| at(n.max(1), |point| point.held_ms) / alone_ms).collect();
        let spun = (0..=most)
            .map(|n| (at(n.max(1), |point| point.spent_ms) / at(n.max(1), |point| point.held_ms) - 1.0).max(0.0))
            .collect();
        Self { held, spun, switch_interval_ns: (facts.switch_interval_ms * 1e6) as u64 }
    }

    /// How much longer Python holds the interpreter for the same work.
    fn held(&self, busy: u32) -> f64 {
        self.held[(busy as usize).min(self.held.len() - 1)]
    }

    /// CPU that the other threads spend meanwhile, as a share of that.
    fn spun(&self, busy: u32) -> f64 {
        self.spun[(busy as usize).min(self.spun.len() - 1)]
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

    /// The task wants to run Python for so long.
    pub(crate) fn run_python(&mut self, task: TaskId, work: Duration) {
        let id = self.tasks[task].process;
        self.tasks[task].burst_ns = u64::try_from(work.as_nanos()).unwrap_or(u64::MAX);
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
        let process = &mut self.processes[usize::from(id)];
        let held_ns = slice_ns as f64 * self.convoy.held(process.busy);
        let spun_ns = held_ns * self.convoy.spun(process.busy);
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
