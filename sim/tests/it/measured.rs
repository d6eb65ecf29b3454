//! What was measured on a real cloud, and the model has to show.

use scenarios::plan::OptionValue;

use super::{plan, run};

/// One conductor worker on two cores that everything runs on, as in the measurement.
const SCENARIO: &str = r#"
name = "conductor"
description = "Heartbeats in a closed loop against one conductor worker"
[deployment]
controller_cores = 2
link = "20us"
[fleet]
hypervisors = 1
connections = "single"
start = "1/s"
register_within = "1h"
[fleet.times]
think = "0s"
[tuning.nova]
"conductor.workers" = 1
"DEFAULT.update_resources_interval" = -1
"DEFAULT.sync_power_state_interval" = -1
"DEFAULT.scheduler_instance_sync_interval" = -1
"DEFAULT.instance_delete_interval" = -1
"DEFAULT.running_deleted_instance_poll_interval" = -1
"image_cache.manager_interval" = -1
[tuning.neutron]
"agent.report_interval" = 3600
[[load]]
operation = "token"
arrivals = "constant"
rate = "1/m"
duration = "60s"
"#;

/// Heartbeats a second with as many outstanding, each following the last one of its host at once: `benches/conductor_curve`.
fn heartbeats_per_s(outstanding: u32) -> f64 {
    let calls = |minutes: u32| {
        let sets = [format!("fleet.hypervisors={outstanding}"), format!("load.token.duration={minutes}m")];
        let mut plan = plan(SCENARIO, &sets.each_ref().map(String::as_str), 1);
        // No cloud has such an interval, and no scenario may: it stands for the closed loop of the measurement.
        let nova = plan.tuning.entry("nova".to_owned()).or_default();
        nova.insert("DEFAULT.report_interval".to_owned(), OptionValue::Integer(0));
        nova.insert("DEFAULT.service_down_time".to_owned(), OptionValue::Integer(300));
        run(&plan).requests as f64
    };
    // Start-up is in both.
    (calls(4) - calls(2)) / 120.0
}

/// Measured on 2026-11-23: `benches/conductor_curve` with 1 to 64 outstanding calls.
const MEASURED_PER_S: [(u32, f64); 7] =
    [(1, 236.2), (2, 289.6), (4, 283.4), (8, 239.0), (16, 190.2), (32, 125.0), (64, 99.7)];

#[test]
fn a_conductor_worker_has_the_throughput_that_was_measured() {
    for (outstanding, measured) in MEASURED_PER_S {
        let modelled = heartbeats_per_s(outstanding);
        println!("{outstanding} outstanding: {modelled:.1}/s, measured {measured}/s");
        let off = modelled / measured - 1.0;
        assert!(off.abs() < 0.2, "{outstanding} outstanding: {modelled:.1}/s, measured {measured}/s");
    }
}

/// The convoy: offered 64 calls at once, a worker does less than with one at a time.
#[test]
fn a_conductor_with_many_calls_at_once_does_fewer() {
    let (one, many) = (heartbeats_per_s(1), heartbeats_per_s(64));
    assert!(many < 0.6 * one, "{many:.1}/s with 64 outstanding, {one:.1}/s with one");
}
