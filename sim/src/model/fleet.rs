//! The hypervisors: the driver of the same state machines that the live fleet drives.
//!
//! Where the live driver encodes what a hypervisor wants and sends it over sockets, this one makes tasks of it; where that one
//! sleeps, this one keeps an alarm. The names of requests, and what counts as failed, are the live driver's.

use std::{collections::BTreeMap, rc::Rc};

use hypervisor::{Config, Fault, Hypervisor, Input, Milestone, Notice, Output, Request, RequestId, Response, Time};
use recording::RpcResult;
use smallvec::SmallVec;

use super::{
    Event, World,
    broker::Topic,
    facts,
    neutron::known_to_agent,
    task::{Asker, OpId, Subject, TaskId},
};
use crate::engine::{Alarm, Ring};

/// A request whose answer is awaited.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    request: RequestId,
    op: OpId,
    asked: Time,
    /// When it is given up.
    deadline: Time,
}

struct Host {
    hypervisor: Hypervisor,
    alarm: Alarm,
    awaited: SmallVec<[Awaited; 2]>,
}

/// All hypervisors.
#[derive(Default)]
pub(crate) struct Fleet {
    hosts: Vec<Host>,
    config: Option<Rc<Config>>,
    seed: u64,
    pub(crate) started: u32,
    pub(crate) registered: u32,
    pub(crate) requests: u64,
    pub(crate) timeouts: u64,
    /// Requests that did not end well, by what they were and how they ended.
    failures: BTreeMap<(OpId, String), u64>,
}

/// Why a modelled hypervisor takes no step of one.
const NO_PROCEDURES: &str = "the modelled control plane sends builds and deletes only, which are no procedures";

impl Fleet {
    pub(crate) fn new(config: Config, seed: u64) -> Self {
        Self { config: Some(Rc::new(config)), seed, ..Self::default() }
    }

    fn failed(&mut self, op: OpId, how: String) {
        *self.failures.entry((op, how)).or_default() += 1;
    }

    /// What failed most often, how, and how many times.
    pub(crate) fn worst_failure(&self) -> Option<(OpId, (&str, u64))> {
        let ((op, how), times) = self.failures.iter().max_by_key(|(_, times)| **times)?;
        Some((*op, (how, *times)))
    }
}

impl World {
    /// The next hypervisor begins its start-up.
    pub(crate) fn start_host(&mut self) {
        let index = self.fleet.started;
        // As in a live fleet, each draws from a generator of its own.
        let seed = self.fleet.seed.wrapping_add(u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let config = Rc::clone(self.fleet.config.as_ref().expect("a fleet has a configuration"));
        let hypervisor = Hypervisor::new(config, seed);
        self.fleet.hosts.push(Host { hypervisor, alarm: Alarm::default(), awaited: SmallVec::new() });
        self.fleet.started += 1;
        self.connect_first(index);
    }

    pub(crate) fn host_rings(&mut self, index: u32) {
        let now = self.now;
        let host = &mut self.fleet.hosts[index as usize];
        match host.alarm.ring(now) {
            Ring::Stale => {}
            Ring::Later(at) => self.calendar.enter(at, Event::Host(index)),
            Ring::Now => {
                self.note_timeouts(index);
                self.tell_host(index, Input::Tick);
            }
        }
    }

    /// The hypervisor is about to give up what it has waited for too long.
    fn note_timeouts(&mut self, index: u32) {
        let now = self.now;
        let host = &mut self.fleet.hosts[index as usize];
        if host.awaited.iter().all(|awaited| awaited.deadline > now) {
            return;
        }
        let late: Vec<Awaited> = host.awaited.iter().copied().filter(|one| one.deadline <= now).collect();
        host.awaited.retain(|one| one.deadline > now);
        for one in late {
            self.fleet.timeouts += 1;
            self.fleet.failed(one.op, Fault::TimedOut.to_string());
            self.log.rpc(one.op, now, now - one.asked, RpcResult::TimedOut);
        }
    }

    /// An answer has reached its hypervisor.
    pub(crate) fn answer_host(&mut self, index: u32, id: RequestId, result: Result<Response, Fault>) {
        let now = self.now;
        let host = &mut self.fleet.hosts[index as usize];
        let Some(at) = host.awaited.iter().position(|awaited| awaited.request == id) else {
            return; // given up before
        };
        let awaited = host.awaited.swap_remove(at);
        let outcome = match &result {
            // At the very moment at which it was given up: too late.
            _ if now >= awaited.deadline => RpcResult::TimedOut,
            Ok(_) => RpcResult::Ok,
            Err(Fault::Remote(class)) if class.ends_with("NotFound") => RpcResult::Ok,
            Err(_) => RpcResult::Failed,
        };
        if let (RpcResult::Failed, Err(fault)) = (outcome, &result) {
            self.fleet.failed(awaited.op, format!("failed ({fault})"));
        }
        self.log.rpc(awaited.op, now, now - awaited.asked, outcome);
        self.tell_host(index, Input::Reply { id, result });
    }

    /// Something happens to a hypervisor; what it wants done is done.
    pub(crate) fn tell_host(&mut self, index: u32, input: Input) {
        let now = self.now;
        let Some(host) = self.fleet.hosts.get_mut(index as usize) else { return };
        host.hypervisor.handle_input(now, input);
        while let Some(output) = self.fleet.hosts[index as usize].hypervisor.poll_output() {
            self.perform(index, output);
        }
        let host = &mut self.fleet.hosts[index as usize];
        if let Some(at) = host.alarm.set(host.hypervisor.poll_timeout()) {
            self.calendar.enter(at, Event::Host(index));
        }
    }

    fn perform(&mut self, index: u32, output: Output) {
        match output {
            Output::Request { id, request, timeout, .. } => {
                if let Some(known) = known_to_agent(&request) {
                    return self.tell_host(index, Input::Reply { id, result: Ok(known) });
                }
                let task = self.send(index, id, &request);
                self.fleet.requests += 1;
                let op = self.tasks[task].op;
                let deadline = timeout.map_or(Time::MAX, |timeout| self.now + timeout);
                let awaited = Awaited { request: id, op, asked: self.now, deadline };
                self.fleet.hosts[index as usize].awaited.push(awaited);
            }
            Output::Notice { notice, .. } => self.notice(index, notice),
            Output::Serve(_) | Output::Over(_) => {}
            Output::Milestone(milestone) => self.milestone(milestone),
        }
    }

    fn send(&mut self, host: u32, id: RequestId, request: &Request) -> TaskId {
        let asker = Asker::Host { host, request: id };
        match request {
            Request::Conductor(call) => self.call_conductor(host, asker, call),
            Request::Placement(request) => self.ask_placement(host, asker, request),
            Request::Network(request) => self.ask_neutron(host, asker, request),
            Request::IdentityVersion => self.tell_version(host, asker),
            Request::Token(session) => self.issue_token(host, asker, *session),
            Request::Agent(call) => self.call_neutron(host, asker, call),
            Request::Step(_) => unreachable!("{}", NO_PROCEDURES),
        }
    }

    fn notice(&mut self, host: u32, notice: Notice) {
        match notice {
            Notice::InstancesAtStart
            | Notice::InstanceChanged(_)
            | Notice::InstanceDeleted(_)
            | Notice::InstanceSync(_) => {
                let op = self.ops.scheduler.news;
                self.fan_out(Topic::Scheduler, op, Subject::host(host));
            }
            Notice::Step(_) | Notice::Stop(_) => unreachable!("{}", NO_PROCEDURES),
            Notice::Reschedule { instance, reason } => {
                let server = facts::number_of(instance);
                self.facts.server(server).fault.get_or_insert(reason);
                let op = self.ops.conductor.build_again;
                self.cast_to_conductor(op, server);
            }
        }
    }

    fn milestone(&mut self, milestone: Milestone) {
        let now = self.now;
        let (Milestone::BuildReceived(server)
        | Milestone::NetworkStarted(server)
        | Milestone::NetworkAllocated(server)
        | Milestone::SpawnStarted(server)) = milestone
        else {
            if milestone == Milestone::Registered {
                self.registered_one();
            }
            return;
        };
        let moments = &mut self.facts.server(facts::number_of(server)).moments;
        let moment = match milestone {
            Milestone::BuildReceived(_) => &mut moments.received,
            Milestone::NetworkStarted(_) => &mut moments.network_started,
            Milestone::NetworkAllocated(_) => &mut moments.network_allocated,
            _ => &mut moments.spawn_started,
        };
        *moment = Some(now);
    }

    fn registered_one(&mut self) {
        self.fleet.registered += 1;
        if self.stage.starts_another(self.fleet.started) {
            self.calendar.enter(self.now, Event::HostStarts);
        }
    }

    /// Hypervisors whose start-up went through.
    pub(crate) fn registered(&self) -> u32 {
        self.fleet.registered
    }
}
