//! Several runs of one scenario with different seeds: what each figure is on average, and how sure that is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Summary, Verdict, table::table, words};

/// File of the figures of all replications.
pub const REPLICATIONS: &str = "replications.json";

/// The figures of several runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Replications {
    /// Name of the scenario.
    pub scenario: String,
    /// How many were asked for. Of those that are missing below none was begun.
    pub asked: u32,
    /// Seeds, one for each run.
    pub seeds: Vec<u64>,
    /// How each run is judged.
    pub outcomes: Vec<Verdict>,
    /// Why runs were not judged, and with which seeds: interrupted, or not to be carried out.
    pub left_out: Vec<(String, Vec<u64>)>,
    /// Every figure that all runs that were judged have, by its path in `summary.json`.
    pub figures: Vec<Figure>,
    /// Gates of the scenario, with the number of judged runs in which each held.
    pub gates: Vec<(String, u32)>,
}

/// One figure over all runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its path in `summary.json`, as gates name it.
    pub metric: String,
    /// Average over the runs.
    pub mean: f64,
    /// Half the width of the 95 % confidence interval of the mean, by Student's t.
    pub ci95: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Replications {
    /// The exit status of the worst run.
    pub fn exit_status(&self) -> u8 {
        // 2 (could not run) is worse than 3 (not valid), and that than 1 (a gate failed).
        let rank = |status: u8| [0, 1, 3, 2][usize::from(status.min(3))];
        if self.outcomes.len() < self.asked as usize {
            return Verdict::Partial.exit_status();
        }
        self.outcomes.iter().map(|outcome| outcome.exit_status()).max_by_key(|status| rank(*status)).unwrap_or(0)
    }
}

/// Puts several runs of one scenario together, of so many that were asked for. A run that did not end is no sample of anything: its
/// figures are left out.
pub fn replications(runs: &[Summary], asked: u32) -> Replications {
    let judged: Vec<&Summary> = runs.iter().filter(|run| run.outcome.is_judged()).collect();
    let figures: Vec<Vec<(String, f64)>> = judged.iter().map(|run| figures(run)).collect();
    let names =
        figures.first().map(|first| first.iter().map(|(metric, _)| metric.clone()).collect()).unwrap_or_default();
    let names: Vec<String> = names;
    let all = |metric: &String| -> Option<Vec<f64>> {
        let of_run = |run: &Vec<(String, f64)>| run.iter().find(|(name, _)| name == metric).map(|(_, value)| *value);
        figures.iter().map(of_run).collect()
    };
    let gates = runs.first().map(|run| run.gates.iter().map(|gate| gate.metric.clone()).enumerate().collect());
    let gates: Vec<(usize, String)> = gates.unwrap_or_default();
    let held = |index: usize| judged.iter().filter(|run| run.gates.get(index).is_some_and(|gate| gate.passed)).count();
    Replications {
        scenario: runs.first().map(|run| run.scenario.clone()).unwrap_or_default(),
        asked,
        left_out: left_out(runs),
        seeds: runs.iter().map(|run| run.seed).collect(),
        outcomes: runs.iter().map(|run| run.outcome).collect(),
        figures: names.iter().filter_map(|metric| Some(figure(metric, &all(metric)?))).collect(),
        gates: gates.into_iter().map(|(index, metric)| (metric, held(index) as u32)).collect(),
    }
}

/// Runs that were not judged, by why.
fn left_out(runs: &[Summary]) -> Vec<(String, Vec<u64>)> {
    let mut reasons: Vec<(String, Vec<u64>)> = Vec::new();
    for run in runs.iter().filter(|run| !run.outcome.is_judged()) {
        let reason = run.reason.clone().unwrap_or_else(|| run.outcome.word().to_owned());
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, seeds)) => seeds.push(run.seed),
            None => reasons.push((reason, vec![run.seed])),
        }
    }
    reasons
}

fn figure(metric: &str, values: &[f64]) -> Figure {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let ci95 = if values.len() > 1 { student_t_95(values.len() - 1) * (variance / count).sqrt() } else { 0.0 };
    let min = values.iter().copied().fold(f64::MAX, f64::min);
    let max = values.iter().copied().fold(f64::MIN, f64::max);
    Figure { metric: metric.to_owned(), mean, ci95, min, max }
}

/// Two-sided 95 % quantile of Student's t, by the degrees of freedom; tables of any textbook.
fn student_t_95(degrees: usize) -> f64 {
    const FIRST: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    match degrees {
        0 => f64::INFINITY,
        1..=30 => FIRST[degrees - 1],
        31..=60 => 2.02,
        61..=120 => 2.0,
        _ => 1.96,
    }
}

/// Every number of a summary, by its path.
fn figures(summary: &Summary) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let json = serde_json::to_value(summary).expect("a summary is JSON: its keys are strings");
    for section in ["duration_s", "hypervisors", "operations", "rpc", "processes"] {
        walk(section, &json[section], &mut found);
    }
    found
}

fn walk(path: &str, here: &Value, found: &mut Vec<(String, f64)>) {
    match here {
        Value::Number(number) => found.extend(number.as_f64().map(|value| (path.to_owned(), value))),
        Value::Object(fields) => {
            for (key, value) in fields {
                walk(&format!("{path}.{key}"), value, found);
            }
        }
        Value::Array(entries) => {
            for entry in entries {
                if let Some(name) = entry.get("name").or_else(|| entry.get("call")).and_then(Value::as_str) {
                    walk(&format!("{path}.{name}"), entry, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The file.
pub fn replications_json(replications: &Replications) -> String {
    let json = serde_json::to_string_pretty(replications).expect("numbers and names are JSON");
    format!("{json}\n")
}

/// Figures that the terminal shows: what a reader of one run looks at first, and those of gates.
fn is_shown(replications: &Replications, metric: &str) -> bool {
    let gate = replications.gates.iter().any(|(gate, _)| gate == metric);
    let first = [
        "hypervisors.up_min",
        "hypervisors.false_down",
        "hypervisors.false_down_before_load",
        "rpc.Service.save.p99_ms",
    ]
    .contains(&metric);
    let operation = metric.starts_with("operations.")
        && [".succeeded", ".failed", ".p50_ms", ".p99_ms"].iter().any(|end| metric.ends_with(end));
    gate || first || operation
}

/// The verdicts, the main figures and the gates, as plain text with a newline at the end.
pub fn replications_terminal(replications: &Replications) -> String {
    let Replications { scenario, asked, seeds, outcomes, left_out, figures, gates } = replications;
    let with = |wanted: Verdict| -> Vec<u64> {
        let of = seeds.iter().zip(outcomes).filter(|(_, outcome)| **outcome == wanted);
        of.map(|(seed, _)| *seed).collect()
    };
    let (passed, failed) = (with(Verdict::Passed), with(Verdict::Failed));
    let judged = passed.len() + failed.len();
    let mut text = format!("{scenario}: {} of {asked} replications passed\n", passed.len());
    if !failed.is_empty() && !passed.is_empty() {
        text.push_str(&format!("  a gate failed with {}\n", seeds_in_words(&failed)));
    }
    for (reason, seeds) in left_out {
        text.push_str(&format!("  left out, {}: {reason}\n", seeds_in_words(seeds)));
    }
    let begun = seeds.len();
    if (begun as u64) < u64::from(*asked) {
        text.push_str(&format!("  not begun: {}\n", u64::from(*asked) - begun as u64));
    }
    if judged == 0 {
        return text;
    }
    text.push('\n');
    let mut rows = vec![["figure", "mean", "± (95 %)", "min", "max"].map(String::from).to_vec()];
    for figure in figures.iter().filter(|figure| is_shown(replications, &figure.metric)) {
        let words = |value: f64| words::by_metric(&figure.metric, value);
        let Figure { metric, mean, ci95, min, max } = figure;
        // Of what was the same every time no interval can be told.
        let interval = if min == max { words::NONE.to_owned() } else { words(*ci95) };
        rows.push(vec![metric.clone(), words(*mean), interval, words(*min), words(*max)]);
    }
    text.push_str(&table(&rows));
    if !gates.is_empty() {
        text.push('\n');
        for (metric, held) in gates {
            let (from, to) = share_95(u64::from(*held), judged as u64);
            let share = format!("{:.0} to {:.0} % of all seeds, with 95 % confidence", from * 100.0, to * 100.0);
            text.push_str(&format!("  gate {metric}: held in {held} of {judged} ({share})\n"));
        }
    }
    text
}

fn seeds_in_words(seeds: &[u64]) -> String {
    const MOST: usize = 10;
    let some: Vec<String> = seeds.iter().take(MOST).map(u64::to_string).collect();
    let more = if seeds.len() > MOST { format!(" and {} more", seeds.len() - MOST) } else { String::new() };
    format!("seed{} {}{more}", if seeds.len() == 1 { "" } else { "s" }, some.join(", "))
}

/// 95 % confidence interval of a share of which so many of so many were seen (Wilson, 1927).
fn share_95(seen: u64, of: u64) -> (f64, f64) {
    const Z: f64 = 1.96;
    let (n, share) = (of as f64, seen as f64 / of as f64);
    let middle = share + Z * Z / (2.0 * n);
    let half = Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((middle - half) / scale).max(0.0), ((middle + half) / scale).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        let figure = figure("x", &[1.0, 2.0, 3.0]);
        assert_eq!((figure.mean, figure.min, figure.max), (2.0, 1.0, 3.0));
        // s = 1, n = 3: 4.303 / √3.
        assert!((figure.ci95 - 2.484).abs() < 0.001);
        assert_eq!(self::figure("x", &[5.0]).ci95, 0.0);
    }

    #[test]
    fn nothing_is_certain_after_twenty_runs() {
        let (from, to) = share_95(20, 20);
        assert!((from - 0.839).abs() < 0.001 && to > 0.999, "{from} to {to}");
        let (from, to) = share_95(10, 20);
        assert!((from - 0.299).abs() < 0.001 && (to - 0.701).abs() < 0.001, "{from} to {to}");
    }

    #[test]
    fn the_worst_run_decides() {
        let of = |outcomes: &[Verdict]| {
            let outcomes = outcomes.to_vec();
            Replications { outcomes, ..replications(&[], 0) }.exit_status()
        };
        assert_eq!(of(&[Verdict::Passed, Verdict::Passed]), 0);
        assert_eq!(of(&[Verdict::Passed, Verdict::Failed]), 1);
        assert_eq!(of(&[Verdict::Failed, Verdict::Error, Verdict::Invalid]), 2);
    }
}
