//! The head of the page: what ran, the verdict in one sentence, the figures that matter, the gates.

use super::{Esc, Run, Section, table, td};
use crate::{Finding, GateVerdict, Summary, Verdict, gates, words};

pub(super) fn header(run: &Run<'_>) -> String {
    let summary = &run.analysis.summary;
    let target = match summary.target.as_str() {
        "live" => "a real OpenStack",
        "sim" => "virtual time: predicted, not measured",
        other => other,
    };
    format!(
        "<p class=\"eyebrow\">Kagemusha run report · OpenStack {} · {}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}{}{}",
        Esc(&summary.release),
        Esc(target),
        Esc(&summary.scenario),
        Esc(&run.analysis.plan.description),
        banner(summary),
        tiles(summary),
        gate_table(summary),
    )
}

/// What gave way, in order, and what bounds it; nothing of a run in which all went well.
pub(super) fn findings(run: &Run<'_>) -> Option<Section> {
    let findings = &run.analysis.summary.findings;
    let row = |finding: &Finding| {
        let options: Vec<String> =
            finding.options.iter().map(|option| format!("<code>{}</code>", Esc(option))).collect();
        let what = format!("<td class=\"wide\">{}</td>", Esc(&finding.what));
        format!("{}{what}<td class=\"wide\">{}</td>", td(&words::clock(finding.at_s)), options.join(", "))
    };
    let rows: Vec<String> = findings.iter().map(row).collect();
    let note = "<p class=\"note\">The first moment at which each was seen. What came first is where to look first; the last column \
                names the keys of the scenario that bound it.</p>\n";
    let body = format!("{note}<div class=\"own\">{}</div>\n", table(&["At", "What", "Bounded by"], &rows));
    (!rows.is_empty()).then(|| Section { anchor: "findings".into(), title: "What gave way, in order".into(), body })
}

fn banner(summary: &Summary) -> String {
    let outcome = summary.outcome;
    let mut lines = vec![Esc(&words::sentence(summary)).to_string()];
    // Where the figures are not the point, the reason comes first.
    if let (Some(reason), false) = (&summary.reason, outcome.is_judged()) {
        lines.insert(0, Esc(&format!("{}.", reason.trim_end_matches('.'))).to_string());
    }
    let lines: String = lines.iter().map(|line| format!("<p>{line}</p>")).collect();
    let failed = summary.gates.iter().filter_map(|gate| gate.reason.as_deref());
    let failed: String = failed.map(|reason| format!("<li>{}</li>", Esc(reason))).collect();
    let failed = if outcome == Verdict::Failed { format!("<ul>{failed}</ul>") } else { String::new() };
    let (class, headline) = (outcome.word(), words::headline(outcome));
    format!("<div class=\"verdict {class}\"><strong>{headline}</strong>{lines}{failed}</div>\n")
}

fn tiles(summary: &Summary) -> String {
    let hypervisors = &summary.hypervisors;
    let mut tiles = vec![tile(
        "Hypervisors up, at least",
        &words::or_none(hypervisors.up_min, |up| words::count(up.into())),
        &format!("of {} asked for", words::count(hypervisors.requested.into())),
    )];
    for operation in summary.operations.iter().take(2) {
        let failed =
            if operation.failed > 0 { format!(", {} failed", words::count(operation.failed)) } else { String::new() };
        tiles.push(tile(
            &format!("{}: succeeded", operation.name),
            &words::count(operation.succeeded),
            &format!("of {}{failed}", words::count(operation.intended)),
        ));
        tiles.push(tile(
            &format!("{}: 99th percentile", operation.name),
            &words::or_none(operation.p99_ms, words::duration_ms),
            &format!("median {}", words::or_none(operation.p50_ms, words::duration_ms)),
        ));
    }
    tiles.push(tile(
        "False downs",
        &words::or_none(hypervisors.false_down, |downs| words::count(downs.into())),
        "alive, but down for Nova",
    ));
    if let Some(beat) = summary.rpc.iter().find(|rpc| rpc.call == "Service.save") {
        let p99 = words::or_none(beat.p99_load_ms.or(beat.p99_ms), words::duration_ms);
        let when = if beat.p99_load_ms.is_some() { "under load, " } else { "" };
        let timed_out = words::count(beat.timed_out_load.unwrap_or(beat.timed_out));
        tiles.push(tile("Heartbeat: 99th percentile", &p99, &format!("{when}{timed_out} timed out")));
    }
    // In virtual time nobody is late.
    if summary.target != "sim" {
        tiles.push(tile(
            "Harness late by",
            &words::or_none(summary.harness.late_ms_p99, words::duration_ms),
            "99th percentile",
        ));
    }
    format!("<dl class=\"tiles\">{}</dl>\n", tiles.concat())
}

fn tile(name: &str, figure: &str, note: &str) -> String {
    format!("<div><dt>{}</dt><dd>{}<small>{}</small></dd></div>", Esc(name), Esc(figure), Esc(note))
}

fn gate_table(summary: &Summary) -> String {
    if summary.gates.is_empty() {
        return String::new();
    }
    let row = |gate: &GateVerdict| {
        let asked = gates::in_words(&gate.metric, gate.bound);
        let was = words::or_none(gate.value, |value| words::by_metric(&gate.metric, value));
        let verdict = match (summary.outcome.is_judged(), gate.passed, gate.value) {
            (true, true, _) => "<td class=\"ok\">✓ held</td>",
            (true, false, _) => "<td class=\"no\">✗ failed</td>",
            (false, _, None) => "<td class=\"zero\">no figure</td>",
            (false, true, _) => "<td class=\"zero\">not judged; would hold</td>",
            (false, false, _) => "<td class=\"zero\">not judged; would fail</td>",
        };
        format!("<td><code>{}</code></td>{}{}{verdict}", Esc(&gate.metric), td(&asked), td(&was))
    };
    let rows: Vec<String> = summary.gates.iter().map(row).collect();
    table(&["Gate", "Asked", "Was", "Verdict"], &rows)
}
