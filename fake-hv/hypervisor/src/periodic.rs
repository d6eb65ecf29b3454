//! The periodic tasks: one thread runs them one after another (`nova/service.py`, `oslo_service/periodic_task.py`).

use std::time::Duration;

use rand::Rng;
use uuid::Uuid;

use crate::{
    ComputeOptions, ConductorCall, Fault, Instance, InstanceState, LazyField, Milestone, NetworkRequest, Notice,
    Origin, Response, Time,
    executor::Host,
    lock::{InstanceLockName, LockName},
    network::{self, Refresh},
    power_state::{NO_STATE, RUNNING, SHUTDOWN},
    resources,
    state::Guest,
};

/// `DEFAULT_INTERVAL` of oslo.service: longest pause of the thread, and the spacing that zero stands for.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// The tasks that send something by default, in the order of their definition in the manager, which is the order they run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    SyncSchedulerInstances,
    HealInfoCache,
    SyncPowerStates,
    UpdateAvailableResource,
    CleanUpRunningDeleted,
    ImageCachePass,
    RunPendingDeletes,
    CleanUpIncompleteMigrations,
    CleanUpConsoleTokens,
}

struct Entry {
    task: Task,
    spacing: Duration,
    /// `None`: due at once (`run_immediately`).
    last_run: Option<Time>,
    /// Of a hypervisor that is gone on with: when it runs for the first time.
    first: Option<Time>,
}

impl Entry {
    fn due(&self) -> Option<Time> {
        self.first.or_else(|| Some(self.last_run? + self.spacing))
    }
}

/// Runs the tasks for as long as the process lives.
pub(crate) async fn run(host: Host) {
    let started = host.now();
    let mut entries = schedule(&host.peek().config.options, started);
    let fuzzy_delay = host.peek().config.options.periodic_fuzzy_delay;
    let first = fuzzy_delay.mul_f64(host.state().rng.random());
    host.sleep(first).await;
    turn_by_turn(&host, &mut entries).await;
}

/// Goes on with the tasks of a hypervisor that was at rest. Each is somewhere between two runs.
pub(crate) async fn go_on(host: Host) {
    let now = host.now();
    let mut entries = schedule(&host.peek().config.options, now);
    for entry in &mut entries {
        entry.first = Some(now + entry.spacing.mul_f64(host.state().rng.random()));
    }
    turn_by_turn(&host, &mut entries).await;
}

async fn turn_by_turn(host: &Host, entries: &mut [Entry]) {
    loop {
        let idle_for = run_due(host, entries).await;
        host.sleep(idle_for).await;
    }
}

fn schedule(options: &ComputeOptions, started: Time) -> Vec<Entry> {
    let tasks = [
        (Task::SyncSchedulerInstances, options.scheduler_instance_sync_interval, false),
        (Task::HealInfoCache, options.heal_instance_info_cache_interval, false),
        (Task::SyncPowerStates, options.sync_power_state_interval, true),
        (Task::UpdateAvailableResource, options.update_resources_interval, false),
        (Task::CleanUpRunningDeleted, options.running_deleted_instance_poll_interval, true),
        (Task::ImageCachePass, options.image_cache_interval, false),
        (Task::RunPendingDeletes, options.instance_delete_interval, false),
        (Task::CleanUpIncompleteMigrations, options.instance_delete_interval, false),
        (Task::CleanUpConsoleTokens, options.instance_delete_interval, false),
    ];
    let enabled = tasks.into_iter().filter_map(|(task, spacing, at_once)| {
        let spacing = spacing.map(|s| if s.is_zero() { DEFAULT_INTERVAL } else { s })?;
        Some(Entry { task, spacing, last_run: (!at_once).then_some(started), first: None })
    });
    enabled.collect()
}

/// Runs what is due and says how long the thread may pause.
async fn run_due(host: &Host, entries: &mut [Entry]) -> Duration {
    let (mut idle_for, mut begun) = (DEFAULT_INTERVAL, false);
    for entry in entries {
        idle_for = idle_for.min(entry.spacing);
        if let Some(due) = entry.due() {
            let due_in = due - host.now();
            if !due_in.is_zero() {
                idle_for = idle_for.min(due_in);
                continue;
            }
        }
        entry.last_run = match entry.first.take() {
            Some(_) => Some(host.now()),
            None => Some(nearest_boundary(host, entry)),
        };
        if !std::mem::replace(&mut begun, true) {
            host.begin_task(); // all that is due together has one request context
        }
        // A failed task is logged and runs again at its next turn. Boxed for the same reason as a beat (`heartbeat`).
        let _failed = Box::pin(perform(host, entry.task)).await.err();
    }
    if begun {
        // The next turn may be half an hour away: what this one has read of VMs is not kept until then.
        host.set_origin(Origin::StartUp);
    }
    idle_for
}

/// `_nearest_boundary`: keeps the phase of the task and adds up to 5 % of its spacing, in whole seconds.
fn nearest_boundary(host: &Host, entry: &Entry) -> Time {
    let now = host.now();
    let Some(last_run) = entry.last_run else { return now };
    let spacing_ns = entry.spacing.as_nanos().max(1);
    let offset_ns = (now - last_run).as_nanos() % spacing_ns;
    let offset = Duration::from_nanos(u64::try_from(offset_ns).unwrap_or(0));
    let jitter = (entry.spacing.as_secs_f64() * host.state().rng.random::<f64>() / 20.0).floor();
    Time::from_origin(now.since_origin().saturating_sub(offset)) + Duration::from_secs_f64(jitter)
}

async fn perform(host: &Host, task: Task) -> Result<(), Fault> {
    match task {
        Task::SyncSchedulerInstances => sync_scheduler(host).await,
        Task::SyncPowerStates => sync_power_states(host).await,
        Task::UpdateAvailableResource => resources::audit(host, resources::Occasion::Periodic).await,
        Task::HealInfoCache => heal_info_cache(host).await,
        Task::CleanUpRunningDeleted => look_for_deleted(host).await,
        Task::ImageCachePass => call(host, ConductorCall::GetImageCacheUsers).await,
        Task::RunPendingDeletes => run_pending_deletes(host).await,
        Task::CleanUpIncompleteMigrations => call(host, ConductorCall::GetIncompleteMigrations).await,
        Task::CleanUpConsoleTokens => call(host, ConductorCall::CleanConsoleTokens).await,
    }
}

async fn call(host: &Host, call: ConductorCall) -> Result<(), Fault> {
    host.conductor(call).await.map(drop)
}

/// The files of VMs that were deleted since the last time; a simulated one has none, and says that they are gone.
async fn run_pending_deletes(host: &Host) -> Result<(), Fault> {
    let deleted = host.conductor(ConductorCall::GetPendingDeletes).await?.instances();
    for instance in deleted {
        let saved = host.conductor(ConductorCall::SaveInstance(instance.uuid, InstanceState::Cleaned)).await;
        host.milestone(Milestone::Gone(instance.uuid));
        saved?;
    }
    Ok(())
}

/// Guests that Nova has deleted and the driver has not; without guests there is nothing to look up.
async fn look_for_deleted(host: &Host) -> Result<(), Fault> {
    let on_driver: Vec<Uuid> = {
        let state = host.peek();
        state.guests.iter().filter(|(_, guest)| guest.on_driver).map(|(uuid, _)| *uuid).collect()
    };
    if on_driver.is_empty() {
        return Ok(());
    }
    call(host, ConductorCall::GetRunningDeleted(on_driver)).await
}

async fn sync_scheduler(host: &Host) -> Result<(), Fault> {
    if !host.peek().config.options.track_instance_changes {
        return Ok(());
    }
    let instances = host.conductor(ConductorCall::GetInstancesToSync).await?.instances();
    host.notice(Notice::InstanceSync(instances.iter().map(|instance| instance.uuid).collect()));
    Ok(())
}

/// Each VM is looked at by a thread of a pool, unless the last look at it still goes on; the periodic thread does not wait.
async fn sync_power_states(host: &Host) -> Result<(), Fault> {
    let instances = host.conductor(ConductorCall::GetInstancesWithPower).await?.instances();
    for instance in instances {
        if host.state().power_syncs.insert(instance.uuid) {
            host.spawn(sync_power_state(host.clone(), instance));
        }
    }
    Ok(())
}

async fn sync_power_state(host: Host, instance: Instance) {
    let vm = instance.uuid;
    let _thread = host.acquire(LockName::PowerSyncs).await;
    let lock = host.lock_instance(vm, InstanceLockName::Operation).await;
    if instance.task_state.is_none() {
        // A VM that cannot be looked at now is logged, and looked at the next time.
        let _failed = align_power_state(&host, vm).await.err();
    }
    drop(lock);
    host.state().power_syncs.remove(&vm);
}

/// `_sync_instance_power_state`: what the driver says goes into the record, and a guest that stopped by itself is stopped.
async fn align_power_state(host: &Host, vm: Uuid) -> Result<(), Fault> {
    let actual = host.peek().guests.get(&vm).map_or(NO_STATE, Guest::power_state);
    let told = host.conductor(ConductorCall::RefreshInstance(vm)).await?;
    let Response::Refreshed { settled: true, power_state, vm_state } = told else { return Ok(()) };
    if actual != power_state {
        host.conductor(ConductorCall::SavePowerState(vm, actual)).await?;
    }
    let unexpected = match vm_state {
        "active" | "paused" => actual == SHUTDOWN,
        "stopped" => actual == RUNNING,
        _ => false,
    };
    if unexpected {
        host.conductor(ConductorCall::SavePoweringOff(vm)).await?;
        host.conductor(ConductorCall::StartStop(vm)).await?;
        host.notice(Notice::Stop(vm));
    }
    Ok(())
}

/// One VM at each turn, forced from Neutron.
async fn heal_info_cache(host: &Host) -> Result<(), Fault> {
    let Some((instance, listed)) = next_to_heal(host).await? else { return Ok(()) };
    if instance.task_state.is_none() {
        host.network(NetworkRequest::GetPortBindings(instance.uuid)).await?;
    }
    if listed {
        host.conductor(ConductorCall::LoadField(instance.uuid, LazyField::InfoCache)).await?;
    }
    network::refresh_info_cache(host, instance.uuid, Refresh::Forced).await
}

/// The next VM of a list that is made anew when it has come to its end, and whether it comes from a list, without its info cache.
async fn next_to_heal(host: &Host) -> Result<Option<(Instance, bool)>, Fault> {
    let is_going = |instance: &Instance| instance.task_state == Some("deleting");
    if host.peek().to_heal.is_empty() {
        let listed = host.conductor(ConductorCall::GetInstances).await?.instances();
        let mut found = listed.into_iter().filter(|it| it.vm_state != "building" && !is_going(it));
        let first = found.next();
        host.state().to_heal = found.map(|instance| instance.uuid).collect();
        return Ok(first.map(|instance| (instance, true)));
    }
    loop {
        let Some(next) = host.state().to_heal.pop_front() else { return Ok(None) };
        let found = match host.conductor(ConductorCall::GetInstanceToHeal(next)).await {
            // It is gone by now.
            Err(Fault::Remote(class)) if class == "InstanceNotFound" => continue,
            found => found?.instances(),
        };
        // It may be on another host by now.
        if let Some(instance) = found.into_iter().find(|it| !is_going(it)) {
            return Ok(Some((instance, false)));
        }
    }
}
