//! Messages of a real nova-compute, replayed: the state machine is given the answers that were recorded, and what it sends
//! must be what was recorded, argument by argument.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use hypervisor::{
    AgentCall, AgentPort, ComputeOptions, Config, Driver, Hypervisor, Input, Lookup, Origin, Output, PlacementRequest,
    Request, Resources, Response, Services, Ticket, Time, Times,
};
use serde_json::Value;

use crate::{
    contexts::Context,
    nova::{self, Author, Body, Identity, Received, Records, Release, Rows},
};

struct Recording {
    messages: Vec<Value>,
}

impl Recording {
    fn read(text: &str) -> Self {
        Self { messages: text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect() }
    }

    /// What the nova-compute sent, in order.
    fn sent(&self) -> impl Iterator<Item = &Value> {
        self.messages.iter().filter(|m| m["routing_key"] == "conductor" || m["exchange"] == "scheduler_fanout")
    }

    fn reply_to(&self, request: &Value) -> Value {
        let id = &request["message"]["_msg_id"];
        let found = self.messages.iter().find(|m| m["exchange"] == "" && m["message"]["_msg_id"] == *id);
        found.map(|reply| reply["message"].clone()).unwrap_or_default()
    }

    fn received(&self) -> &Value {
        let found = self.messages.iter().find(|m| m["routing_key"].as_str().is_some_and(|k| k.starts_with("compute.")));
        &found.expect("a cast to the compute service")["message"]
    }
}

struct Replay {
    machine: Hypervisor,
    now: Time,
    release: Release,
    identity: Identity,
    resources: Resources,
    rows: Rows,
    records: Records,
    context: Context,
    sent: Vec<Body>,
    /// The recording's answers, in the order of the calls.
    answers: Vec<Value>,
}

const NOW: &str = "2026-11-23T05:57:35Z";

impl Replay {
    fn new(host: &str, node: &str, answers: Vec<Value>) -> Self {
        let hour = Duration::from_secs(3600);
        let options = ComputeOptions { periodic_fuzzy_delay: hour, report_interval: hour, ..ComputeOptions::default() };
        let release = Release::load("2026.2").expect("it ships");
        let config = Config {
            options,
            resources: Resources::fake_driver(),
            times: Times::ZERO,
            driver: Driver::Fake,
            services: Services::default(),
            habits: release.habits(),
        };
        Self {
            machine: Hypervisor::new(Rc::new(config), 1),
            now: Time::ZERO,
            release,
            identity: Identity { host: host.into(), node: node.parse().expect("a UUID") },
            resources: Resources::fake_driver(),
            rows: Rows::default(),
            records: Records::default(),
            context: Context::Given(Value::Null),
            sent: Vec::new(),
            answers,
        }
    }

    fn author(&mut self, origin: Origin) -> Author<'_> {
        Author {
            release: &self.release,
            identity: &self.identity,
            resources: &self.resources,
            rows: &self.rows,
            documents: self.records.of(origin),
            context: &self.context,
            now: NOW,
        }
    }

    fn input(&mut self, input: Input) {
        self.machine.handle_input(self.now, input);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Request { id, request, origin, .. } => {
                    let result = self.answer(&request, origin);
                    self.machine.handle_input(self.now, Input::Reply { id, result });
                }
                Output::Milestone(milestone) => self.records.forget(milestone),
                Output::Over(origin) => self.records.over(origin),
                Output::Serve(_) => {}
                Output::Notice { notice, origin } => {
                    let body = nova::notice(&self.author(origin), &notice).expect("the VM is known");
                    self.sent.push(body);
                    self.answers.remove(0);
                }
            }
        }
    }

    fn answer(&mut self, request: &Request, origin: Origin) -> Result<Response, hypervisor::Fault> {
        match request {
            Request::Conductor(call) => {
                let body = nova::call(&mut self.author(origin), call).expect("the VM is known");
                self.sent.push(body);
                if self.answers.is_empty() {
                    return Ok(Response::Done);
                }
                let reply = self.answers.remove(0);
                if let Some(failure) = reply["failure"].as_str() {
                    let failure: Value = serde_json::from_str(failure).expect("JSON in a string");
                    return Err(hypervisor::Fault::Remote(failure["class"].as_str().unwrap_or_default().to_owned()));
                }
                let documents = self.records.answered(origin, call);
                Ok(nova::reply(call, reply["result"].clone(), &self.identity.host, &mut self.rows, documents))
            }
            Request::Placement(PlacementRequest::GetTree) => Ok(Response::Found(false)),
            Request::Agent(AgentCall::LookUp(Lookup::Port(_))) => {
                let network = uuid::Uuid::nil();
                let port = AgentPort { network, groups: Vec::new(), admin_up: true, bound: true, asked: false };
                Ok(Response::AgentPort(Some(port)))
            }
            _ => Ok(Response::Done),
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.input(Input::Tick);
        }
    }

    fn receive(&mut self, message: &Value) {
        let text = |name: &str| message[name].as_str();
        let ticket = Ticket(0);
        let received = nova::receive(
            text("method").expect("a method"),
            text("namespace"),
            text("version").unwrap_or_default(),
            message["args"].clone(),
            &mut self.records.kept,
        );
        self.context = Context::Given(serde_json::json!({"_context_roles": message["_context_roles"]}));
        let rpc = match received {
            Received::Rpc(rpc) => rpc,
            Received::Events(events, documents) => {
                self.records.keep_apart(Origin::Rpc(ticket), documents);
                hypervisor::Rpc::Events(events)
            }
            other => panic!("{other:?}"),
        };
        self.input(Input::Rpc { ticket, rpc });
    }
}

/// Differences between what was sent and what was recorded, by path; lists of changes are sets, and some values are this
/// machine's or this moment's.
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    const VARYING: &[&str] = &["launched_at", "terminated_at", "stats", "vcpus_used", "free_ram_mb", "free_disk_gb"];
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let keys: std::collections::BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            for key in keys.into_iter().filter(|key| !VARYING.contains(&key.as_str())) {
                let path = format!("{path}/{key}");
                match (ours.get(key), theirs.get(key)) {
                    (Some(ours), Some(theirs)) => differences(&path, ours, theirs, found),
                    (Some(_), None) => found.push(format!("{path}: not in the recording")),
                    (None, _) => found.push(format!("{path}: missing")),
                }
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if path.ends_with("nova_object.changes") => {
            let set = |list: &[Value]| list.iter().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>();
            if set(ours) != set(theirs) {
                found.push(format!("{path}: {:?} instead of {:?}", set(ours), set(theirs)));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                differences(&format!("{path}/{index}"), ours, theirs, found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours} instead of {theirs}")),
    }
}

fn assert_same(ours: &[Body], recording: &Recording, accepted: &BTreeMap<&str, &str>) {
    for (index, (ours, theirs)) in ours.iter().zip(recording.sent()).enumerate() {
        let message = &theirs["message"];
        let name = message["args"]["objmethod"].as_str().unwrap_or(ours.method);
        if accepted.contains_key(name) {
            continue;
        }
        assert_eq!(ours.method, message["method"], "message {index}");
        assert_eq!(ours.version, message["version"], "message {index}");
        let mut found = Vec::new();
        differences("", &ours.args, &message["args"], &mut found);
        assert!(found.is_empty(), "message {index}, {name}:\n{}", found.join("\n"));
    }
}

fn answers(recording: &Recording) -> Vec<Value> {
    recording.sent().map(|request| recording.reply_to(request)).collect()
}

#[test]
fn start_up_and_first_heartbeat_are_those_of_a_real_nova_compute() {
    let recording = Recording::read(include_str!("../tests/data/wire/startup-and-heartbeats.jsonl"));
    let mut replay = Replay::new("realfake-1", "4f2ad216-cc1b-4ba8-841f-c166b6aa639f", answers(&recording));
    replay.input(Input::Tick);
    replay.run_for(Duration::from_secs(6));
    assert_eq!(replay.sent.len(), 16, "fifteen calls and a heartbeat");
    let accepted = BTreeMap::from([("get_all", "the recorded one had an API database configured")]);
    assert_same(&replay.sent, &recording, &accepted);
}

fn started(recording: &Recording) -> Replay {
    let start = Recording::read(include_str!("../tests/data/wire/startup-and-heartbeats.jsonl"));
    let mut replay = Replay::new("realfake-2", "17d3c19c-e656-4c06-bd35-db6687465537", answers(&start));
    replay.input(Input::Tick);
    replay.sent.clear();
    replay.answers = answers(recording);
    replay
}

/// The hosts of the two recordings are not the same: what identifies the node's records differs.
fn assert_same_but_for_node_records(ours: &[Body], recording: &Recording) {
    let nodes = |body: &&Body| body.args.pointer("/objinst/nova_object.name") != Some(&"ComputeNode".into());
    let ours: Vec<Body> = ours.iter().filter(nodes).cloned().collect();
    let theirs = recording
        .messages
        .iter()
        .filter(|m| m["message"].pointer("/args/objinst/nova_object.name") != Some(&"ComputeNode".into()));
    let theirs = Recording { messages: theirs.cloned().collect() };
    assert_same(&ours, &theirs, &BTreeMap::new());
}

/// A hypervisor that has booted the VM of the recording.
fn booted(recording: &Recording) -> Replay {
    let mut replay = started(recording);
    replay.rows.update_node(serde_json::json!({"id": 7002}).as_object().expect("an object"));
    replay.receive(recording.received());
    replay.run_for(Duration::from_secs(2));
    replay
}

#[test]
fn a_boot_is_that_of_a_real_nova_compute() {
    let recording = Recording::read(include_str!("../tests/data/wire/boot.jsonl"));
    let replay = booted(&recording);
    assert_eq!(replay.sent.len(), recording.sent().count());
    assert_same_but_for_node_records(&replay.sent, &recording);
}

#[test]
fn a_delete_is_that_of_a_real_nova_compute() {
    let recording = Recording::read(include_str!("../tests/data/wire/delete.jsonl"));
    let mut replay = booted(&Recording::read(include_str!("../tests/data/wire/boot.jsonl")));
    replay.sent.clear();
    replay.answers = answers(&recording);
    replay.receive(recording.received());
    replay.run_for(Duration::from_secs(2));
    assert_eq!(replay.sent.len(), recording.sent().count());
    assert_same_but_for_node_records(&replay.sent, &recording);
}
