//! What was written: every key of the language, read and typed, nothing filled in yet.

use std::time::Duration;

use hypervisor::Delay;

use crate::{
    delays,
    document::{Node, Table, Value},
    edge::{self, Edge},
    incidents, nearest,
    plan::{ConnectionMode, Incident, Start},
    problem::{Complaint, Desk, Place},
    read::{Bytes, Section, Written, expected},
    start,
    stream::Stream,
    tuning,
};

/// A scenario as it was written.
#[derive(Debug, Default)]
pub(crate) struct Scenario {
    pub(crate) name: Option<Written<String>>,
    pub(crate) description: Option<Written<String>>,
    pub(crate) release: Option<Written<String>>,
    pub(crate) cloud: Cloud,
    pub(crate) deployment: Deployment,
    pub(crate) projects: Option<Written<u32>>,
    pub(crate) users: Option<Written<u32>>,
    pub(crate) image: Option<Written<String>>,
    pub(crate) fleet: Fleet,
    pub(crate) tuning: Vec<tuning::Entry>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) drain: Option<Written<Duration>>,
    pub(crate) late_bound: Option<Written<Duration>>,
    pub(crate) edge: Option<Edge>,
    pub(crate) gates: Vec<GateEntry>,
}

/// `[cloud]`.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    pub(crate) bring_your_own: Option<Written<(String, String)>>,
    pub(crate) brokers: Option<Written<u32>>,
    pub(crate) wsgi: Vec<Wsgi>,
}

/// `[deployment]`.
#[derive(Debug, Default)]
pub(crate) struct Deployment {
    pub(crate) controllers: Option<Written<u32>>,
    pub(crate) controller_cores: Option<Written<u32>>,
    pub(crate) brokers: Option<Written<u32>>,
    pub(crate) broker_cores: Option<Written<u32>>,
    pub(crate) database_cores: Option<Written<u32>>,
    pub(crate) database_connections: Option<Written<u32>>,
    pub(crate) link: Option<Written<Duration>>,
    pub(crate) clock_skew: Option<Written<Duration>>,
}

/// `[cloud.wsgi]`: one service.
#[derive(Debug)]
pub(crate) struct Wsgi {
    pub(crate) service: Written<String>,
    pub(crate) processes: Option<Written<u32>>,
    pub(crate) threads: Option<Written<u32>>,
}

/// `[fleet]`.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    pub(crate) hypervisors: Option<Written<u32>>,
    pub(crate) connections: Option<Written<ConnectionMode>>,
    pub(crate) start: Option<Written<Start>>,
    pub(crate) l2_agent: Option<Written<bool>>,
    pub(crate) register_within: Option<Written<Duration>>,
    pub(crate) servers: Option<Written<u32>>,
    pub(crate) real: Option<Written<u32>>,
    pub(crate) processes: Option<Written<u32>>,
    pub(crate) vcpus: Option<Written<u32>>,
    pub(crate) memory: Option<Written<Bytes>>,
    pub(crate) disk: Option<Written<Bytes>>,
    pub(crate) image_fetch: Option<Delay>,
    pub(crate) spawn: Option<Delay>,
    pub(crate) wiring: Option<Delay>,
    pub(crate) destroy: Option<Delay>,
    pub(crate) think: Option<Delay>,
}

/// One `[[gates]]`.
#[derive(Debug)]
pub(crate) struct GateEntry {
    pub(crate) metric: Written<String>,
    pub(crate) place: Place,
    /// `max`, `min`, `equals`, as far as they are written.
    pub(crate) bounds: Vec<(&'static str, Node)>,
}

/// Reads the tree.
pub(crate) fn read(root: &Node, desk: &mut Desk<'_>) -> Scenario {
    let Value::Table(table) = &root.value else { unreachable!("a TOML document is a table") };
    let mut top = Section::new("", table, root.place.clone());
    let mut scenario = Scenario {
        name: top.require(desk, "name", "give the scenario a name, such as name = \"boot-storm\""),
        description: top.require(desk, "description", "say in one sentence what the scenario is for"),
        release: top.get(desk, "release"),
        ..Scenario::default()
    };
    if let Some(section) = top.section(desk, "cloud") {
        scenario.cloud = cloud(section, desk);
    }
    if let Some(section) = top.section(desk, "deployment") {
        scenario.deployment = deployment(section, desk);
    }
    if let Some(mut section) = top.section(desk, "tenants") {
        scenario.projects = section.get(desk, "projects");
        scenario.users = section.get(desk, "users");
        scenario.image = section.get(desk, "image");
        section.finish(desk);
    }
    match top.section(desk, "fleet") {
        Some(section) => scenario.fleet = fleet(section, desk),
        None if top.has("fleet") => {}
        None => desk.complain(
            top.place(),
            "",
            Complaint::new("the section [fleet] is missing", "say how many: [fleet] with hypervisors = 200"),
        ),
    }
    if let Some(section) = top.section(desk, "tuning") {
        scenario.tuning = tuning::read(section, desk);
    }
    let streams = top.sections(desk, "load");
    scenario.streams = streams.into_iter().map(|(table, place)| Stream::read(table, place, desk)).collect();
    let happens = top.sections(desk, "incidents");
    scenario.incidents = happens.into_iter().filter_map(|(table, place)| incidents::read(table, place, desk)).collect();
    scenario.drain = top.get(desk, "drain");
    if let Some(mut section) = top.section(desk, "harness") {
        scenario.late_bound = section.get(desk, "late_bound");
        section.finish(desk);
    }
    if let Some(section) = top.section(desk, "edge") {
        scenario.edge = Some(edge::read(section, desk));
    }
    let gates = top.sections(desk, "gates");
    scenario.gates = gates.into_iter().filter_map(|(table, place)| gate(table, place, desk)).collect();
    top.finish(desk);
    scenario
}

fn cloud(mut section: Section<'_>, desk: &mut Desk<'_>) -> Cloud {
    let mut cloud = Cloud { brokers: section.get(desk, "brokers"), ..Cloud::default() };
    if let Some(mut own) = section.section(desk, "bring_your_own") {
        let name = own.require::<String>(desk, "cloud", "the name of the cloud in clouds.yaml");
        let why = "the name of an environment variable that holds the AMQP URL of its broker";
        let variable = own.require::<String>(desk, "transport_url_env", why);
        if let (Some(name), Some(variable)) = (name, variable) {
            let value = (name.value, variable.value);
            let (place, key) = (own.place().clone(), own.path().to_owned());
            cloud.bring_your_own = Some(Written { value, place, key });
        }
        own.finish(desk);
    }
    if let Some(entry) = section.entry("wsgi") {
        let key = section.key("wsgi");
        match &entry.node.value {
            Value::Table(services) => cloud.wsgi = wsgi(services, &key, desk),
            other => {
                let help = "write [cloud.wsgi] with lines such as nova = { processes = 2, threads = 8 }";
                desk.complain(&entry.node.place, &key, Complaint::new(expected("a table", other), help));
            }
        }
    }
    section.finish(desk);
    cloud
}

fn deployment(mut section: Section<'_>, desk: &mut Desk<'_>) -> Deployment {
    let deployment = Deployment {
        controllers: section.get(desk, "controllers"),
        controller_cores: section.get(desk, "controller_cores"),
        brokers: section.get(desk, "brokers"),
        broker_cores: section.get(desk, "broker_cores"),
        database_cores: section.get(desk, "database_cores"),
        database_connections: section.get(desk, "database_connections"),
        link: section.get(desk, "link"),
        clock_skew: section.get(desk, "clock_skew"),
    };
    section.finish(desk);
    deployment
}

fn wsgi(services: &Table, path: &str, desk: &mut Desk<'_>) -> Vec<Wsgi> {
    let mut read = Vec::new();
    for (name, entry) in services {
        let key = format!("{path}.{name}");
        let Value::Table(table) = &entry.node.value else {
            let help = "write { processes = 2, threads = 8 }";
            desk.complain(&entry.node.place, &key, Complaint::new(expected("a table", &entry.node.value), help));
            continue;
        };
        let mut section = Section::new(key.clone(), table, entry.node.place.clone());
        let processes = section.get(desk, "processes");
        let threads = section.get(desk, "threads");
        section.finish(desk);
        let service = Written { value: name.clone(), place: entry.key.clone(), key };
        read.push(Wsgi { service, processes, threads });
    }
    read
}

fn fleet(mut section: Section<'_>, desk: &mut Desk<'_>) -> Fleet {
    let mut fleet = Fleet {
        hypervisors: section.require(desk, "hypervisors", "say how many: hypervisors = 200"),
        connections: connections(&mut section, desk),
        start: start::get(&mut section, desk),
        l2_agent: section.get(desk, "l2_agent"),
        register_within: section.get(desk, "register_within"),
        servers: section.get(desk, "servers"),
        real: section.get(desk, "real"),
        processes: section.get(desk, "processes"),
        ..Fleet::default()
    };
    if let Some(mut resources) = section.section(desk, "resources") {
        fleet.vcpus = resources.get(desk, "vcpus");
        fleet.memory = resources.get(desk, "memory");
        fleet.disk = resources.get(desk, "disk");
        resources.finish(desk);
    }
    if let Some(mut times) = section.section(desk, "times") {
        fleet.image_fetch = delays::get(&mut times, desk, "image_fetch");
        fleet.spawn = delays::get(&mut times, desk, "spawn");
        fleet.wiring = delays::get(&mut times, desk, "wiring");
        fleet.destroy = delays::get(&mut times, desk, "destroy");
        fleet.think = delays::get(&mut times, desk, "think");
        times.finish(desk);
    }
    section.finish(desk);
    fleet
}

/// `"faithful"`, `"single"` or `{ shared = 16 }`.
fn connections(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<Written<ConnectionMode>> {
    const MODES: &str = "\"faithful\" (as many as nova-compute opens), \"single\" (one each) or { shared = 16 } \
                         (16 for the whole fleet)";
    let entry = section.entry("connections")?;
    let (key, place) = (section.key("connections"), entry.node.place.clone());
    let written = |value| Some(Written { value, place: place.clone(), key: key.clone() });
    match &entry.node.value {
        Value::Text(mode) if mode == "faithful" => written(ConnectionMode::Faithful),
        Value::Text(mode) if mode == "single" => written(ConnectionMode::Single),
        Value::Table(table) => {
            let mut shared = Section::new(key.clone(), table, place.clone());
            let connections = shared.require::<u32>(desk, "shared", MODES)?;
            shared.finish(desk);
            written(ConnectionMode::Shared { connections: connections.value })
        }
        Value::Text(mode) if mode == "shared" => {
            let help = "such as { shared = 16 }, or with --set: fleet.connections.shared=16";
            desk.complain(&place, &key, Complaint::new("\"shared\" has to say how many connections", help));
            None
        }
        Value::Text(mode) => {
            let help = format!("{}{MODES}", nearest::hint(mode, ["faithful", "single", "shared"]));
            desk.complain(&place, &key, Complaint::new(format!("there is no connection mode {mode:?}"), help));
            None
        }
        other => {
            desk.complain(&place, &key, Complaint::new(expected("a connection mode", other), MODES));
            None
        }
    }
}

fn gate(table: &Table, place: Place, desk: &mut Desk<'_>) -> Option<GateEntry> {
    let mut section = Section::new("gates", table, place.clone());
    let why = "name a figure of the summary, such as metric = \"operations.boot.p99_ms\"";
    let metric = section.require::<String>(desk, "metric", why);
    let names = ["max", "min", "equals"];
    let bounds: Vec<_> = names.into_iter().filter_map(|name| Some((name, section.entry(name)?.node.clone()))).collect();
    section.finish(desk);
    Some(GateEntry { metric: metric?, place, bounds })
}
