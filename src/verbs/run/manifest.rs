//! What a run folder says about where and how it was made.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use control_plane::live::Target;
use recording::{CalibrationFacts, Manifest};
use scenarios::{Plan, show_time};
use sim::Calibration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use super::{Args, TargetKind};

/// `runs/SCENARIO-TIME`, in UTC, with a number behind it when there is one already: runs in virtual time take less than a second.
pub(super) fn default_folder(scenario: &str) -> PathBuf {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc().format(&format).expect("the format has nothing that a time could lack");
    let named = |name: String| PathBuf::from("runs").join(name);
    let first = named(format!("{scenario}-{now}"));
    let others = (2..).map(|number| named(format!("{scenario}-{now}-{number}")));
    std::iter::once(first).chain(others).find(|folder| !folder.exists()).expect("numbers do not run out")
}

pub(super) fn live(plan: &Plan, target: &Target) -> Manifest {
    let own = target.own.as_ref();
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: TargetKind::Live.name().to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        command: env::args().collect(),
        started_at: OffsetDateTime::now_utc().format(&Rfc3339).expect("the year has four digits"),
        machine: machine(),
        packages: own.map(|cloud| cloud.packages.clone()).unwrap_or_default(),
        tuning: scenarios::options::non_defaults(&plan.tuning, &plan.release),
        deviations: own.map(|cloud| cloud.deviations_from_defaults.clone()).unwrap_or_default(),
        not_modelled: BTreeMap::new(),
        calibration: None,
    }
}

/// Of a run in virtual time: nothing that differs between two runs of the same plan, so no machine, no time, and a command without
/// what only says where the results go.
pub(super) fn sim(args: &Args, plan: &Plan, calibration: &Calibration) -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: TargetKind::Sim.name().to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        command: command(args, plan),
        started_at: String::new(),
        machine: deployment(plan),
        packages: BTreeMap::new(),
        tuning: scenarios::options::non_defaults(&plan.tuning, &plan.release),
        deviations: BTreeMap::new(),
        not_modelled: sim::not_modelled(plan),
        calibration: Some(CalibrationFacts {
            source: calibration.source.clone(),
            date: calibration.date.clone(),
            machine: calibration.machine.clone(),
        }),
    }
}

/// What repeats this run, or this replication.
fn command(args: &Args, plan: &Plan) -> Vec<String> {
    let mut words = ["kagemusha", "run", &args.scenario].map(str::to_owned).to_vec();
    for set in &args.sets {
        words.extend(["--set".to_owned(), set.clone()]);
    }
    if let Some(calibration) = &args.calibration {
        words.extend(["--calibration".to_owned(), calibration.display().to_string()]);
    }
    words.extend(["--seed".to_owned(), plan.seed.to_string()]);
    words
}

/// The machines of a modelled cloud.
fn deployment(plan: &Plan) -> BTreeMap<String, String> {
    let of = &plan.deployment;
    let on_controller = "on controller-1".to_owned();
    let cores_of = |cores: u32| if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let machines = |count: u32, cores: u32| match count {
        1 => format!("1 with {}", cores_of(cores)),
        several => format!("{several} with {} each", cores_of(cores)),
    };
    let facts = [
        ("controllers", machines(of.controllers, of.controller_cores)),
        ("brokers", if of.brokers == 0 { on_controller.clone() } else { machines(of.brokers, of.broker_cores) }),
        ("database", if of.database_cores == 0 { on_controller } else { machines(1, of.database_cores) }),
        ("link", show_time(of.link)),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Facts of this machine, as far as the kernel tells them.
pub(super) fn machine() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().ok().map(|cores| cores.to_string());
    let memory = line_of("/proc/meminfo", "MemTotal").and_then(|text| bytes_of(&text)).map(|bytes| bytes.to_string());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|text| text.trim().to_owned());
    let facts = [
        ("cores", cores),
        ("memory_bytes", memory),
        ("kernel", kernel),
        ("cpu", line_of("/proc/cpuinfo", "model name")),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// What stands after the colon in the first line of this name.
fn line_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// `24586688 kB`
fn bytes_of(text: &str) -> Option<u64> {
    text.strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(bytes_of("2 kB"), Some(2048));
        assert_eq!(bytes_of("2"), None);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let facts = machine();
        assert!(facts["cores"].parse::<u32>().unwrap() >= 1);
        assert!(facts["memory_bytes"].parse::<u64>().unwrap() > 1 << 20);
    }
}
