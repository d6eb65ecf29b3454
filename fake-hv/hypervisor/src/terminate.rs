//! `terminate_instance` (`nova/compute/manager.py`).

use uuid::Uuid;

use crate::{
    ActionEvent, ConductorCall, Driver, Fault, Instance, InstanceState, Milestone, Notice,
    executor::Host,
    lock::InstanceLockName,
    network::{self, Refresh},
    resources,
    state::Guest,
};

/// Handles the cast.
pub(crate) async fn run(host: Host, told: Instance) {
    let instance = told.uuid;
    let _lost = host.conductor(ConductorCall::StartEvent(instance, ActionEvent::Terminate)).await.err();
    let _lock = host.lock_instance(instance, InstanceLockName::Operation).await;
    // A build that this has waited for may have ended without it, and Nova wants it deleted all the same.
    host.state().guests.entry(instance).or_insert_with(|| Guest::new(told));
    let failure = match terminate(&host, instance).await {
        Ok(()) => None,
        Err(Fault::Remote(class)) if class == "InstanceNotFound" => None, // somebody was quicker
        Err(fault) => {
            let _lost = host.conductor(ConductorCall::SaveInstance(instance, InstanceState::Error)).await.err();
            Some(fault.to_string())
        }
    };
    let finish = ConductorCall::FinishEvent { instance, event: ActionEvent::Terminate, failure };
    let _lost = host.conductor(finish).await.err();
    if !host.peek().guests.contains_key(&instance) {
        host.milestone(Milestone::Gone(instance));
    }
}

/// What is mounted in it, if its release mounts shares.
pub(crate) async fn look_for_shares(host: &Host, instance: Uuid) -> Result<(), Fault> {
    if host.peek().config.habits.looks_for_shares {
        host.conductor(ConductorCall::GetShares(instance)).await?;
    }
    Ok(())
}

async fn terminate(host: &Host, instance: Uuid) -> Result<(), Fault> {
    look_for_shares(host, instance).await?;
    let ports = host.peek().guests.get(&instance).map(|guest| guest.ports.clone()).unwrap_or_default();
    if ports.is_empty() {
        // Without cached network information the original looks for some before it destroys the guest.
        network::refresh_info_cache(host, instance, Refresh::All).await?;
    }
    destroy_guest(host, instance, ports).await;
    network::deallocate(host, instance).await?;
    host.conductor(ConductorCall::SaveInstance(instance, InstanceState::Deleted)).await?;
    // What it had is let go of, if it was counted here.
    if host.peek().tracker.tracks(instance) {
        host.conductor(ConductorCall::GetResources(instance)).await?;
    }
    resources::release(host, instance).await?;
    if host.peek().config.options.consoles {
        host.conductor(ConductorCall::CleanInstanceConsoleTokens(instance)).await?;
    }
    if host.peek().config.options.track_instance_changes {
        host.notice(Notice::InstanceDeleted(instance));
    }
    host.conductor(ConductorCall::DestroyInstance(instance)).await?;
    host.state().guests.remove(&instance);
    host.notify(); // a build of this VM that still waits for its ports sees that it is gone
    host.milestone(Milestone::Deleted(instance));
    Ok(())
}

async fn destroy_guest(host: &Host, instance: Uuid, ports: Vec<Uuid>) {
    let destroy = host.state().draw(|times| &times.destroy);
    host.sleep(destroy).await;
    let mut state = host.state();
    if let Some(guest) = state.guests.get_mut(&instance) {
        guest.running = false;
        guest.on_driver = false;
    }
    if state.config.driver == Driver::Plugging {
        state.agent_work.removed.extend(ports);
    }
    drop(state);
    host.notify();
}
