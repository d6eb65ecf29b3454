//! What a plan comes to before it is run: its processes, what a real service would refuse or change, what cannot be.

use std::time::Duration;

use scenarios::{Plan, Schedule, options::compute_options, plan::Operation, show_time};

use crate::model::{Options, Settings};

/// Processes that the model can number.
const MOST_PROCESSES: u64 = 60_000;

/// The processes of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSize {
    /// As recordings name it.
    pub name: &'static str,
    /// Processes on each controller.
    pub processes: u32,
    /// Requests that each works on at once.
    pub threads: u32,
    /// Key of the plan that sets the number of processes.
    pub key: String,
}

/// Every service of the model.
pub fn services(plan: &Plan) -> Vec<ServiceSize> {
    sizes(plan, &Settings::new(&Options::new(plan), plan.deployment.controller_cores))
}

/// Every service, in the order of `ServiceId`.
pub(crate) fn sizes(plan: &Plan, settings: &Settings) -> Vec<ServiceSize> {
    let apis = [
        ("keystone-api", "keystone"),
        ("placement-api", "placement"),
        ("glance-api", "glance"),
        ("neutron-api", "neutron"),
        ("nova-api", "nova"),
    ];
    let apis = apis.map(|(name, service)| {
        let (processes, threads) = plan.cloud.wsgi.get(service).map_or((1, 1), |wsgi| (wsgi.processes, wsgi.threads));
        ServiceSize { name, processes, threads, key: format!("cloud.wsgi.{service}.processes") }
    });
    let (rpc, neutron) = (settings.rpc_threads, settings.neutron_rpc_threads);
    let workers = [
        ("nova-conductor", settings.conductor_workers, rpc, "nova.conductor.workers"),
        ("nova-scheduler", settings.scheduler_workers, rpc, "nova.scheduler.workers"),
        ("neutron-rpc-server", settings.neutron_rpc_workers, neutron, "neutron.DEFAULT.rpc_workers"),
        ("neutron-state-reports", settings.neutron_report_workers, neutron, "neutron.DEFAULT.rpc_state_report_workers"),
    ];
    let workers = workers.map(|(name, processes, threads, option)| ServiceSize {
        name,
        processes,
        threads,
        key: format!("tuning.{option}"),
    });
    apis.into_iter().chain(workers).collect()
}

/// Why a plan cannot be run in virtual time, in words that name the key.
pub fn objection(plan: &Plan) -> Option<String> {
    only_live(plan).or_else(|| too_many_processes(plan)).or_else(|| no_threads(plan)).or_else(|| too_late(plan))
}

/// Why only a real cloud can carry a plan out, in words that name what it is about.
pub fn only_live(plan: &Plan) -> Option<String> {
    let is_real = |operation: &Operation| matches!(operation, Operation::StopStart | Operation::Resize);
    let stream = plan.load.iter().find(|load| is_real(&load.operation)).map(|load| format!("stream `{}`", load.name));
    let incident = plan.incidents.iter().find(|incident| !incident.kind.is_modelled());
    let what = stream.or_else(|| Some(format!("incident `{}`", incident?.kind.name())))?;
    Some(format!("the {what} is nothing that the model does; run the scenario with --target live"))
}

fn too_many_processes(plan: &Plan) -> Option<String> {
    let controllers = u64::from(plan.deployment.controllers.max(1));
    let services = services(plan);
    let all: u64 = services.iter().map(|service| u64::from(service.processes.max(1)) * controllers).sum();
    let largest = services.iter().max_by_key(|service| service.processes)?;
    (all > MOST_PROCESSES).then(|| {
        format!(
            "{all} processes are more than the {MOST_PROCESSES} that the model takes: {} has {} on each of {controllers} \
             controllers; set {} (one for each core where it is not set), or deployment.controllers",
            largest.name, largest.processes, largest.key
        )
    })
}

/// `futurist.ThreadPoolExecutor`: `max_workers must be greater than zero`.
fn no_threads(plan: &Plan) -> Option<String> {
    ["nova", "neutron"].into_iter().find_map(|service| {
        let option = "DEFAULT.executor_thread_pool_size";
        let value = plan.tuning.get(service)?.get(option)?.as_number()?;
        (value < 1.0).then(|| {
            format!("tuning.{service}.{option} = {value}: a service does not start without a thread; give at least 1")
        })
    })
}

fn too_late(plan: &Plan) -> Option<String> {
    let end = Schedule::of(plan)?.takes() + plan.drain;
    plan.incidents.iter().find(|incident| incident.at > end).map(|incident| {
        format!(
            "incidents.at: the {} at {} never happens: load and drain are over after {}",
            incident.kind.name(),
            show_time(incident.at),
            show_time(end)
        )
    })
}

/// What a service makes of an option otherwise than it is set.
pub fn corrections(plan: &Plan) -> Vec<String> {
    let interval = compute_options(&plan.release, &plan.tuning).report_interval;
    let settings = Settings::new(&Options::new(plan), plan.deployment.controller_cores);
    let set = |option: &str| plan.tuning.get("nova").and_then(|options| options.get(option)?.as_number());
    let down = Duration::from_nanos(settings.service_down_ns);
    let asked = Duration::from_secs_f64(set("DEFAULT.service_down_time").unwrap_or(60.0).max(0.0));
    if asked == down {
        return Vec::new();
    }
    vec![format!(
        "nova: DEFAULT.service_down_time = {} is not above DEFAULT.report_interval = {}; Nova takes {} instead, and warns in its logs",
        asked.as_secs(),
        interval.as_secs(),
        down.as_secs()
    )]
}
