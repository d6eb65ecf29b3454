//! What was said, folded: known parts become one step, repetitions for each port become a loop.

use serde_json::Value;

use super::invocations::{Invocation, Said};

/// A step of a procedure as it was recorded.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    /// A message or an HTTP request.
    Said(Box<Said>),
    /// The VM's network information.
    NetworkInfo {
        /// As it was saved.
        saved: String,
        /// Networks were not asked for.
        networks_known: bool,
    },
    Resources {
        /// The VMs of the node were asked for before.
        audit: bool,
    },
    /// Neutron's list of extensions, where it is not too old.
    Extensions,
    /// The steps for the first of these ports.
    EachPort(String, Vec<Raw>),
}

/// A port of the VM: what is said of it, or of its network, is said for it.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) id: String,
    pub(crate) network: String,
}

/// Folds what an RPC made the hypervisor say. `ports` are those of its VM.
pub(crate) fn fold(invocation: &Invocation, ports: &[Port]) -> Vec<Raw> {
    // A method may leave its work to another thread, and which of the two speaks first is chance.
    let (ends, mut said): (Vec<Said>, Vec<Said>) =
        invocation.said.iter().cloned().partition(|said| args(said)["objmethod"] == "event_finish_with_failure");
    said.extend(ends);
    let known = fold_known(&said);
    fold_ports(known, ports)
}

fn args(said: &Said) -> &Value {
    &said.event.what.fields["message"]["args"]
}

fn is_action(said: &Said, object: &str, method: &str) -> bool {
    args(said)["objmethod"] == method && args(said)["objinst"]["nova_object.name"] == object
}

fn is_http(said: &Said, service: &str, method: &str, path: impl Fn(&str) -> bool) -> bool {
    let fields = &said.event.what.fields;
    said.event.what.name == "http"
        && fields["service"] == service
        && fields["method"] == method
        && path(fields["path"].as_str().unwrap_or_default())
}

fn is_get_from(said: &Said, service: &str) -> bool {
    is_http(said, service, "GET", |_| true)
}

/// From `InstanceInfoCache.refresh` to its `save`, with nothing but questions to Neutron between.
fn network_info(said: &[Said]) -> Option<usize> {
    is_action(said.first()?, "InstanceInfoCache", "refresh").then_some(())?;
    let end = said.iter().position(|said| is_action(said, "InstanceInfoCache", "save"))?;
    said[1..end].iter().all(|said| is_get_from(said, "neutron")).then_some(end + 1)
}

/// From the allocations of the provider to `ComputeNode.save`, which is left out when nothing changed.
fn resources(said: &[Said]) -> Option<usize> {
    let of_provider = |path: &str| path.starts_with("/resource_providers/") && path.ends_with("/allocations");
    is_http(said.first()?, "placement", "GET", of_provider).then_some(())?;
    let end = said.iter().position(|said| args(said)["objmethod"] == "get_by_compute_host")?;
    said[1..end].iter().all(|said| is_get_from(said, "placement")).then_some(())?;
    let saved = said.get(end + 1).is_some_and(|said| is_action(said, "ComputeNode", "save"));
    Some(end + 1 + usize::from(saved))
}

fn fold_known(said: &[Said]) -> Vec<Raw> {
    let (mut folded, mut rest) = (Vec::new(), said);
    while let Some(first) = rest.first() {
        let taken = if let Some(taken) = network_info(rest) {
            let saved = &args(&rest[taken - 1])["objinst"]["nova_object.data"]["network_info"];
            let asks = |said: &Said| is_http(said, "neutron", "GET", |path| path == "/v2.0/networks");
            let networks_known = !rest[..taken].iter().any(asks);
            folded.push(Raw::NetworkInfo { saved: saved.as_str().unwrap_or_default().to_owned(), networks_known });
            taken
        } else if let Some(taken) = resources(rest) {
            let audits =
                |step: &Raw| matches!(step, Raw::Said(said) if args(said)["objmethod"] == "get_by_host_and_node");
            folded.push(Raw::Resources { audit: folded.iter().any(audits) });
            taken
        } else if is_http(first, "neutron", "GET", |path| path == "/v2.0/extensions") {
            folded.push(Raw::Extensions);
            1
        } else {
            folded.push(Raw::Said(Box::new(first.clone())));
            1
        };
        rest = &rest[taken..];
    }
    folded
}

/// Steps that come once for the first port, then again for the second, and so on.
fn fold_ports(steps: Vec<Raw>, ports: &[Port]) -> Vec<Raw> {
    let shapes: Vec<(Option<usize>, String)> = steps.iter().map(|step| shape(step, ports)).collect();
    let (mut folded, mut at) = (Vec::new(), 0);
    while at < steps.len() {
        match loop_at(&shapes[at..], ports.len()) {
            Some((first, length)) => {
                folded.push(Raw::EachPort(ports[first].id.clone(), steps[at..at + length].to_vec()));
                at += length * ports.len();
            }
            None => {
                folded.push(steps[at].clone());
                at += 1;
            }
        }
    }
    folded
}

/// How many steps belong to the first port, when as many of the same shapes follow for each other port. The list of extensions is
/// of no port, and may be asked for in the turn of each.
fn loop_at(shapes: &[(Option<usize>, String)], ports: usize) -> Option<(usize, usize)> {
    let first = shapes.first()?.0?;
    let of = |port: usize, step: &(Option<usize>, String)| step.0 == Some(port) || step.1 == EXTENSIONS;
    let mut length = shapes.iter().take_while(|step| of(first, step)).count();
    if ports == 1 {
        // What comes after the last step of the port need not be a part of its turn.
        length = shapes[..length].iter().rposition(|step| step.0.is_some())? + 1;
    }
    let whole = shapes.get(..length * ports)?;
    let mut seen = std::collections::BTreeSet::new();
    for turn in whole.chunks(length) {
        let port = turn[0].0?;
        let same = turn.iter().zip(&whole[..length]).all(|(a, b)| of(port, a) && a.1 == b.1);
        if !same || !seen.insert(port) {
            return None;
        }
    }
    Some((first, length))
}

/// Shape of the question for the list of extensions.
const EXTENSIONS: &str = "extensions";

/// The port that a step is about, if it is one, and what the step is apart from it.
fn shape(step: &Raw, ports: &[Port]) -> (Option<usize>, String) {
    let said = match step {
        Raw::Said(said) => said,
        Raw::Extensions => return (None, EXTENSIONS.to_owned()),
        _ => return (None, String::new()),
    };
    let fields = &said.event.what.fields;
    let about = match said.event.what.name.as_str() {
        "http" => format!(
            "{} {} {} {} {}",
            fields["service"],
            fields["method"],
            fields["path"],
            fields["query"],
            keys(&fields["body"])
        ),
        _ => format!("{} {} {}", fields["message"]["method"], args(said)["objmethod"], args(said)["args"]),
    };
    let mentions = |index: &usize| {
        let Port { id, network } = &ports[*index];
        about.contains(id.as_str()) || !network.is_empty() && about.contains(network.as_str())
    };
    let mentioned: Vec<usize> = (0..ports.len()).filter(mentions).collect();
    match mentioned[..] {
        [port] => (Some(port), about.replace(&ports[port].id, "PORT").replace(&ports[port].network, "NETWORK")),
        _ => (None, about),
    }
}

/// The names in a document, without its values.
fn keys(value: &Value) -> String {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| format!("{key}{{{}}}", keys(value))).collect(),
        Value::Array(items) => items.iter().map(keys).collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a` and `b` are steps of the first and the second port, `x` asks for extensions, `-` is of no port.
    fn found(steps: &str, ports: usize) -> Option<(usize, usize)> {
        let shape = |step: char| match step {
            'a' => (Some(0), "step".to_owned()),
            'b' => (Some(1), "step".to_owned()),
            'x' => (None, EXTENSIONS.to_owned()),
            _ => (None, String::new()),
        };
        loop_at(&steps.chars().map(shape).collect::<Vec<_>>(), ports)
    }

    #[test]
    fn the_same_for_each_port_is_a_loop() {
        assert_eq!(found("aabb-", 2), Some((0, 2)));
        assert_eq!(found("aaxaxbbxbx-", 2), Some((0, 5)));
        assert_eq!(found("axa-", 1), Some((0, 3)));
        assert_eq!(found("axx-", 1), Some((0, 1)));
    }

    #[test]
    fn what_differs_between_ports_is_none() {
        for steps in ["aab", "aaaa", "axabb", "a-b", "xaxb"] {
            assert_eq!(found(steps, 2), None, "{steps}");
        }
    }
}
