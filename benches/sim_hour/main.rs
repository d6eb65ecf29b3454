//! How fast the simulator is: one simulated hour of a scenario's fleet, by the number of hypervisors.
//!
//! ```text
//! cargo run --release --example sim_hour -- scenarios/yahoo-2014/scenario.toml 7000
//! cargo run --release --example sim_hour -- benches/sim_hour/growth.toml 700 7000 70000
//! ```
//!
//! On one core. The recording is written as in any run, unless `--no-recording` is given. Overrides of the scenario (KEY=VALUE)
//! hold for all sizes.

use std::{env, process::ExitCode, time::Instant};

use recording::{Manifest, Recorder};
use scenarios::{Plan, Source};
use sim::Calibration;

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    let Some((path, rest)) = given.split_first() else {
        eprintln!("usage: sim_hour SCENARIO.toml [--no-recording] [KEY=VALUE]... HYPERVISORS...");
        return ExitCode::from(2);
    };
    let (options, rest): (Vec<String>, Vec<String>) = rest.iter().cloned().partition(|text| text.starts_with("--"));
    let (sets, sizes): (Vec<String>, Vec<String>) = rest.into_iter().partition(|text| text.contains('='));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("error: {path}: {error}");
            return ExitCode::from(2);
        }
    };
    for size in sizes {
        let mut sets = sets.clone();
        sets.push(format!("fleet.hypervisors={size}"));
        let source = Source { name: path.clone(), text: text.clone() };
        match scenarios::resolve(&source, &sets, Some(1)) {
            Ok(plan) => measure(&plan, options.is_empty()),
            Err(errors) => {
                eprintln!("{errors}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(plan: &Plan, with_recording: bool) {
    let calibration = Calibration::shipped(&plan.release).expect("one ships for each release");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recorder = with_recording.then(|| {
        Recorder::create(&folder.path().join("run"), &manifest(plan), "{}").expect("a recording in a temporary folder")
    });
    let begun = Instant::now();
    let report = sim::run(plan, &calibration, recorder.clone(), &mut |_| true);
    if let Some(recorder) = recorder {
        recorder.finish(&report.outcome).expect("the recording is written");
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{:6} hypervisors, {:5.0} s simulated: {seconds:6.2} s, {:6.1} million events ({:5.2} million/s), {:5.2} million requests \
         ({:4.0} ns each), peak {} MB: {:?} {}",
        plan.fleet.hypervisors,
        report.outcome.duration_ms / 1e3,
        report.events as f64 / 1e6,
        report.events as f64 / 1e6 / seconds,
        report.requests as f64 / 1e6,
        seconds * 1e9 / report.requests as f64,
        peak_mb(),
        report.outcome.kind,
        report.outcome.reason.unwrap_or_default(),
    );
}

/// Peak of the resident memory so far.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib / 1024)
}

fn manifest(plan: &Plan) -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: "sim".to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        ..Manifest::default()
    }
}
