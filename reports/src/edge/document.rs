//! `edge.json`: what searches have found, trial by trial.

use std::{collections::BTreeMap, path::Path};

use recording::OutcomeKind;
use scenarios::Plan;
use serde::{Deserialize, Serialize};

use super::{End, Estimate, Question, Tried};
use crate::{ReportError, Summary, Verdict, analysis::too_late_ms, folder::replace, html, table::table, words};

/// Name of the document in the folder of a search.
pub const EDGE: &str = "edge.json";

/// Name of the page in the folder of a search.
pub const EDGE_PAGE: &str = "edge.html";

/// Searches of one scenario, one for each tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeReport {
    /// Name of the scenario.
    pub scenario: String,
    /// What it is for.
    pub description: String,
    /// `live` or `sim`.
    pub target: String,
    /// OpenStack release, such as `2026.2`.
    pub release: String,
    /// Version of the harness.
    pub harness_version: String,
    /// What the machine is, as the manifests of the trials have it.
    pub machine: BTreeMap<String, String>,
    /// The key that grew.
    pub vary: String,
    /// What is written behind a size.
    pub unit: String,
    /// The smallest size that was to be tried.
    pub from: f64,
    /// The largest.
    pub to: f64,
    /// How close together the ends of the interval were to be.
    pub within: f64,
    /// The most trials of each search.
    pub most_trials: u32,
    /// The searches.
    pub searches: Vec<Search>,
}

/// The search on one tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// Its name; empty where the scenario has but one.
    pub tuning: String,
    /// Options of the services beside those of the scenario.
    pub options: BTreeMap<String, String>,
    /// How it ended; `null`: it was ended before, or goes on.
    pub end: Option<End>,
    /// What is known of the edge; `null` before the first trial that counts.
    pub estimate: Option<Estimate>,
    /// The trials, in their order.
    pub trials: Vec<Trial>,
}

/// One trial: a run of its own, with a folder of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The size.
    pub size: f64,
    /// Whether it held; `null`: it proves nothing, because the harness was late or the run did not end.
    pub held: Option<bool>,
    /// Seed of the run.
    pub seed: u64,
    /// How the run was judged.
    pub outcome: Verdict,
    /// Why it did not hold.
    pub why: Vec<String>,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// Its folder, below that of the search.
    pub folder: String,
}

impl Trial {
    /// What a run at this size came to. One that was too much for the cloud from the start did not hold; where the harness itself was
    /// late, nobody knows.
    pub fn of(size: f64, plan: &Plan, outcome: OutcomeKind, summary: &Summary, folder: String) -> Self {
        let overwhelmed = outcome == OutcomeKind::Overwhelmed && too_late_ms(plan, summary).is_none();
        let held = match summary.outcome {
            Verdict::Passed => Some(true),
            Verdict::Failed => Some(false),
            Verdict::Error if overwhelmed => Some(false),
            Verdict::Error | Verdict::Partial | Verdict::Invalid => None,
        };
        let broken = summary.gates.iter().filter_map(|gate| gate.reason.clone());
        let why = match summary.outcome {
            Verdict::Passed => Vec::new(),
            Verdict::Failed => broken.collect(),
            Verdict::Error if overwhelmed => {
                let reason = summary.reason.as_deref().and_then(|reason| reason.lines().next()).unwrap_or_default();
                let hypervisors = &summary.hypervisors;
                // How many came up in which time, the reason says itself.
                let key = match hypervisors.registered {
                    Some(number) if number < hypervisors.requested => "fleet.register_within: ",
                    _ => "",
                };
                vec![format!("{key}{reason}")]
            }
            _ => summary.reason.clone().into_iter().collect(),
        };
        Self { size, held, seed: summary.seed, outcome: summary.outcome, why, duration_s: summary.duration_s, folder }
    }

    /// What came of it, in words; why is told beside.
    pub fn word(&self) -> &'static str {
        match self.held {
            Some(true) => "held",
            Some(false) => "broke",
            None => "proves nothing",
        }
    }
}

impl EdgeReport {
    /// What each search asks.
    pub fn question(&self) -> Question {
        Question { from: self.from, to: self.to, within: self.within, most_trials: self.most_trials }
    }

    /// A size in words.
    pub(crate) fn words(&self, size: f64) -> String {
        format!("{}{}", words::number(size), self.unit)
    }
}

impl Search {
    /// The trials that count.
    pub fn tried(&self) -> Vec<Tried> {
        let counts = |trial: &Trial| Some(Tried { size: trial.size, held: trial.held? });
        self.trials.iter().filter_map(counts).collect()
    }

    /// What is known of the edge, once trials lie on both sides of it: what is believed of sizes that nobody has tried is not told.
    pub(crate) fn enclosed(&self) -> Option<Estimate> {
        let tried = self.tried();
        let any = |held: bool| tried.iter().any(|trial| trial.held == held);
        self.estimate.filter(|_| any(true) && any(false))
    }

    /// The edge in words.
    pub(crate) fn finding(&self, report: &EdgeReport) -> String {
        match self.end {
            Some(End::Beyond) => format!("beyond {}, the largest that was tried", report.words(report.to)),
            Some(End::Before) => format!("before {}, the smallest that was tried", report.words(report.from)),
            Some(End::Found) => self.known(report),
            Some(End::Undecided) => format!("{}, not as close as was asked", self.known(report)),
            None if self.estimate.is_none() => "nothing was tried".to_owned(),
            None => format!("{}, the search did not end", self.known(report)),
        }
    }

    fn known(&self, report: &EdgeReport) -> String {
        if let Some(Estimate { edge, low, high, .. }) = self.enclosed() {
            return format!("{} ({} to {})", report.words(edge), report.words(low), report.words(high));
        }
        let tried = self.tried();
        match tried.iter().filter(|trial| trial.held).map(|trial| trial.size).reduce(f64::max) {
            Some(largest) => format!("beyond {}", report.words(largest)),
            None => {
                let smallest = tried.iter().map(|trial| trial.size).fold(f64::INFINITY, f64::min);
                format!("before {}", report.words(smallest))
            }
        }
    }

    /// The largest size that held, in words.
    pub(crate) fn last_held(&self, report: &EdgeReport) -> String {
        words::or_none(self.estimate.and_then(|estimate| estimate.last_held), |size| report.words(size))
    }

    /// The name that it goes by.
    pub(crate) fn name(&self) -> &str {
        if self.tuning.is_empty() { "as written" } else { &self.tuning }
    }

    /// What broke, the most frequent first, without the figures: the metric of each gate, or the key that bounds the start, and how
    /// often it did not hold.
    pub(crate) fn breaks(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for why in self.trials.iter().filter(|trial| trial.held == Some(false)).flat_map(|trial| &trial.why) {
            let metric = why.split([' ', ':']).next().unwrap_or_default();
            let name = if metric.contains('.') {
                metric.to_owned()
            } else {
                why.lines().next().unwrap_or_default().to_owned()
            };
            *counts.entry(name).or_default() += 1;
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }
}

/// The document.
pub fn edge_json(report: &EdgeReport) -> String {
    let json = serde_json::to_string_pretty(report).expect("numbers and names are JSON");
    format!("{json}\n")
}

/// Writes document and page into the folder of a search, anew when they are there.
///
/// # Errors
/// When they cannot be written.
pub fn write_edge(folder: &Path, report: &EdgeReport) -> Result<(), ReportError> {
    replace(&folder.join(EDGE), &edge_json(report))?;
    replace(&folder.join(EDGE_PAGE), &html::edge_page(report))
}

/// The edges, as plain text with a newline at the end.
pub fn edge_terminal(report: &EdgeReport) -> String {
    let head = ["tuning", "last that held", "edge (95 % interval)", "trials", "what broke"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for search in &report.searches {
        let tried = search.tried();
        let held = tried.iter().filter(|trial| trial.held).count();
        let breaks = search.breaks().into_iter().map(|(metric, count)| format!("{metric} {count}x"));
        rows.push(vec![
            search.name().to_owned(),
            search.last_held(report),
            search.finding(report),
            format!("{} ({held} held)", tried.len()),
            breaks.collect::<Vec<_>>().join(", "),
        ]);
    }
    format!("{}: the largest {} at which all gates hold\n\n{}", report.scenario, report.vary, table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_known_between_a_size_that_held_and_one_that_broke() {
        let question = Question { from: 100.0, to: 8_000.0, within: 0.15, most_trials: 20 };
        let enclosed = |sizes: &[(f64, bool)]| {
            let trial = |(size, held): &(f64, bool)| Trial {
                size: *size,
                held: Some(*held),
                seed: 1,
                outcome: if *held { Verdict::Passed } else { Verdict::Failed },
                why: Vec::new(),
                duration_s: 1.0,
                folder: String::new(),
            };
            let trials = sizes.iter().map(trial).collect();
            let (tuning, options) = (String::new(), BTreeMap::new());
            let search = Search { tuning, options, end: None, estimate: None, trials };
            Search { estimate: question.estimate(&search.tried()), ..search }.enclosed()
        };
        assert_eq!(enclosed(&[]), None);
        assert_eq!(enclosed(&[(100.0, true), (200.0, true)]), None, "what lies beyond was not tried");
        assert_eq!(enclosed(&[(100.0, false)]), None);
        let estimate = enclosed(&[(100.0, true), (400.0, false)]).expect("it lies between the two");
        assert!((100.0..400.0).contains(&estimate.edge), "{estimate:?}");
    }
}
