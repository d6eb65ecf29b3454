//! Changes a script where it hurts: fields, methods, versions, missing keys, deep nesting. Bytes at random would be no JSON.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::script::lines;

/// One change in so many is left to the fuzzer, which changes bytes.
const BLIND: u32 = 16;
/// Below what `serde_json` reads (128), and around it.
const DEEPEST: usize = 140;
/// In a message, one descent in so many stops at each level.
const STOPS: u32 = 4;

const METHODS: &[&str] = &[
    "build_and_run_instance",
    "terminate_instance",
    "stop_instance",
    "start_instance",
    "reboot_instance",
    "resize_instance",
    "prep_resize",
    "finish_resize",
    "confirm_resize",
    "revert_resize",
    "finish_revert_resize",
    "rebuild_instance",
    "shelve_instance",
    "unshelve_instance",
    "live_migration",
    "pre_live_migration",
    "check_can_live_migrate_destination",
    "post_live_migration_at_destination",
    "attach_interface",
    "detach_interface",
    "snapshot_instance",
    "rescue_instance",
    "get_console_output",
    "set_host_enabled",
    "external_instance_event",
    "ping",
    "get_host_uptime",
    "attach_volume",
    "cache_images",
    "dance",
];
const KEYS: &[&str] = &[
    "nova_object.data",
    "nova_object.name",
    "nova_object.changes",
    "objects",
    "instance",
    "instances",
    "events",
    "uuid",
    "instance_uuid",
    "tag",
    "name",
    "flavor",
    "info_cache",
    "network_info",
    "id",
    "filter_properties",
    "retry",
    "args",
    "requested_networks",
    "method",
    "namespace",
    "version",
    "_msg_id",
    "_reply_q",
    "_unique_id",
    "_context_roles",
    "result",
    "failure",
    "ports",
    "port",
    "fixed_ips",
    "network_id",
    "vcpus",
    "memory_mb",
    "root_gb",
    "status",
    "body",
];

/// Changes a script in place and gives its new size; nothing comes of bytes that are no script, or of one that grew too large.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut rng = SmallRng::seed_from_u64(seed.into());
    let mut script = lines(&data[..size]);
    if script.is_empty() || rng.random_ratio(1, BLIND) {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    for _ in 0..rng.random_range(1..4) {
        match rng.random_range(0..10) {
            0..7 => change_value(&mut script, &mut rng),
            _ => change_lines(&mut script, &mut rng),
        }
    }
    let written = script.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    if written.is_empty() || written.len() > max_size {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    data[..written.len()].copy_from_slice(written.as_bytes());
    written.len()
}

fn change_lines(script: &mut Vec<Value>, rng: &mut SmallRng) {
    let at = rng.random_range(0..=script.len());
    let Some(index) = at.checked_sub(1) else { return };
    match rng.random_range(0..5) {
        0 if script.len() > 1 => drop(script.remove(index)),
        1 => {
            let other = rng.random_range(0..script.len());
            script.swap(index, other);
        }
        2 => {
            let copy = script[index].clone();
            let to = rng.random_range(0..=script.len());
            script.insert(to, copy);
        }
        _ => script.insert(at, new_line(rng)),
    }
}

fn new_line(rng: &mut SmallRng) -> Value {
    match rng.random_range(0..8) {
        0 => json!({"wait_s": rng.random_range(0..700)}),
        1 => json!({"late": rng.random_range(0..5)}),
        2 => json!({"answer": "late"}),
        3 => {
            json!({"answer": {"failure": *["InstanceNotFound", "UnexpectedDeletingTaskStateError", "X"].choose(rng).expect("three")}})
        }
        4 => json!({"answer": {"status": *[0, 401, 404, 409, 500].choose(rng).expect("five")}}),
        5 => json!({"answer": {"result": value(rng)}}),
        6 => json!({"answer": {"body": value(rng)}}),
        _ => json!({"rpc": {"method": *METHODS.choose(rng).expect("some"), "args": {}, "version": "6.0",
            "_msg_id": "0123456789abcdef0123456789abcdef", "_reply_q": "q"}}),
    }
}

fn value(rng: &mut SmallRng) -> Value {
    match rng.random_range(0..14) {
        0 => Value::Null,
        1 => json!(u64::MAX),
        2 => json!(i64::MIN),
        3 => json!(u64::MAX / 2),
        4 => json!(1e308),
        5 => json!(true),
        6 => json!(""),
        7 => json!("x".repeat(rng.random_range(0..600))),
        8 => json!("[[{}, null, {\"id\": 1}]]"),
        9 => json!([]),
        10 => json!({}),
        11 => {
            json!([{"nova_object.data": {"uuid": "b61f6df3-c1dc-4cfa-911a-55529030333d"}, "obj_what_changed": 5}, null])
        }
        12 => (0..rng.random_range(0..DEEPEST)).fold(json!(1), |inner, _| json!([inner])),
        _ => (0..rng.random_range(0..DEEPEST)).fold(json!(1), |inner, _| json!({"nova_object.data": inner})),
    }
}

fn change_value(script: &mut [Value], rng: &mut SmallRng) {
    let donor = rng.random_range(0..script.len());
    let donor = descend(&mut script[donor], rng).clone();
    let at = rng.random_range(0..script.len());
    let node = descend(&mut script[at], rng);
    match (rng.random_range(0..8), &mut *node) {
        (0..2, Value::Object(map)) => {
            let gone = map.keys().nth(rng.random_range(0..map.len().max(1))).cloned();
            gone.and_then(|gone| map.remove(&gone));
        }
        (2..4, Value::Object(map)) => {
            map.insert((*KEYS.choose(rng).expect("some")).to_owned(), donor);
        }
        (0..3, Value::Array(items)) => items.push(donor),
        (3..4, Value::Array(items)) => items.clear(),
        (0..2, Value::String(text)) if METHODS.contains(&text.as_str()) => {
            *text = (*METHODS.choose(rng).expect("some")).to_owned();
        }
        (0..2, Value::String(text)) => {
            *text = ["6.0", "6.99", "5.13", "7", "a.b", "1.0"].choose(rng).expect("six").to_string()
        }
        (4..6, _) => *node = donor,
        _ => *node = value(rng),
    }
}

/// Some value inside another: near its root more often than in its depths.
fn descend<'a>(value: &'a mut Value, rng: &mut SmallRng) -> &'a mut Value {
    let size = match &*value {
        Value::Object(map) => map.len(),
        Value::Array(items) => items.len(),
        _ => 0,
    };
    if size == 0 || rng.random_ratio(1, STOPS) {
        return value;
    }
    let at = rng.random_range(0..size);
    let inner = match value {
        Value::Object(map) => map.values_mut().nth(at),
        Value::Array(items) => items.get_mut(at),
        _ => None,
    };
    descend(inner.expect("it was counted just above"), rng)
}
