//! The simulator from outside.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod behaviour;
mod extremes;
mod measured;
mod replay;
mod truths;

use std::path::Path;

use recording::{Manifest, Recorder};
use scenarios::{Plan, Source};
use sim::{Calibration, Report};

/// The plan of a scenario's text.
fn plan(text: &str, sets: &[&str], seed: u64) -> Plan {
    let source = Source { name: "test.toml".to_owned(), text: text.to_owned() };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    scenarios::resolve(&source, &sets, Some(seed)).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Runs a plan without a recording.
fn run(plan: &Plan) -> Report {
    sim::run(plan, &Calibration::shipped(&plan.release).unwrap(), None, &mut |_| true)
}

/// Runs a plan and records it into a folder.
fn record(plan: &Plan, folder: &Path) -> Report {
    let manifest = Manifest { schema: Manifest::SCHEMA, seed: plan.seed, ..Manifest::default() };
    let recorder = Recorder::create(folder, &manifest, &serde_json::to_string(plan).unwrap()).unwrap();
    let calibration = Calibration::shipped(&plan.release).unwrap();
    let report = sim::run(plan, &calibration, Some(recorder.clone()), &mut |_| true);
    recorder.finish(&report.outcome).unwrap();
    report
}
