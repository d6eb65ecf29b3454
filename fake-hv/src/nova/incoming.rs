//! Requests to the compute service, read.

use std::collections::BTreeMap;

use hypervisor::Rpc;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Documents, InstanceDocument,
    dispatch::{by_dispatcher, unsupported_version},
};
use crate::amqp::Raised;

/// Info caches of VMs that came with events: an event is about what Nova knew when it was sent, not about what is kept here.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct EventCaches {
    /// What a refresh begins with.
    pub(crate) to_refresh: BTreeMap<Uuid, Value>,
    /// Without the port that was deleted.
    pub(crate) to_save: BTreeMap<Uuid, Value>,
}

/// What a request to the compute service comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    /// For the state machine.
    Rpc(Rpc),
    /// Events, with the info caches of the VMs that came with them.
    Events(Vec<Rpc>, EventCaches),
    /// Answered by the transport layer of every nova service: `ping` of the base API.
    Pong(Value),
    /// A method that the fake driver does not support either.
    Refused(Raised),
    /// A method this compute service does not have.
    Unknown(Raised),
}

/// Reads a request, and takes over the records it brings.
pub(crate) fn receive(
    method: &str,
    namespace: Option<&str>,
    version: &str,
    args: Value,
    documents: &mut Documents,
) -> Received {
    let Value::Object(mut args) = args else { return malformed(method, "arguments are not an object") };
    match (namespace, method) {
        (Some("baseapi"), "ping") => Received::Pong(pong(args.remove("arg"))),
        (None, "build_and_run_instance") => build(args, documents),
        (None, "terminate_instance") => terminate(args, documents),
        (None, "external_instance_event") => external_event(&args),
        // Without it `openstack hypervisor list` fails: the API takes this exception for "not known", and no other.
        (None, "get_host_uptime") => Received::Refused(Raised {
            class: "NotImplementedError".into(),
            module: "builtins".into(),
            message: String::new(),
            kwargs: Value::Null,
        }),
        _ => Received::Unknown(unsupported_version(version, method)),
    }
}

fn pong(arg: Option<Value>) -> Value {
    serde_json::json!({"service": "compute", "arg": arg})
}

fn malformed(method: &str, what: &str) -> Received {
    Received::Unknown(by_dispatcher("RemoteError", format!("{method}: {what}")))
}

fn build(mut args: Map<String, Value>, documents: &mut Documents) -> Received {
    let object = args.remove("instance").unwrap_or_default();
    let Some(instance) = InstanceDocument::instance(&object) else {
        return malformed("build_and_run_instance", "no instance");
    };
    let networks = networks(args.get("requested_networks").unwrap_or(&Value::Null));
    let mut document = InstanceDocument::new(object);
    document.build_request = Some(args);
    let group = document.build_request.as_ref().and_then(anti_affinity_group);
    let filters = document.build_request.as_ref().and_then(|request| request.get("filter_properties"));
    let retry = filters.is_some_and(|filters| filters["retry"].is_object());
    let disks = document.build_request.as_ref().and_then(|request| request.get("block_device_mapping"));
    let name = disks.and_then(|disks| disks.pointer("/nova_object.data/objects/0/nova_object.data/device_name"));
    let disk_named = name.is_some_and(Value::is_string);
    documents.insert(instance.uuid, document);
    Received::Rpc(Rpc::Build { instance, networks, group, retry, disk_named })
}

/// The networks that were asked for; `none` asks for no network at all.
fn networks(requested: &Value) -> Vec<Uuid> {
    let Some(requests) = requested.pointer("/nova_object.data/objects").and_then(Value::as_array) else {
        return Vec::new();
    };
    let network = |request: &Value| request["nova_object.data"]["network_id"].as_str()?.parse().ok();
    requests.iter().filter_map(network).collect()
}

/// The group that the scheduler was told of, if the members of it may not share a host.
fn anti_affinity_group(request: &Map<String, Value>) -> Option<Uuid> {
    let spec = &request.get("request_spec")?["nova_object.data"];
    let group = &spec["instance_group"]["nova_object.data"];
    let hinted = &spec["scheduler_hints"]["group"];
    let hinted = hinted.get(0).unwrap_or(hinted).as_str()?;
    (group["policy"] == "anti-affinity").then(|| hinted.parse().ok()).flatten()
}

fn terminate(mut args: Map<String, Value>, documents: &mut Documents) -> Received {
    let object = args.remove("instance").unwrap_or_default();
    let Some(instance) = InstanceDocument::instance(&object) else {
        return malformed("terminate_instance", "no instance");
    };
    match documents.get_mut(&instance.uuid) {
        // The build goes on with the record that it has, until it lets go of the VM.
        Some(document) if document.build_request.is_some() => document.next = Some(object),
        Some(document) => document.object = object,
        None => {
            documents.insert(instance.uuid, InstanceDocument::new(object));
        }
    }
    Received::Rpc(Rpc::Terminate { instance })
}

/// One cast can carry several events of several VMs. Events of kinds that start no work here are dropped, as a
/// nova-compute drops events that nobody waits for.
fn external_event(args: &Map<String, Value>) -> Received {
    let events = args.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut caches = EventCaches::default();
    let mut rpcs = Vec::new();
    for event in events {
        let data = &event["nova_object.data"];
        let uuid = |name: &str| data[name].as_str().and_then(|text| text.parse::<Uuid>().ok());
        let (Some(instance), Some(port)) = (uuid("instance_uuid"), uuid("tag")) else { continue };
        let told = told_of(args, instance);
        let cache = told.map(|object| object["nova_object.data"]["info_cache"].clone()).filter(Value::is_object);
        match data["name"].as_str() {
            Some("network-vif-plugged") => rpcs.push(Rpc::VifPlugged { instance, port }),
            Some("network-vif-deleted") => {
                if let Some(cache) = cache.and_then(|cache| InstanceDocument::cache_without(cache, port)) {
                    caches.to_save.insert(instance, cache);
                    rpcs.push(Rpc::VifDeleted { instance, port });
                }
            }
            Some("network-changed") => {
                caches.to_refresh.extend(cache.map(|cache| (instance, cache)));
                rpcs.push(Rpc::NetworkChanged { instance, port });
            }
            _ => {}
        }
    }
    Received::Events(rpcs, caches)
}

/// The record of a VM that came with an event.
fn told_of(args: &Map<String, Value>, wanted: Uuid) -> Option<&Value> {
    let instances = args.get("instances").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    instances.iter().find(|object| InstanceDocument::instance(object).is_some_and(|instance| instance.uuid == wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_methods_are_refused_by_name() {
        let received = receive("dance", None, "6.0", json!({}), &mut Documents::new());
        assert!(
            matches!(received, Received::Unknown(raised) if raised.class == "UnsupportedVersion" && raised.message.contains("dance"))
        );
    }

    #[test]
    fn malformed_requests_do_not_panic() {
        for method in ["build_and_run_instance", "terminate_instance", "external_instance_event"] {
            for args in [json!(null), json!([]), json!({}), json!({"instance": 1}), json!({"events": [1, {}]})] {
                receive(method, None, "6.0", args, &mut Documents::new());
            }
        }
    }

    #[test]
    fn network_none_asks_for_no_port() {
        let requested = json!({"nova_object.data": {"objects": [{"nova_object.data": {"network_id": "none"}}]}});
        assert!(networks(&requested).is_empty());
    }
}
