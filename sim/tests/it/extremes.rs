//! Inputs at the edge of sense: an error that names the key, or a right answer.

use recording::OutcomeKind;
use scenarios::Source;
use sim::Calibration;

use super::{plan, run};

const SCENARIO: &str = r#"
name = "extreme"
description = "A scenario to stretch"
drain = "10s"
[fleet]
hypervisors = 20
register_within = "5m"
[[load]]
operation = "list"
arrivals = "constant"
rate = "1/s"
duration = "30s"
timeout = "20s"
"#;

/// The error of the scenario with these overrides.
fn refused(sets: &[&str]) -> String {
    let source = Source { name: "extreme.toml".to_owned(), text: SCENARIO.to_owned() };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match scenarios::resolve(&source, &sets, None) {
        Ok(_) => panic!("{sets:?} was accepted"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn no_hypervisors_is_a_cloud_without_hosts() {
    let report = run(&plan(SCENARIO, &["fleet.hypervisors=0"], 1));
    assert_eq!((report.outcome.kind, report.requests), (OutcomeKind::Completed, 0));
}

#[test]
fn a_million_hypervisors_are_refused_by_name() {
    assert!(refused(&["fleet.hypervisors=1000000"]).contains("fleet.hypervisors"));
    assert!(refused(&["fleet.servers=100000000"]).contains("fleet.servers"));
}

#[test]
fn negative_and_absurd_numbers_are_refused_by_name() {
    for (set, key) in [
        ("fleet.hypervisors=-1", "fleet.hypervisors"),
        ("deployment.controllers=0", "deployment.controllers"),
        ("deployment.controller_cores=0", "deployment.controller_cores"),
        ("deployment.controller_cores=100000000", "deployment.controller_cores"),
        ("deployment.link=-1s", "deployment.link"),
        ("deployment.link=1h", "deployment.link"),
        ("load.list.duration=0s", "load.list"),
        ("load.list.rate=-1/s", "load.list.rate"),
        ("tuning.nova.DEFAULT.report_interval=0", "DEFAULT.report_interval"),
        ("tuning.nova.DEFAULT.report_interval=-5", "DEFAULT.report_interval"),
        ("tuning.neutron.DEFAULT.send_events_interval=0", "send_events_interval"),
    ] {
        let error = refused(&[set]);
        assert!(error.contains(key), "{set}: {error}");
    }
}

#[test]
fn a_pool_of_nothing_has_no_bound() {
    // So SQLAlchemy has it: `self._max_overflow = -1 if pool_size == 0 else max_overflow`.
    let sets = ["tuning.nova.database.max_pool_size=0", "tuning.nova.database.max_overflow=0"];
    assert_eq!(run(&plan(SCENARIO, &sets, 1)).outcome.kind, OutcomeKind::Completed);
}

#[test]
fn a_database_that_takes_one_connection_is_told_as_the_reason() {
    let report = run(&plan(SCENARIO, &["deployment.database_connections=1", "fleet.register_within=60s"], 1));
    assert_eq!(report.outcome.kind, OutcomeKind::Overwhelmed);
    let reason = report.outcome.reason.unwrap();
    assert!(reason.contains("too many connections") && reason.contains("fleet.register_within"), "{reason}");
}

#[test]
fn more_processes_than_the_model_numbers_are_refused_by_name() {
    let sets = ["deployment.controllers=100", "deployment.controller_cores=1024"];
    let objection = sim::objection(&plan(SCENARIO, &sets, 1)).expect("204,800 workers");
    assert!(objection.contains("deployment.controllers") && objection.contains("workers"), "{objection}");
    let objection = sim::objection(&plan(SCENARIO, &["tuning.nova.scheduler.workers=1000000"], 1)).unwrap();
    assert!(objection.contains("tuning.nova.scheduler.workers"), "{objection}");
    assert_eq!(sim::objection(&plan(SCENARIO, &[], 1)), None);
}

#[test]
fn what_a_service_does_not_start_with_is_refused_by_name() {
    let set = "tuning.nova.DEFAULT.executor_thread_pool_size=0";
    assert!(sim::objection(&plan(SCENARIO, &[set], 1)).unwrap().contains("executor_thread_pool_size"));
}

#[test]
fn an_incident_that_never_happens_is_refused() {
    let scenario = |at| format!("{SCENARIO}[[incidents]]\nkind = 'broker_restart'\nat = '{at}'\nlasts = '5s'\n");
    assert!(sim::objection(&plan(&scenario("5h"), &[], 1)).unwrap().contains("incidents.at"));
    assert_eq!(sim::objection(&plan(&scenario("20s"), &[], 1)), None);
}

#[test]
fn a_service_that_takes_another_value_is_told() {
    let told = sim::corrections(&plan(SCENARIO, &["tuning.nova.DEFAULT.service_down_time=5"], 1));
    assert!(told.len() == 1 && told[0].contains("takes 25 instead"), "{told:?}");
    assert!(sim::corrections(&plan(SCENARIO, &[], 1)).is_empty());
}

/// More jobs than there are fractions of a nanosecond to share: each event has to bring the simulation on.
#[test]
fn thousands_that_start_at_once_on_few_cores_end() {
    let sets =
        ["fleet.hypervisors=9000", "fleet.start=at_once", "fleet.register_within=2s", "deployment.controller_cores=8"];
    let report = run(&plan(SCENARIO, &sets, 1));
    assert_eq!(report.outcome.kind, OutcomeKind::Overwhelmed, "nine thousand do not start in two seconds");
    assert!(report.events < 5_000_000, "{} events", report.events);
}

#[test]
fn intervals_of_zero_end() {
    let sets = [
        "tuning.nova.DEFAULT.update_resources_interval=0",
        "tuning.nova.DEFAULT.sync_power_state_interval=0",
        "tuning.nova.DEFAULT.periodic_fuzzy_delay=0",
        "tuning.nova.DEFAULT.rpc_response_timeout=1",
        "tuning.neutron.agent.report_interval=1",
        "tuning.nova.conductor.workers=0",
        "deployment.link=0s",
    ];
    assert_eq!(run(&plan(SCENARIO, &sets, 1)).outcome.kind, OutcomeKind::Completed);
}

/// A calibration in which nothing takes any time.
fn free_of_charge() -> Calibration {
    let mut calibration = Calibration::shipped("2026.2").unwrap();
    for kinds in calibration.work.values_mut() {
        for work in kinds.values_mut() {
            (work.cpu_ms, work.db_ms, work.native_ms) = (0.0, 0.0, 0.0);
        }
    }
    calibration.broker.publish_ms = 0.0;
    calibration.broker.deliver_ms = 0.0;
    calibration.database.commit_wait_ms = 0.0;
    calibration.front.proxy_ms = 0.0;
    calibration
}

#[test]
fn work_that_takes_no_time_ends() {
    let plan = plan(SCENARIO, &["deployment.link=0s"], 1);
    let report = sim::run(&plan, &free_of_charge(), None, &mut |_| true);
    assert_eq!(report.outcome.kind, OutcomeKind::Completed);
}

#[test]
fn the_wish_to_stop_is_heard() {
    let plan = plan(SCENARIO, &["load.list.duration=30d", "load.list.rate=1/m"], 1);
    let report = sim::run(&plan, &Calibration::shipped("2026.2").unwrap(), None, &mut |_| false);
    assert_eq!(report.outcome.kind, OutcomeKind::Interrupted);
}
