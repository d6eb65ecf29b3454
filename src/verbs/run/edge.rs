//! A scenario with `[edge]`: trials of growing size, each a run of its own, until it is known where gates begin to break.

use std::{
    fs,
    path::{Path, PathBuf},
};

use recording::Manifest;
use reports::{EdgeReport, End, Next, Search, Summary, Trial, Verdict};
use scenarios::{
    Plan,
    plan::{EdgePlan, Tuning},
};

use super::{
    super::{
        exit,
        scenarios::{load, print},
    },
    Args, Failure, new_folder, words,
};

/// Trials in a row that prove nothing, after which a search gives up.
const MOST_IN_VAIN: usize = 3;

/// Searches on each tuning. `carry_out` runs a plan into a folder.
pub(super) fn search(
    args: &Args,
    plan: &Plan,
    edge: &EdgePlan,
    mut carry_out: impl FnMut(&Plan, &Path) -> Result<Summary, Failure>,
) -> Result<u8, Failure> {
    let source = load(&args.scenario)?;
    let tunings: Vec<(String, Option<&Tuning>)> = match edge.tunings.is_empty() {
        true => vec![(String::new(), None)],
        false => edge.tunings.iter().map(|(name, tuning)| (name.clone(), Some(tuning))).collect(),
    };
    // Told before the first trial, and not after an hour.
    for size in [edge.from, edge.to] {
        scenarios::trial(&source, &args.sets, plan.seed, edge, (None, size)).map_err(words)?;
    }
    let out = new_folder(args, plan)?;
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut report = report(plan, edge);
    let mut status = exit::OK;
    for (name, tuning) in tunings {
        report.searches.push(new_search(name, tuning, &plan.release));
        let make = |size, seed| scenarios::trial(&source, &args.sets, seed, edge, (tuning, size)).map_err(words);
        let of_search = one(&mut report, plan.seed, edge, &out, make, &mut carry_out)?;
        status = status.max(of_search);
        if of_search > exit::UNDECIDED {
            break;
        }
    }
    if args.json {
        print(&reports::edge_json(&report).trim_end());
    } else {
        print(&reports::edge_terminal(&report).trim_end());
    }
    eprintln!("each trial: {}/…, all together: {}", out.display(), out.join(reports::EDGE_PAGE).display());
    Ok(status)
}

/// The last search of the report, to its end. Everything is on disk after each trial.
fn one(
    report: &mut EdgeReport,
    seed: u64,
    edge: &EdgePlan,
    out: &Path,
    make: impl Fn(f64, u64) -> Result<Plan, Failure>,
    carry_out: &mut impl FnMut(&Plan, &Path) -> Result<Summary, Failure>,
) -> Result<u8, Failure> {
    let question = report.question();
    loop {
        let search = report.searches.last().expect("it was just pushed");
        let size = match question.next(&search.tried()) {
            Next::Try(size) => edge.rounded(size),
            Next::Over(end) => {
                last(report).end = Some(end);
                reports::write_edge(out, report).map_err(words)?;
                return Ok(if end == End::Undecided { exit::UNDECIDED } else { exit::OK });
            }
        };
        let number = search.trials.len();
        let folder = folder(&search.tuning, number + 1, &edge.written(size));
        eprintln!("\ntrial {} of {}: {} = {}", number + 1, name(search), edge.vary, edge.written(size));
        let plan = make(size, seed.wrapping_add(number as u64))?;
        let summary = carry_out(&plan, &out.join(&folder))?;
        read_machine(report, &out.join(&folder));
        let trial = Trial::of(size, &summary, folder);
        eprintln!("  {}", verdict(&trial));
        let interrupted = trial.outcome == Verdict::Partial;
        let search = last(report);
        search.trials.push(trial);
        search.estimate = Some(question.estimate(&search.tried()));
        let in_vain = search.trials.iter().rev().take_while(|trial| trial.held.is_none()).count();
        let outcome = search.trials.last().map_or(Verdict::Error, |trial| trial.outcome);
        reports::write_edge(out, report).map_err(words)?;
        if interrupted || in_vain >= MOST_IN_VAIN {
            return Ok(outcome.exit_status());
        }
    }
}

fn last(report: &mut EdgeReport) -> &mut Search {
    report.searches.last_mut().expect("a search goes on")
}

fn name(search: &Search) -> &str {
    if search.tuning.is_empty() { "the search" } else { &search.tuning }
}

fn verdict(trial: &Trial) -> String {
    match trial.why.as_slice() {
        [] => trial.word().to_owned(),
        why => format!("{}: {}", trial.word(), why.join("; ")),
    }
}

/// `talk-03-1500`; characters of a unit that mean something in a path are left out.
fn folder(tuning: &str, number: usize, size: &str) -> String {
    let size: String = size.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let tuning = if tuning.is_empty() { "trial" } else { tuning };
    format!("{tuning}-{number:02}-{size}")
}

fn report(plan: &Plan, edge: &EdgePlan) -> EdgeReport {
    EdgeReport {
        scenario: plan.scenario.clone(),
        description: plan.description.clone(),
        target: String::new(),
        release: plan.release.clone(),
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        machine: std::collections::BTreeMap::new(),
        vary: edge.vary.clone(),
        unit: edge.unit.clone(),
        // As they are tried: what was settled at an end of the range is known by its size.
        from: edge.rounded(edge.from),
        to: edge.rounded(edge.to),
        within: edge.within,
        most_trials: edge.most_trials,
        searches: Vec::new(),
    }
}

fn new_search(tuning: String, options: Option<&Tuning>, release: &str) -> Search {
    let options = options.map(|options| scenarios::options::non_defaults(options, release)).unwrap_or_default();
    Search { tuning, options: options.into_iter().collect(), end: None, estimate: None, trials: Vec::new() }
}

/// Target and machine, as the manifest of a trial has them.
fn read_machine(report: &mut EdgeReport, folder: &Path) {
    let path: PathBuf = folder.join("manifest.json");
    let manifest = fs::read_to_string(path).ok().and_then(|text| serde_json::from_str::<Manifest>(&text).ok());
    if let Some(manifest) = manifest {
        report.target = manifest.target;
        report.machine = manifest.machine;
    }
}
