//! Golden files: each `bad/NAME.toml` with the messages it gets, `bad/NAME.expected`. Lines that begin with `#! --set `
//! are overrides. After a change of the messages: `UPDATE_GOLDEN=1 cargo test -p scenarios`, and read the difference.
#![allow(clippy::disallowed_methods, reason = "the crate is pure, its test finds its inputs itself")]

use std::{env, fs, path::Path};

use proptest::prelude::*;
use scenarios::Source;

#[test]
fn every_mistake_is_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/bad");
    let mut inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    inputs.sort();
    assert!(!inputs.is_empty(), "no inputs in {}", folder.display());
    for input in inputs {
        let text = fs::read_to_string(&input).unwrap();
        let sets: Vec<String> =
            text.lines().filter_map(|line| line.strip_prefix("#! --set ")).map(str::to_owned).collect();
        let name = input.file_name().unwrap().to_str().unwrap().to_owned();
        let errors = scenarios::resolve(&Source { name: name.clone(), text }, &sets, None);
        let found = errors.expect_err(&name).to_string() + "\n";
        let golden = input.with_extension("expected");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "messages of {name}");
    }
}

#[test]
fn errors_have_a_form_for_programs() {
    let errors = super::resolve("name = 'x'\ndescription = 'x'\n[fleet]\nhypervisors = -1\n", &[]).unwrap_err();
    let json = serde_json::to_value(&errors).unwrap();
    assert_eq!(
        (&json[0]["line"], &json[0]["column"], &json[0]["key"]),
        (&4.into(), &15.into(), &"fleet.hypervisors".into())
    );
}

const PIECES: [&str; 16] = [
    "\"",
    "[",
    "]",
    "=",
    "\n",
    ".",
    "-1",
    "nan",
    "1e308",
    "\"1s\"",
    "{",
    "}",
    "é",
    "[[load]]\n",
    "999999999999999999",
    "\"all\"",
];

proptest! {
    /// Whatever is written, the answer is a plan or errors, never a panic.
    #[test]
    fn no_text_breaks_the_reader(cuts in prop::collection::vec((0.0f64..1.0, 0usize..8, 0usize..PIECES.len()), 1..6)) {
        let mut text = scenarios::library::find("quickstart").unwrap().text.to_owned();
        for (at, length, piece) in cuts {
            let mut start = (at * text.len() as f64) as usize;
            let mut end = (start + length).min(text.len());
            while !text.is_char_boundary(start) { start -= 1; }
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(start..end, PIECES[piece]);
        }
        match super::resolve(&text, &[]) {
            Ok(plan) => prop_assert!(!scenarios::describe(&plan).is_empty()),
            Err(errors) => prop_assert!(!errors.problems().is_empty() && !errors.to_string().is_empty()),
        }
    }

    #[test]
    fn no_override_breaks_the_reader(key in "(fleet|load|gates|tuning)(\\.(boot|hypervisors|connections|rate|nova|count|times|max|x)){0,3}", value in "\\PC{0,12}") {
        let set = format!("{key}={value}");
        let outcome = super::resolve(scenarios::library::find("quickstart").unwrap().text, &[&set]);
        if let Err(errors) = outcome {
            prop_assert!(errors.to_string().contains("error"));
        }
    }
}
