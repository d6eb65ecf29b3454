//! nova-conductor: the calls of hypervisors on objects, and the building of servers.
//!
//! Every call of a hypervisor that reads or changes an object is one task: Python, a connection from the pool of the cell's
//! database, queries, Python. A new server goes through `schedule_and_build_instances`: its records, the scheduler's choice, the
//! cast to the host. A handler waits for the scheduler as long as that beats (`long_rpc_timeout`, call monitor).
//!
//! Left out: `object_backport_versions`, quota rechecks that fail, server groups, volumes, several cells.

use hypervisor::{ConductorCall, Fault, InstanceState, Response, Rpc};

use super::{
    World,
    broker::Topic,
    facts::{self, ServerState},
    ops::Ops,
    recipes::{RowOf, plain},
    task::{Asker, Flow, Hook, NONE, OpId, Recipe, Row, Schema, Step, Subject, TaskId},
};
use crate::calibration::Calibration;

const SERVICE: &str = "nova-conductor";

/// A call of a hypervisor: name, effect, row that it changes.
type Call = (&'static str, Hook, Option<RowOf>);

/// The calls of hypervisors.
const CALLS: &[Call] = &[
    ("ping", nothing, None),
    ("Service.get_minimum_version", nothing, None),
    ("Service.get_by_host_and_binary", find_service, None),
    ("ComputeNodeList.get_all_by_uuids", nothing, None),
    ("InstanceList.get_by_host", list_servers, None),
    ("MigrationList.get_by_filters", nothing, None),
    ("Service.create", create_service, None),
    ("Service.save", save_service, Some(service_row)),
    ("ComputeNodeList.get_all_by_host", find_node, None),
    ("ComputeNode.get_by_uuid", find_node, None),
    ("ComputeNode.create", create_node, None),
    ("ComputeNode.save", nothing, None),
    ("PciDeviceList.get_by_compute_node", nothing, None),
    ("InstanceList.get_by_host_and_node", list_servers, None),
    ("MigrationList.get_in_progress_and_error", nothing, None),
    ("Service.get_by_compute_host", nothing, None),
    ("Instance.get_by_uuid", find_server, None),
    ("Instance.refresh", nothing, None),
    ("InstanceList.get_by_filters", nothing, None),
    ("ConsoleAuthToken.clean_expired_console_auths", nothing, None),
    ("InstanceActionEvent.event_start", nothing, None),
    ("InstanceActionEvent.event_finish_with_failure", nothing, None),
    ("Instance.save", save_server, Some(server_row)),
    ("InstanceFault.create", nothing, None),
    ("Instance.destroy", destroy_server, Some(server_row)),
    ("BlockDeviceMappingList.get_by_instance_uuid", nothing, None),
    ("BlockDeviceMapping.save", nothing, None),
    ("VirtualInterface.create", nothing, None),
    ("VirtualInterface.delete_by_instance_uuid", nothing, None),
    ("InstanceInfoCache.refresh", nothing, None),
    ("InstanceInfoCache.save", nothing, None),
    ("ShareMappingList.get_by_instance_uuid", nothing, None),
    ("ResourceList.get_by_instance_uuid", nothing, None),
    ("ConsoleAuthToken.clean_console_auths_for_instance", nothing, None),
];

/// The operations of the conductor.
#[derive(Debug)]
pub(crate) struct ConductorOps {
    calls: Vec<OpId>,
    pub(crate) schedule_and_build: OpId,
    pub(crate) build_again: OpId,
}

impl ConductorOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let call = |(name, hook, row): &Call| {
            let steps = plain(calibration.work(SERVICE, name), Some(*hook), *row);
            ops.add(Recipe { name: (*name).to_owned(), steps })
        };
        let calls = CALLS.iter().map(call).collect();
        let api_side = plain(calibration.work(SERVICE, "schedule_and_build_instances"), Some(ask_scheduler), None);
        let create = calibration.work(SERVICE, "schedule_and_build_instances: create");
        let mut steps = on_schema(api_side, Schema::Api);
        steps.extend(plain(create, Some(cast_build), None));
        let schedule_and_build = ops.add(Recipe { name: "schedule_and_build_instances".to_owned(), steps });
        let again = plain(calibration.work(SERVICE, "build_instances"), Some(cast_build_again), None);
        let build_again = ops.add(Recipe { name: "build_instances".to_owned(), steps: again });
        Self { calls, schedule_and_build, build_again }
    }

    /// The operation of a call.
    pub(crate) fn of(&self, call: &ConductorCall) -> OpId {
        self.calls[index_of(call)]
    }
}

/// The same steps on another database.
fn on_schema(steps: Vec<Step>, schema: Schema) -> Vec<Step> {
    let move_to = |step| if let Step::Take(_) = step { Step::Take(schema) } else { step };
    steps.into_iter().map(move_to).collect()
}

/// Position in `CALLS`; a test holds the two against each other.
fn index_of(call: &ConductorCall) -> usize {
    match call {
        ConductorCall::Ping => 0,
        ConductorCall::GetMinimumVersion => 1,
        ConductorCall::GetService => 2,
        ConductorCall::GetNodesByUuid => 3,
        ConductorCall::GetInstancesAtStart
        | ConductorCall::GetInstances
        | ConductorCall::GetInstancesWithPower
        | ConductorCall::GetInstancesToSync => 4,
        ConductorCall::GetEvacuations | ConductorCall::GetIncompleteMigrations => 5,
        ConductorCall::CreateService => 6,
        ConductorCall::SaveService { .. } => 7,
        ConductorCall::GetNodesByHost => 8,
        ConductorCall::GetNode => 9,
        ConductorCall::CreateNode => 10,
        ConductorCall::SaveNode { .. } => 11,
        ConductorCall::GetPciDevices => 12,
        ConductorCall::GetInstancesByNode => 13,
        ConductorCall::GetMigrations => 14,
        ConductorCall::GetServiceOfNode => 15,
        ConductorCall::GetInstance(_) => 16,
        ConductorCall::RefreshInstance(_) => 17,
        ConductorCall::GetPendingDeletes | ConductorCall::GetRunningDeleted(_) | ConductorCall::GetImageCacheUsers => {
            18
        }
        ConductorCall::CleanConsoleTokens => 19,
        ConductorCall::StartEvent(..) | ConductorCall::StartStop(_) => 20,
        ConductorCall::FinishEvent { .. } => 21,
        ConductorCall::SaveInstance(..) | ConductorCall::SavePowerState(..) | ConductorCall::SavePoweringOff(_) => 22,
        ConductorCall::CreateFault { .. } => 23,
        ConductorCall::DestroyInstance(_) => 24,
        ConductorCall::GetBlockDevices(_) => 25,
        ConductorCall::SaveBlockDevice(_) => 26,
        ConductorCall::CreateInterface { .. } => 27,
        ConductorCall::DeleteInterfaces(_) => 28,
        ConductorCall::RefreshInfoCache(_) => 29,
        ConductorCall::SaveInfoCache(_) | ConductorCall::SaveInfoCacheWithout { .. } => 30,
        ConductorCall::GetShares(_) => 31,
        ConductorCall::GetResources(_) => 32,
        ConductorCall::CleanInstanceConsoleTokens(_) => 33,
        ConductorCall::GetEvacuated(_) | ConductorCall::LoadField(..) | ConductorCall::GetInstanceToHeal(_) => 16,
        // A few rows of one VM, as its block devices are.
        ConductorCall::GetInterfaces(_) => 25,
        ConductorCall::EndEvacuation(_) => 17,
        // No server of a scenario is in a group; a query is like another.
        ConductorCall::GetGroup(_) | ConductorCall::GetUuidsOnHost => 32,
        ConductorCall::GetIncomingMigrations => 14,
    }
}

impl World {
    /// A hypervisor calls the conductor.
    pub(crate) fn call_conductor(&mut self, host: u32, asker: Asker, call: &ConductorCall) -> TaskId {
        let mut subject = Subject::host(host);
        let mut note = NONE;
        match call {
            ConductorCall::SaveInstance(server, state) => {
                subject.instance = facts::number_of(*server);
                note = *state as u32;
            }
            ConductorCall::DestroyInstance(server) | ConductorCall::GetInstanceToHeal(server) => {
                subject.instance = facts::number_of(*server)
            }
            ConductorCall::SaveNode { usage, .. } => {
                let threshold = self.settings.disable_threshold;
                let facts = self.facts.host(host);
                facts.usage = facts::Counts {
                    instances: usage.instances(),
                    building: usage.building(),
                    failed_builds: usage.failed_builds(),
                };
                // `consecutive_build_service_disable_threshold`: nova-compute disables its own service.
                facts.disabled |= threshold > 0 && facts.usage.failed_builds >= i64::from(threshold);
            }
            ConductorCall::CreateFault { instance, message } => {
                self.facts.server(facts::number_of(*instance)).fault = Some(message.clone());
            }
            _ => {}
        }
        let op = self.ops.conductor.of(call);
        let task = self.tasks.add(op, asker, subject);
        self.tasks[task].note = note;
        self.send_request(Topic::Conductor, task);
        task
    }

    /// A server is to be built: the cast of nova-api, or of a host that could not.
    pub(crate) fn cast_to_conductor(&mut self, op: OpId, server: u32) {
        let subject = Subject { instance: server, ..Subject::NOTHING };
        let task = self.tasks.add(op, Asker::Nobody, subject);
        self.send_request(Topic::Conductor, task);
    }

    /// The server cannot be built.
    pub(crate) fn build_fails(&mut self, server: u32, why: &str) {
        let now = self.now;
        let facts = self.facts.server(server);
        if facts.state == ServerState::Building {
            (facts.state, facts.changed) = (ServerState::Error, now);
            facts.fault.get_or_insert_with(|| why.to_owned());
        }
    }
}

fn nothing(_: &mut World, _: TaskId) -> Flow {
    Flow::Next
}

fn service_row(world: &World, task: TaskId) -> Option<Row> {
    Some(Row::Service(world.tasks[task].subject.host))
}

fn server_row(world: &World, task: TaskId) -> Option<Row> {
    Some(Row::Instance(world.tasks[task].subject.instance))
}

fn find_service(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].result = Ok(Response::Found(world.facts.host(host).service));
    Flow::Next
}

fn find_node(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].result = Ok(Response::Found(world.facts.host(host).node));
    Flow::Next
}

fn list_servers(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].result = Ok(Response::Instances(world.facts.instances_of(host)));
    Flow::Next
}

fn find_server(world: &mut World, task: TaskId) -> Flow {
    let (host, server) = (world.tasks[task].subject.host, world.tasks[task].subject.instance);
    let mut found = world.facts.instances_of(host);
    found.retain(|instance| facts::number_of(instance.uuid) == server);
    world.tasks[task].result = Ok(Response::Instances(found));
    Flow::Next
}

fn create_service(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    if !std::mem::replace(&mut world.facts.host(host).service, true) {
        world.facts.compute_services += 1;
    }
    // A service that was never seen counts from when it was made.
    seen(world, task);
    Flow::Next
}

/// The heartbeat: `last_seen_up` by the clock of the conductor that writes it. `update` alone, at start-up, carries no beat.
fn save_service(world: &mut World, task: TaskId) -> Flow {
    if world.tasks[task].note == NONE {
        seen(world, task);
    }
    Flow::Next
}

fn seen(world: &mut World, task: TaskId) {
    let machine = world.machine_of(world.tasks[task].process);
    let clock_ns = world.machines[usize::from(machine)].clock_ns(world.now);
    let host = world.tasks[task].subject.host;
    world.facts.host(host).last_seen_ns = Some(clock_ns);
}

fn create_node(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.facts.host(host).node = true;
    Flow::Next
}

fn save_server(world: &mut World, task: TaskId) -> Flow {
    let (host, number, state) = {
        let task = &world.tasks[task];
        (task.subject.host, task.subject.instance, task.note)
    };
    let now = world.now;
    let server = world.facts.server(number);
    if server.state == ServerState::Gone {
        return Flow::Fail(Fault::Remote("InstanceNotFound".to_owned()));
    }
    let is = |candidate: InstanceState| state == candidate as u32;
    let ends = is(InstanceState::Deleted) || is(InstanceState::Error);
    if server.deleting && !ends {
        return Flow::Fail(Fault::Remote("UnexpectedDeletingTaskStateError".to_owned()));
    }
    server.changed = now;
    if is(InstanceState::Claimed) {
        world.facts.move_to(number, host);
    } else if is(InstanceState::Active) {
        server.state = ServerState::Active;
        // The poller may see it before its host has the answer to the save.
        server.moments.active.get_or_insert(now);
    } else if is(InstanceState::Error) {
        server.state = ServerState::Error;
    } else if is(InstanceState::Rescheduling) {
        world.facts.move_to(number, NONE);
    }
    Flow::Next
}

fn destroy_server(world: &mut World, task: TaskId) -> Flow {
    let (server, now) = (world.tasks[task].subject.instance, world.now);
    world.facts.remove_server(server, now);
    Flow::Next
}

/// `select_destinations`: the handler waits for the scheduler.
fn ask_scheduler(world: &mut World, task: TaskId) -> Flow {
    let subject = world.tasks[task].subject;
    let now = world.now;
    world.facts.server(subject.instance).moments.scheduling_asked = Some(now);
    let op = world.ops.scheduler.select;
    let child = world.tasks.add(op, Asker::Task(task), subject);
    world.send_request(Topic::Scheduler, child);
    world.watch_call(child);
    Flow::Wait
}

/// The scheduler has chosen: the records are made, the host is told.
fn cast_build(world: &mut World, task: TaskId) -> Flow {
    let number = world.tasks[task].subject.instance;
    let now = world.now;
    let server = world.facts.server(number);
    if let Some(asked) = server.moments.scheduling_asked {
        server.moments.scheduling_took.get_or_insert(now - asked);
    }
    build_on_next(world, number, "No valid host was found.")
}

/// `build_instances` after a host could not: the next alternate, as long as attempts are left.
fn cast_build_again(world: &mut World, task: TaskId) -> Flow {
    let number = world.tasks[task].subject.instance;
    build_on_next(world, number, "Exceeded maximum number of retries.")
}

fn build_on_next(world: &mut World, number: u32, otherwise: &str) -> Flow {
    let attempts = world.settings.max_attempts;
    let server = world.facts.server(number);
    if server.deleting || server.state != ServerState::Building {
        return Flow::Next;
    }
    let next = if server.attempts < attempts { server.alternates.first().copied() } else { None };
    let Some(host) = next else {
        world.build_fails(number, otherwise);
        return Flow::Next;
    };
    server.alternates.remove(0);
    server.attempts += 1;
    let nics = server.nics;
    if server.allocated_on != host {
        // An alternate's resources are claimed by the conductor before the cast.
        world.facts.allocate(number, host);
    }
    let networks = (0..nics).map(|_| uuid::Uuid::from_u128(NETWORK)).collect();
    world.send_to_host(
        host,
        Rpc::Build { instance: facts::instance(number), networks, group: None, retry: true, disk_named: false },
    );
    Flow::Next
}

/// The one network of the run.
const NETWORK: u128 = 0x4e7_0000_0000_4000_8000_0000_0000_0001;

#[cfg(test)]
mod tests {
    use hypervisor::ActionEvent;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_call_has_its_place() {
        let vm = Uuid::from_u128(1);
        let calls = [
            ConductorCall::Ping,
            ConductorCall::GetMinimumVersion,
            ConductorCall::GetService,
            ConductorCall::GetNodesByUuid,
            ConductorCall::GetInstancesAtStart,
            ConductorCall::GetInstances,
            ConductorCall::GetEvacuations,
            ConductorCall::CreateService,
            ConductorCall::SaveService { report_count: 1 },
            ConductorCall::GetNodesByHost,
            ConductorCall::GetNode,
            ConductorCall::CreateNode,
            ConductorCall::SaveNode { usage: Default::default(), touched: Default::default() },
            ConductorCall::GetPciDevices,
            ConductorCall::GetInstancesByNode,
            ConductorCall::GetMigrations,
            ConductorCall::GetServiceOfNode,
            ConductorCall::GetInstance(vm),
            ConductorCall::RefreshInstance(vm),
            ConductorCall::GetPendingDeletes,
            ConductorCall::GetIncompleteMigrations,
            ConductorCall::CleanConsoleTokens,
            ConductorCall::GetRunningDeleted(vec![vm]),
            ConductorCall::GetImageCacheUsers,
            ConductorCall::StartEvent(vm, ActionEvent::Build),
            ConductorCall::FinishEvent { instance: vm, event: ActionEvent::Build, failure: None },
            ConductorCall::SaveInstance(vm, InstanceState::Active),
            ConductorCall::CreateFault { instance: vm, message: String::new() },
            ConductorCall::DestroyInstance(vm),
            ConductorCall::GetBlockDevices(vm),
            ConductorCall::SaveBlockDevice(vm),
            ConductorCall::CreateInterface { instance: vm, port: vm },
            ConductorCall::DeleteInterfaces(vm),
            ConductorCall::RefreshInfoCache(vm),
            ConductorCall::SaveInfoCache(vm),
            ConductorCall::GetShares(vm),
            ConductorCall::GetResources(vm),
            ConductorCall::CleanInstanceConsoleTokens(vm),
            ConductorCall::GetInstanceToHeal(vm),
            ConductorCall::LoadField(vm, hypervisor::LazyField::InfoCache),
            ConductorCall::GetInstancesWithPower,
            ConductorCall::SavePowerState(vm, 4),
            ConductorCall::SavePoweringOff(vm),
        ];
        for call in calls {
            assert_eq!(CALLS[index_of(&call)].0, call.name());
        }
    }
}
