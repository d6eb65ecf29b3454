//! The fleet starts, and the run waits until Nova knows all of it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use fake_hv::{Fleet, FleetError, FleetSpec, KnownHost, Processes, Release};
use rustix::process::{Resource, getrlimit};
use scenarios::{
    options::{compute_options, service_down_time},
    plan::{MOST_FLEET_PROCESSES, Plan},
};

use super::{LiveError, Phase, Run, Status, records};
use crate::{
    Kept,
    load::Login,
    up::raise_file_limit,
    watch::{Link, Roll, RollCall},
};

/// How often the roll is called while hosts come up.
const ASK_EVERY: Duration = Duration::from_secs(2);
/// How often the fleet is asked how many of those that go on are at the broker.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Nova calls a service up from the moment it is created, although its start-up may still wait for Placement; the first
/// heartbeat comes five seconds after that. Only then does "up" say that a host is alive. Of those that go on, which beat once in an
/// interval, some have beaten by then.
const FIRST_BEATS: Duration = Duration::from_secs(8);
/// Hosts that an error names.
const NAMED: usize = 5;

/// Starts the fleet, and waits until Nova shows all of it up, has mapped it to its cell, and would build nowhere else.
pub(super) async fn register(run: &Run<'_>, login: &Login) -> Result<(), LiveError> {
    let mut roll_call = roll_call(run);
    come_up(run, login, &mut roll_call).await?;
    others_go_down(run, &mut roll_call).await
}

/// The hypervisors that a smaller run leaves at rest: for `service_down_time` after their last heartbeat Nova takes them for up. It goes
/// by for itself.
async fn others_go_down(run: &Run<'_>, roll_call: &mut RollCall) -> Result<(), LiveError> {
    if !run.plan.load.iter().any(|load| load.operation.chooses_hosts()) {
        return Ok(());
    }
    let begun = Instant::now();
    let hypervisors = run.plan.fleet.hypervisors as usize;
    loop {
        let roll = roll_call.call(hypervisors).await.map_err(LiveError::Register)?;
        let up = roll.map_or(0, |roll| roll.up_at_rest);
        if up == 0 {
            return Ok(());
        }
        let text = format!("{up} hypervisors are at rest, and Nova still takes them for up: waits until it does not");
        let since = begun.elapsed();
        run.tell.status(&Status { phase: Phase::Register, done: 0, total: None, text, since, planned_left: None });
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Starts the fleet, and waits until all of it is up.
async fn come_up(run: &Run<'_>, login: &Login, roll_call: &mut RollCall) -> Result<(), LiveError> {
    let mut spec = fleet_spec(run, login);
    spec.processes = processes(run, &spec)?;
    let hosts: BTreeSet<String> = spec.host_names().collect();
    let recorder = run.scribe.recorder().clone();
    let known = known(run, &spec).await?;
    let goes_on = known.len() as u64;
    if goes_on > 0 {
        let left = run.kept().map_or(0, |kept| kept.fleet.hypervisors);
        let at_rest = left.saturating_sub(run.plan.fleet.hypervisors);
        let others = if at_rest > 0 { format!("; {at_rest} more stay at rest") } else { String::new() };
        run.tell.note(&format!("goes on with {goes_on} hypervisors that an earlier run left{others}"));
    }
    let rpc_servers = Release::load(&run.plan.release).map_err(FleetError::from)?.rpc_topics().len() as u64;
    let fleet = Fleet::go_on(spec, known, recorder, run.scribe.origin()).await?;
    run.fleet.put(fleet);
    if goes_on > 0 {
        rejoin(run, goes_on, rpc_servers).await?;
    }
    let begun = Instant::now();
    let (mut registered, mut roll, mut seen_up) = (None, Roll::default(), BTreeSet::new());
    let in_time = service_down_time(&run.plan.release, &run.plan.tuning);
    let mut all_there = None;
    loop {
        has_all_processes(run)?;
        if let Some(now) = roll_call.call(hosts.len()).await.map_err(LiveError::Register)? {
            seen_up.extend(now.up.iter().cloned());
            roll = now;
        }
        let Roll { up, mapped, .. } = &roll;
        let stats = run.fleet.with(Fleet::stats).unwrap_or_default();
        if stats.refused > 0 {
            let why = "their nodes belong to hosts of other names (warnings of the run name them)";
            return Err(LiveError::Register(format!("{} hypervisors do not start: {why}", stats.refused)));
        }
        if stats.registered >= hosts.len() as u64 {
            registered.get_or_insert_with(Instant::now);
        }
        let serving = goes_on == 0 || stats.serving >= hosts.len() as u64 * rpc_servers;
        let beating = serving && registered.is_some_and(|at: Instant| at.elapsed() > FIRST_BEATS);
        let there = up.len() >= hosts.len() && beating && *mapped >= hosts.len();
        // Of those that go on each has a beat that is due within the first interval. Where beats are late for longer than Nova would
        // wait for one, it is the cloud that is slow.
        let all_there_for = there.then(|| all_there.get_or_insert_with(Instant::now).elapsed());
        if all_there_for.is_some_and(|time| goes_on == 0 || roll.beating >= hosts.len() || time > in_time) {
            return Ok(());
        }
        tell(run, (up.len(), *mapped), begun.elapsed());
        if begun.elapsed() > run.plan.fleet.register_within {
            // Hosts that came up and fell are a finding, which the load is to show; all those that go on were up before.
            if seen_up.len() >= hosts.len() && beating || goes_on >= hosts.len() as u64 {
                run.scribe.event("warning", format!("the load begins with {} of {} hosts up", up.len(), hosts.len()));
                return Ok(());
            }
            return Err(LiveError::Overwhelmed(missing(run, &hosts, up, *mapped)));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn has_all_processes(run: &Run<'_>) -> Result<(), LiveError> {
    match run.fleet.with(Fleet::loss).flatten() {
        Some(reason) => Err(LiveError::FleetLost(reason)),
        None => Ok(()),
    }
}

/// Waits until those that go on have connected to the broker and declared their queues, and wakes them. That time, too, is left out of
/// Nova's records: with it each heartbeat would be overdue at the first moment, and 7,000 that come together are late for minutes.
async fn rejoin(run: &Run<'_>, goes_on: u64, rpc_servers: u64) -> Result<(), LiveError> {
    let Some(cloud) = run.target.own.as_ref() else { return Ok(()) };
    let mut link = Link::new(&cloud.database);
    let leave_out_every = service_down_time(&run.plan.release, &run.plan.tuning) / 4;
    let (begun, mut left_out) = (Instant::now(), Instant::now());
    loop {
        has_all_processes(run)?;
        let back = run.fleet.with(Fleet::stats).unwrap_or_default().serving / rpc_servers;
        let over = back >= goes_on || begun.elapsed() > run.plan.fleet.register_within;
        if over || left_out.elapsed() > leave_out_every {
            left_out = Instant::now();
            records::close_the_gap(&mut link, &run.name, run.plan.fleet.hypervisors).await.map_err(LiveError::Kept)?;
        }
        if over {
            if back < goes_on {
                let text = format!("the hypervisors go on, of which {back} of {goes_on} have their queues again");
                run.scribe.event("warning", text);
            }
            run.fleet.with(Fleet::wake);
            return Ok(());
        }
        run.tell.status(&Status {
            phase: Phase::Register,
            done: back,
            // RabbitMQ ends what thousands ask for at once late, and then nearly all of it: there is no pace to go by.
            total: None,
            text: format!("{back} of {goes_on} hypervisors have their queues again"),
            since: begun.elapsed(),
            planned_left: None,
        });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The hypervisors that an earlier run left, from the first one on, as long as there is no gap: the others start.
async fn known(run: &Run<'_>, spec: &FleetSpec) -> Result<Vec<KnownHost>, LiveError> {
    let keep = run.keep.filter(|keep| keep.kept.is_some());
    let Some((keep, cloud)) = keep.zip(run.target.own.as_ref()) else { return Ok(Vec::new()) };
    let mut link = Link::new(&cloud.database);
    let hypervisors = spec.plan.hypervisors;
    records::close_the_gap(&mut link, &run.name, hypervisors).await.map_err(LiveError::Kept)?;
    let mut hosts = records::hosts(&mut link, &run.name, hypervisors).await.map_err(LiveError::Kept)?;
    let mut tokens = Kept::tokens(&keep.state).map_err(|error| LiveError::Kept(error.to_string()))?;
    let known = (0..).zip(spec.host_names()).map_while(|(index, name)| {
        let host = hosts.remove(&name)?;
        Some(KnownHost { tokens: tokens.remove(&index).unwrap_or_default(), ..host })
    });
    Ok(known.collect())
}

fn fleet_spec(run: &Run<'_>, login: &Login) -> FleetSpec {
    let Plan { fleet, tuning, release, seed, .. } = run.plan;
    FleetSpec {
        plan: fleet.clone(),
        options: compute_options(release, tuning),
        release: release.clone(),
        // The nodes of hosts follow from it.
        seed: run.kept().map_or(*seed, |kept| kept.seed),
        host_prefix: run.name.as_str().to_owned(),
        first_host_prefix: None,
        first_host: 1,
        broker: run.target.broker(),
        apis: run.target.service_apis(login),
        driver: hypervisor::Driver::default(),
        services: if fleet.l2_agent { hypervisor::Services::All } else { hypervisor::Services::ComputeOnly },
        processes: None,
    }
}

/// Open files of a process for anything but connections to the broker: to the APIs, of the recording, and then some.
const OTHER_FILES: u64 = 1_000;

/// The processes that the fleet has to be spread over, or is to be.
fn processes(run: &Run<'_>, spec: &FleetSpec) -> Result<Option<Processes>, LiveError> {
    raise_file_limit();
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let each = u64::from(spec.connections_each().map_err(FleetError::from)?);
    let needed = u64::from(spec.plan.hypervisors) * each;
    let least = needed.div_ceil(limit.saturating_sub(OTHER_FILES).max(1));
    let count = u32::try_from(least).unwrap_or(u32::MAX).max(spec.plan.processes.unwrap_or(1));
    match &run.target.fleet_command {
        _ if count <= 1 => Ok(None),
        Some(command) if count <= MOST_FLEET_PROCESSES => Ok(Some(Processes { count, command: command.clone() })),
        _ => Err(LiveError::TooManyConnections { needed, limit }),
    }
}

fn roll_call(run: &Run<'_>) -> RollCall {
    match &run.target.own {
        Some(cloud) => {
            let (release, tuning) = (&run.plan.release, &run.plan.tuning);
            let times = (compute_options(release, tuning).report_interval, service_down_time(release, tuning));
            RollCall::by_records(&cloud.database, times, (run.name.clone(), run.plan.fleet.hypervisors))
        }
        None => RollCall::by_api(run.admin.clone(), run.name.clone()),
    }
}

fn tell(run: &Run<'_>, (up, mapped): (usize, usize), since: Duration) {
    let started = run.fleet.with(|fleet| fleet.stats()).unwrap_or_default();
    let total = run.plan.fleet.hypervisors;
    // Nova shows a host as up from the moment its service record is made; its start-up goes on for a while.
    let mut text = format!("{up} of {total} hypervisors up, {} through with their start-up", started.registered);
    if up >= total as usize && mapped < up {
        // The scheduler looks for them every few seconds, and in the first minute of its life not at all.
        text.push_str(&format!(", {mapped} mapped to their cell"));
    }
    if started.failed > 0 {
        text.push_str(&format!(", {} of {} requests failed", started.failed, started.requests));
    }
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
