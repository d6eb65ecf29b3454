//! The summary as a terminal shows it.

use crate::{Finding, Summary, Verdict, gates, table::table, words};

/// The verdict, the operations and the gates, as plain text with a newline at the end.
pub fn terminal(summary: &Summary) -> String {
    let mut text = format!(
        "{}  {} on {} ({}), seed {}, {}\n",
        summary.outcome.word().to_uppercase(),
        summary.scenario,
        summary.release,
        summary.target,
        summary.seed,
        words::duration_ms(summary.duration_s * 1e3),
    );
    text.push_str(&words::sentence(summary));
    text.push('\n');
    // A failed run's reason is its gates, which follow.
    if let (Some(reason), true) = (&summary.reason, summary.outcome != Verdict::Failed) {
        text.push_str(&format!("Why {}: {}.\n", summary.outcome.word(), reason.trim_end_matches('.')));
    }
    text.push_str(&findings(summary));
    text.push('\n');
    text.push_str(&operations(summary));
    text.push_str(&heartbeats(summary));
    if !summary.gates.is_empty() {
        text.push('\n');
        text.push_str(&gate_lines(summary));
    }
    text
}

/// What gave way first, and next.
fn findings(summary: &Summary) -> String {
    const MOST: usize = 8;
    if summary.findings.is_empty() {
        return String::new();
    }
    let line = |finding: &Finding| format!("  {:>8}  {}\n", words::clock(finding.at_s), finding.what);
    let lines: String = summary.findings.iter().take(MOST).map(line).collect();
    let more = summary.findings.len().saturating_sub(MOST);
    let more = if more > 0 { format!("  and {more} more, in the report\n") } else { String::new() };
    format!("\nWhat gave way, in order:\n{lines}{more}")
}

fn operations(summary: &Summary) -> String {
    let mut rows = vec![
        ["operation", "intended", "started", "succeeded", "failed", "p50", "p95", "p99", "max"]
            .map(String::from)
            .to_vec(),
    ];
    for operation in &summary.operations {
        let mut row = vec![operation.name.clone()];
        let counts = [operation.intended, operation.started, operation.succeeded, operation.failed];
        row.extend(counts.map(words::count));
        let latencies = [operation.p50_ms, operation.p95_ms, operation.p99_ms, operation.max_ms];
        row.extend(latencies.map(|latency| words::or_none(latency, words::duration_ms)));
        rows.push(row);
    }
    table(&rows)
}

/// What keeps hosts up.
fn heartbeats(summary: &Summary) -> String {
    let Some(beat) = summary.rpc.iter().find(|rpc| rpc.call == "Service.save" && rpc.count > 0) else {
        return String::new();
    };
    let latencies = [beat.p50_ms, beat.p99_ms, beat.p50_load_ms, beat.p99_load_ms];
    let [p50, p99, p50_load, p99_load] = latencies.map(|latency| words::or_none(latency, words::duration_ms));
    format!(
        "  heartbeats (Service.save): {}, {} failed, {} timed out, p50 {p50}, p99 {p99}; \
         under load {} timed out, {p50_load} and {p99_load}\n",
        words::count(beat.count),
        words::count(beat.failed),
        words::count(beat.timed_out),
        words::or_none(beat.timed_out_load, words::count)
    )
}

fn gate_lines(summary: &Summary) -> String {
    let row = |gate: &crate::GateVerdict| {
        let word = match (summary.outcome.is_judged(), gate.passed) {
            (true, true) => "held",
            (true, false) => "FAILED",
            (false, _) => "not judged",
        };
        let value = words::or_none(gate.value, |value| words::by_metric(&gate.metric, value));
        vec![gate.metric.clone(), gates::in_words(&gate.metric, gate.bound), value, word.to_owned()]
    };
    let mut rows = vec![["gate", "asked", "was", "verdict"].map(String::from).to_vec()];
    rows.extend(summary.gates.iter().map(row));
    let mut text = table(&rows);
    for gate in summary.gates.iter().filter(|gate| gate.value.is_none()) {
        text.push_str(&format!("  {}\n", gate.reason.as_deref().unwrap_or_default()));
    }
    text
}
