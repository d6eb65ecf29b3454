//! Folders that a killed run, an older or newer version, or a broken disk leaves behind.

use std::{fs, path::Path};

use proptest::prelude::*;
use recording::{ReadError, Recording};

use crate::{completed, record_sample_run};

const APPEND_ONLY: [&str; 4] = ["operations.jsonl", "events.jsonl", "series.csv", "latency/rpc/Service.save.hlog"];

fn sample_run(scratch: &Path) -> std::path::PathBuf {
    let folder = scratch.join("run");
    record_sample_run(&folder).finish(&completed(2600.0)).unwrap();
    folder
}

#[test]
fn a_file_cut_at_any_byte_still_opens() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = sample_run(scratch.path());
    for file in APPEND_ONLY.into_iter().chain(["outcome.json"]) {
        let whole = fs::read(folder.join(file)).unwrap();
        for length in 0..whole.len() {
            fs::write(folder.join(file), &whole[..length]).unwrap();
            let run = Recording::open(&folder).unwrap_or_else(|error| panic!("{file} cut at {length}: {error}"));
            let clean = length == 0 && file != "outcome.json" || length > 0 && whole[length - 1] == b'\n';
            assert!(clean || !run.torn.is_empty() || run.outcome.is_some(), "{file} cut at {length} is told as torn");
        }
        fs::write(folder.join(file), whole).unwrap();
    }
}

#[test]
fn without_an_outcome_a_run_is_partial_and_opens() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = sample_run(scratch.path());
    fs::remove_file(folder.join("outcome.json")).unwrap();
    assert_eq!(Recording::open(&folder).unwrap().outcome, None);
}

#[test]
fn unknown_fields_are_tolerated() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = sample_run(scratch.path());
    for file in ["manifest.json", "outcome.json", "operations.jsonl", "events.jsonl"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        fs::write(folder.join(file), text.replacen('{', "{\"of_a_later_version\": [1, {}],", 1)).unwrap();
    }
    assert_eq!(Recording::open(&folder).unwrap().operations.len(), 2);
}

#[test]
fn a_bad_line_in_the_middle_is_named() {
    for (file, line, insert) in [
        ("operations.jsonl", 2, "{\"stream\": 5}"),
        ("events.jsonl", 1, "not JSON"),
        ("series.csv", 2, "1,fleet.up,5"),
        ("series.csv", 3, "soon,fleet.up,,5"),
        ("latency/rpc/Service.save.hlog", 5, "0.000,1.000,4.0,HISTnothing"),
        ("latency/rpc/Service.save.hlog", 6, "no line of a log"),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        let folder = sample_run(scratch.path());
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.insert(line - 1, insert);
        fs::write(folder.join(file), lines.join("\n") + "\n").unwrap();
        let error = Recording::open(&folder).unwrap_err().to_string();
        assert!(error.contains(&format!("{file}:{line}: ")), "{file}: {error}");
    }
}

#[test]
fn folders_that_are_no_run_say_so() {
    let scratch = tempfile::tempdir().unwrap();
    assert!(matches!(Recording::open(scratch.path()), Err(ReadError::NotARun(_))));
    let folder = sample_run(scratch.path());
    fs::remove_file(folder.join("events.jsonl")).unwrap();
    let error = Recording::open(&folder).unwrap_err().to_string();
    assert!(error.contains("events.jsonl") && error.contains("missing"), "{error}");
    fs::write(folder.join("manifest.json"), "{\"schema\": 99}").unwrap();
    assert!(matches!(Recording::open(&folder), Err(ReadError::Newer { found: 99, .. })));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        file in prop::sample::select(vec![
            "manifest.json", "outcome.json", "operations.jsonl", "events.jsonl", "series.csv",
            "latency/rpc/Service.save.hlog",
        ]),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        keep in 0_usize..400,
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let folder = sample_run(scratch.path());
        let mut content = fs::read(folder.join(file)).unwrap();
        content.truncate(keep);
        content.extend(bytes);
        content.push(b'\n');
        fs::write(folder.join(file), content).unwrap();
        // Whether it opens depends on the bytes; that it returns is what is asked.
        let _ = Recording::open(&folder);
    }
}
