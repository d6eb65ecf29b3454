//! Hypervisors and servers of a run that was kept, as the cloud's databases have them.

use std::{collections::BTreeMap, time::Duration};

use fake_hv::{KnownHost, KnownNode, KnownService, KnownVm};
use hypervisor::Sessions;
use uuid::Uuid;

use crate::{load::RunName, watch::Link};

/// A time as OpenStack's objects write it.
macro_rules! written {
    ($column:literal) => {
        concat!("DATE_FORMAT(", $column, ", '%Y-%m-%dT%H:%i:%sZ')")
    };
}

type ServiceColumns =
    (String, u64, String, u64, u64, bool, Option<String>, bool, Option<String>, Option<String>, Option<String>, u64);
type NodeColumns = (String, u64, String, u64, Option<String>, Option<String>, u64);
type VmColumns = (String, String, u32, u64, u64, Option<String>, Option<String>, String, u8, Option<String>, String);

/// A server that is there, with what a load needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownServer {
    pub(super) id: String,
    pub(super) host: String,
    /// UUID of the user who booted it.
    pub(super) user: String,
    /// Whether it is ACTIVE, and nothing is being done to it.
    pub(super) active: bool,
    /// Whether it has the larger of the run's flavors.
    pub(super) large: bool,
}

/// The hypervisors, by host name, with their VMs.
pub(super) async fn hosts(
    link: &mut Link,
    run: &RunName,
    hypervisors: u32,
) -> Result<BTreeMap<String, KnownHost>, String> {
    let services: Vec<ServiceColumns> = link.rows(&services_query(run, hypervisors)).await?;
    let nodes: Vec<NodeColumns> = link.rows(&nodes_query(run, hypervisors)).await?;
    let vms: Vec<VmColumns> = link.rows(&vms_query(run, hypervisors)).await?;
    let services: BTreeMap<String, (KnownService, Duration)> = services.into_iter().map(service).collect();
    let mut hosts = BTreeMap::new();
    for columns in nodes {
        let (host, node, provider_generation) = node(columns)?;
        // A start-up that was ended half-way has a service or a node, and begins again.
        if let Some((service, since_beat)) = services.get(&host).cloned() {
            let (vms, tokens) = (Vec::new(), Sessions::default());
            hosts.insert(host, KnownHost { service, node, provider_generation, since_beat, vms, tokens });
        }
    }
    for columns in vms {
        let (server, vm) = vm(columns)?;
        if let Some(host) = hosts.get_mut(&server.host) {
            host.vms.push(vm);
        }
    }
    Ok(hosts)
}

/// The servers.
pub(super) async fn servers(link: &mut Link, run: &RunName, hypervisors: u32) -> Result<Vec<KnownServer>, String> {
    let vms: Vec<VmColumns> = link.rows(&vms_query(run, hypervisors)).await?;
    vms.into_iter().map(|columns| Ok(vm(columns)?.0)).collect()
}

/// The time that the cloud stood still is left out for the hypervisors that go on: the newest sign of life is of now, and the others
/// are as much older as they were. As to Nova, that a service was made is a sign, too, until it beats.
pub(super) async fn close_the_gap(link: &mut Link, run: &RunName, hypervisors: u32) -> Result<(), String> {
    let hosts = run.hosts_sql("host", hypervisors);
    let services = format!("`binary` = 'nova-compute' AND deleted = 0 AND {hosts}");
    let shift = |table: &str, column: &str, sign: &str, which: &str| {
        format!(
            "UPDATE {table}, (SELECT TIMESTAMPDIFF(SECOND, MAX({sign}), UTC_TIMESTAMP()) AS gap_s FROM {table} \
             WHERE {which}) AS still SET {column} = {sign} + INTERVAL gap_s SECOND WHERE {which} AND gap_s > 0"
        )
    };
    let services = shift("nova.services", "last_seen_up", "COALESCE(last_seen_up, created_at)", &services);
    let agents = shift("neutron.agents", "heartbeat_timestamp", "heartbeat_timestamp", &hosts);
    for statement in [services, agents] {
        let _nothing: Vec<(u8,)> = link.rows(&statement).await?;
    }
    Ok(())
}

fn services_query(run: &RunName, hypervisors: u32) -> String {
    let hosts = run.hosts_sql("host", hypervisors);
    format!(
        "SELECT host, id, uuid, version, report_count, COALESCE(disabled, 0), disabled_reason, COALESCE(forced_down, 0), \
         {}, {}, {}, GREATEST(0, TIMESTAMPDIFF(SECOND, COALESCE(last_seen_up, created_at), UTC_TIMESTAMP())) FROM nova.services WHERE `binary` = 'nova-compute' AND deleted = 0 AND {hosts}",
        written!("last_seen_up"),
        written!("created_at"),
        written!("updated_at"),
    )
}

fn service(columns: ServiceColumns) -> (String, (KnownService, Duration)) {
    let (
        host,
        id,
        uuid,
        version,
        report_count,
        disabled,
        reason,
        forced_down,
        last_seen_up,
        created,
        updated,
        silent_s,
    ) = columns;
    let service = KnownService {
        id,
        uuid: uuid.into(),
        version,
        report_count,
        disabled,
        disabled_reason: reason.map(Into::into),
        forced_down,
        last_seen_up: last_seen_up.map(Into::into),
        created_at: created.map(Into::into),
        updated_at: updated.map(Into::into),
    };
    (host, (service, since_beat(silent_s, id)))
}

/// Nova's records count whole seconds. Hosts whose last beats were in the same second must not beat together ever after, so each gets
/// its own place in that second, and all of them fill it evenly.
fn since_beat(silent_s: u64, id: u64) -> Duration {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    let within_s = (id as f64 * GOLDEN_RATIO).fract();
    Duration::from_secs_f64((silent_s as f64 + within_s - 0.5).max(0.0))
}

fn nodes_query(run: &RunName, hypervisors: u32) -> String {
    let hosts = run.hosts_sql("node.host", hypervisors);
    format!(
        "SELECT node.host, node.id, node.uuid, node.mapped, {}, {}, provider.generation FROM nova.compute_nodes AS node \
         JOIN placement.resource_providers AS provider ON provider.uuid = node.uuid \
         WHERE node.deleted = 0 AND {hosts}",
        written!("node.created_at"),
        written!("node.updated_at"),
    )
}

fn node(
    (host, id, uuid, mapped, created, updated, generation): NodeColumns,
) -> Result<(String, KnownNode, u64), String> {
    let uuid = Uuid::parse_str(&uuid).map_err(|error| format!("compute node of {host}: {error}"))?;
    let node = KnownNode { id, uuid, mapped, created_at: created.map(Into::into), updated_at: updated.map(Into::into) };
    Ok((host, node, generation))
}

fn vms_query(run: &RunName, hypervisors: u32) -> String {
    let hosts = run.hosts_sql("host", hypervisors);
    format!(
        "SELECT uuid, host, vcpus, memory_mb, COALESCE(root_gb, 0) + COALESCE(ephemeral_gb, 0), vm_state, task_state, \
         project_id, COALESCE(power_state, 0), os_type, user_id FROM nova.instances \
         WHERE deleted = 0 AND {hosts} ORDER BY id"
    )
}

fn vm(columns: VmColumns) -> Result<(KnownServer, KnownVm), String> {
    let (uuid, host, vcpus, memory_mb, disk_gb, vm_state, task_state, project, power_state, os_type, user) = columns;
    let id = Uuid::parse_str(&uuid).map_err(|error| format!("server {uuid}: {error}"))?;
    let active = vm_state.as_deref() == Some("active") && task_state.is_none();
    let vm = KnownVm { uuid: id, vcpus, memory_mb, disk_gb, vm_state, task_state, project, power_state, os_type };
    Ok((KnownServer { id: uuid, host, user, active, large: vcpus > 1 }, vm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_beat_in_the_same_second_go_on_one_after_another() {
        let mut beats: Vec<Duration> = (1..=100).map(|id| since_beat(30, id)).collect();
        beats.sort();
        let apart = beats.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(apart.clone().min() > Some(Duration::from_millis(3)) && apart.max() < Some(Duration::from_millis(20)));
        assert!(beats[0] >= Duration::from_millis(29_500) && beats[99] <= Duration::from_millis(30_500));
        assert!(since_beat(0, 3) < Duration::from_millis(500));
    }
}
