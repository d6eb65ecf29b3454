//! What would have ended a host, or stayed with it for ever.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Asked, LoneHost, Records};
use crate::amqp::read_request;

const VM: &str = "b61f6df3-c1dc-4cfa-911a-55529030333d";

fn vm(sizes: Value) -> Value {
    let flavor = json!({"nova_object.name": "Flavor", "nova_object.data": sizes});
    json!({"nova_object.name": "Instance", "nova_object.namespace": "nova", "nova_object.version": "2.8",
        "nova_object.data": {"uuid": VM, "flavor": flavor}})
}

/// A question's number among those of [`Records`], by its message.
fn number_of(records: &Records, name: &str) -> usize {
    records.names().iter().position(|known| *known == name).expect("it is asked")
}

fn body(inner: &Value) -> Vec<u8> {
    json!({"oslo.version": "2.0", "oslo.message": inner.to_string()}).to_string().into_bytes()
}

/// Start-up, with answers that say nothing.
fn started() -> LoneHost {
    let mut host = LoneHost::new(true);
    answer_all(&mut host);
    assert!(host.serves(), "start-up is over");
    host
}

fn answer_all(host: &mut LoneHost) {
    answer_all_on(host, &Value::Null);
}

/// Likewise, but with these nodes.
fn answer_all_on(host: &mut LoneHost, nodes: &Value) {
    while let Some(asked) = host.next_asked() {
        match asked {
            Asked::Call(id, request) if request.args["objmethod"] == "get_all_by_uuids" => {
                host.answer_call(id, Ok(nodes.clone()));
            }
            Asked::Call(id, _) => host.answer_call(id, Ok(Value::Null)),
            Asked::Http(id, ..) => host.answer_http(id, Some((200, Some("token"), json!({})))),
        }
    }
}

#[test]
fn sizes_that_overflow_are_no_end() {
    let huge = json!({"vcpus": u64::MAX, "memory_mb": u64::MAX, "root_gb": u64::MAX, "ephemeral_gb": u64::MAX});
    let mut host = started();
    let args = json!({"instance": vm(huge), "image": {}, "request_spec": {}, "filter_properties": {"retry": 5},
        "accel_uuids": []});
    let build = json!({"method": "build_and_run_instance", "version": "6.0", "args": args});
    assert!(read_request(&body(&build)).is_some());
    host.receive(&body(&build));
    answer_all(&mut host);
    let kept = host.kept();
    assert_eq!((kept.records, kept.guests), (0, 0), "it goes elsewhere");
}

#[test]
fn an_event_of_an_unknown_vm_leaves_no_record() {
    let mut host = started();
    let event = json!({"nova_object.data": {"name": "network-changed", "instance_uuid": VM, "tag": Uuid::nil()}});
    let args = json!({"instances": [vm(json!({}))], "events": [event]});
    host.receive(&body(&json!({"method": "external_instance_event", "version": "6.0", "args": args})));
    answer_all(&mut host);
    assert_eq!(host.kept().records, 0);
}

#[test]
fn a_block_device_that_is_none_is_left_alone() {
    let mut records = Records::new(vm(json!({})));
    let number = number_of(&records, "BlockDeviceMappingList.get_by_instance_uuid");
    records.ask(number, 200, None, json!({"nova_object.data": {"objects": [[1]]}}));
    records.say_all();
}

#[test]
fn a_conductor_that_raises_on_a_ping_is_not_asked_at_once() {
    let mut host = LoneHost::new(true);
    let mut pings = 0;
    while let Some(asked) = host.next_asked() {
        if let Asked::Call(id, request) = asked
            && request.method == "ping"
        {
            pings += 1;
            assert_eq!(pings, 1, "no time has passed");
            let error = crate::amqp::ReplyError { class: "Boom".to_owned(), message: String::new() };
            host.answer_call(id, Err(error));
        }
    }
    while host.tick(Duration::from_secs(3)) {}
    let again =
        std::iter::from_fn(|| host.next_asked()).any(|asked| matches!(asked, Asked::Call(_, r) if r.method == "ping"));
    assert!(again, "it is asked after a pause");
}

/// A host at rest, after a start-up in which its nodes were these.
fn started_on(nodes: Value) -> LoneHost {
    let mut host = LoneHost::new(true);
    let nodes = json!({"nova_object.name": "ComputeNodeList", "nova_object.data": {"objects": nodes}});
    answer_all_on(&mut host, &nodes);
    while host.tick(Duration::from_secs(600)) {
        answer_all(&mut host);
    }
    host
}

#[test]
fn a_host_whose_node_is_another_hosts_is_none() {
    let node = json!({"nova_object.name": "ComputeNode", "nova_object.data": {"host": "realfake-1"}});
    let host = started_on(json!([node]));
    assert!(host.refused() && !host.serves(), "it has another name");
    assert_eq!(host.beats(), 0, "Nova is not told that it is up");
}

#[test]
fn a_node_that_is_none_is_no_reason_to_refuse() {
    let host = started_on(json!([1, {"nova_object.data": {}}]));
    assert!(host.serves() && !host.refused());
    assert!(host.beats() > 0, "Nova is told that it is up");
}
