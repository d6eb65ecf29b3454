//! Those who load the public API: the plan's streams, carried out as the live target carries them out.
//!
//! Each operation starts at its intended time, as one of the users in turn, and ends when its client learns of it: boots and
//! deletes by a poller for all, with the live poller's rounds and pauses. A user without a token gets one first.

use std::{collections::VecDeque, time::Duration};

use hypervisor::{Fault, Response, Time};
use recording::{OperationRecord, millis};
use scenarios::{
    ClosedLoop, Plan, Times,
    plan::{LoadPlan, Operation},
};

use super::{
    Event, ServiceId, World,
    facts::{Moments, ServerState, server_uuid},
    task::{Asker, NONE, Subject},
};

/// The live poller's bounds and factor of the pause between rounds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
const PAUSE_FACTOR: u32 = 3;
/// One request for those that are ACTIVE and one for those in ERROR, or gone.
const REQUESTS_A_ROUND: u32 = 2;

/// One operation.
#[derive(Debug)]
struct Op {
    stream: u32,
    index: u64,
    intended: Time,
    started: Time,
    user: u32,
    server: u32,
    accepted: Option<Time>,
    /// Its answer came before: what is awaited now is its server.
    waiting: bool,
    done: bool,
}

struct Stream {
    plan: LoadPlan,
    times: Option<Times<rand_pcg::Pcg64Mcg>>,
    closed: Option<ClosedLoop>,
    began: Option<Time>,
    started: u64,
    ended: u64,
    failed: u64,
    /// Nothing more starts.
    all_started: bool,
    /// Clients of a closed loop that have not stopped.
    clients: u32,
}

/// All streams.
pub(crate) struct Clients {
    streams: Vec<Stream>,
    ops: Vec<Op>,
    users: u32,
    projects: u32,
    /// Servers that can be shown and deleted, oldest first.
    active: VecDeque<u32>,
    show_next: usize,
    /// Boots and deletes whose server is awaited.
    waiting: Vec<u32>,
    polling: bool,
    requests_left: u32,
    round_began: Time,
    stopped: bool,
}

/// How far the load is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) started: u64,
    pub(crate) ended: u64,
    pub(crate) failed: u64,
}

impl Clients {
    pub(crate) fn new(plan: &Plan) -> Self {
        let stream = |load: &LoadPlan| Stream {
            plan: load.clone(),
            times: load.intended_starts(plan.seed),
            closed: load.closed_loop(plan.seed),
            began: None,
            started: 0,
            ended: 0,
            failed: 0,
            all_started: false,
            clients: 0,
        };
        Self {
            streams: plan.load.iter().map(stream).collect(),
            ops: Vec::new(),
            users: plan.tenants.users.max(1),
            projects: plan.tenants.projects.max(1),
            active: VecDeque::new(),
            show_next: 0,
            waiting: Vec::new(),
            polling: false,
            requests_left: 0,
            round_began: Time::ZERO,
            stopped: false,
        }
    }

    /// Whether every stream has started all its operations.
    pub(crate) fn all_started(&self) -> bool {
        self.streams.iter().all(|stream| stream.all_started)
    }

    /// Whether every operation has ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.streams.iter().all(|stream| stream.started == stream.ended)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.streams.iter().fold(Progress::default(), |sum, stream| Progress {
            started: sum.started + stream.started,
            ended: sum.ended + stream.ended,
            failed: sum.failed + stream.failed,
        })
    }

    /// Name and number of started operations of each stream.
    pub(crate) fn started(&self) -> impl Iterator<Item = (&str, u64)> {
        self.streams.iter().map(|stream| (stream.plan.name.as_str(), stream.started))
    }

    /// Project and NICs of the server that an operation boots.
    pub(crate) fn what_to_boot(&self, op: u32) -> (u32, u32) {
        let op = &self.ops[op as usize];
        let nics = match self.streams[op.stream as usize].plan.operation {
            Operation::Boot { nics, .. } => nics,
            _ => 0,
        };
        (op.user % self.projects, nics)
    }

    /// The operation's server has a record.
    pub(crate) fn booted(&mut self, op: u32, server: u32) {
        self.ops[op as usize].server = server;
    }

    /// A server that runs already.
    pub(crate) fn has(&mut self, server: u32) {
        self.active.push_back(server);
    }

    /// Servers that a poll lists, or that the project of an operation has.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The project of whoever carries out an operation.
    pub(crate) fn project_of(&self, op: u32) -> u32 {
        self.ops[op as usize].user % self.projects
    }
}

impl World {
    /// The load begins.
    pub(crate) fn begin_load(&mut self) {
        for index in 0..self.incidents.len() {
            self.calendar.enter(self.now + self.incidents[index].at, Event::Incident(index as u32));
        }
        for index in 0..self.clients.streams.len() {
            if self.clients.streams[index].plan.after.is_none() {
                self.schedule_stream(index);
            }
        }
    }

    fn schedule_stream(&mut self, index: usize) {
        let at = self.now + self.clients.streams[index].plan.start;
        self.calendar.enter(at, Event::StreamBegins(index as u32));
    }

    pub(crate) fn stream_begins(&mut self, index: u32) {
        let now = self.now;
        let stream = &mut self.clients.streams[index as usize];
        stream.began = Some(now);
        if let Some(closed) = &mut stream.closed {
            stream.clients = closed.users();
            for _ in 0..stream.clients {
                self.client_goes_on(index, None);
            }
        } else {
            self.next_start(index);
        }
    }

    /// The next operation of an open stream.
    fn next_start(&mut self, index: u32) {
        let stream = &mut self.clients.streams[index as usize];
        let began = stream.began.expect("it has begun");
        match stream.times.as_mut().and_then(Iterator::next) {
            Some(start) => self.calendar.enter(began + start, Event::Operation(index)),
            None => {
                stream.all_started = true;
                self.stream_may_be_over(index);
            }
        }
    }

    pub(crate) fn operation_is_due(&mut self, stream: u32) {
        if self.clients.stopped {
            return;
        }
        self.start_operation(stream);
        if self.clients.streams[stream as usize].closed.is_none() {
            self.next_start(stream);
        }
    }

    /// A client of a closed loop has ended its last operation then, or begins.
    fn client_goes_on(&mut self, index: u32, last_ended: Option<Time>) {
        let stream = &mut self.clients.streams[index as usize];
        let began = stream.began.expect("it has begun");
        let closed = stream.closed.as_mut().expect("it is a closed loop");
        match closed.next_start(last_ended.map(|at| at - began)) {
            Some(start) => self.calendar.enter(began + start, Event::Operation(index)),
            None => {
                stream.clients -= 1;
                stream.all_started = stream.clients == 0;
                self.stream_may_be_over(index);
            }
        }
    }

    /// Those that come after a stream begin when all its operations have ended.
    fn stream_may_be_over(&mut self, index: u32) {
        let over = &self.clients.streams[index as usize];
        if !over.all_started || over.started != over.ended {
            return;
        }
        let name = over.plan.name.clone();
        for next in 0..self.clients.streams.len() {
            let stream = &self.clients.streams[next];
            if stream.began.is_none() && stream.plan.after.as_deref() == Some(&name) {
                self.schedule_stream(next);
            }
        }
    }

    fn start_operation(&mut self, stream: u32) {
        let now = self.now;
        let number = u32::try_from(self.clients.ops.len()).expect("a plan has fewer operations");
        let of = &mut self.clients.streams[stream as usize];
        let index = of.started;
        of.started += 1;
        let timeout = of.plan.timeout;
        self.clients.ops.push(Op {
            stream,
            index,
            intended: now,
            started: now,
            user: number % self.clients.users,
            server: NONE,
            accepted: None,
            waiting: false,
            done: false,
        });
        self.calendar.enter(now + timeout, Event::TimesOut(number));
        self.send_operation(number);
    }

    /// Sends the operation's request, or asks for a token first.
    fn send_operation(&mut self, number: u32) {
        let op = &self.clients.ops[number as usize];
        let operation = self.clients.streams[op.stream as usize].plan.operation.clone();
        let token = self.tokens.of_user(op.user);
        let asker = Asker::Client(number);
        let subject = Subject { token, ..Subject::NOTHING };
        if operation == Operation::Token || !self.tokens.is_fresh(token, self.now) {
            let task = self.tasks.add(self.ops.keystone.issue, asker, subject);
            self.send_http(ServiceId::Keystone, task);
            return;
        }
        let (kind, server) = match operation {
            Operation::Boot { nics, .. } => (self.ops.nova_api.boot(nics), None),
            Operation::List => (self.ops.nova_api.list, None),
            Operation::Delete => (self.ops.nova_api.delete, Some(self.clients.active.pop_front())),
            Operation::Show => (self.ops.nova_api.show, Some(self.server_to_show())),
            Operation::Token => unreachable!("asked for above"),
            Operation::StopStart | Operation::Resize => {
                self.end_operation(number, Some("the model does not do this operation".to_owned()));
                return;
            }
        };
        let mut subject = subject;
        if let Some(server) = server {
            let Some(server) = server else {
                self.end_operation(number, Some("no server of the run is ACTIVE".to_owned()));
                return;
            };
            self.clients.ops[number as usize].server = server;
            subject.instance = server;
        }
        let task = self.tasks.add(kind, asker, subject);
        self.send_http(ServiceId::NovaApi, task);
    }

    fn server_to_show(&mut self) -> Option<u32> {
        let clients = &mut self.clients;
        if clients.active.is_empty() {
            return None;
        }
        clients.show_next = (clients.show_next + 1) % clients.active.len();
        clients.active.get(clients.show_next).copied()
    }

    /// A request of an operation is answered.
    pub(crate) fn answer_client(&mut self, number: u32, was: u16, result: Result<Response, Fault>) {
        let now = self.now;
        let op = &mut self.clients.ops[number as usize];
        if op.done {
            return; // too late
        }
        if let Err(fault) = result {
            self.end_operation(number, Some(fault_words(&fault)));
            return;
        }
        let operation = self.clients.streams[op.stream as usize].plan.operation.clone();
        if was == self.ops.keystone.issue && operation != Operation::Token {
            self.send_operation(number);
            return;
        }
        if matches!(operation, Operation::Boot { .. } | Operation::Delete) {
            op.accepted = Some(now);
            op.waiting = true;
            self.clients.waiting.push(number);
            self.poll();
            return;
        }
        self.end_operation(number, None);
    }

    pub(crate) fn times_out(&mut self, number: u32) {
        let op = &self.clients.ops[number as usize];
        if op.done {
            return;
        }
        let seconds = self.clients.streams[op.stream as usize].plan.timeout.as_secs_f64();
        let state = self.state_in_words(op.server);
        self.end_operation(number, Some(format!("not ended within {seconds} s{state}")));
    }

    /// The drain is over: what has not ended has failed.
    pub(crate) fn stop_clients(&mut self) {
        self.clients.stopped = true;
        for number in 0..self.clients.ops.len() {
            if !self.clients.ops[number].done {
                let state = self.state_in_words(self.clients.ops[number].server);
                self.end_operation(number as u32, Some(format!("not ended when the run did{state}")));
            }
        }
    }

    fn state_in_words(&self, server: u32) -> String {
        if server == NONE {
            return String::new();
        }
        let state = match self.facts.servers[server as usize].state {
            ServerState::Building => "BUILD",
            ServerState::Active => "ACTIVE",
            ServerState::Error => "ERROR",
            ServerState::Gone => "gone",
        };
        format!(": {state}")
    }

    fn end_operation(&mut self, number: u32, error: Option<String>) {
        let now = self.now;
        let op = &mut self.clients.ops[number as usize];
        op.done = true;
        let (stream, server) = (op.stream, op.server);
        if op.waiting {
            self.clients.waiting.retain(|waiting| *waiting != number);
        }
        let op = &self.clients.ops[number as usize];
        let of = &mut self.clients.streams[stream as usize];
        of.ended += 1;
        of.failed += u64::from(error.is_some());
        let facts = (server != NONE).then(|| &self.facts.servers[server as usize]);
        let booted = matches!(of.plan.operation, Operation::Boot { .. }) && error.is_none();
        let phases = facts.filter(|_| booted).map(|facts| phases(op, &facts.moments)).unwrap_or_default();
        let host = facts.map(|facts| facts.host).filter(|host| *host != NONE);
        self.log.operation(&OperationRecord {
            stream: of.plan.name.clone(),
            index: op.index,
            intended_ms: millis(op.intended.since_origin()),
            started_ms: millis(op.started.since_origin()),
            ended_ms: millis(now.since_origin()),
            error,
            server: facts.map(|_| server_uuid(server).to_string()),
            host: host.map(super::host_name),
            phases_ms: phases,
        });
        if booted {
            self.clients.active.push_back(server);
        }
        if self.clients.streams[stream as usize].closed.is_some() && !self.clients.stopped {
            self.client_goes_on(stream, Some(now));
        } else {
            self.stream_may_be_over(stream);
        }
    }

    /// A round of the poller begins, unless one is under way.
    fn poll(&mut self) {
        if self.clients.polling || self.clients.waiting.is_empty() {
            return;
        }
        self.clients.polling = true;
        self.clients.requests_left = REQUESTS_A_ROUND;
        self.clients.round_began = self.now;
        self.send_poll();
    }

    fn send_poll(&mut self) {
        self.clients.requests_left -= 1;
        let task = self.tasks.add(self.ops.nova_api.poll, Asker::Poller, Subject::NOTHING);
        self.send_http(ServiceId::NovaApi, task);
    }

    /// What the poller asked for has come.
    pub(crate) fn answer_poller(&mut self, result: &Result<Response, Fault>) {
        let now = self.now;
        if result.is_ok() {
            for number in self.clients.waiting.clone() {
                self.see(number);
            }
        }
        if self.clients.requests_left > 0 {
            self.send_poll();
            return;
        }
        let took = now - self.clients.round_began;
        self.calendar.enter(now + (took * PAUSE_FACTOR).clamp(PAUSE.0, PAUSE.1), Event::Poll);
    }

    pub(crate) fn poll_is_due(&mut self) {
        self.clients.polling = false;
        self.poll();
    }

    fn see(&mut self, number: u32) {
        let op = &self.clients.ops[number as usize];
        if op.done {
            return;
        }
        let deletes = self.clients.streams[op.stream as usize].plan.operation == Operation::Delete;
        let server = &self.facts.servers[op.server as usize];
        match server.state {
            ServerState::Error => {
                let fault = server.fault.clone().unwrap_or_else(|| "without a fault".to_owned());
                self.end_operation(number, Some(format!("ERROR: {fault}")));
            }
            ServerState::Active if !deletes => self.end_operation(number, None),
            ServerState::Gone if deletes => self.end_operation(number, None),
            ServerState::Gone => self.end_operation(number, Some("deleted while it was built".to_owned())),
            ServerState::Active | ServerState::Building => {}
        }
    }
}

fn fault_words(fault: &Fault) -> String {
    match fault {
        Fault::Http(status) => format!("HTTP {status}"),
        Fault::Remote(class) => format!("HTTP 500: {class}"),
        Fault::TimedOut => "no answer: timed out".to_owned(),
        Fault::Disconnected => "no answer: disconnected".to_owned(),
    }
}

fn phases(op: &Op, moments: &Moments) -> Vec<(String, f64)> {
    let since = |time: Option<Time>| time.map(Time::since_origin);
    let accepted = op.accepted.map(Time::since_origin);
    recording::BootMoments {
        started: op.started.since_origin(),
        accepted,
        scheduling: moments.scheduling_took,
        received: since(moments.received),
        network_started: since(moments.network_started),
        network_allocated: since(moments.network_allocated),
        spawn_started: since(moments.spawn_started),
        active: since(moments.active),
    }
    .phases_ms()
}
