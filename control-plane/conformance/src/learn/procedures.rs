//! Procedures from pairs of recordings.

use std::collections::BTreeMap;

use fake_hv::procedure::{Beginning, OFFLOADS_AT_ONCE, Procedure, Procedures, Scope, Step, Token, Wait};
use serde_json::{Value, json};

use super::{
    explain::{Pair, Unexplained, is_time, looks_like_an_id},
    fold::{Port, Raw, fold},
    invocations::{Invocation, Said, invocations},
};
use crate::{compare::short_name, run::Recorded, trace::Event};

/// What was learned, and what was not.
#[derive(Debug, Default)]
pub struct Lesson {
    /// The data.
    pub procedures: Procedures,
    /// What could not be made a procedure, and why.
    pub left: Vec<String>,
}

/// RPCs that the state machine itself carries out.
const BUILT_IN: [&str; 3] = ["build_and_run_instance", "terminate_instance", "external_instance_event"];

/// Learns from operations that were each recorded twice, with other VMs on other hosts.
pub fn learn(release: &str, recordings: &[(Recorded, Recorded)]) -> Lesson {
    let mut lesson = Lesson::default();
    release.clone_into(&mut lesson.procedures.release);
    let nodes = nodes(recordings);
    lesson.procedures.object_versions = object_versions(recordings);
    let mut known: BTreeMap<String, Vec<Learned>> = BTreeMap::new();
    for (a, b) in recordings {
        let (of_a, of_b) = (by_role(a), by_role(b));
        if of_a.len() != of_b.len() {
            lesson.left.push(format!("{}: {} RPCs the one time, {} the other", a.operation, of_a.len(), of_b.len()));
        }
        for (one, other) in of_a.iter().zip(&of_b) {
            match procedure(one, other, &nodes, offloads(a)) {
                Ok(learned) => note(&mut known, learned),
                Err(why) => lesson.left.push(format!("{}: {}: {why}", a.operation, one.method())),
            }
        }
    }
    for (method, variants) in known {
        match tell_apart(&variants) {
            Ok(procedures) => lesson.procedures.procedures.extend(procedures),
            Err(why) => lesson.left.push(format!("{method}: {why}")),
        }
    }
    lesson
}

/// What the queries of all recordings say of the versions that are understood.
fn object_versions(recordings: &[(Recorded, Recorded)]) -> BTreeMap<String, Value> {
    let traces = recordings.iter().flat_map(|(a, b)| a.traces.iter().chain(&b.traces));
    let args = traces.flat_map(|trace| &trace.events).map(|event| &event.what.fields["message"]["args"]);
    let named = args.filter_map(|args| Some((args["objname"].as_str()?.to_owned(), args["object_versions"].clone())));
    named.collect()
}

/// UUID and number of each host's compute node, from its record.
type Nodes = BTreeMap<String, (Value, Value)>;

fn nodes(recordings: &[(Recorded, Recorded)]) -> Nodes {
    let all = recordings.iter().flat_map(|(a, b)| a.traces.iter().chain(&b.traces));
    let node = |event: &Event| {
        let object = &event.what.fields["message"]["args"]["objinst"];
        let data = &object["nova_object.data"];
        (object["nova_object.name"] == "ComputeNode").then(|| (data["uuid"].clone(), data["id"].clone()))
    };
    let found = all.filter_map(|trace| {
        let known = trace.events.iter().filter_map(node).find(|(_, id)| !id.is_null())?;
        Some((trace.host.clone(), known))
    });
    found.collect()
}

/// All RPCs of an operation in the order they came, on whatever host.
fn by_role(recorded: &Recorded) -> Vec<Invocation> {
    let mut all: Vec<(u64, Invocation)> = Vec::new();
    for trace in &recorded.traces {
        let times = trace.events.iter().filter(|event| event.is_request_to_it()).map(|event| event.at_us);
        all.extend(times.zip(invocations(trace)));
    }
    all.retain(|(_, invocation)| !BUILT_IN.contains(&invocation.method()));
    all.sort_by_key(|(at_us, _)| *at_us);
    all.into_iter().map(|(_, invocation)| invocation).collect()
}

/// A procedure and the two scopes that it was learned from, as they were at its begin.
struct Learned {
    procedure: Procedure,
    begin: Pair,
}

fn note(known: &mut BTreeMap<String, Vec<Learned>>, learned: Learned) {
    let variants = known.entry(learned.procedure.method.clone()).or_default();
    variants.push(learned);
}

/// The ports in the network information that came with the RPC.
fn ports_of(invocation: &Invocation) -> Vec<Port> {
    let cache = &invocation.message["args"]["instance"]["nova_object.data"]["info_cache"]["nova_object.data"];
    let with_it = ports_in(&cache["network_info"]);
    if !with_it.is_empty() {
        return with_it;
    }
    // It came without; then it is loaded on the way, before Neutron is asked.
    let args = invocation.said.iter().map(|said| &said.event.what.fields["message"]["args"]);
    let mut refreshed = args.filter(|args| args["objmethod"] == "refresh").map(|args| &args["objinst"]);
    let found = refreshed.find(|object| object["nova_object.name"] == "InstanceInfoCache");
    found.map(|object| ports_in(&object["nova_object.data"]["network_info"])).unwrap_or_default()
}

fn ports_in(network_info: &Value) -> Vec<Port> {
    let vifs: Value = network_info.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let port = |vif: &Value| {
        let network = vif["network"]["id"].as_str().unwrap_or_default().to_owned();
        Some(Port { id: vif["id"].as_str()?.to_owned(), network })
    };
    vifs.as_array().into_iter().flatten().filter_map(port).collect()
}

/// Whether what is shelved leaves the host at once, which is the default.
fn offloads(recorded: &Recorded) -> bool {
    recorded.options.get("DEFAULT.shelved_offload_time").is_none_or(|time| *time == 0)
}

fn scope(invocation: &Invocation, ports: usize, nodes: &Nodes, offloads: bool) -> Scope {
    let mut scope = Scope::begin(Beginning {
        args: invocation.message["args"].clone(),
        context: &invocation.message,
        host: &invocation.host,
        node: nodes.get(&invocation.host).cloned(),
        has_ports: ports > 0,
        offloads_at_once: offloads,
    });
    let cache = scope.get("args/instance/info_cache/network_info").and_then(Value::as_str).unwrap_or("[]").to_owned();
    scope.set_vifs(&cache);
    scope
}

fn procedure(a: &Invocation, b: &Invocation, nodes: &Nodes, offloads: bool) -> Result<Learned, String> {
    if a.method() != b.method() {
        return Err(format!("{} came the other time", b.method()));
    }
    let (ports_a, ports_b) = (ports_of(a), ports_of(b));
    let mut student = Student {
        pair: Pair { a: scope(a, ports_a.len(), nodes, offloads), b: scope(b, ports_b.len(), nodes, offloads) },
        tokens: (token(a), token(b)),
        context: context(a),
        number: 0,
    };
    let begin = Pair { a: student.pair.a.clone(), b: student.pair.b.clone() };
    let steps = student.steps(&fold(a, &ports_a), &fold(b, &ports_b))?;
    let procedure = Procedure { method: a.method().to_owned(), when: BTreeMap::new(), steps };
    Ok(Learned { procedure, begin })
}

fn enter_port(scope: &mut Scope, port: &str) {
    let vifs = scope.get("vifs").and_then(Value::as_array).cloned().unwrap_or_default();
    let vif = vifs.into_iter().find(|vif| vif["id"] == port).unwrap_or_else(|| json!({"id": port}));
    scope.set_port(&vif);
}

fn context(invocation: &Invocation) -> BTreeMap<String, Value> {
    let fields = invocation.message.as_object().into_iter().flatten();
    fields.filter_map(|(key, value)| Some((key.strip_prefix("_context_")?.to_owned(), value.clone()))).collect()
}

/// Where it is not what follows from the document.
fn content_type(fields: &Value) -> Option<String> {
    let told = fields["headers"]["content-type"].as_str();
    let usual = (!fields["body"].is_null()).then_some("application/json");
    told.filter(|_| told != usual).map(str::to_owned)
}

fn token(invocation: &Invocation) -> Value {
    invocation.message["_context_auth_token"].clone()
}

/// Goes through two recordings of one procedure, side by side.
struct Student {
    pair: Pair,
    /// The users' tokens.
    tokens: (Value, Value),
    /// The request context of the first, without `_context_`.
    context: BTreeMap<String, Value>,
    /// Of the next step.
    number: usize,
}

impl Student {
    fn steps(&mut self, a: &[Raw], b: &[Raw]) -> Result<Vec<Step>, String> {
        if a.len() != b.len() {
            let list = |steps: &[Raw]| steps.iter().map(describe).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "{} steps the one time, {} the other:\n  {}\n  {}",
                a.len(),
                b.len(),
                list(a),
                list(b)
            ));
        }
        a.iter().zip(b).map(|(a, b)| self.step(a, b)).collect()
    }

    fn step(&mut self, a: &Raw, b: &Raw) -> Result<Step, String> {
        let number = self.number;
        self.number += 1;
        match (a, b) {
            (Raw::NetworkInfo { saved: a, networks_known }, Raw::NetworkInfo { saved: b, networks_known: of_b })
                if networks_known == of_b =>
            {
                for (scope, network_info) in [(&mut self.pair.a, a), (&mut self.pair.b, b)] {
                    scope.put("args/instance/info_cache/network_info", network_info.as_str().into());
                    scope.set_vifs(network_info);
                }
                Ok(Step::NetworkInfo { networks_known: *networks_known })
            }
            (Raw::Resources { audit }, Raw::Resources { audit: of_b }) if audit == of_b => {
                Ok(Step::Resources { audit: *audit })
            }
            (Raw::Extensions, Raw::Extensions) => Ok(Step::Extensions),
            (Raw::EachPort(port_a, a), Raw::EachPort(port_b, b)) => {
                enter_port(&mut self.pair.a, port_a);
                enter_port(&mut self.pair.b, port_b);
                let steps = self.steps(a, b)?;
                for scope in [&mut self.pair.a, &mut self.pair.b] {
                    scope.set("port", Value::Null);
                    scope.set("vif", Value::Null);
                }
                Ok(Step::EachPort { steps })
            }
            (Raw::Said(a), Raw::Said(b)) if short_name(&a.event) == short_name(&b.event) => {
                let step = self.said(a, b).map_err(|why| format!("step {number}, {}: {why}", short_name(&a.event)))?;
                self.pair.a.put(&format!("answers/{number}"), answer(a));
                self.pair.b.put(&format!("answers/{number}"), answer(b));
                if let Step::Action { objinst, .. } = &step
                    && let Some(path) = objinst["$object"].as_str()
                {
                    self.pair.a.update(path, &answer(a));
                    self.pair.b.update(path, &answer(b));
                }
                Ok(step)
            }
            (a, b) => Err(format!("step {number}: {} the one time, {} the other", describe(a), describe(b))),
        }
    }

    fn said(&mut self, a: &Said, b: &Said) -> Result<Step, Unexplained> {
        let (fields_a, fields_b) = (&a.event.what.fields, &b.event.what.fields);
        if a.event.what.name == "http" {
            return self.http(fields_a, fields_b);
        }
        let (message_a, message_b) = (&fields_a["message"], &fields_b["message"]);
        let (args_a, args_b) = (&message_a["args"], &message_b["args"]);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match message_a["method"].as_str() {
            Some("object_action") => Ok(Step::Action {
                objinst: self.pair.explain("objinst", &args_a["objinst"], &args_b["objinst"])?,
                objmethod: text(&args_a["objmethod"]),
                args: self.pair.explain("args", &args_a["args"], &args_b["args"])?,
                kwargs: self.pair.explain("kwargs", &args_a["kwargs"], &args_b["kwargs"])?,
                context: self.otherwise(message_a),
                accepts: accepted(a),
            }),
            Some("object_class_action_versions") => Ok(Step::Query {
                objname: text(&args_a["objname"]),
                objmethod: text(&args_a["objmethod"]),
                args: self.pair.explain("args", &args_a["args"], &args_b["args"])?,
                kwargs: self.pair.explain("kwargs", &args_a["kwargs"], &args_b["kwargs"])?,
                context: self.otherwise(message_a),
                accepts: accepted(a),
            }),
            Some(method) => {
                let fanout = fields_a["exchange"].as_str().and_then(|name| name.strip_suffix("_fanout"));
                let topic = match fanout {
                    Some(topic) => topic.into(),
                    None => self.pair.explain("routing_key", &fields_a["routing_key"], &fields_b["routing_key"])?,
                };
                Ok(Step::Send {
                    topic,
                    fanout: fanout.is_some(),
                    method: method.to_owned(),
                    namespace: message_a["namespace"].as_str().map(str::to_owned),
                    version: text(&message_a["version"]),
                    args: self.pair.explain("args", args_a, args_b)?,
                    call: wait(fields_a),
                })
            }
            None => self.reply(message_a, message_b),
        }
    }

    fn reply(&mut self, a: &Value, b: &Value) -> Result<Step, Unexplained> {
        let failure =
            |message: &Value| message["failure"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        match (failure(a), failure(b)) {
            (Some(a), Some(b)) => Ok(Step::Raise {
                class: a["class"].as_str().unwrap_or_default().to_owned(),
                module: a["module"].as_str().unwrap_or_default().to_owned(),
                message: self.pair.explain("failure", &a["message"], &b["message"])?,
                kwargs: match a["kwargs"].as_object().is_none_or(serde_json::Map::is_empty) {
                    true => Value::Null,
                    false => self.pair.explain("failure", &a["kwargs"], &b["kwargs"])?,
                },
            }),
            _ => Ok(Step::Reply { result: self.pair.explain("result", &a["result"], &b["result"])? }),
        }
    }

    fn http(&mut self, a: &Value, b: &Value) -> Result<Step, Unexplained> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let status = a["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or_default();
        let version = a["headers"]["openstack-api-version"].as_str();
        let query = match a["query"].as_str() {
            None | Some("") => Value::Null,
            Some(_) => self.pair.explain("query", &a["query"], &b["query"])?,
        };
        Ok(Step::Http {
            service: text(&a["service"]),
            method: text(&a["method"]),
            path: self.pair.explain("path", &a["path"], &b["path"])?,
            query,
            microversion: version.and_then(|version| version.split(' ').nth(1)).map(str::to_owned),
            token: self.token(&a["headers"]),
            body: self.pair.explain("body", &a["body"], &b["body"])?,
            content_type: content_type(a),
            accepts: (status >= 400).then_some(status),
        })
    }

    /// What a message's request context has otherwise than that of the RPC.
    fn otherwise(&self, message: &Value) -> BTreeMap<String, Value> {
        let fields = message.as_object().into_iter().flatten();
        let fields = fields.filter_map(|(key, value)| Some((key.strip_prefix("_context_")?, value)));
        let other = fields.filter(|(key, value)| self.context.get(*key).is_some_and(|known| known != *value));
        other.map(|(key, value)| (key.to_owned(), value.clone())).collect()
    }

    fn token(&self, headers: &Value) -> Token {
        let token = &headers["x-auth-token"];
        match (token.is_null(), *token == self.tokens.0, headers["x-service-token"].is_null()) {
            (true, ..) => Token::None,
            (false, true, _) => Token::User,
            (false, false, false) => Token::Service,
            (false, false, true) => Token::Alone,
        }
    }
}

/// Of a call: how long it waits.
fn wait(fields: &Value) -> Option<Wait> {
    let timeout_ms = fields["properties"]["expiration"].as_str()?.parse().ok()?;
    Some(Wait { timeout_ms, monitor_s: fields["message"]["_timeout"].as_u64() })
}

/// What a call raised, and the hypervisor went on all the same.
fn accepted(said: &Said) -> Option<String> {
    let failure = said.reply.as_ref()?["failure"].as_str()?;
    let told: Value = serde_json::from_str(failure).ok()?;
    told["class"].as_str().map(str::to_owned)
}

fn answer(said: &Said) -> Value {
    match &said.reply {
        Some(reply) => reply["result"].clone(),
        None => said.event.what.fields["answer"].clone(),
    }
}

fn describe(step: &Raw) -> String {
    match step {
        Raw::Said(said) => short_name(&said.event),
        Raw::NetworkInfo { networks_known: true, .. } => "network info of known networks".to_owned(),
        Raw::NetworkInfo { .. } => "network info".to_owned(),
        Raw::Resources { .. } => "resources".to_owned(),
        Raw::Extensions => "extensions".to_owned(),
        Raw::EachPort(_, steps) => format!("each port [{}]", steps.iter().map(describe).collect::<Vec<_>>().join(", ")),
    }
}

/// Gives each of several procedures of one method the condition that tells it from the others.
fn tell_apart(variants: &[Learned]) -> Result<Vec<Procedure>, String> {
    let mut distinct: Vec<Vec<&Learned>> = Vec::new();
    for variant in variants {
        match distinct.iter_mut().find(|same| same[0].procedure.steps == variant.procedure.steps) {
            Some(same) => same.push(variant),
            None => distinct.push(vec![variant]),
        }
    }
    if let [only] = &distinct[..] {
        return Ok(vec![only[0].procedure.clone()]);
    }
    let paths = telling(variants);
    let one = paths.iter().map(|path| vec![path.as_str()]);
    let two = paths
        .iter()
        .enumerate()
        .flat_map(|(at, first)| paths[..at].iter().map(move |second| vec![second.as_str(), first.as_str()]));
    let found = one.chain(two).find(|paths| separate(paths, &distinct));
    let paths = found.ok_or_else(|| {
        let steps = distinct.iter().map(|same| format!("{:?}", same[0].procedure.steps.len())).collect::<Vec<_>>();
        format!("{} procedures that no argument tells apart ({} steps)", distinct.len(), steps.join(", "))
    })?;
    // Where the same values lead to the same steps more than once, once is enough.
    let mut procedures: Vec<Procedure> = Vec::new();
    for learned in distinct.iter().flatten() {
        let value = |path: &str| learned.begin.a.get(path).cloned().unwrap_or_default();
        let when = paths.iter().map(|path| ((*path).to_owned(), value(path))).collect();
        let procedure = Procedure { when, ..learned.procedure.clone() };
        if !procedures.contains(&procedure) {
            procedures.push(procedure);
        }
    }
    Ok(procedures)
}

/// Whether variants with the same values at these paths are always of the same group.
fn separate(paths: &[&str], groups: &[Vec<&Learned>]) -> bool {
    let mut seen: Vec<(Vec<Value>, usize)> = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        for learned in group {
            let values = paths.iter().map(|path| learned.begin.a.get(path).cloned().unwrap_or_default()).collect();
            match seen.iter().find(|(known, _)| *known == values) {
                Some((_, other)) if *other != index => return false,
                Some(_) => {}
                None => seen.push((values, index)),
            }
        }
    }
    true
}

/// Paths whose values are the same in both recordings of each variant, and not in all variants.
fn telling(variants: &[Learned]) -> Vec<String> {
    let tells = |path: &String| {
        let value = |scope: &Scope| scope.get(path).cloned().unwrap_or_default();
        let first = value(&variants[0].begin.a);
        variants.iter().all(|it| value(&it.begin.a) == value(&it.begin.b))
            && variants.iter().any(|it| value(&it.begin.a) != first)
    };
    let mut paths: Vec<String> = conditions(variants).into_iter().filter(tells).collect();
    // Flags decide more often than texts, and these more often than numbers; a name that we gave decides nothing, nor do
    // notes of the past and the time. What came decides more often than an option of the host.
    let value = |path: &String| variants[0].begin.a.get(path).cloned().unwrap_or_default();
    paths.retain(|path| {
        !looks_like_an_id(&value(path)) && !is_time(&value(path)) && !path.contains("/system_metadata/")
    });
    paths.sort_by_key(|path| match value(path) {
        _ if path == OFFLOADS_AT_ONCE => 3,
        Value::Bool(_) => 0,
        Value::String(_) => 1,
        _ => 2,
    });
    paths
}

/// Paths of plain values, the near ones first.
fn conditions(variants: &[Learned]) -> Vec<String> {
    let mut paths = std::collections::BTreeSet::new();
    for variant in variants {
        for (root, value) in variant.begin.a.values() {
            leaves(root, value, &mut paths);
        }
    }
    let mut paths: Vec<String> = paths.into_iter().collect();
    paths.sort_by_key(|path| (path.matches('/').count(), path.len(), path.clone()));
    paths
}

fn leaves(path: &str, value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let fields = map.get("nova_object.data").and_then(Value::as_object).unwrap_or(map);
            fields.iter().for_each(|(key, value)| leaves(&format!("{path}/{key}"), value, found));
        }
        Value::Array(_) => {}
        _ => {
            found.insert(path.to_owned());
        }
    }
}
