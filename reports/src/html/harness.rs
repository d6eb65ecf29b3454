//! The harness itself: what it cost, and how late it was.

use recording::LatencyStream;

use super::{
    Esc, Run, Section,
    chart::{Axis, Chart, Layer, Shape},
    cloud, points, table, td_count, td_ms,
};
use crate::{analysis::quantile_ms, words};

pub(super) fn section(run: &Run<'_>) -> Section {
    let harness = &run.analysis.summary.harness;
    let bound = words::duration_ms(recording::millis(run.analysis.plan.late_bound));
    let late: Vec<(&str, &LatencyStream)> = run
        .recording
        .latency
        .iter()
        .filter_map(|(name, stream)| Some((name.strip_prefix("harness/")?, stream)))
        .collect();
    let row = |(name, stream): &(&str, &LatencyStream)| {
        let histogram = stream.histogram();
        let latencies = [0.5, 0.99, 1.0].map(|quantile| td_ms(quantile_ms(&histogram, quantile))).concat();
        format!("<td>{}</td>{}{latencies}", Esc(name), td_count(histogram.len()))
    };
    let rows: Vec<String> = late.iter().map(row).collect();
    let table = if rows.is_empty() {
        super::empty("Nothing that the harness was to do at a given time has happened in this run.")
    } else {
        table(&["Late by", "Count", "p50", "p99", "Most"], &rows)
    };
    let cpu = points::line(&crate::analysis::rate(run.recording.series.points("harness.cpu_s", "")));
    let cpu = vec![Layer::new("busy cores", "c5", Shape::Wash, cpu)];
    let cpu = cloud::narrow(
        run,
        "CPU of the harness",
        "In cores that are busy",
        "The harness did not watch its own CPU time.",
        cpu,
    );
    let waiting = [
        ("events", "events of the fleet that wait for its thread, at most in each second", "c1", Shape::Line),
        ("HTTP requests", "HTTP requests of the fleet under way", "c2", Shape::Line),
    ];
    let waiting: Vec<Layer> = waiting
        .into_iter()
        .map(|(instance, name, class, shape)| {
            Layer::new(name, class, shape, points::line(run.recording.series.points("harness.waiting", instance)))
        })
        .collect();
    let waiting = Chart {
        title: "Queues of the harness",
        caption: "What waits within the harness is its own delay, what is under way waits for the cloud",
        empty: "There was no fleet, or it was not watched.",
        x: Axis::time(run.all_s.0, run.all_s.1, false),
        y: Axis::from_zero(&waiting, words::number),
        layers: waiting,
        moments: &run.moments,
        narrow: false,
    };
    let memory = vec![points::metric(run.recording, "harness.rss_bytes", "resident", "c5", Shape::Wash)];
    let memory = Chart {
        title: "Memory of the harness",
        caption: "Resident; all simulated hypervisors together",
        empty: "The harness did not watch its own memory.",
        x: Axis::time(run.all_s.0, run.all_s.1, true),
        y: Axis::bytes(&memory),
        layers: memory,
        moments: &run.moments,
        narrow: true,
    };
    let cost = match (harness.cpu_s, harness.rss_peak_bytes) {
        (Some(cpu_s), Some(peak)) => {
            let (cpu, memory) = (words::duration_ms(cpu_s * 1e3), words::bytes(peak as f64));
            format!("This one took {cpu} of CPU time and at most {memory} of memory.")
        }
        _ => "What this one took was not recorded.".to_owned(),
    };
    let body = format!(
        "<p class=\"note\">A generator that is starved makes a cloud look slow. {cost} Beyond {bound} late at the 99th \
         percentile the run would not be valid.</p>\n{table}<div class=\"pair\">{cpu}{}</div>\n{}",
        memory.html(),
        waiting.html(),
    );
    Section { anchor: "harness".into(), title: "The harness itself".into(), body }
}
