//! The command in virtual time: what a newcomer runs first.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

const SCENARIO: &str = "\
name = \"small\"
description = \"A small cloud in virtual time\"
[fleet]
hypervisors = 20
[[load]]
operation = \"boot\"
arrivals = \"poisson\"
rate = \"1/s\"
count = 20
[[gates]]
metric = \"operations.boot.succeeded\"
equals = \"all\"
";

fn run(folder: &Path, out: &str, args: &[&str], threads: &str) -> (i32, String, String) {
    fs::write(folder.join("small.toml"), SCENARIO).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kagemusha"))
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", threads)
        .args(["run", "small.toml", "--out", out])
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_run_ends_with_its_verdict_and_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let (status, stdout, stderr) = run(folder.path(), "run", &[], "1");
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stderr.starts_with("seed 1\n"), "{stderr}");
    assert!(stdout.contains("PASSED") && stdout.contains("20 of 20 boot operations succeeded"), "{stdout}");
    assert!(fs::read_to_string(folder.path().join("run/report.html")).unwrap().contains("virtual time"));
}

#[test]
fn a_gate_that_fails_is_exit_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let (status, stdout, _) = run(folder.path(), "run", &["--set", "load.boot.timeout=1ms"], "1");
    assert_eq!(status, 1, "{stdout}");
    assert!(stdout.contains("not ended within 0.001 s") || stdout.contains("FAILED"), "{stdout}");
}

#[test]
fn replications_are_the_same_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    for (out, threads) in [("one", "1"), ("four", "4")] {
        let (status, stdout, stderr) = run(folder.path(), out, &["--replications", "4", "--seed", "7"], threads);
        assert_eq!(status, 0, "{stdout}{stderr}");
        assert!(stdout.contains("4 of 4 replications passed") && stdout.contains("± (95 %)"), "{stdout}");
    }
    let read = |path: &str| fs::read(folder.path().join(path)).unwrap();
    assert_eq!(read("one/replications.json"), read("four/replications.json"));
    for number in 1..=4 {
        for file in ["manifest.json", "plan.json", "operations.jsonl", "series.csv", "summary.json", "report.html"] {
            let path = format!("replication-{number:02}/{file}");
            assert!(read(&format!("one/{path}")) == read(&format!("four/{path}")), "{path} differs");
        }
    }
    let all: Value = serde_json::from_slice(&read("one/replications.json")).unwrap();
    assert_eq!(all["seeds"], serde_json::json!([7, 8, 9, 10]));
}

#[test]
fn an_option_that_the_model_does_not_have_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let set = "tuning.nova.scheduler.discover_hosts_in_cells_interval=30";
    let (_, _, stderr) = run(folder.path(), "run", &["--set", set], "1");
    assert!(stderr.contains("not modelled") && stderr.contains("discover_hosts_in_cells_interval = 30"), "{stderr}");
    let manifest = fs::read_to_string(folder.path().join("run/manifest.json")).unwrap();
    assert!(manifest.contains("not_modelled"), "{manifest}");
}

#[test]
fn a_calibration_that_is_none_is_told_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), "source = 1\n").unwrap();
    let (status, _, stderr) = run(folder.path(), "run", &["--calibration", "c.toml"], "1");
    assert_eq!(status, 2);
    assert!(stderr.contains("c.toml") && stderr.contains("source"), "{stderr}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn a_search_brackets_the_edge_and_keeps_every_trial() {
    let folder = tempfile::tempdir().unwrap();
    let sets = ["vary=load.boot.rate", "from=1", "to=256", "unit=/s", "within=0.5", "most_trials=12"];
    let mut args: Vec<String> = sets.iter().flat_map(|set| ["--set".to_owned(), format!("edge.{set}")]).collect();
    // Bursts of a hundred: the faster they come, the longer each takes.
    args.extend(["--set", "load.boot.count=100", "--set", "load.boot.timeout=20s"].map(str::to_owned));
    args.extend(
        ["--set", "edge.tunings.plain={}", "--set", "edge.tunings.more.nova.conductor.workers=8"].map(str::to_owned),
    );
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (status, stdout, stderr) = run(folder.path(), "run", &args, "1");
    assert!(status <= 1, "{stdout}{stderr}");
    assert!(stdout.contains("the largest load.boot.rate at which all gates hold"), "{stdout}");
    let read = |file: &str| fs::read_to_string(folder.path().join("run").join(file)).unwrap();
    let report: Value = serde_json::from_str(&read("edge.json")).unwrap();
    assert_eq!(report["searches"].as_array().unwrap().len(), 2, "{report:#}");
    for search in report["searches"].as_array().unwrap() {
        let (trials, estimate) = (search["trials"].as_array().unwrap(), &search["estimate"]);
        let broke = trials.iter().any(|trial| trial["held"] == false);
        assert!(trials.len() >= 3 && trials[0]["held"] == true && broke, "{search:#}");
        let [low, edge, high] = ["low", "edge", "high"].map(|end| estimate[end].as_f64().unwrap());
        assert!(1.0 < low && low <= edge && edge <= high && high < 256.0, "{estimate:#}");
        for trial in trials {
            let folder = trial["folder"].as_str().unwrap();
            assert!(read(&format!("{folder}/report.html")).contains("virtual time"), "{folder}");
            assert!(read("edge.html").contains(folder), "{folder} is not linked");
        }
    }
}
