//! Gates: which figures there are, what a bound may be, and how a written gate becomes one of the plan.

use crate::{
    document::{Node, Value},
    nearest,
    plan::{Bound, Gate, LoadPlan},
    problem::{Complaint, Desk},
    units,
    written::GateEntry,
};

/// Figures of the summary that stand by themselves.
const PLAIN: [&str; 11] = [
    "duration_s",
    "hypervisors.requested",
    "hypervisors.registered",
    "hypervisors.up_min",
    "hypervisors.up_end",
    "hypervisors.false_down",
    "hypervisors.falsely_down",
    "hypervisors.false_down_before_load",
    "harness.cpu_s",
    "harness.rss_peak_bytes",
    "harness.late_ms_p99",
];

/// Series that would grow for ever if something were not given back. The summary says what each grew by.
pub const MAY_GROW: [&str; 7] = [
    "harness.rss_bytes",
    "harness.tasks",
    "harness.files",
    "broker.connections",
    "broker.channels",
    "broker.queues",
    "broker.consumers",
];

/// Figures of the summary of which there is one for each stream, call, process or series.
const LISTED: [(&str, &str, &[&str]); 4] = [
    ("operations", "stream", &["intended", "started", "succeeded", "failed", "p50_ms", "p95_ms", "p99_ms", "max_ms"]),
    (
        "rpc",
        "call",
        &["count", "failed", "timed_out", "timed_out_load", "p50_ms", "p99_ms", "p50_load_ms", "p99_load_ms"],
    ),
    ("processes", "process", &["cpu_s", "rss_peak_bytes"]),
    ("growth", "series", &["percent"]),
];

/// What the bounds `"all"` stand for: the whole of what a figure counts.
pub(crate) struct Whole<'a> {
    pub(crate) hypervisors: u32,
    pub(crate) load: &'a [LoadPlan],
    pub(crate) seed: u64,
    /// Names of all streams, including those that have errors.
    pub(crate) streams: &'a [String],
}

/// The gates of one written gate: one for each of its bounds. What is wrong is noted.
pub(crate) fn resolve(entry: &GateEntry, whole: &Whole<'_>, desk: &mut Desk<'_>) -> Vec<Gate> {
    if let Err(complaint) = known(&entry.metric.value, whole.streams) {
        desk.complain(&entry.metric.place, "gates.metric", complaint);
        return Vec::new();
    }
    if entry.bounds.is_empty() {
        let help = "give max, min or equals";
        desk.complain(
            &entry.place,
            "gates",
            Complaint::new(format!("nothing is asked of `{}`", entry.metric.value), help),
        );
    }
    let mut gates = Vec::new();
    for (kind, node) in &entry.bounds {
        match bound(&entry.metric.value, node, desk.slice(&node.place), whole) {
            Ok(value) => {
                let bound = match *kind {
                    "max" => Bound::Max(value),
                    "min" => Bound::Min(value),
                    _ => Bound::Equals(value),
                };
                gates.push(Gate { metric: entry.metric.value.clone(), bound });
            }
            Err(complaint) => desk.complain(&node.place, &format!("gates.{}.{kind}", entry.metric.value), complaint),
        }
    }
    if let [Gate { bound: Bound::Max(max), .. }, Gate { bound: Bound::Min(min), .. }] = gates.as_slice()
        && min > max
    {
        let help = "min is at most max; are they swapped?";
        desk.complain(
            &entry.place,
            "gates",
            Complaint::new(format!("no figure is at least {min} and at most {max}"), help),
        );
    }
    gates
}

/// Says whether a gate may name this metric in a plan with these streams.
///
/// # Errors
/// With what is wrong and what there is instead, in words.
pub fn check_metric(metric: &str, streams: &[&str]) -> Result<(), String> {
    let streams: Vec<String> = streams.iter().map(|stream| (*stream).to_owned()).collect();
    known(metric, &streams).map_err(|complaint| match complaint.help {
        Some(help) => format!("{}; {help}", complaint.message),
        None => complaint.message,
    })
}

/// Whether there is such a figure.
fn known(metric: &str, streams: &[String]) -> Result<(), Complaint> {
    if PLAIN.contains(&metric) {
        return Ok(());
    }
    let (group, rest) = metric.split_once('.').unwrap_or((metric, ""));
    let Some((_, what, fields)) = LISTED.iter().find(|(name, ..)| *name == group) else {
        return Err(unknown(metric, streams));
    };
    let Some((element, field)) = rest.rsplit_once('.').filter(|(element, _)| !element.is_empty()) else {
        let help = format!("write {group}.<{what}>.<figure>, figures are {}", fields.join(", "));
        return Err(Complaint::new(format!("`{metric}` does not say which {what} or which figure"), help));
    };
    if !fields.contains(&field) {
        let near = nearest::hint(field, fields.iter().copied());
        let help = format!("{near}figures of a {what} are {}", fields.join(", "));
        return Err(Complaint::new(format!("a {what} has no figure `{field}`"), help));
    }
    // Calls and processes are known only when the run has happened.
    if group == "operations" && !streams.iter().any(|name| name == element) {
        let near = nearest::hint(element, streams.iter().map(String::as_str));
        let help = match streams {
            [] => "the scenario has no load".to_owned(),
            some => format!("{near}streams of the scenario are {}", some.join(", ")),
        };
        return Err(Complaint::new(format!("there is no stream `{element}`"), help));
    }
    if group == "growth" && !MAY_GROW.contains(&element) {
        let near = nearest::hint(element, MAY_GROW.iter().copied());
        let help = format!("{near}there is growth of {}", MAY_GROW.join(", "));
        return Err(Complaint::new(format!("the summary does not say what `{element}` grows by"), help));
    }
    Ok(())
}

fn unknown(metric: &str, streams: &[String]) -> Complaint {
    let operations: Vec<String> = streams
        .iter()
        .flat_map(|stream| LISTED[0].2.iter().map(move |field| format!("operations.{stream}.{field}")))
        .collect();
    let candidates = PLAIN.iter().copied().chain(operations.iter().map(String::as_str));
    let help = match nearest::to(metric, candidates) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let listed = LISTED.map(|(group, what, _)| format!("{group}.<{what}>.<figure>")).join(", ");
            format!("figures are {}, {listed}", PLAIN.join(", "))
        }
    };
    Complaint::new(format!("the summary has no figure `{metric}`"), help)
}

/// The number that a bound stands for, in the unit of its metric.
fn bound(metric: &str, node: &Node, raw: &str, whole: &Whole<'_>) -> Result<f64, Complaint> {
    let value = match &node.value {
        Value::Integer(value) => *value as f64,
        Value::Float(value) => *value,
        Value::Text(text) if text == "all" => return all(metric, whole),
        Value::Text(text) if metric.ends_with("_bytes") => units::size_bytes(text)? as f64,
        Value::Text(text) if metric.contains("_ms") => units::time(text)?.as_secs_f64() * 1e3,
        Value::Text(text) if metric.ends_with("_s") => units::time(text)?.as_secs_f64(),
        _ => return Err(Complaint::new(format!("{raw} is no bound of `{metric}`"), "give a number")),
    };
    if !value.is_finite() || value < 0.0 {
        let message = format!("{raw} can be no bound: every figure is a finite number, zero or more");
        return Err(Complaint::new(message, "give a finite number, zero or more"));
    }
    Ok(value)
}

fn all(metric: &str, whole: &Whole<'_>) -> Result<f64, Complaint> {
    if metric.starts_with("hypervisors.") {
        return Ok(f64::from(whole.hypervisors));
    }
    let counts = ["intended", "started", "succeeded", "failed"];
    let parts: Vec<&str> = metric.split('.').collect();
    let ["operations", stream, field] = parts[..] else {
        return Err(Complaint::new(format!("\"all\" means nothing to `{metric}`"), "give a number"));
    };
    if !counts.contains(&field) {
        return Err(Complaint::new(format!("\"all\" means nothing to `{metric}`"), "give a number or a time"));
    }
    let Some(plan) = whole.load.iter().find(|plan| plan.name == stream) else {
        return Ok(0.0); // the stream itself has errors, which are noted
    };
    plan.operations(whole.seed).map(|count| count as f64).ok_or_else(|| {
        let message = format!("only the run can tell how many operations `{stream}` starts");
        Complaint::new(message, "give a number, or give the stream a `count` instead of a `duration`")
    })
}

#[cfg(test)]
mod tests {
    use super::check_metric;

    #[test]
    fn every_figure_of_the_summary_can_be_named() {
        for metric in [
            "duration_s",
            "hypervisors.up_min",
            "operations.boot.p99_ms",
            "rpc.service_update.timed_out",
            "rpc.a.call.with.dots.p50_ms",
            "processes.nova-conductor.cpu_s",
            "harness.late_ms_p99",
            "growth.broker.queues.percent",
        ] {
            assert_eq!(check_metric(metric, &["boot"]), Ok(()));
        }
        for metric in [
            "",
            "operations",
            "operations.boot",
            "operations..p99_ms",
            "operations.list.p99_ms",
            "hypervisors",
            "growth.broker.queue.percent",
        ] {
            assert!(check_metric(metric, &["boot"]).is_err(), "{metric:?} passed");
        }
    }
}
