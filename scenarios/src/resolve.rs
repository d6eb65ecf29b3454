//! From what was written to what will be done: defaults filled in, names followed, contradictions found.

use std::{collections::BTreeMap, time::Duration};

use hypervisor::{Delay, Resources, Times};

use crate::{
    deployment, document, edge, gates, load, options,
    plan::{
        CloudPlan, ConnectionMode, FleetPlan, ForeignCloud, MOST_BROKERS, MOST_FLEET_PROCESSES, Operation, OptionValue,
        Plan, Start, TenantsPlan, Tuning, WsgiPlan,
    },
    problem::{Complaint, Desk, Errors, Source},
    read::{Bytes, Written},
    seed::DEFAULT_SEED,
    set,
    stream::Stream,
    tuning,
    written::{self, Scenario},
};

/// The release of a scenario that names none.
pub const DEFAULT_RELEASE: &str = "2026.2";

const DEFAULT_DRAIN: Duration = Duration::from_secs(120);
const DEFAULT_REGISTER_WITHIN: Duration = Duration::from_secs(300);
/// A tenth of a second: what a boot takes is counted in seconds, so a generator this late still measures boots.
const DEFAULT_LATE_BOUND: Duration = Duration::from_millis(100);
/// More than any fleet that has been published, times ten.
const MOST_HYPERVISORS: u32 = 100_000;
/// Real nova-computes beside a fleet.
const MOST_REAL: u32 = 32;
/// Ten for each of these.
const MOST_SERVERS: u32 = 1_000_000;

/// Makes the plan of a scenario: its text, then the overrides (`KEY=VALUE`, the last one wins), then the defaults.
///
/// The same arguments give the same plan. Callers print the plan's seed.
///
/// # Errors
/// Everything that is wrong with the scenario and the overrides, in the order it stands there.
pub fn resolve(source: &Source, sets: &[String], seed: Option<u64>) -> Result<Plan, Errors> {
    let mut desk = Desk::new(source, sets);
    let mut root = document::parse(&source.text, &mut desk);
    desk.verdict()?; // what could be read around a syntax error would be called incomplete, which it is not
    set::apply(&mut root, sets, &mut desk);
    let scenario = written::read(&root, &mut desk);
    let plan = plan(&scenario, source, seed.unwrap_or(DEFAULT_SEED), &mut desk);
    desk.verdict().map(|()| plan)
}

/// The plan, with something harmless in the place of what is wrong; it is thrown away if anything is.
fn plan(scenario: &Scenario, source: &Source, seed: u64, desk: &mut Desk<'_>) -> Plan {
    let release = release(scenario, desk);
    let tuning = known_options(&scenario.tuning, &release, desk);
    let load = load::resolve(&scenario.streams, value(&scenario.fleet.servers, 0), desk);
    fleet_can_carry(scenario, desk);
    let hypervisors = scenario.fleet.hypervisors.as_ref().map_or(0, |written| written.value);
    let names = scenario.streams.iter().filter_map(|stream| stream.name.as_ref());
    let streams: Vec<String> = names.map(|name| name.value.clone()).collect();
    let whole = gates::Whole { hypervisors, load: &load, seed, streams: &streams };
    let gates = scenario.gates.iter().flat_map(|entry| gates::resolve(entry, &whole, desk)).collect();
    let late_bound = value(&scenario.late_bound, DEFAULT_LATE_BOUND);
    if let Some(bound) = scenario.late_bound.as_ref().filter(|bound| bound.value.is_zero()) {
        bound.complain(
            desk,
            "every generator is late by more than nothing",
            "give a time above zero, such as \"100ms\"",
        );
    }
    Plan {
        scenario: text(&scenario.name),
        description: text(&scenario.description),
        scenario_text: source.text.clone(),
        cloud: cloud(scenario, &release, desk),
        deployment: deployment::resolve(&scenario.deployment, desk),
        tenants: tenants(scenario, desk),
        fleet: fleet(scenario, &release, &tuning, desk),
        edge: scenario.edge.as_ref().map(|edge| edge::plan(edge, &release, desk)),
        release,
        seed,
        tuning,
        load,
        incidents: scenario.incidents.clone(),
        drain: value(&scenario.drain, DEFAULT_DRAIN),
        gates,
        late_bound,
    }
}

fn value<T: Copy>(written: &Option<Written<T>>, default: T) -> T {
    written.as_ref().map_or(default, |written| written.value)
}

fn text(written: &Option<Written<String>>) -> String {
    written.as_ref().map(|written| written.value.clone()).unwrap_or_default()
}

fn release(scenario: &Scenario, desk: &mut Desk<'_>) -> String {
    let Some(written) = &scenario.release else { return DEFAULT_RELEASE.to_owned() };
    if options::releases().any(|known| known == written.value) {
        return written.value.clone();
    }
    let known = options::releases().collect::<Vec<_>>().join(", ");
    written.complain(desk, format!("the release {:?} is not known", written.value), format!("known: {known}"));
    DEFAULT_RELEASE.to_owned()
}

fn cloud(scenario: &Scenario, release: &str, desk: &mut Desk<'_>) -> CloudPlan {
    let mut wsgi: BTreeMap<String, WsgiPlan> = options::wsgi_defaults(release);
    let services = wsgi.keys().cloned().collect::<Vec<_>>().join(", ");
    for written in &scenario.cloud.wsgi {
        let Some(plan) = wsgi.get_mut(&written.service.value) else {
            let message = format!("there is no WSGI service `{}`", written.service.value);
            written.service.complain(desk, message, format!("services are {services}"));
            continue;
        };
        let service = &written.service.value;
        plan.processes = wsgi_setting(release, service, "processes", written.processes.as_ref(), plan.processes, desk);
        plan.threads = wsgi_setting(release, service, "threads", written.threads.as_ref(), plan.threads, desk);
    }
    let own = scenario.cloud.bring_your_own.as_ref();
    if let (Some(_), Some(written)) = (own, scenario.cloud.wsgi.first()) {
        let help = "leave [cloud.wsgi] out: a cloud that the harness did not start keeps its processes";
        written.service.complain(desk, "the processes of a cloud that you bring cannot be set", help);
    }
    let foreign = |own: &Written<(String, String)>| ForeignCloud {
        cloud: own.value.0.clone(),
        transport_url_env: own.value.1.clone(),
    };
    if let (Some(_), Some(written)) = (own, &scenario.cloud.brokers) {
        written.complain(desk, "the broker of a cloud that you bring has the nodes that it has", "leave brokers out");
    }
    let brokers = bounded(scenario.cloud.brokers.as_ref(), MOST_BROKERS, desk);
    CloudPlan { bring_your_own: own.map(foreign), brokers, wsgi }
}

/// A number of things, if one is written: from 1 to so many.
fn bounded(written: Option<&Written<u32>>, most: u32, desk: &mut Desk<'_>) -> Option<u32> {
    let written = written?;
    if !(1..=most).contains(&written.value) {
        written.complain(desk, format!("{} cannot be", written.value), format!("give 1 to {most}"));
    }
    Some(written.value)
}

/// A number of processes or threads, within the bounds of the catalogue.
fn wsgi_setting(
    release: &str,
    service: &str,
    what: &str,
    written: Option<&Written<u32>>,
    default: u32,
    desk: &mut Desk<'_>,
) -> u32 {
    let Some(written) = written else { return default };
    let number = OptionValue::Integer(written.value.into());
    if let Err(wrong) = options::check_one(release, "wsgi", &format!("{service}.{what}"), &number) {
        desk.complain(&written.place, &written.key, wrong.complaint);
    }
    written.value
}

fn tenants(scenario: &Scenario, desk: &mut Desk<'_>) -> TenantsPlan {
    let projects = value(&scenario.projects, 1);
    let users = value(&scenario.users, projects);
    for written in [&scenario.projects, &scenario.users].into_iter().flatten() {
        if !(1..=100_000).contains(&written.value) {
            written.complain(desk, format!("{} cannot be", written.value), "give 1 to 100000");
        }
    }
    if let Some(written) = scenario.users.as_ref().filter(|_| users < projects) {
        let message = format!("{users} users leave some of the {projects} projects without any");
        written.complain(desk, message, "give at least one user for each project");
    }
    TenantsPlan { projects, users, image: scenario.image.as_ref().map(|image| image.value.clone()) }
}

fn fleet(scenario: &Scenario, release: &str, tuning: &Tuning, desk: &mut Desk<'_>) -> FleetPlan {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    let fleet = &scenario.fleet;
    let hypervisors = value(&fleet.hypervisors, 0);
    if let Some(written) = fleet.hypervisors.as_ref().filter(|written| written.value > MOST_HYPERVISORS) {
        written.complain(
            desk,
            format!("{hypervisors} hypervisors are too many"),
            format!("give at most {MOST_HYPERVISORS}"),
        );
    }
    let connections = value(&fleet.connections, ConnectionMode::Faithful);
    if let (ConnectionMode::Shared { connections: 0 }, Some(written)) = (connections, &fleet.connections) {
        written.complain(desk, "hypervisors cannot share no connection", "give at least 1");
    }
    let size = Resources {
        vcpus: value(&fleet.vcpus, 32),
        memory_mb: whole(&fleet.memory, 128 * GIB, MIB, "MiB", desk),
        local_gb: whole(&fleet.disk, 1024 * GIB, GIB, "GiB", desk),
        cpu_allocation_ratio: 1.0,
        ram_allocation_ratio: 1.0,
        disk_allocation_ratio: 1.0,
    };
    let resources = allocated(size, release, tuning);
    if let Some(written) = fleet.vcpus.as_ref().filter(|written| written.value == 0) {
        written.complain(desk, "a hypervisor without CPUs carries nothing", "give at least 1");
    }
    FleetPlan {
        hypervisors,
        connections,
        start: value(&fleet.start, Start::default()),
        l2_agent: value(&fleet.l2_agent, true),
        resources,
        times: times(fleet),
        register_within: register_within(fleet, desk),
        servers: servers(fleet, desk),
        real: real(scenario, desk),
        processes: bounded(fleet.processes.as_ref(), MOST_FLEET_PROCESSES, desk),
    }
}

/// The resources of a host, with the ratios that its nova-compute is configured with.
pub(crate) fn allocated(size: Resources, release: &str, tuning: &Tuning) -> Resources {
    let ratios = options::allocation_ratios(release, tuning);
    Resources {
        cpu_allocation_ratio: ratios.cpu,
        ram_allocation_ratio: ratios.ram,
        disk_allocation_ratio: ratios.disk,
        ..size
    }
}

/// Real nova-computes.
fn real(scenario: &Scenario, desk: &mut Desk<'_>) -> u32 {
    let real = value(&scenario.fleet.real, 0);
    if let Some(written) = &scenario.fleet.real {
        if real > MOST_REAL {
            written.complain(desk, format!("{real} cannot be"), format!("give at most {MOST_REAL}, of 150 MB each"));
        } else if real > 0 && scenario.cloud.bring_your_own.is_some() {
            written.complain(
                desk,
                "real nova-computes are started beside the harness's own cloud only",
                "leave real out",
            );
        }
    }
    real
}

fn register_within(fleet: &written::Fleet, desk: &mut Desk<'_>) -> Duration {
    let Some(within) = &fleet.register_within else { return DEFAULT_REGISTER_WITHIN };
    if within.value.is_zero() {
        within.complain(desk, "a start-up takes time", "give a time such as \"5m\"");
    }
    within.value
}

/// Servers that run already.
fn servers(fleet: &written::Fleet, desk: &mut Desk<'_>) -> u32 {
    let servers = value(&fleet.servers, 0);
    let hosts = value(&fleet.hypervisors, 0);
    if let Some(written) = &fleet.servers {
        if servers > MOST_SERVERS {
            written.complain(desk, format!("{servers} servers are too many"), format!("give at most {MOST_SERVERS}"));
        } else if servers > 0 && hosts == 0 {
            written.complain(desk, "servers need hypervisors to run on", "give fleet.hypervisors, or leave them out");
        }
    }
    servers
}

/// A size in whole units, as Nova counts it.
fn whole(
    written: &Option<Written<Bytes>>,
    default_bytes: u64,
    unit_bytes: u64,
    unit: &str,
    desk: &mut Desk<'_>,
) -> u64 {
    let bytes = written.as_ref().map_or(default_bytes, |written| written.value.0);
    if let Some(written) = written.as_ref().filter(|_| bytes == 0 || !bytes.is_multiple_of(unit_bytes)) {
        let message = format!("Nova counts this in whole {unit}, and at least one");
        written.complain(desk, message, format!("give a multiple of 1{unit}"));
    }
    bytes / unit_bytes
}

/// Assumed, not measured, and shown as such in the documentation: a small image from a near store, a guest of QEMU. Only the think
/// time is that of real nova-computes.
fn times(fleet: &written::Fleet) -> Times {
    let log_normal = |median_ms, p99_ms| Delay::LogNormal {
        median: Duration::from_millis(median_ms),
        p99: Duration::from_millis(p99_ms),
    };
    Times {
        image_fetch: fleet.image_fetch.clone().unwrap_or_else(|| log_normal(200, 1000)),
        spawn: fleet.spawn.clone().unwrap_or_else(|| log_normal(2000, 8000)),
        wiring: fleet.wiring.clone().unwrap_or_else(|| log_normal(300, 1500)),
        destroy: fleet.destroy.clone().unwrap_or_else(|| log_normal(500, 2000)),
        think: fleet.think.clone().unwrap_or(Times::MEASURED_THINK),
    }
}

pub(crate) fn known_options(entries: &[tuning::Entry], release: &str, desk: &mut Desk<'_>) -> Tuning {
    let mut tuning = Tuning::new();
    for entry in entries {
        match options::check_one(release, &entry.service, &entry.option, &entry.value.value) {
            Ok(name) => {
                tuning.entry(entry.service.clone()).or_default().insert(name, entry.value.value.clone());
            }
            Err(wrong) => {
                let place = if wrong.in_value { &entry.value.place } else { &entry.key };
                desk.complain(place, &entry.value.key, wrong.complaint);
            }
        }
    }
    tuning
}

/// A load that boots needs hosts.
fn fleet_can_carry(scenario: &Scenario, desk: &mut Desk<'_>) {
    let boots = load::boots(&scenario.streams);
    if let Some(written) = scenario.fleet.hypervisors.as_ref().filter(|written| boots && written.value == 0) {
        written.complain(desk, "without hypervisors every boot fails", "give at least 1, or take the boots out");
    }
    let with_nics = |stream: &Stream| matches!(stream.operation, Some(Operation::Boot { nics, .. }) if nics > 0);
    let without_agent = scenario.fleet.l2_agent.as_ref().filter(|written| !written.value);
    if let Some(written) = without_agent.filter(|_| scenario.streams.iter().any(with_nics)) {
        let help = "boot servers with nics = 0 (1 without a word), or leave l2_agent out";
        written.complain(desk, "without an L2 agent no port is bound, and every boot with one fails", help);
    }
}

/// Reads a file of options, as `--tuning` takes it: the `[tuning]` of a scenario by itself (`[nova]` with lines such as
/// `"DEFAULT.report_interval" = 60`), and `[wsgi]` with processes and threads (`"keystone.processes" = 9`).
///
/// # Errors
/// Everything that is wrong with the file, in the order it stands there.
pub fn tuning_file(source: &Source, release: &str) -> Result<Tuning, Errors> {
    let mut desk = Desk::new(source, &[]);
    let root = document::parse(&source.text, &mut desk);
    desk.verdict()?;
    if !options::releases().any(|known| known == release) {
        let known = options::releases().collect::<Vec<_>>().join(", ");
        desk.complain(
            &root.place,
            "",
            Complaint::new(format!("the release {release:?} is not known"), format!("known: {known}")),
        );
        desk.verdict()?;
    }
    let entries = tuning::read_file(&root, &mut desk);
    let tuning = known_options(&entries, release, &mut desk);
    desk.verdict().map(|()| tuning)
}
