//! Gates: bounds on figures of the summary.

use scenarios::plan::{Bound, Gate};
use serde_json::Value;

use crate::{
    summary::{GateVerdict, Operation, Summary},
    words,
};

/// Judges gates on the figures of a run. Pure. A gate whose figure the run does not have fails, and says why.
pub fn judge(summary: &Summary, gates: &[Gate]) -> Vec<GateVerdict> {
    let figures = serde_json::to_value(summary).expect("a summary is JSON: its keys are strings");
    gates.iter().map(|gate| but_for_failures(summary, verdict(&figures, gate))).collect()
}

/// An operation that failed took longer than any that succeeded. Where more failed than a percentile leaves out, that percentile of
/// all operations is no time at all, and an upper bound on it does not hold.
fn but_for_failures(summary: &Summary, mut gate: GateVerdict) -> GateVerdict {
    let of_stream = |operation: &&Operation| {
        let field =
            gate.metric.strip_prefix("operations.")?.strip_prefix(operation.name.as_str())?.strip_prefix('.')?;
        QUANTILES.iter().find(|(known, _)| *known == field).map(|(_, left_out)| *left_out)
    };
    let found = summary.operations.iter().find_map(|operation| Some((operation, of_stream(&operation)?)));
    let Some((operation, left_out)) = found else { return gate };
    let Operation { failed, succeeded, .. } = operation;
    let ended = failed + succeeded;
    let bounded = matches!(gate.bound, Bound::Max(_) | Bound::Equals(_));
    if gate.passed && bounded && *failed as f64 > left_out * ended as f64 {
        gate.passed = false;
        gate.reason = Some(format!(
            "{} is that of the {} operations that succeeded, but {} of {} failed, which take longer than any bound",
            gate.metric,
            words::count(*succeeded),
            words::count(*failed),
            words::count(ended)
        ));
    }
    gate
}

/// Percentiles, and the share of operations that each leaves out.
const QUANTILES: [(&str, f64); 4] = [("p50_ms", 0.5), ("p95_ms", 0.05), ("p99_ms", 0.01), ("max_ms", 0.0)];

fn verdict(figures: &Value, gate: &Gate) -> GateVerdict {
    let Gate { metric, bound } = gate;
    let (value, reason) = match figure(figures, metric) {
        Ok(value) if holds(*bound, value) => (Some(value), None),
        Ok(value) => (Some(value), Some(broken(metric, *bound, value))),
        Err(reason) => (None, Some(format!("{metric} has no value: {reason}"))),
    };
    GateVerdict { metric: metric.clone(), bound: *bound, value, passed: reason.is_none(), reason }
}

fn holds(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Max(most) => value <= most,
        Bound::Min(least) => value >= least,
        Bound::Equals(exactly) => value == exactly,
    }
}

/// A bound as people say it, in the unit of its metric.
pub(crate) fn in_words(metric: &str, bound: Bound) -> String {
    let (word, value) = match bound {
        Bound::Max(most) => ("at most", most),
        Bound::Min(least) => ("at least", least),
        Bound::Equals(exactly) => ("exactly", exactly),
    };
    format!("{word} {}", words::by_metric(metric, value))
}

/// Why a bound does not hold. Where both figures would read the same, they are written out.
fn broken(metric: &str, bound: Bound, value: f64) -> String {
    let (Bound::Max(asked) | Bound::Min(asked) | Bound::Equals(asked)) = bound;
    let was = words::by_metric(metric, value);
    let plainly =
        if was == words::by_metric(metric, asked) { format!(" ({value} for {asked})") } else { String::new() };
    format!("{metric} was {was}, {} was asked{plainly}", in_words(metric, bound))
}

/// Follows a path into the summary; entries of lists are named by their `name` or `call`, which may have dots in them.
fn figure(mut here: &Value, metric: &str) -> Result<f64, String> {
    let mut path = metric;
    while !path.is_empty() {
        (here, path) = step(here, path)?;
    }
    match here {
        Value::Number(number) => number.as_f64().ok_or_else(|| "it is no number".to_owned()),
        Value::Null => Err("the run recorded nothing that it could be worked out from".to_owned()),
        _ => Err("it names no single figure".to_owned()),
    }
}

fn step<'a, 'b>(here: &'a Value, path: &'b str) -> Result<(&'a Value, &'b str), String> {
    let (key, rest) = path.split_once('.').unwrap_or((path, ""));
    match here {
        Value::Object(fields) => {
            let field = fields.get(key).ok_or_else(|| format!("the summary has no field {key:?} there"))?;
            Ok((field, rest))
        }
        Value::Array(entries) => {
            let matching = |entry: &'a Value| {
                let name = entry.get("name").or_else(|| entry.get("call"))?.as_str()?;
                Some((entry, path.strip_prefix(name)?.strip_prefix('.')?))
            };
            // Of names that begin alike the longest is meant, and leaves the shortest rest.
            let entry = entries.iter().filter_map(matching).min_by_key(|(_, rest)| rest.len());
            entry.ok_or_else(|| match path.rsplit_once('.') {
                Some((name, _)) => format!("the run has none named {name:?}"),
                None => format!("{key:?} is no name and field"),
            })
        }
        _ => Err(format!("there is no field {key:?} in a single figure")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{Growth, Harness, Hypervisors, Process, Rpc, Verdict};

    fn summary() -> Summary {
        let boot = Operation { name: "boot".into(), p99_ms: Some(512.0), succeeded: 9, ..Operation::default() };
        let dotted = Operation { name: "boot.big".into(), p99_ms: Some(900.0), ..Operation::default() };
        Summary {
            schema: Summary::SCHEMA,
            scenario: "test".into(),
            target: "live".into(),
            release: "2026.2".into(),
            seed: 1,
            outcome: Verdict::Passed,
            reason: None,
            duration_s: 12.5,
            hypervisors: Hypervisors { requested: 3, up_min: Some(2), ..Hypervisors::default() },
            operations: vec![boot, dotted],
            rpc: vec![Rpc { call: "Service.save".into(), timed_out: 4, ..Rpc::default() }],
            processes: vec![Process { name: "nova-api".into(), cpu_s: 3.0, rss_peak_bytes: None }],
            gates: Vec::new(),
            findings: Vec::new(),
            harness: Harness { late_ms_p99: Some(1.5), ..Harness::default() },
            growth: vec![Growth { name: "broker.queues".into(), percent: Some(-0.5) }],
        }
    }

    fn judge_one(metric: &str, bound: Bound) -> GateVerdict {
        judge(&summary(), &[Gate { metric: metric.into(), bound }]).remove(0)
    }

    #[test]
    fn paths_reach_every_kind_of_figure() {
        for (metric, value) in [
            ("duration_s", 12.5),
            ("hypervisors.up_min", 2.0),
            ("operations.boot.p99_ms", 512.0),
            ("operations.boot.big.p99_ms", 900.0),
            ("rpc.Service.save.timed_out", 4.0),
            ("processes.nova-api.cpu_s", 3.0),
            ("harness.late_ms_p99", 1.5),
            ("growth.broker.queues.percent", -0.5),
        ] {
            let verdict = judge_one(metric, Bound::Equals(value));
            assert_eq!((verdict.value, verdict.passed, verdict.reason), (Some(value), true, None), "{metric}");
        }
    }

    #[test]
    fn bounds_include_their_limit() {
        assert!(judge_one("operations.boot.p99_ms", Bound::Max(512.0)).passed);
        assert!(judge_one("operations.boot.p99_ms", Bound::Min(512.0)).passed);
        let failed = judge_one("operations.boot.p99_ms", Bound::Max(500.0));
        assert!(!failed.passed);
        assert_eq!(failed.reason.unwrap(), "operations.boot.p99_ms was 512 ms, at most 500 ms was asked");
        let close = judge_one("operations.boot.p99_ms", Bound::Max(511.9));
        assert_eq!(
            close.reason.unwrap(),
            "operations.boot.p99_ms was 512 ms, at most 512 ms was asked (512 for 511.9)"
        );
    }

    #[test]
    fn failures_count_as_slower_than_any_bound() {
        let mut summary = summary();
        let gate = |metric: &str, bound| Gate { metric: metric.to_owned(), bound };
        let mut judge = |failed: u64, metric, bound| {
            summary.operations[0] = Operation { succeeded: 99, failed, ..summary.operations[0].clone() };
            judge(&summary, &[gate(metric, bound)]).remove(0)
        };
        assert!(judge(1, "operations.boot.p99_ms", Bound::Max(512.0)).passed, "one of a hundred is left out");
        let failed = judge(2, "operations.boot.p99_ms", Bound::Max(512.0));
        assert!(!failed.passed && failed.value == Some(512.0));
        assert!(failed.reason.unwrap().contains("2 of 101 failed"));
        assert!(judge(2, "operations.boot.p99_ms", Bound::Min(1.0)).passed, "a lower bound holds all the more");
    }

    #[test]
    fn a_figure_that_is_missing_never_passes() {
        for metric in [
            "operations.boot.p50_ms",
            "operations.delete.p99_ms",
            "hypervisors.false_down",
            "hypervisors",
            "operations.boot",
            "rpc",
            "scenario",
            "nonsense.more",
            "",
            "harness.late_ms_p99.x",
        ] {
            for bound in [Bound::Max(f64::MAX), Bound::Min(f64::MIN)] {
                let verdict = judge_one(metric, bound);
                assert!(!verdict.passed && verdict.value.is_none() && verdict.reason.is_some(), "{metric}");
            }
        }
    }

    #[test]
    fn scenarios_may_name_every_figure_that_the_summary_has() {
        let json = serde_json::to_value(summary()).unwrap();
        let mut metrics = vec!["duration_s".to_owned()];
        for section in ["hypervisors", "harness"] {
            metrics.extend(json[section].as_object().unwrap().keys().map(|field| format!("{section}.{field}")));
        }
        for (section, key) in [("operations", "name"), ("rpc", "call"), ("processes", "name"), ("growth", "name")] {
            let entry = json[section][0].as_object().unwrap();
            let name = entry[key].as_str().unwrap();
            let fields = entry.keys().filter(|field| *field != key);
            metrics.extend(fields.map(|field| format!("{section}.{name}.{field}")));
        }
        assert_eq!(metrics.len(), 1 + 7 + 3 + 8 + 8 + 2 + 1);
        for metric in metrics {
            assert_eq!(scenarios::check_metric(&metric, &["boot", "boot.big"]), Ok(()), "{metric}");
        }
    }
}
