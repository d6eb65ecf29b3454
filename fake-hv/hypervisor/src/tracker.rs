//! The books of the resource tracker (`nova/compute/resource_tracker.py`, `nova/compute/stats.py`): what the compute node's
//! record says is in use, and which of its fields the next save names as changed.

use std::{borrow::Cow, collections::BTreeSet};

use uuid::Uuid;

use crate::Instance;

/// `[DEFAULT] reserved_host_memory_mb`.
const RESERVED_HOST_MEMORY_MB: i64 = 512;

/// The counters of `ComputeNode.stats`, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats(Vec<(Cow<'static, str>, i64)>);

impl Stats {
    /// A counter; zero when it was never touched.
    pub fn get(&self, name: &str) -> i64 {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name)).map_or(0, |at| self.0[at].1)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, count)| (&**name, *count))
    }

    fn add(&mut self, name: Cow<'static, str>, more: i64) {
        match self.0.binary_search_by(|(known, _)| known.cmp(&name)) {
            Ok(at) => self.0[at].1 += more,
            Err(at) => self.0.insert(at, (name, more)),
        }
    }

    fn set(&mut self, name: &'static str, count: i64) {
        let old = self.get(name);
        self.add(Cow::Borrowed(name), count - old);
    }

    /// `Stats.io_workload`.
    fn io_workload(&self) -> i64 {
        let tasks = [
            "num_vm_building",
            "num_task_resize_migrating",
            "num_task_rebuilding",
            "num_task_resize_prep",
            "num_task_image_snapshot",
            "num_task_image_backup",
            "num_task_rescuing",
            "num_task_unshelving",
        ];
        tasks.iter().map(|name| self.get(name)).sum()
    }

    /// `Stats.calculate_workload`.
    fn workload(&self) -> i64 {
        self.iter()
            .filter(|(name, _)| name.starts_with("num_task") && !name.ends_with("None"))
            .map(|(_, count)| count)
            .sum()
    }
}

/// What a compute node record says is in use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Usage {
    /// Virtual CPUs.
    pub vcpus: i64,
    /// Memory in MiB, with what is reserved for the host.
    pub memory_mb: i64,
    /// Disk in GiB.
    pub disk_gb: i64,
    /// VMs, as counted when usage last changed.
    pub running_vms: i64,
    /// VMs with a task, as counted when one of them last changed.
    pub workload: i64,
    /// The counters that the scheduler's weighers read.
    pub stats: Stats,
}

impl Usage {
    /// VMs on the node.
    pub fn instances(&self) -> i64 {
        self.stats.get("num_instances")
    }

    /// VMs being built.
    pub fn building(&self) -> i64 {
        self.stats.get("num_vm_building")
    }

    /// Builds that failed since the last success.
    pub fn failed_builds(&self) -> i64 {
        self.stats.get("failed_builds")
    }
}

/// Groups of the record's fields that were set since it was saved; a save names all of them, different or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Touched {
    /// What the virt driver reports (`_copy_resources`).
    pub copied: bool,
    /// What an audit begins with (`_update_usage_from_instances`), and the metrics it ends with.
    pub audited: bool,
    /// CPUs, memory, disk and the number of VMs (`_update_usage`).
    pub used: bool,
    /// The counters and the workload (`_update_usage_from_instance`).
    pub counted: bool,
}

/// Which counters a VM is counted in.
#[derive(Debug)]
struct Counted {
    instance: Uuid,
    names: [Cow<'static, str>; 4],
}

/// The books of one node.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    /// `tracked_instances`.
    tracked: BTreeSet<Uuid>,
    /// `Stats.states`.
    counted: Vec<Counted>,
    stats: Stats,
    usage: Usage,
    touched: Touched,
    saved: Option<Usage>,
}

impl Tracker {
    pub(crate) fn tracks(&self, instance: Uuid) -> bool {
        self.tracked.contains(&instance)
    }

    /// The driver's resources are copied into the record: the counters begin again, but for the failed builds.
    pub(crate) fn copy_resources(&mut self) {
        let failed_builds = self.stats.get("failed_builds");
        self.stats = Stats::default();
        self.counted.clear();
        self.stats.set("failed_builds", failed_builds);
        self.usage.stats = self.stats.clone();
        self.touched.copied = true;
    }

    /// The record was created as it stands.
    pub(crate) fn created(&mut self) {
        self.touched = Touched::default();
    }

    /// Everything is counted anew (`_update_usage_from_instances`).
    pub(crate) fn audit<'a>(&mut self, instances: impl IntoIterator<Item = &'a Instance>) {
        self.tracked.clear();
        let stats = std::mem::take(&mut self.usage.stats);
        self.usage = Usage { memory_mb: RESERVED_HOST_MEMORY_MB, stats, ..Usage::default() };
        self.touched.audited = true;
        for instance in instances {
            if !frees_resources(instance) {
                self.update(instance, false);
            }
        }
    }

    /// A claim for a VM that begins to run here, or a VM of the audit (`_update_usage_from_instance`).
    pub(crate) fn claim(&mut self, instance: &Instance) {
        self.update(instance, false);
    }

    /// A VM that is claimed has changed (`update_usage`); whether the record has to be looked at.
    pub(crate) fn changed(&mut self, instance: &Instance) -> bool {
        let tracked = self.tracks(instance.uuid);
        if tracked {
            self.update(instance, false);
        }
        tracked
    }

    /// A claim is given up (`abort_instance_claim`).
    pub(crate) fn abort(&mut self, instance: &Instance) {
        self.update(instance, true);
    }

    fn update(&mut self, instance: &Instance, removed: bool) {
        let new = self.tracked.insert(instance.uuid);
        let removed = !new && (removed || frees_resources(instance));
        if removed {
            self.tracked.remove(&instance.uuid);
        }
        self.count(instance, removed);
        if new || removed {
            self.use_resources(instance, if new { 1 } else { -1 });
        }
        self.usage.workload = self.stats.workload();
        self.touched.counted = true;
    }

    /// `update_stats_for_instance`.
    fn count(&mut self, instance: &Instance, removed: bool) {
        let known = self.counted.iter().position(|counted| counted.instance == instance.uuid);
        match known {
            Some(at) => {
                let old = self.counted.swap_remove(at);
                old.names.into_iter().for_each(|name| self.stats.add(name, -1));
            }
            None => self.stats.add(Cow::Borrowed("num_instances"), 1),
        }
        if removed || frees_resources(instance) {
            self.stats.add(Cow::Borrowed("num_instances"), -1);
        } else {
            let names = counters(instance);
            names.iter().for_each(|name| self.stats.add(name.clone(), 1));
            self.counted.push(Counted { instance: instance.uuid, names });
        }
        let io_workload = self.stats.io_workload();
        self.stats.set("io_workload", io_workload);
        self.usage.stats = self.stats.clone();
    }

    fn use_resources(&mut self, size: &Instance, sign: i64) {
        self.usage.vcpus += sign * i64::from(size.vcpus);
        self.usage.memory_mb += sign * signed(size.memory_mb);
        self.usage.disk_gb += sign * signed(size.disk_gb);
        self.usage.running_vms = self.stats.get("num_instances");
        self.touched.used = true;
    }

    /// A VM comes here and is not here yet: what it will use is set aside (`_update_usage_from_migration`).
    pub(crate) fn move_in(&mut self, size: &Instance) {
        if !self.tracks(size.uuid) {
            self.use_resources(size, 1);
        }
    }

    /// What a move has set aside, or what a VM used that has moved, is free again (`_drop_move_claim`). The counters stay as
    /// they are until the next audit.
    pub(crate) fn drop_move(&mut self, size: &Instance) {
        self.use_resources(size, -1);
        self.tracked.remove(&size.uuid);
    }

    pub(crate) fn build_failed(&mut self) {
        self.stats.add(Cow::Borrowed("failed_builds"), 1);
    }

    pub(crate) fn build_succeeded(&mut self) {
        self.stats.set("failed_builds", 0);
    }

    /// What to save, if the record is not as it was saved last.
    pub(crate) fn unsaved(&self) -> Option<(Usage, Touched)> {
        (self.saved.as_ref() != Some(&self.usage)).then(|| (self.usage.clone(), self.touched))
    }

    /// The record was saved with this.
    pub(crate) fn saved(&mut self, usage: Usage) {
        self.saved = Some(usage);
        self.touched = Touched::default();
    }
}

/// `vm_states.allow_resource_removal`.
fn frees_resources(instance: &Instance) -> bool {
    instance.vm_state == "deleted"
        || instance.vm_state == "shelved_offloaded" && instance.task_state != Some("spawning")
}

fn counters(instance: &Instance) -> [Cow<'static, str>; 4] {
    let task: Cow<'static, str> = match instance.task_state {
        None => Cow::Borrowed("num_task_None"),
        Some(task) => format!("num_task_{task}").into(),
    };
    let vm: Cow<'static, str> = match instance.vm_state {
        "active" => Cow::Borrowed("num_vm_active"),
        "building" => Cow::Borrowed("num_vm_building"),
        other => format!("num_vm_{other}").into(),
    };
    let os: Cow<'static, str> = match &instance.os_type {
        None => Cow::Borrowed("num_os_type_None"),
        Some(os) => format!("num_os_type_{os}").into(),
    };
    [vm, task, os, format!("num_proj_{}", instance.project).into()]
}

fn signed(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(vm_state: &'static str, task_state: Option<&'static str>) -> Instance {
        let (uuid, project) = (Uuid::from_u128(7), "p".into());
        Instance {
            uuid,
            vcpus: 2,
            memory_mb: 1024,
            disk_gb: 3,
            vm_state,
            task_state,
            project,
            power_state: 1,
            os_type: None,
        }
    }

    fn stats(tracker: &Tracker) -> Vec<(String, i64)> {
        tracker.usage.stats.iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    #[test]
    fn a_build_and_its_end_are_counted_as_nova_counts_them() {
        let mut tracker = Tracker::default();
        tracker.copy_resources();
        tracker.audit([]);
        tracker.saved(tracker.usage.clone());
        tracker.claim(&vm("building", None));
        let (usage, touched) = tracker.unsaved().expect("a claim changes the record");
        assert_eq!((usage.vcpus, usage.memory_mb, usage.disk_gb, usage.running_vms), (2, 512 + 1024, 3, 1));
        assert_eq!(usage.stats.get("io_workload"), 1);
        assert_eq!(touched, Touched { used: true, counted: true, ..Touched::default() });
        tracker.saved(usage);
        assert!(tracker.changed(&vm("deleted", None)));
        // Counters that went to zero stay, as in Nova.
        let left = [
            ("failed_builds", 0),
            ("io_workload", 0),
            ("num_instances", 0),
            ("num_os_type_None", 0),
            ("num_proj_p", 0),
            ("num_task_None", 0),
            ("num_vm_building", 0),
        ];
        assert_eq!(stats(&tracker), left.map(|(name, count)| (name.to_owned(), count)));
        assert_eq!(tracker.usage.vcpus, 0);
        assert!(!tracker.changed(&vm("deleted", None)), "what is not tracked is not looked at");
    }

    #[test]
    fn a_dropped_move_frees_resources_and_leaves_the_counters() {
        let mut tracker = Tracker::default();
        tracker.copy_resources();
        tracker.audit([&vm("active", None)]);
        tracker.drop_move(&vm("resized", None));
        assert_eq!((tracker.usage.vcpus, tracker.usage.instances()), (0, 1));
        assert!(!tracker.tracks(Uuid::from_u128(7)));
        tracker.audit([]);
        assert_eq!(tracker.usage.running_vms, 0);
    }
}
