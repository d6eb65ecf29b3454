//! Messages of the L2 agent to neutron-rpc-server (`neutron/agent/rpc.py`, the Open vSwitch agent).

use hypervisor::AgentCall;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::nova::{Identity, Release};

/// Topic, method, arguments and version of a message to neutron-rpc-server.
pub(crate) struct AgentBody {
    pub(crate) topic: &'static str,
    pub(crate) method: &'static str,
    pub(crate) version: &'static str,
    pub(crate) args: Value,
}

const PLUGIN: &str = "q-plugin";
const REPORTS: &str = "q-reports-plugin";

/// The message of a call.
pub(crate) fn call(release: &Release, identity: &Identity, call: &AgentCall, now: &str) -> AgentBody {
    let agent_id = format!("ovs-agent-{}", identity.host);
    match call {
        AgentCall::ReportState { start } => report_state(release, identity, *start, now),
        AgentCall::GetDeviceDetails(ports) => AgentBody {
            topic: PLUGIN,
            method: call.name(),
            version: "1.5",
            args: json!({"devices": ports, "agent_id": agent_id, "host": identity.host}),
        },
        AgentCall::DevicesUp(ports) => update_device_list(identity, &agent_id, ports, &[]),
        AgentCall::DevicesDown(ports) => update_device_list(identity, &agent_id, &[], ports),
    }
}

fn update_device_list(identity: &Identity, agent_id: &str, up: &[Uuid], down: &[Uuid]) -> AgentBody {
    let args = json!({
        "devices_up": up, "devices_down": down, "agent_id": agent_id, "host": identity.host, "refresh_tunnels": false,
    });
    AgentBody { topic: PLUGIN, method: "update_device_list", version: "1.9", args }
}

/// `report_state`, as a call or a cast.
pub(crate) fn report_state(release: &Release, identity: &Identity, start: bool, now: &str) -> AgentBody {
    let mut state = json!({
        "binary": "neutron-openvswitch-agent", "host": identity.host, "topic": "N/A",
        "agent_type": "Open vSwitch agent",
        "uuid": identity.node, // one of its own for each report, which the server only logs
        "configurations": {
            "bridge_mappings": {"physnet1": "br-physnet1"}, "integration_bridge": "br-int", "tunnel_types": [],
            "tunneling_ip": null, "l2_population": false, "arp_responder_enabled": false,
            "enable_distributed_routing": false, "log_agent_heartbeats": false, "extensions": [],
            "datapath_type": "system", "ovs_capabilities": {"datapath_types": ["system"], "iface_types": ["system"]},
            "vhostuser_socket_dir": "/var/run/openvswitch", "ovs_hybrid_plug": false, "baremetal_smartnic": false,
            "resource_provider_bandwidths": {}, "resource_provider_inventory_defaults": {},
            "resource_provider_hypervisors": {},
        },
    });
    if start {
        state["start_flag"] = true.into();
    }
    let args = json!({"agent_state": {"agent_state": state}, "time": now});
    AgentBody { topic: REPORTS, method: "report_state", version: release.rpc_versions.agent_reports, args }
}
