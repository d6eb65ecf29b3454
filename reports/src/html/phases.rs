//! Where the time of an operation goes: its phases, at several percentiles.

use recording::{LatencyStream, OperationRecord};

use super::{Esc, Run, Section, chart, scale::Scale, table, td, td_count, td_ms};
use crate::{analysis::quantile_ms, words};

/// The phases of an operation in the order they happen, what each is, and its colour.
const PHASES: [(&str, &str, &str); 10] = [
    ("api", "request accepted by nova-api", "c1"),
    ("conductor", "nova-conductor prepares the build", "c7"),
    ("scheduler", "nova-scheduler and Placement choose a host", "c2"),
    ("build", "the hypervisor takes the build and claims", "c3"),
    ("network", "Neutron allocates and binds the ports", "c5"),
    ("spawn", "the guest is made and its ports are plugged", "c6"),
    ("stop", "from the request to SHUTOFF", "c1"),
    ("start", "from the request to ACTIVE", "c6"),
    ("resize", "from the request to VERIFY_RESIZE: a host is chosen and the server moves", "c2"),
    ("confirm", "from the request to ACTIVE", "c3"),
];

/// What no phase accounts for: waiting, and noticing the end by polling.
const OTHER: &str = "other";

/// One section for each stream whose operations have phases; a section that says why when there is a boot without.
pub(super) fn sections(run: &Run<'_>) -> Vec<Section> {
    let streams = run.analysis.plan.load.iter().filter_map(|load| {
        let mut records = ranked(run, &load.name);
        records.retain(|record| !record.phases_ms.is_empty());
        (!records.is_empty()).then(|| section(run, &load.name, &records))
    });
    let mut sections: Vec<Section> = streams.collect();
    if sections.is_empty() {
        let body = super::empty(
            "No operation that succeeded has phases: either none came to its end, or the target could not see inside \
             them.",
        );
        sections.push(Section { anchor: "phases".into(), title: "Where the time of a boot goes".into(), body });
    }
    sections
}

/// The operations of a stream that succeeded, quickest first.
fn ranked<'a>(run: &Run<'a>, stream: &str) -> Vec<&'a OperationRecord> {
    let records = run.recording.operations.iter();
    let mut ranked: Vec<&OperationRecord> =
        records.filter(|record| record.stream == stream && record.error.is_none()).collect();
    ranked.sort_by(|a, b| total_ms(a).total_cmp(&total_ms(b)).then(a.index.cmp(&b.index)));
    ranked
}

fn total_ms(record: &OperationRecord) -> f64 {
    record.ended_ms - record.intended_ms
}

fn section(run: &Run<'_>, stream: &str, ranked: &[&OperationRecord]) -> Section {
    let names = phase_names(ranked);
    let explained = format!(
        "<p class=\"note\">Each bar is the mean of the {} operations around that place in the order from quickest to \
         slowest, so its parts add up to what a user waited, from the intended start to the end. “Other” is time that no \
         phase accounts for: queues between services, and the client's polling.</p>\n",
        Esc(stream)
    );
    let body = format!("{explained}{}{}", bars(ranked, &names), phase_table(run, stream, &names));
    let anchor = format!("phases-of-{}", run.analysis.plan.load.iter().take_while(|load| load.name != stream).count());
    Section { anchor, title: format!("Where the time of a {stream} goes"), body }
}

/// Phases that occur: the known ones in their order, then others by name.
fn phase_names(records: &[&OperationRecord]) -> Vec<String> {
    let mut seen: Vec<&str> =
        records.iter().flat_map(|record| &record.phases_ms).map(|(name, _)| name.as_str()).collect();
    let place = |name: &str| PHASES.iter().position(|(known, ..)| *known == name).unwrap_or(PHASES.len());
    seen.sort_by_key(|name| (place(name), *name));
    seen.dedup();
    seen.into_iter().map(str::to_owned).collect()
}

fn class(phase: &str) -> &'static str {
    PHASES.iter().find(|(known, ..)| *known == phase).map_or(super::points::REST, |(.., class)| class)
}

/// Mean phases of the operations around a place in the order, with what is left over.
fn mean_around(ranked: &[&OperationRecord], from: f64, to: f64, names: &[String]) -> Vec<(String, f64)> {
    let place = |share: f64| (share * ranked.len() as f64) as usize;
    let from = place(from).min(ranked.len() - 1);
    let some = &ranked[from..place(to).clamp(from + 1, ranked.len())];
    let number = some.len() as f64;
    let mean = |name: &str| {
        let times = some.iter().flat_map(|record| &record.phases_ms).filter(|(phase, _)| phase == name);
        times.map(|(_, ms)| ms).sum::<f64>() / number
    };
    let mut parts: Vec<(String, f64)> = names.iter().map(|name| (name.clone(), mean(name))).collect();
    let known: f64 = parts.iter().map(|(_, ms)| ms).sum();
    let total = some.iter().map(|record| total_ms(record)).sum::<f64>() / number;
    parts.push((OTHER.to_owned(), (total - known).max(0.0)));
    parts
}

fn bars(ranked: &[&OperationRecord], names: &[String]) -> String {
    let places =
        [("Quickest tenth", 0.0, 0.1), ("Median", 0.45, 0.55), ("Around p95", 0.93, 0.97), ("Slowest 1 %", 0.99, 1.0)];
    let rows: Vec<(&str, Vec<(String, f64)>)> =
        places.iter().map(|(title, from, to)| (*title, mean_around(ranked, *from, *to, names))).collect();
    let total = |parts: &[(String, f64)]| parts.iter().map(|(_, ms)| ms).sum::<f64>();
    let scale = Scale::from_zero(rows.iter().map(|(_, parts)| total(parts)));
    let (left, right, row_height) = (112.0, 924.0, 42.0);
    let bottom = row_height * rows.len() as f64 + 4.0;
    let x = |ms: f64| left + scale.share(ms) * (right - left);
    let mut svg = format!(
        "<svg viewBox=\"0 0 1024 {}\" role=\"img\" aria-label=\"Mean duration of each phase at four places\">",
        bottom + 24.0
    );
    for tick in scale.ticks(6) {
        let (at, under) = (x(tick), bottom + 18.0);
        svg.push_str(&format!("<path class=\"grid\" d=\"M{at:.1} 0V{bottom}\"/>"));
        let words = words::round_ms(tick);
        svg.push_str(&format!("<text x=\"{at:.1}\" y=\"{under}\" text-anchor=\"middle\">{words}</text>"));
    }
    for (index, (title, parts)) in rows.iter().enumerate() {
        let top = row_height * index as f64 + 6.0;
        let middle = top + 19.0;
        svg.push_str(&format!("<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", left - 10.0, Esc(title)));
        let mut from = 0.0;
        for (name, ms) in parts {
            svg.push_str(&bar(name, *ms, x(from), x(from + ms), top));
            from += ms;
        }
        let (after, words) = (x(from) + 8.0, words::duration_ms(from));
        svg.push_str(&format!("<text x=\"{after:.1}\" y=\"{middle}\">{words}</text>"));
    }
    svg.push_str("</svg>");
    let legend: Vec<chart::Layer> = names
        .iter()
        .map(String::as_str)
        .chain([OTHER])
        .map(|name| chart::Layer::new(name, class(name), chart::Shape::Area, Vec::new()))
        .collect();
    let legend = chart::legend(&legend.iter().collect::<Vec<_>>());
    format!("<figure>{legend}<div class=\"plot wide\">{svg}</div></figure>\n")
}

fn bar(name: &str, ms: f64, from: f64, to: f64, top: f64) -> String {
    let width = to - from;
    let words = words::duration_ms(ms);
    let mut html = format!(
        "<g class=\"{}\"><title>{}: {words}</title><rect class=\"area\" x=\"{from:.1}\" y=\"{top}\" width=\"{width:.1}\" \
         height=\"30\"/></g>",
        class(name),
        Esc(name)
    );
    if width > words.len() as f64 * 7.0 + 10.0 {
        let (x, y) = (from + width / 2.0, top + 19.0);
        html.push_str(&format!("<text class=\"inside\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{words}</text>"));
    }
    html
}

fn phase_table(run: &Run<'_>, stream: &str, names: &[String]) -> String {
    let row = |name: &String| {
        let histogram = run.recording.stream(&format!("operations/{stream}@{name}")).map(LatencyStream::histogram);
        let quantile = |quantile| histogram.as_ref().and_then(|histogram| quantile_ms(histogram, quantile));
        let what = PHASES.iter().find(|(known, ..)| known == name).map_or("", |(_, what, _)| what);
        let mark =
            format!("<td class=\"left {}\">■ <span style=\"color:var(--ink)\">{}</span></td>", class(name), Esc(name));
        let latencies: String = [0.5, 0.95, 0.99, 1.0].map(|place| td_ms(quantile(place))).concat();
        let count = td_count(histogram.as_ref().map_or(0, |histogram| histogram.len()));
        format!("{mark}{}{count}{latencies}", td(what).replace("<td>", "<td class=\"left\">"))
    };
    let rows: Vec<String> = names.iter().map(row).collect();
    let table = table(&["Phase", "What happens", "Count", "p50", "p95", "p99", "Longest"], &rows);
    format!("<div class=\"phases\">{table}</div>\n")
}
