//! Network information of a VM, as Nova keeps it in the info cache (`nova/network/model.py`).

use serde_json::{Value, json};

use crate::nova::{InstanceDocument, Port};

/// Makes the info cache from the ports, networks and subnets that Neutron gave, and lets go of those.
pub(crate) fn refresh(document: &mut InstanceDocument) {
    let vifs: Vec<Value> = document.ports.iter().map(|port| vif(document, port)).collect();
    document.set_network_info(&Value::from(vifs).to_string());
    document.networks = Value::Null;
    document.subnets = Vec::new();
}

fn vif(document: &InstanceDocument, port: &Port) -> Value {
    let record = &port.record;
    json!({
        "id": port.id, "address": port.mac_address, "network": network(document, port),
        "type": record["binding:vif_type"], "details": record["binding:vif_details"],
        "devname": devname(port), "ovs_interfaceid": port.id, "qbh_params": null, "qbg_params": null,
        "active": record["status"] == "ACTIVE", "vnic_type": record["binding:vnic_type"],
        "profile": record["binding:profile"], "preserve_on_delete": false, "delegate_create": true, "meta": {},
    })
}

/// `tap` and the first eleven characters of the port's id: what fits an interface name.
fn devname(port: &Port) -> String {
    let id = port.id.to_string();
    format!("tap{}", &id[..11])
}

fn network(document: &InstanceDocument, port: &Port) -> Value {
    let id = port.network.to_string();
    let networks = document.networks.as_array().map(Vec::as_slice).unwrap_or_default();
    let record = networks.iter().find(|network| network["id"] == id.as_str());
    let field = |name: &str| record.map_or(Value::Null, |record| record[name].clone());
    json!({
        "id": id, "bridge": "br-int", "label": field("name"), "subnets": subnets(document, port),
        "meta": {
            "injected": false, "tenant_id": field("tenant_id"), "mtu": field("mtu"),
            "physical_network": field("provider:physical_network"), "tunneled": false,
        },
    })
}

fn subnets(document: &InstanceDocument, port: &Port) -> Vec<Value> {
    let addresses = port.record["fixed_ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut seen: Vec<&Value> = Vec::new();
    let mut subnets = Vec::new();
    for address in addresses {
        let id = &address["subnet_id"];
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        let Some(subnet) = document.subnets.iter().find(|subnet| subnet["id"] == *id) else { continue };
        let ips =
            addresses.iter().filter(|other| other["subnet_id"] == *id).map(|other| ip(&other["ip_address"], "fixed"));
        subnets.push(json!({
            "cidr": subnet["cidr"], "dns": [], "gateway": ip(&subnet["gateway_ip"], "gateway"),
            "ips": ips.collect::<Vec<_>>(), "routes": [], "version": 4, "meta": {},
        }));
    }
    subnets
}

fn ip(address: &Value, kind: &str) -> Value {
    let mut ip = json!({"address": address, "type": kind, "version": 4, "meta": {}});
    if kind == "fixed" {
        ip["floating_ips"] = json!([]);
    }
    ip
}
