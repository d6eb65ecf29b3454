//! What the L2 agent says to Neutron, and what it hears.

use uuid::Uuid;

/// Calls of the L2 agent to neutron-server's RPC workers.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentCall {
    /// `has_alive_neutron_server`; answers [`crate::Response::Found`].
    FindServer,
    /// `report_state`; answers [`crate::Response::Revived`] when Neutron had taken the agent for dead.
    ReportState {
        /// With the versions of all resources, until one report has gone through.
        versions: bool,
        /// With a start flag, until the agent has looked at its bridge.
        start: bool,
        /// Ports on the bridge when it was last read as a whole.
        devices: usize,
    },
    /// Something that Neutron may have pushed before; only what it has not is asked for.
    LookUp(Lookup),
    /// `get_network_details` of a network that changed.
    GetNetwork(Uuid),
    /// `update_device_list` with ports that are wired: they go ACTIVE and Nova gets its event.
    DevicesUp {
        /// Them.
        ports: Vec<Uuid>,
        /// Whether the agent wants to be told of all tunnels: at its first look.
        refresh_tunnels: bool,
    },
    /// `update_device_list` with ports that are gone.
    DevicesDown(Vec<Uuid>),
    /// `update_device_down` of a port whose user wants it down.
    DeviceDown(Uuid),
}

/// What an L2 agent wants to know of the cloud: `bulk_pull`, unless its cache has it (`neutron/agent/resource_cache.py`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lookup {
    /// The port of this id; answers [`crate::Response::AgentPort`].
    Port(Uuid),
    /// The network of this id; answers [`crate::Response::Found`] when Neutron was asked.
    Network(Uuid),
    /// The security group of this id.
    Group(Uuid),
    /// The rules of this security group; answers [`crate::Response::Remotes`].
    Rules(Uuid),
    /// The ports in these security groups.
    Members(Vec<Uuid>),
    /// The address group of this id.
    AddressGroup(Uuid),
    /// The rules with this address group; answers [`crate::Response::Groups`].
    GroupsWithAddresses(Uuid),
}

/// What Neutron tells all L2 agents of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Push {
    /// A port that is new or other than it was.
    Port(Uuid),
    /// A network, likewise.
    Network(Uuid),
    /// A security group whose rules changed.
    Group(Uuid),
    /// An address group that changed.
    AddressGroup(Uuid),
}

/// What an L2 agent has to know of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPort {
    /// Its network.
    pub network: Uuid,
    /// Its security groups.
    pub groups: Vec<Uuid>,
    /// Whether its user wants it up.
    pub admin_up: bool,
    /// Whether it is bound to this host.
    pub bound: bool,
    /// Whether Neutron had to be asked.
    pub asked: bool,
}
