//! What a nova-compute asks over HTTP.

use uuid::Uuid;

#[cfg(doc)]
use crate::Response;

/// Requests of nova-compute to Placement.
#[derive(Debug, Clone, PartialEq)]
pub enum PlacementRequest {
    /// `GET /`: version discovery, once in a session.
    Discover,
    /// `GET /resource_providers?in_tree={uuid}`; answers [`Response::Found`].
    GetTree,
    /// `POST /resource_providers`.
    CreateProvider,
    /// `GET /resource_providers/{uuid}/inventories`; answers [`Response::Found`] when it has any.
    GetInventories,
    /// `GET /resource_providers/{uuid}/aggregates`; answers [`Response::Found`] when it is in any.
    GetAggregates,
    /// `GET /resource_providers?member_of=…`: who shares its resources with the aggregates of this provider?
    GetSharingProviders,
    /// `GET /resource_providers/{uuid}/traits`.
    GetTraits,
    /// `GET /resource_providers/{uuid}/allocations`; answers [`Response::Consumers`].
    GetProviderAllocations,
    /// `GET /allocations/{consumer}`.
    GetAllocations(Uuid),
    /// `GET /allocations/{consumer}` of a VM that was evacuated: what it has elsewhere will stay.
    GetEvacuatedAllocations(Uuid),
    /// `PUT /allocations/{consumer}` without those on this node.
    RemoveAllocations(Uuid),
    /// `DELETE /allocations/{consumer}`.
    DeleteAllocations(Uuid),
    /// `PUT /resource_providers/{uuid}/inventories`.
    PutInventories,
    /// `GET /traits?name=in:…`: do the traits that the driver reports exist?
    GetTraitNames,
    /// `PUT /resource_providers/{uuid}/traits`.
    PutTraits,
}

/// Requests of nova-compute to Neutron's API.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkRequest {
    /// `GET /networks` by id, as the VM's user: those that the build asks for.
    GetRequestedNetworks(Uuid),
    /// `GET /networks` by id: those of some of the VM's ports.
    GetNetworks {
        /// The instance.
        instance: Uuid,
        /// The ports.
        ports: Vec<Uuid>,
    },
    /// `GET /networks` of the VM's project, which a VM without ports could have.
    GetProjectNetworks(Uuid),
    /// `GET /networks` that are shared, likewise.
    GetSharedNetworks,
    /// `GET /ports` of the VM with nothing but where they are bound.
    GetPortBindings(Uuid),
    /// `GET /extensions`, cached for `[neutron] extension_sync_interval`; answers [`Response::Found`] when networks may
    /// have several segments (`multi-provider`).
    GetExtensions,
    /// `POST /ports`; answers [`Response::Port`].
    CreatePort {
        /// The instance.
        instance: Uuid,
        /// The network.
        network: Uuid,
    },
    /// `PUT /ports/{id}` with the binding to this host.
    BindPort {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `GET /ports` of the VM and its project.
    GetPorts {
        /// The instance.
        instance: Uuid,
        /// The port that it is about; `None`: all.
        only: Option<Uuid>,
    },
    /// `GET /ports` of the VM, whosever they are.
    GetAllPorts(Uuid),
    /// `GET /floatingips` of a port.
    GetFloatingIps {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `GET /subnets` of a port.
    GetSubnets {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `GET /ports` of the DHCP servers of a port's network.
    GetDhcpPorts {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `GET /networks/{id}` with the segments of a port's network; answers [`Response::Found`] when one of them is on a
    /// physical network.
    GetSegments {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `GET /networks/{id}` with the physical network of a port's network.
    GetPhysicalNetwork {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `DELETE /ports/{id}`.
    DeletePort {
        /// The instance.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
}

impl NetworkRequest {
    /// Whether it is made with the token of the user who asked, where there is one.
    pub fn passes_token_on(&self) -> bool {
        matches!(
            self,
            Self::GetRequestedNetworks(_)
                | Self::GetExtensions
                | Self::CreatePort { .. }
                | Self::GetAllPorts(_)
                | Self::DeletePort { .. }
        )
    }
}
