//! What a run makes before it loads: projects, users, a network, an image, a flavor.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{ApiError, Call, Login, RunName, Service, Session, apis::DEFAULT_DOMAIN};
use crate::secret;

/// What a run needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantsSpec {
    /// Number of projects.
    pub projects: u32,
    /// Number of users, spread evenly over the projects.
    pub users: u32,
    /// Ports that may exist at once; zero makes no network.
    pub ports: u64,
    /// Whether to make a user that the services may take for one of themselves, for simulated hypervisors to log in as.
    pub service_user: bool,
    /// Physical network of the VLAN that is made; `None` leaves the kind of network to the cloud.
    pub physical_network: Option<&'static str>,
    /// Name of an image that is there; `None` makes one.
    pub image: Option<String>,
}

/// Who loads, and with what.
#[derive(Debug, Clone)]
pub struct Tenants {
    /// Everything of the run has a name that begins with this.
    pub run: RunName,
    /// The users, in round-robin order.
    pub users: Vec<User>,
    /// A user with the roles `admin` and `service`, where one was asked for.
    pub nova_service: Option<Login>,
    /// The network, where NICs were asked for.
    pub network: Option<String>,
    /// The image that servers are booted from.
    pub image: String,
    /// The flavor that servers are booted with, and the larger one that they are resized to, and back.
    pub flavors: [String; 2],
}

/// A user of the run.
#[derive(Debug, Clone)]
pub struct User {
    /// UUID in Keystone.
    pub id: String,
    /// What it is logged in with, or will be.
    pub session: Session,
}

/// How many projects and users are made so far, for those who wait.
#[derive(Debug, Default)]
pub struct TenantsMade {
    /// Projects.
    pub projects: AtomicU32,
    /// Users.
    pub users: AtomicU32,
}

/// Requests under way at once while tenants are made: enough to keep a small Keystone busy, whose passwords cost 0.2 s each.
const PARALLEL: usize = 4;
/// Virtual CPUs, memory in MiB and disk in GiB of the flavors: the classic `m1.tiny`, and twice as much of what a resize does not
/// have to copy.
const FLAVORS: [(u64, u64, u64); 2] = [(1, 512, 1), (2, 1024, 1)];
/// Bytes of the image: nothing reads it but Glance.
const IMAGE_BYTES: usize = 4096;

impl Tenants {
    /// Makes everything, as the administrator, and logs the users in.
    ///
    /// # Errors
    /// What the first request that failed was told. What was made stays; [`super::clean_up`] removes it.
    pub async fn create(
        admin: &Session,
        run: &RunName,
        spec: TenantsSpec,
        made: &TenantsMade,
    ) -> Result<Self, ApiError> {
        // First, so that a name that is wrong is told before anything is made.
        let image = match &spec.image {
            Some(name) => Some(find_image(admin, name).await?),
            None => None,
        };
        let domain = default_domain(admin).await?;
        let role = role(admin, "member").await?;
        let projects: Vec<(String, String)> = stream::iter((0..spec.projects).map(|n| run.numbered("project", n)))
            .map(|name| create_project(admin, &domain, name))
            .buffered(PARALLEL)
            .inspect_ok(|_| count(&made.projects))
            .try_collect()
            .await?;
        let users = stream::iter(0..spec.users)
            .map(|n| {
                let (id, name) = &projects[n as usize % projects.len()];
                create_user(admin, &domain, std::slice::from_ref(&role), run.numbered("user", n), id, name)
            })
            .buffered(PARALLEL)
            .inspect_ok(|_| count(&made.users))
            .try_collect()
            .await?;
        let nova_service = match spec.service_user {
            true => Some(create_service_user(admin, &domain, run).await?),
            false => None,
        };
        let network = match spec.ports {
            0 => None,
            ports => Some(create_network(admin, run, ports, spec.physical_network).await?),
        };
        let image = match image {
            Some(image) => image,
            None => create_image(admin, run).await?,
        };
        let flavors = [create_flavor(admin, run, 0).await?, create_flavor(admin, run, 1).await?];
        Ok(Self { run: run.clone(), users, nova_service, network, image, flavors })
    }
}

fn count(made: &AtomicU32) {
    made.fetch_add(1, Ordering::Relaxed);
}

async fn default_domain(admin: &Session) -> Result<String, ApiError> {
    let call = Call::get("domains", Service::Identity, format!("/domains?name={DEFAULT_DOMAIN}"));
    admin.call(&call).await?.text_at("/domains/0/id")
}

async fn role(admin: &Session, name: &str) -> Result<String, ApiError> {
    admin.call(&Call::get("roles", Service::Identity, format!("/roles?name={name}"))).await?.text_at("/roles/0/id")
}

/// What nova-compute's own user is: without the role `service` its token is refused beside a user's.
async fn create_service_user(admin: &Session, domain: &str, run: &RunName) -> Result<Login, ApiError> {
    let (project_id, project) = create_project(admin, domain, run.numbered("project", "service")).await?;
    let roles = [role(admin, "admin").await?, role(admin, "service").await?];
    let name = run.numbered("user", "service");
    let user = create_user(admin, domain, &roles, name, &project_id, &project).await?;
    Ok(user.session.login().clone())
}

/// A project without quotas: the run tests the cloud and not its limits.
async fn create_project(admin: &Session, domain: &str, name: String) -> Result<(String, String), ApiError> {
    let body = json!({"project": {"name": name, "domain_id": domain, "description": "A run of kagemusha"}});
    let id = admin
        .call(&Call::post("create project", Service::Identity, "/projects", body))
        .await?
        .text_at("/project/id")?;
    let compute = json!({"quota_set": {"instances": -1, "cores": -1, "ram": -1, "force": true}});
    admin.call(&Call::put("set quota", Service::Compute, format!("/os-quota-sets/{id}"), compute)).await?;
    let network = json!({"quota": {"port": -1, "security_group": -1, "security_group_rule": -1}});
    patiently(admin, &Call::put("set quota", Service::Network, format!("/quotas/{id}"), network)).await?;
    Ok((id, name))
}

/// How often, and after which pause, Neutron is asked again.
const PATIENCE: (u32, Duration) = (5, Duration::from_secs(1));

/// A request to a Neutron that may just have been started. Of its first requests only one loads the policies, and those that
/// come meanwhile are refused as if the administrator were none (`neutron_lib/policy/_engine.py`, `init`, with threads).
async fn patiently(admin: &Session, call: &Call) -> Result<(), ApiError> {
    let (times, pause) = PATIENCE;
    for _ in 1..times {
        match admin.call(call).await {
            Err(error) if error.status() == Some(403) => tokio::time::sleep(pause).await,
            other => return other.map(drop),
        }
    }
    admin.call(call).await.map(drop)
}

async fn create_user(
    admin: &Session,
    domain: &str,
    roles: &[String],
    name: String,
    project_id: &str,
    project: &str,
) -> Result<User, ApiError> {
    let password = secret::generate();
    let body = json!({"user": {"name": name, "domain_id": domain, "password": password.reveal()}});
    let id = admin.call(&Call::post("create user", Service::Identity, "/users", body)).await?.text_at("/user/id")?;
    for role in roles {
        let assignment = format!("/projects/{project_id}/users/{id}/roles/{role}");
        admin.call(&Call::new("assign role", Service::Identity, reqwest::Method::PUT, assignment)).await?;
    }
    let session = admin.as_user(Login::in_default_domain(&name, &password, project));
    session.authenticate().await?;
    Ok(User { id, session })
}

async fn create_network(
    admin: &Session,
    run: &RunName,
    ports: u64,
    physical_network: Option<&str>,
) -> Result<String, ApiError> {
    let mut network = json!({"name": run.as_str(), "shared": true});
    if let Some(physical_network) = physical_network {
        network["provider:network_type"] = json!("vlan");
        network["provider:physical_network"] = json!(physical_network);
    }
    let call = Call::post("create network", Service::Network, "/networks", json!({"network": network}));
    let id = admin.call(&call).await?.text_at("/network/id")?;
    let subnet = json!({"subnet": {
        "name": run.as_str(), "network_id": id, "ip_version": 4, "cidr": cidr_for(ports),
        // There is no DHCP agent; simulated guests ask for no address.
        "enable_dhcp": false, "gateway_ip": Value::Null,
    }});
    admin.call(&Call::post("create subnet", Service::Network, "/subnets", subnet)).await?;
    Ok(id)
}

/// The smallest subnet of 10/8, from a /24 on, with twice the addresses that the ports need: addresses of deleted ports
/// come back late.
fn cidr_for(ports: u64) -> String {
    let addresses = ports.min(1 << 23) * 2 + 2;
    let bits = addresses.next_power_of_two().trailing_zeros().clamp(8, 24);
    format!("10.0.0.0/{}", 32 - bits)
}

/// An image that all users can boot from.
async fn find_image(admin: &Session, name: &str) -> Result<String, ApiError> {
    let images = admin.list("list images", Service::Image, "/images?visibility=public&status=active", "images").await?;
    let found = images.iter().find(|image| image["name"] == name).and_then(|image| image["id"].as_str());
    found.map(str::to_owned).ok_or_else(|| {
        let mut names: Vec<&str> = images.iter().filter_map(|image| image["name"].as_str()).collect();
        names.sort_unstable();
        let has = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ApiError::Missing { what: format!("active, public image named {name:?} (tenants.image)"), has }
    })
}

async fn create_image(admin: &Session, run: &RunName) -> Result<String, ApiError> {
    let body = json!({"name": run.as_str(), "disk_format": "raw", "container_format": "bare", "visibility": "public"});
    let id = admin.call(&Call::post("create image", Service::Image, "/images", body)).await?.text_at("/id")?;
    let file = Call::new("upload image", Service::Image, reqwest::Method::PUT, format!("/images/{id}/file"));
    admin.upload(&file, vec![0; IMAGE_BYTES]).await?;
    Ok(id)
}

async fn create_flavor(admin: &Session, run: &RunName, number: usize) -> Result<String, ApiError> {
    let (vcpus, ram_mb, disk_gb) = FLAVORS[number];
    let name = run.numbered("flavor", number);
    let body = json!({"flavor": {"name": name, "vcpus": vcpus, "ram": ram_mb, "disk": disk_gb}});
    admin.call(&Call::post("create flavor", Service::Compute, "/flavors", body)).await?.text_at("/flavor/id")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subnet_grows_with_the_load() {
        assert_eq!(cidr_for(1), "10.0.0.0/24");
        assert_eq!(cidr_for(127), "10.0.0.0/24");
        assert_eq!(cidr_for(128), "10.0.0.0/23");
        assert_eq!(cidr_for(10_000), "10.0.0.0/17");
        assert_eq!(cidr_for(u64::MAX), "10.0.0.0/8");
    }
}
