//! The fleet starts, and the run waits until Nova knows all of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use fake_hv::{Fleet, FleetSpec};
use scenarios::{options::compute_options, plan::Plan};

use super::{LiveError, Phase, Run, Status};
use crate::{
    load::{ApiError, Login, Session},
    watch::compute_services,
};

/// How often the service list is asked for while hosts come up.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// Nova calls a service up from the moment it is created, although its start-up may still wait for Placement; the first
/// heartbeat comes five seconds after that. Only then does "up" say that a host is alive.
const FIRST_BEATS: Duration = Duration::from_secs(8);
/// Hosts that an error names.
const NAMED: usize = 5;

/// Starts the fleet, and waits until Nova shows all of it up and has mapped it to its cell.
pub(super) async fn register(run: &Run<'_>, login: &Login) -> Result<(), LiveError> {
    let spec = fleet_spec(run, login);
    let hosts: BTreeSet<String> = spec.host_names().collect();
    let begun = Instant::now();
    let fleet = Fleet::start(spec, run.scribe.recorder().clone(), run.scribe.origin()).await?;
    run.fleet.put(fleet);
    let (mut registered, mut up, mut seen_up) = (None, BTreeSet::new(), BTreeSet::new());
    loop {
        let services = compute_services(&run.admin, &run.name).await.map_err(LiveError::api("wait for the fleet"))?;
        if let Some(services) = services {
            up = services.into_iter().filter(|service| service.up).map(|service| service.host).collect();
            seen_up.extend(up.iter().cloned());
        }
        let all_up = up.len() >= hosts.len();
        let mapped =
            if all_up { mapped(&run.admin, run).await.map_err(LiveError::api("list hypervisors"))? } else { 0 };
        if run.fleet.with(|fleet| fleet.stats().registered).unwrap_or_default() >= hosts.len() as u64 {
            registered.get_or_insert_with(Instant::now);
        }
        let beating = registered.is_some_and(|at: Instant| at.elapsed() > FIRST_BEATS);
        if all_up && beating && mapped >= hosts.len() {
            return Ok(());
        }
        tell(run, up.len(), begun.elapsed());
        if begun.elapsed() > run.plan.fleet.register_within {
            // Hosts that came up and fell are a finding, which the load is to show.
            if seen_up.len() >= hosts.len() && beating {
                run.scribe.event("warning", format!("the load begins with {} of {} hosts up", up.len(), hosts.len()));
                return Ok(());
            }
            return Err(LiveError::Register(missing(run, &hosts, &up, mapped)));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn fleet_spec(run: &Run<'_>, login: &Login) -> FleetSpec {
    let Plan { fleet, tuning, release, seed, .. } = run.plan;
    FleetSpec {
        plan: fleet.clone(),
        options: compute_options(release, tuning),
        release: release.clone(),
        seed: *seed,
        host_prefix: run.name.as_str().to_owned(),
        first_host_prefix: None,
        first_host: 1,
        broker: run.target.broker(),
        apis: run.target.service_apis(login),
        driver: hypervisor::Driver::default(),
        services: hypervisor::Services::default(),
    }
}

/// Hypervisors of the run that the scheduler can choose. Nova lists a hypervisor only once its host is mapped to a cell.
async fn mapped(admin: &Session, run: &Run<'_>) -> Result<usize, ApiError> {
    let hypervisors =
        admin.list("list hypervisors", crate::load::Service::Compute, "/os-hypervisors", "hypervisors").await?;
    let ours = |hypervisor: &&serde_json::Value| {
        hypervisor["hypervisor_hostname"].as_str().is_some_and(|host| run.name.owns(host))
    };
    Ok(hypervisors.iter().filter(ours).count())
}

fn tell(run: &Run<'_>, up: usize, since: Duration) {
    let started = run.fleet.with(|fleet| fleet.stats()).unwrap_or_default();
    let total = run.plan.fleet.hypervisors;
    // Nova shows a host as up from the moment its service record is made; its start-up goes on for a while.
    let text = format!("{up} of {total} hypervisors up, {} through with their start-up", started.registered);
    run.tell.status(&Status {
        phase: Phase::Register,
        done: up as u64,
        total: Some(total.into()),
        text,
        since,
        planned_left: None,
    });
}

/// What is missing, and what the fleet knows about it.
fn missing(run: &Run<'_>, hosts: &BTreeSet<String>, up: &BTreeSet<String>, mapped: usize) -> String {
    let within = run.plan.fleet.register_within.as_secs();
    let stats = run.fleet.with(|fleet| fleet.stats()).unwrap_or_default();
    if up.len() >= hosts.len() {
        return format!(
            "all {} hypervisors are up, and after {within} s only {mapped} of them are mapped to a cell; run \
             `nova-manage cell_v2 discover_hosts`, or set [scheduler] discover_hosts_in_cells_interval",
            hosts.len()
        );
    }
    let absent: Vec<&str> = hosts.difference(up).map(String::as_str).take(NAMED).collect();
    let and_more = if hosts.len() - up.len() > NAMED { ", …" } else { "" };
    format!(
        "after {within} s Nova shows {} of {} hypervisors up; not {}{and_more}\n\
         The fleet has started {}, registered {}; {} links are down, {} of {} requests failed, {} of these for want of an \
         answer. See services/nova-conductor.log and services/placement-api*.log in the run folder; \
         fleet.register_within and fleet.start of the scenario give it more time",
        up.len(),
        hosts.len(),
        absent.join(", "),
        stats.started,
        stats.registered,
        stats.links_down,
        stats.failed,
        stats.requests,
        stats.timed_out,
    )
}
