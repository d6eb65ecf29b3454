//! What nova-compute does before it serves (`nova/service.py`, `ComputeManager.init_host`, `pre_start_hook`).

use std::time::Duration;

use uuid::Uuid;

use crate::{
    ConductorCall, Driver, Fault, Milestone, Notice, Origin, Output, PlacementRequest, Request, Response, Servers,
    Session, executor::Host, power_state, resources, state::Guest,
};

/// Timeout of the first ten pings; later ones wait for `rpc_response_timeout` (`nova/conductor/api.py`).
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const QUICK_PINGS: u32 = 10;
/// A nova-compute whose start-up fails exits, and its service manager starts it again; systemd units commonly wait this
/// long in between.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// Registers the compute service and its node; comes back when RPC may be served, or never: then it says `false`.
pub(crate) async fn run(host: &Host) -> bool {
    host.begin_task();
    wait_for_conductor(host).await;
    loop {
        match attempt(host).await {
            Ok(()) => break,
            // A service manager would start it again and again, and it would end here each time: that is left out.
            Err(Exit::Renamed) => {
                host.milestone(Milestone::RefusedToStart);
                return false;
            }
            Err(Exit::Failed) => host.sleep(RESTART_DELAY).await,
        }
    }
    host.emit(Output::Serve(Servers::Compute));
    host.milestone(Milestone::Registered);
    true
}

async fn wait_for_conductor(host: &Host) {
    let patience = host.peek().config.options.rpc_response_timeout;
    for ping in 0.. {
        let timeout = if ping < QUICK_PINGS { PING_TIMEOUT } else { patience };
        match host.request(Request::Conductor(ConductorCall::Ping), Some(timeout)).await {
            Ok(_) => return,
            Err(Fault::TimedOut) => {}
            // Anything but silence ends the process.
            Err(_) => host.sleep(RESTART_DELAY).await,
        }
    }
}

/// Why a start-up ended before it was through.
enum Exit {
    Failed,
    /// The host has another name than its node was made with, and Nova cannot rename hosts.
    Renamed,
}

impl From<Fault> for Exit {
    fn from(_: Fault) -> Self {
        Self::Failed
    }
}

async fn attempt(host: &Host) -> Result<(), Exit> {
    // Each part makes a request context of its own; the service's record keeps the one that it was read with.
    host.begin_task();
    host.open_session(Session::Placement).await?;
    host.conductor(ConductorCall::GetMinimumVersion).await?;
    host.set_origin(Origin::StartUp);
    let known = host.conductor(ConductorCall::GetService).await?.found();
    host.begin_task();
    init_host(host).await?;
    if !known {
        host.set_origin(Origin::StartUp);
        host.conductor(ConductorCall::CreateService).await?;
    }
    host.begin_task();
    Ok(resources::audit(host, resources::Occasion::Start).await?)
}

/// `_destroy_evacuated_instances`: a VM that was evacuated while this host was away is not its own any more.
async fn let_go(host: &Host, evacuated: Uuid) -> Result<(), Fault> {
    if host.conductor(ConductorCall::GetEvacuated(evacuated)).await.is_err() {
        return Ok(()); // it was deleted meanwhile
    }
    host.placement(PlacementRequest::GetEvacuatedAllocations(evacuated)).await?;
    host.placement(PlacementRequest::GetTree).await?;
    host.placement(PlacementRequest::RemoveAllocations(evacuated)).await?;
    host.conductor(ConductorCall::EndEvacuation(evacuated)).await.map(drop)
}

/// `ComputeManager.init_host`: takes over the VMs that Nova has here.
async fn init_host(host: &Host) -> Result<(), Exit> {
    let node_known = match host.conductor(ConductorCall::GetNodesByUuid).await? {
        Response::OfAnotherHost => return Err(Exit::Renamed),
        answer => answer.found(),
    };
    let instances = host.conductor(ConductorCall::GetInstancesAtStart).await?.instances();
    let loads = host.peek().config.habits.loads_at_start;
    for instance in &instances {
        for field in loads {
            host.conductor(ConductorCall::LoadField(instance.uuid, *field)).await?;
        }
    }
    for evacuated in host.conductor(ConductorCall::GetEvacuations).await?.uuids() {
        let_go(host, evacuated).await?;
    }
    let found = !instances.is_empty();
    let driver = host.peek().config.driver;
    for instance in instances {
        let stays = driver == Driver::Plugging;
        let running = stays && instance.power_state == power_state::RUNNING;
        let guest = Guest { running, on_driver: stays, ..Guest::new(instance) };
        host.state().guests.insert(guest.instance.uuid, guest);
    }
    if node_known {
        resources::find_interrupted_builds(host).await;
    }
    if found && host.peek().config.options.track_instance_changes {
        host.notice(Notice::InstancesAtStart);
    }
    Ok(())
}
