//! The two records a nova-compute keeps of itself: its service and its compute node.

use std::collections::BTreeMap;

use hypervisor::{Resources, Touched, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Release;
use crate::{KnownNode, KnownService, amqp::TOPICS, values::uuid};

/// Who a simulated hypervisor is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Host name, `[DEFAULT] host`.
    pub(crate) host: Box<str>,
    /// UUID of the compute node, which is its resource provider's, too.
    pub(crate) node: Uuid,
}

impl Identity {
    /// The topic on which requests to this host come.
    pub(crate) fn topic(&self) -> String {
        format!("{}.{}", TOPICS[0], self.host)
    }
}

/// Columns of the records that the conductor assigned.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    service: Option<Box<KnownService>>,
    node: Option<Box<KnownNode>>,
    /// Migrations away from here that are to be ended, by their VMs.
    evacuations: BTreeMap<Uuid, Value>,
}

fn text(value: Option<&Value>) -> Option<Box<str>> {
    value.and_then(Value::as_str).map(Into::into)
}

fn number(value: Option<&Value>) -> u64 {
    value.and_then(Value::as_u64).unwrap_or(0)
}

impl Rows {
    /// Of a hypervisor that ran before.
    pub(crate) fn known(service: KnownService, node: KnownNode) -> Self {
        Self { service: Some(Box::new(service)), node: Some(Box::new(node)), evacuations: BTreeMap::new() }
    }

    pub(crate) fn node_id(&self) -> Option<u64> {
        self.node.as_ref().map(|node| node.id)
    }

    /// Takes over what a reply says of the service: a whole object, or the updates of a create or a save.
    pub(crate) fn update_service(&mut self, data: &Map<String, Value>) {
        let row = self.service.get_or_insert_default();
        for (key, value) in data {
            let value = Some(value);
            match key.as_str() {
                "id" => row.id = number(value),
                "uuid" => row.uuid = text(value).unwrap_or_default(),
                "version" => row.version = number(value),
                "report_count" => row.report_count = number(value),
                "disabled" => row.disabled = value == Some(&Value::Bool(true)),
                "disabled_reason" => row.disabled_reason = text(value),
                "forced_down" => row.forced_down = value == Some(&Value::Bool(true)),
                "last_seen_up" => row.last_seen_up = text(value),
                "created_at" => row.created_at = text(value),
                "updated_at" => row.updated_at = text(value),
                _ => {}
            }
        }
    }

    /// Takes over migrations of VMs that were evacuated from here.
    pub(crate) fn keep_evacuations(&mut self, migrations: &[Value]) -> Vec<Uuid> {
        let of = |migration: &Value| uuid(&migration["nova_object.data"]["instance_uuid"]);
        self.evacuations =
            migrations.iter().filter_map(|migration| Some((of(migration)?, migration.clone()))).collect();
        self.evacuations.keys().copied().collect()
    }

    /// The migration of a VM as it is when this end of it is over.
    pub(crate) fn end_evacuation(&self, instance: Uuid) -> Option<Value> {
        let mut migration = self.evacuations.get(&instance)?.clone();
        migration["nova_object.data"]["status"] = "completed".into();
        migration["nova_object.changes"] = json!(["status"]);
        Some(migration)
    }

    /// It is saved, and need not be kept.
    pub(crate) fn evacuation_ended(&mut self, instance: Uuid) {
        self.evacuations.remove(&instance);
    }

    /// Takes over what a reply says of the compute node.
    pub(crate) fn update_node(&mut self, data: &Map<String, Value>) {
        let row = self.node.get_or_insert_default();
        for (key, value) in data {
            let value = Some(value);
            match key.as_str() {
                "id" => row.id = number(value),
                "mapped" => row.mapped = number(value),
                "created_at" => row.created_at = text(value),
                "updated_at" => row.updated_at = text(value),
                _ => {}
            }
        }
    }

    /// `Service.create`.
    pub(crate) fn new_service(release: &Release, identity: &Identity) -> Value {
        let data = json!({
            "host": identity.host, "binary": "nova-compute", "topic": "compute", "report_count": 0,
            "version": release.service_version,
        });
        release.object("Service", data, &["report_count", "host", "version", "topic", "binary"])
    }

    /// `Service.save` with these changes.
    pub(crate) fn service(&self, release: &Release, identity: &Identity, report_count: Option<u64>) -> Value {
        let fallback = KnownService::default();
        let row = self.service.as_deref().unwrap_or(&fallback);
        let data = json!({
            "id": row.id, "uuid": row.uuid, "host": identity.host, "binary": "nova-compute", "topic": "compute",
            // The first beat of a restarted service goes on where the record stands.
            "report_count": report_count.map_or(row.report_count, |_| row.report_count.saturating_add(1)),
            "disabled": row.disabled, "disabled_reason": row.disabled_reason, "last_seen_up": row.last_seen_up,
            "forced_down": row.forced_down, "version": release.service_version,
            "created_at": row.created_at, "updated_at": row.updated_at, "deleted_at": null, "deleted": false,
        });
        let changed = if report_count.is_some() { "report_count" } else { "version" };
        release.object("Service", data, &[changed])
    }

    /// The beat went through: the record counts on.
    pub(crate) fn beaten(&mut self) {
        if let Some(row) = &mut self.service {
            row.report_count = row.report_count.saturating_add(1);
        }
    }

    /// `ComputeNode.create`.
    pub(crate) fn new_node(&self, release: &Release, identity: &Identity, resources: &Resources) -> Value {
        let mut data = self.node_facts(release, identity, resources);
        data["vcpus_used"] = 0.into();
        data["memory_mb_used"] = 0.into();
        data["local_gb_used"] = 0.into();
        data["stats"] = json!({"failed_builds": "0"});
        release.object("ComputeNode", data, CREATED)
    }

    /// `ComputeNode.save` with the resources in use.
    pub(crate) fn node(&self, release: &Release, identity: &Identity, resources: &Resources, save: Save<'_>) -> Value {
        let Save { usage, touched } = save;
        let fallback = KnownNode::default();
        let row = self.node.as_deref().unwrap_or(&fallback);
        let mut data = self.node_facts(release, identity, resources);
        let stats: Map<String, Value> =
            usage.stats.iter().map(|(name, count)| (name.to_owned(), count.to_string().into())).collect();
        let variable = json!({
            "id": row.id, "vcpus_used": usage.vcpus, "memory_mb_used": usage.memory_mb, "local_gb_used": usage.disk_gb,
            "free_ram_mb": signed(resources.memory_mb) - usage.memory_mb,
            "free_disk_gb": signed(resources.local_gb) - usage.disk_gb,
            "current_workload": usage.workload, "running_vms": usage.running_vms, "metrics": "[]",
            "stats": stats, "mapped": row.mapped,
            "pci_device_pools": release.object("PciDevicePoolList", json!({"objects": []}), &["objects"]),
            "created_at": row.created_at, "updated_at": row.updated_at, "deleted_at": null, "deleted": false,
        });
        merge(&mut data, variable);
        release.object("ComputeNode", data, &changed_fields(touched))
    }

    /// The fields that do not change.
    fn node_facts(&self, release: &Release, identity: &Identity, resources: &Resources) -> Value {
        let spec = json!({"arch": "x86_64", "hv_type": "fake", "vm_mode": "hvm"});
        json!({
            "uuid": identity.node, "service_id": self.service.as_ref().map(|service| service.id),
            "host": identity.host, "hypervisor_hostname": identity.host, "host_ip": "127.0.0.1",
            "vcpus": resources.vcpus, "memory_mb": resources.memory_mb, "local_gb": resources.local_gb,
            "cpu_allocation_ratio": resources.cpu_allocation_ratio,
            "ram_allocation_ratio": resources.ram_allocation_ratio,
            "disk_allocation_ratio": resources.disk_allocation_ratio,
            "hypervisor_type": "fake", "hypervisor_version": 1000, "disk_available_least": 0,
            "cpu_info": CPU_INFO, "numa_topology": null,
            "supported_hv_specs": [release.object("HVSpec", spec, &["hv_type", "vm_mode", "arch"])],
        })
    }
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// The fields that a save names as changed: all that were set since the last one.
fn changed_fields(touched: Touched) -> Vec<&'static str> {
    let groups = [
        (touched.copied, COPIED),
        (touched.audited, AUDITED),
        (touched.used, USED),
        (touched.counted, COUNTED),
        (true, &["pci_device_pools"][..]),
    ];
    let mut fields: Vec<&str> =
        groups.into_iter().filter(|(set, _)| *set).flat_map(|(_, names)| names).copied().collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// What the fake driver of Nova reports as its processor.
const CPU_INFO: &str = r#"{"arch": "x86_64", "model": "Nehalem", "vendor": "Intel", "features": ["pge", "clflush"], "topology": {"cores": 1, "threads": 1, "sockets": 4}}"#;

const CREATED: &[&str] = &[
    "local_gb_used",
    "host_ip",
    "disk_allocation_ratio",
    "vcpus",
    "stats",
    "disk_available_least",
    "ram_allocation_ratio",
    "hypervisor_hostname",
    "local_gb",
    "cpu_allocation_ratio",
    "uuid",
    "memory_mb_used",
    "cpu_info",
    "supported_hv_specs",
    "host",
    "vcpus_used",
    "service_id",
    "hypervisor_type",
    "hypervisor_version",
    "numa_topology",
    "memory_mb",
];

/// What the driver reports (`ComputeNode.update_from_virt_driver`), and the counters that begin anew.
const COPIED: &[&str] = &[
    "cpu_info",
    "disk_available_least",
    "host_ip",
    "hypervisor_hostname",
    "hypervisor_type",
    "hypervisor_version",
    "local_gb",
    "local_gb_used",
    "memory_mb",
    "memory_mb_used",
    "numa_topology",
    "stats",
    "supported_hv_specs",
    "vcpus",
    "vcpus_used",
];

const AUDITED: &[&str] = &[
    "current_workload",
    "free_disk_gb",
    "free_ram_mb",
    "local_gb_used",
    "memory_mb_used",
    "metrics",
    "running_vms",
    "vcpus_used",
];

const USED: &[&str] = &["free_disk_gb", "free_ram_mb", "local_gb_used", "memory_mb_used", "running_vms", "vcpus_used"];

const COUNTED: &[&str] = &["current_workload", "stats"];

/// What a save of the compute node has to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Save<'a> {
    pub(crate) usage: &'a Usage,
    pub(crate) touched: Touched,
}
