//! Which part of a trace belongs to which RPC.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::trace::{Direction, Event, Trace};

/// One RPC to a hypervisor, and everything it said because of it.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    pub(crate) host: String,
    /// The RPC as it came.
    pub(crate) message: Value,
    /// In order, each with its answer.
    pub(crate) said: Vec<Said>,
}

/// Something that was said, and what was answered.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) event: Event,
    /// The reply to a call; of HTTP requests the event itself has the answer.
    pub(crate) reply: Option<Value>,
}

impl Invocation {
    pub(crate) fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    fn request_id(&self) -> &Value {
        &self.message["_context_request_id"]
    }

    /// What goes out over HTTP carries the id that is global, if there is one.
    fn global_id(&self) -> &Value {
        let global = &self.message["_context_global_request_id"];
        if global.is_null() { self.request_id() } else { global }
    }

    fn owns(&self, event: &Event) -> bool {
        let fields = &event.what.fields;
        match event.what.name.as_str() {
            "http" => fields["headers"]["x-openstack-request-id"] == *self.global_id(),
            _ if !fields["message"]["method"].is_null() => {
                fields["message"]["_context_request_id"] == *self.request_id()
            }
            // A reply.
            _ => fields["message"]["_msg_id"] == self.message["_msg_id"],
        }
    }

    /// The action event that the method is wrapped in.
    fn event_name(&self) -> String {
        format!("compute_{}", self.method())
    }
}

/// The RPCs of a trace, in the order they came, with what each made the hypervisor say.
pub(crate) fn invocations(trace: &Trace) -> Vec<Invocation> {
    let replies = replies(trace);
    let mut found: Vec<Invocation> = Vec::new();
    let mut node_owner = None;
    for event in &trace.events {
        if event.is_request_to_it() {
            let message = event.what.fields["message"].clone();
            found.push(Invocation { host: trace.host.clone(), message, said: Vec::new() });
            continue;
        }
        let speaks = event.direction == Direction::Sent && matches!(event.what.name.as_str(), "basic.publish" | "http");
        if !speaks {
            continue;
        }
        // The compute node's record is kept with the context of the start-up that made it.
        let owner = if object_name(event) == Some("ComputeNode") { node_owner } else { owner(&found, event) };
        let Some(owner) = owner else { continue };
        if event.what.fields["message"]["args"]["objmethod"] == "get_by_compute_host" {
            node_owner = Some(owner);
        }
        let reply = event.what.fields["message"]["_msg_id"].as_str().and_then(|id| replies.get(id)).cloned();
        found[owner].said.push(Said { event: event.clone(), reply });
    }
    found
}

fn object_name(event: &Event) -> Option<&str> {
    event.what.fields["message"]["args"]["objinst"]["nova_object.name"].as_str()
}

/// Replies to the hypervisor's own calls by message id.
fn replies(trace: &Trace) -> BTreeMap<&str, Value> {
    let received = trace.events.iter().filter(|event| event.what.name == "basic.deliver");
    let replies = received.map(|event| &event.what.fields["message"]).filter(|message| message["method"].is_null());
    // A sign of life has no result.
    let replies = replies.filter(|message| message["ending"] != false);
    replies.filter_map(|message| Some((message["_msg_id"].as_str()?, message.clone()))).collect()
}

/// The latest of those it can belong to; the end of an action event belongs to the method that it names.
fn owner(found: &[Invocation], event: &Event) -> Option<usize> {
    let owners: Vec<usize> = (0..found.len()).filter(|index| found[*index].owns(event)).collect();
    let args = &event.what.fields["message"]["args"];
    if args["objname"] == "InstanceActionEvent"
        && let Some(named) = owners.iter().rev().find(|index| args["args"][1] == found[**index].event_name().as_str())
    {
        return Some(*named);
    }
    owners.last().copied()
}
