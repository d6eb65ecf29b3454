//! Neutron's API (`nova/network/neutron.py`).

use hypervisor::{Fault, NetworkRequest, Response};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Client, HttpAnswer, HttpRequest, successful, vif};
use crate::nova::{InstanceDocument, Port};

impl Client<'_> {
    pub(super) fn encode_network(&self, request: &NetworkRequest) -> Option<HttpRequest> {
        use NetworkRequest as N;
        let (method, path, body, user_token) = match request {
            N::GetNetworks(instance) => {
                let document = self.documents.get(instance)?;
                ("GET", format!("/v2.0/networks?{}", id_filter(&network_ids(document))), None, user_token(document))
            }
            N::GetExtensions => ("GET", "/v2.0/extensions".to_owned(), None, None),
            N::CreatePort { instance, network } => {
                let document = self.documents.get(instance)?;
                let port = json!({"port": {
                    "device_id": instance, "network_id": network, "admin_state_up": true,
                    "tenant_id": document.project(),
                }});
                ("POST", "/v2.0/ports".to_owned(), Some(port), user_token(document))
            }
            N::BindPort { instance, port } => {
                let body = self.binding(*instance)?;
                ("PUT", format!("/v2.0/ports/{port}"), Some(body), None)
            }
            N::GetPorts(instance) => {
                let project = self.documents.get(instance)?.project();
                ("GET", format!("/v2.0/ports?tenant_id={project}&device_id={instance}"), None, None)
            }
            N::GetFloatingIps { instance, port } => {
                let address = first_address(self.port(*instance, *port)?).unwrap_or_default();
                ("GET", format!("/v2.0/floatingips?fixed_ip_address={address}&port_id={port}"), None, None)
            }
            N::GetSubnets { instance, port } => {
                let ids = subnet_ids(self.port(*instance, *port)?);
                ("GET", format!("/v2.0/subnets?{}", id_filter(&ids)), None, None)
            }
            N::GetDhcpPorts { instance, port } => {
                let network = self.port(*instance, *port)?.network;
                ("GET", format!("/v2.0/ports?network_id={network}&device_owner=network%3Adhcp"), None, None)
            }
            N::DeletePort { instance, port } => {
                let document = self.documents.get(instance)?;
                ("DELETE", format!("/v2.0/ports/{port}"), None, user_token(document))
            }
        };
        // As `[service_user] send_service_user_token` has it: without it Neutron lets no user delete the port of a VM.
        let service_token = user_token.as_ref().and(self.sessions.network.clone());
        let token = user_token.or_else(|| self.sessions.network.clone());
        let url = format!("{}{path}", self.apis.network_url);
        Some(HttpRequest { method, url, token, service_token, placement_version: None, body })
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
            N::GetPorts(instance) => {
                let ports = body["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
                self.keep_ports(*instance, ports);
                Ok(Response::Done)
            }
            N::GetNetworks(instance) => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.networks = body["networks"].clone();
                }
                Ok(Response::Done)
            }
            N::GetSubnets { instance, .. } => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.subnets.extend(body["subnets"].as_array().cloned().unwrap_or_default());
                }
                Ok(Response::Done)
            }
            N::GetDhcpPorts { instance, port } => {
                self.finish_network_info(*instance, *port);
                Ok(Response::Done)
            }
            N::DeletePort { instance, port } => {
                if let Some(document) = self.documents.get_mut(instance) {
                    document.ports.retain(|known| known.id != *port);
                    vif::refresh(document);
                }
                Ok(Response::Done)
            }
            N::GetExtensions | N::GetFloatingIps { .. } => Ok(Response::Done),
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

    /// The last request for the last port: all that the network information needs is there.
    fn finish_network_info(&mut self, instance: Uuid, port: Uuid) {
        let Some(document) = self.documents.get_mut(&instance) else { return };
        if document.ports.last().is_some_and(|last| last.id == port) {
            vif::refresh(document);
        }
    }
}

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

/// Nova asks for what the user may see with the user's own token.
fn user_token(document: &InstanceDocument) -> Option<Box<str>> {
    document.context.get("_context_auth_token").and_then(Value::as_str).map(Into::into)
}

fn network_ids(document: &InstanceDocument) -> Vec<String> {
    let known: Vec<_> = document.ports.iter().map(|port| port.network.to_string()).collect();
    if known.is_empty() { document.requested_networks() } else { known }
}

fn subnet_ids(port: &Port) -> Vec<String> {
    let addresses = port.record["fixed_ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    addresses.iter().filter_map(|ip| ip["subnet_id"].as_str().map(str::to_owned)).collect()
}

fn first_address(port: &Port) -> Option<&str> {
    port.record.pointer("/fixed_ips/0/ip_address")?.as_str()
}

fn id_filter(ids: &[String]) -> String {
    ids.iter().map(|id| format!("id={id}")).collect::<Vec<_>>().join("&")
}
