//! One simulated hypervisor on real wires: the state machine, its records, its link and its accounts.

mod known;
mod steps;

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use hypervisor::{
    AgentCall, ConductorCall, Config, Fault, Hypervisor, Input, Notice, Origin, Output, Request, RequestId, Response,
    Rpc, Servers, Ticket, Time,
};
use serde_json::Value;
use smallvec::SmallVec;

use crate::{
    ServiceApis,
    agent::{Agent, AgentRelease, Cloud},
    amqp::{Farewell, Incoming, Link, Message, Process, Raised, ReplyError, ReplyTo, Target},
    contexts::Contexts,
    http::{Accounts, Client, HttpAnswer, HttpRequest},
    nova::{self, Author, Body, Catalogue, Identity, Operations, Received, Records, Release, Rows},
    timestamp,
};

/// What all hypervisors of a fleet have in common.
pub(crate) struct Common {
    pub(crate) config: Rc<Config>,
    pub(crate) release: Release,
    pub(crate) apis: ServiceApis,
    pub(crate) catalogue: Catalogue,
    /// Of the L2 agents: what their release says, what they know of the cloud, and what their processes have in common.
    pub(crate) agents: Agents,
}

/// What the L2 agents of a fleet have in common.
pub(crate) struct Agents {
    pub(crate) release: Rc<AgentRelease>,
    pub(crate) process: Arc<Process>,
    pub(crate) cloud: Rc<RefCell<Cloud>>,
}

/// A request on its way, kept to read its answer with.
struct Asked {
    id: RequestId,
    request: Request,
    sent: Time,
    origin: Origin,
}

/// How a request is to be made.
#[derive(Clone, Copy)]
struct Asking {
    id: RequestId,
    timeout: Option<Duration>,
    origin: Origin,
}

/// Something the worker has to do for a host.
pub(crate) enum Effect {
    /// Send this and hand the answer to [`Host::http_answered`].
    Http(RequestId, HttpRequest),
    /// Somebody asked for a method that is not there.
    UnknownRequest(String),
    /// The state machine passed a milestone.
    Milestone(hypervisor::Milestone),
    /// A request has its answer, or will not get one.
    Finished { request: Request, took: Duration, result: Result<(), Fault> },
}

/// One simulated hypervisor.
pub(crate) struct Host {
    pub(crate) identity: Identity,
    machine: Hypervisor,
    link: Link,
    /// `None`: there is no L2 agent on it.
    agent: Option<Box<Agent>>,
    rows: Rows,
    records: Records,
    operations: Operations,
    contexts: Contexts,
    last_ticket: u32,
    accounts: Accounts,
    /// One, most of the time that there is any.
    asked: SmallVec<[Asked; 1]>,
    /// Which of the lives that the host has had; the worker's to count.
    pub(crate) life: u32,
    /// Whether its start-up went through; the worker's to count.
    pub(crate) registered: bool,
    /// Its RPC servers that have begun to consume, a bit for each topic; the worker's to count.
    pub(crate) serving: u8,
    /// Of its connections, those that are lost; the worker's to count.
    pub(crate) links_down: u64,
    /// The wake-up that counts; earlier ones in the worker's queue are stale.
    wake: Option<Time>,
}

impl Host {
    /// `link` is nova-compute's, `beside` the L2 agent's if there is one.
    pub(crate) fn new(common: &Common, identity: Identity, seed: u64, link: Link, beside: Option<Link>) -> Self {
        let machine = Hypervisor::new(Rc::clone(&common.config), seed);
        Self::with(common, identity, machine, link, beside)
    }

    fn with(common: &Common, identity: Identity, machine: Hypervisor, link: Link, beside: Option<Link>) -> Self {
        let Agents { release, cloud, .. } = &common.agents;
        Self {
            agent: beside.map(|link| Box::new(Agent::new(&identity.host, release, link, cloud))),
            identity,
            machine,
            link,
            rows: Rows::default(),
            records: Records::default(),
            operations: Operations::default(),
            contexts: Contexts::default(),
            last_ticket: 0,
            accounts: Accounts::default(),
            asked: SmallVec::new(),
            life: 0,
            registered: false,
            serving: 0,
            links_down: 0,
            wake: None,
        }
    }

    /// When the hypervisor wants to be woken.
    pub(crate) fn due(&self) -> Option<Time> {
        self.machine.poll_timeout()
    }

    /// Queues a wake-up if it is not the one that is queued already.
    pub(crate) fn schedule(&mut self, due: Time, queue: impl FnOnce(Time)) {
        if self.wake != Some(due) {
            self.wake = Some(due);
            queue(due);
        }
    }

    /// Whether a wake-up that came is the one that counts.
    pub(crate) fn woken(&mut self, due: Time) -> bool {
        let current = self.wake == Some(due);
        if current {
            self.wake = None;
        }
        current
    }

    /// Passes an input on and does what comes of it, except for what only the worker can do.
    pub(crate) fn handle(&mut self, common: &Common, now: Time, input: Input, effects: &mut Vec<Effect>) {
        self.machine.handle_input(now, input);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Request { id, request, timeout, origin } => {
                    self.ask(common, now, Asking { id, timeout, origin }, request, effects);
                }
                Output::Notice { notice, origin } => self.tell(common, &notice, origin),
                Output::Over(origin) => {
                    self.contexts.forget(origin);
                    self.records.over(origin);
                }
                Output::Serve(Servers::Compute) => self.link.serve(&common.release.rpc_topics),
                Output::Serve(servers) => {
                    if let Some(agent) = &self.agent {
                        agent.serve(servers);
                    }
                }
                Output::Milestone(milestone) => {
                    self.forget(milestone);
                    effects.push(Effect::Milestone(milestone));
                }
            }
        }
        self.give_up(now, effects);
    }

    /// Lets go of what nothing more can come of. Whoever still waits for the end of an RPC is told of it.
    fn forget(&mut self, milestone: hypervisor::Milestone) {
        self.records.forget(milestone);
        if milestone == hypervisor::Milestone::Registered {
            let Self { records, operations, .. } = self;
            records.rest_but(|vm| operations.are_about(vm));
        }
        let idle = match milestone {
            // The method returns nothing, and was called all the same.
            hypervisor::Milestone::OperationEnded(id) => self.end(id, Ok(Value::Null)),
            hypervisor::Milestone::OperationFailed(id) => {
                let message = "the simulated hypervisor could not carry it out; its log says why".to_owned();
                let (class, module) = ("NovaException".into(), "nova.exception".into());
                self.end(id, Err(Raised { class, module, message, kwargs: Value::Null }))
            }
            hypervisor::Milestone::Active(vm) => Some(vm),
            _ => None,
        };
        if let Some(vm) = idle.filter(|vm| !self.operations.are_about(*vm)) {
            self.records.rest(vm);
        }
    }

    fn ask(&mut self, common: &Common, now: Time, asking: Asking, request: Request, effects: &mut Vec<Effect>) {
        let Asking { id, timeout, origin } = asking;
        let sent = match &request {
            Request::Conductor(call) => {
                // The record of the compute node keeps the context of the start-up that made it.
                let origin = if matches!(call, ConductorCall::SaveNode { .. }) { Origin::StartUp } else { origin };
                let body = nova::call(&mut self.author(common, &timestamp::now(), origin), call);
                body.map(|body| self.call_conductor(asking, body, origin))
            }
            Request::Agent(call) => {
                let Some(agent) = &self.agent else { return }; // nobody is there to ask
                if let AgentCall::LookUp(lookup) = call
                    && let Some(known) = agent.look_up(lookup)
                {
                    return self.machine.handle_input(now, Input::Reply { id, result: Ok(known) });
                }
                agent.call(id, call, timeout.unwrap_or_default());
                Some(())
            }
            Request::Step(message) => self.ask_step(common, asking, message, effects),
            Request::IdentityVersion | Request::Token(_) | Request::Placement(_) | Request::Network(_) => {
                let encoded = self.client(common, origin).encode(&request);
                encoded.map(|encoded| effects.push(Effect::Http(id, encoded)))
            }
        };
        if sent.is_none() {
            // The VM's record went while the request was made: what a conductor would say of a deleted one.
            let gone = Err(Fault::Remote("InstanceNotFound".to_owned()));
            self.machine.handle_input(now, Input::Reply { id, result: gone });
            return;
        }
        self.asked.push(Asked { id, request, sent: now, origin });
    }

    fn call_conductor(&mut self, Asking { id, timeout, .. }: Asking, body: Body, origin: Origin) {
        let message = self.message(body, origin);
        self.link.call(id, Target::nova("conductor"), message, timeout.unwrap_or_default());
    }

    fn message(&mut self, body: Body, origin: Origin) -> Message {
        let context = body.context(self.contexts.get(origin));
        Message::new(body.method, body.namespace, body.version, body.args, context)
    }

    fn tell(&mut self, common: &Common, notice: &Notice, origin: Origin) {
        if let Notice::Step(step) = notice {
            return self.tell_step(common, step, origin);
        }
        let Some(body) = nova::notice(&self.author(common, &timestamp::now(), origin), notice) else { return };
        let message = self.message(body, origin);
        match notice {
            Notice::Reschedule { .. } => self.link.cast(Target::nova("conductor"), message),
            Notice::Stop(_) => self.link.cast(Target::nova(self.identity.topic()), message),
            _ => self.link.fanout("scheduler", message),
        }
    }

    fn author<'a>(&'a mut self, common: &'a Common, now: &'a str, origin: Origin) -> Author<'a> {
        Author {
            release: &common.release,
            identity: &self.identity,
            resources: &common.config.resources,
            rows: &self.rows,
            documents: self.records.of(origin),
            context: self.contexts.get(origin),
            now,
        }
    }

    fn client<'a>(&'a mut self, common: &'a Common, origin: Origin) -> Client<'a> {
        Client {
            apis: &common.apis,
            release: &common.release,
            identity: &self.identity,
            resources: &common.config.resources,
            accounts: &mut self.accounts,
            documents: self.records.of(origin),
            context: self.contexts.get(origin),
        }
    }

    /// Hands the answer of an AMQP call on.
    pub(crate) fn replied(
        &mut self,
        common: &Common,
        now: Time,
        id: RequestId,
        answer: Result<Value, ReplyError>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.take_asked(id) else { return }; // given up before
        let result = match (&asked.request, answer) {
            (Request::Conductor(call), Ok(value)) => {
                let documents = self.records.answered(asked.origin, call);
                Ok(nova::reply(call, value, &self.identity.host, &mut self.rows, documents))
            }
            (Request::Step(step), Ok(value)) => {
                Ok(self.operations.read(&common.catalogue, &mut self.records.kept, step, value))
            }
            (Request::Agent(call), Ok(value)) => {
                Ok(self.agent.as_mut().map_or(Response::Done, |agent| agent.answered(call, &value)))
            }
            (_, Ok(_)) => Ok(Response::Done),
            (_, Err(error)) => Err(Fault::Remote(error.class)),
        };
        self.finish(common, now, id, asked, result, effects);
    }

    /// Hands the answer of an HTTP request on; `None`: no connection.
    pub(crate) fn http_answered(
        &mut self,
        common: &Common,
        now: Time,
        id: RequestId,
        answer: Option<HttpAnswer>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.take_asked(id) else { return };
        let result = match answer {
            Some(answer) => match &asked.request {
                Request::Step(step) => self.read_step(common, step, answer, asked.origin),
                request => self.client(common, asked.origin).decode(request, answer),
            },
            None => Err(Fault::Disconnected),
        };
        self.finish(common, now, id, asked, result, effects);
    }

    fn finish(
        &mut self,
        common: &Common,
        now: Time,
        id: RequestId,
        asked: Asked,
        result: Result<Response, Fault>,
        effects: &mut Vec<Effect>,
    ) {
        let outcome = result.as_ref().map(|_| ()).map_err(Clone::clone);
        effects.push(Effect::Finished { request: asked.request, took: now - asked.sent, result: outcome });
        self.handle(common, now, Input::Reply { id, result }, effects);
    }

    fn take_asked(&mut self, id: RequestId) -> Option<Asked> {
        let at = self.asked.iter().position(|asked| asked.id == id)?;
        let asked = self.asked.remove(at);
        // On a slow cloud most hosts have more than one under way at some time.
        self.asked.shrink_to_fit();
        Some(asked)
    }

    /// Notes the calls whose time is over; the state machine has given them up by itself.
    fn give_up(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let machine = &self.machine;
        let mut at = 0;
        while let Some(asked) = self.asked.get(at) {
            if machine.awaits(asked.id) {
                at += 1;
                continue;
            }
            let Asked { request, sent, .. } = self.asked.remove(at);
            effects.push(Effect::Finished { request, took: now - sent, result: Err(Fault::TimedOut) });
        }
    }

    /// A request to this compute service.
    pub(crate) fn received(&mut self, common: &Common, now: Time, incoming: Incoming, effects: &mut Vec<Effect>) {
        if let Err(raised) = nova::dispatch(&common.release.interfaces, &incoming) {
            // Nothing for the run to note: a real one refuses it, too.
            tracing::warn!(host = %self.identity.host, method = incoming.method, reason = raised.message, "a request is refused");
            return self.answer(incoming.reply_to, Err(raised));
        }
        let Some(incoming) = self.begin(common, now, incoming, effects) else { return };
        let Incoming { method, namespace, version, args, context, reply_to, unique_id: _ } = incoming;
        match nova::receive(&method, namespace.as_deref(), &version, args, &mut self.records.kept) {
            Received::Rpc(rpc) => {
                let ticket = self.ticket(context);
                self.handle(common, now, Input::Rpc { ticket, rpc }, effects);
            }
            Received::Events(events, documents) => {
                let ticket = self.ticket(context);
                self.records.keep_apart(Origin::Rpc(ticket), documents);
                self.handle(common, now, Input::Rpc { ticket, rpc: Rpc::Events(events) }, effects);
            }
            Received::Pong(pong) => self.answer(reply_to, Ok(pong)),
            Received::Refused(raised) => self.answer(reply_to, Err(raised)),
            Received::Unknown(raised) => {
                self.answer(reply_to, Err(raised));
                effects.push(Effect::UnknownRequest(method));
            }
        }
    }

    /// A request to the L2 agent.
    pub(crate) fn heard(&mut self, common: &Common, now: Time, request: &Arc<Incoming>, effects: &mut Vec<Effect>) {
        let pushed = self.agent.as_mut().map(|agent| agent.heard(request)).unwrap_or_default();
        for push in pushed {
            self.handle(common, now, Input::Push(push), effects);
        }
    }

    /// A name for one more RPC, under which its context is kept until all of it is done.
    fn ticket(&mut self, context: Value) -> Ticket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        self.contexts.keep(Origin::Rpc(ticket), context);
        ticket
    }

    fn answer(&self, reply_to: Option<ReplyTo>, result: Result<Value, Raised>) {
        if let Some(reply_to) = reply_to {
            self.link.reply(reply_to, result);
        }
    }

    /// How much is kept, by what it is kept for.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn kept(&self) -> crate::fuzzing::Kept {
        crate::fuzzing::Kept {
            records: self.records.len(),
            operations: self.operations.len(),
            contexts: self.contexts.len(),
            requests: self.asked.len(),
            guests: self.machine.guests(),
        }
    }

    /// Ends nova-compute and the L2 agent; queues that oslo.messaging deletes at a graceful stop are deleted.
    pub(crate) fn close(self, farewell: Farewell) -> impl Future<Output = ()> + Send + use<> {
        let (link, beside) = (self.link, self.agent.map(|agent| agent.close()));
        async move {
            let beside = async {
                if let Some(beside) = beside {
                    beside.close(farewell).await;
                }
            };
            tokio::join!(link.close(farewell), beside);
        }
    }
}
