//! What kind of request it is, and the names that reports use for it: object and method as Nova has them, method and path shape for HTTP.

use crate::{AgentCall, ConductorCall, HttpService, NetworkRequest, PlacementRequest, Request};

impl Request {
    /// Which service is asked: `conductor`, `placement`, `neutron`, `keystone` or `neutron-rpc`.
    pub fn service(&self) -> &'static str {
        match self {
            Self::Conductor(_) => "conductor",
            Self::Placement(_) => "placement",
            Self::Network(_) => "neutron",
            Self::Token(_) | Self::IdentityVersion => "keystone",
            Self::Agent(_) => "neutron-rpc",
            Self::Step(message) => match message.service {
                None => "conductor",
                Some(HttpService::Placement) => "placement",
                Some(HttpService::Neutron) => "neutron",
                Some(HttpService::Glance) => "glance",
            },
        }
    }

    /// Whether it goes over AMQP, and its answer comes back there.
    pub(crate) fn is_rpc(&self) -> bool {
        match self {
            Self::Conductor(_) | Self::Agent(_) => true,
            Self::Step(message) => message.service.is_none(),
            Self::Placement(_) | Self::Network(_) | Self::Token(_) | Self::IdentityVersion => false,
        }
    }

    /// What is asked, such as `Service.save` or `GET /allocations/{consumer}`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conductor(call) => call.name(),
            Self::Placement(request) => request.name(),
            Self::Network(request) => request.name(),
            Self::IdentityVersion => "GET /v3",
            Self::Token(_) => "POST /v3/auth/tokens",
            Self::Agent(call) => call.name(),
            Self::Step(message) => message.name,
        }
    }
}

impl ConductorCall {
    /// Object and method, or the bare method where there is no object.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::GetMinimumVersion => "Service.get_minimum_version",
            Self::GetService => "Service.get_by_host_and_binary",
            Self::GetNodesByUuid => "ComputeNodeList.get_all_by_uuids",
            Self::GetInstancesAtStart | Self::GetInstances | Self::GetInstancesWithPower | Self::GetInstancesToSync => {
                "InstanceList.get_by_host"
            }
            Self::GetEvacuations | Self::GetIncompleteMigrations => "MigrationList.get_by_filters",
            Self::CreateService => "Service.create",
            Self::SaveService { .. } => "Service.save",
            Self::GetNodesByHost => "ComputeNodeList.get_all_by_host",
            Self::GetNode => "ComputeNode.get_by_uuid",
            Self::CreateNode => "ComputeNode.create",
            Self::SaveNode { .. } => "ComputeNode.save",
            Self::GetPciDevices => "PciDeviceList.get_by_compute_node",
            Self::GetInstancesByNode => "InstanceList.get_by_host_and_node",
            Self::GetMigrations => "MigrationList.get_in_progress_and_error",
            Self::GetServiceOfNode => "Service.get_by_compute_host",
            Self::GetInstance(_) => "Instance.get_by_uuid",
            Self::RefreshInstance(_) => "Instance.refresh",
            Self::GetPendingDeletes | Self::GetRunningDeleted(_) | Self::GetImageCacheUsers => {
                "InstanceList.get_by_filters"
            }
            Self::CleanConsoleTokens => "ConsoleAuthToken.clean_expired_console_auths",
            Self::StartEvent(..) => "InstanceActionEvent.event_start",
            Self::FinishEvent { .. } => "InstanceActionEvent.event_finish_with_failure",
            Self::SaveInstance(..) | Self::SavePowerState(..) | Self::SavePoweringOff(_) => "Instance.save",
            Self::StartStop(_) => "InstanceAction.action_start",
            Self::CreateFault { .. } => "InstanceFault.create",
            Self::DestroyInstance(_) => "Instance.destroy",
            Self::GetBlockDevices(_) => "BlockDeviceMappingList.get_by_instance_uuid",
            Self::SaveBlockDevice(_) => "BlockDeviceMapping.save",
            Self::CreateInterface { .. } => "VirtualInterface.create",
            Self::DeleteInterfaces(_) => "VirtualInterface.delete_by_instance_uuid",
            Self::RefreshInfoCache(_) => "InstanceInfoCache.refresh",
            Self::SaveInfoCache(_) | Self::SaveInfoCacheWithout { .. } => "InstanceInfoCache.save",
            Self::GetShares(_) => "ShareMappingList.get_by_instance_uuid",
            Self::GetEvacuated(_) | Self::GetInstanceToHeal(_) | Self::LoadField(..) => "Instance.get_by_uuid",
            Self::GetInterfaces(_) => "VirtualInterfaceList.get_by_instance_uuid",
            Self::EndEvacuation(_) => "Migration.save",
            Self::GetGroup(_) => "InstanceGroup.get_by_uuid",
            Self::GetUuidsOnHost => "InstanceList.get_uuids_by_host",
            Self::GetIncomingMigrations => "MigrationList.get_in_progress_by_host_and_node",
            Self::GetResources(_) => "ResourceList.get_by_instance_uuid",
            Self::CleanInstanceConsoleTokens(_) => "ConsoleAuthToken.clean_console_auths_for_instance",
        }
    }
}

impl PlacementRequest {
    /// Method and path shape.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Discover => "GET /",
            Self::GetTree | Self::GetSharingProviders => "GET /resource_providers",
            Self::CreateProvider => "POST /resource_providers",
            Self::GetInventories => "GET /resource_providers/{uuid}/inventories",
            Self::GetAggregates => "GET /resource_providers/{uuid}/aggregates",
            Self::GetTraits => "GET /resource_providers/{uuid}/traits",
            Self::GetProviderAllocations => "GET /resource_providers/{uuid}/allocations",
            Self::GetAllocations(_) | Self::GetEvacuatedAllocations(_) => "GET /allocations/{consumer}",
            Self::RemoveAllocations(_) => "PUT /allocations/{consumer}",
            Self::DeleteAllocations(_) => "DELETE /allocations/{consumer}",
            Self::PutInventories => "PUT /resource_providers/{uuid}/inventories",
            Self::GetTraitNames => "GET /traits",
            Self::PutTraits => "PUT /resource_providers/{uuid}/traits",
        }
    }
}

impl NetworkRequest {
    /// Method and path shape.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GetRequestedNetworks(_)
            | Self::GetNetworks { .. }
            | Self::GetProjectNetworks(_)
            | Self::GetSharedNetworks => "GET /v2.0/networks",
            Self::GetSegments { .. } | Self::GetPhysicalNetwork { .. } => "GET /v2.0/networks/{id}",
            Self::GetExtensions => "GET /v2.0/extensions",
            Self::CreatePort { .. } => "POST /v2.0/ports",
            Self::BindPort { .. } => "PUT /v2.0/ports/{id}",
            Self::GetPorts { .. } | Self::GetPortBindings(_) | Self::GetAllPorts(_) | Self::GetDhcpPorts { .. } => {
                "GET /v2.0/ports"
            }
            Self::GetFloatingIps { .. } => "GET /v2.0/floatingips",
            Self::GetSubnets { .. } => "GET /v2.0/subnets",
            Self::DeletePort { .. } => "DELETE /v2.0/ports/{id}",
        }
    }
}

impl AgentCall {
    /// The RPC method.
    pub fn name(&self) -> &'static str {
        match self {
            Self::FindServer => "has_alive_neutron_server",
            Self::ReportState { .. } => "report_state",
            Self::LookUp(_) => "bulk_pull",
            Self::GetNetwork(_) => "get_network_details",
            Self::DevicesUp { .. } | Self::DevicesDown(_) => "update_device_list",
            Self::DeviceDown(_) => "update_device_down",
        }
    }
}
