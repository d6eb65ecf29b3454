//! A VM's record as a nova-compute holds it between the cast that brought it and its end.

use std::collections::BTreeMap;

use hypervisor::{Instance, InstanceState, LazyField, power_state};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{power_state_of, task_state, vm_state};
use crate::{
    amqp::json,
    contexts::Context,
    procedure::{WHAT_CHANGED, update},
};

/// The VMs that one hypervisor has records of.
pub(crate) type Documents = BTreeMap<Uuid, InstanceDocument>;

/// A port of a VM, as far as its network information needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Port {
    pub(crate) id: Uuid,
    pub(crate) network: Uuid,
    pub(crate) mac_address: Box<str>,
    /// The port as Neutron gave it.
    pub(crate) record: Value,
}

/// A network of a VM, as far as its network information needs it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Network {
    pub(crate) name: Box<str>,
    pub(crate) project: Box<str>,
    pub(crate) mtu: Option<u32>,
    pub(crate) physical: Option<Box<str>>,
    /// Whether its frames travel in a tunnel between the hosts.
    pub(crate) tunneled: bool,
}

/// A size beyond it is none, and many of them can be added up without overflow.
pub(crate) const LARGEST_SIZE: u64 = 1 << 40;

/// A VM's record.
#[derive(Debug)]
pub(crate) struct InstanceDocument {
    /// The serialised `Instance`, version and all.
    pub(crate) object: Value,
    /// The root disk's block device mapping, as the conductor gave it.
    pub(crate) block_devices: Value,
    pub(crate) ports: Vec<Port>,
    pub(crate) networks: BTreeMap<Uuid, Network>,
    /// Subnets of the port that is being looked up, and the DHCP servers' ports on its network, as Neutron gave them.
    pub(crate) subnets: Vec<Value>,
    pub(crate) dhcp_ports: Vec<Value>,
    /// The record that came with a later RPC, which waits for the build to end.
    pub(crate) next: Option<Value>,
    /// The rest of `build_and_run_instance`, for a build that has to go elsewhere; dropped when the VM is ACTIVE.
    pub(crate) build_request: Option<Map<String, Value>>,
    /// It is the record of a VM that is being deleted.
    pub(crate) ends: bool,
}

/// In the system metadata of a VM that is being built.
const NETWORK_ALLOCATED: &str = "network_allocated";

impl InstanceDocument {
    pub(crate) fn new(object: Value) -> Self {
        Self {
            object,
            block_devices: Value::Null,
            ports: Vec::new(),
            networks: BTreeMap::new(),
            subnets: Vec::new(),
            dhcp_ports: Vec::new(),
            next: None,
            build_request: None,
            ends: false,
        }
    }

    /// Whether nothing more can come of it than of the record that the next RPC will bring: all but ports are read anew then.
    pub(crate) fn is_at_rest(&self) -> bool {
        let busy = self.ends || self.build_request.is_some() || self.next.is_some();
        !busy && self.ports.is_empty() && Self::cached_ports(&self.object).is_empty()
    }

    /// A build has let go of the VM; whether another RPC goes on with it, with the record that it brought.
    pub(crate) fn go_on(&mut self) -> bool {
        let next = self.next.take();
        let goes_on = next.is_some();
        if let Some(object) = next {
            self.object = object;
            self.build_request = None;
            self.ends = true;
        }
        goes_on
    }

    /// Takes a field over from another reading of the record. With the flavor come those of a resize, which then count as changed.
    pub(crate) fn load(&mut self, field: LazyField, from: &Value) {
        let others: &[&str] = if field == LazyField::Flavor { &["old_flavor", "new_flavor"] } else { &[] };
        let Some(data) = self.data() else { return };
        for name in others.iter().chain(&[name_of(field)]) {
            data.insert((*name).to_owned(), from["nova_object.data"][*name].clone());
        }
        self.mark_changed(others.iter().copied());
    }

    fn data(&mut self) -> Option<&mut Map<String, Value>> {
        self.object.get_mut("nova_object.data")?.as_object_mut()
    }

    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.object["nova_object.data"][name]
    }

    pub(crate) fn project(&self) -> &str {
        self.field("project_id").as_str().unwrap_or_default()
    }

    /// The parts of the record that decide where the VM fits.
    pub(crate) fn instance(object: &Value) -> Option<Instance> {
        let data = object.get("nova_object.data")?;
        let flavor = &data["flavor"]["nova_object.data"];
        let size = |name: &str| flavor[name].as_u64().or_else(|| data[name].as_u64()).unwrap_or(0).min(LARGEST_SIZE);
        Some(Instance {
            uuid: data.get("uuid")?.as_str()?.parse().ok()?,
            vcpus: u32::try_from(size("vcpus")).unwrap_or(u32::MAX),
            memory_mb: size("memory_mb"),
            disk_gb: size("root_gb") + size("ephemeral_gb"),
            vm_state: vm_state(&data["vm_state"]),
            task_state: task_state(&data["task_state"]),
            project: data["project_id"].as_str().unwrap_or_default().into(),
            power_state: power_state_of(&data["power_state"]),
            os_type: data["os_type"].as_str().map(Into::into),
        })
    }

    /// UUIDs of the ports in a record's info cache.
    pub(crate) fn cached_ports(object: &Value) -> Vec<Uuid> {
        vifs(object).iter().filter_map(|vif| vif["id"].as_str()?.parse().ok()).collect()
    }

    /// The network of a port, as Neutron said, or as the info cache has it of a port that Neutron does not have any more.
    pub(crate) fn network_of(&self, port: Uuid) -> Option<String> {
        if let Some(known) = self.ports.iter().find(|known| known.id == port) {
            return Some(known.network.to_string());
        }
        let (vifs, id) = (vifs(&self.object), port.to_string());
        let vif = vifs.iter().find(|vif| vif["id"] == id.as_str())?;
        vif["network"]["id"].as_str().map(str::to_owned)
    }

    /// UUIDs of the networks that the build asks for.
    pub(crate) fn requested_networks(&self) -> Vec<String> {
        let requests = self.build_request.as_ref().and_then(|request| request.get("requested_networks"));
        let objects = requests.and_then(|list| list.pointer("/nova_object.data/objects")).and_then(Value::as_array);
        let id = |request: &Value| request["nova_object.data"]["network_id"].as_str().map(str::to_owned);
        objects.map(Vec::as_slice).unwrap_or_default().iter().filter_map(id).collect()
    }

    /// Takes over what the conductor changed in a save, and what it says is still to be saved.
    pub(crate) fn update(&mut self, updates: &Map<String, Value>) {
        update(&mut self.object, updates);
    }

    /// Takes over what the conductor says of the record's info cache.
    pub(crate) fn update_info_cache(&mut self, updates: &Map<String, Value>) {
        let cache = self.object.pointer_mut("/nova_object.data/info_cache/nova_object.data");
        let Some(Value::Object(cache)) = cache else { return };
        for (key, value) in updates.iter().filter(|(key, _)| key.as_str() != WHAT_CHANGED) {
            cache.insert(key.clone(), value.clone());
        }
    }

    /// Changes these fields; the next save sends them.
    pub(crate) fn set(&mut self, fields: Value) {
        let Value::Object(fields) = fields else { return };
        self.mark_changed(fields.keys().map(String::as_str));
        if let Some(data) = self.data() {
            data.extend(fields);
        }
    }

    /// Changes the record for a save: the object to send and the `expected_task_state` to send with it.
    pub(crate) fn enter(
        &mut self,
        state: InstanceState,
        host: &str,
        node_id: Option<u64>,
        now: &str,
        context: &Context,
    ) -> (Value, Value) {
        let (fields, kwargs) = changes(state, host, node_id, now);
        self.set(fields);
        match state {
            InstanceState::Claimed => self.note_boot_roles(context),
            // From the allocation of its network to the end of the build. The saves of a build that goes well come before that, or
            // after.
            InstanceState::Unclaimed if !Self::cached_ports(&self.object).is_empty() => {
                self.note_in_system_metadata(NETWORK_ALLOCATED, "True");
            }
            InstanceState::Active => self.forget_in_system_metadata(NETWORK_ALLOCATED),
            InstanceState::WithoutNetwork => self.note_in_system_metadata(NETWORK_ALLOCATED, "False"),
            InstanceState::Cleaned => {
                let attempts = self.field("system_metadata")["clean_attempts"].as_str();
                let attempts: u32 = attempts.and_then(|attempts| attempts.parse().ok()).unwrap_or(0);
                self.note_in_system_metadata("clean_attempts", &attempts.saturating_add(1).to_string());
            }
            _ => {}
        }
        (self.object.clone(), kwargs)
    }

    /// Adds to the names that the next save sends as changed.
    pub(crate) fn mark_changed<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let changes = &mut self.object["nova_object.changes"];
        if !changes.is_array() {
            *changes = Value::Array(Vec::new());
        }
        let Value::Array(changes) = changes else { return };
        for name in names {
            if !changes.iter().any(|known| known == name) {
                changes.push(name.into());
            }
        }
    }

    /// Nova notes the roles that the user had; it changes a dictionary in place, which is saved with the next change.
    fn note_boot_roles(&mut self, context: &Context) {
        let roles = context.roles().iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
        self.note_in_system_metadata("boot_roles", &roles);
    }

    fn note_in_system_metadata(&mut self, name: &str, value: &str) {
        let old = self.system_metadata().and_then(|metadata| metadata.insert(name.to_owned(), value.into()));
        if self.system_metadata().is_some() && old.is_none_or(|old| old != value) {
            self.mark_changed(["system_metadata"]);
        }
    }

    fn forget_in_system_metadata(&mut self, name: &str) {
        if self.system_metadata().and_then(|metadata| metadata.remove(name)).is_some() {
            self.mark_changed(["system_metadata"]);
        }
    }

    fn system_metadata(&mut self) -> Option<&mut Map<String, Value>> {
        self.data()?.get_mut("system_metadata")?.as_object_mut()
    }

    /// The resources that it held were read, and are let go of.
    pub(crate) fn release_resources(&mut self) {
        self.set(json!({"resources": null}));
    }

    /// Network information in the record's info cache.
    pub(crate) fn network_info(&self) -> &str {
        network_info(&self.object)
    }

    /// Takes a port out of the record's info cache; whether it was there.
    pub(crate) fn forget_port(&mut self, port: Uuid) -> bool {
        let port = port.to_string();
        self.change_vifs(|vifs| {
            let before = vifs.len();
            vifs.retain(|vif| vif["id"] != port.as_str());
            vifs.len() < before
        })
    }

    /// Likewise, of a port whose network will still be asked for.
    pub(crate) fn lose_port(&mut self, port: Uuid) {
        let network = self.network_of(port).and_then(|network| network.parse().ok());
        if self.ports.iter().all(|known| known.id != port) {
            self.ports.extend(network.map(|network| Port { id: port, network, ..Port::default() }));
        }
        self.forget_port(port);
    }

    /// Changes the list of interfaces in the record's info cache.
    pub(crate) fn change_vifs<T>(&mut self, change: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        let mut vifs = vifs(&self.object);
        let result = change(&mut vifs);
        self.set_network_info(&json::dumps(&Value::from(vifs)));
        result
    }

    /// Puts network information into the record's info cache.
    pub(crate) fn set_network_info(&mut self, network_info: &str) {
        let cache = self.object.pointer_mut("/nova_object.data/info_cache/nova_object.data");
        if let Some(Value::Object(cache)) = cache {
            cache.insert("network_info".to_owned(), network_info.into());
        }
    }
}

/// Network information in a record's info cache.
fn network_info(object: &Value) -> &str {
    let cache = &object["nova_object.data"]["info_cache"]["nova_object.data"];
    cache["network_info"].as_str().unwrap_or("[]")
}

/// The interfaces in it.
fn vifs(object: &Value) -> Vec<Value> {
    serde_json::from_str(network_info(object)).unwrap_or_default()
}

/// What the conductor calls it.
pub(super) fn name_of(field: LazyField) -> &'static str {
    match field {
        LazyField::Flavor => "flavor",
        LazyField::SystemMetadata => "system_metadata",
        LazyField::InfoCache => "info_cache",
    }
}

/// The fields that each state sets, and the task state that the conductor is to expect before.
fn changes(state: InstanceState, host: &str, node_id: Option<u64>, now: &str) -> (Value, Value) {
    let nothing = json!({});
    match state {
        InstanceState::Building => {
            (json!({"vm_state": "building", "task_state": null}), json!({"expected_task_state": ["scheduling", null]}))
        }
        InstanceState::Claimed => (
            json!({"compute_id": node_id, "host": host, "node": host, "launched_on": host, "numa_topology": null}),
            nothing,
        ),
        InstanceState::Unclaimed => (json!({"compute_id": null, "host": null, "node": null}), nothing),
        InstanceState::Networking => (
            json!({"vm_state": "building", "task_state": "networking", "resources": null}),
            json!({"expected_task_state": [null]}),
        ),
        InstanceState::BlockDeviceMapping => (
            json!({"vm_state": "building", "task_state": "block_device_mapping", "root_device_name": ROOT_DEVICE}),
            nothing,
        ),
        InstanceState::Spawning => (
            json!({"vm_state": "building", "task_state": "spawning"}),
            json!({"expected_task_state": "block_device_mapping"}),
        ),
        InstanceState::Active => (
            json!({"vm_state": "active", "task_state": null, "power_state": power_state::RUNNING, "launched_at": now}),
            json!({"expected_task_state": "spawning"}),
        ),
        InstanceState::Rescheduling => (without_host(json!({"task_state": "scheduling"})), nothing),
        InstanceState::BuildError => (without_host(json!({"vm_state": "error", "task_state": null})), nothing),
        InstanceState::WithoutNetwork => (json!({}), nothing),
        InstanceState::Cleaned => (json!({"cleaned": true}), nothing),
        InstanceState::Reverted => (json!({"task_state": null}), nothing),
        InstanceState::Error => (json!({"vm_state": "error", "task_state": null}), nothing),
        InstanceState::Deleted => {
            (json!({"vm_state": "deleted", "task_state": null, "power_state": 0, "terminated_at": now}), nothing)
        }
    }
}

/// `_nil_out_instance_obj_host_and_node`, with these fields.
fn without_host(mut fields: Value) -> Value {
    for name in ["host", "node", "compute_id", "launched_on", "availability_zone"] {
        fields[name] = Value::Null;
    }
    fields
}

/// Device name that the fake driver gives to the root disk.
pub(crate) const ROOT_DEVICE: &str = "/dev/sda";
