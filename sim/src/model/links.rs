//! The connections of hypervisors to the broker, and their loss.
//!
//! A hypervisor opens as many connections as its mode says and declares its consumers on them; both is work of the broker. When
//! the broker stops, all are lost, and each hypervisor tries again after the pauses of its options. What it wants to send
//! meanwhile waits; an answer for it is tried again every quarter of a second, for `kombu_missing_consumer_retry_timeout`,
//! and takes a thread and a connection of its sender as long; a cast to it is lost, for the queue is gone with the broker.
//! Connections that are idle send heartbeats. Messages between services wait until the broker is back.
//!
//! Left out: TCP backlogs and connect timeouts, broker nodes that stop one by one, the services' own connections,
//! `heartbeat_timeout_threshold` as a limit (a loss is noticed at once), alarms and flow control.

use std::{collections::BTreeMap, time::Duration};

use hypervisor::{Input, RabbitOptions, Time};
use rand_pcg::Pcg64Mcg;
use scenarios::plan::{ConnectionMode, FleetPlan, IncidentKind};

use super::{
    Event, World,
    broker::Message,
    machine::Job,
    task::{Asker, TaskId},
};

/// Connections of a nova-compute, and consumers that it declares: two RPC servers with three each, and the reply queue. The
/// thirteen connections of the L2 agent are left out.
const FAITHFUL_CONNECTIONS: u32 = 4;
const CONSUMERS: u32 = 7;
/// How often an answer is tried again whose queue is gone.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How hypervisors are connected.
#[derive(Debug)]
pub(crate) struct Links {
    options: RabbitOptions,
    /// Connections of one hypervisor; of a fleet that shares some, none.
    each: u32,
    up: Vec<bool>,
    down: BTreeMap<u32, Down>,
    rng: Pcg64Mcg,
    /// When the broker can be reached again; the past, while it can.
    broker_back: Time,
    /// `kombu_missing_consumer_retry_timeout`.
    pub(crate) missing_consumer_timeout: Duration,
    /// Casts to queues that were not there.
    pub(crate) lost: u64,
}

/// A hypervisor without connections.
#[derive(Debug, Default)]
struct Down {
    failures: u32,
    /// It has never been connected: its start-up begins when it is.
    new: bool,
    held: Vec<TaskId>,
}

impl Links {
    pub(crate) fn new(fleet: &FleetPlan, options: RabbitOptions, rng: Pcg64Mcg) -> Self {
        let each = match fleet.connections {
            ConnectionMode::Faithful => FAITHFUL_CONNECTIONS,
            ConnectionMode::Single => 1,
            ConnectionMode::Shared { .. } => 0,
        };
        Self {
            options,
            each,
            up: vec![false; fleet.hypervisors as usize],
            down: BTreeMap::new(),
            rng,
            broker_back: Time::ZERO,
            missing_consumer_timeout: Duration::from_secs(60),
            lost: 0,
        }
    }

    pub(crate) fn is_up(&self, host: u32) -> bool {
        self.up[host as usize]
    }

    fn count_up(&self) -> u64 {
        self.up.iter().filter(|up| **up).count() as u64
    }

    /// Connections and consumers that hypervisors have.
    pub(crate) fn connections(&self) -> (u64, u64) {
        let up = self.count_up();
        (up * u64::from(self.each), up * u64::from(CONSUMERS))
    }
}

/// Heartbeat frames on one connection: a client sends one when it has been idle for a part of the time, RabbitMQ as many.
fn heartbeats_per_s(options: &RabbitOptions) -> f64 {
    let timeout_s = options.heartbeat_timeout.as_secs_f64();
    if timeout_s > 0.0 { 2.0 * f64::from(options.heartbeat_rate) / timeout_s } else { 0.0 }
}

impl World {
    /// A hypervisor connects for the first time; its start-up begins when it is through.
    pub(crate) fn connect_first(&mut self, host: u32) {
        self.links.down.insert(host, Down { new: true, ..Down::default() });
        self.try_to_connect(host);
    }

    pub(crate) fn try_to_connect(&mut self, host: u32) {
        if self.now < self.links.broker_back {
            let Some(down) = self.links.down.get_mut(&host) else { return };
            down.failures += 1;
            let pause = self.links.options.after_failures(down.failures);
            self.calendar.enter(self.now + pause, Event::Connect(host));
            return;
        }
        let node = host as usize % self.broker.nodes.len();
        let (each, declares) = (f64::from(self.links.each), f64::from(CONSUMERS));
        let work_ns = self.draw(self.costs.broker_connect_ns * each + self.costs.declare_ns * declares);
        self.broker_works(node, work_ns, Message::Connected(host));
    }

    /// The broker has all that a hypervisor declares.
    pub(crate) fn connected(&mut self, host: u32) {
        let Some(down) = self.links.down.remove(&host) else { return };
        if self.now < self.links.broker_back {
            self.links.down.insert(host, down);
            self.try_to_connect(host); // it stopped meanwhile
            return;
        }
        self.links.up[host as usize] = true;
        for task in down.held {
            self.publish_request(task);
        }
        if down.new {
            self.tell_host(host, Input::Tick);
        }
    }

    /// Sends a hypervisor's request, or keeps it until there is a connection.
    pub(crate) fn publish_from(&mut self, host: u32, task: TaskId) {
        match self.links.down.get_mut(&host) {
            Some(down) => down.held.push(task),
            None => self.publish_request(task),
        }
    }

    /// Something happens to the cloud.
    pub(crate) fn incident(&mut self, index: u32) {
        let IncidentKind::BrokerRestart { lasts } = self.incidents[index as usize].kind else { return };
        self.log.event(self.now, "incident", format!("broker_restart, for {} s", lasts.as_secs_f64()));
        self.links.broker_back = self.now + lasts;
        for host in 0..self.fleet.started {
            if std::mem::replace(&mut self.links.up[host as usize], false) {
                self.links.down.insert(host, Down::default());
                let pause = self.links.options.after_loss(&mut self.links.rng);
                self.calendar.enter(self.now + pause, Event::Connect(host));
            }
        }
    }

    /// When a message that is published now reaches the broker.
    pub(crate) fn broker_reachable(&self) -> Time {
        self.now.max(self.links.broker_back)
    }

    /// Whether an answer can be delivered; if not, it is tried again later, or dropped when it has been for too long.
    pub(crate) fn can_deliver(&mut self, task: TaskId) -> bool {
        let Asker::Host { host, .. } = self.tasks[task].asker else { return true };
        if self.links.is_up(host) {
            return true;
        }
        let tries = &mut self.tasks[task].tries;
        let waited = RETRY_EVERY * u32::from(*tries);
        if waited < self.links.missing_consumer_timeout && *tries < u8::MAX {
            *tries += 1;
            self.calendar.enter(self.now + RETRY_EVERY, Event::Reply(task));
            return false;
        }
        self.tasks[task].asker = Asker::Nobody;
        true
    }

    /// The heartbeat frames of the connections since the last look.
    pub(crate) fn beat_connections(&mut self, passed: Duration) {
        let (connections, _) = self.links.connections();
        let frames = connections as f64 * heartbeats_per_s(&self.links.options) * passed.as_secs_f64();
        let nodes = self.broker.nodes.len();
        let work_ns = (frames * self.costs.heartbeat_ns / nodes as f64) as u64;
        for node in 0..nodes {
            self.broker.cpu_ns[node] += work_ns as f64;
            let machine = self.broker.nodes[node];
            let _done = self.serve_job(machine, Duration::from_nanos(work_ns), Job::Spin);
        }
    }
}
