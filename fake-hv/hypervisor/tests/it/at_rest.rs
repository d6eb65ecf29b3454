//! A hypervisor that ran before goes on where it was, without a start-up.

use std::time::Duration;

use hypervisor::{
    ComputeOptions, ConductorCall, Hypervisor, Input, Instance, Milestone, Request, Response, Rpc, Sessions, Time,
};

use crate::driver::{Driver, VM, config, instance, rpc};

const MINUTE: Duration = Duration::from_secs(60);

fn options() -> ComputeOptions {
    ComputeOptions { report_interval: MINUTE, ..ComputeOptions::default() }
}

fn going_on(options: ComputeOptions, since_beat: Duration) -> Driver {
    let vm = Instance { vm_state: "active", ..instance(VM) };
    let mut driver = Driver::with(Hypervisor::go_on(config(options), 7, vec![vm], since_beat, Sessions::default()));
    driver.input(Input::Tick);
    driver
}

#[test]
fn it_serves_at_once_and_asks_nobody() {
    let driver = going_on(options(), MINUTE / 2);
    assert_eq!(driver.milestones, [Milestone::Registered]);
    let asked: Vec<&str> = driver.rpc_names();
    assert!(asked.iter().all(|name| !name.starts_with("Service") && !name.starts_with("ComputeNode")), "{asked:?}");
    assert_eq!((driver.hypervisor.guests(), driver.hypervisor.running_guests()), (1, 1));
}

#[test]
fn its_next_beat_is_as_late_as_its_last_one_was_early() {
    for (since_s, next_s) in [(0, 60.0), (45, 15.0), (60, 0.0), (70, 0.0)] {
        let mut driver = going_on(options(), Duration::from_secs(since_s));
        driver.run_for(MINUTE * 2);
        let beats = driver.times_of("Service.save");
        assert_eq!(beats[..2], [next_s, next_s + 60.0], "{since_s} s after the last one");
    }
}

#[test]
fn beats_that_lost_their_turn_are_not_all_at_once() {
    let mut firsts = Vec::new();
    for seed in 0..20 {
        let mut driver =
            Driver::with(Hypervisor::go_on(config(options()), seed, Vec::new(), MINUTE * 8, Sessions::default()));
        driver.input(Input::Tick);
        driver.run_for(MINUTE * 2);
        let beats = driver.times_of("Service.save");
        assert!((beats[1] - beats[0] - 60.0).abs() < 1e-6, "{beats:?}");
        firsts.push(beats[0]);
    }
    firsts.sort_by(f64::total_cmp);
    assert!(firsts[0] < 12.0 && firsts[19] > 48.0, "spread over the interval: {firsts:?}");
}

/// Neither all at once, which a fleet that goes on would do to its cloud, nor never.
#[test]
fn its_periodic_tasks_run_once_in_each_interval() {
    let every = Duration::from_secs(600);
    let quiet = ComputeOptions::default().without_periodic_tasks();
    let options = ComputeOptions { sync_power_state_interval: Some(every), ..quiet };
    let mut firsts = Vec::new();
    for seed in 0..20 {
        let mut driver =
            Driver::with(Hypervisor::go_on(config(options.clone()), seed, Vec::new(), MINUTE, Sessions::default()));
        driver.input(Input::Tick);
        driver.run_for(every * 2);
        let runs = driver.times_of("InstanceList.get_by_host");
        assert!((1..=2).contains(&runs.len()), "{runs:?}");
        firsts.push(runs[0]);
    }
    firsts.sort_by(f64::total_cmp);
    assert!(firsts[0] < 120.0 && firsts[19] > 480.0, "spread over the interval: {firsts:?}");
}

#[test]
fn its_servers_can_be_deleted() {
    let mut driver = going_on(options(), MINUTE / 2);
    driver.asked.clear();
    let vm = Instance { vm_state: "active", task_state: Some("deleting"), ..instance(VM) };
    driver.input(rpc(Rpc::Terminate { instance: vm }));
    driver.run_for(Duration::from_secs(10));
    assert_eq!(driver.hypervisor.guests(), 0);
    // It is counted, so that the books change and the node is saved.
    let saved = |request: &Request| matches!(request, Request::Conductor(ConductorCall::SaveNode { usage, .. }) if usage.instances() == 0);
    assert!(driver.asked.iter().any(saved), "{:?}", driver.names());
}

const LOGIN: &str = "POST /v3/auth/tokens";

/// Nothing but audits, one a minute, each with a request to Placement.
fn audits() -> ComputeOptions {
    ComputeOptions { update_resources_interval: Some(MINUTE), ..ComputeOptions::default().without_periodic_tasks() }
}

#[test]
fn a_token_is_replaced_two_minutes_before_its_end() {
    let mut driver = Driver::new(audits());
    driver.told =
        vec![(LOGIN, Response::Token { lasts: MINUTE * 10 }), (LOGIN, Response::Token { lasts: MINUTE * 60 })];
    driver.input(Input::Tick);
    driver.run_for(MINUTE * 30);
    let logins = driver.times_of(LOGIN);
    assert!(matches!(logins[..], [0.0, renewed] if (480.0..560.0).contains(&renewed)), "{logins:?}");
    assert_eq!(driver.times_of("GET /v3"), [0.0], "where Keystone is has been asked before");
}

#[test]
fn tokens_that_it_still_has_are_used() {
    let sessions = Sessions { placement: Some(Time::from_origin(MINUTE * 10)), ..Sessions::default() };
    let mut driver = Driver::with(Hypervisor::go_on(config(audits()), 7, Vec::new(), MINUTE / 2, sessions));
    driver.input(Input::Tick);
    driver.run_for(MINUTE * 30);
    let logins = driver.times_of(LOGIN);
    assert!(matches!(logins[..], [renewed] if (600.0..680.0).contains(&renewed)), "{logins:?}");
}
