//! The page of made-up runs: whole, self-contained, safe, the same each time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::fixture::{self, Kind};

const KINDS: [(Kind, &str); 6] = [
    (Kind::Passed, "passed"),
    (Kind::Failed, "failed"),
    (Kind::Invalid, "invalid"),
    (Kind::Killed, "killed"),
    (Kind::Empty, "empty"),
    (Kind::Error, "error"),
];

fn page_of(kind: Kind) -> String {
    let scratch = tempfile::tempdir().unwrap();
    page_in(&scratch.path().join("run"), kind)
}

fn page_in(folder: &Path, kind: Kind) -> String {
    fixture::make(folder, kind);
    reports::write(folder).unwrap();
    fs::read_to_string(folder.join(reports::REPORT)).unwrap()
}

#[test]
fn every_end_has_a_page_that_stands_alone() {
    let scratch = tempfile::tempdir().unwrap();
    // KEEP_REPORTS=DIR cargo test -p reports: leaves the folders there, to be looked at in a browser.
    let root = std::env::var_os("KEEP_REPORTS").map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    for (kind, name) in KINDS {
        let page = page_in(&root.join(name), kind);
        for outside in ["http://", "https://", "<script", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{name}: {outside}");
        }
        assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
        assert!(page.len() < 600_000, "{name}: {} bytes", page.len());
        for number in ["NaN", "inf\"", "inf ", "null"] {
            assert!(!page.contains(number), "{name}: {number}");
        }
        for (open, close) in [
            ("<figure", "</figure>"),
            ("<svg", "</svg>"),
            ("<table", "</table>"),
            ("<g ", "</g>"),
            ("<section", "</section>"),
        ] {
            assert_eq!(page.matches(open).count(), page.matches(close).count(), "{name}: {open}");
        }
    }
}

#[test]
fn the_same_folder_gives_the_same_page() {
    assert_eq!(page_of(Kind::Passed), page_of(Kind::Passed));
}

#[test]
fn what_services_say_is_never_markup() {
    let page = page_of(Kind::Error);
    assert!(page.contains("&lt;by another&gt;") && !page.contains("<by another>"));
    assert!(page_of(Kind::Failed).contains("&lt;BUILD&gt;"));
}

#[test]
fn a_page_without_data_says_why() {
    let page = page_of(Kind::Empty);
    for why in
        ["No operation that succeeded", "Nobody looked at Nova&#39;s records of its services", "No process was watched"]
    {
        assert!(page.contains(why), "{why}");
    }
}

#[test]
fn options_are_ready_to_paste() {
    let page = page_of(Kind::Passed);
    assert!(
        page.contains("[DEFAULT]\nreport_interval = 60\nservice_down_time = 300\n\n[database]\nmax_pool_size = 50\n")
    );
    assert!(page.contains("kagemusha run quickstart --set fleet.hypervisors=200 --seed 4242"));
}
