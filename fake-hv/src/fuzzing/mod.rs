//! What the fuzz targets in `fuzz/` reach inside for, and the tests of what they found: a host whose messages end here instead
//! of on a wire, in a time of its own.

mod records;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::VecDeque, rc::Rc, sync::OnceLock, time::Duration};

use futures_channel::mpsc::UnboundedReceiver;
use hypervisor::{
    ComputeOptions, ConductorCall, Config, Driver, Input, Milestone, RabbitOptions, Request, RequestId, Resources,
    Services, Time, Times,
};
use scenarios::plan::ConnectionMode;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::{
    Broker, BrokerAddress, BrokerNode, Release, Secret, ServiceApis,
    agent::AgentRelease,
    amqp::{Command, Incoming, Link, Order, Process, Reply, commands, read_reply, read_request, write_reply},
    host::{Agents, Common, Effect, Host},
    http::HttpAnswer,
    nova::{Catalogue, Identity},
};

pub use records::Records;
pub use wire::converse;

/// How much a host keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Records of VMs.
    pub records: usize,
    /// RPCs that are being carried out.
    pub operations: usize,
    /// Request contexts.
    pub contexts: usize,
    /// Requests that wait for their answers.
    pub requests: usize,
    /// VMs that the state machine knows of.
    pub guests: usize,
}

/// A request of the host, as the other side reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// A call.
    Call(RequestId, Box<Incoming>),
    /// An HTTP request: method and URL.
    Http(RequestId, &'static str, String),
}

/// A host between its start-up and for ever, without wires.
pub struct LoneHost {
    common: Rc<Common>,
    host: Host,
    orders: UnboundedReceiver<Command>,
    now: Time,
    effects: Vec<Effect>,
    /// Not yet taken.
    asked: VecDeque<Asked>,
    /// Answers to calls, not yet taken.
    replies: Vec<Reply>,
    beats: u64,
    /// How its start-up ended.
    started: Option<Milestone>,
}

const MINUTE: Duration = Duration::from_secs(60);

fn common(driver: Driver) -> Rc<Common> {
    let resources = Resources {
        vcpus: 64,
        memory_mb: 512 << 10,
        local_gb: 10_000,
        cpu_allocation_ratio: 4.0,
        ram_allocation_ratio: 1.0,
        disk_allocation_ratio: 1.0,
    };
    let times = Times::ZERO;
    // Hours pass for each script, and every beat costs.
    let options = ComputeOptions {
        report_interval: MINUTE,
        agent_report_interval: 10 * MINUTE,
        update_resources_interval: Some(10 * MINUTE),
        heal_instance_info_cache_interval: Some(10 * MINUTE),
        scheduler_instance_sync_interval: Some(10 * MINUTE),
        instance_delete_interval: None,
        ..ComputeOptions::default()
    };
    let release = Release::load("2026.2").expect("it ships");
    let config = Config { options, resources, times, driver, services: Services::default(), habits: release.habits() };
    let apis = ServiceApis {
        identity_url: "http://identity".to_owned(),
        placement_url: "http://placement".to_owned(),
        image_url: "http://image".to_owned(),
        network_url: "http://network".to_owned(),
        user: "nova".to_owned(),
        password: Secret::new("secret"),
        project: "service".to_owned(),
        domain: "Default".to_owned(),
    };
    let agents = Rc::new(AgentRelease::load(&release.release));
    let process = Process::neutron_agent(agents.topics());
    let agents = Agents { release: agents, process, cloud: Rc::default() };
    Rc::new(Common { config: Rc::new(config), catalogue: Catalogue::new(&release), agents, release, apis })
}

/// A broker that nobody connects to.
pub(crate) fn no_broker() -> Broker {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers needs nothing")
    });
    Broker::new(address(0), ConnectionMode::Single, RabbitOptions::default(), runtime.handle().clone())
}

/// A broker on this port of this machine.
pub(crate) fn address(port: u16) -> BrokerAddress {
    let password = Secret::new("secret");
    BrokerAddress { nodes: vec![BrokerNode::local(port)], user: "nova".into(), password, vhost: "/".into() }
}

thread_local! {
    static COMMON: [Rc<Common>; 2] = [common(Driver::Plugging), common(Driver::Fake)];
}

impl LoneHost {
    /// A host that has begun its start-up, with ports that are plugged or, as with Nova's fake driver, are not.
    pub fn new(plugging: bool) -> Self {
        let common = COMMON.with(|common| Rc::clone(&common[usize::from(!plugging)]));
        let (sender, orders) = commands();
        let identity = Identity { host: "realfake-2".into(), node: uuid::Uuid::from_u128(2) };
        let link = Link::detached(no_broker(), Process::nova_compute(), sender.clone());
        let beside = Link::detached(no_broker(), std::sync::Arc::clone(&common.agents.process), sender);
        let host = Host::new(&common, identity, 1, link, Some(beside));
        let mut lone = Self {
            common,
            host,
            orders,
            now: Time::ZERO,
            effects: Vec::new(),
            asked: VecDeque::new(),
            replies: Vec::new(),
            beats: 0,
            started: None,
        };
        lone.act(|host, common, now, effects| host.handle(common, now, Input::Tick, effects));
        lone
    }

    fn act(&mut self, act: impl FnOnce(&mut Host, &Common, Time, &mut Vec<Effect>)) {
        act(&mut self.host, &self.common, self.now, &mut self.effects);
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Http(id, request) => self.asked.push_back(Asked::Http(id, request.method, request.url)),
                Effect::Finished { request: Request::Conductor(ConductorCall::SaveService { .. }), .. } => {
                    self.beats += 1
                }
                Effect::Milestone(end @ (Milestone::Registered | Milestone::RefusedToStart)) => {
                    assert_eq!(self.started.replace(end), None, "it starts once");
                }
                Effect::Finished { .. } | Effect::UnknownRequest(_) | Effect::Milestone(_) => {}
            }
        }
        while let Ok(command) = self.orders.try_recv() {
            if let Command::Order(_, order) = command {
                self.ordered(*order);
            }
        }
    }

    /// What goes to the broker has to be readable on the other side.
    fn ordered(&mut self, order: Order) {
        match order {
            Order::Call { id, message, .. } => {
                let request = read_request(&message.call(id, "reply_1")).expect("what is asked can be read");
                self.asked.push_back(Asked::Call(id, Box::new(request)));
            }
            Order::Cast { message, .. } | Order::Fanout { message, .. } => {
                let request = read_request(&message.cast()).expect("what is told can be read");
                assert!(request.reply_to.is_none(), "a cast has no answer");
            }
            Order::Reply { to, result } => self.replies.extend(read_reply(&write_reply(&to, result))),
            Order::Open | Order::Replies | Order::Serve { .. } | Order::Forwarded(_) | Order::Close(..) => {}
        }
    }

    /// A message of the broker's; one that is not a request is dropped, as the channel does.
    pub fn receive(&mut self, body: &[u8]) {
        if let Some(request) = read_request(body) {
            self.act(|host, common, now, effects| host.received(common, now, request, effects));
        }
    }

    /// The next request that nobody has looked at.
    pub fn next_asked(&mut self) -> Option<Asked> {
        self.asked.pop_front()
    }

    /// The body of an answer to a call, whose id is that of `id` whatever the body says.
    pub fn answer_call(&mut self, id: RequestId, result: Result<Value, crate::amqp::ReplyError>) {
        self.act(|host, common, now, effects| host.replied(common, now, id, result, effects));
    }

    /// An HTTP answer; `None`: no connection.
    pub fn answer_http(&mut self, id: RequestId, answer: Option<(u16, Option<&str>, Value)>) {
        let answer =
            answer.map(|(status, token, body)| HttpAnswer { status, subject_token: token.map(Into::into), body });
        self.act(|host, common, now, effects| host.http_answered(common, now, id, answer, effects));
    }

    /// Lets time pass until something is due, but not beyond `end`. Whether anything was due.
    pub fn tick(&mut self, end: Duration) -> bool {
        let end = Time::from_origin(end);
        let due = self.host.due().filter(|due| *due <= end);
        self.now = due.unwrap_or(end).max(self.now);
        if due.is_some() {
            self.act(|host, common, now, effects| host.handle(common, now, Input::Tick, effects));
        }
        due.is_some()
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        self.now.since_origin()
    }

    /// Answers to calls since the last time.
    pub fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
    }

    /// Heartbeats that were answered, or given up.
    pub fn beats(&self) -> u64 {
        self.beats
    }

    /// Whether start-up is over, and went well.
    pub fn serves(&self) -> bool {
        self.started == Some(Milestone::Registered)
    }

    /// Whether start-up is over because the node is a host's of another name.
    pub fn refused(&self) -> bool {
        self.started == Some(Milestone::RefusedToStart)
    }

    /// What is kept now.
    pub fn kept(&self) -> Kept {
        self.host.kept()
    }
}
