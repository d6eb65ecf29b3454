//! What a hypervisor said, sorted by the request that made it say it. Requests are carried out by threads of their own, and
//! which of two threads speaks first is chance; within one of them it is not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Names;
use crate::trace::{Direction, Event, Trace};

/// What was said because of one request, in order.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// The RPC, or who speaks by itself.
    pub(crate) name: String,
    /// Each with its short name.
    pub(crate) said: Vec<(String, Value)>,
}

/// Sorts a trace into lanes, in the order they begin.
pub(crate) fn lanes(trace: &Trace, names: &mut Names, by_itself: &str) -> Vec<Lane> {
    let mut sorter = Sorter { lanes: Vec::new(), by_request: BTreeMap::new(), node_lane: None, by_itself };
    for event in &trace.events {
        sorter.sort(event);
    }
    sorter.lanes.into_iter().map(|(name, events)| lane(name, &events, names)).collect()
}

struct Sorter<'a> {
    lanes: Vec<(String, Vec<&'a Event>)>,
    /// Lane by request id.
    by_request: BTreeMap<String, usize>,
    node_lane: Option<usize>,
    by_itself: &'a str,
}

impl<'a> Sorter<'a> {
    fn sort(&mut self, event: &'a Event) {
        let fields = &event.what.fields;
        let message = &fields["message"];
        if event.is_request_to_it() {
            return self.begin(message);
        }
        if event.direction != Direction::Sent || !matches!(event.what.name.as_str(), "basic.publish" | "http") {
            return;
        }
        // The L2 agent speaks on connections of its own; it is compared by itself.
        if fields["exchange"] == "neutron" {
            return;
        }
        let args = &message["args"];
        let lane = match (&*event.what.name, args["objinst"]["nova_object.name"].as_str()) {
            ("http", _) => self.lane_of(&fields["headers"]["x-openstack-request-id"]),
            // Its record has the context of the start-up that made it.
            (_, Some("ComputeNode")) if self.node_lane.is_some() => self.node_lane,
            _ if message["method"].is_null() => self.lane_of(&message["_msg_id"]),
            _ => self.lane_of(&message["_context_request_id"]),
        };
        let lane = lane.unwrap_or_else(|| self.named(self.by_itself));
        if args["objmethod"] == "get_by_compute_host" {
            self.node_lane = Some(lane);
        }
        self.lanes[lane].1.push(event);
    }

    /// An RPC begins a lane, or goes on in that of the same request.
    fn begin(&mut self, message: &Value) {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let (request, global) = (text("_context_request_id"), text("_context_global_request_id"));
        let lane = match self.by_request.get(&request) {
            Some(lane) => *lane,
            None => {
                self.lanes.push((text("method"), Vec::new()));
                self.lanes.len() - 1
            }
        };
        for id in [request, global, text("_msg_id")].into_iter().filter(|id| !id.is_empty()) {
            self.by_request.insert(id, lane);
        }
    }

    fn lane_of(&self, id: &Value) -> Option<usize> {
        self.by_request.get(id.as_str()?).copied()
    }

    fn named(&mut self, name: &str) -> usize {
        match self.lanes.iter().position(|(known, _)| known == name) {
            Some(lane) => lane,
            None => {
                self.lanes.push((name.to_owned(), Vec::new()));
                self.lanes.len() - 1
            }
        }
    }
}

fn lane(name: String, events: &[&Event], names: &mut Names) -> Lane {
    // A method may leave its work to another thread, and which of the two speaks first is chance.
    let is_end = |event: &&&Event| event.what.fields["message"]["args"]["objmethod"] == "event_finish_with_failure";
    let ordered = events.iter().filter(|event| !is_end(event)).chain(events.iter().filter(is_end));
    Lane { name, said: ordered.map(|event| (short_name(event), normal(event, names))).collect() }
}

/// Object and method, or method and path.
pub(crate) fn short_name(event: &Event) -> String {
    let fields = &event.what.fields;
    if event.what.name == "http" {
        let path = fields["path"].as_str().unwrap_or_default();
        let is_id = |part: &&str| uuid::Uuid::try_parse(part).is_ok() || part.contains("kagemusha");
        let shape: Vec<&str> = path.split('/').map(|part| if is_id(&part) { "{id}" } else { part }).collect();
        let text = |name: &str| fields[name].as_str().unwrap_or_default().to_owned();
        return format!("{} {} {}", text("service"), text("method"), shape.join("/"));
    }
    let message = &fields["message"];
    let args = &message["args"];
    let object = args["objname"].as_str().or(args["objinst"]["nova_object.name"].as_str());
    match (object, args["objmethod"].as_str(), message["method"].as_str()) {
        (Some(object), Some(method), _) => format!("{object}.{method}"),
        (_, _, Some(method)) => method.to_owned(),
        _ => "reply".to_owned(),
    }
}

/// Everything about an event that should be the same.
fn normal(event: &Event, names: &mut Names) -> Value {
    let fields = &event.what.fields;
    if event.what.name == "http" {
        let headers = &fields["headers"];
        return names.normal(&json!({
            "service": fields["service"], "method": fields["method"], "path": fields["path"],
            "query": query(&fields["query"]), "microversion": headers["openstack-api-version"],
            "request_id": headers["x-openstack-request-id"], "token": headers["x-auth-token"],
            "service_token": headers["x-service-token"], "content_type": headers["content-type"], "body": fields["body"],
        }));
    }
    let mut message = fields["message"].clone();
    if let Some(message) = message.as_object_mut() {
        // Unique in each message.
        for name in ["_msg_id", "_unique_id", "_reply_q"] {
            if let Some(id) = message.get_mut(name) {
                *id = "<id>".into();
            }
        }
        if let Some(failure) = message.get_mut("failure").filter(|failure| failure.is_string()) {
            let mut told: Value = failure.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            // Where in whose code it was raised.
            told["tb"] = "<traceback>".into();
            *failure = told;
        }
    }
    let reply = fields["routing_key"].as_str().is_some_and(|key| key.starts_with("reply_"));
    names.normal(&json!({
        "exchange": fields["exchange"], "routing_key": if reply { "reply".into() } else { fields["routing_key"].clone() },
        "mandatory": fields["mandatory"], "properties": fields["properties"], "message": message,
    }))
}

/// The parts of a query in a fixed order: that of the original is the order of a dictionary.
fn query(query: &Value) -> Value {
    let mut parts: Vec<&str> = query.as_str().unwrap_or_default().split('&').collect();
    parts.sort_unstable();
    parts.join("&").into()
}
