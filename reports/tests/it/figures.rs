//! The figures of made-up runs.

use std::fs;

use recording::{Outcome, OutcomeKind, Recording};
use reports::{REPORT, SUMMARY, Summary, Verdict, analyse, terminal};

use crate::fixture::{self, Kind};

fn summary_of(kind: Kind) -> Summary {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    fixture::make(&folder, kind);
    let written = reports::write(&folder).unwrap();
    let read: Summary = serde_json::from_str(&fs::read_to_string(folder.join(SUMMARY)).unwrap()).unwrap();
    assert_eq!(read, written, "summary.json says what write returns");
    assert!(folder.join(REPORT).exists());
    written
}

#[test]
fn each_end_has_its_verdict_and_exit_status() {
    for (kind, outcome, status) in [
        (Kind::Passed, Verdict::Passed, 0),
        (Kind::Failed, Verdict::Failed, 1),
        (Kind::Invalid, Verdict::Invalid, 3),
        (Kind::Killed, Verdict::Partial, 2),
        (Kind::Empty, Verdict::Partial, 2),
        (Kind::Error, Verdict::Error, 2),
    ] {
        let summary = summary_of(kind);
        assert_eq!(
            (summary.outcome, summary.outcome.exit_status()),
            (outcome, status),
            "{kind:?}: {:?}",
            summary.reason
        );
        assert_eq!(summary.reason.is_none(), outcome == Verdict::Passed, "every other verdict has a reason");
    }
}

#[test]
fn an_error_is_an_error_even_when_the_harness_was_late() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    fixture::make(&folder, Kind::Invalid);
    let mut recording = Recording::open(&folder).unwrap();
    for (kind, verdict) in [(OutcomeKind::Error, Verdict::Error), (OutcomeKind::Interrupted, Verdict::Partial)] {
        recording.outcome = Some(Outcome { kind, reason: Some("because".into()), duration_ms: 190e3 });
        let summary = analyse(&recording).unwrap().summary;
        assert_eq!((summary.outcome, summary.reason.as_deref()), (verdict, Some("because")));
    }
}

#[test]
fn the_figures_of_a_good_run() {
    let summary = summary_of(Kind::Passed);
    let hypervisors = &summary.hypervisors;
    assert_eq!((hypervisors.requested, hypervisors.registered), (200, Some(200)));
    assert_eq!((hypervisors.up_min, hypervisors.up_end, hypervisors.false_down), (Some(200), Some(200), Some(0)));
    let names: Vec<&str> = summary.operations.iter().map(|operation| operation.name.as_str()).collect();
    assert_eq!(names, ["boot", "delete"]);
    let boot = &summary.operations[0];
    assert_eq!((boot.intended, boot.started, boot.succeeded, boot.failed), (100, 100, 100, 0));
    assert!(boot.p50_ms < boot.p95_ms && boot.p95_ms < boot.p99_ms && boot.p99_ms <= boot.max_ms);
    let save = summary.rpc.iter().find(|rpc| rpc.call == "Service.save").unwrap();
    assert_eq!((save.count, save.failed, save.timed_out, save.timed_out_load), (190 * 5, 0, 0, Some(0)));
    assert!(summary.processes.iter().all(|process| process.cpu_s > 0.0 && process.rss_peak_bytes.is_some()));
    assert!(summary.harness.late_ms_p99.unwrap() < 100.0);
    assert_eq!(summary.gates.len(), 5);
}

#[test]
fn growth_is_from_the_first_tenth_of_the_load_to_the_last() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    fixture::make(&folder, Kind::Passed);
    let mut recording = Recording::open(&folder).unwrap();
    let (from, to) = analyse(&recording).unwrap().window_ms.unwrap();
    let at = |share: f64, value: f64| (from + share * (to - from), value);
    let mut series = |metric: &str, points: Vec<(f64, f64)>| {
        recording.series.0.insert(metric.to_owned(), [(String::new(), points)].into_iter().collect());
    };
    // What was before the load and in the middle of it does not count.
    let memory = vec![(from - 1.0, 900.0), at(0.01, 90.0), at(0.09, 110.0), at(0.5, 900.0), at(0.95, 103.0)];
    series("harness.rss_bytes", memory);
    series("broker.queues", vec![at(0.05, 0.0), at(0.95, 7.0)]);
    series("broker.channels", vec![at(0.5, 7.0)]);
    let growth = analyse(&recording).unwrap().summary.growth;
    let of = |name: &str| growth.iter().find(|growth| growth.name == name).map(|growth| growth.percent);
    assert!((of("harness.rss_bytes").unwrap().unwrap() - 3.0).abs() < 1e-9);
    assert_eq!(of("broker.queues"), Some(None), "of nothing nothing is a share");
    assert_eq!(of("broker.channels"), None, "it was not watched at both ends");

    recording.events.retain(|event| event.detail != "load");
    assert!(analyse(&recording).unwrap().summary.growth.is_empty(), "without a load nothing grew under it");
}

#[test]
fn percentiles_agree_with_the_records() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    fixture::make(&folder, Kind::Passed);
    let recording = Recording::open(&folder).unwrap();
    let boots = recording.operations.iter().filter(|operation| operation.stream == "boot");
    let mut latencies: Vec<f64> = boots.map(|operation| operation.ended_ms - operation.intended_ms).collect();
    latencies.sort_by(f64::total_cmp);
    let boot = &analyse(&recording).unwrap().summary.operations[0];
    for (figure, rank) in [(boot.p50_ms, 50), (boot.p95_ms, 95), (boot.p99_ms, 99), (boot.max_ms, 100)] {
        let exact = latencies[rank - 1];
        let figure = figure.unwrap();
        assert!((figure / exact - 1.0).abs() < 0.001, "{figure} for {exact}");
    }
}

#[test]
fn a_killed_run_counts_what_it_intended_and_what_it_saw() {
    let summary = summary_of(Kind::Killed);
    let boot = &summary.operations[0];
    assert_eq!(boot.intended, 100, "the plan's number, not that of the records");
    assert!((10..100).contains(&boot.succeeded));
    assert!((71.0..73.0).contains(&summary.duration_s), "{}", summary.duration_s);
    assert_eq!(summary.hypervisors.up_min, Some(200));
}

#[test]
fn a_failed_run_says_which_gates_and_why() {
    let summary = summary_of(Kind::Failed);
    assert!(summary.hypervisors.up_min < Some(200) && summary.hypervisors.false_down > Some(0));
    let save = summary.rpc.iter().find(|rpc| rpc.call == "Service.save").unwrap();
    assert!(save.timed_out > 1);
    assert_eq!(save.timed_out_load, Some(save.timed_out - 1), "one timed out before the load");
    let reason = summary.reason.unwrap();
    assert!(reason.contains("operations.boot.p99_ms was") && reason.contains("at most 15.0 s was asked"), "{reason}");
}

#[test]
fn a_gate_on_what_was_not_recorded_fails_with_its_reason() {
    let summary = summary_of(Kind::Error);
    let gate = summary.gates.iter().find(|gate| gate.metric == "hypervisors.false_down").unwrap();
    assert!(!gate.passed && gate.value.is_none());
    assert!(gate.reason.as_deref().unwrap().contains("no value"));
}

#[test]
fn the_terminal_says_it_plainly() {
    let passed = terminal(&summary_of(Kind::Passed));
    assert!(passed.starts_with("PASSED  quickstart on 2026.2 (live), seed 4242"), "{passed}");
    assert!(passed.contains("5 gates held") && !passed.contains("Why"));
    let killed = terminal(&summary_of(Kind::Killed));
    assert!(killed.starts_with("PARTIAL") && killed.contains("did not end by itself"), "{killed}");
    let failed = terminal(&summary_of(Kind::Failed));
    assert!(failed.contains("operations.boot.p99_ms") && failed.contains("FAILED"), "{failed}");
    assert!(terminal(&summary_of(Kind::Error)).contains("port 33061 is in use"));
}

#[test]
fn a_plan_that_cannot_be_read_is_an_error_that_names_the_file() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    fixture::make(&folder, Kind::Empty);
    fs::write(folder.join("plan.json"), "{\"scenario\": 5}").unwrap();
    let error = reports::write(&folder).unwrap_err().to_string();
    assert!(error.contains("plan.json") && error.contains("line 1"), "{error}");
}
