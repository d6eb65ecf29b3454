//! Ports of VMs, as nova-compute handles them (`nova/network/neutron.py`).

use uuid::Uuid;

use crate::{
    ConductorCall, Fault, NetworkRequest, Response,
    executor::Host,
    lock::{InstanceLockName, LockName},
};

/// Which ports of a VM are looked up again for its info cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refresh {
    /// Those that were just allocated: their networks are known.
    Allocated,
    /// The one that changed, if the cache has any.
    Port(Uuid),
    /// Those that the cache has.
    All,
    /// Likewise, and the database is asked for their order.
    Forced,
}

/// `allocate_for_instance`: makes and binds one port for each network, then fills the VM's info cache.
pub(crate) async fn allocate(host: &Host, instance: Uuid, networks: &[Uuid]) -> Result<(), Fault> {
    host.network(NetworkRequest::GetRequestedNetworks(instance)).await?;
    let mut ports = Vec::with_capacity(networks.len());
    for network in networks {
        let created = host.network(NetworkRequest::CreatePort { instance, network: *network }).await?;
        let Response::Port(port) = created else { return Err(Fault::Remote("PortWithoutId".to_owned())) };
        ports.push(port);
        if let Some(guest) = host.state().guests.get_mut(&instance) {
            guest.ports.push(port); // known at once, so that a failed build gives it back
        }
    }
    read_extensions(host).await?;
    for port in ports {
        host.network(NetworkRequest::BindPort { instance, port }).await?;
        host.conductor(ConductorCall::CreateInterface { instance, port }).await?;
    }
    refresh_info_cache(host, instance, Refresh::Allocated).await
}

pub(crate) async fn read_extensions(host: &Host) -> Result<(), Fault> {
    if extensions_are_fresh(host) {
        return Ok(());
    }
    let _alone = host.acquire(LockName::Extensions).await;
    if extensions_are_fresh(host) {
        return Ok(());
    }
    let multi_provider = host.network(NetworkRequest::GetExtensions).await?.found();
    let now = host.now();
    let mut state = host.state();
    state.extensions_read = Some(now);
    state.multi_provider = multi_provider;
    Ok(())
}

fn extensions_are_fresh(host: &Host) -> bool {
    let state = host.peek();
    let interval = state.config.options.extension_sync_interval;
    state.extensions_read.is_some_and(|read| host.now() - read < interval)
}

/// `get_instance_nw_info`: reads what Neutron has of the VM's ports and saves it. Only one thread at a time does so for a VM:
/// Neutron tells of each change while a build is still reading.
pub(crate) async fn refresh_info_cache(host: &Host, instance: Uuid, refresh: Refresh) -> Result<(), Fault> {
    let _lock = host.lock_instance(instance, InstanceLockName::InfoCache).await;
    let refreshed = host.conductor(ConductorCall::RefreshInfoCache(instance)).await?;
    let only = if let Refresh::Port(port) = refresh { Some(port) } else { None };
    let current = match host.network(NetworkRequest::GetPorts { instance, only }).await? {
        Response::Ports(current) => Some(current),
        _ => None,
    };
    let (known, cached) = {
        let state = host.peek();
        let guest = state.guests.get(&instance);
        match refreshed {
            // What the cache has, whoever filled it.
            Response::Ports(cached) if refresh != Refresh::Allocated => (cached.clone(), !cached.is_empty()),
            _ => {
                let known = guest.map(|guest| guest.ports.clone()).unwrap_or_default();
                (known, guest.is_some_and(|guest| guest.ports_cached))
            }
        }
    };
    let gone = |port: &Uuid| current.as_ref().is_some_and(|current| !current.contains(port));
    let ports = match refresh {
        Refresh::Allocated => known,
        // A port that the cache lacks is added.
        Refresh::Port(port) if cached => Vec::from_iter(Some(port).filter(|port| !gone(port))),
        Refresh::All if cached => known,
        Refresh::Port(_) | Refresh::All => Vec::new(),
        Refresh::Forced => in_order(&known, current.as_deref().unwrap_or(&known)),
    };
    if refresh == Refresh::Forced {
        host.conductor(ConductorCall::GetInterfaces(instance)).await?;
    }
    let nothing_to_read = only.is_some() && cached && ports.is_empty();
    if refresh != Refresh::Allocated && !nothing_to_read {
        read_networks(host, instance, &ports).await?;
    }
    // A port that Neutron does not have any more is left out from now on.
    for port in ports.iter().filter(|port| !gone(port)) {
        read_port(host, instance, *port).await?;
    }
    if let Some(guest) = host.state().guests.get_mut(&instance) {
        guest.ports.retain(|port| !gone(port));
        guest.ports_cached |= !ports.is_empty();
    }
    host.conductor(ConductorCall::SaveInfoCache(instance)).await.map(drop)
}

/// `_get_ordered_port_list`: those that Neutron has, in the order in which they were added.
fn in_order(known: &[Uuid], current: &[Uuid]) -> Vec<Uuid> {
    let old = known.iter().filter(|port| current.contains(port));
    let new = current.iter().filter(|port| !known.contains(port));
    old.chain(new).copied().collect()
}

/// `_get_available_networks`: those of the ports, or without ports all that the VM could have.
async fn read_networks(host: &Host, instance: Uuid, ports: &[Uuid]) -> Result<(), Fault> {
    if !ports.is_empty() {
        return host.network(NetworkRequest::GetNetworks { instance, ports: ports.to_vec() }).await.map(drop);
    }
    host.network(NetworkRequest::GetProjectNetworks(instance)).await?;
    host.network(NetworkRequest::GetSharedNetworks).await.map(drop)
}

/// `_build_vif_model`.
async fn read_port(host: &Host, instance: Uuid, port: Uuid) -> Result<(), Fault> {
    host.network(NetworkRequest::GetFloatingIps { instance, port }).await?;
    host.network(NetworkRequest::GetSubnets { instance, port }).await?;
    host.network(NetworkRequest::GetDhcpPorts { instance, port }).await?;
    read_extensions(host).await?;
    let multi_provider = host.peek().multi_provider;
    if multi_provider && host.network(NetworkRequest::GetSegments { instance, port }).await?.found() {
        return Ok(());
    }
    host.network(NetworkRequest::GetPhysicalNetwork { instance, port }).await.map(drop)
}

/// `network-changed`: refreshes the cache of the VM that the port belongs to.
pub(crate) async fn refresh_after_event(host: &Host, instance: Uuid, port: Uuid) {
    if !host.peek().guests.contains_key(&instance) {
        return; // the VM is gone; the original logs it
    }
    let _failed = refresh_info_cache(host, instance, Refresh::Port(port)).await.err();
}

/// `network-vif-plugged`: whoever waits for the port may go on. Nobody does when the VM runs.
pub(crate) fn vif_plugged(host: &Host, instance: Uuid, port: Uuid) {
    if let Some(guest) = host.state().guests.get_mut(&instance)
        && !guest.running
        && !guest.plugged.contains(&port)
    {
        guest.plugged.push(port);
    }
    host.notify();
}

/// `network-vif-deleted`: the port is taken out of the VM's network information.
pub(crate) async fn vif_deleted(host: &Host, instance: Uuid, port: Uuid) {
    if let Some(guest) = host.state().guests.get_mut(&instance) {
        guest.ports.retain(|known| *known != port);
    }
    let _failed = host.conductor(ConductorCall::SaveInfoCacheWithout { instance, port }).await.err();
}

/// `deallocate_for_instance`: deletes the ports and what the database knows of them.
pub(crate) async fn deallocate(host: &Host, instance: Uuid) -> Result<(), Fault> {
    host.network(NetworkRequest::GetAllPorts(instance)).await?;
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
