//! The page of a search for the largest size that holds.

use super::{
    Document, Esc,
    chart::{Axis, Chart, Layer, Shape},
    table, td,
};
use crate::{
    edge::{EdgeReport, Search, Trial},
    words,
};

/// The page.
pub(crate) fn edge_page(report: &EdgeReport) -> String {
    let searches: String = report.searches.iter().map(|search| section(report, search)).collect();
    let (scenario, description) = (Esc(&report.scenario), Esc(&report.description));
    let (vary, edges) = (Esc(&report.vary), edges(report));
    Document {
        title: &report.scenario,
        header: &format!("<h1>{scenario}</h1>\n<p>{description}</p>\n{}", facts(report)),
        body: &format!(
            "<section>\n<h2>The largest {vary} at which all gates hold</h2>\n{edges}</section>\n{searches}"
        ),
        version: &report.harness_version,
        notes: "An edge is the size at which one of two trials holds; the interval holds it with 95 % probability, given all \
                trials.",
        figures: crate::EDGE,
    }
    .html()
}

fn facts(report: &EdgeReport) -> String {
    let target = format!("{} on {}", report.target, report.release);
    let range = format!(
        "{} to {}, to be known within {:.0} %",
        report.words(report.from),
        report.words(report.to),
        report.within * 100.0
    );
    format!("<p>{}; {}; {}</p>\n", Esc(&target), Esc(&range), Esc(&words::machine(&report.machine)))
}

fn edges(report: &EdgeReport) -> String {
    let row = |search: &Search| {
        let tried = search.tried();
        let breaks = search.breaks().into_iter().map(|(metric, count)| format!("{metric} ({count})"));
        [
            td(search.name()),
            td(&search.last_held(report)),
            td(&search.finding(report)),
            td(&tried.len().to_string()),
            wide(&breaks.collect::<Vec<_>>().join(", ")),
        ]
        .concat()
    };
    let rows: Vec<String> = report.searches.iter().map(row).collect();
    table(&["tuning", "last that held", "edge, with 95 % interval", "trials", "what broke, and how often"], &rows)
}

/// A cell of text that may be long.
fn wide(text: &str) -> String {
    format!("<td class=\"wide\">{}</td>", Esc(text))
}

fn section(report: &EdgeReport, search: &Search) -> String {
    let options: Vec<String> = search.options.iter().map(|(option, value)| format!("{option} = {value}")).collect();
    let options = match options.is_empty() {
        true => String::new(),
        false => format!("<pre>{}</pre>\n", Esc(&options.join("\n"))),
    };
    let row = |(number, trial): (usize, &Trial)| {
        let link = format!("<td><a href=\"{folder}/report.html\">{folder}</a></td>", folder = Esc(&trial.folder));
        let class = trial.held.map_or("", |held| if held { "ok" } else { "no" });
        let (word, why) = (trial.word(), trial.why.join("; "));
        let verdict = format!("<td class=\"wide\"><span class=\"{class}\">{word}</span> {}</td>", Esc(&why));
        let took = words::duration_ms(trial.duration_s * 1e3);
        [td(&(number + 1).to_string()), td(&report.words(trial.size)), td(&took), link, verdict].concat()
    };
    let rows: Vec<String> = search.trials.iter().enumerate().map(row).collect();
    format!(
        "<section>\n<h2>{}</h2>\n{options}{}{}</section>\n",
        Esc(search.name()),
        picture(report, search),
        table(&["trial", "size", "took", "run", "verdict"], &rows)
    )
}

/// Trials in their order, sizes on a logarithmic axis, with the interval.
fn picture(report: &EdgeReport, search: &Search) -> String {
    let of = |held: bool| -> Vec<(f64, f64)> {
        let trials = search.trials.iter().enumerate().filter(|(_, trial)| trial.held == Some(held));
        trials.map(|(number, trial)| ((number + 1) as f64, trial.size)).collect()
    };
    let count = search.trials.len() as f64;
    let mut layers = Vec::new();
    if let Some(estimate) = search.enclosed() {
        let line = |name: &str, size: f64, shape| Layer::new(name, "c3", shape, vec![(0.5, size), (count + 0.5, size)]);
        layers.push(line("edge", estimate.edge, Shape::Line));
        layers.push(line("lower end of the 95 % interval", estimate.low, Shape::Dashed));
        layers.push(line("upper end", estimate.high, Shape::Dashed));
    }
    layers.push(Layer::new("held", "c1", Shape::Dots, of(true)));
    layers.push(Layer::new("broke", "cbad", Shape::Dots, of(false)));
    let chart = Chart {
        title: "Trials",
        caption: &format!("each trial's {}, in the order in which they were made", report.vary),
        empty: "nothing was tried",
        x: Axis::number(0.5, count.max(1.0) + 0.5),
        y: Axis::log(&layers, words::number),
        layers,
        moments: &[],
        narrow: false,
    };
    chart.html()
}
