//! When a hypervisor sends what: heartbeats, periodics, timeouts, locks.

use std::{rc::Rc, time::Duration};

use hypervisor::{ComputeOptions, Config, Delay, Habits, Hypervisor, Input, Response};
use uuid::Uuid;

use crate::driver::{Driver, build, config};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn heartbeats_come_every_interval_after_five_seconds() {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.run_for(Duration::from_secs(60));
    assert_eq!(driver.times_of("Service.save"), [5.0, 15.0, 25.0, 35.0, 45.0, 55.0]);
}

#[test]
fn a_lost_heartbeat_is_followed_at_once_by_the_next_and_never_two_are_outstanding() {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.mute = Some("Service.save");
    driver.run_for(Duration::from_secs(70));
    assert_eq!(driver.times_of("Service.save"), [5.0, 65.0], "rpc_response_timeout is 60 s");
}

#[test]
fn idle_hour_matches_the_published_formula() {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.run_for(HOUR);
    let count = |name: &str| driver.times_of(name).len() as f64;
    // conductor calls/s per host = 1/10 + 4/60 + 1/120 + 1/600 + 3/300 + 1/1800 + 1/2400, less up to 5 % jitter
    let calls = driver.rpc_names().iter().filter(|n| **n != "report_state" && **n != "sync_instance_info").count();
    let expected = 3600.0 * (4.0 / 60.0 + 1.0 / 120.0 + 1.0 / 600.0 + 3.0 / 300.0 + 1.0 / 1800.0 + 1.0 / 2400.0);
    let ratio = calls as f64 / expected;
    assert!((0.93..=1.02).contains(&ratio), "{calls} calls in an hour, {expected} expected");
    assert!((358.0..=361.0).contains(&count("Service.save")));
    assert!((56.0..=60.0).contains(&count("ComputeNodeList.get_all_by_host")));
    assert!((115.0..=121.0).contains(&count("report_state")));
}

#[test]
fn builds_wait_for_a_slot() {
    let options = ComputeOptions { max_concurrent_builds: 2, ..ComputeOptions::default() };
    let mut driver = Driver::started(options);
    driver.mute = Some("InstanceActionEvent.event_start");
    for vm in 10..15_u128 {
        driver.input(build(Uuid::from_u128(vm), Vec::new()));
    }
    assert_eq!(driver.times_of("InstanceActionEvent.event_start").len(), 2);
}

#[test]
fn claims_of_one_host_come_one_after_another() {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.mute = Some("Service.get_by_compute_host");
    for vm in 10..13_u128 {
        driver.input(build(Uuid::from_u128(vm), Vec::new()));
    }
    assert_eq!(driver.times_of("Service.get_by_compute_host").len(), 1, "the first claim holds the lock");
}

#[test]
fn a_conductor_that_is_not_there_is_pinged_until_it_is() {
    let mut driver = Driver::new(ComputeOptions::default());
    driver.mute = Some("ping");
    driver.input(Input::Tick);
    driver.run_for(Duration::from_secs(225));
    let pings: Vec<f64> = (0..=10).map(|n| f64::from(n) * 10.0).chain([160.0, 220.0]).collect();
    assert_eq!(driver.times_of("ping"), pings);
    driver.mute = None;
    driver.run_for(Duration::from_secs(60));
    assert!(driver.serving);
}

/// Of a hypervisor with the default options that is configured otherwise.
fn driver_with(change: impl FnOnce(&mut Config)) -> Driver {
    let mut config = (*config(ComputeOptions::default())).clone();
    change(&mut config);
    Driver { hypervisor: Hypervisor::new(Rc::new(config), 7), ..Driver::new(ComputeOptions::default()) }
}

#[test]
fn an_answer_is_found_at_the_next_look_where_a_release_looks_for_it() {
    let looks_for_reply_each = Some(Duration::from_millis(500));
    let mut driver = driver_with(|config| config.habits = Habits { looks_for_reply_each, ..config.habits });
    driver.input(Input::Tick);
    driver.mute = Some("InstanceActionEvent.event_start");
    driver.input(build(Uuid::from_u128(10), Vec::new()));
    driver.now = driver.now + Duration::from_millis(600);
    driver.mute = None;
    let id = driver.unanswered.remove(0);
    driver.input(Input::Reply { id, result: Ok(Response::Done) });
    driver.run_for(Duration::from_millis(500));
    assert_eq!(driver.times_of("Instance.save").first(), Some(&1.0), "the second look");
}

#[test]
fn nova_compute_thinks_before_each_request_and_its_agent_does_not() {
    let think = Delay::Constant { value: Duration::from_millis(250) };
    let mut driver = driver_with(|config| config.times.think = think);
    driver.input(Input::Tick);
    assert_eq!([driver.times_of("ping").len(), driver.times_of("report_state").len()], [0, 1]);
    driver.run_for(Duration::from_secs(60));
    assert_eq!(driver.times_of("ping"), [0.25]);
    let beats = driver.times_of("Service.save");
    assert!(beats.windows(2).all(|pair| (pair[1] - pair[0] - 10.0).abs() < 1e-9), "{beats:?}");
}
