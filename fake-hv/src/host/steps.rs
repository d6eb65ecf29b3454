//! What a host does on RPCs that its release's data has a procedure for.

use hypervisor::{Fault, Input, OperationId, Origin, Response, Rpc, StepMessage, Time};
use serde_json::Value;
use uuid::Uuid;

use super::{Asking, Common, Effect, Host};
use crate::{
    amqp::{Incoming, Message, Raised, Target},
    http::{HttpAnswer, HttpRequest},
    nova::{Facts, StepBody},
    timestamp,
};

impl Host {
    /// Takes an RPC on that the release's data has a procedure for; gives others back.
    pub(super) fn begin(
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

    /// A step of a procedure that has an answer.
    pub(super) fn ask_step(
        &mut self,
        common: &Common,
        Asking { id, timeout, origin }: Asking,
        step: &StepMessage,
        effects: &mut Vec<Effect>,
    ) -> Option<()> {
        let body = self.write_step(common, step)?;
        let timeout = timeout.unwrap_or_default();
        let context = self.contexts.get(origin).write();
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
    pub(super) fn tell_step(&mut self, common: &Common, step: &StepMessage, origin: Origin) {
        match self.write_step(common, step) {
            Some(StepBody::Rpc { topic, fanout, method, namespace, version, args, .. }) => {
                let context = self.contexts.get(origin).write();
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

    pub(super) fn read_step(
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

    /// The VM that the operation was about.
    pub(super) fn end(&mut self, id: OperationId, result: Result<Value, Raised>) -> Option<Uuid> {
        let (reply_to, vm) = self.operations.end(id);
        self.answer(reply_to, result);
        vm
    }
}
