//! What Nova's notifications leave behind in the network information of a VM.
//!
//! `info_from_instance` (`nova/notifications/base.py`) lists the fixed addresses of a VM with the label of their network and the
//! MAC address of their port, and writes both into the very dictionaries of the VM's info cache. Whatever carries that VM
//! from then on carries them too. Where it is read again, what an address does not know becomes its `meta`.

use serde_json::{Map, Value};

const LABEL: &str = "label";
const MAC: &str = "vif_mac";

/// Each fixed address of a network information.
fn for_each_address(vifs: &mut Value, mut act: impl FnMut(&mut Map<String, Value>, &Value, &Value)) {
    for vif in vifs.as_array_mut().into_iter().flatten() {
        let (label, mac) = (vif["network"][LABEL].clone(), vif["address"].clone());
        let subnets = vif.pointer_mut("/network/subnets").and_then(Value::as_array_mut);
        for subnet in subnets.into_iter().flatten() {
            let addresses = subnet.get_mut("ips").and_then(Value::as_array_mut);
            for address in addresses.into_iter().flatten().filter_map(Value::as_object_mut) {
                act(address, &label, &mac);
            }
        }
    }
}

fn changed(network_info: &str, act: impl FnMut(&mut Map<String, Value>, &Value, &Value)) -> String {
    let Ok(mut vifs) = serde_json::from_str::<Value>(network_info) else { return network_info.to_owned() };
    for_each_address(&mut vifs, act);
    crate::amqp::json::dumps(&vifs)
}

/// Whether a notification has listed the addresses since this was read.
pub fn is_labelled(network_info: &str) -> bool {
    let mut vifs = serde_json::from_str(network_info).unwrap_or_default();
    let mut found = false;
    for_each_address(&mut vifs, |address, _, _| found |= address.contains_key(MAC));
    found
}

/// What a notification makes of it.
pub fn label(network_info: &str) -> String {
    changed(network_info, |address, label, mac| {
        address.insert(LABEL.to_owned(), label.clone());
        address.insert(MAC.to_owned(), mac.clone());
    })
}

/// What is read of it.
pub fn read_again(network_info: &str) -> String {
    if !is_labelled(network_info) {
        return network_info.to_owned();
    }
    changed(network_info, |address, _, _| {
        let moved: Vec<(String, Value)> =
            [LABEL, MAC].into_iter().filter_map(|name| Some((name.to_owned(), address.remove(name)?))).collect();
        let meta = address.entry("meta").or_insert_with(|| Value::Object(Map::new()));
        if let Some(meta) = meta.as_object_mut() {
            meta.extend(moved);
        }
    })
}

/// Path of the network information in a VM's record.
pub const NETWORK_INFO: &str = "info_cache/network_info";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn network_info(address: &Value) -> String {
        let network = json!({"label": "net", "subnets": [{"ips": [address]}]});
        json!([{"address": "fa:16:3e:00:00:01", "network": network}]).to_string()
    }

    #[test]
    fn a_notification_writes_into_each_address_and_reading_moves_it_away() {
        let plain = network_info(&json!({"address": "10.0.0.1", "meta": {}}));
        let labelled = label(&plain);
        assert!(is_labelled(&labelled) && !is_labelled(&plain));
        let read: Value = serde_json::from_str(&read_again(&labelled)).expect("JSON");
        let meta = json!({"label": "net", "vif_mac": "fa:16:3e:00:00:01"});
        assert_eq!(read[0]["network"]["subnets"][0]["ips"][0], json!({"address": "10.0.0.1", "meta": meta}));
        assert_eq!(read_again(&plain), plain);
    }

    #[test]
    fn what_is_no_network_information_stays_as_it_is() {
        for odd in ["", "null", "[]", "[1]", r#"[{"network":{"subnets":[{"ips":[1]}]}}]"#] {
            let same = |text: &str| serde_json::from_str::<Value>(text).ok();
            assert_eq!(same(&label(odd)), same(odd));
        }
    }
}
