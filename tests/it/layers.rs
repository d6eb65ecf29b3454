//! Which crate may use which. Cargo refuses a cycle; it does not refuse a wrong edge.

use std::{collections::BTreeMap, fs, path::Path};

/// Crate, its manifest, and what of the workspace it may use.
const ALLOWED: &[(&str, &str, &[&str])] = &[
    ("hypervisor", "fake-hv/hypervisor", &[]),
    ("recording", "reports/recording", &[]),
    ("scenarios", "scenarios", &["hypervisor"]),
    ("sim", "sim", &["scenarios", "hypervisor", "recording"]),
    ("fake-hv", "fake-hv", &["scenarios", "hypervisor", "recording"]),
    ("reports", "reports", &["recording", "scenarios"]),
    ("control-plane", "control-plane", &["fake-hv", "hypervisor", "scenarios", "recording"]),
    ("conformance", "control-plane/conformance", &["control-plane", "fake-hv", "hypervisor", "scenarios", "recording"]),
];

/// Crates that may not bring in a runtime, for they do no input or output by themselves.
const WITHOUT_RUNTIME: &[&str] = &["hypervisor", "recording", "scenarios", "sim", "reports"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Names under `[dependencies]` of a manifest.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("each crate has a manifest");
    let section = manifest.split("\n[").find_map(|section| section.strip_prefix("dependencies]")).unwrap_or_default();
    let name = |line: &str| line.split(['.', '=', ' ']).next().unwrap_or_default().trim().to_owned();
    section.lines().map(name).filter(|name| !name.is_empty() && !name.starts_with('#')).collect()
}

#[test]
fn crates_use_only_lower_layers() {
    let names: Vec<&str> = ALLOWED.iter().map(|(name, ..)| *name).collect();
    let mut wrong = BTreeMap::new();
    for (name, folder, allowed) in ALLOWED {
        for dependency in dependencies(folder) {
            let inside = names.contains(&dependency.as_str());
            if inside && !allowed.contains(&dependency.as_str()) {
                wrong.insert(*name, dependency);
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the layers do not allow: {wrong:?}");
}

#[test]
fn pure_crates_have_no_runtime() {
    for (name, folder, _) in ALLOWED.iter().filter(|(name, ..)| WITHOUT_RUNTIME.contains(name)) {
        let found = dependencies(folder);
        for runtime in ["tokio", "reqwest", "amqprs"] {
            assert!(!found.iter().any(|dependency| dependency == runtime), "{name} uses {runtime}");
        }
    }
}

/// What comes from outside the inputs, or differs between machines, and what to use instead.
const AMBIENT: &[(&str, &str)] = &[
    ("Instant::now", "the time of the input, or of the world"),
    ("SystemTime", "the time of the input, or of the world"),
    ("rand::rng", "scenarios::seed::generator"),
    ("thread_rng", "scenarios::seed::generator"),
    ("from_os_rng", "scenarios::seed::generator"),
    ("OsRng", "scenarios::seed::generator"),
    ("new_v4", "UUIDs made of numbers"),
    ("HashMap", "BTreeMap"),
    ("HashSet", "BTreeSet"),
    ("available_parallelism", "the plan's deployment"),
    (".ln()", "libm"),
    (".exp()", "libm"),
    (".powf(", "libm"),
];

/// The same plan gives the same bytes: clippy's lists say so of calls, this says it of the text, whatever clippy resolves.
#[test]
fn virtual_time_has_no_clock_and_no_chance_of_its_own() {
    for folder in ["sim/src", "fake-hv/hypervisor/src", "scenarios/src"] {
        let mut pending = vec![root().join(folder)];
        while let Some(here) = pending.pop() {
            for entry in fs::read_dir(&here).expect("a folder of the checkout").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let text = fs::read_to_string(&path).expect("a source file");
                for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
                {
                    for (ambient, instead) in AMBIENT {
                        let place = format!("{}:{}", path.display(), number + 1);
                        assert!(!line.contains(ambient), "{place}: {ambient}; use {instead}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_member_of_the_workspace_has_its_layer() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let members = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    for member in members.split(',').map(|member| member.trim().trim_matches('"')).filter(|member| !member.is_empty()) {
        assert!(ALLOWED.iter().any(|(_, folder, _)| *folder == member), "{member} is not in the table of layers");
    }
}
