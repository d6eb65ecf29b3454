//! The scenarios that ship.

use scenarios::{library, options, plan::Plan};

#[test]
fn every_shipped_scenario_resolves_under_the_name_of_its_folder() {
    for shipped in library::all() {
        let plan = scenarios::resolve(&shipped.source(), &[], None).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.scenario, shipped.name);
        assert_eq!(plan.scenario_text, shipped.text);
        assert!(!plan.gates.is_empty(), "{} asks for nothing", shipped.name);
        assert!(shipped.readme.contains("**The question:**"), "{} does not say what it answers", shipped.name);
        assert!(shipped.readme.contains(&format!("kagemusha run {}", shipped.name)));
    }
}

#[test]
fn the_overrides_that_readmes_name_work() {
    for shipped in library::all() {
        let commands = shipped.readme.lines().filter(|line| line.starts_with("kagemusha run"));
        let inline = shipped.readme.split('`').filter(|text| text.starts_with("--set"));
        for command in commands.chain(inline) {
            let sets: Vec<String> = command.split("--set ").skip(1).map(|set| set.trim().to_owned()).collect();
            scenarios::resolve(&shipped.source(), &sets, None).unwrap_or_else(|errors| panic!("{command}\n{errors}"));
        }
    }
}

#[test]
fn every_option_that_ships_is_in_the_catalogue() {
    for shipped in library::all() {
        let plan = scenarios::resolve(&shipped.source(), &[], None).unwrap();
        options::check(&plan.tuning, &plan.release).unwrap();
        for (service, options) in &plan.tuning {
            for option in options.keys() {
                assert!(options::find(&plan.release, service, option).is_some(), "{service}: {option}");
            }
        }
    }
}

/// What `kagemusha check quickstart` prints; `UPDATE_GOLDEN=1` writes it anew.
#[test]
#[allow(clippy::disallowed_methods, reason = "the crate is pure, its test keeps a file")]
fn a_plan_is_shown_for_people() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/quickstart.plan");
    let plan = scenarios::resolve(&library::find("quickstart").unwrap().source(), &[], Some(7)).unwrap();
    let shown = scenarios::describe(&plan);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(golden, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(golden).unwrap_or_default());
}

#[test]
fn plans_survive_being_written_to_disk() {
    for shipped in library::all() {
        let plan = scenarios::resolve(&shipped.source(), &[], Some(u64::MAX)).unwrap();
        let read: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(read, plan);
    }
}
