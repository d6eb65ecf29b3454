//! What is written is what is read.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use proptest::prelude::*;
use recording::{Event, OperationRecord, Recorder, Recording, RpcResult, Sample, millis};

use crate::{completed, manifest, record_sample_run, seconds};

#[test]
fn a_sample_run_reads_back() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    record_sample_run(&folder).finish(&completed(2600.0)).unwrap();
    let run = Recording::open(&folder).unwrap();
    assert_eq!(run.manifest, manifest());
    assert_eq!(run.outcome, Some(completed(2600.0)));
    assert_eq!((run.operations.len(), run.events.len()), (2, 1));
    assert_eq!(run.series.points("broker.queue_depth", "odd, \"name\" 100%\n"), [(1000.5, 0.125)]);
    assert_eq!(run.series.points("rpc.count", "Service.save"), [(2600.0, 2.0)]);
    assert_eq!(run.series.points("rpc.timed_out", "Service.save"), [(2600.0, 1.0)]);
    // The latency of a boot counts from its intended start; the failed one is kept apart.
    assert_eq!(run.stream("operations/boot").unwrap().histogram().max(), 800_255);
    assert_eq!(run.stream("failed/boot").unwrap().count(), 1);
    assert_eq!(run.stream("harness/operations").unwrap().histogram().max(), 250);
    let saves = &run.stream("rpc/Service.save").unwrap().intervals;
    assert_eq!(saves.iter().map(|interval| interval.start).collect::<Vec<_>>(), [seconds(0.0), seconds(2.0)]);
    assert_eq!((saves[0].length, saves[1].length), (seconds(1.0), seconds(0.6)));
    assert!(run.torn.is_empty());
}

#[test]
fn what_was_recorded_before_the_last_second_is_on_disk_while_the_run_goes_on() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let recorder = record_sample_run(&folder);
    recorder.tick(seconds(3.0));
    // The recorder still lives, as it would in a harness that is about to be killed.
    let run = Recording::open(&folder).unwrap();
    assert_eq!(run.outcome, None);
    assert_eq!(run.operations.len(), 2);
    assert_eq!(run.stream("rpc/Service.save").unwrap().count(), 2);
}

#[test]
fn a_recorder_that_is_dropped_keeps_what_it_has() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    drop(record_sample_run(&folder));
    let run = Recording::open(&folder).unwrap();
    assert_eq!((run.outcome, run.operations.len()), (None, 2));
    assert_eq!(run.series.points("rpc.count", "Service.save").last(), Some(&(2500.0, 2.0)));
}

#[test]
fn threads_share_one_recorder() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let recorder = Recorder::create(&folder, &manifest(), "{}").unwrap();
    let failed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (recorder, failed) = (recorder.clone(), &failed);
            scope.spawn(move || {
                for call in 0..1000 {
                    recorder.rpc("ping", Duration::from_millis(call * 5), Duration::from_micros(thread), RpcResult::Ok);
                }
                failed.fetch_or(recorder.take_error().is_some(), Ordering::Relaxed);
            });
        }
    });
    recorder.finish(&completed(5000.0)).unwrap();
    assert!(!failed.load(Ordering::Relaxed));
    assert_eq!(Recording::open(&folder).unwrap().stream("rpc/ping").unwrap().count(), 4000);
}

fn time_ms() -> impl Strategy<Value = f64> {
    (0_u64..100_000_000).prop_map(|us| millis(Duration::from_micros(us)))
}

prop_compose! {
    fn operation()(
        stream in "[a-z/ ]{1,8}", index in any::<u64>(), intended_ms in time_ms(), started_ms in time_ms(),
        ended_ms in any::<f64>().prop_filter("finite", |t| t.is_finite() && *t < 1e12),
        error in proptest::option::of(".*"), host in proptest::option::of(".*"),
        phases_ms in proptest::collection::vec((".{1,5}", time_ms()), 0..3),
    ) -> OperationRecord {
        OperationRecord { stream, index, intended_ms, started_ms, ended_ms, error, server: None, host, phases_ms }
    }
}

prop_compose! {
    fn sample()(
        t_ms in time_ms(), metric in ".{0,6}", instance in ".{0,6}",
        value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
    ) -> Sample {
        Sample { t_ms, metric, instance, value }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_record_survives(
        operations in proptest::collection::vec(operation(), 0..8),
        samples in proptest::collection::vec(sample(), 0..8),
        events in proptest::collection::vec((time_ms(), ".{0,9}", ".*"), 0..4),
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("run");
        let recorder = Recorder::create(&folder, &manifest(), "{}").unwrap();
        let events: Vec<_> = events.into_iter().map(|(t_ms, kind, detail)| Event { t_ms, kind, detail }).collect();
        operations.iter().for_each(|operation| recorder.operation(operation));
        samples.iter().for_each(|sample| recorder.sample(sample));
        events.iter().for_each(|event| recorder.event(event));
        recorder.finish(&completed(1.0)).unwrap();

        let run = Recording::open(&folder).unwrap();
        let mut series: BTreeMap<String, BTreeMap<String, Vec<(f64, f64)>>> = BTreeMap::new();
        for Sample { t_ms, metric, instance, value } in samples {
            series.entry(metric).or_default().entry(instance).or_default().push((t_ms, value));
        }
        prop_assert_eq!(run.series.0, series);
        let latencies = run.latency.iter().filter(|(name, _)| !name.contains('@') && !name.starts_with("harness"));
        prop_assert_eq!(latencies.map(|(_, stream)| stream.count()).sum::<u64>(), operations.len() as u64);
        prop_assert_eq!(run.operations, operations);
        prop_assert_eq!(run.events, events);
    }
}
