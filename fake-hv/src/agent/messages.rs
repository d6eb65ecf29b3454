//! Messages of the L2 agent to neutron-server's RPC workers (`neutron/agent/rpc.py`, `resources_rpc.py`).

use hypervisor::{AgentCall, Lookup};
use serde_json::{Value, json};
use uuid::Uuid;

use super::AgentRelease;
use crate::timestamp;

/// Topic, method and arguments of a call.
pub(crate) struct AgentBody {
    pub(crate) topic: &'static str,
    pub(crate) method: &'static str,
    pub(crate) args: Value,
}

/// A request context of Neutron's for an administrator without user.
#[derive(Debug)]
pub(crate) struct AgentContext {
    request_id: Uuid,
    since: Box<str>,
}

impl AgentContext {
    pub(crate) fn new() -> Self {
        let since = timestamp::now_micros().replacen('T', " ", 1).into_boxed_str();
        Self { request_id: Uuid::new_v4(), since }
    }

    /// `_context_*`.
    pub(crate) fn write(&self, release: &AgentRelease) -> Value {
        let mut context = json!({
            "_context_user": null, "_context_project_id": null, "_context_system_scope": null, "_context_project": null,
            "_context_domain": null, "_context_user_domain": null, "_context_project_domain": null,
            "_context_is_admin": true, "_context_read_only": false, "_context_show_deleted": false,
            "_context_auth_token": null, "_context_request_id": format!("req-{}", self.request_id),
            "_context_global_request_id": null, "_context_resource_uuid": null,
            "_context_roles": ["admin", "member", "reader"], "_context_user_identity": "- - - - -",
            "_context_is_admin_project": true, "_context_user_id": null, "_context_timestamp": self.since,
            "_context_project_name": null, "_context_user_name": null,
        });
        for (field, value) in &release.context {
            context[format!("_context_{field}")] = value.clone();
        }
        context
    }
}

/// The message of a call.
pub(crate) fn call(release: &AgentRelease, host: &str, call: &AgentCall, now: &str) -> AgentBody {
    let agent_id = format!("ovs-agent-{host}");
    let list = |up: &[Uuid], down: &[Uuid], refresh: bool| {
        json!({
            "devices_up": up, "devices_down": down, "agent_id": agent_id, "host": host, "refresh_tunnels": refresh,
        })
    };
    let (topic, args) = match call {
        AgentCall::FindServer => (release.report_topic, json!({})),
        AgentCall::ReportState { versions, start, devices } => {
            let mut state = state(host, *devices);
            if *versions {
                let versions = serde_json::from_str(release.resource_versions.get());
                state["resource_versions"] = versions.expect("it was parsed as JSON once");
            }
            if *start {
                state["start_flag"] = true.into();
            }
            (release.report_topic, json!({"agent_state": {"agent_state": state}, "time": now}))
        }
        AgentCall::LookUp(lookup) => (release.plugin_topic, pull(release, lookup)),
        AgentCall::GetNetwork(network) => {
            (release.plugin_topic, json!({"network": network, "agent_id": agent_id, "host": host}))
        }
        AgentCall::DevicesUp { ports, refresh_tunnels } => (release.plugin_topic, list(ports, &[], *refresh_tunnels)),
        AgentCall::DevicesDown(ports) => (release.plugin_topic, list(&[], ports, false)),
        AgentCall::DeviceDown(port) => {
            (release.plugin_topic, json!({"device": port, "agent_id": agent_id, "host": host}))
        }
    };
    AgentBody { topic, method: call.name(), args }
}

/// Arguments of `bulk_pull`.
fn pull(release: &AgentRelease, lookup: &Lookup) -> Value {
    let (resource, filter) = match lookup {
        Lookup::Port(id) => ("Port", json!({"id": [id]})),
        Lookup::Network(id) => ("Network", json!({"id": [id]})),
        Lookup::Group(id) => ("SecurityGroup", json!({"id": [id]})),
        Lookup::Rules(group) => ("SecurityGroupRule", json!({"security_group_id": [group]})),
        Lookup::Members(groups) => ("Port", json!({"security_group_ids": groups})),
        Lookup::AddressGroup(id) => ("AddressGroup", json!({"id": [id]})),
        Lookup::GroupsWithAddresses(group) => ("SecurityGroupRule", json!({"remote_address_group_id": [group]})),
    };
    json!({"resource_type": resource, "version": release.resource_version(resource), "filter_kwargs": filter})
}

/// The agent's state with the openvswitch firewall driver, one physical network and no tunnels.
fn state(host: &str, devices: usize) -> Value {
    let inventory = json!({"allocation_ratio": 1.0, "min_unit": 1, "step_size": 1, "reserved": 0});
    json!({
        "binary": "neutron-openvswitch-agent", "host": host, "topic": "N/A", "agent_type": "Open vSwitch agent",
        // One of its own for each report, which the server only logs.
        "uuid": Uuid::new_v4(),
        "configurations": {
            "bridge_mappings": {"physnet1": "br-physnet1"},
            "resource_provider_bandwidths": {}, "resource_provider_inventory_defaults": inventory,
            "resource_provider_packet_processing_without_direction": {},
            "resource_provider_packet_processing_with_direction": {},
            "resource_provider_packet_processing_inventory_defaults": inventory,
            "resource_provider_hypervisors": {"rp_tunnelled": host, "br-physnet1": host},
            "integration_bridge": "br-int", "tunnel_types": [], "tunneling_ip": null, "l2_population": false,
            "arp_responder_enabled": false, "enable_distributed_routing": false, "log_agent_heartbeats": false,
            "extensions": [], "datapath_type": "system",
            "ovs_capabilities": {"datapath_types": ["netdev", "system"], "iface_types": INTERFACE_TYPES},
            "vhostuser_socket_dir": "/var/run/openvswitch", "ovs_hybrid_plug": false, "baremetal_smartnic": false,
            "devices": devices, "in_distributed_mode": false,
        },
    })
}

/// Of Open vSwitch 3.1, as it tells the agent.
const INTERFACE_TYPES: [&str; 16] = [
    "afxdp",
    "afxdp-nonpmd",
    "bareudp",
    "erspan",
    "geneve",
    "gre",
    "gtpu",
    "internal",
    "ip6erspan",
    "ip6gre",
    "lisp",
    "patch",
    "stt",
    "system",
    "tap",
    "vxlan",
];
