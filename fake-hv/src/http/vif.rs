//! Network information of a VM, as Nova keeps it in the info cache (`nova/network/model.py`).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    nova::{InstanceDocument, Port},
    values::list,
};

/// Longest name of an interface, as Nova has it.
const NIC_NAME_LEN: usize = 14;

/// Puts what Neutron said of a port into the info cache, in place of what the cache had of it (`_build_vif_model`).
pub(crate) fn cache(document: &mut InstanceDocument, port: Uuid) {
    let Some(record) = document.ports.iter().find(|known| known.id == port) else { return };
    let fresh = vif(document, record);
    document.subnets = Vec::new();
    document.dhcp_ports = Vec::new();
    document.change_vifs(|vifs| match vifs.iter_mut().find(|vif| vif["id"] == fresh["id"]) {
        Some(old) => *old = fresh,
        None => vifs.push(fresh),
    });
}

fn vif(document: &InstanceDocument, port: &Port) -> Value {
    let record = &port.record;
    let or_empty = |name: &str| if record[name].is_object() { record[name].clone() } else { json!({}) };
    let bridged_by_ovs = record["binding:vif_type"] == "ovs";
    let active = record["admin_state_up"] == false || record["status"] == "ACTIVE";
    json!({
        "id": port.id, "address": port.mac_address, "network": network(document, port, bridged_by_ovs),
        "type": record["binding:vif_type"], "details": or_empty("binding:vif_details"), "devname": devname(port),
        "ovs_interfaceid": bridged_by_ovs.then_some(port.id), "qbh_params": null, "qbg_params": null,
        "active": active, "vnic_type": record["binding:vnic_type"], "profile": or_empty("binding:profile"),
        "preserve_on_delete": false, "delegate_create": true, "meta": {},
    })
}

fn devname(port: &Port) -> String {
    let mut name = format!("tap{}", port.id);
    name.truncate(NIC_NAME_LEN);
    name
}

fn network(document: &InstanceDocument, port: &Port, bridged_by_ovs: bool) -> Value {
    let network = document.networks.get(&port.network).cloned().unwrap_or_default();
    let bridge = port.record["binding:vif_details"]["bridge_name"].as_str().unwrap_or("br-int");
    json!({
        "id": port.network, "bridge": bridged_by_ovs.then_some(bridge), "label": network.name,
        "subnets": document.subnets.iter().map(|subnet| self::subnet(document, port, subnet)).collect::<Vec<_>>(),
        "meta": {
            "injected": false, "tenant_id": network.project, "mtu": network.mtu, "physical_network": network.physical,
            "tunneled": network.tunneled,
        },
    })
}

fn subnet(document: &InstanceDocument, port: &Port, subnet: &Value) -> Value {
    let on_subnet = |address: &&Value| address["subnet_id"] == subnet["id"];
    let ips = list(&port.record["fixed_ips"]).iter().filter(on_subnet).map(|address| {
        let mut ip = ip(&address["ip_address"], "fixed");
        ip["floating_ips"] = json!([]);
        ip
    });
    let routes = list(&subnet["host_routes"]).iter().map(|route| {
        json!({
            "cidr": route["destination"], "gateway": ip(&route["nexthop"], "gateway"), "interface": null, "meta": {},
        })
    });
    json!({
        "cidr": subnet["cidr"], "gateway": ip(&subnet["gateway_ip"], "gateway"), "version": version(&subnet["cidr"]),
        "dns": list(&subnet["dns_nameservers"]).iter().map(|server| ip(server, "dns")).collect::<Vec<_>>(),
        "ips": ips.collect::<Vec<_>>(), "routes": routes.collect::<Vec<_>>(), "meta": subnet_meta(document, subnet),
    })
}

fn subnet_meta<'a>(document: &'a InstanceDocument, subnet: &Value) -> Map<String, Value> {
    let mut meta = Map::from_iter([("enable_dhcp".to_owned(), (subnet["enable_dhcp"] == true).into())]);
    if subnet["ipv6_address_mode"].is_string() {
        meta.insert("ipv6_address_mode".to_owned(), subnet["ipv6_address_mode"].clone());
    }
    let of_subnet = |port: &'a Value| list(&port["fixed_ips"]).iter().find(|ip| ip["subnet_id"] == subnet["id"]);
    // The last server stays, as in the original.
    if let Some(server) = document.dhcp_ports.iter().rev().find_map(of_subnet) {
        meta.insert("dhcp_server".to_owned(), server["ip_address"].clone());
    }
    meta
}

fn ip(address: &Value, kind: &str) -> Value {
    json!({"address": address, "type": kind, "version": version(address), "meta": {}})
}

/// Of an address or a CIDR.
fn version(address: &Value) -> Option<u8> {
    address.as_str().map(|text| if text.contains(':') { 6 } else { 4 })
}
