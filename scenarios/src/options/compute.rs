//! From the options of nova-compute and of the L2 agent to those of a simulated hypervisor.
//!
//! Nova's file is one for all its services: what a scenario sets below `nova` holds for the control plane and for the
//! computes alike. Meanings are those of release 2026.2 (`nova/conf/compute.py`, `nova/conf/service.py`).

use std::time::Duration;

use hypervisor::{ComputeOptions, RabbitOptions};

use super::find;
use crate::plan::{OptionValue, Tuning};

/// `DEFAULT_INTERVAL` of `oslo_service/periodic_task.py`: what a spacing of zero stands for.
const DEFAULT_SPACING: Duration = Duration::from_secs(60);
/// Longer than any run; keeps sums of times far from overflow.
const LONGEST_S: f64 = 366.0 * 86_400.0;
/// `[DEFAULT] service_down_time`, if a release says nothing of it.
const SERVICE_DOWN_TIME: Duration = Duration::from_secs(60);
/// What `max_concurrent_builds = 0` and `max_concurrent_snapshots = 0` stand for with native threads
/// (`nova/thread_pool_factory.py`).
const FALLBACK_BUILDS: u32 = 10;
const FALLBACK_SNAPSHOTS: u32 = 5;

/// The options that a simulated hypervisor follows, by service and name.
pub const FLEET_OPTIONS: &[(&str, &str)] = &[
    ("nova", "DEFAULT.report_interval"),
    ("nova", "DEFAULT.rpc_response_timeout"),
    ("nova", "DEFAULT.periodic_enable"),
    ("nova", "DEFAULT.periodic_fuzzy_delay"),
    ("nova", "DEFAULT.update_resources_interval"),
    ("nova", "DEFAULT.sync_power_state_interval"),
    ("nova", "DEFAULT.scheduler_instance_sync_interval"),
    ("nova", "DEFAULT.instance_delete_interval"),
    ("nova", "DEFAULT.running_deleted_instance_poll_interval"),
    ("nova", "DEFAULT.heal_instance_info_cache_interval"),
    ("nova", "DEFAULT.max_concurrent_builds"),
    ("nova", "DEFAULT.max_concurrent_snapshots"),
    ("nova", "DEFAULT.vif_plugging_timeout"),
    ("nova", "DEFAULT.vif_plugging_is_fatal"),
    ("nova", "DEFAULT.cpu_allocation_ratio"),
    ("nova", "DEFAULT.ram_allocation_ratio"),
    ("nova", "DEFAULT.disk_allocation_ratio"),
    ("nova", "DEFAULT.initial_cpu_allocation_ratio"),
    ("nova", "DEFAULT.initial_ram_allocation_ratio"),
    ("nova", "DEFAULT.initial_disk_allocation_ratio"),
    ("nova", "image_cache.manager_interval"),
    ("nova", "compute.resource_provider_association_refresh"),
    ("nova", "filter_scheduler.track_instance_changes"),
    ("nova", "DEFAULT.sync_power_state_pool_size"),
    ("nova", "neutron.extension_sync_interval"),
    ("nova", "vnc.enabled"),
    ("nova", "spice.enabled"),
    ("nova", "serial_console.enabled"),
    ("nova", "mks.enabled"),
    ("nova", "neutron.timeout"),
    ("nova", "placement.timeout"),
    ("nova", "oslo_messaging_rabbit.heartbeat_timeout_threshold"),
    ("nova", "oslo_messaging_rabbit.heartbeat_rate"),
    ("nova", "oslo_messaging_rabbit.kombu_reconnect_delay"),
    ("nova", "oslo_messaging_rabbit.kombu_reconnect_splay"),
    ("nova", "oslo_messaging_rabbit.rabbit_retry_interval"),
    ("nova", "oslo_messaging_rabbit.rabbit_retry_backoff"),
    ("nova", "oslo_messaging_rabbit.rabbit_interval_max"),
    ("neutron", "agent.report_interval"),
    ("neutron", "DEFAULT.rpc_response_timeout"),
];

/// How much more than it has a hypervisor offers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AllocationRatios {
    /// Of CPUs.
    pub cpu: f64,
    /// Of memory.
    pub ram: f64,
    /// Of disk.
    pub disk: f64,
}

/// The options that a simulated hypervisor follows, with the release's defaults where the tuning says nothing.
///
/// A value of the wrong type counts as not set; [`super::check`] finds those.
pub fn compute_options(release: &str, tuning: &Tuning) -> ComputeOptions {
    let nova = Service { release, tuning, name: "nova" };
    let neutron = Service { release, tuning, name: "neutron" };
    let defaults = ComputeOptions::default();
    let periodics = nova.flag("DEFAULT.periodic_enable").unwrap_or(true);
    let spacing = |option: &str, default: Option<Duration>| match nova.number(option) {
        _ if !periodics => None,
        None => default,
        Some(seconds) if seconds < 0.0 => None,
        Some(0.0) => Some(DEFAULT_SPACING),
        Some(seconds) => Some(seconds_of(seconds)),
    };
    let time = |option: &str, default: Duration| nova.number(option).map_or(default, seconds_of);
    // Zero is not "every 60 s" for this one: it is off (`nova/compute/manager.py`, `_heal_instance_info_cache`).
    let heal = "DEFAULT.heal_instance_info_cache_interval";
    let heal_is_off = nova.number(heal).is_some_and(|seconds| seconds <= 0.0);
    ComputeOptions {
        report_interval: time("DEFAULT.report_interval", defaults.report_interval),
        rpc_response_timeout: time("DEFAULT.rpc_response_timeout", defaults.rpc_response_timeout),
        periodic_fuzzy_delay: time("DEFAULT.periodic_fuzzy_delay", defaults.periodic_fuzzy_delay),
        update_resources_interval: spacing("DEFAULT.update_resources_interval", defaults.update_resources_interval),
        sync_power_state_interval: spacing("DEFAULT.sync_power_state_interval", defaults.sync_power_state_interval),
        scheduler_instance_sync_interval: spacing(
            "DEFAULT.scheduler_instance_sync_interval",
            defaults.scheduler_instance_sync_interval,
        ),
        instance_delete_interval: spacing("DEFAULT.instance_delete_interval", defaults.instance_delete_interval),
        running_deleted_instance_poll_interval: spacing(
            "DEFAULT.running_deleted_instance_poll_interval",
            defaults.running_deleted_instance_poll_interval,
        ),
        image_cache_interval: spacing("image_cache.manager_interval", defaults.image_cache_interval),
        heal_instance_info_cache_interval: if heal_is_off { None } else { spacing(heal, None) },
        association_refresh: match nova.number("compute.resource_provider_association_refresh") {
            None => defaults.association_refresh,
            Some(0.0) => None,
            Some(seconds) => Some(seconds_of(seconds)),
        },
        max_concurrent_builds: builds(&nova),
        sync_power_state_pool_size: nova
            .number("DEFAULT.sync_power_state_pool_size")
            .map_or(defaults.sync_power_state_pool_size, |size| size.clamp(1.0, f64::from(u16::MAX)) as u32),
        extension_sync_interval: time("neutron.extension_sync_interval", defaults.extension_sync_interval),
        vif_plugging_timeout: time("DEFAULT.vif_plugging_timeout", defaults.vif_plugging_timeout),
        vif_plugging_is_fatal: nova.flag("DEFAULT.vif_plugging_is_fatal").unwrap_or(defaults.vif_plugging_is_fatal),
        track_instance_changes: nova
            .flag("filter_scheduler.track_instance_changes")
            .unwrap_or(defaults.track_instance_changes),
        consoles: nova.flag("vnc.enabled").unwrap_or(true)
            || ["spice.enabled", "serial_console.enabled", "mks.enabled"]
                .iter()
                .any(|option| nova.flag(option) == Some(true)),
        // One above zero offloads by a periodic task, which is not done here.
        offloads_at_once: nova.number("DEFAULT.shelved_offload_time").is_none_or(|seconds| seconds == 0.0),
        agent_report_interval: neutron
            .number("agent.report_interval")
            .map_or(defaults.agent_report_interval, seconds_of),
        agent_rpc_response_timeout: neutron
            .number("DEFAULT.rpc_response_timeout")
            .map_or(defaults.agent_rpc_response_timeout, seconds_of),
        neutron_timeout: nova.number("neutron.timeout").map(seconds_of),
        placement_timeout: nova.number("placement.timeout").map(seconds_of),
        rabbit: rabbit(&nova),
    }
}

fn rabbit(nova: &Service<'_>) -> RabbitOptions {
    let defaults = RabbitOptions::default();
    let number = |option: &str| nova.number(&format!("oslo_messaging_rabbit.{option}"));
    let time = |option: &str, default: Duration| number(option).map_or(default, seconds_of);
    RabbitOptions {
        heartbeat_timeout: time("heartbeat_timeout_threshold", defaults.heartbeat_timeout),
        heartbeat_rate: number("heartbeat_rate")
            .map_or(defaults.heartbeat_rate, |rate| rate.clamp(1.0, f64::from(u16::MAX)) as u32),
        reconnect_delay: time("kombu_reconnect_delay", defaults.reconnect_delay),
        reconnect_splay: time("kombu_reconnect_splay", defaults.reconnect_splay),
        retry_interval: time("rabbit_retry_interval", defaults.retry_interval),
        retry_backoff: time("rabbit_retry_backoff", defaults.retry_backoff),
        retry_interval_max: time("rabbit_interval_max", defaults.retry_interval_max),
    }
}

/// With native threads, the default of the release, builds and snapshots run in one pool of the larger of the two limits.
fn builds(nova: &Service<'_>) -> u32 {
    let limit = |option: &str, fallback: u32| match nova.number(option) {
        Some(limit) if limit >= 1.0 => limit.min(f64::from(u32::MAX)) as u32,
        _ => fallback,
    };
    let builds = limit("DEFAULT.max_concurrent_builds", FALLBACK_BUILDS);
    builds.max(limit("DEFAULT.max_concurrent_snapshots", FALLBACK_SNAPSHOTS))
}

/// The ratios that a new inventory carries (`nova/virt/driver.py`, `_get_allocation_ratios`): the ratio if it is set and
/// not zero, else the initial ratio.
pub fn allocation_ratios(release: &str, tuning: &Tuning) -> AllocationRatios {
    let nova = Service { release, tuning, name: "nova" };
    let ratio = |what: &str, default: f64| {
        let set = nova.number(&format!("DEFAULT.{what}_allocation_ratio")).filter(|ratio| *ratio > 0.0);
        let initial = || nova.number(&format!("DEFAULT.initial_{what}_allocation_ratio"));
        set.or_else(initial).unwrap_or(default)
    };
    AllocationRatios { cpu: ratio("cpu", 4.0), ram: ratio("ram", 1.0), disk: ratio("disk", 1.0) }
}

/// How long Nova takes a service that is silent for up, with the release's defaults where the tuning says nothing.
pub fn service_down_time(release: &str, tuning: &Tuning) -> Duration {
    let nova = Service { release, tuning, name: "nova" };
    let asked = nova.number("DEFAULT.service_down_time").map_or(SERVICE_DOWN_TIME, seconds_of);
    raised_down_time(asked, compute_options(release, tuning).report_interval)
}

/// What Nova makes of the two options: a time that is not above the interval is raised, with a warning
/// (`nova/servicegroup/api.py`).
pub fn raised_down_time(service_down_time: Duration, report_interval: Duration) -> Duration {
    match service_down_time > report_interval {
        true => service_down_time,
        false => Duration::from_secs((report_interval.as_secs_f64() * 2.5) as u64),
    }
}

struct Service<'a> {
    release: &'a str,
    tuning: &'a Tuning,
    name: &'static str,
}

impl Service<'_> {
    fn get(&self, option: &str) -> Option<&OptionValue> {
        self.tuning.get(self.name)?.get(option)
    }

    /// What is set, or else the release's default.
    fn number(&self, option: &str) -> Option<f64> {
        let set = self.get(option).and_then(OptionValue::as_number);
        set.or_else(|| find(self.release, self.name, option)?.default.as_f64())
    }

    fn flag(&self, option: &str) -> Option<bool> {
        let set = self.get(option).and_then(OptionValue::as_bool);
        set.or_else(|| find(self.release, self.name, option)?.default.as_bool())
    }
}

fn seconds_of(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nova(options: &[(&str, i64)]) -> Tuning {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), OptionValue::Integer(*value))).collect();
        Tuning::from([("nova".to_owned(), options)])
    }

    #[test]
    fn nothing_set_is_the_release() {
        assert_eq!(compute_options("2026.2", &Tuning::new()), ComputeOptions::default());
        let older = compute_options("2024.2", &Tuning::new());
        assert_eq!(older.heal_instance_info_cache_interval, Some(Duration::from_secs(60)));
        assert_eq!(older.sync_power_state_pool_size, 1000);
    }

    #[test]
    fn what_is_shelved_leaves_at_once_unless_it_is_told_otherwise() {
        let offloads =
            |seconds| compute_options("2026.2", &nova(&[("DEFAULT.shelved_offload_time", seconds)])).offloads_at_once;
        assert_eq!([0, -1, 60].map(offloads), [true, false, false]);
        let default = |option: &str| {
            let seconds = find("2026.2", "nova", option).and_then(|facts| facts.default.as_f64());
            Duration::from_secs_f64(seconds.unwrap_or_else(|| panic!("{option} has a default")))
        };
        let defaults = ComputeOptions::default();
        assert_eq!(defaults.report_interval, default("DEFAULT.report_interval"));
        assert_eq!(defaults.rpc_response_timeout, default("DEFAULT.rpc_response_timeout"));
        assert_eq!(defaults.periodic_fuzzy_delay, default("DEFAULT.periodic_fuzzy_delay"));
        assert_eq!(defaults.sync_power_state_interval, Some(default("DEFAULT.sync_power_state_interval")));
        assert_eq!(
            defaults.scheduler_instance_sync_interval,
            Some(default("DEFAULT.scheduler_instance_sync_interval"))
        );
        assert_eq!(defaults.instance_delete_interval, Some(default("DEFAULT.instance_delete_interval")));
        assert_eq!(defaults.image_cache_interval, Some(default("image_cache.manager_interval")));
        assert_eq!(defaults.association_refresh, Some(default("compute.resource_provider_association_refresh")));
        assert_eq!(defaults.vif_plugging_timeout, default("DEFAULT.vif_plugging_timeout"));
        assert_eq!(defaults.extension_sync_interval, default("neutron.extension_sync_interval"));
        let rabbit = |option: &str| default(&format!("oslo_messaging_rabbit.{option}"));
        assert_eq!(defaults.rabbit.heartbeat_timeout, rabbit("heartbeat_timeout_threshold"));
        assert_eq!(Duration::from_secs(defaults.rabbit.heartbeat_rate.into()), rabbit("heartbeat_rate"));
        assert_eq!(defaults.rabbit.reconnect_delay, rabbit("kombu_reconnect_delay"));
        assert_eq!(defaults.rabbit.reconnect_splay, rabbit("kombu_reconnect_splay"));
        assert_eq!(defaults.rabbit.retry_interval, rabbit("rabbit_retry_interval"));
        assert_eq!(defaults.rabbit.retry_backoff, rabbit("rabbit_retry_backoff"));
        assert_eq!(defaults.rabbit.retry_interval_max, rabbit("rabbit_interval_max"));
        let ratios = allocation_ratios("2026.2", &Tuning::new());
        let initial = |what: &str| {
            let option = format!("DEFAULT.initial_{what}_allocation_ratio");
            find("2026.2", "nova", &option).and_then(|facts| facts.default.as_f64())
        };
        assert_eq!(
            (Some(ratios.cpu), Some(ratios.ram), Some(ratios.disk)),
            (initial("cpu"), initial("ram"), initial("disk"))
        );
    }

    #[test]
    fn zero_and_less_mean_what_nova_means() {
        let options = compute_options(
            "2026.2",
            &nova(&[
                ("DEFAULT.update_resources_interval", 0),
                ("DEFAULT.sync_power_state_interval", -1),
                ("DEFAULT.instance_delete_interval", 0),
                ("DEFAULT.heal_instance_info_cache_interval", 0),
                ("image_cache.manager_interval", 0),
                ("compute.resource_provider_association_refresh", 0),
                ("DEFAULT.max_concurrent_builds", 0),
            ]),
        );
        assert_eq!(options.update_resources_interval, Some(Duration::from_secs(60)));
        assert_eq!(options.sync_power_state_interval, None);
        assert_eq!(options.instance_delete_interval, Some(Duration::from_secs(60)));
        assert_eq!(options.heal_instance_info_cache_interval, None);
        assert_eq!(options.image_cache_interval, Some(Duration::from_secs(60)));
        assert_eq!(options.association_refresh, None);
        assert_eq!(options.max_concurrent_builds, 10);
    }

    #[test]
    fn silence_lasts_longer_than_the_interval() {
        let down_time = |options: &[(&str, i64)]| service_down_time("2026.2", &nova(options)).as_secs();
        assert_eq!(down_time(&[]), 60);
        assert_eq!(down_time(&[("DEFAULT.service_down_time", 300), ("DEFAULT.report_interval", 60)]), 300);
        assert_eq!(down_time(&[("DEFAULT.report_interval", 61)]), 152);
    }

    #[test]
    fn what_is_set_is_followed() {
        let mut tuning = nova(&[
            ("DEFAULT.report_interval", 60),
            ("DEFAULT.heal_instance_info_cache_interval", 120),
            ("DEFAULT.max_concurrent_builds", 2),
            ("DEFAULT.sync_power_state_interval", i64::MAX),
            ("oslo_messaging_rabbit.heartbeat_timeout_threshold", 0),
            ("oslo_messaging_rabbit.heartbeat_rate", 5),
        ]);
        tuning.insert("neutron".into(), [("agent.report_interval".to_owned(), OptionValue::Float(7.5))].into());
        let options = compute_options("2026.2", &tuning);
        assert_eq!(options.report_interval, Duration::from_secs(60));
        assert_eq!(options.heal_instance_info_cache_interval, Some(Duration::from_secs(120)));
        assert_eq!(options.max_concurrent_builds, 5, "snapshots share the pool, and five of them may run");
        assert_eq!(options.agent_report_interval, Duration::from_millis(7500));
        assert_eq!((options.rabbit.heartbeat_timeout, options.rabbit.heartbeat_rate), (Duration::ZERO, 5));
        let off = compute_options("2026.2", &nova(&[("DEFAULT.periodic_enable", 0)]));
        assert_eq!((off.update_resources_interval, off.sync_power_state_interval), (None, None));
    }
}
