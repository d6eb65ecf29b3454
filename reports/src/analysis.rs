//! From a recording to its figures.

use std::{collections::BTreeSet, time::Duration};

use hdrhistogram::Histogram;
use recording::{COUNTERS_EVERY, Interval, LatencyStream, OutcomeKind, Points, Recording, millis};
use scenarios::{
    MAY_GROW,
    plan::{LoadPlan, Plan},
};

use crate::{
    error::ReportError,
    findings::findings,
    gates::judge,
    summary::{Growth, Harness, Hypervisors, Operation, Process, Rpc, Summary, Verdict},
};

/// A recording, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// The plan of the run.
    pub plan: Plan,
    /// The figures, judged.
    pub summary: Summary,
    /// Phases of the run: when each began, in milliseconds, and its name.
    pub phases: Vec<(f64, String)>,
    /// The time that counts, in milliseconds: from the start of the load to the end of the drain. `None` when the load
    /// never began.
    pub window_ms: Option<(f64, f64)>,
}

/// Works out the figures of a run and judges its gates. Pure: the same recording gives the same analysis.
///
/// # Errors
/// When the recording's `plan.json` is not a plan of this version.
pub fn analyse(recording: &Recording) -> Result<Analysis, ReportError> {
    let plan: Plan = serde_json::from_str(&recording.plan_json)
        .map_err(|source| ReportError::Plan { path: recording.folder.join("plan.json"), source })?;
    let duration_ms = recording.outcome.as_ref().map_or_else(|| last_moment_ms(recording), |end| end.duration_ms);
    let phases: Vec<(f64, String)> = recording
        .events
        .iter()
        .filter(|event| event.kind == "phase")
        .map(|event| (event.t_ms, event.detail.clone()))
        .collect();
    let window_ms = window_ms(&phases, duration_ms);
    let mut summary = Summary {
        schema: Summary::SCHEMA,
        scenario: recording.manifest.scenario.clone(),
        target: recording.manifest.target.clone(),
        release: recording.manifest.release.clone(),
        seed: recording.manifest.seed,
        outcome: Verdict::Passed,
        reason: None,
        duration_s: duration_ms / 1000.0,
        hypervisors: hypervisors(recording, &plan, window_ms),
        operations: plan.load.iter().map(|load| operation(recording, &plan, load)).collect(),
        rpc: rpc(recording, window_ms),
        processes: processes(recording),
        gates: Vec::new(),
        findings: Vec::new(),
        harness: harness(recording),
        growth: window_ms.map_or_else(Vec::new, |window_ms| grown(recording, window_ms)),
    };
    summary.findings = findings(recording, &plan, &summary);
    summary.gates = judge(&summary, &plan.gates);
    (summary.outcome, summary.reason) = outcome(recording, &plan, &summary);
    Ok(Analysis { plan, summary, phases, window_ms })
}

/// A quantile of a histogram of microseconds, in milliseconds; `None` of an empty one.
pub(crate) fn quantile_ms(histogram: &Histogram<u64>, quantile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| millis(Duration::from_micros(histogram.value_at_quantile(quantile))))
}

/// Growth of a cumulative counter over its points. A process that was started anew counts from zero again.
pub(crate) fn growth(points: &[(f64, f64)]) -> f64 {
    points.windows(2).map(|pair| counter_step(pair[0].1, pair[1].1)).sum()
}

/// What a cumulative counter grew by from one point to the next.
pub(crate) fn counter_step(before: f64, after: f64) -> f64 {
    if after >= before { after - before } else { after }
}

/// Growth per second of a cumulative counter, at the end of each step.
pub(crate) fn rate(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let steps = points.windows(2).filter(|pair| pair[1].0 > pair[0].0);
    steps.map(|pair| (pair[1].0, counter_step(pair[0].1, pair[1].1) * 1e3 / (pair[1].0 - pair[0].0))).collect()
}

/// The base of a process's name: `keystone-3`, `keystone:3`, `keystone.3` and `keystone@controller-3` are `keystone`.
pub(crate) fn group(name: &str) -> &str {
    if let Some((base, _machine)) = name.split_once('@').filter(|(base, _)| !base.is_empty()) {
        return base;
    }
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let trimmed = base.trim_end_matches(['-', '.', ':', '_', '#', '@', '/', ' ']);
    if trimmed.is_empty() || trimmed == base { name } else { trimmed }
}

/// The latest moment that anything in the recording speaks of.
fn last_moment_ms(recording: &Recording) -> f64 {
    let operations = recording.operations.iter().map(|operation| operation.ended_ms);
    let events = recording.events.iter().map(|event| event.t_ms);
    let points = recording.series.0.values().flat_map(|instances| instances.values()).flatten().map(|point| point.0);
    let intervals = recording.latency.values().filter_map(|stream| stream.intervals.last());
    let intervals = intervals.map(|interval| millis(interval.start + interval.length));
    operations.chain(events).chain(points).chain(intervals).fold(0.0, f64::max)
}

/// From the start of the load until the first phase after the drain. A run without a drain (interrupted, or killed)
/// counts until the phase after the load, or its end.
fn window_ms(phases: &[(f64, String)], duration_ms: f64) -> Option<(f64, f64)> {
    let load = phases.iter().position(|(_, name)| name == "load")?;
    let after = phases[load + 1..].iter().find(|(_, name)| name != "drain");
    Some((phases[load].0, after.map_or(duration_ms, |(t_ms, _)| *t_ms)))
}

fn hypervisors(recording: &Recording, plan: &Plan, window_ms: Option<(f64, f64)>) -> Hypervisors {
    let in_window = |t_ms: f64| window_ms.is_some_and(|(from, to)| (from..=to).contains(&t_ms));
    let up: Vec<f64> = recording
        .series
        .points("fleet.up", "")
        .iter()
        .filter(|(t_ms, _)| in_window(*t_ms))
        .map(|(_, up)| *up)
        .collect();
    let downs = || recording.events.iter().filter(|event| event.kind == "host_down");
    let hosts: BTreeSet<&str> =
        downs().filter(|event| in_window(event.t_ms)).map(|event| event.detail.as_str()).collect();
    let before = downs().filter(|event| window_ms.is_none_or(|(from, _)| event.t_ms < from)).count();
    let looked = !recording.series.points("fleet.up", "").is_empty();
    Hypervisors {
        requested: plan.fleet.hypervisors,
        registered: max(recording.series.points("fleet.registered", "")).map(|most| most as u32),
        up_min: up.iter().copied().reduce(f64::min).map(|fewest| fewest as u32),
        up_end: up.last().map(|last| *last as u32),
        // Without a single look nobody can say that none was down.
        false_down: (!up.is_empty()).then(|| downs().filter(|event| in_window(event.t_ms)).count() as u32),
        falsely_down: (!up.is_empty()).then_some(hosts.len() as u32),
        false_down_before_load: looked.then_some(before as u32),
    }
}

fn operation(recording: &Recording, plan: &Plan, load: &LoadPlan) -> Operation {
    let name = load.name.as_str();
    let counter = |metric: &str| max(recording.series.points(metric, name)).map(|most| most as u64);
    let records = || recording.operations.iter().filter(|operation| operation.stream == name);
    let failed = records().filter(|operation| operation.error.is_some()).count() as u64;
    let ended = records().count() as u64;
    let started = counter("load.started").unwrap_or(0).max(ended);
    // Streams are numbered from 0, so the highest number tells of those before it that are still under way.
    let known = records().map(|operation| operation.index + 1).max().unwrap_or(0).max(started);
    let intended = counter("load.intended").or_else(|| load.operations(plan.seed)).unwrap_or(0).max(known);
    let histogram = recording.stream(&format!("operations/{name}")).map(LatencyStream::histogram);
    let quantile = |quantile| histogram.as_ref().and_then(|histogram| quantile_ms(histogram, quantile));
    Operation {
        name: name.to_owned(),
        intended,
        started,
        succeeded: ended - failed,
        failed,
        p50_ms: quantile(0.5),
        p95_ms: quantile(0.95),
        p99_ms: quantile(0.99),
        max_ms: quantile(1.0),
    }
}

fn rpc(recording: &Recording, window_ms: Option<(f64, f64)>) -> Vec<Rpc> {
    let streams = recording.latency.iter().filter_map(|(name, stream)| Some((name.strip_prefix("rpc/")?, stream)));
    streams
        .map(|(call, stream)| {
            let histogram = stream.histogram();
            let loaded =
                |interval: &&Interval| window_ms.is_some_and(|(from, to)| (from..to).contains(&millis(interval.start)));
            let loaded = recording::merge(stream.intervals.iter().filter(loaded));
            let counter = |metric| max(recording.series.points(metric, call)).map_or(0, |most| most as u64);
            let timed_out_by = |t_ms: f64| {
                // Counters are written up to so much later.
                let written_ms = t_ms + millis(COUNTERS_EVERY);
                let points = recording.series.points("rpc.timed_out", call).iter();
                points.take_while(|(t_ms, _)| *t_ms <= written_ms).last().map_or(0, |(_, count)| *count as u64)
            };
            Rpc {
                call: call.to_owned(),
                // The counters of a killed run are up to five seconds older than its latency log.
                count: histogram.len().max(counter("rpc.count")),
                failed: counter("rpc.failed"),
                timed_out: counter("rpc.timed_out"),
                timed_out_load: window_ms.map(|(from, to)| timed_out_by(to).saturating_sub(timed_out_by(from))),
                p50_ms: quantile_ms(&histogram, 0.5),
                p99_ms: quantile_ms(&histogram, 0.99),
                p50_load_ms: quantile_ms(&loaded, 0.5),
                p99_load_ms: quantile_ms(&loaded, 0.99),
            }
        })
        .collect()
}

fn processes(recording: &Recording) -> Vec<Process> {
    let instances = recording.series.instances("process.cpu_s");
    instances
        .map(|(name, points)| Process {
            name: name.to_owned(),
            cpu_s: growth(points),
            rss_peak_bytes: max(recording.series.points("process.rss_bytes", name)).map(|most| most as u64),
        })
        .collect()
}

fn harness(recording: &Recording) -> Harness {
    let late = recording.latency.iter().filter(|(name, _)| name.starts_with("harness/"));
    let late = late.filter_map(|(_, stream)| quantile_ms(&stream.histogram(), 0.99));
    Harness {
        cpu_s: Some(recording.series.points("harness.cpu_s", "")).filter(|points| !points.is_empty()).map(growth),
        rss_peak_bytes: max(recording.series.points("harness.rss_bytes", "")).map(|most| most as u64),
        late_ms_p99: late.reduce(f64::max),
    }
}

fn grown(recording: &Recording, window_ms: (f64, f64)) -> Vec<Growth> {
    let ends = MAY_GROW.iter().filter_map(|metric| Some((metric, first_and_last(recording, metric, window_ms)?)));
    ends.map(|(metric, (first, last))| Growth {
        name: (*metric).to_owned(),
        percent: (first > 0.0).then(|| (last / first - 1.0) * 100.0),
    })
    .collect()
}

/// Means of a series in the first and in the last tenth of a time; `None` where it was not watched.
pub(crate) fn first_and_last(recording: &Recording, metric: &str, (from, to): (f64, f64)) -> Option<(f64, f64)> {
    let mean_of = |from: f64, to: f64| {
        let within = between(recording.series.points(metric, ""), from, to);
        (!within.is_empty()).then(|| mean(&within))
    };
    let tenth = (to - from) / 10.0;
    Some((mean_of(from, from + tenth)?, mean_of(to - tenth, to)?))
}

/// Those of a time, ends included, in the recording's milliseconds.
pub(crate) fn between(points: &[(f64, f64)], from_ms: f64, to_ms: f64) -> Points {
    points.iter().copied().filter(|(t_ms, _)| (from_ms..=to_ms).contains(t_ms)).collect()
}

/// Mean of the values.
pub(crate) fn mean(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|point| point.1).sum::<f64>() / points.len().max(1) as f64
}

fn max(points: &[(f64, f64)]) -> Option<f64> {
    points.iter().map(|(_, value)| *value).reduce(f64::max)
}

/// How late the harness was, if that is later than the plan allows.
pub(crate) fn too_late_ms(plan: &Plan, summary: &Summary) -> Option<f64> {
    summary.harness.late_ms_p99.filter(|late_ms| *late_ms > millis(plan.late_bound))
}

fn outcome(recording: &Recording, plan: &Plan, summary: &Summary) -> (Verdict, Option<String>) {
    let Some(end) = &recording.outcome else {
        let reason = "the run did not end by itself (killed, or still going on); this is what it had recorded";
        return (Verdict::Partial, Some(reason.to_owned()));
    };
    if let Some(reason) = end.failure() {
        return (Verdict::Error, Some(reason.to_owned()));
    }
    if end.kind == OutcomeKind::Interrupted {
        let reason = end.reason.clone().unwrap_or_else(|| "the run was interrupted".to_owned());
        return (Verdict::Partial, Some(reason));
    }
    if let Some(late_ms) = too_late_ms(plan, summary) {
        let bound_ms = millis(plan.late_bound);
        let reason = format!(
            "the harness itself was late: {late_ms} ms at the 99th percentile, the plan allows {bound_ms} ms; \
             the figures prove nothing about the cloud. Run it again without other work on this machine, or with less load"
        );
        return (Verdict::Invalid, Some(reason));
    }
    let failed: Vec<&str> = summary.gates.iter().filter_map(|gate| gate.reason.as_deref()).collect();
    if failed.is_empty() { (Verdict::Passed, None) } else { (Verdict::Failed, Some(failed.join("; "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_survive_a_restart() {
        assert_eq!(rate(&[(0.0, 5.0), (1000.0, 7.0), (3000.0, 1.0)]), [(1000.0, 2.0), (3000.0, 0.5)]);
    }

    #[test]
    fn processes_of_one_service_are_one_group() {
        assert_eq!(
            ["keystone-3", "nova-api", "neutron.12", "7", "h2"].map(group),
            ["keystone", "nova-api", "neutron", "7", "h2"]
        );
    }
}
