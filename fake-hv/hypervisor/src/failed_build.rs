//! What becomes of a build that failed (`_do_build_and_run_instance` and what it calls when it catches an exception). Each step is
//! best effort, as in the original: what cannot be undone now is left for the audit.

use uuid::Uuid;

use crate::{
    ConductorCall, Fault, InstanceState, Milestone, Notice, PlacementRequest,
    build::{Failure, Order},
    executor::Host,
    network::{self, Refresh},
    terminate::look_for_shares,
};

/// Gives back what the build has, and says what becomes of the VM.
pub(crate) async fn run(host: &Host, order: &Order, failure: Failure) {
    let uuid = order.instance.uuid;
    host.milestone(Milestone::BuildFailed(uuid));
    host.state().tracker.build_failed();
    if !matches!(failure, Failure::Gone) {
        give_networks_back(host, order).await;
    }
    match failure {
        Failure::Reschedule(reason) if order.retry => {
            let _lost = host.conductor(ConductorCall::SaveInstance(uuid, InstanceState::Rescheduling)).await.err();
            give_allocations_back(host, uuid).await;
            host.notice(Notice::Reschedule { instance: uuid, reason });
        }
        Failure::Reschedule(message) | Failure::Abort(message) => {
            let fault = ConductorCall::CreateFault { instance: uuid, message };
            let _lost = host.conductor(fault).await.err();
            let _lost = host.conductor(ConductorCall::SaveInstance(uuid, InstanceState::BuildError)).await.err();
        }
        Failure::Deleted | Failure::Gone => {}
    }
}

/// What comes after the end of the action event.
pub(crate) async fn forget(host: &Host, uuid: Uuid) {
    let rescheduled =
        host.peek().guests.get(&uuid).is_some_and(|guest| guest.instance.task_state == Some("scheduling"));
    if !rescheduled {
        give_allocations_back(host, uuid).await;
    }
    host.state().guests.remove(&uuid);
    host.milestone(Milestone::Gone(uuid));
}

/// `_shutdown_instance` of a guest that did not come up.
pub(crate) async fn shut_down(host: &Host, uuid: Uuid) {
    let _lost = look_for_shares(host, uuid).await.err();
    let _lost = look_for_ports(host, uuid).await.err();
}

/// Without cached network information the original looks for some before it gives anything back.
async fn look_for_ports(host: &Host, uuid: Uuid) -> Result<(), Fault> {
    let cached = host.peek().guests.get(&uuid).is_some_and(|guest| guest.ports_cached);
    if cached { Ok(()) } else { network::refresh_info_cache(host, uuid, Refresh::All).await }
}

/// `_cleanup_allocated_networks`.
async fn give_networks_back(host: &Host, order: &Order) {
    let uuid = order.instance.uuid;
    if look_for_ports(host, uuid).await.is_err() {
        return;
    }
    if !order.networks.is_empty() && network::deallocate(host, uuid).await.is_err() {
        return;
    }
    let _lost = host.conductor(ConductorCall::SaveInstance(uuid, InstanceState::WithoutNetwork)).await.err();
}

async fn give_allocations_back(host: &Host, uuid: Uuid) {
    let _left = host.placement(PlacementRequest::DeleteAllocations(uuid)).await.err();
}
