//! Nova's public API.
//!
//! A boot asks Glance for the image and Neutron for networks, quota and ports, writes its records and is cast to the conductor; a
//! delete is cast to the host. Lists cost by what they list.
//!
//! Left out: quotas that are used up, policies, metadata, volumes, pages of long lists (a list has at most `max_limit` = 1,000
//! servers), cells that do not answer.

use hypervisor::{Fault, Rpc};

use super::{
    ServiceId, World, facts,
    facts::ServerState,
    glance, neutron,
    ops::Ops,
    recipes::{ask, plain, request},
    task::{Asker, Count, Flow, Hook, NONE, OpId, Recipe, Row, Schema, Step, TaskId},
};
use crate::calibration::Calibration;

const SERVICE: &str = "nova-api";

/// The operations of the API.
#[derive(Debug)]
pub(crate) struct NovaApiOps {
    /// Boots by whether they have NICs.
    boot: [OpId; 2],
    pub(crate) delete: OpId,
    pub(crate) show: OpId,
    pub(crate) list: OpId,
    pub(crate) poll: OpId,
    pub(crate) events: OpId,
}

impl NovaApiOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let boot = [boot(ops, calibration, false), boot(ops, calibration, true)];
        let mut api = |name: &str, steps: Vec<Step>| ops.add(Recipe { name: format!("nova {name}"), steps });
        let work = |name: &str| calibration.work(SERVICE, name);
        let delete = request(work("DELETE /servers/{id}"), Some(delete_server as Hook), Some(server_row));
        let delete = api("DELETE /servers/{id}", delete);
        let mut steps = request(work("GET /servers/{id}"), None, None);
        steps.splice(1..1, ask(ask_security_groups));
        let show = api("GET /servers/{id}", steps);
        let row = work("server_row");
        let mut steps = request(work("GET /servers/detail"), None, None);
        steps.splice(1..1, ask(ask_security_groups));
        list_rows(&mut steps, row, Count::ProjectServers);
        let list = api("GET /servers/detail", steps);
        let mut steps = plain(work("GET /servers"), None, None);
        let named = crate::calibration::Work { cpu_ms: row.cpu_ms / 8.0, db_ms: row.db_ms / 4.0, ..row };
        list_rows(&mut steps, named, Count::ChangedServers);
        let poll = api("GET /servers", steps);
        let steps = plain(work("POST /os-server-external-events"), Some(neutron::pass_events_on), None);
        let events = api("POST /os-server-external-events", steps);
        Self { boot, delete, show, list, poll, events }
    }

    pub(crate) fn boot(&self, nics: u32) -> OpId {
        self.boot[usize::from(nics > 0)]
    }
}

/// Rows of a list, in the database and in Python.
fn list_rows(steps: &mut Vec<Step>, row: crate::calibration::Work, count: Count) {
    if let Some(give) = steps.iter().position(|step| matches!(step, Step::Give)) {
        steps.insert(give, Step::QueryEach(row.db_ms * 1e6, count));
    }
    steps.push(Step::CpuEach(row.cpu_ms * 1e6, count));
}

fn boot(ops: &mut Ops, calibration: &Calibration, with_nics: bool) -> OpId {
    let work = calibration.work(SERVICE, "POST /servers");
    let mut steps = request(work, Some(create_server as Hook), None);
    for step in &mut steps {
        if let Step::Take(schema) = step {
            *schema = Schema::Api;
        }
    }
    // Right after the token: what the request names has to exist.
    let mut questions = ask(glance::ask_image).to_vec();
    if with_nics {
        for question in [ask_networks as Hook, ask_quota, ask_ports] {
            questions.extend(ask(question));
        }
    }
    steps.splice(1..1, questions);
    ops.add(Recipe { name: "nova POST /servers".to_owned(), steps })
}

fn ask_networks(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.neutron.networks;
    world.ask(task, ServiceId::Neutron, op)
}

fn ask_quota(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.neutron.quota;
    world.ask(task, ServiceId::Neutron, op)
}

fn ask_ports(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.neutron.ports;
    world.ask(task, ServiceId::Neutron, op)
}

fn ask_security_groups(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.neutron.security_groups;
    world.ask(task, ServiceId::Neutron, op)
}

fn server_row(world: &World, task: TaskId) -> Option<Row> {
    Some(Row::Instance(world.tasks[task].subject.instance))
}

/// The records of a new server are written: the conductor is told.
fn create_server(world: &mut World, task: TaskId) -> Flow {
    let Asker::Client(operation) = world.tasks[task].asker else { return Flow::Next };
    let (project, nics) = world.clients.what_to_boot(operation);
    let server = world.facts.add_server(project, nics, world.now);
    world.clients.booted(operation, server);
    let op = world.ops.conductor.schedule_and_build;
    world.cast_to_conductor(op, server);
    Flow::Next
}

/// The server is marked; its host is told, or where it has none it goes at once.
fn delete_server(world: &mut World, task: TaskId) -> Flow {
    let (number, now) = (world.tasks[task].subject.instance, world.now);
    let server = world.facts.server(number);
    if server.state == ServerState::Gone {
        return Flow::Fail(Fault::Http(404));
    }
    server.deleting = true;
    match server.host {
        NONE => {
            world.facts.allocate(number, NONE);
            world.facts.remove_server(number, now);
        }
        host => world.send_to_host(host, Rpc::Terminate { instance: facts::instance(number) }),
    }
    Flow::Next
}
