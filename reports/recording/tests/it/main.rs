//! Tests of the run folder from outside: what is written, and what can be read back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod damage;
mod format;
mod round_trip;

use std::{collections::BTreeMap, path::Path, time::Duration};

use recording::{Event, Manifest, OperationRecord, Outcome, OutcomeKind, Recorder, RpcResult, Sample};

fn manifest() -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: "0.1.0".into(),
        scenario: "quickstart".into(),
        target: "live".into(),
        release: "2026.2".into(),
        seed: 7,
        command: ["kagemusha", "run", "quickstart", "--seed", "7"].map(String::from).into(),
        started_at: "2026-11-23T07:25:26Z".into(),
        machine: BTreeMap::from([("cores".into(), "2".into())]),
        packages: BTreeMap::from([("nova".into(), "34.0.0".into())]),
        tuning: BTreeMap::from([("nova: DEFAULT.report_interval".into(), "60".into())]),
        deviations: BTreeMap::from([("mariadb: max_connections = 8000".into(), "151 are not enough".into())]),
        ..Manifest::default()
    }
}

fn seconds(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

fn boot(index: u64, intended_ms: f64, ended_ms: f64, error: Option<&str>) -> OperationRecord {
    OperationRecord {
        stream: "boot".into(),
        index,
        intended_ms,
        started_ms: intended_ms + 0.25,
        ended_ms,
        error: error.map(String::from),
        server: Some("0b5f7f0e".into()),
        host: error.is_none().then(|| "hv-00001".into()),
        phases_ms: vec![("api".into(), 120.5), ("scheduler".into(), 300.0)],
    }
}

/// A short run with something of everything.
fn record_sample_run(folder: &Path) -> Recorder {
    let recorder = Recorder::create(folder, &manifest(), "{\"scenario\": \"quickstart\"}\n").unwrap();
    recorder.event(&Event { t_ms: 0.0, kind: "phase".into(), detail: "load".into() });
    recorder.rpc("Service.save", seconds(0.5), seconds(0.004), RpcResult::Ok);
    recorder.operation(&boot(0, 100.0, 900.125, None));
    recorder.sample(&Sample { t_ms: 1000.0, metric: "fleet.up".into(), instance: String::new(), value: 200.0 });
    recorder.sample(&Sample {
        t_ms: 1000.5,
        metric: "broker.queue_depth".into(),
        instance: "odd, \"name\" 100%\n".into(),
        value: 0.125,
    });
    recorder.rpc("Service.save", seconds(2.25), seconds(60.0), RpcResult::TimedOut);
    recorder.operation(&boot(1, 200.0, 2500.0, Some("No valid host was found.")));
    recorder
}

fn completed(duration_ms: f64) -> Outcome {
    Outcome { kind: OutcomeKind::Completed, reason: None, duration_ms }
}
