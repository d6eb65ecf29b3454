//! What gave way, in the order in which it did.
//!
//! Each finding is the first moment at which a series of the recording says so. Which of two is the cause of the other no series
//! can tell; which came first is where to look.

use std::collections::BTreeMap;

use recording::{Recording, Series};
use scenarios::plan::Plan;

use crate::{
    analysis::{group, growth, rate},
    summary::{Finding, Harness, Process, Summary},
    words,
};

/// Requests that wait in one process: more than one that is merely busy ever has.
const MANY_WAIT: f64 = 100.0;
/// Threads that wait for a connection to the database.
const SOME_WAIT: f64 = 5.0;
/// Share of a machine's cores at which it is at its limit.
const BUSY: f64 = 0.95;
/// Share of its CPU time that strangers on the machine must have taken to be told of.
const STRANGERS: f64 = 0.05;

/// Everything that gave way, by time.
pub(crate) fn findings(recording: &Recording, plan: &Plan, summary: &Summary) -> Vec<Finding> {
    let series = &recording.series;
    let mut found = incidents(recording);
    found.extend(waiting(series, "process.waiting", MANY_WAIT, processes_of, |name, peak, last| {
        let (peak, last) = (words::count(peak as u64), words::count(last as u64));
        format!("requests begin to wait in {name}: {peak} at the worst, {last} at the end")
    }));
    found.extend(waiting(series, "process.pool_waiting", SOME_WAIT, pool_of, |name, peak, _| {
        let peak = words::count(peak as u64);
        format!("threads of {name} begin to wait for a database connection: {peak} at the worst")
    }));
    found.extend(counter(series, "database.refused_total", |refused| {
        let words = format!(
            "the database begins to refuse connections (too many connections): {} in all",
            words::count(refused as u64)
        );
        (words, vec!["deployment.database_connections".to_owned()])
    }));
    found.extend(counter(series, "database.pool_timeouts_total", |late| {
        let words =
            format!("connections are waited for in vain (QueuePool limit): {} times in all", words::count(late as u64));
        (words, vec!["tuning.nova.database.max_pool_size".to_owned(), "tuning.nova.database.max_overflow".to_owned()])
    }));
    found.extend(counter(series, "fleet.rpc_timeouts_total", |late| (timeouts(summary, late), Vec::new())));
    found.extend(machines(recording, plan, summary));
    found.extend(downs(recording));
    found.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    found
}

fn incidents(recording: &Recording) -> Vec<Finding> {
    let incidents = recording.events.iter().filter(|event| event.kind == "incident");
    let finding = |event: &recording::Event| Finding {
        at_s: event.t_ms / 1e3,
        what: format!("the incident of the scenario: {}", event.detail),
        options: Vec::new(),
    };
    incidents.map(finding).collect()
}

/// Series of processes that reach a level. Those of one service on several machines are one finding.
fn waiting(
    series: &Series,
    metric: &str,
    level: f64,
    options: fn(&str) -> Vec<String>,
    tell: impl Fn(&str, f64, f64) -> String,
) -> Vec<Finding> {
    /// Name and points of a process, and when it reached the level.
    type Reached<'a> = (&'a str, &'a [(f64, f64)], f64);
    let mut services: BTreeMap<&str, Vec<Reached<'_>>> = BTreeMap::new();
    for (name, points) in series.instances(metric) {
        if let Some((t_ms, _)) = points.iter().find(|(_, value)| *value >= level) {
            services.entry(group(name)).or_default().push((name, points, *t_ms));
        }
    }
    let finding = |(service, of): (&str, Vec<Reached<'_>>)| {
        let peak: f64 = of.iter().map(|(_, points, _)| points.iter().map(|point| point.1).fold(0.0, f64::max)).sum();
        let last: f64 = of.iter().filter_map(|(_, points, _)| points.last()).map(|point| point.1).sum();
        let name = match of[..] {
            [(name, ..)] => name.to_owned(),
            _ => format!("{service} on {} machines", of.len()),
        };
        let what = tell(&name, peak, last);
        let first_ms = of.iter().map(|(_, _, t_ms)| *t_ms).fold(f64::MAX, f64::min);
        Finding { at_s: first_ms / 1e3, what, options: options(service) }
    };
    services.into_iter().map(finding).collect()
}

/// A cumulative counter that begins to grow.
fn counter(series: &Series, metric: &str, tell: impl Fn(f64) -> (String, Vec<String>)) -> Option<Finding> {
    let points = series.points(metric, "");
    let (t_ms, _) = points.iter().find(|(_, value)| *value > 0.0)?;
    let (what, options) = tell(points.last()?.1);
    Some(Finding { at_s: t_ms / 1e3, what, options })
}

fn timeouts(summary: &Summary, late: f64) -> String {
    let worst = summary.rpc.iter().filter(|rpc| rpc.timed_out > 0).max_by_key(|rpc| rpc.timed_out);
    let worst = worst.map(|rpc| {
        format!(", most often {} ({} of {})", rpc.call, words::count(rpc.timed_out), words::count(rpc.count))
    });
    format!("calls of hypervisors begin to time out: {} in all{}", words::count(late as u64), worst.unwrap_or_default())
}

/// Machines that have all their cores busy for a minute in all, or for the tenth part of a shorter run.
fn machines(recording: &Recording, plan: &Plan, summary: &Summary) -> Vec<Finding> {
    let deployment = &plan.deployment;
    let modelled = recording.manifest.target == "sim";
    let own = recording.manifest.machine.get("cores").and_then(|cores| cores.parse::<f64>().ok());
    let finding = |(name, points): (&str, &[(f64, f64)])| {
        let cores = match name {
            _ if !modelled => own?,
            "database" => f64::from(deployment.database_cores),
            broker if broker.starts_with("broker-") => f64::from(deployment.broker_cores),
            _ => f64::from(deployment.controller_cores),
        };
        let rates = rate(points);
        let busy: Vec<f64> = rates.iter().filter(|(_, used)| *used >= BUSY * cores).map(|(t_ms, _)| *t_ms).collect();
        let enough = (rates.len() / 10).clamp(1, 12);
        let first_ms = busy.get(enough - 1).and(busy.first())?;
        let name = if name.is_empty() { "the machine" } else { name };
        let share = words::number(busy.len() as f64 / rates.len() as f64 * 100.0);
        let what = format!(
            "all {} cores of {name} are busy, in {share} % of the time from beginning to end",
            words::number(cores)
        );
        let strangers = if modelled { None } else { strangers(growth(points), &summary.processes, &summary.harness) };
        let what = match strangers.filter(|share| *share >= STRANGERS) {
            Some(share) => format!(
                "{what}; {} % of their time went to processes that are not the cloud's",
                words::number((share * 100.0).round())
            ),
            None => what,
        };
        let options = if modelled { vec!["deployment".to_owned()] } else { Vec::new() };
        Some(Finding { at_s: first_ms / 1e3, what, options })
    };
    recording.series.instances("machine.cpu_s").filter_map(finding).collect()
}

/// Share of a machine's CPU time that neither the cloud nor the harness took; `None` when the harness's is not known.
fn strangers(machine_s: f64, cloud: &[Process], harness: &Harness) -> Option<f64> {
    let cloud_s: f64 = cloud.iter().map(|process| process.cpu_s).sum();
    Some((machine_s - harness.cpu_s? - cloud_s) / machine_s)
}

fn downs(recording: &Recording) -> Option<Finding> {
    let mut downs = recording.events.iter().filter(|event| event.kind == "host_down");
    let first = downs.next()?;
    let times = words::noun(downs.count() as u64 + 1, "time");
    Some(Finding {
        at_s: first.t_ms / 1e3,
        what: format!(
            "Nova takes a hypervisor that is alive for down for the first time; {times} in all, start-up included"
        ),
        options: vec![
            "tuning.nova.DEFAULT.report_interval".to_owned(),
            "tuning.nova.DEFAULT.service_down_time".to_owned(),
        ],
    })
}

/// What sets how much a service can do at once.
fn processes_of(service: &str) -> Vec<String> {
    let keys: &[&str] = match service {
        "nova-conductor" => &["tuning.nova.conductor.workers", "tuning.nova.DEFAULT.executor_thread_pool_size"],
        "nova-scheduler" => &["tuning.nova.scheduler.workers", "tuning.nova.scheduler.max_placement_results"],
        "neutron-rpc-server" => &["tuning.neutron.DEFAULT.rpc_workers"],
        "neutron-state-reports" => {
            &["tuning.neutron.DEFAULT.rpc_state_report_workers", "tuning.neutron.agent.report_interval"]
        }
        api => match api.strip_suffix("-api") {
            Some(service) => return vec![format!("cloud.wsgi.{service}.processes")],
            None => &[],
        },
    };
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// What sets how many connections a process has.
fn pool_of(service: &str) -> Vec<String> {
    let (service, section) = match service.split('-').next() {
        Some("placement") => ("placement", "placement_database"),
        Some(service) => (service, "database"),
        None => return Vec::new(),
    };
    ["max_pool_size", "max_overflow"].map(|option| format!("tuning.{service}.{section}.{option}")).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metric: &str, instances: &[(&str, &[(f64, f64)])]) -> Series {
        let of = instances.iter().map(|(name, points)| ((*name).to_owned(), points.to_vec())).collect();
        Series(BTreeMap::from([(metric.to_owned(), of)]))
    }

    #[test]
    fn what_waits_on_several_machines_is_one_finding() {
        let series = series(
            "process.waiting",
            &[
                ("nova-conductor@controller-1", &[(0.0, 0.0), (5e3, 40.0)]),
                ("nova-conductor@controller-2", &[(0.0, 0.0), (5e3, 100.0), (10e3, 900.0)]),
                ("nova-conductor@controller-3", &[(0.0, 0.0), (10e3, 300.0)]),
            ],
        );
        let tell = |name: &str, peak: f64, _: f64| format!("{name} {peak}");
        let found = waiting(&series, "process.waiting", MANY_WAIT, processes_of, tell);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].at_s, found[0].what.as_str()), (5.0, "nova-conductor on 2 machines 1200"));
        assert_eq!(found[0].options[0], "tuning.nova.conductor.workers");
    }

    #[test]
    fn a_counter_that_stays_at_zero_is_no_finding() {
        let tell = |value: f64| (format!("{value}"), Vec::new());
        let quiet = series("x", &[("", &[(0.0, 0.0), (5e3, 0.0)])]);
        assert_eq!(counter(&quiet, "x", tell), None);
        let grows = series("x", &[("", &[(0.0, 0.0), (5e3, 3.0), (10e3, 7.0)])]);
        assert_eq!(counter(&grows, "x", tell).map(|found| (found.at_s, found.what)), Some((5.0, "7".to_owned())));
    }

    #[test]
    fn strangers_are_who_is_neither_cloud_nor_harness() {
        let process = |cpu_s| Process { cpu_s, ..Process::default() };
        let cloud = [process(50.0), process(15.0)];
        let harness = |cpu_s| Harness { cpu_s, ..Harness::default() };
        assert_eq!(strangers(100.0, &cloud, &harness(None)), None, "without the harness's share nothing is known");
        assert_eq!(strangers(100.0, &cloud, &harness(Some(5.0))), Some(0.3));
    }

    #[test]
    fn every_service_names_its_option() {
        assert_eq!(processes_of("neutron-api"), ["cloud.wsgi.neutron.processes"]);
        assert_eq!(pool_of("nova-conductor")[0], "tuning.nova.database.max_pool_size");
        assert_eq!(pool_of("placement-api")[1], "tuning.placement.placement_database.max_overflow");
        assert!(processes_of("rabbitmq").is_empty());
    }
}
