//! Ports of VMs, as nova-compute handles them (`nova/network/neutron.py`).

use std::time::Duration;

use uuid::Uuid;

use crate::{ConductorCall, Fault, NetworkRequest, Response, executor::Host};

/// `[neutron] extension_sync_interval`.
const EXTENSION_SYNC_INTERVAL: Duration = Duration::from_secs(600);

/// `allocate_for_instance`: makes and binds one port for each network, then fills the VM's info cache.
pub(crate) async fn allocate(host: &Host, instance: Uuid, networks: &[Uuid]) -> Result<(), Fault> {
    host.network(NetworkRequest::GetNetworks(instance)).await?;
    read_extensions(host).await?;
    let mut ports = Vec::with_capacity(networks.len());
    for network in networks {
        let created = host.network(NetworkRequest::CreatePort { instance, network: *network }).await?;
        let Response::Port(port) = created else { return Err(Fault::Remote("PortWithoutId".to_owned())) };
        ports.push(port);
        if let Some(guest) = host.state().guests.get_mut(&instance) {
            guest.ports.push(port); // known at once, so that a failed build gives it back
        }
    }
    for port in ports {
        host.network(NetworkRequest::BindPort { instance, port }).await?;
        host.conductor(ConductorCall::CreateInterface { instance, port }).await?;
    }
    rebuild_info_cache(host, instance).await
}

async fn read_extensions(host: &Host) -> Result<(), Fault> {
    let now = host.now();
    let fresh = host.peek().extensions_read.is_some_and(|read| now - read < EXTENSION_SYNC_INTERVAL);
    if !fresh {
        host.network(NetworkRequest::GetExtensions).await?;
        host.state().extensions_read = Some(now);
    }
    Ok(())
}

/// `get_instance_nw_info`: reads all ports of the VM and saves what it finds.
pub(crate) async fn rebuild_info_cache(host: &Host, instance: Uuid) -> Result<(), Fault> {
    host.conductor(ConductorCall::RefreshInfoCache(instance)).await?;
    host.network(NetworkRequest::GetPorts(instance)).await?;
    let ports = host.peek().guests.get(&instance).map(|guest| guest.ports.clone()).unwrap_or_default();
    if !ports.is_empty() {
        host.network(NetworkRequest::GetNetworks(instance)).await?;
    }
    for port in ports {
        host.network(NetworkRequest::GetFloatingIps { instance, port }).await?;
        host.network(NetworkRequest::GetSubnets { instance, port }).await?;
        host.network(NetworkRequest::GetDhcpPorts { instance, port }).await?;
    }
    host.conductor(ConductorCall::SaveInfoCache(instance)).await.map(drop)
}

/// `network-changed`: refreshes the cache of the VM that the port belongs to.
pub(crate) async fn refresh_after_event(host: Host, instance: Uuid, _port: Uuid) {
    if !host.peek().guests.contains_key(&instance) {
        return; // the VM is gone; the original logs it
    }
    let _failed = rebuild_info_cache(&host, instance).await.err();
}

/// `network-vif-plugged`: whoever waits for the port may go on.
pub(crate) fn vif_plugged(host: &Host, instance: Uuid, port: Uuid) {
    if let Some(guest) = host.state().guests.get_mut(&instance)
        && !guest.plugged.contains(&port)
    {
        guest.plugged.push(port);
    }
    host.notify();
}

/// `deallocate_for_instance`: deletes the ports and what the database knows of them.
pub(crate) async fn deallocate(host: &Host, instance: Uuid) -> Result<(), Fault> {
    host.network(NetworkRequest::GetPorts(instance)).await?;
    let ports = host.peek().guests.get(&instance).map(|guest| guest.ports.clone()).unwrap_or_default();
    for port in ports {
        match host.network(NetworkRequest::DeletePort { instance, port }).await {
            Ok(_) | Err(Fault::Http(404)) => {}
            Err(fault) => return Err(fault),
        }
    }
    host.conductor(ConductorCall::DeleteInterfaces(instance)).await?;
    host.conductor(ConductorCall::SaveInfoCache(instance)).await.map(drop)
}
