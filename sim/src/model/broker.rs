//! The AMQP broker, and remote calls over it.
//!
//! A message is work on the broker's machine: taking it in and confirming it, and once for each queue it goes to. Consumers of
//! a shared queue take turns. They acknowledge on receipt, whatever they have to do already, so that no queue grows and no
//! prefetch holds anything back: what waits, waits in the processes. An answer goes out on one of the connections that the
//! process sends on; while there is none, and until the broker has confirmed it, the handler thread is taken.
//!
//! Every message passes one link on its way in and one on its way out. Both are added behind the broker's work: all arrivals at
//! the broker are early by the same time, which changes none of their order.
//!
//! Left out: memory and flow control of the broker, messages that expire in a queue (they are taken out at once while anybody
//! consumes), replication of quorum queues, queues that share one broker node's Erlang scheduler unevenly.

use std::time::Duration;

use hypervisor::{Input, Rpc, Ticket, Time};

use super::{
    Event, ServiceId, World,
    machine::{Job, MachineId},
    task::{Asker, TaskId},
};

/// Services that consume from a shared queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    Conductor,
    Scheduler,
    NeutronPlugin,
    NeutronReports,
}

impl Topic {
    fn service(self) -> ServiceId {
        match self {
            Self::Conductor => ServiceId::Conductor,
            Self::Scheduler => ServiceId::Scheduler,
            Self::NeutronPlugin => ServiceId::NeutronRpc,
            Self::NeutronReports => ServiceId::NeutronReports,
        }
    }
}

/// A message on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Message {
    /// A request to a process.
    Request(TaskId),
    /// Its answer.
    Reply(TaskId),
    /// Something for a hypervisor: index of the letter.
    Letter(u32),
    /// Not a message: the connections and consumers of a hypervisor.
    Connected(u32),
}

/// The broker.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Its nodes' machines. A host is connected to one of them, and its queues lie there.
    pub(crate) nodes: Vec<MachineId>,
    /// CPU spent on each node.
    pub(crate) cpu_ns: Vec<f64>,
    /// Messages published and delivered so far.
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    letters: Vec<Option<(u32, Rpc)>>,
    free_letters: Vec<u32>,
    next_node: usize,
}

impl Broker {
    pub(crate) fn new(nodes: Vec<MachineId>) -> Self {
        Self {
            cpu_ns: vec![0.0; nodes.len()],
            nodes,
            published: 0,
            delivered: 0,
            letters: Vec::new(),
            free_letters: Vec::new(),
            next_node: 0,
        }
    }
}

impl World {
    /// Sends a request to one of the processes that consume a topic.
    pub(crate) fn send_request(&mut self, topic: Topic, task: TaskId) {
        let processes = &mut self.services[topic.service()].processes;
        let process = processes.next();
        self.tasks[task].process = process;
        match self.tasks[task].asker {
            Asker::Host { host, .. } => self.publish_from(host, task),
            _ => self.publish_request(task),
        }
    }

    pub(crate) fn publish_request(&mut self, task: TaskId) {
        let node = usize::from(self.tasks[task].process) % self.broker.nodes.len();
        self.work_on(node, 1, Message::Request(task));
    }

    /// The broker has a message through: it arrives after both links.
    pub(crate) fn routed(&mut self, message: Message, at: Time) {
        let event = match message {
            Message::Request(task) => Event::Arrive(task),
            Message::Reply(task) => Event::Reply(task),
            Message::Letter(letter) => Event::Letter(letter),
            Message::Connected(host) => Event::Connected(host),
        };
        self.calendar.enter(at + self.costs.trip, event);
    }

    /// The broker takes in a message that goes to so many queues.
    fn work_on(&mut self, node: usize, copies: u32, message: Message) {
        let work_ns = self.draw(self.costs.publish_ns + self.costs.deliver_ns * f64::from(copies));
        self.broker.published += 1;
        self.broker.delivered += u64::from(copies);
        let reachable = self.broker_reachable();
        if reachable > self.now {
            // Publishers wait until it is back, and for its work after that.
            self.broker.cpu_ns[node] += work_ns as f64;
            self.routed(message, reachable + Duration::from_nanos(work_ns));
            return;
        }
        self.broker_works(node, work_ns, message);
    }

    /// Work of a node that ends with something routed.
    pub(crate) fn broker_works(&mut self, node: usize, work_ns: u64, message: Message) {
        self.broker.cpu_ns[node] += work_ns as f64;
        let (machine, work) = (self.broker.nodes[node], Duration::from_nanos(work_ns));
        if let Some(done) = self.serve_job(machine, work, Job::Routed(message)) {
            self.routed(message, done);
        }
    }

    /// A task of a remote call is done: its answer goes out as soon as there is a connection to send it on.
    pub(crate) fn send_reply(&mut self, task: TaskId) {
        let process = self.tasks[task].process;
        if self.processes[usize::from(process)].senders.ask(task).is_some() {
            self.publish_reply(task);
        }
    }

    fn publish_reply(&mut self, task: TaskId) {
        let node = usize::from(self.tasks[task].process) % self.broker.nodes.len();
        self.work_on(node, 1, Message::Reply(task));
    }

    /// An answer has reached whoever asked, and at the same time its confirmation the process that sent it, whose connection
    /// and handler are free now.
    pub(crate) fn reply_arrives(&mut self, task: TaskId) {
        if !self.can_deliver(task) {
            return;
        }
        let process = self.tasks[task].process;
        if let Some(next) = self.processes[usize::from(process)].senders.give_back() {
            self.publish_reply(next);
        }
        self.handler_free(process);
        self.answer(task);
    }

    /// Sends a request to a hypervisor.
    pub(crate) fn send_to_host(&mut self, host: u32, rpc: Rpc) {
        let letter = self.broker.free_letters.pop().unwrap_or_else(|| {
            self.broker.letters.push(None);
            u32::try_from(self.broker.letters.len() - 1).expect("fewer letters than tasks")
        });
        self.broker.letters[letter as usize] = Some((host, rpc));
        let node = host as usize % self.broker.nodes.len();
        self.work_on(node, 1, Message::Letter(letter));
    }

    pub(crate) fn letter_arrives(&mut self, letter: u32) {
        let Some((host, rpc)) = self.broker.letters[letter as usize].take() else { return };
        self.broker.free_letters.push(letter);
        if !self.links.is_up(host) {
            self.links.lost += 1;
            return;
        }
        self.tell_host(host, Input::Rpc { ticket: Ticket(0), rpc });
    }

    /// A message to every process of a service: a copy for each.
    pub(crate) fn fan_out(&mut self, topic: Topic, op: super::task::OpId, subject: super::task::Subject) {
        let service = topic.service();
        let copies = self.services[service].processes.all.len();
        let node = self.broker.next_node % self.broker.nodes.len();
        self.broker.next_node += 1;
        for copy in 0..copies {
            let process = self.services[service].processes.all[copy];
            let task = self.tasks.add(op, Asker::Nobody, subject);
            self.tasks[task].process = process;
            if copy == 0 {
                self.work_on(node, u32::try_from(copies).unwrap_or(u32::MAX), Message::Request(task));
            } else {
                self.calendar.enter(self.now + self.costs.trip, Event::Arrive(task));
            }
        }
    }
}
