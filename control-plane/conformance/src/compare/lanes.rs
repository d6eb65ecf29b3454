//! What a hypervisor said, sorted by the request that made it say it. Requests are carried out by threads of their own, and
//! which of two threads speaks first is chance; within one of them it is not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Names;
use crate::trace::{Direction, Event, Trace};

/// What was said because of one request, in order.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// The RPC, or what was said first by itself.
    pub(crate) name: String,
    /// Each with its short name.
    pub(crate) said: Vec<(String, Value)>,
}

/// Sorts a trace into lanes, in the order they begin. Ids are numbered anew in each, so that one difference does not lead to
/// others.
pub(crate) fn lanes(trace: &Trace, names: &Names) -> Vec<Lane> {
    let mut sorter = Sorter::default();
    for event in &trace.events {
        sorter.sort(event);
    }
    sorter.lanes.iter().flat_map(|lane| threads(lane)).map(|events| lane(&events, names)).collect()
}

/// What one request made the hypervisor say.
struct Events<'a> {
    /// The RPC; none: it spoke by itself.
    method: Option<String>,
    events: Vec<&'a Event>,
}

#[derive(Default)]
struct Sorter<'a> {
    lanes: Vec<Events<'a>>,
    /// Lane by request id.
    by_request: BTreeMap<String, usize>,
    node_lane: Option<usize>,
}

/// Stands for the request id of what is asked for on behalf of everybody.
const EXTENSIONS: &str = "extensions";
/// What has no request id: logging in.
const NO_REQUEST: &str = "";

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
            // Asked for by the first of several threads that finds the list too old.
            ("http", _) if fields["path"] == "/v2.0/extensions" => self.lane_of(&EXTENSIONS.into()),
            ("http", _) => self.lane_of(&fields["headers"]["x-openstack-request-id"]),
            // Its record has the context of the start-up that made it.
            (_, Some("ComputeNode")) if self.node_lane.is_some() => self.node_lane.unwrap_or_default(),
            _ if message["method"].is_null() => self.lane_of(&message["_msg_id"]),
            _ => self.lane_of(&message["_context_request_id"]),
        };
        if args["objmethod"] == "get_by_compute_host" {
            self.node_lane = Some(lane);
        }
        self.lanes[lane].events.push(event);
    }

    /// An RPC begins a lane, or goes on in that of the same request.
    fn begin(&mut self, message: &Value) {
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let (request, global) = (text("_context_request_id"), text("_context_global_request_id"));
        let lane = match self.by_request.get(&request) {
            Some(lane) => *lane,
            None => self.add(Some(called(message))),
        };
        for id in [request, global, text("_msg_id")].into_iter().filter(|id| !id.is_empty()) {
            self.by_request.insert(id, lane);
        }
    }

    fn lane_of(&mut self, id: &Value) -> usize {
        let id = id.as_str().unwrap_or(NO_REQUEST);
        if let Some(lane) = self.by_request.get(id) {
            return *lane;
        }
        let lane = self.add(None);
        self.by_request.insert(id.to_owned(), lane);
        lane
    }

    fn add(&mut self, method: Option<String>) -> usize {
        self.lanes.push(Events { method, events: Vec::new() });
        self.lanes.len() - 1
    }
}

/// What Neutron reports that nobody waits for: a prefix of the names of its lanes.
pub(crate) const EVENT: &str = "external_instance_event";

/// The method; of an event also what it finds, for what it leads to depends on that.
fn called(message: &Value) -> String {
    let method = message["method"].as_str().unwrap_or_default();
    if method != EVENT {
        return method.to_owned();
    }
    let list = |name: &str| message["args"][name].as_array().map(Vec::as_slice).unwrap_or_default();
    let kinds: Vec<&str> = list("events").iter().filter_map(|it| it["nova_object.data"]["name"].as_str()).collect();
    let found: Vec<String> = list("instances").iter().map(|it| found(&it["nova_object.data"])).collect();
    format!("{EVENT} ({}; {})", kinds.join(", "), found.join(", "))
}

fn found(vm: &Value) -> String {
    let cache = vm["info_cache"]["nova_object.data"]["network_info"].as_str().unwrap_or("[]");
    let ports = serde_json::from_str::<Vec<Value>>(cache).map_or(0, |ports| ports.len());
    format!("{} ports known, {}, task {}", ports, vm["vm_state"], vm["task_state"])
}

/// Where a request is carried out by several threads, each of them is a lane: which of them speaks first is chance.
fn threads<'a>(lane: &Events<'a>) -> Vec<Events<'a>> {
    match lane.method.as_deref() {
        Some("build_and_run_instance") => threads_of_build(lane),
        None if lane.events.iter().any(|event| vm_refreshed(event).is_some()) => threads_of_power_sync(lane),
        _ => vec![Events { method: lane.method.clone(), events: lane.events.clone() }],
    }
}

/// A build makes its ports in a thread of their own.
fn threads_of_build<'a>(lane: &Events<'a>) -> Vec<Events<'a>> {
    let (network, rest): (Vec<&Event>, Vec<&Event>) = lane.events.iter().partition(|event| is_about_network(event));
    [("build_and_run_instance", rest), ("build_and_run_instance, its network", network)]
        .map(|(name, events)| Events { method: Some(name.to_owned()), events })
        .into()
}

/// A pool of threads compares power states, one VM each; here they are in the order of their names.
fn threads_of_power_sync<'a>(lane: &Events<'a>) -> Vec<Events<'a>> {
    let mut vms: Vec<(&Value, &Value)> = lane.events.iter().filter_map(|event| vm_refreshed(event)).collect();
    vms.sort_unstable_by_key(|(name, _)| name.as_str());
    vms.dedup();
    let (mut rest, mut of_vms) = (Vec::new(), vec![Vec::new(); vms.len()]);
    for event in &lane.events {
        let args = &event.what.fields["message"]["args"];
        let (object, first) = (&args["objinst"]["nova_object.data"]["uuid"], &args["args"][0]);
        match vms.iter().position(|(_, uuid)| *uuid == object || *uuid == first) {
            Some(vm) => of_vms[vm].push(*event),
            None => rest.push(*event),
        }
    }
    std::iter::once(rest).chain(of_vms).map(|events| Events { method: None, events }).collect()
}

/// Name and UUID of the VM whose record a thread of the power state sync reads again.
fn vm_refreshed(event: &Event) -> Option<(&Value, &Value)> {
    let args = &event.what.fields["message"]["args"];
    let object = &args["objinst"];
    let vm = &object["nova_object.data"];
    (args["objmethod"] == "refresh" && object["nova_object.name"] == "Instance")
        .then(|| (&vm["display_name"], &vm["uuid"]))
}

fn is_about_network(event: &Event) -> bool {
    let fields = &event.what.fields;
    let object = &fields["message"]["args"]["objinst"]["nova_object.name"];
    fields["service"] == "neutron" || object == "VirtualInterface" || object == "InstanceInfoCache"
}

fn lane(lane: &Events<'_>, names: &Names) -> Lane {
    // A method may leave its work to another thread, and which of the two speaks first is chance.
    let is_end = |event: &&&Event| event.what.fields["message"]["args"]["objmethod"] == "event_finish_with_failure";
    let ordered = lane.events.iter().filter(|event| !is_end(event)).chain(lane.events.iter().filter(is_end));
    let mut names = names.clone();
    let mut said: Vec<(String, Value)> = Vec::new();
    for event in ordered {
        let name = short_name(event);
        // The consumers of a provider are looked at one after another, in no order; which there are by then is chance.
        let among_consumers = name == OF_CONSUMER && said.last().is_some_and(|(last, _)| last == OF_PROVIDER);
        let one_more = name == OF_CONSUMER && said.last().is_some_and(|(_, value)| value == CONSUMERS);
        if one_more {
            continue;
        }
        let value = if among_consumers { CONSUMERS.into() } else { normal(event, &mut names) };
        said.push((name, value));
    }
    let name = match (&lane.method, said.first()) {
        (Some(method), _) => method.clone(),
        (None, first) => format!("by itself, {}", first.map_or("nothing", |(name, _)| name)),
    };
    Lane { name, said }
}

const OF_PROVIDER: &str = "placement GET /resource_providers/{id}/allocations";
const OF_CONSUMER: &str = "placement GET /allocations/{id}";
/// Stands for the allocations of every consumer of a provider.
const CONSUMERS: &str = "<of each consumer>";

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
    // Numbers among positional arguments are ids of rows.
    for argument in message.pointer_mut("/args/args").and_then(Value::as_array_mut).into_iter().flatten() {
        if argument.is_number() {
            *argument = "<number>".into();
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::What;

    fn event(direction: Direction, name: &str, fields: Value) -> Event {
        Event { at_us: 0, connection: 1, direction, what: What { name: name.to_owned(), channel: 1, fields } }
    }

    fn rpc(method: &str, request: &str) -> Event {
        let message = json!({"method": method, "_context_request_id": request, "args": {}});
        event(Direction::Received, "basic.deliver", json!({"message": message}))
    }

    fn query(object: &str, request: &str, argument: &Value) -> Event {
        let args = json!({"objname": object, "objmethod": "get", "args": [argument]});
        let message = json!({"method": "object_class_action_versions", "_context_request_id": request, "args": args});
        event(Direction::Sent, "basic.publish", json!({"exchange": "nova", "message": message}))
    }

    fn sorted(events: Vec<Event>) -> Vec<(String, Vec<String>)> {
        let trace = Trace { host: "h".to_owned(), events };
        let lanes = lanes(&trace, &Names::new(Vec::new()));
        lanes.into_iter().map(|lane| (lane.name, lane.said.into_iter().map(|(name, _)| name).collect())).collect()
    }

    #[test]
    fn what_two_requests_led_to_is_told_apart_however_it_is_mixed() {
        let found = sorted(vec![
            rpc("stop_instance", "req-1"),
            rpc("reboot_instance", "req-2"),
            query("B", "req-2", &json!(1)),
            query("A", "req-1", &json!(1)),
            query("C", "req-2", &json!(1)),
            query("D", "req-3", &json!(1)),
        ]);
        let expected = [
            ("stop_instance", vec!["A.get"]),
            ("reboot_instance", vec!["B.get", "C.get"]),
            ("by itself, D.get", vec!["D.get"]),
        ];
        let expected = expected.map(|(name, said)| (name.to_owned(), said.into_iter().map(str::to_owned).collect()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_network_of_a_build_is_a_thread_of_its_own() {
        let http = json!({"service": "neutron", "method": "POST", "path": "/v2.0/ports", "query": "",
            "headers": {"x-openstack-request-id": "req-1"}, "body": {}});
        let found = sorted(vec![
            rpc("build_and_run_instance", "req-1"),
            event(Direction::Sent, "http", http),
            query("A", "req-1", &json!(1)),
        ]);
        assert_eq!(found[0], ("build_and_run_instance".to_owned(), vec!["A.get".to_owned()]));
        assert_eq!(found[1].1, ["neutron POST /v2.0/ports"]);
    }

    #[test]
    fn threads_that_compare_power_states_may_speak_in_any_order() {
        let refresh = |vm: &str| {
            let object = json!({"nova_object.name": "Instance", "nova_object.data": {"display_name": vm, "uuid": vm}});
            let message = json!({"method": "object_action", "_context_request_id": "req-1",
                "args": {"objinst": object, "objmethod": "refresh"}});
            event(Direction::Sent, "basic.publish", json!({"exchange": "nova", "message": message}))
        };
        let stop = || query("InstanceAction", "req-1", &json!("b"));
        let one = sorted(vec![query("List", "req-1", &json!("host")), refresh("a"), refresh("b"), stop()]);
        let names = |said: &[&str]| said.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let lanes: Vec<_> = one.iter().map(|(_, said)| said.clone()).collect();
        let expected =
            [names(&["List.get"]), names(&["Instance.refresh"]), names(&["Instance.refresh", "InstanceAction.get"])];
        assert_eq!(lanes, expected);
        assert_eq!(one, sorted(vec![query("List", "req-1", &json!("host")), refresh("b"), stop(), refresh("a")]));
    }

    #[test]
    fn numbers_of_rows_and_ids_do_not_matter_where_they_agree_within_a_lane() {
        let said = |id: &str, number: u64| {
            let trace = Trace {
                host: "h".to_owned(),
                events: vec![query("A", "req-1", &json!(number)), query("A", "req-1", &json!(id))],
            };
            lanes(&trace, &Names::new(Vec::new())).remove(0).said
        };
        let one = said("0dd0ae4e-6e1c-4c0f-8f8e-3f5a2b1c0d9e", 1);
        assert_eq!(one, said("7dd0ae4e-6e1c-4c0f-8f8e-3f5a2b1c0d9e", 7));
        assert_ne!(one, said("not an id", 7));
    }
}
