//! Order of the messages of start-up, build and delete, against recordings of a real nova-compute.

use std::time::Duration;

use hypervisor::{ComputeOptions, Fault, Input, Milestone, Response, Rpc};

use crate::driver::{Driver, NETWORK, PORT, VM, build, instance, rpc};

/// Calls and notices of a real nova-compute of release 2026.2 with the fake driver, as recorded (`ping` to `ServeRpc`).
const RECORDED_START: &[&str] = &[
    "ping",
    "Service.get_minimum_version", // the recording had an API database configured and asked for cell mappings
    "Service.get_by_host_and_binary",
    "ComputeNodeList.get_all_by_uuids",
    "InstanceList.get_by_host",
    "MigrationList.get_by_filters",
    "Service.create",
    "ComputeNodeList.get_all_by_host",
    "ComputeNode.get_by_uuid",
    "ComputeNode.create",
    "PciDeviceList.get_by_compute_node",
    "InstanceList.get_by_host_and_node",
    "MigrationList.get_in_progress_and_error",
    "Service.get_by_compute_host",
    "ComputeNode.save",
];

const RECORDED_BOOT_WITHOUT_NIC: &[&str] = &[
    "InstanceActionEvent.event_start",
    "Instance.save",
    "Instance.save",
    "BlockDeviceMappingList.get_by_instance_uuid",
    "Service.get_by_compute_host",
    "ComputeNode.save",
    "Instance.save",
    "BlockDeviceMapping.save",
    "Instance.save",
    "Instance.save",
    "Instance.save",
    "update_instance_info",
    "InstanceActionEvent.event_finish_with_failure",
];

const RECORDED_DELETE_WITHOUT_NIC: &[&str] = &[
    "InstanceActionEvent.event_start",
    "ShareMappingList.get_by_instance_uuid",
    "InstanceInfoCache.refresh",
    "InstanceInfoCache.save",
    "VirtualInterface.delete_by_instance_uuid",
    "InstanceInfoCache.save",
    "Instance.save",
    "ResourceList.get_by_instance_uuid",
    "Service.get_by_compute_host",
    "ComputeNode.save",
    "ConsoleAuthToken.clean_console_auths_for_instance",
    "delete_instance_info",
    "Instance.destroy",
    "InstanceActionEvent.event_finish_with_failure",
];

fn quiet() -> ComputeOptions {
    let hour = Duration::from_secs(3600);
    ComputeOptions {
        report_interval: hour,
        agent_report_interval: hour,
        periodic_fuzzy_delay: hour,
        ..ComputeOptions::default()
    }
}

#[test]
fn start_up_follows_the_recording() {
    let mut driver = Driver::new(quiet());
    driver.input(Input::Tick);
    let of_the_agent = ["has_alive_neutron_server", "report_state"];
    let calls: Vec<_> = driver.rpc_names().into_iter().filter(|name| !of_the_agent.contains(name)).collect();
    assert_eq!(calls, RECORDED_START);
    let http: Vec<_> = driver.names().into_iter().filter(|name| name.contains(" /")).collect();
    assert_eq!(
        http,
        [
            "GET /v3",
            "POST /v3/auth/tokens",
            "GET /",
            "GET /resource_providers",
            "POST /resource_providers",
            "GET /resource_providers/{uuid}/allocations",
            "PUT /resource_providers/{uuid}/inventories",
            "GET /traits",
            "PUT /resource_providers/{uuid}/traits",
        ]
    );
}

/// A start-up that was cut off may leave a service and a node, and no resource provider.
#[test]
fn a_node_without_a_provider_gets_one() {
    let mut driver = Driver::new(quiet());
    let there = ["Service.get_by_host_and_binary", "ComputeNodeList.get_all_by_uuids", "ComputeNode.get_by_uuid"];
    driver.told = there.map(|name| (name, Response::Found(true))).to_vec();
    driver.told.push(("GET /resource_providers", Response::Found(false)));
    driver.failing = Some(("GET /resource_providers/{uuid}/allocations", Fault::Http(404)));
    driver.input(Input::Tick);
    assert!(driver.told.is_empty(), "{:?}", driver.told);
    assert_eq!(driver.times_of("POST /resource_providers").len(), 1, "{:?}", driver.names());
    driver.failing = None;
    driver.run_for(Duration::from_secs(3));
    assert!(driver.serving);
}

#[test]
fn boot_and_delete_without_nic_follow_the_recording() {
    let mut driver = Driver::started(quiet());
    driver.input(build(VM, Vec::new()));
    driver.run_for(Duration::from_secs(30));
    let names: Vec<_> = driver.names().into_iter().filter(|n| !n.contains(" /")).collect();
    let without_heartbeat: Vec<_> = names.into_iter().filter(|n| *n != "Service.save").collect();
    assert_eq!(without_heartbeat, RECORDED_BOOT_WITHOUT_NIC);
    assert_eq!(driver.hypervisor.running_guests(), 1);

    driver.sent.clear();
    driver.input(rpc(Rpc::Terminate { instance: instance(VM) }));
    driver.run_for(Duration::from_secs(30));
    let names: Vec<_> = driver.names().into_iter().filter(|n| !n.contains(" /") && *n != "Service.save").collect();
    assert_eq!(names, RECORDED_DELETE_WITHOUT_NIC);
    assert_eq!(driver.hypervisor.running_guests(), 0);
}

#[test]
fn boot_with_nic_waits_for_the_agent_and_gives_the_port_back() {
    let mut driver = Driver::started(quiet());
    driver.input(build(VM, vec![NETWORK]));
    driver.run_for(Duration::from_secs(30));
    let at = |name: &str| driver.names().iter().position(|n| *n == name).unwrap_or_else(|| panic!("{name} was sent"));
    assert!(at("POST /v2.0/ports") < at("PUT /v2.0/ports/{id}"));
    assert!(at("PUT /v2.0/ports/{id}") < at("VirtualInterface.create"));
    assert!(at("VirtualInterface.create") < at("update_device_list"));
    assert!(at("update_device_list") < at("update_instance_info"));
    assert!(driver.milestones.contains(&Milestone::Active(VM)));

    driver.sent.clear();
    driver.input(rpc(Rpc::Terminate { instance: instance(VM) }));
    driver.run_for(Duration::from_secs(30));
    assert_eq!(driver.times_of("DELETE /v2.0/ports/{id}").len(), 1, "{PORT} is deleted");
}

/// Requests to Neutron from the cast on, as `allocate_for_instance` makes them for one new port.
const ALLOCATION: &[&str] = &[
    "POST /v3/auth/tokens",
    "GET /v2.0/networks",
    "POST /v2.0/ports",
    "GET /v2.0/extensions",
    "POST /v3/auth/tokens",
    "PUT /v2.0/ports/{id}",
    "VirtualInterface.create",
    "InstanceInfoCache.refresh",
    "GET /v2.0/ports",
    "GET /v2.0/floatingips",
    "GET /v2.0/subnets",
    "GET /v2.0/ports", // of the DHCP servers
    "GET /v2.0/networks/{id}",
    "InstanceInfoCache.save",
];

/// What `network-changed` of a port in the info cache leads to.
const REFRESH: &[&str] = &[
    "InstanceInfoCache.refresh",
    "GET /v2.0/ports",
    "GET /v2.0/networks",
    "GET /v2.0/floatingips",
    "GET /v2.0/subnets",
    "GET /v2.0/ports",
    "GET /v2.0/networks/{id}",
    "InstanceInfoCache.save",
];

fn about_networks(driver: &Driver) -> Vec<&str> {
    let mut names = driver.names();
    names.retain(|name| ALLOCATION.contains(name));
    names
}

#[test]
fn a_change_of_a_port_waits_for_the_build_that_reads_it() {
    let mut driver = Driver::started(quiet());
    driver.mute = Some("GET /v2.0/subnets");
    driver.input(build(VM, vec![NETWORK]));
    driver.input(rpc(Rpc::NetworkChanged { instance: VM, port: PORT }));
    assert_eq!(about_networks(&driver), ALLOCATION[..11], "nothing of the second while the first is under way");
    driver.mute = None;
    let id = driver.unanswered.remove(0);
    driver.input(Input::Reply { id, result: Ok(Response::Done) });
    assert_eq!(about_networks(&driver), [ALLOCATION, REFRESH].concat());
}

#[test]
fn a_change_of_a_port_before_the_cache_has_one_finds_none() {
    let mut driver = Driver::started(quiet());
    driver.mute = Some("PUT /v2.0/ports/{id}");
    driver.input(build(VM, vec![NETWORK]));
    driver.sent.clear();
    driver.input(rpc(Rpc::NetworkChanged { instance: VM, port: PORT }));
    let expected = [
        "InstanceInfoCache.refresh",
        "GET /v2.0/ports",
        "GET /v2.0/networks", // of the project
        "GET /v2.0/networks", // shared
        "InstanceInfoCache.save",
    ];
    assert_eq!(about_networks(&driver), expected);
}

#[test]
fn a_change_of_a_port_is_about_that_port_while_neutron_has_it() {
    let other = uuid::Uuid::from_u128(99);
    for (current, read) in [(vec![PORT, other], true), (vec![other], false)] {
        let mut driver = Driver::started(quiet());
        driver.input(build(VM, vec![NETWORK]));
        driver.sent.clear();
        // The cache does not have the port yet.
        driver.told.push(("InstanceInfoCache.refresh", Response::Ports(vec![other])));
        driver.told.push(("GET /v2.0/ports", Response::Ports(current)));
        driver.input(rpc(Rpc::NetworkChanged { instance: VM, port: PORT }));
        let nothing = [REFRESH[0], REFRESH[1], "InstanceInfoCache.save"];
        assert_eq!(about_networks(&driver), if read { REFRESH } else { &nothing });
    }
}

#[test]
fn a_port_that_is_never_wired_fails_the_build_after_the_timeout() {
    let mut driver = Driver::started(quiet());
    driver.plug = false;
    driver.input(build(VM, vec![NETWORK]));
    driver.run_for(Duration::from_secs(290));
    assert!(!driver.milestones.contains(&Milestone::BuildFailed(VM)), "vif_plugging_timeout is 300 s");
    driver.run_for(Duration::from_secs(30));
    assert!(driver.milestones.contains(&Milestone::BuildFailed(VM)));
    assert!(driver.names().contains(&"InstanceFault.create"));
    assert!(driver.names().contains(&"DELETE /v2.0/ports/{id}"));
    assert!(driver.names().contains(&"DELETE /allocations/{consumer}"));
}

#[test]
fn a_vm_deleted_while_it_is_built_is_not_rescheduled() {
    let mut driver = Driver::started(quiet());
    driver.failing = Some(("BlockDeviceMapping.save", Fault::Remote("InstanceNotFound".to_owned())));
    driver.input(build(VM, Vec::new()));
    driver.run_for(Duration::from_secs(30));
    assert!(driver.milestones.contains(&Milestone::BuildFailed(VM)));
    assert!(!driver.names().contains(&"build_instances"));
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let run = || {
        let mut driver = Driver::started(ComputeOptions::default());
        driver.input(build(VM, vec![NETWORK]));
        driver.run_for(Duration::from_secs(4000));
        driver.sent
    };
    assert_eq!(run(), run());
}
