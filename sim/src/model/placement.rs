//! Placement: resource providers and allocations.
//!
//! A claim reads the provider's generation, and raises it when it commits; one that finds it raised meanwhile tries again,
//! `allocation_conflict_retry_count` times, then answers 409.
//!
//! Left out: nested providers, traits that exclude hosts (a disabled host is filtered by the scheduler), `max_allocation_candidates`
//! (one candidate for each host), aggregates, reservations.

use hypervisor::{Fault, PlacementRequest, Response};

use super::{
    ServiceId, World, facts,
    ops::Ops,
    recipes::request,
    task::{Asker, Count, Flow, Hook, NONE, OpId, Recipe, Row, Schema, Step, Subject, TaskId},
};
use crate::calibration::Calibration;

pub(crate) const SERVICE: &str = "placement";

/// The operations of Placement.
#[derive(Debug)]
pub(crate) struct PlacementOps {
    discover: OpId,
    tree: OpId,
    create: OpId,
    inventories: OpId,
    aggregates: OpId,
    traits: OpId,
    provider_allocations: OpId,
    pub(crate) allocations: OpId,
    delete: OpId,
    put_inventories: OpId,
    trait_names: OpId,
    put_traits: OpId,
    pub(crate) candidates: OpId,
    pub(crate) claim: OpId,
}

impl PlacementOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let mut add = |request_: PlacementRequest, effect: Option<Hook>| {
            let name = request_.name();
            let steps = request(calibration.work(SERVICE, name), effect, None);
            ops.add(Recipe { name: format!("placement {name}"), steps })
        };
        let nobody = facts::server_uuid(0);
        let discover = add(PlacementRequest::Discover, None);
        let tree = add(PlacementRequest::GetTree, Some(find_provider));
        let create = add(PlacementRequest::CreateProvider, Some(create_provider));
        let inventories = add(PlacementRequest::GetInventories, Some(find_inventory));
        let aggregates = add(PlacementRequest::GetAggregates, None);
        let traits = add(PlacementRequest::GetTraits, None);
        let provider_allocations = add(PlacementRequest::GetProviderAllocations, Some(list_consumers));
        let allocations = add(PlacementRequest::GetAllocations(nobody), None);
        let delete = add(PlacementRequest::DeleteAllocations(nobody), Some(release));
        let put_inventories = add(PlacementRequest::PutInventories, Some(put_inventory));
        let trait_names = add(PlacementRequest::GetTraitNames, None);
        let put_traits = add(PlacementRequest::PutTraits, None);
        Self {
            discover,
            tree,
            create,
            inventories,
            aggregates,
            traits,
            provider_allocations,
            allocations,
            delete,
            put_inventories,
            trait_names,
            put_traits,
            candidates: candidates(ops, calibration),
            claim: claim(ops, calibration),
        }
    }

    /// The operation of a hypervisor's request.
    pub(crate) fn of(&self, request: &PlacementRequest) -> OpId {
        match request {
            PlacementRequest::Discover => self.discover,
            PlacementRequest::GetTree | PlacementRequest::GetSharingProviders => self.tree,
            PlacementRequest::CreateProvider => self.create,
            PlacementRequest::GetInventories => self.inventories,
            PlacementRequest::GetAggregates => self.aggregates,
            PlacementRequest::GetTraits => self.traits,
            PlacementRequest::GetProviderAllocations => self.provider_allocations,
            // No host of the model is evacuated.
            PlacementRequest::GetAllocations(_)
            | PlacementRequest::GetEvacuatedAllocations(_)
            | PlacementRequest::RemoveAllocations(_) => self.allocations,
            PlacementRequest::DeleteAllocations(_) => self.delete,
            PlacementRequest::PutInventories => self.put_inventories,
            PlacementRequest::GetTraitNames => self.trait_names,
            PlacementRequest::PutTraits => self.put_traits,
        }
    }
}

fn candidates(ops: &mut Ops, calibration: &Calibration) -> OpId {
    let name = "GET /allocation_candidates";
    let each = calibration.work(SERVICE, "candidate");
    let mut steps = request(calibration.work(SERVICE, name), None, None);
    let give = steps.iter().position(|step| matches!(step, Step::Give));
    if let Some(give) = give {
        steps.insert(give, Step::QueryEach(each.db_ms * 1e6, Count::Candidates));
    }
    steps.push(Step::CpuEach(each.cpu_ms * 1e6, Count::Candidates));
    ops.add(Recipe { name: format!("placement {name}"), steps })
}

/// How often each part of a claim lets go of the interpreter: twelve queries and two messages in three parts.
const RELEASES: f32 = 5.0;
/// The first step of a try to claim.
const TRY: u16 = 3;

fn claim(ops: &mut Ops, calibration: &Calibration) -> OpId {
    let name = "PUT /allocations/{consumer}";
    let work = calibration.work(SERVICE, name);
    let (cpu_ns, db_ns) = (work.cpu_ms * 1e6, work.db_ms * 1e6);
    let half = work.queries / 2;
    let steps = vec![
        Step::Validate,
        Step::Cpu { mean_ns: cpu_ns * 0.4, releases: RELEASES },
        Step::Take(Schema::Main),
        Step::Do(read_generation),
        Step::Query { db_ns: db_ns / 2.0, trips: half },
        Step::Cpu { mean_ns: cpu_ns * 0.3, releases: RELEASES },
        Step::Lock(provider_row),
        Step::Do(check_generation),
        Step::Write { db_ns: db_ns / 2.0, trips: work.queries - half + 1 },
        Step::Do(allocate),
        Step::Commit,
        Step::Give,
        Step::Cpu { mean_ns: cpu_ns * 0.3, releases: RELEASES },
    ];
    ops.add(Recipe { name: format!("placement {name}"), steps })
}

fn provider_row(world: &World, task: TaskId) -> Option<Row> {
    Some(Row::Provider(world.tasks[task].subject.host))
}

fn read_generation(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].note = world.facts.host(host).generation;
    Flow::Next
}

fn check_generation(world: &mut World, task: TaskId) -> Flow {
    let (host, read) = (world.tasks[task].subject.host, world.tasks[task].note);
    if world.facts.host(host).generation == read {
        return Flow::Next;
    }
    world.unlock_row(task);
    world.counters.conflicts += 1;
    let tries = &mut world.tasks[task].tries;
    *tries = tries.saturating_add(1);
    if u32::from(*tries) > world.settings.conflict_retries {
        return Flow::Fail(Fault::Http(409));
    }
    Flow::Goto(TRY)
}

/// Takes the room, if there is some.
fn allocate(world: &mut World, task: TaskId) -> Flow {
    let Subject { host, instance, .. } = world.tasks[task].subject;
    let room = world.facts.room as usize;
    if world.facts.host(host).consumers.len() >= room {
        return Flow::Fail(Fault::Http(409));
    }
    world.facts.allocate(instance, host);
    Flow::Next
}

fn find_provider(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].result = Ok(Response::Found(world.facts.host(host).provider));
    Flow::Next
}

fn create_provider(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.facts.host(host).provider = true;
    Flow::Next
}

fn find_inventory(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    world.tasks[task].result = Ok(Response::Found(world.facts.host(host).inventory));
    Flow::Next
}

fn put_inventory(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    if !std::mem::replace(&mut world.facts.host(host).inventory, true) {
        world.facts.providers.push(host);
    }
    Flow::Next
}

fn list_consumers(world: &mut World, task: TaskId) -> Flow {
    let host = world.tasks[task].subject.host;
    let consumers = world.facts.host(host).consumers.iter().map(|server| facts::server_uuid(*server)).collect();
    world.tasks[task].result = Ok(Response::Consumers(consumers));
    Flow::Next
}

fn release(world: &mut World, task: TaskId) -> Flow {
    let server = world.tasks[task].subject.instance;
    if server != NONE {
        world.facts.allocate(server, NONE);
    }
    Flow::Next
}

impl World {
    /// A hypervisor asks Placement.
    pub(crate) fn ask_placement(&mut self, host: u32, asker: Asker, request: &PlacementRequest) -> TaskId {
        let mut subject = Subject { token: self.tokens.placement_of(host), ..Subject::host(host) };
        if let PlacementRequest::DeleteAllocations(server) = request {
            subject.instance = facts::number_of(*server);
        }
        let task = self.tasks.add(self.ops.placement.of(request), asker, subject);
        self.send_http(ServiceId::Placement, task);
        task
    }
}
