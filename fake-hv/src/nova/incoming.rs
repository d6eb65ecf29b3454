//! Requests to the compute service, read.

use hypervisor::Rpc;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Documents, InstanceDocument,
    dispatch::{by_dispatcher, unsupported_version},
};
use crate::amqp::Raised;

/// What a request to the compute service comes to.
#[derive(Debug)]
pub(crate) enum Received {
    /// For the state machine.
    Rpc(Rpc),
    /// Events, with the records of the VMs that they are about.
    Events(Vec<Rpc>, Documents),
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
        (None, "external_instance_event") => external_event(args),
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
    let document = documents.entry(instance.uuid).or_insert_with(|| InstanceDocument::new(Value::Null));
    if document.build_request.is_some() {
        // The build goes on with the record that it has, until it lets go of the VM.
        document.next = Some(object);
    } else {
        document.object = object;
        document.ends = true;
    }
    Received::Rpc(Rpc::Terminate { instance })
}

/// One cast can carry several events of several VMs. Events of kinds that start no work here are dropped, as a
/// nova-compute drops events that nobody waits for.
fn external_event(mut args: Map<String, Value>) -> Received {
    let mut documents = Documents::new();
    if let Some(Value::Array(told)) = args.remove("instances") {
        let records = told.into_iter().filter_map(|object| Some((InstanceDocument::instance(&object)?.uuid, object)));
        documents.extend(records.map(|(uuid, object)| (uuid, InstanceDocument::new(object))));
    }
    let events = args.get("events").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let rpc = |event: &Value| {
        let data = &event["nova_object.data"];
        let uuid = |name: &str| data[name].as_str()?.parse::<Uuid>().ok();
        let (instance, port) = (uuid("instance_uuid")?, uuid("tag")?);
        let has_cache = documents.get(&instance).is_some_and(|document| document.field("info_cache").is_object());
        match data["name"].as_str()? {
            "network-vif-plugged" => Some(Rpc::VifPlugged { instance, port }),
            "network-vif-deleted" if has_cache => Some(Rpc::VifDeleted { instance, port }),
            "network-changed" if has_cache => Some(Rpc::NetworkChanged { instance, port }),
            _ => None,
        }
    };
    Received::Events(events.iter().filter_map(rpc).collect(), documents)
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
    fn events_are_about_the_records_that_come_with_them() {
        let (vm, other, port) = (Uuid::from_u128(1), Uuid::from_u128(2), Uuid::from_u128(3));
        let event =
            |name: &str, vm: Uuid| json!({"nova_object.data": {"name": name, "instance_uuid": vm, "tag": port}});
        let cache = json!({"nova_object.data": {"network_info": "[]"}});
        let args = json!({
            "instances": [{"nova_object.data": {"uuid": vm, "info_cache": cache}}],
            "events": [event("network-changed", vm), event("network-changed", other), event("volume-extended", vm)],
        });
        let Received::Events(rpcs, documents) =
            receive("external_instance_event", None, "6.0", args, &mut Documents::new())
        else {
            panic!("events")
        };
        assert_eq!(rpcs, [Rpc::NetworkChanged { instance: vm, port }]);
        assert_eq!(documents.keys().collect::<Vec<_>>(), [&vm]);
    }

    #[test]
    fn network_none_asks_for_no_port() {
        let requested = json!({"nova_object.data": {"objects": [{"nova_object.data": {"network_id": "none"}}]}});
        assert!(networks(&requested).is_empty());
    }
}
