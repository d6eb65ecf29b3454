//! Periodic tasks that look at VMs, and what they put right.

use std::{rc::Rc, time::Duration};

use hypervisor::{
    ComputeOptions, ConductorCall, Fault, Input, Instance, Milestone, Operation, OperationId, Procedure, Request,
    Response, Rpc, Saved, Step, StepKind,
};
use uuid::Uuid;

use crate::driver::{Driver, VM, build, instance, rpc};

const EVERY: Duration = Duration::from_secs(100);

/// Nothing but one periodic task, from [`EVERY`] on.
fn quiet() -> ComputeOptions {
    let day = Duration::from_secs(86_400);
    ComputeOptions {
        report_interval: day,
        agent_report_interval: day,
        periodic_fuzzy_delay: Duration::ZERO,
        ..ComputeOptions::default().without_periodic_tasks()
    }
}

fn active(vm: Uuid) -> Instance {
    Instance { vm_state: "active", ..instance(vm) }
}

/// What is said in the second run of the task, with this list of VMs and their states.
fn second_run(driver: &mut Driver, told: Vec<(&'static str, Response)>) -> Vec<String> {
    driver.run_for(EVERY / 2);
    driver.sent.clear();
    driver.told = told;
    driver.run_for(EVERY);
    driver.rpc_names().into_iter().map(str::to_owned).collect()
}

fn with_power_sync() -> Driver {
    let mut driver = Driver::started(ComputeOptions { sync_power_state_interval: Some(EVERY), ..quiet() });
    driver.input(build(VM, Vec::new()));
    driver
}

/// The driver keeps what a task has read until it is told that the task is over.
#[test]
fn a_task_is_over_when_it_ends_and_not_at_the_next() {
    let mut driver = with_power_sync();
    let said = second_run(&mut driver, refreshed(1, "active"));
    assert_eq!(said, ["InstanceList.get_by_host", "Instance.refresh"]);
    assert_eq!(driver.going_on, []);
}

fn refreshed(power_state: u8, vm_state: &'static str) -> Vec<(&'static str, Response)> {
    vec![
        ("InstanceList.get_by_host", Response::Instances(vec![active(VM)])),
        ("Instance.refresh", Response::Refreshed { settled: true, power_state, vm_state }),
    ]
}

/// An RPC that does nothing but tell the conductor that the guest does not run.
fn stop() -> Input {
    saving("stop_instance", Saved { running: Some(false), ..Saved::default() })
}

/// An RPC that does nothing but save this.
fn saving(method: &'static str, saves: Saved) -> Input {
    let kind = StepKind::Call { name: "Instance.save", timeout: None, saves, accepts: None };
    let procedure = Procedure { method, steps: vec![Step { number: 0, kind }] };
    rpc(Rpc::Operation(Operation {
        id: OperationId(1),
        procedure: Rc::new(procedure),
        instance: Some(active(VM)),
        ports: Vec::new(),
    }))
}

/// Its record says that it runs, and no save of the move says so again.
#[test]
fn a_server_that_has_moved_here_runs_here() {
    for method in ["finish_resize", "post_live_migration_at_destination"] {
        let mut driver = Driver::started(ComputeOptions { sync_power_state_interval: Some(EVERY), ..quiet() });
        driver.input(saving(method, Saved::default()));
        assert_eq!(driver.hypervisor.running_guests(), 1, "{method}");
        let said = second_run(&mut driver, refreshed(1, "active"));
        assert_eq!(said, ["InstanceList.get_by_host", "Instance.refresh"], "{method}");
    }
}

#[test]
fn a_power_state_that_agrees_is_left_alone() {
    let said = second_run(&mut with_power_sync(), refreshed(1, "active"));
    assert_eq!(said, ["InstanceList.get_by_host", "Instance.refresh"]);
}

#[test]
fn a_power_state_that_does_not_agree_is_saved() {
    let said = second_run(&mut with_power_sync(), refreshed(4, "active"));
    assert_eq!(said, ["InstanceList.get_by_host", "Instance.refresh", "Instance.save"]);
}

#[test]
fn a_guest_that_stopped_by_itself_is_stopped() {
    let mut driver = with_power_sync();
    driver.run_for(Duration::from_secs(10));
    driver.input(stop());
    let said = second_run(&mut driver, refreshed(4, "active"));
    let repair = ["Instance.save", "InstanceAction.action_start", "stop_instance"];
    assert_eq!(said, [&["InstanceList.get_by_host", "Instance.refresh"][..], &repair].concat());
}

#[test]
fn a_guest_that_runs_although_it_is_stopped_is_stopped() {
    let said = second_run(&mut with_power_sync(), refreshed(1, "stopped"));
    assert_eq!(said.last().map(String::as_str), Some("stop_instance"));
    let said = second_run(&mut with_power_sync(), refreshed(1, "suspended"));
    assert_eq!(said.len(), 2, "a suspended one may run, as far as this goes");
}

#[test]
fn a_vm_that_moves_or_has_a_task_by_now_is_left_alone() {
    let mut told = refreshed(4, "active");
    told[1].1 = Response::Refreshed { settled: false, power_state: 4, vm_state: "active" };
    let said = second_run(&mut with_power_sync(), told);
    assert_eq!(said, ["InstanceList.get_by_host", "Instance.refresh"]);
}

#[test]
fn a_vm_with_a_task_is_not_looked_at() {
    let busy = Instance { task_state: Some("powering-off"), ..active(VM) };
    let told = vec![("InstanceList.get_by_host", Response::Instances(vec![busy]))];
    assert_eq!(second_run(&mut with_power_sync(), told), ["InstanceList.get_by_host"]);
}

fn with_healing() -> Driver {
    let mut driver = Driver::started(ComputeOptions { heal_instance_info_cache_interval: Some(EVERY), ..quiet() });
    let list = [active(VM), active(SECOND)].into();
    driver.told = vec![("InstanceList.get_by_host", Response::Instances(list))];
    driver.run_for(EVERY + EVERY / 2);
    assert_eq!(healed(&driver), Vec::<Uuid>::new(), "the first comes from the list itself");
    driver
}

const SECOND: Uuid = Uuid::from_u128(11);

/// The VMs that were looked up to be healed.
fn healed(driver: &Driver) -> Vec<Uuid> {
    let of = |request: &Request| match request {
        Request::Conductor(ConductorCall::GetInstanceToHeal(vm)) => Some(*vm),
        _ => None,
    };
    driver.asked.iter().filter_map(of).collect()
}

#[test]
fn info_caches_are_healed_one_at_a_time_from_one_list() {
    let mut driver = with_healing();
    driver.told = vec![("Instance.get_by_uuid", Response::Instances(vec![active(SECOND)]))];
    driver.run_for(EVERY);
    assert_eq!(healed(&driver), [SECOND]);
    assert_eq!(driver.times_of("InstanceList.get_by_host").len(), 1);
    driver.run_for(EVERY);
    assert_eq!(driver.times_of("InstanceList.get_by_host").len(), 2, "the list has come to its end");
}

#[test]
fn a_conductor_that_fails_does_not_use_the_list_up() {
    let mut driver = with_healing();
    driver.failing = Some(("Instance.get_by_uuid", Fault::TimedOut));
    driver.run_for(EVERY);
    assert_eq!(healed(&driver), [SECOND], "one a turn, whatever comes of it");
}

#[test]
fn a_host_whose_node_belongs_to_another_name_does_not_start() {
    let mut driver = Driver::new(quiet());
    driver.told = vec![("ComputeNodeList.get_all_by_uuids", Response::OfAnotherHost)];
    driver.input(Input::Tick);
    driver.run_for(EVERY);
    assert!(!driver.serving);
    assert!(driver.milestones.contains(&Milestone::RefusedToStart));
    assert_eq!(driver.times_of("ComputeNodeList.get_all_by_uuids").len(), 1, "it does not try again");
    assert!(driver.times_of("Service.create").is_empty());
}
