//! Figures as people read them, the same on the page and in the terminal.

use std::collections::BTreeMap;

use crate::{GateVerdict, Hypervisors, Operation, Summary, Verdict};

/// A number with its thousands set apart: `12,345`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration in the unit that suits it: `0.4 ms`, `843 ms`, `1.24 s`, `12 min 5 s`.
pub(crate) fn duration_ms(ms: f64) -> String {
    match ms {
        ms if ms < 9.95 => format!("{ms:.1} ms"),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9_995.0 => format!("{:.2} s", ms / 1e3),
        ms if ms < 119_950.0 => format!("{:.1} s", ms / 1e3),
        ms if ms < 7_200_000.0 => {
            let s = (ms / 1e3).round() as u64;
            format!("{} min {} s", s / 60, s % 60)
        }
        ms => {
            let min = (ms / 60e3).round() as u64;
            format!("{} h {} min", min / 60, min % 60)
        }
    }
}

/// Minutes and seconds, as on a stopwatch; hours when there are some.
pub(crate) fn clock(s: f64) -> String {
    let s = s.max(0.0).round() as u64;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

/// A round duration without needless digits, as axes have them: `0`, `500 ms`, `2 s`, `5 min`.
pub(crate) fn round_ms(ms: f64) -> String {
    match ms {
        0.0 => "0".to_owned(),
        ms if ms < 1e3 => format!("{} ms", number(ms)),
        ms if ms < 120e3 => format!("{} s", number(ms / 1e3)),
        ms if ms % 60e3 == 0.0 => format!("{} min", number(ms / 60e3)),
        ms if ms % 1e3 == 0.0 => format!("{} s", number(ms / 1e3)),
        ms => duration_ms(ms),
    }
}

/// Facts of the machine, or of the modelled ones, as the manifest has them.
pub(crate) fn machine(facts: &BTreeMap<String, String>) -> String {
    let fact = |(key, value): (&String, &String)| match (key.as_str(), value.parse::<f64>()) {
        ("memory_bytes", Ok(size)) => format!("{} of memory", bytes(size)),
        ("cores", _) => format!("{value} cores"),
        ("kernel", _) => format!("kernel {value}"),
        ("cpu", _) => value.clone(),
        _ => format!("{key} {value}"),
    };
    let facts: Vec<String> = facts.iter().map(fact).collect();
    if facts.is_empty() { "not recorded".to_owned() } else { facts.join(", ") }
}

/// Bytes in the unit that suits them: `64 KiB`, `150 MiB`, `1.9 GiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1023.5 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 9.95 && unit > 0 { format!("{value:.1} {}", units[unit]) } else { format!("{value:.0} {}", units[unit]) }
}

/// A plain number with no more digits than anybody wants to read: `0.25`, `1.5`, `12,300`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e3 {
        format!("{}{}", if value < 0.0 { "-" } else { "" }, count(size.round() as u64))
    } else {
        let digits = if size >= 100.0 {
            0
        } else if size >= 10.0 {
            1
        } else {
            3
        };
        let text = format!("{value:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    }
}

/// What is shown where a figure is missing.
pub(crate) const NONE: &str = "–";

/// A figure that may be missing.
pub(crate) fn or_none<T>(value: Option<T>, words: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), words)
}

/// The figure of a gate or a metric, by the unit that its name carries.
pub(crate) fn by_metric(metric: &str, value: f64) -> String {
    let field = metric.rsplit('.').next().unwrap_or(metric);
    if field.ends_with("_ms") || field.contains("_ms_") {
        duration_ms(value)
    } else if field.ends_with("_bytes") {
        bytes(value)
    } else if field.ends_with("_s") {
        duration_ms(value * 1e3)
    } else if field == "percent" {
        format!("{} %", number(value))
    } else {
        number(value)
    }
}

/// The word that stands over everything.
pub(crate) fn headline(outcome: Verdict) -> &'static str {
    match outcome {
        Verdict::Passed => "Passed",
        Verdict::Failed => "Failed",
        Verdict::Invalid => "Not valid",
        Verdict::Partial => "Partial",
        Verdict::Error => "Could not be carried out",
    }
}

/// The run in one sentence, with its numbers.
pub(crate) fn sentence(summary: &Summary) -> String {
    let mut parts: Vec<String> = summary.operations.iter().map(operation_clause).collect();
    let hypervisors = &summary.hypervisors;
    parts.push(match (hypervisors.up_min, hypervisors.registered) {
        (Some(_), _) if hypervisors.requested == 0 => "there were no hypervisors".to_owned(),
        (Some(up_min), _) if up_min >= hypervisors.requested && hypervisors.false_down.unwrap_or(0) == 0 => {
            format!("all {} stayed up", noun(hypervisors.requested.into(), "hypervisor"))
        }
        (Some(up_min), _) => down_clause(hypervisors, up_min),
        (None, Some(registered)) => {
            format!("{} of {} hypervisors registered", count(registered.into()), count(hypervisors.requested.into()))
        }
        (None, None) => format!("none of {} hypervisors was seen", count(hypervisors.requested.into())),
    });
    if let Some(before) = hypervisors.false_down_before_load.filter(|before| *before > 0) {
        parts.push(format!("while the fleet came up, hypervisors were taken for down {}", noun(before.into(), "time")));
    }
    // Gates are about a run that was carried out and can be trusted; of any other they prove nothing.
    if !summary.outcome.is_judged() {
        parts.push("the gates were not judged".to_owned());
        return capitalised(&parts.join("; "));
    }
    let held = summary.gates.iter().filter(|gate| gate.passed).count();
    parts.push(match summary.gates.len() {
        0 => "the scenario has no gates, so nothing was judged".to_owned(),
        all if held == all => format!("{} held", gates(all)),
        all => format!("{held} of {} held", gates(all)),
    });
    parts.extend(unasked(&summary.operations, &summary.gates));
    capitalised(&parts.join("; "))
}

fn down_clause(hypervisors: &Hypervisors, up_min: u32) -> String {
    let fewest =
        format!("at worst {} of {} hypervisors were up", count(up_min.into()), count(hypervisors.requested.into()));
    match (hypervisors.falsely_down, hypervisors.false_down) {
        (Some(hosts), Some(times)) if times > 0 => {
            let hosts = noun(hosts.into(), "different one");
            format!("{fewest}: Nova took {hosts} for down, {} in all, that were alive", noun(times.into(), "time"))
        }
        _ => fewest,
    }
}

/// Share of a stream's operations that fail without being worth a word.
const FEW_FAILED: f64 = 0.05;

/// The streams of which more than a few failed and no gate asks about: the word above would hide them.
fn unasked(operations: &[Operation], gates: &[GateVerdict]) -> Option<String> {
    let asked = |operation: &&Operation| {
        let prefix = format!("operations.{}.", operation.name);
        gates.iter().any(|gate| gate.metric.starts_with(&prefix))
    };
    let failed = operations.iter().filter(|operation| !asked(operation) && failed_share(operation) >= FEW_FAILED);
    let failed: Vec<String> =
        failed.map(|operation| format!("{:.0} % of {}", failed_share(operation) * 100.0, operation.name)).collect();
    (!failed.is_empty()).then(|| format!("{} operations failed, and no gate asks about them", failed.join(" and ")))
}

fn failed_share(operation: &Operation) -> f64 {
    operation.failed as f64 / (operation.failed + operation.succeeded).max(1) as f64
}

/// `1 host`, `2,000 hosts`.
pub(crate) fn noun(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A sentence: a capital letter first, a full stop last.
fn capitalised(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let stop = if words.ends_with('.') { "" } else { "." };
    format!("{first}{}{stop}", letters.as_str())
}

fn gates(number: usize) -> String {
    if number == 1 { "1 gate".to_owned() } else { format!("{number} gates") }
}

fn operation_clause(operation: &Operation) -> String {
    let Operation { name, intended, succeeded, p99_ms, .. } = operation;
    let p99 = p99_ms.map(|p99| format!(" (p99 {})", duration_ms(p99))).unwrap_or_default();
    format!("{} of {} {name} operations succeeded{p99}", count(*succeeded), count(*intended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_gate_asks_about_is_told() {
        let stream = |name: &str, failed| Operation {
            name: name.to_owned(),
            succeeded: 100 - failed,
            failed,
            ..Operation::default()
        };
        let streams = [stream("boot", 69), stream("delete", 73), stream("list", 4)];
        let told = "69 % of boot and 73 % of delete operations failed, and no gate asks about them";
        assert_eq!(unasked(&streams, &[]).as_deref(), Some(told));
        assert_eq!(unasked(&streams[2..], &[]), None);
    }

    #[test]
    fn figures_read_well() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let times = [0.25, 9.96, 843.2, 999.7, 1_240.0, 61_400.0, 119_960.0, 725_000.0, 7_260_000.0];
        let words = ["0.2 ms", "10 ms", "843 ms", "1.00 s", "1.24 s", "61.4 s", "2 min 0 s", "12 min 5 s", "2 h 1 min"];
        assert_eq!(times.map(duration_ms), words);
        assert_eq!([0.0, 65536.0, 157_286_400.0, 2.04e9].map(bytes), ["0 B", "64 KiB", "150 MiB", "1.9 GiB"]);
        assert_eq!([0.25, 1.5, 12.0, 300.0, 12_300.0, 0.0].map(number), ["0.25", "1.5", "12", "300", "12,300", "0"]);
        assert_eq!(by_metric("operations.boot.p99_ms", 1500.0), "1.50 s");
        assert_eq!(by_metric("harness.late_ms_p99", 15.0), "15 ms");
        assert_eq!(by_metric("hypervisors.up_min", 200.0), "200");
        assert_eq!(by_metric("growth.harness.rss_bytes.percent", 2.0), "2 %");
    }
}
