//! The options that the model follows, under their real names.
//!
//! What is asked for here is modelled; what a scenario sets and nobody asks for is not, and is reported as such. A value that
//! the tuning does not set is the release's default, out of its catalogue.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use scenarios::{
    Plan,
    options::{self, FLEET_OPTIONS},
    plan::OptionValue,
};

use super::pool::PoolOptions;

/// SQLAlchemy's default where `pool_timeout` is not set.
const POOL_TIMEOUT_S: f64 = 30.0;
/// Longer than any run, and far from overflow.
const LONGEST_S: f64 = 366.0 * 86_400.0;

/// The options of a plan, and which of them were asked for.
pub(crate) struct Options<'a> {
    plan: &'a Plan,
    asked: RefCell<BTreeSet<(&'static str, &'static str)>>,
}

impl<'a> Options<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self { plan, asked: RefCell::default() }
    }

    /// The number that an option is set to, or is by default; `None` where the service works it out when it starts.
    fn number(&self, service: &'static str, option: &'static str) -> Option<f64> {
        self.asked.borrow_mut().insert((service, option));
        let set = self.plan.tuning.get(service).and_then(|options| options.get(option));
        match set {
            Some(value) => value.as_number(),
            None => options::find(&self.plan.release, service, option)?.default.as_f64(),
        }
    }

    fn flag(&self, service: &'static str, option: &'static str) -> bool {
        self.asked.borrow_mut().insert((service, option));
        let set = self.plan.tuning.get(service).and_then(|options| options.get(option));
        set.and_then(OptionValue::as_bool).unwrap_or_else(|| {
            let facts = options::find(&self.plan.release, service, option);
            facts.and_then(|facts| facts.default.as_bool()).unwrap_or(false)
        })
    }

    fn seconds(&self, service: &'static str, option: &'static str, otherwise_s: f64) -> Duration {
        let seconds = self.number(service, option).unwrap_or(otherwise_s);
        Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S))
    }

    /// A whole number, within bounds.
    fn count(&self, service: &'static str, option: &'static str, otherwise: u32) -> u32 {
        let number = self.number(service, option).unwrap_or(f64::from(otherwise));
        number.clamp(0.0, f64::from(u32::MAX)) as u32
    }

    /// A timeout of Nova's that is none unless it is set.
    fn timeout(&self, option: &'static str) -> Option<Duration> {
        self.number("nova", option).map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_S)))
    }

    /// How many candidates a scheduler gets: what it asks for, and what Placement makes at most.
    fn candidates(&self) -> u32 {
        let asked = self.count("nova", "scheduler.max_placement_results", 1000).max(1);
        let most = self.number("placement", "placement.max_allocation_candidates").filter(|most| *most >= 1.0);
        most.map_or(asked, |most| asked.min(most as u32))
    }

    /// The scheduler's filters, where they are set.
    fn filters(&self) -> Option<Vec<String>> {
        let (service, option) = ("nova", "filter_scheduler.enabled_filters");
        self.asked.borrow_mut().insert((service, option));
        match self.plan.tuning.get(service)?.get(option)? {
            OptionValue::List(names) => Some(names.clone()),
            OptionValue::Text(names) => Some(names.split(',').map(|name| name.trim().to_owned()).collect()),
            _ => None,
        }
    }

    /// Workers of a Nova service: as many as cores when not set, or 0.
    fn workers(&self, option: &'static str, cores: u32) -> u32 {
        match self.count("nova", option, 0) {
            0 => cores,
            workers => workers,
        }
    }

    /// Options of the plan that nothing of the model follows, with their values, and why where that is known.
    pub(crate) fn not_modelled(&self) -> BTreeMap<String, String> {
        let asked = self.asked.borrow();
        let mut others = BTreeMap::new();
        for (service, options) in &self.plan.tuning {
            for (option, value) in options {
                let this = (service.as_str(), option.as_str());
                if asked.contains(&this) || FLEET_OPTIONS.contains(&this) {
                    continue;
                }
                let why = WHY_NOT.iter().find(|(known, _)| option == known).map(|(_, why)| format!(" ({why})"));
                others.insert(format!("{service}: {option}"), format!("{value}{}", why.unwrap_or_default()));
            }
        }
        others
    }
}

/// Options that bound nothing of what the model has.
const WHY_NOT: &[(&str, &str)] = &[
    ("quota.instances", "projects have no limits"),
    ("quota.cores", "projects have no limits"),
    ("quota.ram", "projects have no limits"),
    ("quotas.quota_port", "projects have no limits"),
    ("DEFAULT.update_resources_max_workers", "a hypervisor has one node"),
    ("DEFAULT.cell_worker_thread_pool_size", "there is one cell"),
    ("oslo_messaging_rabbit.rabbit_qos_prefetch_count", "requests are acknowledged on receipt, so it bounds nothing"),
    ("oslo_messaging_rabbit.rabbit_quorum_queue", "its cost was not measured"),
    ("oslo_messaging_rabbit.rabbit_transient_quorum_queue", "its cost was not measured"),
    ("oslo_messaging_rabbit.rabbit_stream_fanout", "its cost was not measured"),
    ("database.max_retries", "the database is there when a service first connects"),
    ("database.retry_interval", "the database is there when a service first connects"),
    ("token.expiration", "tokens do not end"),
    ("DEFAULT.force_config_drive", "made on the hypervisor: part of fleet.times.spawn"),
];

/// The settings of the model.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) service_down_ns: u64,
    pub(crate) rpc_response_timeout: Duration,
    pub(crate) long_rpc_timeout: Duration,
    /// Timeouts of requests from Nova to other APIs; `None`: for ever.
    pub(crate) neutron_timeout: Option<Duration>,
    pub(crate) placement_timeout: Option<Duration>,
    pub(crate) glance_timeout: Option<Duration>,
    pub(crate) rpc_threads: u32,
    pub(crate) rpc_senders: u32,
    pub(crate) conductor_workers: u32,
    pub(crate) scheduler_workers: u32,
    pub(crate) neutron_rpc_workers: u32,
    pub(crate) neutron_report_workers: u32,
    pub(crate) neutron_rpc_threads: u32,
    pub(crate) max_attempts: u32,
    pub(crate) max_placement_results: u32,
    pub(crate) host_subset_size: u32,
    pub(crate) shuffle_best: bool,
    pub(crate) build_failure_multiplier: f64,
    /// Whether the scheduler looks at who is up (ComputeFilter).
    pub(crate) filters_down: bool,
    /// Builds that a host may have (IoOpsFilter); `None`: it is not enabled.
    pub(crate) max_io_ops: Option<u32>,
    pub(crate) disable_threshold: u32,
    pub(crate) randomize_candidates: bool,
    pub(crate) conflict_retries: u32,
    pub(crate) send_events_interval: Duration,
    pub(crate) agent_down_ns: u64,
    pub(crate) missing_consumer_timeout: Duration,
    pub(crate) token_expiration: Duration,
    /// For how long each API believes that a token is valid, by `ServiceId`.
    pub(crate) token_cache_time: [Duration; 5],
    /// Whether Neutron tells Nova that a port is plugged, and that it has changed.
    pub(crate) tells_status: bool,
    pub(crate) tells_data: bool,
    pub(crate) password_hash_rounds: u32,
    /// Pools by service: its own database, and Nova's API database.
    pub(crate) pools: BTreeMap<&'static str, PoolOptions>,
    pub(crate) api_pool: PoolOptions,
}

impl Settings {
    /// Reads them. `cores` are those of one controller: what services take where the number of workers is not set.
    pub(crate) fn new(options: &Options<'_>, cores: u32) -> Self {
        let down = options.seconds("nova", "DEFAULT.service_down_time", 60.0);
        let report = options.seconds("nova", "DEFAULT.report_interval", 10.0);
        let expiration = options.seconds("keystone", "token.expiration", 3600.0);
        let senders = options.count("nova", "oslo_messaging_rabbit.rpc_conn_pool_size", 30).max(1);
        Self {
            service_down_ns: nanoseconds(options::raised_down_time(down, report)),
            rpc_response_timeout: options.seconds("nova", "DEFAULT.rpc_response_timeout", 60.0),
            long_rpc_timeout: options.seconds("nova", "DEFAULT.long_rpc_timeout", 1800.0),
            neutron_timeout: options.timeout("neutron.timeout"),
            placement_timeout: options.timeout("placement.timeout"),
            glance_timeout: options.timeout("glance.timeout"),
            rpc_threads: options.count("nova", "DEFAULT.executor_thread_pool_size", 64).max(1),
            rpc_senders: senders,
            conductor_workers: options.workers("conductor.workers", cores),
            scheduler_workers: options.workers("scheduler.workers", cores),
            neutron_rpc_workers: options.count("neutron", "DEFAULT.rpc_workers", (cores / 2).max(1)).max(1),
            neutron_report_workers: options.count("neutron", "DEFAULT.rpc_state_report_workers", 1).max(1),
            neutron_rpc_threads: options.count("neutron", "DEFAULT.executor_thread_pool_size", 64).max(1),
            max_attempts: options.count("nova", "scheduler.max_attempts", 3).max(1),
            max_placement_results: options.candidates(),
            host_subset_size: options.count("nova", "filter_scheduler.host_subset_size", 1).max(1),
            shuffle_best: options.flag("nova", "filter_scheduler.shuffle_best_same_weighed_hosts"),
            build_failure_multiplier: options
                .number("nova", "filter_scheduler.build_failure_weight_multiplier")
                .unwrap_or(1e6),
            disable_threshold: options.count("nova", "compute.consecutive_build_service_disable_threshold", 10),
            filters_down: options.filters().is_none_or(|filters| filters.iter().any(|name| name == "ComputeFilter")),
            max_io_ops: options
                .filters()
                .filter(|filters| filters.iter().any(|name| name == "IoOpsFilter"))
                .map(|_| options.count("nova", "filter_scheduler.max_io_ops_per_host", 8)),
            randomize_candidates: options.flag("placement", "placement.randomize_allocation_candidates"),
            conflict_retries: options.count("placement", "placement.allocation_conflict_retry_count", 10),
            agent_down_ns: nanoseconds(options.seconds("neutron", "DEFAULT.agent_down_time", 75.0)),
            missing_consumer_timeout: options.seconds(
                "nova",
                "oslo_messaging_rabbit.kombu_missing_consumer_retry_timeout",
                60.0,
            ),
            send_events_interval: options.seconds("neutron", "DEFAULT.send_events_interval", 2.0),
            token_expiration: expiration.max(Duration::from_secs(60)),
            token_cache_time: ["keystone", "placement", "glance", "neutron", "nova"]
                .map(|service| options.seconds(service, "keystone_authtoken.token_cache_time", 300.0)),
            tells_status: options.flag("neutron", "DEFAULT.notify_nova_on_port_status_changes"),
            tells_data: options.flag("neutron", "DEFAULT.notify_nova_on_port_data_changes"),
            password_hash_rounds: options.count("keystone", "identity.password_hash_rounds", 12).clamp(4, 31),
            pools: POOLS.iter().map(|pool| (pool.service, pool.read(options))).collect(),
            api_pool: API_POOL.read(options),
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the options of a pool stand.
struct PoolKeys {
    service: &'static str,
    size: &'static str,
    overflow: &'static str,
    timeout: &'static str,
    recycle: &'static str,
}

const fn pool(service: &'static str) -> PoolKeys {
    PoolKeys {
        service,
        size: "database.max_pool_size",
        overflow: "database.max_overflow",
        timeout: "database.pool_timeout",
        recycle: "database.connection_recycle_time",
    }
}

const POOLS: [PoolKeys; 5] = [
    pool("nova"),
    pool("keystone"),
    pool("glance"),
    pool("neutron"),
    PoolKeys {
        service: "placement",
        size: "placement_database.max_pool_size",
        overflow: "placement_database.max_overflow",
        timeout: "placement_database.pool_timeout",
        recycle: "placement_database.connection_recycle_time",
    },
];

const API_POOL: PoolKeys = PoolKeys {
    service: "nova",
    size: "api_database.max_pool_size",
    overflow: "api_database.max_overflow",
    timeout: "api_database.pool_timeout",
    recycle: "api_database.connection_recycle_time",
};

impl PoolKeys {
    fn read(&self, options: &Options<'_>) -> PoolOptions {
        let overflow = options.number(self.service, self.overflow).unwrap_or(50.0);
        let recycle = options.number(self.service, self.recycle).unwrap_or(3600.0);
        PoolOptions {
            size: options.count(self.service, self.size, 5),
            overflow: (overflow >= 0.0).then_some(overflow.min(f64::from(u32::MAX)) as u32),
            timeout: options.seconds(self.service, self.timeout, POOL_TIMEOUT_S),
            recycle: (recycle >= 0.0).then(|| Duration::from_secs_f64(recycle.min(LONGEST_S))),
        }
    }
}
