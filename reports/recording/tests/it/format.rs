//! The formats, byte for byte: other tools and later versions read these files.

use std::fs;

use recording::{Recorder, Recording};

use crate::{completed, manifest, record_sample_run};

#[test]
fn the_files_of_a_run_are_these_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    record_sample_run(&folder).finish(&completed(2600.0)).unwrap();
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden");
    for (file, kept) in [
        ("manifest.json", "manifest.json"),
        ("outcome.json", "outcome.json"),
        ("operations.jsonl", "operations.jsonl"),
        ("events.jsonl", "events.jsonl"),
        ("series.csv", "series.csv"),
        ("latency/operations/boot@scheduler.hlog", "boot@scheduler.hlog"),
        ("latency/rpc/Service.save.hlog", "Service.save.hlog"),
    ] {
        let written = fs::read_to_string(folder.join(file)).unwrap();
        // KEEP_GOLDEN=1 cargo test -p recording: writes the files anew, for a change of format that is meant.
        if std::env::var_os("KEEP_GOLDEN").is_some() {
            fs::write(golden.join(kept), &written).unwrap();
        }
        assert_eq!(written, fs::read_to_string(golden.join(kept)).unwrap(), "{file}");
    }
    assert_eq!(fs::read_to_string(folder.join("plan.json")).unwrap(), "{\"scenario\": \"quickstart\"}\n");
}

#[test]
fn the_same_calls_give_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let folder = scratch.path().join(name);
        record_sample_run(&folder).finish(&completed(2600.0)).unwrap();
        let recording = Recording::open(&folder).unwrap();
        let mut files: Vec<Vec<u8>> = recording
            .latency
            .keys()
            .map(|stream| fs::read(folder.join(format!("latency/{stream}.hlog"))).unwrap())
            .collect();
        files.push(fs::read(folder.join("series.csv")).unwrap());
        files
    });
    assert_eq!(one, two);
}

#[test]
fn a_run_is_never_written_over_another() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    drop(record_sample_run(&folder));
    let before = fs::read(folder.join("operations.jsonl")).unwrap();
    let error = Recorder::create(&folder, &manifest(), "{}").unwrap_err();
    assert!(error.to_string().contains("exists already"), "{error}");
    assert_eq!(fs::read(folder.join("operations.jsonl")).unwrap(), before);
}

#[test]
fn an_error_ends_the_recording_and_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("run");
    let recorder = Recorder::create(&folder, &manifest(), "{}").unwrap();
    assert!(recorder.take_error().is_none());
    fs::remove_dir_all(folder.join("latency")).unwrap();
    fs::write(folder.join("latency"), "in the way").unwrap();
    for second in 0..3 {
        recorder.latency("rpc/ping", crate::seconds(f64::from(second)), crate::seconds(0.1));
    }
    let told = recorder.take_error().expect("the first error is told");
    assert!(told.to_string().contains("latency/rpc"), "{told}");
    assert!(recorder.take_error().is_none(), "once");
    assert!(recorder.finish(&completed(1.0)).is_err(), "finish never claims success");
    assert!(!folder.join("outcome.json").exists(), "the run stays partial");
}

#[test]
fn a_value_that_is_no_number_is_an_error_that_names_its_metric() {
    let scratch = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(&scratch.path().join("run"), &manifest(), "{}").unwrap();
    let (metric, instance) = ("process.cpu_s".into(), "nova-api".into());
    recorder.sample(&recording::Sample { t_ms: 1.0, metric, instance, value: f64::NAN });
    assert!(recorder.take_error().expect("an error").to_string().contains("process.cpu_s nova-api"));
}
