//! What the scenarios' READMEs say comes out does.

use std::{fs, process::Command};

use serde_json::Value;

/// What stands between these in a README are paths into the summary of seed 1, and the figures that its text gives for them.
const BEGIN: &str = "<!-- checked:";
const END: &str = "-->";

#[test]
fn the_figures_of_the_readmes_are_those_of_seed_1() {
    let mut checked = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).unwrap() {
        let readme = entry.unwrap().path().join("README.md");
        let Ok(text) = fs::read_to_string(&readme) else { continue };
        let Some((before, rest)) = text.split_once(BEGIN) else { continue };
        let (figures, after) = rest.split_once(END).expect("the comment ends");
        let name = readme.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let summary = summary(name);
        for figure in figures.split(';') {
            let (path, figure) = figure.trim().split_once(' ').expect("a path and a figure");
            let is = at(&summary, path).as_u64().unwrap_or_else(|| panic!("{name}: {path} is no count"));
            assert_eq!(figure.replace(',', ""), is.to_string(), "{name}: {path}");
            assert!(before.contains(figure) || after.contains(figure), "{name}: the text does not say {figure}");
            checked += 1;
        }
    }
    assert!(checked > 8, "{checked} figures");
}

fn summary(scenario: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_kagemusha"))
        .args(["run", scenario, "--seed", "1", "--json", "--out"])
        .arg(folder.path().join("run"))
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// `operations.boot.succeeded`: entries of lists by their name.
fn at<'a>(summary: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(summary, |here, key| match here.as_array() {
        Some(entries) => entries.iter().find(|entry| entry["name"] == key).expect("it is there"),
        None => &here[key],
    })
}
