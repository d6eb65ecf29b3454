//! A scenario with `[edge]`: trials of growing size, each a run of its own, until it is known where gates begin to break.

use std::{fs, path::Path};

use recording::{Manifest, Outcome};
use reports::{EDGE, EdgeReport, End, Next, Search, Summary, Trial, Verdict};
use scenarios::{
    Plan, Source,
    plan::{EdgePlan, Tuning},
};
use serde::de::DeserializeOwned;

use super::{
    super::{conclude, exit},
    Args, Failure, TargetKind, manifest, new_folder, words,
};

/// Trials in a row that prove nothing, after which a search gives up.
const MOST_IN_VAIN: usize = 3;

/// Searches on each tuning. `carry_out` runs a plan into a folder.
pub(super) fn search(
    args: &Args,
    (source, plan): (&Source, &Plan),
    edge: &EdgePlan,
    mut carry_out: impl FnMut(&Plan, &Path) -> Result<Summary, Failure>,
) -> Result<u8, Failure> {
    let tunings: Vec<(String, Option<&Tuning>)> = match edge.tunings.is_empty() {
        true => vec![(String::new(), None)],
        false => edge.tunings.iter().map(|(name, tuning)| (name.clone(), Some(tuning))).collect(),
    };
    let make = |tuning, size, seed| scenarios::trial(source, &args.sets, seed, edge, (tuning, size)).map_err(words);
    // Told before the first trial, and not after an hour.
    for size in [edge.from, edge.to] {
        make(None, size, plan.seed)?;
    }
    let out = args.resume.clone().map_or_else(|| new_folder(args, plan), Ok)?;
    let mut report = report(plan, edge);
    report.searches = tunings.iter().map(|(name, tuning)| new_search(name, *tuning, &plan.release)).collect();
    if args.resume.is_some() {
        let mut earlier = read::<EdgeReport>(&out.join(EDGE))?.searches;
        let question = report.question();
        for (search, (_, tuning)) in report.searches.iter_mut().zip(&tunings) {
            let Some(at) = earlier.iter().position(|earlier| earlier.tuning == search.tuning) else { continue };
            search.trials = earlier.swap_remove(at).trials;
            for trial in &search.trials {
                check(args, trial, &out.join(&trial.folder), make(*tuning, trial.size, trial.seed)?)?;
            }
            search.estimate = question.estimate(&search.tried());
        }
        if let Some(lost) = earlier.iter().find(|search| !search.trials.is_empty()) {
            let tuning = name(lost);
            return Err(format!(
                "the scenario has no tuning {tuning} any more, and {} has trials of it: begin a new search without --resume",
                out.display()
            ));
        }
    }
    fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    let mut status = exit::OK;
    for (index, (_, tuning)) in tunings.into_iter().enumerate() {
        let make = |size, seed| make(tuning, size, seed);
        let of_search = one((&mut report, index), plan.seed, edge, &out, make, &mut carry_out)?;
        status = status.max(of_search);
        if of_search > exit::UNDECIDED {
            break;
        }
    }
    conclude(args.json.then(|| reports::edge_json(&report)), reports::edge_terminal(&report).trim_end());
    if report.searches.iter().any(|search| search.end.is_none()) {
        let (scenario, out) = (&args.scenario, out.display());
        say!(
            "not all searches have ended: `kagemusha run {scenario} --resume {out}`, with the same --target and --set, goes on"
        );
    }
    say!("each trial: {}/…, all together: {}", out.display(), out.join(reports::EDGE_PAGE).display());
    Ok(status)
}

/// A trial of another scenario, or of the same one at another target, on another machine, with another `--calibration` or other
/// overrides, says nothing of this search.
fn check(args: &Args, trial: &Trial, folder: &Path, plan: Plan) -> Result<(), Failure> {
    // Comments in a scenario may change, and a trial is no search.
    let alike = |plan: Plan| Plan { scenario_text: String::new(), edge: None, ..plan };
    let (then, manifest): (Plan, Manifest) = (read(&folder.join("plan.json"))?, read(&folder.join("manifest.json"))?);
    let calibration = manifest.command.iter().skip_while(|word| *word != "--calibration").nth(1);
    let difference = if manifest.target != args.target.name() {
        format!("it ran with --target {}", manifest.target)
    } else if manifest.harness_version != env!("CARGO_PKG_VERSION") {
        format!("version {} of this program ran it", manifest.harness_version)
    } else if calibration.map(Path::new) != args.calibration.as_deref() {
        format!(
            "it ran with {}",
            calibration.map_or_else(|| "no --calibration".to_owned(), |it| format!("--calibration {it}"))
        )
    } else if let Some(there) = elsewhere(args, &manifest) {
        format!("it ran on a machine with {there}")
    } else if alike(then) != alike(plan) {
        "the scenario, or what --set makes of it, is not what it was then".to_owned()
    } else {
        return Ok(());
    };
    let (folder, size) = (folder.display(), trial.size);
    Err(format!("{folder}, the trial of {size}: {difference}; give the same, or begin a new search without --resume"))
}

/// What another machine had on which a live trial ran: what one keeps up says nothing of another.
fn elsewhere(args: &Args, manifest: &Manifest) -> Option<String> {
    let (there, here) = (&manifest.machine, manifest::machine());
    let differs = |fact: &str| there.get(fact) != here.get(fact);
    let moved = args.target == TargetKind::Live && ["cores", "cpu"].into_iter().any(differs);
    let fact = |name: &str| there.get(name).map_or("?", String::as_str);
    moved.then(|| format!("{} cores ({})", fact("cores"), fact("cpu")))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// One search of the report, to its end. Everything is on disk after each trial.
fn one(
    (report, index): (&mut EdgeReport, usize),
    seed: u64,
    edge: &EdgePlan,
    out: &Path,
    make: impl Fn(f64, u64) -> Result<Plan, Failure>,
    carry_out: &mut impl FnMut(&Plan, &Path) -> Result<Summary, Failure>,
) -> Result<u8, Failure> {
    let question = report.question();
    let resumed_after = report.searches[index].trials.len();
    read_machine(report, index, out);
    loop {
        let search = &report.searches[index];
        let size = match question.next(&search.tried()) {
            Next::Try(size) => edge.rounded(size),
            Next::Over(end) => {
                report.searches[index].end = Some(end);
                reports::write_edge(out, report).map_err(words)?;
                return Ok(if end == End::Undecided { exit::UNDECIDED } else { exit::OK });
            }
        };
        let number = search.trials.len();
        // A trial that was killed has left a folder, and no result.
        let mut names = (number + 1..).map(|number| folder(&search.tuning, number, &edge.written(size)));
        let folder = names.find(|name| !out.join(name).exists()).expect("numbers do not end");
        say!("\ntrial {} of {}: {} = {}", number + 1, name(search), edge.vary, edge.written(size));
        let plan = make(size, seed.wrapping_add(number as u64))?;
        let summary = carry_out(&plan, &out.join(&folder))?;
        let outcome: Outcome = read(&out.join(&folder).join("outcome.json"))?;
        let trial = Trial::of(size, &plan, outcome.kind, &summary, folder);
        say!("  {}", verdict(&trial));
        let (interrupted, outcome) = (trial.outcome == Verdict::Partial, trial.outcome);
        let search = &mut report.searches[index];
        search.trials.push(trial);
        search.estimate = question.estimate(&search.tried());
        let new = &search.trials[resumed_after..];
        let in_vain = new.iter().rev().take_while(|trial| trial.held.is_none()).count();
        read_machine(report, index, out);
        reports::write_edge(out, report).map_err(words)?;
        if interrupted || in_vain >= MOST_IN_VAIN {
            return Ok(outcome.exit_status());
        }
    }
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

fn new_search(tuning: &str, options: Option<&Tuning>, release: &str) -> Search {
    let options = options.map(|options| scenarios::options::non_defaults(options, release)).unwrap_or_default();
    let (tuning, options) = (tuning.to_owned(), options.into_iter().collect());
    Search { tuning, options, end: None, estimate: None, trials: Vec::new() }
}

/// Target and machine, as the manifest of the last trial has them.
fn read_machine(report: &mut EdgeReport, index: usize, out: &Path) {
    let last = report.searches[index].trials.last();
    let manifest = last.and_then(|trial| read::<Manifest>(&out.join(&trial.folder).join("manifest.json")).ok());
    if let Some(manifest) = manifest {
        report.target = manifest.target;
        report.machine = manifest.machine;
    }
}
