//! Our engine beside others, on the same pattern of events, in one run.
//!
//! ```text
//! pip install simpy
//! cd benches/engines
//! cargo run --release -- 700 7000 70000
//! ```
//!
//! So many clients send a heartbeat every 10 s, each at a phase of its own, to 16 exponential servers with one line, which are
//! busy 80 % of the time. Each request has a timeout of a minute, which is cancelled when the answer comes, 100 µs after the
//! service; one request in a thousand gets lost. Each engine is a process of its own, in alternation; SimPy carries out a tenth
//! of the requests. What is told is the median of the rounds, and the least and the greatest.

mod heap;
mod nexo;
mod ours;
mod pattern;

use std::{
    env,
    process::{Command, ExitCode},
    time::Instant,
};

use pattern::{Pattern, Tally};
use serde::{Deserialize, Serialize};

const REQUESTS: u64 = 2_000_000;
const SIMPY: &str = "SimPy";
/// How much the mean latency of SimPy, whose random numbers are its own, may differ.
const TOLERANCE: f64 = 0.1;

type Engine = (&'static str, fn(&Pattern) -> Tally);

const ENGINES: [Engine; 5] = [
    ("ours: calendar, alarms and stations", ours::with_stations),
    ("ours: calendar and alarms", ours::with_entries),
    ("a binary heap", heap::run),
    ("nexosim: one model", nexo::with_one_model),
    ("nexosim: a model for each client", nexo::with_models),
];

#[derive(Debug, Serialize, Deserialize)]
struct Outcome {
    tally: Tally,
    elapsed_s: f64,
    peak_kib: u64,
}

fn main() -> ExitCode {
    let given: Vec<String> = env::args().skip(1).collect();
    let (options, sizes): (Vec<&str>, Vec<&str>) =
        given.iter().map(String::as_str).partition(|text| text.contains('='));
    let option = |name: &str| options.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
    let sizes: Option<Vec<u32>> = sizes.iter().map(|size| size.parse().ok()).collect();
    let Some(sizes) = sizes.filter(|sizes| !sizes.is_empty()) else {
        eprintln!("usage: engines [rounds=5] [python=python3] CLIENTS...");
        return ExitCode::from(2);
    };
    // In the process of one engine.
    if let Some(number) = option("engine").and_then(|number| number.parse::<usize>().ok()) {
        let outcome = carry_out(ENGINES[number].1, sizes[0]);
        println!("{}", serde_json::to_string(&outcome).expect("numbers"));
        return ExitCode::SUCCESS;
    }
    let rounds = option("rounds").and_then(|rounds| rounds.parse().ok()).unwrap_or(5);
    let python = option("python").unwrap_or("python3");
    println!("| clients | engine | ns a request | least to greatest | of ours | peak MB |");
    println!("| ---: | --- | ---: | ---: | ---: | ---: |");
    for clients in sizes {
        if let Err(error) = compare(clients, rounds, python) {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn carry_out(engine: fn(&Pattern) -> Tally, clients: u32) -> Outcome {
    let pattern = Pattern::new(clients, REQUESTS);
    let begun = Instant::now();
    let tally = engine(&pattern);
    let elapsed_s = begun.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
    Outcome { tally, elapsed_s, peak_kib: peak.unwrap_or(0) }
}

/// Runs every engine so many times, in alternation, checks that they agree, and prints a row for each.
fn compare(clients: u32, rounds: usize, python: &str) -> Result<(), String> {
    let mut outcomes: Vec<Vec<Outcome>> = (0..=ENGINES.len()).map(|_| Vec::new()).collect();
    for round in 1..=rounds {
        for (number, outcomes) in outcomes.iter_mut().enumerate() {
            outcomes.push(in_a_process(number, clients, python)?);
        }
        eprintln!("{clients} clients: round {round} of {rounds}");
    }
    let expected = outcomes[0][0].tally;
    let ours_ns = median(&costs_ns(&outcomes[0], REQUESTS));
    for (number, outcomes) in outcomes.iter().enumerate() {
        let (name, requests) = ENGINES.get(number).map_or((SIMPY, REQUESTS / 10), |(name, _)| (*name, REQUESTS));
        for Outcome { tally, .. } in outcomes {
            let off = tally.mean_latency_ms() / expected.mean_latency_ms() - 1.0;
            if (name == SIMPY && off.abs() > TOLERANCE) || (name != SIMPY && *tally != expected) {
                return Err(format!("{name} comes to {tally:?}, ours to {expected:?}"));
            }
        }
        let costs_ns = costs_ns(outcomes, requests);
        let (least, greatest) = (costs_ns[0], costs_ns[costs_ns.len() - 1]);
        let peak_mb = outcomes.iter().map(|outcome| outcome.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
        let cost_ns = median(&costs_ns);
        let ratio = cost_ns / ours_ns;
        println!("| {clients} | {name} | {cost_ns:.0} | {least:.0} to {greatest:.0} | {ratio:.1} | {peak_mb:.0} |");
    }
    let Tally { answers, timeouts, .. } = expected;
    eprintln!("  {answers} answers after {:.1} ms on average, {timeouts} timeouts", expected.mean_latency_ms());
    Ok(())
}

fn in_a_process(number: usize, clients: u32, python: &str) -> Result<Outcome, String> {
    let mut command = if number < ENGINES.len() {
        let mut command = Command::new(env::current_exe().map_err(|error| error.to_string())?);
        command.arg(format!("engine={number}")).arg(clients.to_string());
        command
    } else {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/simpy_pattern.py");
        let mut command = Command::new(python);
        command.arg(script).arg(clients.to_string()).arg((REQUESTS / 10).to_string());
        command
    };
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{command:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// In ascending order.
fn costs_ns(outcomes: &[Outcome], requests: u64) -> Vec<f64> {
    let mut costs: Vec<f64> = outcomes.iter().map(|outcome| outcome.elapsed_s * 1e9 / requests as f64).collect();
    costs.sort_by(f64::total_cmp);
    costs
}

fn median(ascending: &[f64]) -> f64 {
    ascending[ascending.len() / 2]
}
