//! The fleet, its remote calls, and the services behind them.

use std::collections::{BTreeMap, BTreeSet};

use recording::{LatencyStream, Points, Recording};

use super::{
    Esc, Run, Section,
    chart::{Axis, Chart, Layer, Shape},
    points::{self, CLASSES},
    table, td, td_count, td_ms,
};
use crate::{
    Process, Rpc,
    analysis::{group, quantile_ms, rate},
    words,
};

/// Dots that can be told apart over the page's width.
const DOTS: f64 = 400.0;

pub(super) fn fleet(run: &Run<'_>) -> Section {
    let requested = f64::from(run.analysis.summary.hypervisors.requested);
    let mut layers = vec![
        points::metric(run.recording, "fleet.registered", "through with their start-up", "c1", Shape::Line),
        points::metric(run.recording, "fleet.up", "up", "c3", Shape::Wash),
    ];
    if layers.iter().any(|layer| !layer.points.is_empty()) {
        let (from, to) = run.all_s;
        layers.push(Layer::new("asked for", "c8", Shape::Dashed, vec![(from, requested), (to, requested)]));
        let downs = run.recording.events.iter().filter(|event| event.kind == "host_down");
        // All in one place are one dot: there may be a hundred thousand.
        let width_s = ((to - from) / DOTS).max(1e-3);
        let cells: BTreeSet<i64> = downs.map(|event| (event.t_ms / 1e3 / width_s) as i64).collect();
        let downs = cells.into_iter().map(|cell| ((cell as f64 + 0.5) * width_s, 0.0)).collect();
        layers.push(Layer::new("a false down", "cbad", Shape::Dots, downs));
    }
    let chart = Chart {
        title: "Hypervisors over time",
        caption: "As Nova's own records of them say, from the first one on",
        empty: "Nobody looked at Nova's records of its services in this run (no series fleet.up).",
        x: Axis::time(run.all_s.0, run.all_s.1, false),
        y: Axis::from_zero(&layers, words::number),
        layers,
        moments: &run.moments,
        narrow: false,
    };
    Section { anchor: "hypervisors".into(), title: "Hypervisors".into(), body: chart.html() }
}

pub(super) fn rpc(run: &Run<'_>) -> Section {
    let row = |rpc: &Rpc| {
        let Rpc { call, count, failed, timed_out, p50_ms, p99_ms, p50_load_ms, p99_load_ms, .. } = rpc;
        let counts = [*count, *failed, *timed_out].map(td_count).concat();
        let latencies = [p50_ms, p99_ms, p50_load_ms, p99_load_ms].map(|latency| td_ms(*latency)).concat();
        format!("<td><code>{}</code></td>{counts}{latencies}", Esc(call))
    };
    let mut calls: Vec<&Rpc> = run.analysis.summary.rpc.iter().collect();
    // What went worst first.
    calls.sort_by(|a, b| {
        let bad = |rpc: &Rpc| (rpc.timed_out, rpc.failed);
        bad(b).cmp(&bad(a)).then(b.p99_ms.unwrap_or(0.0).total_cmp(&a.p99_ms.unwrap_or(0.0)))
    });
    let rows: Vec<String> = calls.into_iter().map(row).collect();
    let body = if rows.is_empty() {
        super::empty("The fleet made no remote calls, or the target does not see them.")
    } else {
        let note = "<p class=\"note\">What the hypervisors asked of the control plane, as they saw it: over RabbitMQ, and \
                    over HTTP where a service stands in front. A call that timed out counts with the time its caller \
                    waited.</p>\n";
        format!(
            "{note}{}{}",
            table(&["Call", "Calls", "Failed", "Timed out", "p50", "p99", "p50 under load", "p99 under load"], &rows),
            http(run.recording)
        )
    };
    Section { anchor: "rpc".into(), title: "Remote calls".into(), body }
}

/// Requests of the fleet on the HTTP services, where the target recorded them.
fn http(recording: &Recording) -> String {
    let streams = recording.latency.iter().filter_map(|(name, stream)| Some((name.strip_prefix("http/")?, stream)));
    let row = |(name, stream): (&str, &LatencyStream)| {
        let histogram = stream.histogram();
        let latencies = [0.5, 0.99, 1.0].map(|quantile| td_ms(quantile_ms(&histogram, quantile))).concat();
        format!("<td><code>{}</code></td>{}{latencies}", Esc(name), td_count(histogram.len()))
    };
    let rows: Vec<String> = streams.map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let note = "<p class=\"note\">What the load asked of the public APIs, and the harness itself to prepare, to see how far \
                operations are (poll), and to clean up.</p>\n";
    format!("{note}{}", table(&["HTTP request", "Requests", "p50", "p99", "Longest"], &rows))
}

pub(super) fn inside(run: &Run<'_>) -> Section {
    // A model knows what waits inside of processes; it has no memory, and queues in its broker are empty.
    let modelled = run.recording.manifest.target == "sim";
    let body = format!(
        "{}{}<div class=\"pair\">{}{}</div>\n<div class=\"pair\">{}{}</div>\n{}",
        cpu(run),
        if modelled { waiting(run) } else { memory(run) },
        if modelled { waiting_for_database(run) } else { queue_depths(run) },
        broker_rates(run),
        broker_counts(run),
        database(run),
        processes(&run.analysis.summary.processes),
    );
    Section { anchor: "inside".into(), title: "Inside the cloud".into(), body }
}

/// Series of a process metric, added up by service.
fn by_service(recording: &Recording, metric: &str, ready: fn(&[(f64, f64)]) -> Points) -> Vec<(String, Points)> {
    let mut groups: BTreeMap<&str, Vec<Vec<(f64, f64)>>> = BTreeMap::new();
    for (name, points) in recording.series.instances(metric) {
        groups.entry(group(name)).or_default().push(ready(points));
    }
    let named = |name: &str, members: usize| if members > 1 { format!("{name} × {members}") } else { name.to_owned() };
    groups.into_iter().map(|(name, members)| (named(name, members.len()), points::add_up(&members))).collect()
}

/// The services that have a colour of their own, those that matter most first: by their share of all CPU time and of
/// all memory. One order for both pictures, so that a service has the same colour in both.
fn ranking(recording: &Recording) -> Vec<String> {
    let mut shares: BTreeMap<String, f64> = BTreeMap::new();
    let mut add = |services: Vec<(String, Points)>| {
        let means: Vec<(String, f64)> =
            services.into_iter().map(|(name, points)| (name, points::mean(&points))).collect();
        let all: f64 = means.iter().map(|(_, mean)| mean).sum();
        for (name, mean) in means.into_iter().filter(|_| all > 0.0) {
            *shares.entry(name).or_default() += mean / all;
        }
    };
    add(by_service(recording, "process.cpu_s", rate));
    add(by_service(recording, "process.rss_bytes", <[_]>::to_vec));
    let mut ranking: Vec<(String, f64)> = shares.into_iter().collect();
    ranking.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranking.truncate(CLASSES.len());
    ranking.into_iter().map(|(name, _)| name).collect()
}

fn cpu(run: &Run<'_>) -> String {
    let mut layers = points::stack(by_service(run.recording, "process.cpu_s", rate), &ranking(run.recording));
    let machine = rate(run.recording.series.points("machine.cpu_s", ""));
    layers.push(Layer::new("whole machine", "c0", Shape::Line, points::line(&machine)));
    let cores = run.recording.manifest.machine.get("cores").and_then(|cores| cores.parse::<f64>().ok());
    if let Some(cores) = cores.filter(|_| layers.iter().any(|layer| !layer.points.is_empty())) {
        let limit = vec![(run.all_s.0, cores), (run.all_s.1, cores)];
        layers.push(Layer::new("cores that the machine has", "c8", Shape::Dashed, limit));
    }
    Chart {
        title: "CPU by service",
        caption: "In cores that are busy, on top of each other; processes of one service are added up",
        empty: "No process was watched in this run (no series process.cpu_s).",
        x: Axis::time(run.all_s.0, run.all_s.1, false),
        y: Axis::from_zero(&layers, words::number),
        layers,
        moments: &run.moments,
        narrow: false,
    }
    .html()
}

fn memory(run: &Run<'_>) -> String {
    let layers = points::stack(by_service(run.recording, "process.rss_bytes", <[_]>::to_vec), &ranking(run.recording));
    Chart {
        title: "Memory by service",
        caption: "Resident, on top of each other; pages that processes share count in each",
        empty: "No process was watched in this run (no series process.rss_bytes).",
        x: Axis::time(run.all_s.0, run.all_s.1, false),
        y: Axis::bytes(&layers),
        layers,
        moments: &run.moments,
        narrow: false,
    }
    .html()
}

fn waiting(run: &Run<'_>) -> String {
    let layers = points::stack(by_service(run.recording, "process.waiting", <[_]>::to_vec), &ranking(run.recording));
    Chart {
        title: "Requests waiting in processes",
        caption: "Received, acknowledged, and waiting for a handler thread: on a real cloud nothing shows them",
        empty: "No process was watched in this run (no series process.waiting).",
        x: Axis::time(run.all_s.0, run.all_s.1, false),
        y: Axis::from_zero(&layers, words::number),
        layers,
        moments: &run.moments,
        narrow: false,
    }
    .html()
}

fn waiting_for_database(run: &Run<'_>) -> String {
    let services = by_service(run.recording, "process.pool_waiting", <[_]>::to_vec);
    let some_wait = |points: &Points| points.iter().any(|(_, waiting)| *waiting > 0.0);
    let services = services.into_iter().filter(|(_, points)| some_wait(points)).collect();
    narrow(
        run,
        "Waiting for the database",
        "Handler threads that wait for a connection from the pool of their process",
        "No thread ever waited for a connection.",
        points::stack(services, &ranking(run.recording)),
    )
}

fn queue_depths(run: &Run<'_>) -> String {
    let queues = run.recording.series.instances("broker.queue_depth");
    let deepest = |points: &[(f64, f64)]| points.iter().map(|point| point.1).fold(0.0, f64::max);
    let mut queues: Vec<(&str, &[(f64, f64)])> = queues.filter(|(_, points)| deepest(points) > 0.0).collect();
    queues.sort_by(|a, b| deepest(b.1).total_cmp(&deepest(a.1)).then(a.0.cmp(b.0)));
    let mut layers: Vec<Layer> = queues
        .iter()
        .zip(CLASSES)
        .take(6)
        .map(|((name, points), class)| Layer::new(*name, class, Shape::Line, points::line(points)))
        .collect();
    if layers.is_empty() {
        layers = vec![
            points::metric(run.recording, "broker.messages_ready", "ready, all queues", "c1", Shape::Line),
            points::metric(run.recording, "broker.messages_unacked", "delivered, not acknowledged", "c2", Shape::Line),
        ];
    }
    narrow(
        run,
        "Queue depths",
        "Messages in the deepest queues of RabbitMQ",
        "The broker's queues were not watched in this run.",
        layers,
    )
}

fn broker_rates(run: &Run<'_>) -> String {
    let layers = vec![
        points::metric(run.recording, "broker.publish_per_s", "published", "c1", Shape::Line),
        points::metric(run.recording, "broker.deliver_per_s", "delivered", "c3", Shape::Line),
    ];
    narrow(
        run,
        "Message rates",
        "RabbitMQ, messages a second",
        "The broker's rates were not watched in this run.",
        layers,
    )
}

fn broker_counts(run: &Run<'_>) -> String {
    let metrics = [("connections", "c1"), ("channels", "c7"), ("queues", "c2"), ("consumers", "c5")];
    let layer = |(what, class): (&str, &'static str)| {
        points::metric(run.recording, &format!("broker.{what}"), what, class, Shape::Line)
    };
    let layers = metrics.map(layer).to_vec();
    narrow(
        run,
        "What the broker holds",
        "RabbitMQ, at each moment",
        "The broker's objects were not watched in this run.",
        layers,
    )
}

fn database(run: &Run<'_>) -> String {
    let series = &run.recording.series;
    let rate = |metric: &str| points::line(&rate(series.points(metric, "")));
    let mut layers = vec![
        Layer::new("queries a second", "c1", Shape::Line, rate("database.queries_total")),
        points::metric(run.recording, "database.connections", "connections", "c2", Shape::Line),
        points::metric(run.recording, "database.threads_running", "threads running", "c3", Shape::Line),
        Layer::new("lock waits a second", "cbad", Shape::Dots, rate("database.lock_waits_total")),
    ];
    // A logarithm has no zero: the rates of quiet moments are left out.
    layers.iter_mut().for_each(|layer| layer.points.retain(|point| point.1 > 0.0));
    Chart {
        title: "Database",
        caption: "MariaDB; logarithmic, because queries outnumber the rest",
        empty: "The database was not watched in this run.",
        x: Axis::time(run.all_s.0, run.all_s.1, true),
        y: Axis::log(&layers, words::number),
        layers,
        moments: &run.moments,
        narrow: true,
    }
    .html()
}

/// A picture of half the page's width over the whole run, from zero.
pub(super) fn narrow(run: &Run<'_>, title: &str, caption: &str, empty: &str, layers: Vec<Layer>) -> String {
    let x = Axis::time(run.all_s.0, run.all_s.1, true);
    let y = Axis::from_zero(&layers, words::number);
    Chart { title, caption, empty, x, y, layers, moments: &run.moments, narrow: true }.html()
}

fn processes(processes: &[Process]) -> String {
    if processes.is_empty() {
        return String::new();
    }
    let row = |process: &Process| {
        let cpu = td(&words::duration_ms(process.cpu_s * 1e3));
        let memory = td(&words::or_none(process.rss_peak_bytes, |peak| words::bytes(peak as f64)));
        format!("<td>{}</td>{cpu}{memory}", Esc(&process.name))
    };
    let rows: Vec<String> = processes.iter().map(row).collect();
    let table = table(&["Process", "CPU time", "Most memory"], &rows);
    format!("<details><summary>Each of the {} processes</summary>{table}</details>\n", rows.len())
}
