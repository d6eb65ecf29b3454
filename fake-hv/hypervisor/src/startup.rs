//! What nova-compute does before it serves (`nova/service.py`, `ComputeManager.init_host`, `pre_start_hook`).

use std::time::Duration;

use crate::{ConductorCall, Fault, Milestone, Output, Request, executor::Host, resources, state::Guest};

/// Timeout of the first ten pings; later ones wait for `rpc_response_timeout` (`nova/conductor/api.py`).
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const QUICK_PINGS: u32 = 10;
/// A nova-compute whose start-up fails exits, and its service manager starts it again; systemd units commonly wait this
/// long in between.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// Registers the compute service and its node; comes back when RPC may be served.
pub(crate) async fn run(host: &Host) {
    wait_for_conductor(host).await;
    while attempt(host).await.is_err() {
        host.sleep(RESTART_DELAY).await;
    }
    host.emit(Output::ServeRpc);
    host.milestone(Milestone::Registered);
}

async fn wait_for_conductor(host: &Host) {
    let patience = host.peek().config.options.rpc_response_timeout;
    for ping in 0.. {
        let timeout = if ping < QUICK_PINGS { PING_TIMEOUT } else { patience };
        if host.request(Request::Conductor(ConductorCall::Ping), Some(timeout)).await.is_ok() {
            return;
        }
    }
}

async fn attempt(host: &Host) -> Result<(), Fault> {
    host.conductor(ConductorCall::GetMinimumVersion).await?;
    let known = host.conductor(ConductorCall::GetService).await?.found();
    host.conductor(ConductorCall::GetNodesByUuid).await?;
    let instances = host.conductor(ConductorCall::GetInstancesAtStart).await?.instances();
    host.conductor(ConductorCall::GetEvacuations).await?;
    for instance in instances {
        let guest = Guest { running: true, claimed: true, ..Guest::new(instance) };
        host.state().guests.insert(guest.instance.uuid, guest);
    }
    let service = if known { ConductorCall::UpdateService } else { ConductorCall::CreateService };
    host.conductor(service).await?;
    resources::audit(host, resources::Occasion::Start).await
}
