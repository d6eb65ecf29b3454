//! The thread that runs the state machines: it takes events in, wakes hypervisors when they are due, and sends nothing
//! itself that could block.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use hypervisor::{Fault, Input, Milestone, Request, RequestId, Services, Time};
use recording::{Event, RpcResult};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    KnownHost, Release, ServiceApis,
    agent::AgentRelease,
    amqp::{Broker, EventSender, Farewell, HostIndex, Link, LinkEvent, Process, TOPICS},
    host::{Agents, Common, Effect, Host},
    http::{HttpAnswer, HttpRequest},
    http_client,
    log::Log,
    nova::{Catalogue, Identity},
    stats::{Counters, add},
};

/// What a worker is told by its fleet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start a hypervisor; one that is known connects to the broker, and rests.
    Start(HostIndex, Identity, Option<Box<KnownHost>>),
    /// All that rest go on.
    GoOn,
    /// The connections of a hypervisor are lost.
    Cut(HostIndex),
    /// A hypervisor ends, and starts again.
    Restart(HostIndex),
    /// Ports come to the bridge of a host, or go.
    Bridge { host: HostIndex, added: Vec<Uuid>, removed: Vec<Uuid> },
    /// Stop all; it is the last order.
    Stop(Farewell),
}

impl Order {
    /// The hypervisor that it is for; `None`: all.
    pub(crate) fn host(&self) -> Option<HostIndex> {
        match self {
            Self::Start(host, ..) | Self::Cut(host) | Self::Restart(host) | Self::Bridge { host, .. } => Some(*host),
            Self::GoOn | Self::Stop(_) => None,
        }
    }
}

/// What a worker needs from its fleet. All of it can go to another thread; the hypervisors themselves are made there.
pub(crate) struct Setup {
    pub(crate) config: hypervisor::Config,
    pub(crate) release: Release,
    pub(crate) apis: ServiceApis,
    pub(crate) broker: Broker,
    pub(crate) log: Log,
    pub(crate) counters: Arc<Counters>,
    pub(crate) seed: u64,
    /// `t = 0` of the run.
    pub(crate) origin: Instant,
    /// For what the worker has to do later.
    pub(crate) orders: mpsc::WeakUnboundedSender<Order>,
}

/// Host, which life of it, request, answer.
type HttpAnswered = (HostIndex, u32, RequestId, Option<HttpAnswer>);

struct Worker {
    common: Common,
    broker: Broker,
    log: Log,
    counters: Arc<Counters>,
    seed: u64,
    origin: Instant,
    orders: mpsc::WeakUnboundedSender<Order>,
    /// Each on its own: the nodes of the map are half empty.
    hosts: BTreeMap<HostIndex, Box<Host>>,
    /// They are known, and wait for the word to go on. What somebody asked of them meanwhile waits with them: the first thing that a state
    /// machine hears has it go on.
    resting: BTreeMap<HostIndex, Vec<LinkEvent>>,
    /// Starts so far: what was asked for in a host's life before a restart is not for the next one.
    lives: u32,
    /// Wake-ups; one that is not the host's latest is skipped.
    due: BinaryHeap<Reverse<(Time, HostIndex)>>,
    events: EventSender,
    http: reqwest::Client,
    http_answers: mpsc::UnboundedSender<HttpAnswered>,
    effects: Vec<Effect>,
}

/// Runs a worker until its orders end.
pub(crate) async fn run(setup: Setup, mut orders: mpsc::UnboundedReceiver<Order>) {
    let (events, mut link_events) = mpsc::unbounded_channel();
    let (http_answers, mut answered) = mpsc::unbounded_channel();
    let mut worker = Worker::new(setup, events, http_answers);
    loop {
        let wake = worker.next_wake();
        worker.counters.waiting((link_events.len() + answered.len()) as u64);
        tokio::select! {
            Some((host, event)) = link_events.recv() => worker.link_event(host, event),
            Some((host, life, id, answer)) = answered.recv() => worker.answered((host, life), id, answer),
            order = orders.recv() => match order {
                Some(Order::Start(index, identity, known)) => {
                    // What its links told before it was restarted is not for the one that starts now.
                    while let Ok((host, event)) = link_events.try_recv() {
                        worker.link_event(host, event);
                    }
                    worker.start(index, identity, known);
                }
                Some(Order::GoOn) => worker.go_on(),
                Some(Order::Cut(index)) => worker.cut(index),
                Some(Order::Restart(index)) => worker.restart(index),
                Some(Order::Bridge { host, added, removed }) => worker.change_bridge(host, Input::Bridge { added, removed }),
                Some(Order::Stop(farewell)) => return worker.stop(farewell).await,
                None => return,
            },
            () = tokio::time::sleep_until(wake.into()) => worker.wake_due(),
        }
    }
}

/// An idle worker looks around this often.
const IDLE: Duration = Duration::from_secs(1);

impl Worker {
    fn new(setup: Setup, events: EventSender, http_answers: mpsc::UnboundedSender<HttpAnswered>) -> Self {
        let Setup { config, release, apis, broker, log, counters, seed, origin, orders } = setup;
        let agents = Rc::new(AgentRelease::load(&release.release));
        let process = Process::neutron_agent(agents.topics());
        let agents = Agents { release: agents, process, cloud: Rc::default() };
        Self {
            common: Common { config: Rc::new(config), catalogue: Catalogue::new(&release), agents, release, apis },
            broker,
            log,
            counters,
            seed,
            origin,
            orders,
            hosts: BTreeMap::new(),
            resting: BTreeMap::new(),
            lives: 0,
            due: BinaryHeap::new(),
            events,
            http: http_client::new(),
            http_answers,
            effects: Vec::new(),
        }
    }

    fn now(&self) -> Time {
        Time::from_origin(self.origin.elapsed())
    }

    fn next_wake(&self) -> Instant {
        let due = self.due.peek().map(|Reverse((time, _))| self.origin + time.since_origin());
        due.unwrap_or_else(|| Instant::now() + IDLE)
    }

    fn start(&mut self, index: HostIndex, identity: Identity, known: Option<Box<KnownHost>>) {
        let link = Link::open(self.broker.clone(), index, &identity.host, self.events.clone());
        let has_agent = self.common.config.services != Services::ComputeOnly;
        let beside = has_agent.then(|| link.beside(&identity.host, &self.events, &self.common.agents.process));
        // Each hypervisor draws from a generator of its own, so that one more does not change the others.
        let seed = self.seed.wrapping_add(u64::from(index).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let rests = known.is_some();
        let mut host = match known {
            Some(known) => Host::known(&self.common, identity, (seed, self.now()), (link, beside), *known),
            None => Host::new(&self.common, identity, seed, link, beside),
        };
        self.lives = self.lives.wrapping_add(1);
        host.life = self.lives;
        if rests {
            host.rejoin(&self.common);
            self.resting.insert(index, Vec::new());
        }
        self.hosts.insert(index, Box::new(host));
        add(&self.counters.started);
        if !rests {
            self.tick(index);
        }
    }

    fn go_on(&mut self) {
        for (index, asked) in std::mem::take(&mut self.resting) {
            self.tick(index);
            for event in asked {
                self.link_event(index, event);
            }
        }
    }

    fn tick(&mut self, index: HostIndex) {
        self.with_host(index, |host, common, now, effects| host.handle(common, now, Input::Tick, effects));
    }

    fn cut(&self, index: HostIndex) {
        if let Some(host) = self.hosts.get(&index) {
            host.cut();
        }
    }

    /// Its L2 agent restarts as well.
    fn restart(&mut self, index: HostIndex) {
        let Some(host) = self.hosts.remove(&index) else { return };
        self.resting.remove(&index);
        if host.registered {
            self.counters.registered.fetch_sub(1, Ordering::Relaxed);
        }
        self.counters.serving.fetch_sub(host.serving.count_ones().into(), Ordering::Relaxed);
        // It will not tell of them any more.
        self.counters.links_down.fetch_sub(host.links_down, Ordering::Relaxed);
        let (identity, orders) = (host.identity.clone(), self.orders.clone());
        let closed = host.close(Farewell::Leave);
        self.broker.runtime().spawn(async move {
            closed.await;
            if let Some(orders) = orders.upgrade() {
                let _fleet_stopped = orders.send(Order::Start(index, identity, None));
            }
        });
    }

    fn change_bridge(&mut self, index: HostIndex, change: Input) {
        self.with_host(index, |host, common, now, effects| host.handle(common, now, change, effects));
    }

    fn with_host(&mut self, index: HostIndex, act: impl FnOnce(&mut Host, &Common, Time, &mut Vec<Effect>)) {
        let now = self.now();
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(host) = self.hosts.get_mut(&index) {
            act(host, &self.common, now, &mut effects);
            if let Some(due) = host.due() {
                host.schedule(due, |due| self.due.push(Reverse((due, index))));
            }
        }
        for effect in effects.drain(..) {
            self.perform(index, now, effect);
        }
        self.effects = effects;
    }

    fn wake_due(&mut self) {
        loop {
            let now = self.now();
            let Some(Reverse((due, index))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now) else {
                return;
            };
            self.due.pop();
            let wanted = self.hosts.get_mut(&index).is_some_and(|host| host.woken(due));
            if wanted {
                self.note_lateness(now - due);
                self.tick(index);
            }
        }
    }

    fn note_lateness(&self, late: Duration) {
        self.log.late(self.origin.elapsed(), late);
    }

    fn link_event(&mut self, index: HostIndex, event: LinkEvent) {
        if let (LinkEvent::Request(_) | LinkEvent::Broadcast(_), Some(asked)) = (&event, self.resting.get_mut(&index)) {
            return asked.push(event);
        }
        match event {
            LinkEvent::Reply(id, answer) => {
                self.with_host(index, |host, common, now, effects| host.replied(common, now, id, answer, effects));
            }
            LinkEvent::Request(request) => {
                self.with_host(index, |host, common, now, effects| host.received(common, now, *request, effects));
            }
            LinkEvent::Broadcast(request) => {
                self.with_host(index, |host, common, now, effects| host.heard(common, now, &request, effects));
            }
            LinkEvent::Lost(reason) => {
                let Some(host) = self.hosts.get_mut(&index) else { return };
                host.links_down += 1;
                self.counters.links_down.fetch_add(1, Ordering::Relaxed);
                self.event("link_lost", index, &reason);
            }
            LinkEvent::Serving(topic) => self.serves(index, topic),
            LinkEvent::Restored => {
                // One that an earlier life of the host had lost is counted no more.
                let Some(host) = self.hosts.get_mut(&index).filter(|host| host.links_down > 0) else { return };
                host.links_down -= 1;
                self.counters.links_down.fetch_sub(1, Ordering::Relaxed);
                self.event("link_restored", index, "");
            }
        }
    }

    /// Counts an RPC server of a compute service once, whatever is lost and made again.
    fn serves(&mut self, index: HostIndex, topic: &str) {
        let server = TOPICS.iter().position(|known| *known == topic);
        if let Some((host, server)) = self.hosts.get_mut(&index).zip(server)
            && host.serving & 1 << server == 0
        {
            host.serving |= 1 << server;
            add(&self.counters.serving);
        }
    }

    fn event(&self, kind: &str, index: HostIndex, detail: &str) {
        let Some(host) = self.hosts.get(&index) else { return };
        let detail = if detail.is_empty() {
            host.identity.host.to_string()
        } else {
            format!("{}: {detail}", host.identity.host)
        };
        self.log.event(Event { t_ms: self.origin.elapsed().as_secs_f64() * 1e3, kind: kind.to_owned(), detail });
    }

    fn answered(&mut self, (index, life): (HostIndex, u32), id: RequestId, answer: Option<HttpAnswer>) {
        self.counters.http_under_way.fetch_sub(1, Ordering::Relaxed);
        if self.hosts.get(&index).is_none_or(|host| host.life != life) {
            return;
        }
        self.with_host(index, |host, common, now, effects| host.http_answered(common, now, id, answer, effects));
    }

    fn perform(&mut self, index: HostIndex, now: Time, effect: Effect) {
        match effect {
            Effect::Http(id, request) => self.send_http(index, id, request),
            Effect::Milestone(Milestone::Registered) => {
                if let Some(host) = self.hosts.get_mut(&index) {
                    host.registered = true;
                }
                self.counters.start_up_over(&self.counters.registered);
            }
            Effect::Milestone(Milestone::RefusedToStart) => {
                self.counters.start_up_over(&self.counters.refused);
                self.event("warning", index, "its node belongs to a host of another name: it does not start");
            }
            Effect::Milestone(milestone) => {
                if let Some(host) = self.hosts.get(&index) {
                    self.counters.note(&host.identity.host, now, milestone);
                }
            }
            Effect::UnknownRequest(method) => {
                add(&self.counters.unknown_requests);
                self.event("warning", index, &format!("asked for {method}, which a simulated hypervisor does not do"));
            }
            Effect::Finished { request, took, result } => self.finished(&request, took, &result),
        }
    }

    fn finished(&self, request: &Request, took: Duration, result: &Result<(), Fault>) {
        add(&self.counters.requests);
        let outcome = match result {
            Ok(()) => RpcResult::Ok,
            Err(Fault::TimedOut) => RpcResult::TimedOut,
            // "There is none" is an answer, not a failure.
            Err(Fault::Remote(class)) if class.ends_with("NotFound") => RpcResult::Ok,
            Err(_) => RpcResult::Failed,
        };
        match outcome {
            RpcResult::Ok => {}
            RpcResult::Failed => add(&self.counters.failed),
            RpcResult::TimedOut => {
                add(&self.counters.failed);
                add(&self.counters.timed_out);
            }
        }
        let name = match request {
            Request::Conductor(_) | Request::Agent(_) => request.name().to_owned(),
            _ => format!("{} {}", request.service(), request.name()),
        };
        self.log.rpc(&name, self.origin.elapsed(), took, outcome);
    }

    fn send_http(&self, index: HostIndex, id: RequestId, request: HttpRequest) {
        add(&self.counters.http_under_way);
        let (client, answers) = (self.http.clone(), self.http_answers.clone());
        let life = self.hosts.get(&index).map_or(0, |host| host.life);
        self.broker.runtime().spawn(async move {
            let answer = http_client::send(&client, request).await;
            let _stopped = answers.send((index, life, id, answer));
        });
    }

    /// Closes all links, as many at once as the broker opens connections for.
    async fn stop(&mut self, farewell: Farewell) {
        let hosts = std::mem::take(&mut self.hosts);
        if farewell == Farewell::Leave {
            let now = self.now();
            self.counters.add_tokens(hosts.iter().map(|(index, host)| (*index, host.tokens(now))));
        }
        let mut closing = tokio::task::JoinSet::new();
        for host in hosts.into_values() {
            closing.spawn_on(host.close(farewell), self.broker.runtime());
        }
        while closing.join_next().await.is_some() {}
        self.broker.close_shared().await;
        if farewell == Farewell::Leave {
            return;
        }
        // What all hosts of a topic shared; a nova-compute that is left keeps them.
        let broker = self.broker.clone();
        let topics = [&TOPICS[..], &self.common.agents.release.topics()].concat();
        let deleted = self.broker.runtime().spawn(async move { broker.delete_unused(&topics).await }).await;
        if let Ok(Err(error)) = deleted {
            tracing::warn!(%error, "the queues of the topics are left");
        }
    }
}
