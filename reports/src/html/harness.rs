//! The harness itself: what it cost, and how late it was.

use recording::LatencyStream;

use super::{
    Esc, Run, Section,
    chart::{Axis, Chart, Layer, Shape},
    cloud, points, table, td, td_count, td_ms,
};
use crate::{
    Growth,
    analysis::{first_and_last, quantile_ms},
    words,
};

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
    let cost = match (harness.cpu_s, harness.rss_peak_bytes) {
        (Some(cpu_s), Some(peak)) => {
            let (cpu, memory) = (words::duration_ms(cpu_s * 1e3), words::bytes(peak as f64));
            format!("This one took {cpu} of CPU time and at most {memory} of memory.")
        }
        _ => "What this one took was not recorded.".to_owned(),
    };
    let each = format!("{}{}", each_costs(run), grown(run));
    let body = format!(
        "<p class=\"note\">A generator that is starved makes a cloud look slow. {cost} Beyond {bound} late at the 99th \
         percentile the run would not be valid.</p>\n{table}{each}{}",
        pictures(run),
    );
    Section { anchor: "harness".into(), title: "The harness itself".into(), body }
}

/// CPU, memory and queues over time.
fn pictures(run: &Run<'_>) -> String {
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
        (
            "events",
            "events of the fleet that wait for one of its threads, at most since the last look",
            "c1",
            Shape::Line,
        ),
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
    format!("<div class=\"pair\">{cpu}{}</div>\n{}", memory.html(), waiting.html())
}

/// What a process whose name begins so with is: a real nova-compute.
const REAL: &str = "nova-compute-";

/// What a simulated hypervisor costs, with all that the harness does beside it, and what a real nova-compute did in the same time.
fn each_costs(run: &Run<'_>) -> String {
    let series = &run.recording.series;
    let hypervisors = f64::from(run.analysis.plan.fleet.hypervisors);
    let Some(ours) = cost(run, series.points("harness.rss_bytes", ""), series.points("harness.cpu_s", "")) else {
        return String::new();
    };
    if hypervisors == 0.0 {
        return String::new();
    }
    let ours = ours.map(|figure| figure / hypervisors);
    let real: Vec<[f64; 2]> = series
        .instances("process.rss_bytes")
        .filter(|(name, _)| name.starts_with(REAL))
        .filter_map(|(name, memory)| cost(run, memory, series.points("process.cpu_s", name)))
        .collect();
    let row = |name: &str, [bytes, cores]: [f64; 2]| {
        let cpu = format!("{:.3} ‰ of a core", cores * 1e3);
        [td(name), td(&words::bytes(bytes)), td(&cpu)].concat()
    };
    let all = words::count(hypervisors as u64);
    let mut rows = vec![row(&format!("the harness, for each of {all} simulated hypervisors"), ours)];
    if !real.is_empty() {
        let mean = [0, 1].map(|figure| real.iter().map(|real| real[figure]).sum::<f64>() / real.len() as f64);
        rows.push(row("a real nova-compute with the fake driver, in the same time", mean));
        let times = [0, 1].map(|figure| td(&format!("{} times", words::number((mean[figure] / ours[figure]).round()))));
        rows.push(format!("{}{}", td("as much as a simulated one"), times.concat()));
    }
    table(&["What a hypervisor costs, under load", "memory", "CPU"], &rows)
}

/// Mean memory in bytes and busy cores while the cloud was loaded.
fn cost(run: &Run<'_>, memory: &[(f64, f64)], cpu: &[(f64, f64)]) -> Option<[f64; 2]> {
    let (from, to) = (run.window_s.0 * 1e3, run.window_s.1 * 1e3);
    let (memory, cpu) = (points::between(memory, from, to), points::between(cpu, from, to));
    let ([(first, _), .., (last, _)], false) = (cpu.as_slice(), memory.is_empty()) else { return None };
    Some([points::mean(&memory), crate::analysis::growth(&cpu) / (last - first) * 1e3])
}

/// What each of `scenarios::MAY_GROW` is called in a table.
fn called(metric: &str) -> &str {
    match metric {
        "harness.rss_bytes" => "memory of the harness",
        "harness.tasks" => "tasks",
        "harness.files" => "its open files",
        "broker.connections" => "connections to RabbitMQ",
        other => other.trim_start_matches("broker."),
    }
}

/// What would grow for ever if something were not given back.
fn grown(run: &Run<'_>) -> String {
    let window_ms = (run.window_s.0 * 1e3, run.window_s.1 * 1e3);
    let row = |growth: &Growth| {
        let metric = growth.name.as_str();
        let (first, last) = first_and_last(run.recording, metric, window_ms)?;
        let words = |value: f64| words::by_metric(metric, value);
        let percent = words::or_none(growth.percent, |percent| format!("{percent:+.1} %"));
        Some([td(called(metric)), td(&words(first)), td(&words(last)), td(&percent)].concat())
    };
    let rows: Vec<String> = run.analysis.summary.growth.iter().filter_map(row).collect();
    if rows.is_empty() {
        String::new()
    } else {
        table(&["Mean of", "first tenth of the load", "last tenth", "growth"], &rows)
    }
}
