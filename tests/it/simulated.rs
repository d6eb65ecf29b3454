//! The command in virtual time: what a newcomer runs first.

use std::{fs, io, path::Path, process::Command};

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
    run_into(folder, &["--out", out], args, threads)
}

fn run_into(folder: &Path, into: &[&str], args: &[&str], threads: &str) -> (i32, String, String) {
    fs::write(folder.join("small.toml"), SCENARIO).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kagemusha"))
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", threads)
        .args(["run", "small.toml"])
        .args(into)
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
fn a_run_ends_what_it_began_when_nobody_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), SCENARIO).unwrap();
    let (gone, mut command) = (io::pipe().unwrap().1, Command::new(env!("CARGO_BIN_EXE_kagemusha")));
    let out = gone.try_clone().unwrap();
    command.current_dir(folder.path()).args(["run", "small.toml", "--out", "run"]).stdout(out).stderr(gone);
    assert!(command.status().unwrap().success());
    assert!(folder.path().join("run/report.html").exists());
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

/// Bursts of a hundred: the faster they come, the longer each takes.
const SEARCH: [&str; 16] = [
    "--set",
    "edge.vary=load.boot.rate",
    "--set",
    "edge.from=1",
    "--set",
    "edge.to=256",
    "--set",
    "edge.unit=/s",
    "--set",
    "edge.within=0.5",
    "--set",
    "edge.most_trials=12",
    "--set",
    "load.boot.count=100",
    "--set",
    "load.boot.timeout=20s",
];

#[test]
fn a_search_brackets_the_edge_and_keeps_every_trial() {
    let folder = tempfile::tempdir().unwrap();
    let tunings = ["--set", "edge.tunings.plain={}", "--set", "edge.tunings.more.nova.conductor.workers=8"];
    let (status, stdout, stderr) = run(folder.path(), "run", &[&SEARCH[..], &tunings].concat(), "1");
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

/// As after `kill -9`: the third trial has a folder and no result, and those after it never began.
#[test]
fn a_search_that_was_cut_short_goes_on_with_the_trials_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let search = |into: &[&str], more: &[&str]| {
        let (status, _, stderr) = run_into(folder.path(), into, &[&SEARCH[..], more].concat(), "1");
        (status, stderr)
    };
    let document = || fs::read_to_string(folder.path().join("run/edge.json")).unwrap();
    let (status, stderr) = search(&["--out", "run"], &[]);
    assert!(status <= 1, "{stderr}");
    let whole = document();

    let mut cut: Value = serde_json::from_str(&whole).unwrap();
    let trials = cut["searches"][0]["trials"].as_array_mut().unwrap();
    let lost: Vec<Value> = trials.drain(2..).collect();
    fs::write(folder.path().join("run/edge.json"), cut.to_string()).unwrap();
    for trial in &lost[1..] {
        fs::remove_dir_all(folder.path().join("run").join(trial["folder"].as_str().unwrap())).unwrap();
    }
    let (status, stderr) = search(&["--resume", "run"], &[]);
    assert!(status <= 1, "{stderr}");
    let again: Value = serde_json::from_str(&document()).unwrap();
    let sizes = |report: &Value| -> Vec<(f64, Value)> {
        let trials = report["searches"][0]["trials"].as_array().unwrap();
        trials.iter().map(|trial| (trial["size"].as_f64().unwrap(), trial["held"].clone())).collect()
    };
    assert_eq!(sizes(&again), sizes(&serde_json::from_str(&whole).unwrap()), "it ends as if nothing had happened");

    let (status, stderr) = search(&["--resume", "run"], &["--set", "load.boot.count=101"]);
    assert!(status == 2 && stderr.contains("is not what it was then"), "{stderr}");
    assert_eq!(sizes(&serde_json::from_str(&document()).unwrap()), sizes(&again), "nothing is lost");
}

/// The other count is refused as well, so that no cloud is brought up where the machine is not looked at.
#[test]
fn a_live_search_does_not_go_on_with_trials_of_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let search = |into: &[&str], more: &[&str]| run_into(folder.path(), into, &[&SEARCH[..], more].concat(), "1");
    let (status, _, stderr) = search(&["--out", "run"], &["--set", "edge.most_trials=1"]);
    assert!(status <= 1, "{stderr}");
    let trial = fs::read_dir(folder.path().join("run")).unwrap().map(|entry| entry.unwrap().path());
    let manifest = trial.into_iter().find(|path| path.is_dir()).unwrap().join("manifest.json");
    let mut there: Value = serde_json::from_str(&fs::read_to_string(&manifest).unwrap()).unwrap();
    there["target"] = "live".into();
    there["machine"] = serde_json::json!({"cores": "4096", "cpu": "Deep Thought"});
    fs::write(&manifest, there.to_string()).unwrap();
    let live = ["--target", "live", "--state", "state", "--set", "load.boot.count=101"];
    let (status, _, stderr) = search(&["--resume", "run"], &live);
    assert!(status == 2 && stderr.contains("it ran on a machine with 4096 cores (Deep Thought)"), "{stderr}");
}

/// A search whose turn has not come keeps what it has.
#[test]
fn a_search_that_goes_on_leaves_those_after_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    let tunings = ["--set", "edge.tunings.a={}", "--set", "edge.tunings.b={}"];
    let search = |into: &[&str], more: &[&str]| {
        let (status, _, stderr) = run_into(folder.path(), into, &[&SEARCH[..], &tunings, more].concat(), "1");
        assert!(status <= 1, "{stderr}");
        let text = fs::read_to_string(folder.path().join("run/edge.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let few = search(&["--out", "run"], &["--set", "edge.most_trials=3"]);
    let many = search(&["--resume", "run"], &["--set", "edge.within=0.1"]);
    for (few, many) in few["searches"].as_array().unwrap().iter().zip(many["searches"].as_array().unwrap()) {
        let (few, many) = (few["trials"].as_array().unwrap(), many["trials"].as_array().unwrap());
        assert!(many.len() > few.len() && many.starts_with(few), "{few:#?} {many:#?}");
    }
}

#[test]
fn a_search_reads_its_scenario_from_standard_input() {
    use std::io::Write;
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_kagemusha"))
        .current_dir(folder.path())
        .args(["run", "-", "--out", "run", "--set", "edge.vary=load.boot.rate", "--set", "edge.unit=/s"])
        .args(["--set", "edge.from=1", "--set", "edge.to=2", "--set", "edge.most_trials=1"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(SCENARIO.as_bytes()).unwrap();
    assert!(child.wait().unwrap().code().is_some_and(|status| status <= 1));
    assert!(folder.path().join("run/edge.json").exists());
}
