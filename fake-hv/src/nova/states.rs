//! The states that a VM's record can be in (`nova/objects/fields.py`, `InstanceState` and `InstanceTaskState`).

use hypervisor::Instance;
use serde_json::Value;

use crate::KnownVm;

const VM_STATES: [&str; 11] = [
    "active",
    "building",
    "paused",
    "suspended",
    "stopped",
    "rescued",
    "resized",
    "deleted",
    "error",
    "shelved",
    "shelved_offloaded",
];

const TASK_STATES: [&str; 40] = [
    "scheduling",
    "block_device_mapping",
    "networking",
    "spawning",
    "image_snapshot",
    "image_snapshot_pending",
    "image_pending_upload",
    "image_uploading",
    "image_backup",
    "updating_password",
    "resize_prep",
    "resize_migrating",
    "resize_migrated",
    "resize_finish",
    "resize_reverting",
    "resize_confirming",
    "rebooting",
    "reboot_pending",
    "reboot_started",
    "rebooting_hard",
    "reboot_pending_hard",
    "reboot_started_hard",
    "pausing",
    "unpausing",
    "suspending",
    "resuming",
    "powering-off",
    "powering-on",
    "rescuing",
    "unrescuing",
    "rebuilding",
    "rebuild_spawning",
    "deleting",
    "soft-deleting",
    "restoring",
    "shelving",
    "shelving_image_pending_upload",
    "shelving_image_uploading",
    "shelving_offloading",
    "unshelving",
];

/// A state that no release has.
const UNKNOWN: &str = "unknown";

/// `vm_state` of a record.
pub(crate) fn vm_state(told: &Value) -> &'static str {
    find(&VM_STATES, told).unwrap_or(UNKNOWN)
}

/// `task_state` of a record; none without a task.
pub(crate) fn task_state(told: &Value) -> Option<&'static str> {
    (!told.is_null()).then(|| find(&TASK_STATES, told).unwrap_or(UNKNOWN))
}

/// `power_state` of a record: zero when nothing is known of it.
pub(crate) fn power_state_of(told: &Value) -> u8 {
    told.as_u64().and_then(|state| u8::try_from(state).ok()).unwrap_or(0)
}

/// A VM as the state machine has it.
pub(crate) fn known_instance(vm: KnownVm) -> Instance {
    let told = |state: Option<String>| state.map_or(Value::Null, Value::from);
    Instance {
        uuid: vm.uuid,
        vcpus: vm.vcpus,
        memory_mb: vm.memory_mb,
        disk_gb: vm.disk_gb,
        vm_state: vm_state(&told(vm.vm_state)),
        task_state: task_state(&told(vm.task_state)),
        project: vm.project.into(),
        power_state: vm.power_state,
        os_type: vm.os_type.map(Into::into),
    }
}

fn find(states: &[&'static str], told: &Value) -> Option<&'static str> {
    states.iter().copied().find(|state| told == state)
}
