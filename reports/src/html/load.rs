//! The operations of the load: figures, latency over time and by percentile, offered and achieved throughput.

use recording::{Interval, Recording, merge};

use super::{
    Esc, Run, Section,
    chart::{Axis, Chart, Layer, Shape},
    points::CLASSES,
    scale::Scale,
    table, td_count, td_ms,
};
use crate::{Operation, analysis::quantile_ms, words};

/// Cells of latency over the time of the load; each is at least one interval of the latency logs.
const LATENCY_CELLS: f64 = 90.0;

/// Cells of throughput: fewer, because a count of few operations is mostly chance.
const THROUGHPUT_CELLS: f64 = 45.0;

pub(super) fn section(run: &Run<'_>) -> Section {
    let operations = &run.analysis.summary.operations;
    let mut body = String::from(
        "<p class=\"note\">Latency counts from the moment the plan wanted the operation to start, so that a slow cloud cannot \
         hide behind clients that wait for it. Percentiles are of operations that succeeded; failures are counted beside \
         them.</p>\n",
    );
    body.push_str(&figures(operations));
    for operation in operations {
        body.push_str(&format!(
            "<div class=\"pair\">{}{}</div>\n",
            over_time(run, operation),
            throughput(run, operation)
        ));
    }
    body.push_str(&percentiles(run.recording, operations));
    Section { anchor: "operations".into(), title: "Operations".into(), body }
}

fn figures(operations: &[Operation]) -> String {
    let row = |operation: &Operation| {
        let Operation { name, intended, started, succeeded, failed, p50_ms, p95_ms, p99_ms, max_ms } = operation;
        let counts = [*intended, *started, *succeeded, *failed].map(td_count).concat();
        let latencies = [*p50_ms, *p95_ms, *p99_ms, *max_ms].map(td_ms).concat();
        format!("<td>{}</td>{counts}{latencies}", Esc(name))
    };
    let rows: Vec<String> = operations.iter().map(row).collect();
    if rows.is_empty() {
        return super::empty("The plan has no operations: the fleet was left to idle.");
    }
    table(&["Operation", "Intended", "Started", "Succeeded", "Failed", "p50", "p95", "p99", "Longest"], &rows)
}

fn cell_s(run: &Run<'_>, cells: f64) -> f64 {
    ((run.window_s.1 - run.window_s.0) / cells).ceil().max(1.0)
}

fn over_time(run: &Run<'_>, operation: &Operation) -> String {
    let stream = run.recording.stream(&format!("operations/{}", operation.name));
    let cell_s = cell_s(run, LATENCY_CELLS);
    let intervals = stream.map_or(&[][..], |stream| &stream.intervals);
    let cell = |interval: &Interval| ((interval.start.as_secs_f64() - run.window_s.0) / cell_s).floor();
    let cells: Vec<(f64, [Option<f64>; 3])> = intervals
        .chunk_by(|a, b| cell(a) == cell(b))
        .map(|cells| {
            let histogram = merge(cells);
            let middle_s = run.window_s.0 + (cell(&cells[0]) + 0.5) * cell_s;
            (middle_s, [0.5, 0.99, 1.0].map(|quantile| quantile_ms(&histogram, quantile)))
        })
        .collect();
    let points = |which: usize| cells.iter().filter_map(|(t, found)| Some((*t, found[which]?))).collect::<Vec<_>>();
    let layers = vec![
        Layer::new("longest", "c8", Shape::Dots, points(2)),
        Layer::new("p99", "c2", Shape::Line, points(1)),
        Layer::new("median", "c1", Shape::Line, points(0)),
    ];
    Chart {
        title: &format!("{}: latency over time", operation.name),
        caption: &format!("Of the operations that ended within {}; logarithmic", words::round_ms(cell_s * 1e3)),
        empty: "No operation of this stream succeeded, so there is no latency to show.",
        x: Axis::time(run.window_s.0, run.window_s.1, true),
        y: Axis::log(&layers, words::round_ms),
        layers,
        moments: &run.moments,
        narrow: true,
    }
    .html()
}

fn throughput(run: &Run<'_>, operation: &Operation) -> String {
    let cell_s = cell_s(run, THROUGHPUT_CELLS);
    let records: Vec<_> = run.recording.operations.iter().filter(|record| record.stream == operation.name).collect();
    let (from_s, to_s) = run.window_s;
    let cells = ((to_s - from_s) / cell_s).ceil().max(1.0) as usize;
    let per_s = |moments_ms: Vec<f64>| {
        let mut counts = vec![0.0; cells];
        for t_ms in &moments_ms {
            let cell = ((t_ms / 1e3 - from_s) / cell_s).max(0.0) as usize;
            counts[cell.min(cells - 1)] += 1.0 / cell_s;
        }
        // The last step is drawn to the end of its cell.
        counts.extend(counts.last().copied());
        let points = counts.into_iter().enumerate();
        if moments_ms.is_empty() {
            Vec::new()
        } else {
            points.map(|(cell, rate)| (from_s + cell as f64 * cell_s, rate)).collect()
        }
    };
    let ended = |failed: bool| {
        let of_kind = records.iter().filter(|record| record.error.is_some() == failed);
        of_kind.map(|record| record.ended_ms).collect::<Vec<_>>()
    };
    let layers = vec![
        Layer::new(
            "offered (intended starts)",
            "c8",
            Shape::Blocks,
            per_s(records.iter().map(|record| record.intended_ms).collect()),
        ),
        Layer::new("achieved (ended well)", "c3", Shape::Steps, per_s(ended(false))),
        Layer::new("failed", "cbad", Shape::Steps, per_s(ended(true))),
    ];
    Chart {
        title: &format!("{}: offered and achieved", operation.name),
        caption: "Operations a second, of those that have ended",
        empty: "No operation of this stream has ended.",
        x: Axis::time(from_s, to_s, true),
        y: Axis::from_zero(&layers, words::number),
        layers,
        moments: &run.moments,
        narrow: true,
    }
    .html()
}

/// Latency by percentile on the scale that gives each nine the same room.
fn percentiles(recording: &Recording, operations: &[Operation]) -> String {
    let mut nines = 1.0_f64;
    let mut layers = Vec::new();
    for (operation, class) in operations.iter().zip(CLASSES.into_iter().cycle()) {
        let Some(stream) = recording.stream(&format!("operations/{}", operation.name)) else { continue };
        let histogram = stream.histogram();
        // Beyond one in as many as there were, every percentile is the longest.
        let last = (histogram.len() as f64).log10().max(1.0);
        nines = nines.max(last);
        let places = (0..=160).map(|step| f64::from(step) / 160.0 * last);
        let points = places.filter_map(|x| Some((x, quantile_ms(&histogram, 1.0 - 10_f64.powf(-x))?)));
        let points = points.chain(quantile_ms(&histogram, 1.0).map(|longest| (last, longest))).collect();
        layers.push(Layer::new(operation.name.clone(), class, Shape::Steps, points));
    }
    let scale = Scale::Linear { from: 0.0, to: nines };
    let ticks = [0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999999_f64];
    let ticks = ticks.iter().map(|quantile| -(1.0 - quantile).log10()).filter(|x| *x <= nines * 1.000_001).collect();
    Chart {
        title: "Latency by percentile",
        caption: "Each further nine has the same room, so that the tail can be seen; both axes logarithmic",
        empty: "No operation succeeded, so there are no percentiles to show.",
        x: Axis { scale, ticks, words: percentile },
        y: Axis::log(&layers, words::round_ms),
        layers,
        moments: &[],
        narrow: false,
    }
    .html()
}

/// `2.0` is 99 %, `3.0` is 99.9 %.
fn percentile(x: f64) -> String {
    let percent = 100.0 * (1.0 - 10_f64.powf(-x));
    let digits = (x.round() as usize).saturating_sub(2);
    format!("p{percent:.digits$}")
}
