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
fn a_pool_of_nothing_serves_nobody() {
    // `max_pool_size = 0` has no bound in SQLAlchemy; without overflow nobody ever gets a connection, and every request that
    // needs one fails after `pool_timeout`.
    let sets = [
        "tuning.nova.database.max_pool_size=0",
        "tuning.nova.database.max_overflow=0",
        "tuning.nova.database.pool_timeout=5",
        "fleet.register_within=60s",
    ];
    let report = run(&plan(SCENARIO, &sets, 1));
    assert_eq!(report.outcome.kind, OutcomeKind::Error);
    assert!(report.outcome.reason.unwrap().contains("fleet.register_within"));
}

#[test]
fn a_database_that_takes_no_connections_serves_nobody() {
    let report = run(&plan(SCENARIO, &["deployment.database_connections=0", "fleet.register_within=60s"], 1));
    assert_eq!(report.outcome.kind, OutcomeKind::Error);
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
