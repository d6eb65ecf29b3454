//! The control plane as a model, one file for each part. Each file says what its part leaves out.
//!
//! Everything that happens is an [`Event`] of the calendar. What services do is written as recipes: steps that a task goes
//! through ([`task`]), with hooks where something is decided. Times come from the calibration, sizes from the plan's
//! deployment, limits from its tuning.

mod broker;
mod build;
mod clients;
mod conductor;
mod database;
mod facts;
mod fleet;
mod glance;
mod http;
mod keystone;
mod links;
mod log;
mod machine;
mod neutron;
mod nova_api;
mod ops;
mod placement;
mod pool;
mod process;
mod recipes;
mod rpc;
mod run;
mod scheduler;
mod settings;
mod task;
mod watch;

use std::time::Duration;

use hypervisor::{Fault, Response, Time};
use rand_pcg::Pcg64Mcg;
use scenarios::plan::Incident;

use self::{
    broker::Broker,
    clients::Clients,
    database::{Database, Stand},
    facts::Facts,
    fleet::Fleet,
    keystone::Tokens,
    links::Links,
    log::Log,
    machine::{Job, Machine, MachineId},
    neutron::Notices,
    ops::Catalogue,
    process::{Convoy, Process},
    task::{Asker, Count, Flow, NONE, OpId, ProcessId, Schema, Step, Subject, TaskId, Tasks},
};
use crate::{
    dice::Shape,
    engine::{Calendar, Wake},
};

pub use run::{Progress, Tell};

pub(crate) use build::Groups;
pub(crate) use settings::{Options, Settings};

/// Names of everything that tasks do.
pub(crate) fn recipe_names(calibration: &crate::Calibration) -> Vec<String> {
    Catalogue::new(calibration, 12).recipes.into_iter().map(|recipe| recipe.name).collect()
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The next hypervisor starts.
    HostStarts,
    /// The alarm of a hypervisor.
    Host(u32),
    /// Something may have ended on a machine.
    Machine(MachineId, Wake),
    /// A pool's first in line may have waited too long.
    Pool(ProcessId, Schema),
    /// A task goes on.
    Continue(TaskId),
    /// A request has reached its process.
    Arrive(TaskId),
    /// An answer over the broker has reached whoever asked.
    Reply(TaskId),
    /// An answer over HTTP has.
    Answer(TaskId),
    /// A message has reached a hypervisor.
    Letter(u32),
    /// A hypervisor tries to connect.
    Connect(u32),
    /// The connections of a hypervisor are there.
    Connected(u32),
    /// Something happens to the cloud.
    Incident(u32),
    /// Is a call that is watched still being worked on?
    Monitor(u32),
    /// A process of Neutron tells Nova what has changed.
    TellNova(ProcessId),
    /// A stream of the load begins.
    StreamBegins(u32),
    /// An operation of a stream starts.
    Operation(u32),
    /// An operation has taken too long.
    TimesOut(u32),
    /// The poller's next round.
    Poll,
    /// A look at everything.
    Look,
    /// A phase of the run ends at the latest.
    PhaseEnds(u32),
}

/// A service with all its processes.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) processes: Turns,
}

/// Processes that take turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pub(crate) all: Vec<ProcessId>,
    next: usize,
}

impl Turns {
    /// Whose turn it is.
    pub(crate) fn next(&mut self) -> ProcessId {
        let turn = self.turn();
        self.all[turn % self.all.len()]
    }

    pub(crate) fn turn(&mut self) -> usize {
        self.next = self.next.wrapping_add(1);
        self.next
    }
}

/// The services of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceId {
    Keystone,
    Placement,
    Glance,
    Neutron,
    NovaApi,
    Conductor,
    Scheduler,
    NeutronRpc,
    NeutronReports,
}

impl std::ops::Index<ServiceId> for Vec<Service> {
    type Output = Service;

    fn index(&self, id: ServiceId) -> &Service {
        &self[id as usize]
    }
}

impl std::ops::IndexMut<ServiceId> for Vec<Service> {
    fn index_mut(&mut self, id: ServiceId) -> &mut Service {
        &mut self[id as usize]
    }
}

/// Times that do not belong to one kind of work, in nanoseconds of a mean or as they are.
#[derive(Debug)]
pub(crate) struct Costs {
    /// One way between two machines.
    pub(crate) link: Duration,
    /// There and back.
    pub(crate) trip: Duration,
    /// There and back within a machine.
    pub(crate) local_trip: Duration,
    pub(crate) proxy: Duration,
    pub(crate) publish_ns: f64,
    pub(crate) deliver_ns: f64,
    /// A new connection to the broker, and one consumer on it.
    pub(crate) broker_connect_ns: f64,
    pub(crate) declare_ns: f64,
    pub(crate) heartbeat_ns: f64,
    /// A new connection to the database.
    pub(crate) connect_ns: f64,
    pub(crate) connect_client_ns: f64,
    pub(crate) commit_wait_ns: f64,
}

/// Counters that are nobody's in particular.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Events so far.
    pub(crate) events: u64,
    /// Claims that found the provider changed.
    pub(crate) conflicts: u64,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) calendar: Calendar<Event>,
    pub(crate) machines: Vec<Machine>,
    pub(crate) processes: Vec<Process>,
    /// HTTP requests that each process has, as its nginx knows.
    pub(crate) http_load: Vec<u32>,
    pub(crate) services: Vec<Service>,
    pub(crate) groups: Groups,
    pub(crate) tasks: Tasks,
    pub(crate) ops: Catalogue,
    pub(crate) broker: Broker,
    pub(crate) links: Links,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) database: Database,
    pub(crate) facts: Facts,
    pub(crate) tokens: Tokens,
    pub(crate) notices: Notices,
    pub(crate) monitors: Vec<rpc::Monitor>,
    pub(crate) free_monitors: Vec<u32>,
    pub(crate) fleet: Fleet,
    pub(crate) clients: Clients,
    pub(crate) convoy: Convoy,
    pub(crate) costs: Costs,
    pub(crate) settings: Settings,
    pub(crate) shape: Shape,
    pub(crate) dice: Pcg64Mcg,
    pub(crate) counters: Counters,
    pub(crate) log: Log,
    pub(crate) stage: run::Stage,
}

impl World {
    /// Nanoseconds of something that takes so many on average.
    pub(crate) fn draw(&mut self, mean_ns: f64) -> u64 {
        (mean_ns * self.shape.draw(&mut self.dice)) as u64
    }

    /// What the clock of a process's machine shows.
    pub(crate) fn clock_of(&self, process: ProcessId) -> i64 {
        self.machines[usize::from(self.machine_of(process))].clock_ns(self.now)
    }

    pub(crate) fn happen(&mut self, event: Event) {
        match event {
            Event::HostStarts => self.next_host_starts(),
            Event::Host(host) => self.host_rings(host),
            Event::Machine(machine, wake) => self.machine_wakes(machine, wake),
            Event::Pool(process, schema) => self.pool_rings(process, schema),
            Event::Continue(task) => self.proceed(task),
            Event::Arrive(task) => self.arrive(task),
            Event::Reply(task) => self.reply_arrives(task),
            Event::Answer(task) => self.answer(task),
            Event::Letter(letter) => self.letter_arrives(letter),
            Event::Connect(host) => self.try_to_connect(host),
            Event::Connected(host) => self.connected(host),
            Event::Incident(index) => self.incident(index),
            Event::Monitor(monitor) => self.look_at_call(monitor),
            Event::TellNova(process) => self.send_notices(process),
            Event::StreamBegins(stream) => self.stream_begins(stream),
            Event::Operation(stream) => self.operation_is_due(stream),
            Event::TimesOut(operation) => self.times_out(operation),
            Event::Poll => self.poll_is_due(),
            Event::Look => self.look(),
            Event::PhaseEnds(stage) => self.phase_ends(stage),
        }
    }

    /// Goes through the steps of a task until one takes time.
    pub(crate) fn proceed(&mut self, task: TaskId) {
        loop {
            let (op, step) = (self.tasks[task].op, self.tasks[task].step);
            let Some(what) = self.ops.recipes[usize::from(op)].steps.get(usize::from(step)).copied() else {
                self.finish(task);
                return;
            };
            self.tasks[task].step += 1;
            match self.take_step(task, what) {
                Flow::Next => {}
                Flow::Goto(step) => self.tasks[task].step = step,
                Flow::Wait => return,
                Flow::Fail(fault) => {
                    self.fail(task, fault);
                    return;
                }
            }
        }
    }

    fn take_step(&mut self, task: TaskId, step: Step) -> Flow {
        match step {
            Step::Cpu { mean_ns, releases } => {
                let work_ns = self.draw(mean_ns);
                self.run_python(task, work_ns, releases);
                Flow::Wait
            }
            Step::CpuEach(each_ns, count) => {
                let mean_ns = each_ns * self.count(task, count);
                if mean_ns < 1.0 {
                    return Flow::Next;
                }
                let work_ns = self.draw(mean_ns);
                self.run_python(task, work_ns, 1.0);
                Flow::Wait
            }
            Step::Native(mean_ns) => {
                let work_ns = self.draw(mean_ns);
                let process = self.tasks[task].process;
                self.processes[usize::from(process)].cpu_ns += work_ns as f64;
                self.start_job(self.machine_of(process), Duration::from_nanos(work_ns), Job::Native(task));
                Flow::Wait
            }
            Step::Take(schema) => stand(self.take_connection(task, schema)),
            Step::Query { db_ns, trips } => {
                self.query(task, db_ns, trips, Duration::ZERO);
                Flow::Wait
            }
            Step::Write { db_ns, trips } => {
                let log = Duration::from_nanos(self.draw(self.costs.commit_wait_ns));
                self.query(task, db_ns, trips, log);
                Flow::Wait
            }
            Step::QueryEach(each_ns, count) => {
                let db_ns = each_ns * self.count(task, count);
                self.query(task, db_ns, 1, Duration::ZERO);
                Flow::Wait
            }
            Step::Lock(row) => row(self, task).map_or(Flow::Next, |row| stand(self.lock_row(task, row))),
            Step::Commit => {
                self.unlock_row(task);
                Flow::Next
            }
            Step::Give => {
                self.give_connection(task);
                Flow::Next
            }
            Step::Validate => self.validate(task),
            Step::Do(hook) => hook(self, task),
        }
    }

    fn count(&self, task: TaskId, count: Count) -> f64 {
        match count {
            Count::ComputeServices => f64::from(self.facts.compute_services),
            Count::Candidates => f64::from(self.settings.max_placement_results).min(self.facts.providers.len() as f64),
            Count::ProjectServers => match self.tasks[task].asker {
                Asker::Client(op) => f64::from(self.facts.of_project[self.clients.project_of(op) as usize]).min(1000.0),
                _ => 0.0,
            },
            Count::ChangedServers => (self.clients.waiting() as f64).min(1000.0),
        }
    }

    /// A task asks an API and waits.
    pub(crate) fn ask(&mut self, task: TaskId, service: ServiceId, op: OpId) -> Flow {
        let child = self.tasks.add(op, Asker::Task(task), Subject::NOTHING);
        self.send_http(service, child);
        let timeout = match service {
            ServiceId::Neutron => self.settings.neutron_timeout,
            ServiceId::Placement => self.settings.placement_timeout,
            ServiceId::Glance => self.settings.glance_timeout,
            _ => None,
        };
        if let Some(timeout) = timeout {
            self.limit_request(child, timeout);
        }
        Flow::Wait
    }

    /// A task cannot go on.
    pub(crate) fn fail(&mut self, task: TaskId, fault: Fault) {
        self.unlock_row(task);
        self.give_connection(task);
        let op = self.tasks[task].op;
        if op == self.ops.conductor.schedule_and_build || op == self.ops.conductor.build_again {
            let server = self.tasks[task].subject.instance;
            self.build_fails(server, &fault.to_string());
        }
        self.tasks[task].result = Err(fault);
        self.finish(task);
    }

    /// A task has come to its end: whoever asked is answered.
    fn finish(&mut self, task: TaskId) {
        let process = self.tasks[task].process;
        if self.processes[usize::from(process)].is_http() {
            self.send_response(task);
            return;
        }
        if self.tasks[task].asker == Asker::Nobody {
            self.tasks.remove(task);
            self.handler_free(process);
            return;
        }
        self.send_reply(task);
    }

    pub(crate) fn answer(&mut self, task: TaskId) {
        let (asker, op) = (self.tasks[task].asker, self.tasks[task].op);
        let result = std::mem::replace(&mut self.tasks[task].result, Ok(Response::Done));
        self.tasks.remove(task);
        match asker {
            Asker::Nobody => {}
            Asker::Host { host, request } => self.answer_host(host, request, result),
            Asker::Task(parent) => {
                self.tasks[parent].result = result;
                self.proceed(parent);
            }
            Asker::Client(operation) => self.answer_client(operation, op, result),
            Asker::Poller => self.answer_poller(&result),
        }
    }
}

fn stand(stand: Stand) -> Flow {
    match stand {
        Stand::Ready => Flow::Next,
        Stand::Waits => Flow::Wait,
    }
}

/// Hosts are named as in a live run.
pub(crate) fn host_name(host: u32) -> String {
    debug_assert_ne!(host, NONE);
    format!("hv-{:05}", host + 1)
}
