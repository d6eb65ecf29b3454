//! What operations need beyond the things that every run makes.

use control_plane::load::{Call, RunName, Service, Session};
use serde_json::{Value, json};

use super::LabError;

/// One more network than a run has.
pub(super) async fn create_network(admin: &Session, run: &RunName) -> Result<String, LabError> {
    let body = json!({"network": {
        "name": run.named("network-2"), "shared": true, "provider:network_type": "vlan", "provider:physical_network": "physnet1",
    }});
    let made: Value = admin.call(&Call::post("network", Service::Network, "/networks", body)).await?.json()?;
    let id = made["network"]["id"].as_str().unwrap_or_default().to_owned();
    let body = json!({"subnet": {
        "name": run.named("subnet-2"), "network_id": id, "ip_version": 4, "cidr": "10.128.0.0/20", "enable_dhcp": false,
    }});
    admin.call(&Call::post("subnet", Service::Network, "/subnets", body)).await?;
    Ok(id)
}

/// A flavor to resize to.
pub(super) async fn create_flavor(admin: &Session, run: &RunName) -> Result<String, LabError> {
    let body = json!({"flavor": {"name": run.named("flavor-large"), "vcpus": 2, "ram": 1024, "disk": 1}});
    let answer: Value = admin.call(&Call::post("flavor", Service::Compute, "/flavors", body)).await?.json()?;
    Ok(answer["flavor"]["id"].as_str().unwrap_or_default().to_owned())
}
