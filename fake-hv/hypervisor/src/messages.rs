//! What goes in and out of a simulated hypervisor, typed. Drivers encode it: the live one as AMQP messages and HTTP
//! requests, the simulator not at all.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    AgentCall, Fault, Instance, Push, Response,
    http_requests::{NetworkRequest, PlacementRequest},
    procedure::{Operation, OperationId, StepMessage},
    tracker::{Touched, Usage},
};

/// Names one outstanding request of one hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);

/// The driver's name for one RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// What made a hypervisor do something. Nova gives each a request context, which goes with every message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Origin {
    /// Its start-up; the heartbeat goes on with that.
    #[default]
    StartUp,
    /// One run of a periodic task.
    Task(u32),
    /// An RPC.
    Rpc(Ticket),
}

/// What happens to a hypervisor.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The answer to a request. One that comes after the request's timeout is dropped.
    Reply {
        /// The request it answers.
        id: RequestId,
        /// What came back.
        result: Result<Response, Fault>,
    },
    /// An RPC from another service.
    Rpc {
        /// The driver's name for it, which comes back with everything that is done because of it.
        ticket: Ticket,
        /// What is asked for.
        rpc: Rpc,
    },
    /// Neutron told all L2 agents of something.
    Push(Push),
    /// Ports appeared on the bridge or went from it by other hands than this nova-compute's.
    Bridge {
        /// Ports that are there now.
        added: Vec<Uuid>,
        /// Ports that are not any more.
        removed: Vec<Uuid>,
    },
    /// Nothing but the passing of time.
    Tick,
}

/// What a hypervisor wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send a request and hand its answer back as [`Input::Reply`].
    Request {
        /// To name the answer with.
        id: RequestId,
        /// What to ask.
        request: Request,
        /// How long the hypervisor waits: `rpc_response_timeout`, the AMQP message's expiration. `None` for HTTP, where
        /// release defaults have no timeout.
        timeout: Option<Duration>,
        /// Because of what.
        origin: Origin,
    },
    /// Send a message that nobody answers.
    Notice {
        /// What to say.
        notice: Notice,
        /// Because of what.
        origin: Origin,
    },
    /// Nothing more will be done because of this.
    Over(Origin),
    /// Consume from the queues of these RPC servers.
    Serve(Servers),
    /// Something that measurement wants to know; no message.
    Milestone(Milestone),
}

/// Steps of a VM's life that happen inside the hypervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Milestone {
    /// Start-up went through: the compute service and its node are known to Nova and to Placement.
    Registered,
    /// Start-up ended for good: the host is called otherwise than when its node was made (`_check_for_host_rename`).
    RefusedToStart,
    /// `build_and_run_instance` arrived.
    BuildReceived(Uuid),
    /// The build got its slot of `max_concurrent_builds`.
    BuildStarted(Uuid),
    /// Resources are claimed and the network is being allocated.
    NetworkStarted(Uuid),
    /// All ports of the VM are created and bound.
    NetworkAllocated(Uuid),
    /// The driver starts the guest.
    SpawnStarted(Uuid),
    /// The guest runs; what is left is to tell Nova.
    SpawnFinished(Uuid),
    /// Nova knows the VM as ACTIVE.
    Active(Uuid),
    /// The build failed.
    BuildFailed(Uuid),
    /// The VM is deleted.
    Deleted(Uuid),
    /// The hypervisor will not speak of this VM any more: its record can go.
    Gone(Uuid),
    /// An RPC has been carried out: what the driver keeps for it can go.
    OperationEnded(OperationId),
    /// An RPC could not be carried out, likewise.
    OperationFailed(OperationId),
}

/// The kind of RPC event that a `compute` method is wrapped in (`InstanceActionEvent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionEvent {
    /// `compute__do_build_and_run_instance`.
    Build,
    /// `compute_terminate_instance`.
    Terminate,
    /// `compute_` and this method.
    Other(&'static str),
}

impl InstanceState {
    /// `vm_state` and `task_state` from now on; what is `None` stays as it is.
    pub(crate) fn states(self) -> (Option<&'static str>, Option<Option<&'static str>>) {
        match self {
            Self::Building => (Some("building"), Some(None)),
            Self::Claimed | Self::Unclaimed => (Some("building"), Some(None)),
            Self::Networking => (Some("building"), Some(Some("networking"))),
            Self::BlockDeviceMapping => (Some("building"), Some(Some("block_device_mapping"))),
            Self::Spawning => (Some("building"), Some(Some("spawning"))),
            Self::Active => (Some("active"), Some(None)),
            Self::Rescheduling => (None, Some(Some("scheduling"))),
            Self::Error | Self::BuildError => (Some("error"), Some(None)),
            Self::Deleted => (Some("deleted"), Some(None)),
            Self::Reverted => (None, Some(None)),
            Self::WithoutNetwork | Self::Cleaned => (None, None),
        }
    }
}

/// The states of an instance that a hypervisor saves, in the order of a build and a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Build accepted: `vm_state=building`, no task.
    Building,
    /// Claimed: host, node and compute id are set.
    Claimed,
    /// The claim is given up: without host, node and compute id.
    Unclaimed,
    /// Task `networking`.
    Networking,
    /// Task `block_device_mapping`.
    BlockDeviceMapping,
    /// Task `spawning`.
    Spawning,
    /// `vm_state=active`, running.
    Active,
    /// Back to task `scheduling`, without a host: another one will try.
    Rescheduling,
    /// `vm_state=error` after a failed operation.
    Error,
    /// `vm_state=error` after a failed build, without a host.
    BuildError,
    /// Its network is not allocated any more.
    WithoutNetwork,
    /// It is deleted, and now its files are, too.
    Cleaned,
    /// `vm_state=deleted`.
    Deleted,
    /// No task any more, after one that failed.
    Reverted,
}

/// A request that has an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A call to nova-conductor.
    Conductor(ConductorCall),
    /// A request to Placement.
    Placement(PlacementRequest),
    /// A request to Neutron's API.
    Network(NetworkRequest),
    /// `GET /v3` of Keystone: which version it speaks, once for each of the two sessions.
    IdentityVersion,
    /// A token from Keystone.
    Token(Session),
    /// A call of the L2 agent to neutron-rpc-server.
    Agent(AgentCall),
    /// A step of a procedure.
    Step(StepMessage),
}

/// Whom nova-compute logs in as: a token for each service it talks to, and one to show beside the token of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// The `[placement]` section's.
    Placement,
    /// The `[neutron]` section's.
    Network,
    /// The `[service_user]` section's.
    ServiceUser,
}

/// A field of a VM's record that is loaded where it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LazyField {
    /// Its flavor, the old and the new one.
    Flavor,
    /// What Nova notes of it.
    SystemMetadata,
    /// What is known of its ports.
    InfoCache,
}

/// Calls of nova-compute to nova-conductor. All but `Ping` are remotable methods of Nova's objects.
#[derive(Debug, Clone, PartialEq)]
pub enum ConductorCall {
    /// `ping` of the base API: is any conductor there?
    Ping,
    /// `Service.get_minimum_version`.
    GetMinimumVersion,
    /// `Service.get_by_host_and_binary`; answers [`Response::Found`].
    GetService,
    /// `ComputeNodeList.get_all_by_uuids`.
    GetNodesByUuid,
    /// `InstanceList.get_by_host` with the attributes that start-up wants; answers [`Response::Instances`].
    GetInstancesAtStart,
    /// `InstanceList.get_by_host` of a periodic task; answers [`Response::Instances`].
    GetInstances,
    /// The same, to tell the schedulers of them.
    GetInstancesToSync,
    /// `MigrationList.get_by_filters`: was anything evacuated away? Answers [`Response::Uuids`] with the VMs.
    GetEvacuations,
    /// `Service.create`.
    CreateService,
    /// `Service.save`: the heartbeat.
    SaveService {
        /// Beats so far.
        report_count: u64,
    },
    /// `ComputeNodeList.get_all_by_host`; answers [`Response::Found`].
    GetNodesByHost,
    /// `ComputeNode.get_by_uuid`; answers [`Response::Found`].
    GetNode,
    /// `ComputeNode.create`.
    CreateNode,
    /// `ComputeNode.save`.
    SaveNode {
        /// Resources in use.
        usage: Usage,
        /// Which fields are named as changed.
        touched: Touched,
    },
    /// `PciDeviceList.get_by_compute_node`.
    GetPciDevices,
    /// `InstanceList.get_by_host_and_node`; answers [`Response::Instances`].
    GetInstancesByNode,
    /// `MigrationList.get_in_progress_and_error`.
    GetMigrations,
    /// `Service.get_by_compute_host`.
    GetServiceOfNode,
    /// `Instance.get_by_uuid` for a VM that has an allocation here and is not tracked.
    GetInstance(Uuid),
    /// `InstanceList.get_by_host`, to compare the power state of each; answers [`Response::Instances`].
    GetInstancesWithPower,
    /// `Instance.refresh` before its power state is compared; answers [`Response::Refreshed`].
    RefreshInstance(Uuid),
    /// `InstanceList.get_by_filters` of `_run_pending_deletes`; answers [`Response::Instances`].
    GetPendingDeletes,
    /// `MigrationList.get_by_filters` of `_cleanup_incomplete_migrations`.
    GetIncompleteMigrations,
    /// `ConsoleAuthToken.clean_expired_console_auths`.
    CleanConsoleTokens,
    /// `InstanceList.get_by_filters` of `_cleanup_running_deleted_instances`, for the VMs that the driver has.
    GetRunningDeleted(Vec<Uuid>),
    /// `InstanceList.get_by_filters` of `_run_image_cache_manager_pass`.
    GetImageCacheUsers,
    /// `InstanceActionEvent.event_start`.
    StartEvent(Uuid, ActionEvent),
    /// `InstanceActionEvent.event_finish_with_failure`.
    FinishEvent {
        /// The instance.
        instance: Uuid,
        /// Which event.
        event: ActionEvent,
        /// Why it failed; `None`: it did not.
        failure: Option<String>,
    },
    /// `Instance.save`; answers `Remote` with class `UnexpectedDeletingTaskStateError` when the user was quicker.
    SaveInstance(Uuid, InstanceState),
    /// `InstanceFault.create`.
    CreateFault {
        /// The instance.
        instance: Uuid,
        /// What went wrong.
        message: String,
    },
    /// `Instance.destroy`.
    DestroyInstance(Uuid),
    /// `BlockDeviceMappingList.get_by_instance_uuid`.
    GetBlockDevices(Uuid),
    /// `BlockDeviceMapping.save` of the root disk's device name.
    SaveBlockDevice(Uuid),
    /// `VirtualInterface.create`.
    CreateInterface {
        /// The instance.
        instance: Uuid,
        /// The Neutron port.
        port: Uuid,
    },
    /// `VirtualInterface.delete_by_instance_uuid`.
    DeleteInterfaces(Uuid),
    /// `InstanceInfoCache.refresh`.
    RefreshInfoCache(Uuid),
    /// `InstanceInfoCache.save`.
    SaveInfoCache(Uuid),
    /// Likewise, of a VM whose port was deleted in Neutron. Not sent when the cache has no such port.
    SaveInfoCacheWithout {
        /// The VM.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// `ShareMappingList.get_by_instance_uuid`.
    GetShares(Uuid),
    /// `ResourceList.get_by_instance_uuid`.
    GetResources(Uuid),
    /// `ConsoleAuthToken.clean_console_auths_for_instance`.
    CleanInstanceConsoleTokens(Uuid),
    /// `Instance.get_by_uuid` of a VM that was evacuated from here.
    GetEvacuated(Uuid),
    /// `Migration.save`: this end of the evacuation of a VM is over, too.
    EndEvacuation(Uuid),
    /// `Instance.get_by_uuid` of the VM whose info cache is healed next; answers [`Response::Instances`], with none when it is not
    /// here any more.
    GetInstanceToHeal(Uuid),
    /// `Instance.get_by_uuid`, for a field that the record came without.
    LoadField(Uuid, LazyField),
    /// `Instance.save` of the power state that the driver has.
    SavePowerState(Uuid, u8),
    /// `Instance.save` of a VM that stopped by itself: it is to be stopped.
    SavePoweringOff(Uuid),
    /// `InstanceAction.action_start` of that.
    StartStop(Uuid),
    /// `VirtualInterfaceList.get_by_instance_uuid`: the order of its ports.
    GetInterfaces(Uuid),
    /// `InstanceGroup.get_by_uuid`; answers [`Response::Uuids`] with its members.
    GetGroup(Uuid),
    /// `InstanceList.get_uuids_by_host`; answers [`Response::Uuids`].
    GetUuidsOnHost,
    /// `MigrationList.get_in_progress_by_host_and_node`; answers [`Response::Uuids`] with the VMs that move.
    GetIncomingMigrations,
}

/// RPC servers of a hypervisor that start together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// Those of nova-compute.
    Compute,
    /// Those of the L2 agent to which Neutron pushes resources.
    Resources,
    /// Those of the L2 agent for notifications and trunks, which start when a neutron-server has answered.
    Notifications,
}

/// A message that nobody answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Notice {
    /// Fanout `update_instance_info` to the schedulers with all VMs that start-up found.
    InstancesAtStart,
    /// Fanout `update_instance_info` to the schedulers: a VM came or changed.
    InstanceChanged(Uuid),
    /// Fanout `delete_instance_info`.
    InstanceDeleted(Uuid),
    /// Fanout `sync_instance_info`: the UUIDs of all VMs here.
    InstanceSync(Vec<Uuid>),
    /// A step of a procedure that nobody answers, or the answer to its RPC.
    Step(StepMessage),
    /// Cast `stop_instance` to this very host: its guest stopped by itself, and Nova is to know.
    Stop(Uuid),
    /// Cast `build_instances` to the conductor: try the VM on another host.
    Reschedule {
        /// The instance.
        instance: Uuid,
        /// Why this host could not.
        reason: String,
    },
}

/// RPCs to a compute service.
#[derive(Debug, Clone, PartialEq)]
pub enum Rpc {
    /// Cast `build_and_run_instance`.
    Build {
        /// The VM.
        instance: Instance,
        /// One network for each NIC.
        networks: Vec<Uuid>,
        /// The anti-affinity group that the VM is in.
        group: Option<Uuid>,
        /// Whether other hosts may try when this one cannot.
        retry: bool,
        /// Whether its root disk has a device name, from a host that tried before.
        disk_named: bool,
    },
    /// An RPC that is carried out as the release's data has it.
    Operation(Operation),
    /// Cast `terminate_instance`.
    Terminate {
        /// The VM.
        instance: Instance,
    },
    /// Several events in one cast: one after another.
    Events(Vec<Rpc>),
    /// Cast `external_instance_event` with `network-vif-plugged`.
    VifPlugged {
        /// The VM.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// Cast `external_instance_event` with `network-vif-deleted` of a port that the VM's network information has.
    VifDeleted {
        /// The VM.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
    /// Cast `external_instance_event` with `network-changed`.
    NetworkChanged {
        /// The VM.
        instance: Uuid,
        /// The port.
        port: Uuid,
    },
}
