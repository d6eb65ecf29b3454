//! The resource tracker (`nova/compute/resource_tracker.py`) and the Placement client behind it
//! (`nova/scheduler/client/report.py`).

use uuid::Uuid;

use crate::{
    ConductorCall, Fault, Instance, InstanceState, PlacementRequest, Response, executor::Host, lock::LockName,
};

/// Why the node is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Start-up: the node may be new.
    Start,
    /// `update_available_resource`, the periodic task.
    Periodic,
}

/// Compares what Nova and Placement believe of this node with what runs here (`update_available_resource`).
pub(crate) async fn audit(host: &Host, occasion: Occasion) -> Result<(), Fault> {
    let nodes = host.conductor(ConductorCall::GetNodesByHost).await;
    let _lock = host.acquire(LockName::Resources).await;
    let new = occasion == Occasion::Start && init_node(host, &nodes).await?;
    if occasion == Occasion::Periodic {
        nodes?;
    }
    host.state().tracker.copy_resources();
    if new {
        host.state().tracker.created();
    }
    let instances = host.conductor(ConductorCall::GetInstancesByNode).await?.instances();
    host.conductor(ConductorCall::GetMigrations).await?;
    for instance in &instances {
        look_at_disks(host, instance.uuid).await?;
    }
    host.state().tracker.audit(&instances);
    if !new {
        forget_deleted(host).await?;
    }
    update(host).await
}

/// A VM that boots from a volume uses no local disk: that is looked up once for each VM.
async fn look_at_disks(host: &Host, instance: Uuid) -> Result<(), Fault> {
    if host.state().disks_known.insert(instance) {
        host.conductor(ConductorCall::GetBlockDevices(instance)).await?;
    }
    Ok(())
}

/// `_error_out_instances_whose_build_was_interrupted`: VMs with an allocation here that start-up did not find.
pub(crate) async fn find_interrupted_builds(host: &Host) {
    // The original logs that it cannot, and goes on: a node whose first start-up was cut off has no provider yet.
    let Ok(answer) = host.placement(PlacementRequest::GetProviderAllocations).await else { return };
    for consumer in answer.consumers() {
        if !host.peek().guests.contains_key(&consumer) {
            let _unknown = host.conductor(ConductorCall::GetInstance(consumer)).await.err();
        }
    }
}

/// `_init_compute_node`: creates the record when neither the host nor the UUID is known.
async fn init_node(host: &Host, nodes: &Result<Response, Fault>) -> Result<bool, Fault> {
    if let Err(fault @ (Fault::TimedOut | Fault::Disconnected | Fault::Http(_))) = nodes {
        return Err(fault.clone());
    }
    let node = host.conductor(ConductorCall::GetNode).await;
    let new = !matches!(&node, Ok(node) if node.found());
    if new {
        host.conductor(ConductorCall::CreateNode).await?;
    }
    host.conductor(ConductorCall::GetPciDevices).await?;
    Ok(new)
}

/// `_remove_deleted_instances_allocations`: looks up every consumer that is not a VM of this node.
async fn forget_deleted(host: &Host) -> Result<(), Fault> {
    let consumers = match host.placement(PlacementRequest::GetProviderAllocations).await {
        Ok(response) => response.consumers(),
        Err(_) => return Ok(()), // logged and skipped by the original, too
    };
    for consumer in consumers {
        if !host.peek().tracker.tracks(consumer) {
            // Gone from the database as well: the scheduler has just made it, or it was archived. Left alone either way.
            let _unknown = host.conductor(ConductorCall::GetInstance(consumer)).await.err();
        }
    }
    Ok(())
}

/// `_update`: tells Placement and, when something changed, the compute node record. The resource lock is held.
async fn update(host: &Host) -> Result<(), Fault> {
    ensure_provider(host).await?;
    let consumers = host.placement(PlacementRequest::GetProviderAllocations).await?.consumers();
    for consumer in consumers {
        host.placement(PlacementRequest::GetAllocations(consumer)).await?;
    }
    host.conductor(ConductorCall::GetServiceOfNode).await?;
    publish_provider(host).await?;
    let unsaved = host.peek().tracker.unsaved();
    if let Some((usage, touched)) = unsaved {
        host.conductor(ConductorCall::SaveNode { usage: usage.clone(), touched }).await?;
        host.state().tracker.saved(usage);
    }
    Ok(())
}

/// `_ensure_resource_provider`: reads, or creates, the provider when what is known of it is older than
/// `resource_provider_association_refresh`.
async fn ensure_provider(host: &Host) -> Result<(), Fault> {
    if !associations_stale(host) {
        return Ok(());
    }
    if !host.placement(PlacementRequest::GetTree).await?.found() {
        host.placement(PlacementRequest::CreateProvider).await?;
        host.state().provider = Provider::Empty;
    } else {
        let inventories = host.placement(PlacementRequest::GetInventories).await?.found();
        let in_aggregates = host.placement(PlacementRequest::GetAggregates).await?.found();
        host.placement(PlacementRequest::GetTraits).await?;
        if in_aggregates {
            host.placement(PlacementRequest::GetSharingProviders).await?;
        }
        host.state().provider = if inventories { Provider::Published } else { Provider::Empty };
    }
    let now = host.now();
    host.state().associations_read = Some(now);
    Ok(())
}

fn associations_stale(host: &Host) -> bool {
    let state = host.peek();
    match (state.associations_read, state.config.options.association_refresh) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(read), Some(refresh)) => host.now() - read > refresh,
    }
}

/// `update_from_provider_tree`: sends inventory and traits once; they do not change afterwards.
async fn publish_provider(host: &Host) -> Result<(), Fault> {
    if host.peek().provider == Provider::Published {
        return Ok(());
    }
    host.placement(PlacementRequest::PutInventories).await?;
    host.placement(PlacementRequest::GetTraitNames).await?;
    host.placement(PlacementRequest::PutTraits).await?;
    host.state().provider = Provider::Published;
    Ok(())
}

/// What Placement has of this node's resource provider, as far as known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Provider {
    /// Nothing known, or a provider without inventory.
    #[default]
    Empty,
    /// Inventory and traits are there.
    Published,
}

/// `instance_claim`: makes the VM this node's, under the resource lock.
pub(crate) async fn claim(host: &Host, instance: Uuid) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    host.conductor(ConductorCall::SaveInstance(instance, InstanceState::Claimed)).await?;
    book_claim(host, instance).await
}

/// What a claim changes in the books, and tells of it; the resource lock is held.
async fn book_claim(host: &Host, instance: Uuid) -> Result<(), Fault> {
    look_at_disks(host, instance).await?;
    if let Some(claimed) = known(host, instance) {
        host.state().tracker.claim(&claimed);
    }
    update(host).await
}

fn known(host: &Host, instance: Uuid) -> Option<Instance> {
    host.peek().guests.get(&instance).map(|guest| guest.instance.clone())
}

/// `abort_instance_claim`: a build gives up what it claimed.
pub(crate) async fn abort_claim(host: &Host, instance: Uuid) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    if let Some(claimed) = known(host, instance) {
        host.state().tracker.abort(&claimed);
    }
    host.state().disks_known.remove(&instance);
    host.conductor(ConductorCall::SaveInstance(instance, InstanceState::Unclaimed)).await?;
    update(host).await
}

/// `update_usage`: a VM that is claimed here has changed.
pub(crate) async fn tell_of_change(host: &Host, instance: Uuid) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    let Some(changed) = known(host, instance) else { return Ok(()) };
    if !host.state().tracker.changed(&changed) {
        return Ok(());
    }
    if !host.peek().tracker.tracks(instance) {
        host.state().disks_known.remove(&instance);
    }
    update(host).await
}

/// `update_usage` and `delete_allocation_for_instance` after the VM is gone.
pub(crate) async fn release(host: &Host, instance: Uuid) -> Result<(), Fault> {
    tell_of_change(host, instance).await?;
    host.placement(PlacementRequest::DeleteAllocations(instance)).await?;
    Ok(())
}

/// A claim for a VM that is here already: it is unshelved.
pub(crate) async fn claim_again(host: &Host, instance: Uuid) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    // The operation has looked at its disks.
    host.state().disks_known.insert(instance);
    book_claim(host, instance).await
}

/// An audit in the course of an operation, whose VM is not this node's any more.
pub(crate) async fn tell_of_audit(host: &Host, moved: Option<Uuid>) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    let here: Vec<Instance> = {
        let state = host.peek();
        let stay = state.guests.values().filter(|guest| Some(guest.instance.uuid) != moved);
        stay.map(|guest| guest.instance.clone()).collect()
    };
    {
        let mut state = host.state();
        state.tracker.copy_resources();
        state.tracker.audit(&here);
    }
    // Consumers that are no VMs of this node: the one that moved, under the name of its migration, and it is left alone.
    host.placement(PlacementRequest::GetProviderAllocations).await?;
    update(host).await
}

/// A move's claim, or the end of one. `size` has the resources that it is about.
pub(crate) async fn tell_of_move(host: &Host, size: &Instance, begins: bool) -> Result<(), Fault> {
    let _lock = host.acquire(LockName::Resources).await;
    host.state().disks_known.insert(size.uuid);
    match begins {
        true => host.state().tracker.move_in(size),
        false => host.state().tracker.drop_move(size),
    }
    update(host).await
}
