//! Counting what a hypervisor's relays see, instead of keeping it: a window of many minutes would not fit into memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::trace::{Direction, What};

/// What a figure is about, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Servers that came up and went.
    Servers,
    /// Calls of nova-compute to the conductor, by object and method.
    Conductor,
    /// What else nova-compute said and was told over RPC.
    Rpc,
    /// All messages of nova-compute and the bytes of their bodies.
    Amqp,
    /// HTTP requests of nova-compute.
    Http,
    /// Messages of the L2 agent, for which nova-compute is not to blame.
    Agent,
    /// MariaDB's own counters of statements.
    Database,
    /// CPU of each service's processes, in seconds.
    Cpu,
}

impl Group {
    /// Whether its figures count what nova-compute asks for.
    pub(crate) fn is_requests(self) -> bool {
        matches!(self, Self::Conductor | Self::Http)
    }
}

/// A host has cleaned up after a VM that was deleted: a periodic task does it for all of a time.
pub(crate) const CLEANED: &str = "Instance.save (cleaned)";

/// Name of one figure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) group: Group,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(group: Group, name: impl Into<String>) -> Self {
        Self { group, name: name.into() }
    }
}

/// Figures at one moment, or what they grew by between two.
pub(crate) type Figures = BTreeMap<Key, f64>;

/// What was counted so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    figures: Figures,
    /// What was asked for, of all kinds.
    requests: u64,
    /// Calls that wait for their answers, by message id: an answer does not say to what.
    waiting: BTreeMap<String, (Group, String)>,
}

impl Tally {
    pub(crate) fn figures(&self) -> &Figures {
        &self.figures
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    pub(crate) fn count(&mut self, direction: Direction, what: &What) {
        match what.name.as_str() {
            "http" => self.add(Group::Http, request(&what.fields), 1.0),
            "basic.publish" | "basic.deliver" => self.message(direction, &what.fields),
            _ => {}
        }
    }

    fn message(&mut self, direction: Direction, fields: &Value) {
        let message = &fields["message"];
        let id = message["_msg_id"].as_str().unwrap_or_default();
        let (group, name) = match (direction, message["method"].is_string()) {
            (Direction::Sent, true) => self.request_of_it(id, fields),
            (Direction::Sent, false) => (Group::Rpc, "answers to others".to_owned()),
            (Direction::Received, true) => (Group::Rpc, format!("told: {}", words(&message["method"]))),
            (Direction::Received, false) => self.answer(id, message),
        };
        let bytes = fields["bytes"].as_f64().unwrap_or_default();
        let way = if direction == Direction::Sent { "sent" } else { "received" };
        if group == Group::Agent {
            self.add(Group::Agent, format!("messages {way}"), 1.0);
            self.add(Group::Agent, format!("bytes {way}"), bytes);
        } else {
            self.add(Group::Amqp, format!("messages {way}"), 1.0);
            self.add(Group::Amqp, format!("bytes {way}"), bytes);
        }
        // An answer is one for each call: only calls without one would be news, and those are in the sums.
        if !name.is_empty() {
            self.add(group, name, 1.0);
        }
    }

    /// Something that the hypervisor asks or tells.
    fn request_of_it(&mut self, id: &str, fields: &Value) -> (Group, String) {
        let message = &fields["message"];
        let (method, key) = (words(&message["method"]), words(&fields["routing_key"]));
        let (group, name) = match key {
            // Of nova-compute's topics none begins like this, of Neutron's all do.
            _ if key.starts_with("q-") => (Group::Agent, format!("{key}: {method}")),
            "conductor" => (Group::Conductor, conductor_call(method, &message["args"])),
            "" => (Group::Rpc, format!("{}: {method}", words(&fields["exchange"]))),
            _ => (Group::Rpc, format!("{}: {method}", topic(key))),
        };
        if !id.is_empty() {
            self.waiting.insert(id.to_owned(), (group, String::new()));
        }
        (group, name)
    }

    fn answer(&mut self, id: &str, message: &Value) -> (Group, String) {
        let unknown = || (Group::Rpc, "answers to nothing it asked".to_owned());
        // Before the last part of an answer the call still waits.
        match message["ending"] == false {
            true => self.waiting.get(id).cloned().unwrap_or_else(unknown),
            false => self.waiting.remove(id).unwrap_or_else(unknown),
        }
    }

    fn add(&mut self, group: Group, name: impl Into<String>, by: f64) {
        self.requests += u64::from(group.is_requests());
        *self.figures.entry(Key::new(group, name)).or_default() += by;
    }
}

fn words(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A topic on one host is the same topic on every host.
fn topic(key: &str) -> &str {
    key.split('.').next().unwrap_or(key)
}

/// `Object.method`, or the method of the conductor itself.
fn conductor_call(method: &str, args: &Value) -> String {
    match method {
        "object_action" if cleans_up(&args["objinst"]) => CLEANED.to_owned(),
        "object_action" => format!("{}.{}", words(&args["objinst"]["nova_object.name"]), words(&args["objmethod"])),
        "object_class_action_versions" => format!("{}.{}", words(&args["objname"]), words(&args["objmethod"])),
        "object_backport_versions" => format!("backport {}", words(&args["objinst"]["nova_object.name"])),
        _ => method.to_owned(),
    }
}

fn cleans_up(instance: &Value) -> bool {
    instance["nova_object.changes"].as_array().is_some_and(|fields| fields.iter().any(|field| field == "cleaned"))
}

/// Service, method, and the shape of the path: identifiers and names of a run stand for all of their kind.
fn request(fields: &Value) -> String {
    let path: Vec<&str> = words(&fields["path"]).split('/').map(shape).collect();
    let query = words(&fields["query"]);
    let mut keys: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair)).collect();
    keys.dedup();
    let query = if keys.is_empty() { String::new() } else { format!("?{}", keys.join("&")) };
    format!("{} {} {}{query}", words(&fields["service"]), words(&fields["method"]), path.join("/"))
}

fn shape(segment: &str) -> &str {
    let is_id = segment.len() >= 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    match segment {
        _ if is_id => "{id}",
        _ if segment.starts_with("kagemusha-") => "{name}",
        _ => segment,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn publish(key: &str, message: Value) -> What {
        What::amqp(
            "basic.publish",
            1,
            json!({"exchange": "nova", "routing_key": key, "bytes": 100, "message": message}),
        )
    }

    fn deliver(message: Value) -> What {
        What::amqp("basic.deliver", 1, json!({"exchange": "", "routing_key": "x", "bytes": 10, "message": message}))
    }

    fn value(tally: &Tally, group: Group, name: &str) -> f64 {
        tally.figures().get(&Key::new(group, name)).copied().unwrap_or_default()
    }

    #[test]
    fn a_call_to_the_conductor_is_named_by_object_and_method() {
        let mut tally = Tally::default();
        let args = json!({"objinst": {"nova_object.name": "Service"}, "objmethod": "save"});
        let call = publish("conductor", json!({"method": "object_action", "_msg_id": "1", "args": args}));
        tally.count(Direction::Sent, &call);
        tally.count(Direction::Received, &deliver(json!({"_msg_id": "1", "result": null, "ending": true})));
        assert_eq!(value(&tally, Group::Conductor, "Service.save"), 1.0);
        assert_eq!(value(&tally, Group::Amqp, "bytes sent"), 100.0);
        assert_eq!(value(&tally, Group::Amqp, "bytes received"), 10.0);
        assert_eq!(tally.requests(), 1, "its answer is none");
        assert!(tally.waiting.is_empty());
        assert!(!tally.figures().keys().any(|key| key.group == Group::Rpc), "{tally:?}");
    }

    #[test]
    fn cleaning_up_is_told_from_other_saves() {
        let of = |changes: &[&str]| json!({"objinst": {"nova_object.name": "Instance", "nova_object.changes": changes}, "objmethod": "save"});
        let names = [&["system_metadata", "cleaned"][..], &["task_state"], &[]]
            .map(|changes| conductor_call("object_action", &of(changes)));
        assert_eq!(names, [CLEANED, "Instance.save", "Instance.save"]);
    }

    #[test]
    fn the_agent_is_counted_apart_with_its_answers() {
        let mut tally = Tally::default();
        let call = publish("q-plugin", json!({"method": "update_device_list", "_msg_id": "7", "args": {}}));
        tally.count(Direction::Sent, &call);
        tally.count(Direction::Received, &deliver(json!({"_msg_id": "7", "ending": true})));
        assert_eq!(value(&tally, Group::Agent, "q-plugin: update_device_list"), 1.0);
        assert_eq!(value(&tally, Group::Agent, "bytes received"), 10.0);
        assert!(!tally.figures().keys().any(|key| key.group == Group::Amqp), "{tally:?}");
    }

    #[test]
    fn what_it_is_told_and_what_it_tells_others_is_neither() {
        let mut tally = Tally::default();
        tally.count(Direction::Received, &deliver(json!({"method": "build_and_run_instance", "args": {}})));
        tally.count(Direction::Sent, &publish("compute.host-1", json!({"method": "ping", "args": {}})));
        tally.count(Direction::Received, &deliver(json!({"_msg_id": "nobody's", "ending": true})));
        assert_eq!(value(&tally, Group::Rpc, "told: build_and_run_instance"), 1.0);
        assert_eq!(value(&tally, Group::Rpc, "compute: ping"), 1.0);
        assert_eq!(value(&tally, Group::Rpc, "answers to nothing it asked"), 1.0);
    }

    #[test]
    fn requests_on_different_things_have_one_shape() {
        let id = "0d3c8f3a-1d5c-4a3a-9c55-2b7a6f3f0c11";
        let told = |path: String, query: &str| {
            request(&json!({"service": "neutron", "method": "GET", "path": path, "query": query}))
        };
        assert_eq!(told(format!("/v2.0/ports/{id}"), ""), "neutron GET /v2.0/ports/{id}");
        assert_eq!(told("/v2.0/ports".into(), "id=1&id=2&fields=x"), "neutron GET /v2.0/ports?id&fields");
        assert_eq!(told("/x/kagemusha-0123abcd-real-00001".into(), ""), "neutron GET /x/{name}");
    }
}
