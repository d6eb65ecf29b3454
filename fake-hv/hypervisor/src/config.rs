//! What one hypervisor offers and how long its work takes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Delay, RabbitOptions};

/// What a hypervisor reports to Nova and to Placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Physical CPUs.
    pub vcpus: u32,
    /// Memory in MiB, Nova's unit.
    pub memory_mb: u64,
    /// Disk in GiB, Nova's unit.
    pub local_gb: u64,
    /// `[DEFAULT] cpu_allocation_ratio` as the inventory carries it.
    pub cpu_allocation_ratio: f64,
    /// `[DEFAULT] ram_allocation_ratio`.
    pub ram_allocation_ratio: f64,
    /// `[DEFAULT] disk_allocation_ratio`.
    pub disk_allocation_ratio: f64,
}

impl Resources {
    /// What Nova's fake driver reports (`nova/virt/fake.py`), under the release's own ratios.
    pub fn fake_driver() -> Self {
        Self {
            vcpus: 1000,
            memory_mb: 800_000,
            local_gb: 600_000,
            cpu_allocation_ratio: 4.0,
            ram_allocation_ratio: 1.0,
            disk_allocation_ratio: 1.0,
        }
    }
}

/// How long things take that a real hypervisor does and a simulated one only waits for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Fetching the image into the local cache.
    pub image_fetch: Delay,
    /// Creating and starting the guest.
    pub spawn: Delay,
    /// From the port's creation until the L2 agent reports it up.
    pub wiring: Delay,
    /// Destroying the guest.
    pub destroy: Delay,
    /// What nova-compute's own code takes before each request that it makes of another service.
    #[serde(default)]
    pub think: Delay,
}

impl Times {
    /// Everything takes no time.
    pub const ZERO: Self = Self {
        image_fetch: Delay::ZERO,
        spawn: Delay::ZERO,
        wiring: Delay::ZERO,
        destroy: Delay::ZERO,
        think: Delay::ZERO,
    };

    /// What an unmodified nova-compute takes from the answer to one request until it makes the next: of 1,291 in recordings of its
    /// whole life cycle, on a machine of two cores, half took 3.3 ms at most, nine of ten 9.6 ms, and 99 of a hundred 25 ms.
    pub const MEASURED_THINK: Delay =
        Delay::LogNormal { median: Duration::from_micros(3300), p99: Duration::from_millis(25) };
}

/// The options of nova-compute that decide what it sends and when. Real names, release defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComputeOptions {
    /// `[DEFAULT] report_interval`.
    pub report_interval: Duration,
    /// `[DEFAULT] rpc_response_timeout`.
    pub rpc_response_timeout: Duration,
    /// `[DEFAULT] periodic_fuzzy_delay`: upper bound of the random delay before the first periodic task.
    pub periodic_fuzzy_delay: Duration,
    /// `[DEFAULT] update_resources_interval`; zero means every 60 s, `None` never.
    pub update_resources_interval: Option<Duration>,
    /// `[DEFAULT] sync_power_state_interval`; `None` never.
    pub sync_power_state_interval: Option<Duration>,
    /// `[filter_scheduler] track_instance_changes` with `[DEFAULT] scheduler_instance_sync_interval`; `None` never.
    pub scheduler_instance_sync_interval: Option<Duration>,
    /// `[DEFAULT] instance_delete_interval`; `None` never.
    pub instance_delete_interval: Option<Duration>,
    /// `[DEFAULT] running_deleted_instance_poll_interval`; `None` never.
    pub running_deleted_instance_poll_interval: Option<Duration>,
    /// `[image_cache] manager_interval`; `None` never.
    pub image_cache_interval: Option<Duration>,
    /// `[DEFAULT] heal_instance_info_cache_interval`; `None` never, the default.
    pub heal_instance_info_cache_interval: Option<Duration>,
    /// `[compute] resource_provider_association_refresh`; `None` never.
    pub association_refresh: Option<Duration>,
    /// `[DEFAULT] max_concurrent_builds`; zero is unlimited.
    pub max_concurrent_builds: u32,
    /// `[DEFAULT] sync_power_state_pool_size`: VMs whose power state is compared at once.
    pub sync_power_state_pool_size: u32,
    /// `[neutron] extension_sync_interval`: for how long Neutron's list of extensions is believed.
    pub extension_sync_interval: Duration,
    /// `[DEFAULT] vif_plugging_timeout`.
    pub vif_plugging_timeout: Duration,
    /// `[DEFAULT] vif_plugging_is_fatal`.
    pub vif_plugging_is_fatal: bool,
    /// `[filter_scheduler] track_instance_changes`: whether schedulers are told of each instance change.
    pub track_instance_changes: bool,
    /// Whether there are consoles to have tokens for: `enabled` of `[vnc]`, `[spice]`, `[serial_console]` or `[mks]`.
    pub consoles: bool,
    /// Whether `[DEFAULT] shelved_offload_time` is zero: what is shelved leaves the host at once.
    pub offloads_at_once: bool,
    /// `[AGENT] report_interval` of the L2 agent.
    pub agent_report_interval: Duration,
    /// `[DEFAULT] rpc_response_timeout` of the L2 agent.
    pub agent_rpc_response_timeout: Duration,
    /// `[neutron] timeout` of nova-compute's requests to Neutron; `None`: waits for ever.
    pub neutron_timeout: Option<Duration>,
    /// `[placement] timeout`, likewise.
    pub placement_timeout: Option<Duration>,
    /// How connections to the broker are kept, and tried again when they are lost.
    pub rabbit: RabbitOptions,
}

impl ComputeOptions {
    /// These, with every periodic task off.
    pub fn without_periodic_tasks(self) -> Self {
        Self {
            update_resources_interval: None,
            sync_power_state_interval: None,
            scheduler_instance_sync_interval: None,
            instance_delete_interval: None,
            running_deleted_instance_poll_interval: None,
            image_cache_interval: None,
            heal_instance_info_cache_interval: None,
            ..self
        }
    }
}

impl Default for ComputeOptions {
    /// The defaults of release 2026.2.
    fn default() -> Self {
        let s = Duration::from_secs;
        Self {
            report_interval: s(10),
            rpc_response_timeout: s(60),
            periodic_fuzzy_delay: s(60),
            update_resources_interval: Some(s(60)),
            sync_power_state_interval: Some(s(600)),
            scheduler_instance_sync_interval: Some(s(120)),
            instance_delete_interval: Some(s(300)),
            running_deleted_instance_poll_interval: Some(s(1800)),
            image_cache_interval: Some(s(2400)),
            heal_instance_info_cache_interval: None,
            association_refresh: Some(s(300)),
            max_concurrent_builds: 10,
            sync_power_state_pool_size: 5,
            extension_sync_interval: s(600),
            vif_plugging_timeout: s(300),
            vif_plugging_is_fatal: true,
            track_instance_changes: true,
            consoles: true,
            offloads_at_once: true,
            agent_report_interval: s(30),
            agent_rpc_response_timeout: s(60),
            neutron_timeout: None,
            placement_timeout: None,
            rabbit: RabbitOptions::default(),
        }
    }
}
