//! `[edge]`: the search for the largest size that holds.

use std::collections::BTreeMap;

use crate::{
    document::{Table, Value},
    plan::{EdgePlan, Plan, Tuning},
    problem::{Complaint, Desk, Errors, Source},
    read::{Number, Section, Written, expected},
    resolve::{allocated, known_options, resolve},
    tuning,
};

/// `[edge]` as it was written.
#[derive(Debug)]
pub(crate) struct Edge {
    vary: Option<Written<String>>,
    from: Option<Written<Number>>,
    to: Option<Written<Number>>,
    unit: Option<Written<String>>,
    within: Option<Written<Number>>,
    most_trials: Option<Written<u32>>,
    tunings: BTreeMap<String, Vec<tuning::Entry>>,
}

/// A tenth: what a search is exact to unless it says otherwise.
const DEFAULT_WITHIN: f64 = 0.1;
const DEFAULT_MOST_TRIALS: u32 = 24;
/// A search that is still undecided after this many trials will stay so.
const MOST_TRIALS: u32 = 1_000;

pub(crate) fn read(mut section: Section<'_>, desk: &mut Desk<'_>) -> Edge {
    let edge = Edge {
        vary: section.require(desk, "vary", "the key that grows, as --set takes it: \"fleet.hypervisors\""),
        from: section.require(desk, "from", "the size to begin with, which should hold"),
        to: section.require(desk, "to", "the largest size to try"),
        unit: section.get(desk, "unit"),
        within: section.get(desk, "within"),
        most_trials: section.get(desk, "most_trials"),
        tunings: section.section(desk, "tunings").map(|tunings| read_tunings(&tunings, desk)).unwrap_or_default(),
    };
    section.finish(desk);
    edge
}

fn read_tunings(section: &Section<'_>, desk: &mut Desk<'_>) -> BTreeMap<String, Vec<tuning::Entry>> {
    let mut tunings = BTreeMap::new();
    for (name, entry) in section.table() {
        let path = section.key(name);
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b)) {
            let complaint = Complaint::new(format!("`{name}` is no name of a tuning"), "use a-z, 0-9, - and _");
            desk.complain(&entry.key, &path, complaint);
        }
        match &entry.node.value {
            Value::Table(table) => {
                tunings.insert(name.clone(), read_tuning(path, table, entry.node.place.clone(), desk));
            }
            other => {
                let help = format!("write it as a section: [{path}.nova]");
                desk.complain(&entry.node.place, &path, Complaint::new(expected("a table", other), help));
            }
        }
    }
    tunings
}

fn read_tuning(path: String, table: &Table, place: crate::problem::Place, desk: &mut Desk<'_>) -> Vec<tuning::Entry> {
    tuning::read(Section::new(path, table, place), desk)
}

/// The plan of the search.
pub(crate) fn plan(edge: &Edge, release: &str, desk: &mut Desk<'_>) -> EdgePlan {
    let number = |written: &Option<Written<Number>>, default: f64| written.as_ref().map_or(default, |w| w.value.0);
    let (from, to) = (number(&edge.from, 1.0), number(&edge.to, 2.0));
    for written in [&edge.from, &edge.to].into_iter().flatten().filter(|written| written.value.0 <= 0.0) {
        written.complain(desk, "a size is more than nothing", "give a number above zero");
    }
    if let Some(written) = edge.to.as_ref().filter(|_| to <= from) {
        written.complain(desk, format!("the search ends at {to}, where it begins or before"), "give more than `from`");
    }
    let within = number(&edge.within, DEFAULT_WITHIN);
    if let Some(written) = edge.within.as_ref().filter(|_| !(0.01..=1.0).contains(&within)) {
        written.complain(
            desk,
            format!("{within} cannot be"),
            "give 0.01 (one part in a hundred) to 1.0 (twice as much)",
        );
    }
    let most_trials = edge.most_trials.as_ref().map_or(DEFAULT_MOST_TRIALS, |written| written.value);
    if let Some(written) = edge.most_trials.as_ref().filter(|_| !(1..=MOST_TRIALS).contains(&most_trials)) {
        written.complain(desk, format!("{most_trials} cannot be"), format!("give 1 to {MOST_TRIALS}"));
    }
    let text = |written: &Option<Written<String>>| written.as_ref().map(|w| w.value.clone()).unwrap_or_default();
    let tunings = edge.tunings.iter().map(|(name, entries)| (name.clone(), known_options(entries, release, desk)));
    EdgePlan {
        vary: text(&edge.vary),
        from,
        to,
        unit: text(&edge.unit),
        within,
        most_trials,
        tunings: tunings.collect(),
    }
}

impl EdgePlan {
    /// A size as it is written behind the key: whole where there is no unit, else to three digits.
    pub fn written(&self, size: f64) -> String {
        format!("{}{}", self.rounded(size), self.unit)
    }

    /// The nearest size that can be tried.
    pub fn rounded(&self, size: f64) -> f64 {
        if self.unit.is_empty() {
            return size.round().max(1.0);
        }
        // Three digits, and of the numbers that have them the one that is written shortest.
        format!("{size:.2e}").parse().unwrap_or(size)
    }
}

/// The plan of one trial: that of the scenario, with this size, and on one of the tunings of its search.
///
/// # Errors
/// What is wrong with the scenario at this size; the size stands among the overrides.
pub fn trial(
    source: &Source,
    sets: &[String],
    seed: u64,
    edge: &EdgePlan,
    (tuning, size): (Option<&Tuning>, f64),
) -> Result<Plan, Errors> {
    let size = format!("{}={}", edge.vary, edge.written(size));
    let sets: Vec<String> = sets.iter().cloned().chain([size]).collect();
    let mut plan = resolve(source, &sets, Some(seed))?;
    for (service, options) in tuning.into_iter().flatten() {
        plan.tuning.entry(service.clone()).or_default().extend(options.clone());
    }
    plan.fleet.resources = allocated(plan.fleet.resources.clone(), &plan.release, &plan.tuning);
    plan.edge = None;
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(unit: &str) -> EdgePlan {
        let (vary, unit) = ("load.boot.rate".to_owned(), unit.to_owned());
        EdgePlan { vary, from: 0.1, to: 8.0, unit, within: 0.1, most_trials: 9, tunings: BTreeMap::new() }
    }

    #[test]
    fn sizes_are_whole_or_have_three_digits() {
        assert_eq!(
            [0.30000000000000004, 1.2345, 99.96].map(|size| edge("/s").written(size)),
            ["0.3/s", "1.23/s", "100/s"]
        );
        assert_eq!([0.2, 1.5, 923.7].map(|size| edge("").written(size)), ["1", "2", "924"]);
    }
}
