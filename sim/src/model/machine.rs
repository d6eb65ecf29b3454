//! The machines that everything runs on.
//!
//! A machine shares its cores equally among what can run. Where broker or database have one to themselves, their jobs, which are
//! far shorter than what an operating system lets a process run for, are served in the order they come, to the end. Left out: memory, disks (but for the wait of a commit), caches,
//! the cost of switching between processes, priorities.

use std::time::Duration;

use hypervisor::Time;

use super::{
    Event, World,
    broker::Message,
    task::{ProcessId, TaskId},
};
use crate::engine::{Processor, Servers, Wake};

/// Index of a machine.
pub(crate) type MachineId = u8;

/// Something that runs on a machine until it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// A burst of Python.
    Slice(TaskId),
    /// Work of a task outside the interpreter.
    Native(TaskId),
    /// What threads that wait for the interpreter spend.
    Spin,
    /// The database works for a task.
    Query(TaskId),
    /// The broker takes in a message.
    Routed(Message),
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) processor: Processor<Job>,
    /// The same cores, where one server program has the machine to itself.
    pub(crate) servers: Option<Servers>,
    /// How far its clock is ahead of true time, in nanoseconds.
    pub(crate) clock_ahead_ns: i64,
    /// When its nginx has done with what it has.
    pub(crate) front_free: Time,
}

impl Machine {
    pub(crate) fn new(name: String, cores: u32, clock_ahead_ns: i64) -> Self {
        Self { name, processor: Processor::new(cores), servers: None, clock_ahead_ns, front_free: Time::ZERO }
    }

    /// A machine that the broker or the database has to itself.
    pub(crate) fn of_one_server(name: String, cores: u32) -> Self {
        Self { servers: Some(Servers::new(cores)), ..Self::new(name, cores, 0) }
    }

    /// Work of all cores so far.
    pub(crate) fn busy(&mut self, now: Time) -> Duration {
        self.processor.busy(now) + self.servers.as_ref().map_or(Duration::ZERO, Servers::busy)
    }

    /// What its clock shows.
    pub(crate) fn clock_ns(&self, now: Time) -> i64 {
        i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).saturating_add(self.clock_ahead_ns)
    }
}

impl World {
    /// A job begins on a machine.
    pub(crate) fn start_job(&mut self, machine: MachineId, work: Duration, job: Job) {
        let calendar = &mut self.calendar;
        let mut enter = |at, wake| calendar.enter(at, Event::Machine(machine, wake));
        self.machines[usize::from(machine)].processor.start(self.now, work, job, &mut enter);
    }

    /// A job of a server program. On a machine of its own, when it is done; on one that is shared it begins, and ends as a job.
    pub(crate) fn serve_job(&mut self, machine: MachineId, work: Duration, job: Job) -> Option<Time> {
        let now = self.now;
        if let Some(servers) = &mut self.machines[usize::from(machine)].servers {
            return Some(servers.serve(now, work));
        }
        self.start_job(machine, work, job);
        None
    }

    pub(crate) fn machine_wakes(&mut self, machine: MachineId, wake: Wake) {
        loop {
            let calendar = &mut self.calendar;
            let mut enter = |at, wake| calendar.enter(at, Event::Machine(machine, wake));
            let ended = self.machines[usize::from(machine)].processor.wake(self.now, wake, &mut enter);
            let Some(job) = ended else { return };
            self.job_ended(job);
            if wake != Wake::Next {
                return; // it was the entry of one job
            }
        }
    }

    fn job_ended(&mut self, job: Job) {
        match job {
            Job::Slice(task) => self.slice_ended(task),
            Job::Native(task) => self.proceed(task),
            Job::Spin => {}
            Job::Query(task) => self.query_ends(task, self.now),
            Job::Routed(routed) => self.routed(routed, self.now),
        }
    }

    /// The machine that a process runs on.
    pub(crate) fn machine_of(&self, process: ProcessId) -> MachineId {
        self.processes[usize::from(process)].machine
    }
}
