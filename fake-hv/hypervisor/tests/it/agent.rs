//! The L2 agent, as a real one was seen to behave (Neutron 29).

use std::time::Duration;

use hypervisor::{ComputeOptions, Fault, Input, Push};
use uuid::Uuid;

use crate::driver::{Driver, NETWORK, PORT, VM, build};

const AGENTS: [&str; 6] = [
    "has_alive_neutron_server",
    "report_state",
    "bulk_pull",
    "get_network_details",
    "update_device_list",
    "update_device_down",
];

/// What the agent said, without its reports.
fn said(driver: &Driver) -> Vec<&str> {
    driver.names().into_iter().filter(|name| AGENTS.contains(name) && *name != "report_state").collect()
}

/// A hypervisor with one wired port.
fn wired() -> Driver {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.input(build(VM, vec![NETWORK]));
    driver.run_for(Duration::from_secs(31)); // looks are at even seconds
    assert_eq!(said(&driver), ["bulk_pull", "bulk_pull", "update_device_list"]);
    driver.sent.clear();
    driver
}

#[test]
fn a_server_is_looked_for_before_anything_is_reported() {
    let mut driver = Driver::new(ComputeOptions::default());
    driver.failing = Some(("has_alive_neutron_server", Fault::Remote("RemoteError".to_owned())));
    driver.input(Input::Tick);
    driver.run_for(Duration::from_secs(9));
    assert_eq!(driver.times_of("has_alive_neutron_server"), [0.0, 2.0, 4.0, 6.0, 8.0]);
    assert!(driver.times_of("report_state").is_empty());
    driver.failing = None;
    driver.run_for(Duration::from_secs(2));
    assert_eq!(driver.times_of("report_state"), [10.0]);
}

#[test]
fn news_of_a_port_that_is_here_reports_it_again_at_the_next_look() {
    let mut driver = wired();
    driver.input(Input::Push(Push::Port(PORT)));
    driver.input(Input::Push(Push::Port(Uuid::from_u128(99))));
    assert!(said(&driver).is_empty(), "not before the agent looks");
    driver.run_for(Duration::from_secs(2));
    assert_eq!(said(&driver), ["bulk_pull", "bulk_pull", "update_device_list"]);
    driver.sent.clear();
    driver.input(Input::Push(Push::Port(Uuid::from_u128(99))));
    driver.run_for(Duration::from_secs(4));
    assert!(said(&driver).is_empty(), "a port elsewhere is none of its business");
}

#[test]
fn every_network_that_changes_is_asked_for() {
    let mut driver = wired();
    driver.input(Input::Push(Push::Network(Uuid::from_u128(98))));
    assert_eq!(said(&driver), ["get_network_details"]);
    driver.run_for(Duration::from_secs(4));
    assert_eq!(said(&driver), ["get_network_details"], "no port of it is here");
    driver.input(Input::Push(Push::Network(NETWORK)));
    driver.run_for(Duration::from_secs(2));
    assert_eq!(said(&driver)[1..], ["get_network_details", "bulk_pull", "bulk_pull", "update_device_list"]);
}

#[test]
fn what_failed_is_done_again_at_the_next_look() {
    let mut driver = Driver::started(ComputeOptions::default());
    driver.failing = Some(("update_device_list", Fault::Remote("DBError".to_owned())));
    driver.input(build(VM, vec![NETWORK]));
    driver.run_for(Duration::from_secs(10));
    let times = driver.times_of("update_device_list");
    assert!(times.len() > 1 && times.windows(2).all(|two| two[1] - two[0] == 2.0), "{times:?}");
}

#[test]
fn timeouts_double() {
    let mut driver = Driver::new(ComputeOptions::default());
    driver.mute = Some("has_alive_neutron_server");
    driver.input(Input::Tick);
    driver.run_for(Duration::from_secs(3000));
    let times = driver.times_of("has_alive_neutron_server");
    // Each wait is the timeout and up to a minute more: 60, 120, 240, 480, then always 600 s.
    for (wait, timeout) in times.windows(2).map(|two| two[1] - two[0]).zip([60.0, 120.0, 240.0, 480.0, 600.0]) {
        assert!((timeout..timeout + 60.0).contains(&wait), "{times:?}");
    }
    assert!(times.len() >= 5);
}
