//! Neutron's API (`nova/network/neutron.py`).

use std::collections::BTreeSet;

use hypervisor::{Fault, NetworkRequest, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, HttpAnswer, HttpRequest, successful, vif};
use crate::{
    nova::{InstanceDocument, Port},
    values::{list, uuid},
};

impl Client<'_> {
    pub(super) fn encode_network(&self, request: &NetworkRequest) -> Option<HttpRequest> {
        use NetworkRequest as N;
        // Nova asks for what the user may see with the user's own token.
        let user = self.context.user_token();
        let (method, path, body, token) = match request {
            N::GetRequestedNetworks(instance) => {
                let ids = id_filter(&self.documents.get(instance)?.requested_networks());
                ("GET", format!("/v2.0/networks?{ids}"), None, user)
            }
            N::GetNetworks { instance, ports } => {
                let document = self.documents.get(instance)?;
                let ids: Vec<_> = ports.iter().filter_map(|port| document.network_of(*port)).collect();
                ("GET", format!("/v2.0/networks?{}", id_filter(&ids)), None, None)
            }
            N::GetProjectNetworks(instance) => {
                let project = self.documents.get(instance)?.project();
                ("GET", format!("/v2.0/networks?tenant_id={project}&shared=False"), None, None)
            }
            N::GetSharedNetworks => ("GET", "/v2.0/networks?shared=True".to_owned(), None, None),
            N::GetPortBindings(instance) => {
                let fields = "fields=binding%3Ahost_id&fields=binding%3Avif_type";
                ("GET", format!("/v2.0/ports?device_id={instance}&{fields}"), None, None)
            }
            N::GetExtensions => ("GET", "/v2.0/extensions".to_owned(), None, user),
            N::CreatePort { instance, network } => {
                let document = self.documents.get(instance)?;
                let port = json!({"port": {
                    "device_id": instance, "network_id": network, "admin_state_up": true,
                    "tenant_id": document.project(),
                }});
                ("POST", "/v2.0/ports".to_owned(), Some(port), user)
            }
            N::BindPort { instance, port } => {
                let body = self.binding(*instance)?;
                ("PUT", format!("/v2.0/ports/{port}"), Some(body), None)
            }
            N::GetPorts { instance, .. } => {
                let project = self.documents.get(instance)?.project();
                ("GET", format!("/v2.0/ports?tenant_id={project}&device_id={instance}"), None, None)
            }
            N::GetAllPorts(instance) => ("GET", format!("/v2.0/ports?device_id={instance}"), None, user),
            N::GetFloatingIps { instance, port }
            | N::GetSubnets { instance, port }
            | N::GetDhcpPorts { instance, port }
            | N::GetSegments { instance, port }
            | N::GetPhysicalNetwork { instance, port } => {
                ("GET", about_port(request, self.port(*instance, *port)?), None, None)
            }
            N::DeletePort { port, .. } => ("DELETE", format!("/v2.0/ports/{port}"), None, user),
        };
        // As `[service_user] send_service_user_token` has it: without it Neutron lets no user delete the port of a VM.
        let service_token = self.accounts.tokens.service_user.clone();
        let token = token.or_else(|| self.accounts.tokens.network.clone());
        let request_id = self.context.request_id();
        let url = format!("{}{path}", self.apis.network_url);
        Some(HttpRequest {
            method,
            url,
            token,
            service_token,
            request_id,
            placement_version: None,
            body,
            content_type: None,
        })
    }

    /// `PUT /ports/{id}`: the port belongs to this VM on this host.
    fn binding(&self, instance: Uuid) -> Option<Value> {
        let document = self.documents.get(&instance)?;
        let zone = document.field("availability_zone").as_str().unwrap_or("None");
        Some(json!({"port": {
            "device_id": instance, "device_owner": format!("compute:{zone}"), "binding:host_id": self.identity.host,
        }}))
    }

    fn port(&self, instance: Uuid, port: Uuid) -> Option<&Port> {
        self.documents.get(&instance)?.ports.iter().find(|candidate| candidate.id == port)
    }

    pub(super) fn decode_network(&mut self, request: &NetworkRequest, answer: HttpAnswer) -> Result<Response, Fault> {
        use NetworkRequest as N;
        match (request, answer.status) {
            // A Neutron without the L3 extension has no floating IPs (`_get_floating_ips_by_fixed_and_port`), and a port that
            // is gone already need not be deleted (`_delete_ports`).
            (N::GetFloatingIps { .. } | N::DeletePort { .. }, 404) => {}
            (_, status) => successful(status)?,
        }
        let body = answer.body;
        match request {
            N::CreatePort { instance, .. } => self.created(*instance, &body),
            N::BindPort { instance, .. } => {
                self.keep_ports(*instance, std::slice::from_ref(&body["port"]));
                Ok(Response::Done)
            }
            N::GetPorts { instance, .. } | N::GetAllPorts(instance) => {
                let ports = list(&body["ports"]);
                self.keep_ports(*instance, ports);
                let ports: Vec<Uuid> = ports.iter().filter_map(|port| uuid(&port["id"])).collect();
                if let N::GetPorts { only, .. } = request {
                    self.forget_lost(*instance, *only, &ports);
                }
                Ok(Response::Ports(ports))
            }
            N::GetRequestedNetworks(instance) | N::GetNetworks { instance, .. } => {
                self.keep_networks(*instance, &body);
                Ok(Response::Done)
            }
            N::GetSubnets { instance, .. } => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.subnets = list(&body["subnets"]).to_vec();
                }
                Ok(Response::Done)
            }
            N::GetDhcpPorts { instance, .. } => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.dhcp_ports = list(&body["ports"]).to_vec();
                }
                Ok(Response::Done)
            }
            N::GetSegments { instance, port } => {
                let segments = list(&body["network"]["segments"]);
                let physical = segments.iter().find(|segment| segment["provider:physical_network"].is_string());
                Ok(Response::Found(physical.is_some_and(|segment| self.finish_port(*instance, *port, segment))))
            }
            N::GetPhysicalNetwork { instance, port } => {
                self.finish_port(*instance, *port, &body["network"]);
                Ok(Response::Done)
            }
            N::DeletePort { instance, port } => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.ports.retain(|known| known.id != *port);
                    document.forget_port(*port);
                }
                Ok(Response::Done)
            }
            N::GetExtensions => {
                let several = list(&body["extensions"]).iter().any(|extension| extension["alias"] == "multi-provider");
                Ok(Response::Found(several))
            }
            N::GetFloatingIps { .. } | N::GetPortBindings(_) | N::GetProjectNetworks(_) | N::GetSharedNetworks => {
                Ok(Response::Done)
            }
        }
    }

    fn created(&mut self, instance: Uuid, body: &Value) -> Result<Response, Fault> {
        let port = Port::read(&body["port"]).ok_or_else(|| Fault::Remote("PortWithoutId".to_owned()))?;
        let id = port.id;
        if let Some(document) = self.documents.get_mut(&instance) {
            document.ports.push(port);
        }
        Ok(Response::Port(id))
    }

    /// Takes over the latest records of ports that are known, without changing their order.
    fn keep_ports(&mut self, instance: Uuid, records: &[Value]) {
        let Some(document) = self.documents.get_mut(&instance) else { return };
        for port in records.iter().filter_map(Port::read) {
            match document.ports.iter_mut().find(|known| known.id == port.id) {
                Some(known) => *known = port,
                None => document.ports.push(port),
            }
        }
    }

    /// Lets go of ports that Neutron does not have any more: of all, or of the one that an event is about where the release does.
    fn forget_lost(&mut self, instance: Uuid, only: Option<Uuid>, current: &[Uuid]) {
        let Some(document) = self.documents.get_mut(&instance) else { return };
        let lost = |port: &Uuid| !current.contains(port);
        match only {
            None => {
                let cached = InstanceDocument::cached_ports(&document.object);
                cached.into_iter().filter(lost).for_each(|port| document.lose_port(port));
            }
            Some(port) if lost(&port) && self.release.forgets_lost_port => {
                document.forget_port(port);
            }
            Some(_) => {}
        }
    }

    /// What Neutron says of networks, for the VM's network information.
    pub(crate) fn keep_networks(&mut self, instance: Uuid, body: &Value) {
        let Some(document) = self.documents.get_mut(&instance) else { return };
        if !self.release.keeps_mtu {
            document.networks.values_mut().for_each(|network| network.mtu = None);
        }
        for record in list(&body["networks"]) {
            let text = |name: &str| record[name].as_str().unwrap_or_default();
            let Ok(id) = text("id").parse() else { continue };
            let network = document.networks.entry(id).or_default();
            network.name = text("name").into();
            network.project = text("tenant_id").into();
            network.mtu = record["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok());
        }
    }

    /// The last request for a port: all that the network information needs of it is there. Whether there is such a port.
    fn finish_port(&mut self, instance: Uuid, port: Uuid, provider: &Value) -> bool {
        let Some(document) = self.documents.get_mut(&instance) else { return false };
        let Some(id) = document.ports.iter().find(|known| known.id == port).map(|known| known.network) else {
            return false;
        };
        let network = document.networks.entry(id).or_default();
        network.physical = provider["provider:physical_network"].as_str().map(Into::into);
        network.tunneled = provider["provider:network_type"].as_str().is_some_and(|kind| TUNNELS.contains(&kind));
        vif::cache(document, port);
        true
    }
}

/// `L3_NETWORK_TYPES` of Nova.
const TUNNELS: [&str; 3] = ["vxlan", "gre", "geneve"];

impl Port {
    fn read(record: &Value) -> Option<Self> {
        Some(Self {
            id: record["id"].as_str()?.parse().ok()?,
            network: record["network_id"].as_str()?.parse().ok()?,
            mac_address: record["mac_address"].as_str().unwrap_or_default().into(),
            record: record.clone(),
        })
    }
}

fn subnet_ids(port: &Port) -> BTreeSet<String> {
    list(&port.record["fixed_ips"]).iter().filter_map(|ip| ip["subnet_id"].as_str().map(str::to_owned)).collect()
}

fn first_address(port: &Port) -> Option<&str> {
    port.record.pointer("/fixed_ips/0/ip_address")?.as_str()
}

/// Path of a question that the network information of a port leads to.
fn about_port(request: &NetworkRequest, port: &Port) -> String {
    use NetworkRequest as N;
    let network = port.network;
    match request {
        N::GetFloatingIps { .. } => {
            let address = first_address(port).unwrap_or_default();
            format!("/v2.0/floatingips?fixed_ip_address={address}&port_id={}", port.id)
        }
        N::GetSubnets { .. } => format!("/v2.0/subnets?{}", id_filter(&subnet_ids(port))),
        N::GetDhcpPorts { .. } => format!("/v2.0/ports?network_id={network}&device_owner=network%3Adhcp"),
        N::GetSegments { .. } => format!("/v2.0/networks/{network}?fields=segments"),
        _ => {
            let fields = "fields=provider%3Aphysical_network&fields=provider%3Anetwork_type";
            format!("/v2.0/networks/{network}?{fields}")
        }
    }
}

fn id_filter<'a>(ids: impl IntoIterator<Item = &'a String>) -> String {
    ids.into_iter().map(|id| format!("id={id}")).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use hypervisor::Resources;

    use super::*;
    use crate::{
        ServiceApis,
        contexts::Context,
        http::Accounts,
        nova::{Documents, Identity, InstanceDocument, Release},
    };

    const MADE_BY_NOVA: &str = include_str!("../../tests/data/network_info.json");

    /// Answers that Neutron gives for one port, and its network information in the end.
    fn look_up(case: &Value) -> Value {
        let vm = Uuid::from_u128(1);
        let port: Uuid = case["port"]["id"].as_str().and_then(|id| id.parse().ok()).expect("a UUID");
        let object = json!({"nova_object.data": {
            "project_id": "p", "info_cache": {"nova_object.data": {"network_info": "[]"}},
        }});
        let mut documents = Documents::from([(vm, InstanceDocument::new(object))]);
        let mut client = Client {
            apis: &ServiceApis {
                identity_url: String::new(),
                placement_url: String::new(),
                network_url: String::new(),
                image_url: String::new(),
                user: String::new(),
                password: crate::Secret::new("secret"),
                project: String::new(),
                domain: String::new(),
            },
            release: &Release::load("2026.2").expect("it ships"),
            identity: &Identity { host: "host".into(), node: Uuid::nil() },
            resources: &Resources::fake_driver(),
            accounts: &mut Accounts::default(),
            context: &Context::Given(Value::Null),
            documents: &mut documents,
        };
        let mut ask = |request: NetworkRequest, body: Value| {
            assert!(client.encode_network(&request).is_some(), "{request:?} has a request");
            let answer = HttpAnswer { status: 200, body, ..HttpAnswer::default() };
            client.decode_network(&request, answer).expect("a good answer")
        };
        ask(NetworkRequest::GetPorts { instance: vm, only: None }, json!({"ports": [case["port"]]}));
        ask(NetworkRequest::GetNetworks { instance: vm, ports: vec![port] }, json!({"networks": case["networks"]}));
        ask(NetworkRequest::GetFloatingIps { instance: vm, port }, json!({"floatingips": []}));
        ask(NetworkRequest::GetSubnets { instance: vm, port }, json!({"subnets": case["subnets"]}));
        ask(NetworkRequest::GetDhcpPorts { instance: vm, port }, json!({"ports": case["dhcp_ports"]}));
        let mut provider = list(&case["provider"]).iter();
        let mut next = || json!({"network": provider.next()});
        let several = case["multi_provider"] == true;
        let found = several && ask(NetworkRequest::GetSegments { instance: vm, port }, next()) == Response::Found(true);
        if !found {
            ask(NetworkRequest::GetPhysicalNetwork { instance: vm, port }, next());
        }
        assert!(provider.next().is_none(), "every answer is asked for");
        serde_json::from_str(documents[&vm].network_info()).expect("JSON")
    }

    #[test]
    fn network_information_is_what_nova_makes_of_it() {
        let made: Value = serde_json::from_str(MADE_BY_NOVA).expect("JSON");
        for case in list(&made["cases"]) {
            assert_eq!(look_up(case), json!([case["vif"]]), "{}", case["name"]);
        }
    }
}
