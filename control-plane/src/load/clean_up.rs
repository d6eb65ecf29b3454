//! Removes what a run left in the cloud: everything whose name says that it is the run's, so that a run that was killed is
//! cleaned up as well as one that ended.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{ApiError, Call, RunName, Service, Session};

/// Deletions under way at once.
const PARALLEL: usize = 8;

/// What of a run is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    /// Kind of thing and how many, for the kinds of which there are any.
    pub counts: Vec<(&'static str, usize)>,
}

impl Remains {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

impl std::fmt::Display for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let words: Vec<String> = self.counts.iter().map(|(kind, count)| counted(*count, kind)).collect();
        f.write_str(&words.join(", "))
    }
}

/// "2 servers", "1 server": every kind here has a regular plural.
fn counted(count: usize, plural: &str) -> String {
    let word = if count == 1 { plural.strip_suffix('s').unwrap_or(plural) } else { plural };
    format!("{count} {word}")
}

/// Which runs a clean-up is about.
pub type Ours<'a> = dyn Fn(&RunName) -> bool + Sync + 'a;

/// A kind of thing that a run makes, in the order in which the kinds are deleted.
struct Kind {
    /// In words, several of them.
    plural: &'static str,
    service: Service,
    /// Where they are listed and, followed by `/{id}`, deleted.
    path: &'static str,
    /// Query of the list.
    query: &'static str,
    /// Key of the list in the answer.
    key: &'static str,
    /// The field that names the run.
    name: &'static str,
    /// The field that identifies one.
    id: &'static str,
}

/// Simulated hosts are in here, too: their names begin with the run's.
const KINDS: [Kind; 9] = [
    kind("servers", Service::Compute, "/servers", "?all_tenants=1", "servers", "name", "id"),
    // Deletes the compute node, the host mapping and the resource provider as well.
    kind("compute services", Service::Compute, "/os-services", "?binary=nova-compute", "services", "host", "id"),
    kind("resource providers", Service::Placement, "/resource_providers", "", "resource_providers", "name", "uuid"),
    kind("L2 agents", Service::Network, "/agents", "", "agents", "host", "id"),
    kind("networks", Service::Network, "/networks", "", "networks", "name", "id"),
    kind("images", Service::Image, "/images", "?limit=1000", "images", "name", "id"),
    kind("flavors", Service::Compute, "/flavors", "?is_public=None", "flavors", "name", "id"),
    kind("users", Service::Identity, "/users", "", "users", "name", "id"),
    kind("projects", Service::Identity, "/projects", "", "projects", "name", "id"),
];

const fn kind(
    plural: &'static str,
    service: Service,
    path: &'static str,
    query: &'static str,
    key: &'static str,
    name: &'static str,
    id: &'static str,
) -> Kind {
    Kind { plural, service, path, query, key, name, id }
}

/// How often servers are looked at while they are being deleted.
const SERVERS_EVERY: std::time::Duration = std::time::Duration::from_millis(500);
/// How long servers may take to go once no server of the run has gone for so long.
const SERVERS_PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Deletes the servers of the runs of which `ours` is true, through their hosts, and waits for as long as there is progress.
///
/// # Errors
/// When the list cannot be had.
pub async fn delete_servers(admin: &Session, ours: &Ours<'_>) -> Result<(), ApiError> {
    let servers = &KINDS[0];
    // What fails is tried again by `clean_up`, which tells.
    let _failures = delete_all(admin, servers, ids_of(admin, servers, ours).await?).await;
    wait_for_servers(admin, servers, ours).await
}

/// Deletes everything that belongs to a run of which `ours` is true, and says what could not be deleted.
///
/// No host of the runs may be alive any more. Servers that are left are deleted by Nova alone, once it has been told that
/// their hosts are down.
///
/// # Errors
/// When a list cannot be had. A deletion that fails does not stop the others; its thing is among the [`remains`].
pub async fn clean_up(admin: &Session, ours: &Ours<'_>) -> Result<Vec<String>, ApiError> {
    let mut failures = BTreeSet::new();
    if !ids_of(admin, &KINDS[0], ours).await?.is_empty() {
        force_hosts_down(admin, ours).await?;
    }
    for kind in &KINDS {
        let ids = ids_of(admin, kind, ours).await?;
        match kind.plural {
            "networks" => failures.extend(delete_ports(admin, &ids).await?),
            "projects" => failures.extend(delete_settings(admin, &ids).await?),
            _ => {}
        }
        failures.extend(delete_all(admin, kind, ids).await);
        if kind.plural == "servers" {
            wait_for_servers(admin, kind, ours).await?;
        }
    }
    Ok(failures.into_iter().collect())
}

/// Tells Nova that hosts are down, so that it deletes their servers by itself.
///
/// # Errors
/// When the services cannot be listed. A host that cannot be forced down keeps its servers, which the caller sees.
async fn force_hosts_down(admin: &Session, ours: &Ours<'_>) -> Result<(), ApiError> {
    let ids = ids_of(admin, &KINDS[1], ours).await?;
    let down = |id: String| async move {
        let body = json!({"forced_down": true});
        admin.call(&Call::put("force down", Service::Compute, format!("/os-services/{id}"), body)).await
    };
    let _those_that_fail_show_later: Vec<_> = stream::iter(ids).map(down).buffer_unordered(PARALLEL).collect().await;
    Ok(())
}

/// What is left of the runs of which `ours` is true.
///
/// # Errors
/// When a list cannot be had.
pub async fn remains(admin: &Session, ours: &Ours<'_>) -> Result<Remains, ApiError> {
    let mut counts = Vec::new();
    for kind in &KINDS {
        let ids = ids_of(admin, kind, ours).await?;
        if !ids.is_empty() {
            counts.push((kind.plural, ids.len()));
        }
    }
    Ok(Remains { counts })
}

async fn ids_of(admin: &Session, kind: &Kind, ours: &Ours<'_>) -> Result<Vec<String>, ApiError> {
    let path = format!("{}{}", kind.path, kind.query);
    let things = admin.list("list", kind.service, &path, kind.key).await?;
    Ok(things.iter().filter_map(|thing| id_if_ours(thing, kind, ours)).collect())
}

fn id_if_ours(thing: &Value, kind: &Kind, ours: &Ours<'_>) -> Option<String> {
    let run = RunName::owner_of(thing[kind.name].as_str()?)?;
    // A flavor's id may be a number in no release, a service's in none since 2.53: both are text.
    ours(&run).then(|| thing[kind.id].as_str().map(str::to_owned)).flatten()
}

async fn delete_all(admin: &Session, kind: &Kind, ids: Vec<String>) -> Vec<String> {
    let delete = |id: String| admin.delete("delete", kind.service, format!("{}/{id}", kind.path));
    let results = stream::iter(ids).map(delete).buffer_unordered(PARALLEL);
    let failed = results.filter_map(|result| async move { result.err() });
    failed.map(|error| format!("{}: {}", kind.plural, error.short())).collect().await
}

/// Waits until the servers have gone, for as long as there is progress.
async fn wait_for_servers(admin: &Session, kind: &Kind, ours: &Ours<'_>) -> Result<(), ApiError> {
    let mut fewest = usize::MAX;
    let mut last_progress = tokio::time::Instant::now();
    loop {
        let left = ids_of(admin, kind, ours).await?.len();
        if left < fewest {
            (fewest, last_progress) = (left, tokio::time::Instant::now());
        }
        if left == 0 || last_progress.elapsed() > SERVERS_PATIENCE {
            return Ok(());
        }
        tokio::time::sleep(SERVERS_EVERY).await;
    }
}

/// Ports that servers have left behind keep a network alive.
async fn delete_ports(admin: &Session, networks: &[String]) -> Result<Vec<String>, ApiError> {
    let ports = kind("ports", Service::Network, "/ports", "", "ports", "name", "id");
    let mut failures = Vec::new();
    for network in networks {
        let path = format!("/ports?network_id={network}&fields=id");
        let left = admin.list("list", Service::Network, &path, "ports").await?;
        let ids = left.iter().filter_map(|port| port["id"].as_str().map(str::to_owned)).collect();
        failures.extend(delete_all(admin, &ports, ids).await);
    }
    Ok(failures)
}

/// Quotas and the security group that Neutron makes for a project by itself outlive the project otherwise.
async fn delete_settings(admin: &Session, projects: &[String]) -> Result<Vec<String>, ApiError> {
    let groups = kind("security groups", Service::Network, "/security-groups", "", "security_groups", "name", "id");
    let mut failures = Vec::new();
    for project in projects {
        let quotas =
            [(Service::Compute, format!("/os-quota-sets/{project}")), (Service::Network, format!("/quotas/{project}"))];
        for (service, path) in quotas {
            failures.extend(admin.delete("delete quota", service, path).await.err().map(|error| error.short()));
        }
        let path = format!("/security-groups?project_id={project}&fields=id");
        let left = admin.list("list", Service::Network, &path, "security_groups").await?;
        let ids = left.iter().filter_map(|group| group["id"].as_str().map(str::to_owned)).collect();
        failures.extend(delete_all(admin, &groups, ids).await);
    }
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_things_of_the_run_are_touched() {
        let run = RunName::generate();
        let ours = |name: &RunName| *name == run;
        let id = |name: &str| id_if_ours(&json!({"name": name, "id": "7"}), &KINDS[0], &ours);
        assert_eq!(id(&run.numbered("boot", 1)).as_deref(), Some("7"));
        assert_eq!(id("production-db"), None);
        assert_eq!(id(RunName::generate().as_str()), None);
        assert_eq!(id_if_ours(&json!({"id": "7"}), &KINDS[0], &ours), None);
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        assert_eq!(Remains::default().to_string(), "nothing");
        assert_eq!(Remains { counts: vec![("servers", 2), ("users", 1)] }.to_string(), "2 servers, 1 user");
    }
}
