//! One simulated hypervisor on real wires: the state machine, its records, its link and its sessions.

mod known;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use hypervisor::{
    AgentCall, ConductorCall, Config, Fault, Hypervisor, Input, Notice, Origin, Output, Request, RequestId, Response,
    Rpc, Servers, StepMessage, Ticket, Time,
};
use serde_json::Value;

use crate::{
    ServiceApis,
    agent::{Agent, AgentRelease, Cloud},
    amqp::{Farewell, Incoming, Link, Message, Process, Raised, ReplyError, ReplyTo, Target},
    contexts::Contexts,
    http::{Client, HttpAnswer, HttpRequest, Sessions},
    nova::{self, Author, Body, Catalogue, Facts, Identity, Operations, Received, Records, Release, Rows, StepBody},
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
    agent: Agent,
    rows: Rows,
    records: Records,
    operations: Operations,
    contexts: Contexts,
    last_ticket: u32,
    sessions: Sessions,
    asked: BTreeMap<RequestId, Asked>,
    /// Which of the lives that the host has had; the worker's to count.
    pub(crate) life: u32,
    /// The wake-up that counts; earlier ones in the worker's queue are stale.
    wake: Option<Time>,
}

impl Host {
    /// `link` is nova-compute's, `beside` the L2 agent's.
    pub(crate) fn new(common: &Common, identity: Identity, seed: u64, link: Link, beside: Link) -> Self {
        let Agents { release, cloud, .. } = &common.agents;
        Self {
            agent: Agent::new(&identity.host, release, beside, cloud),
            identity,
            machine: Hypervisor::new(Rc::clone(&common.config), seed),
            link,
            rows: Rows::default(),
            records: Records::default(),
            operations: Operations::default(),
            contexts: Contexts::default(),
            last_ticket: 0,
            sessions: Sessions::default(),
            asked: BTreeMap::new(),
            life: 0,
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
                Output::Serve(servers) => self.agent.serve(servers),
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
        let ended = match milestone {
            // The method returns nothing, and was called all the same.
            hypervisor::Milestone::OperationEnded(id) => Some((id, Ok(Value::Null))),
            hypervisor::Milestone::OperationFailed(id) => {
                let message = "the simulated hypervisor could not carry it out; its log says why".to_owned();
                let (class, module) = ("NovaException".into(), "nova.exception".into());
                Some((id, Err(Raised { class, module, message, kwargs: Value::Null })))
            }
            _ => None,
        };
        if let Some((id, result)) = ended
            && let Some(reply_to) = self.operations.end(id)
        {
            self.answer(Some(reply_to), result);
        }
        self.records.forget(milestone);
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
                if let AgentCall::LookUp(lookup) = call
                    && let Some(known) = self.agent.look_up(lookup)
                {
                    return self.machine.handle_input(now, Input::Reply { id, result: Ok(known) });
                }
                self.agent.call(id, call, timeout.unwrap_or_default());
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
        self.asked.insert(id, Asked { request, sent: now, origin });
    }

    /// A step of a procedure that has an answer.
    fn ask_step(
        &mut self,
        common: &Common,
        Asking { id, timeout, origin }: Asking,
        step: &StepMessage,
        effects: &mut Vec<Effect>,
    ) -> Option<()> {
        let body = self.write_step(common, step)?;
        let timeout = timeout.unwrap_or_default();
        let context = self.contexts.get(origin).clone();
        match body {
            StepBody::Conductor { method, args, context: otherwise } => {
                let mut context = context;
                for (name, value) in otherwise {
                    context[format!("_context_{name}")] = value;
                }
                let message = Message::new(method, None, common.release.rpc_versions.conductor, args, context);
                self.link.call(id, Target::nova("conductor"), message, timeout);
            }
            StepBody::Rpc { topic, method, namespace, version, args, monitor_s, .. } => {
                let message = Message::new(method, namespace, version, args, context).monitored(monitor_s);
                self.link.call(id, Target::nova(topic), message, timeout);
            }
            StepBody::Http { service, method, path, microversion, token, body, content_type } => {
                let request = (method, path.as_str(), microversion);
                let request = self.client(common, origin).step(service, request, token, body);
                let request = HttpRequest { content_type, ..request };
                effects.push(Effect::Http(id, request));
            }
            StepBody::Answer(..) => {}
        }
        Some(())
    }

    fn write_step(&mut self, common: &Common, step: &StepMessage) -> Option<StepBody> {
        let (catalogue, release) = (&common.catalogue, &common.release);
        let written = self.operations.write(catalogue, &mut self.records.kept, release, step, &timestamp::now());
        let lacks = |path: &String| tracing::warn!(host = %self.identity.host, step = step.name, path, "not said: a value is missing");
        written.inspect_err(lacks).ok()
    }

    /// A step that nobody answers.
    fn tell_step(&mut self, common: &Common, step: &StepMessage, origin: Origin) {
        match self.write_step(common, step) {
            Some(StepBody::Rpc { topic, fanout, method, namespace, version, args, .. }) => {
                let context = self.contexts.get(origin).clone();
                let message = Message::new(method, namespace, version, args, context);
                match fanout {
                    Some(topic) => self.link.fanout(topic, message),
                    None => self.link.cast(Target::nova(topic), message),
                }
            }
            Some(StepBody::Answer(reply_to, result)) => self.answer(reply_to, result),
            _ => {}
        }
    }

    fn call_conductor(&mut self, Asking { id, timeout, .. }: Asking, body: Body, origin: Origin) {
        let message = self.message(body, origin);
        self.link.call(id, Target::nova("conductor"), message, timeout.unwrap_or_default());
    }

    fn message(&mut self, body: Body, origin: Origin) -> Message {
        let context = body.context(self.contexts.get(origin).clone());
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
            sessions: &mut self.sessions,
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
        let Some(asked) = self.asked.remove(&id) else { return }; // given up before
        let result = match (&asked.request, answer) {
            (Request::Conductor(call), Ok(value)) => {
                let documents = self.records.answered(asked.origin, call);
                Ok(nova::reply(call, value, &self.identity.host, &mut self.rows, documents))
            }
            (Request::Step(step), Ok(value)) => {
                Ok(self.operations.read(&common.catalogue, &mut self.records.kept, step, value))
            }
            (Request::Agent(call), Ok(value)) => Ok(self.agent.answered(call, &value)),
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
        let Some(asked) = self.asked.remove(&id) else { return };
        let result = match answer {
            Some(answer) => match &asked.request {
                Request::Step(step) => self.read_step(common, step, answer, asked.origin),
                request => self.client(common, asked.origin).decode(request, answer),
            },
            None => Err(Fault::Disconnected),
        };
        self.finish(common, now, id, asked, result, effects);
    }

    fn read_step(
        &mut self,
        common: &Common,
        step: &StepMessage,
        answer: HttpAnswer,
        origin: Origin,
    ) -> Result<Response, Fault> {
        let fine = answer.status < 400 || self.operations.accepts(&common.catalogue, step, answer.status);
        if !fine {
            return Err(Fault::Http(answer.status));
        }
        if let Some(instance) = self.operations.asks_for_networks(&common.catalogue, step) {
            self.client(common, origin).keep_networks(instance, &answer.body);
        }
        Ok(self.operations.read(&common.catalogue, &mut self.records.kept, step, answer.body))
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

    /// Notes the calls whose time is over; the state machine has given them up by itself.
    fn give_up(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let machine = &self.machine;
        let over: Vec<RequestId> = self.asked.keys().copied().filter(|id| !machine.awaits(*id)).collect();
        for id in over {
            let Some(asked) = self.asked.remove(&id) else { continue };
            effects.push(Effect::Finished {
                request: asked.request,
                took: now - asked.sent,
                result: Err(Fault::TimedOut),
            });
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
        for push in self.agent.heard(request) {
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

    /// Takes an RPC on that the release's data has a procedure for; gives others back.
    fn begin(
        &mut self,
        common: &Common,
        now: Time,
        mut incoming: Incoming,
        effects: &mut Vec<Effect>,
    ) -> Option<Incoming> {
        let (node_id, offloads_at_once) = (self.rows.node_id(), common.config.options.offloads_at_once);
        let facts = Facts { identity: &self.identity, node_id, offloads_at_once };
        let begun = self.operations.begin(&common.catalogue, &mut self.records.kept, facts, &mut incoming);
        let Some(operation) = begun else { return Some(incoming) };
        let ticket = self.ticket(incoming.context);
        self.handle(common, now, Input::Rpc { ticket, rpc: Rpc::Operation(operation) }, effects);
        None
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
        let (link, beside) = (self.link, self.agent.close());
        async move {
            tokio::join!(link.close(farewell), beside.close(farewell));
        }
    }
}
