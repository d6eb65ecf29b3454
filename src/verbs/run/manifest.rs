//! What a run folder says about where and how it was made.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use control_plane::live::Target;
use recording::{CalibrationFacts, Manifest};
use scenarios::{Plan, show_time};
use sim::Calibration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

/// `runs/SCENARIO-TIME`, in UTC.
pub(super) fn default_folder(scenario: &str) -> PathBuf {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = OffsetDateTime::now_utc().format(&format).expect("the format has nothing that a time could lack");
    PathBuf::from("runs").join(format!("{scenario}-{now}"))
}

pub(super) fn live(plan: &Plan, target: &Target) -> Manifest {
    let own = target.own.as_ref();
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: "live".to_owned(),
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

/// Of a run in virtual time: nothing that differs between two runs of the same plan, so no machine, no time and no command.
pub(super) fn sim(plan: &Plan, calibration: &Calibration) -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: "sim".to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        command: Vec::new(),
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

/// The machines of a modelled cloud.
fn deployment(plan: &Plan) -> BTreeMap<String, String> {
    let of = &plan.deployment;
    let on_controller = "on controller-1".to_owned();
    let machines = |count: u32, cores: u32| format!("{count} with {cores} cores each");
    let facts = [
        ("controllers", machines(of.controllers, of.controller_cores)),
        ("brokers", if of.brokers == 0 { on_controller.clone() } else { machines(of.brokers, of.broker_cores) }),
        ("database", if of.database_cores == 0 { on_controller } else { machines(1, of.database_cores) }),
        ("link", show_time(of.link)),
    ];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Facts of this machine, as far as the kernel tells them.
fn machine() -> BTreeMap<String, String> {
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
