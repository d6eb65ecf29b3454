//! Stopping processes: exactly those of one state folder.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::{MARK, Record, forget, load, procfs};
use crate::{StateDir, UpError};

/// How often a process that was asked to end is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a process may take to disappear after SIGKILL.
const KILLED_WITHIN: Duration = Duration::from_secs(5);
/// How long nginx may take to hand over to new workers: milliseconds, on a machine that is not busy.
const RELOADED_WITHIN: Duration = Duration::from_secs(30);

/// Stops everything of a state folder: what is recorded, latest first, then whatever else carries its mark.
/// Returns the names of what was stopped.
pub(crate) async fn stop_all(state: &StateDir) -> Result<Vec<String>, UpError> {
    let records = load(state)?;
    let orders: BTreeSet<u32> = records.iter().map(|record| record.order).collect();
    let mut stopped = Vec::new();
    for order in orders.into_iter().rev() {
        let together: Vec<Record> = records.iter().filter(|record| record.order == order).cloned().collect();
        stopped.extend(stop_recorded(state, &together).await?);
    }
    stopped.extend(stop_marked(state).await?);
    Ok(stopped)
}

/// Kills everything of a state folder whose data is to be thrown away: nobody has to put anything in order.
pub(crate) async fn kill_all(state: &StateDir) -> Result<(), UpError> {
    let mut records = load(state)?;
    records.iter_mut().for_each(|record| record.stop_within_ms = 0);
    stop_recorded(state, &records).await?;
    stop_marked(state).await.map(drop)
}

/// Stops some recorded processes at the same time, each with its whole group, and forgets them.
pub(crate) async fn stop_recorded(state: &StateDir, records: &[Record]) -> Result<Vec<String>, UpError> {
    let alive: Vec<&Record> = records.iter().filter(|record| group_is_ours(record)).collect();
    for record in &alive {
        signal_group(record.process.pid, Signal::TERM);
    }
    let started = Instant::now();
    loop {
        let left: Vec<&&Record> = alive.iter().filter(|record| group_is_ours(record)).collect();
        if left.is_empty() {
            break;
        }
        let waited = started.elapsed();
        for record in &left {
            if waited >= Duration::from_millis(record.stop_within_ms) {
                signal_group(record.process.pid, Signal::KILL);
            }
        }
        let longest = left.iter().map(|record| record.stop_within_ms).max().unwrap_or(0);
        if waited >= Duration::from_millis(longest) + KILLED_WITHIN {
            let names: Vec<&str> = left.iter().map(|record| record.process.name.as_str()).collect();
            return Err(UpError::step("stop", format!("{} did not end, even when killed", names.join(", ")), None));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    for record in records {
        forget(state, &record.process.name)?;
    }
    Ok(alive.into_iter().map(|record| record.process.name.clone()).collect())
}

/// Stops what carries the mark of a state folder and no record: left its group, or was started just before a crash.
async fn stop_marked(state: &StateDir) -> Result<Vec<String>, UpError> {
    let found = procfs::with_environment(MARK, state.path());
    let names = found.iter().map(|stat| format!("process {}", stat.pid)).collect();
    for (signal, within) in [(Signal::TERM, Duration::from_secs(10)), (Signal::KILL, KILLED_WITHIN)] {
        let started = Instant::now();
        let mut left = procfs::with_environment(MARK, state.path());
        left.iter().for_each(|stat| signal_one(stat.pid, signal));
        while !left.is_empty() && started.elapsed() < within {
            tokio::time::sleep(LOOK_EVERY).await;
            left = procfs::with_environment(MARK, state.path());
        }
        if left.is_empty() {
            return Ok(names);
        }
    }
    Err(UpError::step("stop", format!("processes of {} did not end, even when killed", state.path().display()), None))
}

/// Whether anything of the record's group still runs, and the group is the one that was recorded: its leader is the same
/// process, or the leader is gone and the members carry on (an id is not given away while a group has it).
fn group_is_ours(record: &Record) -> bool {
    let process = &record.process;
    if procfs::stat(process.pid).is_some_and(|stat| stat.start_ticks != process.start_ticks) {
        return false;
    }
    procfs::all()
        .iter()
        .any(|stat| stat.group == process.pid && stat.state != 'Z' && stat.start_ticks >= process.start_ticks)
}

/// Sends a signal to the group that this process leads.
pub(super) fn signal_group(leader: u32, signal: Signal) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // It may have ended since it was looked at; the next look tells.
        let _ = kill_process_group(group, signal);
    }
}

/// Makes nginx close the connections that are idle, which it does when it reads its configuration again: new workers take over
/// from those that run. Waits until these accept nothing more: one that was connected to an old worker at that moment would find
/// its connection closed under its next request.
///
/// # Errors
/// When the records cannot be read, or nginx does not do as it is told.
pub(crate) async fn reload_nginx(state: &StateDir) -> Result<(), UpError> {
    let Some(record) = load(state)?.into_iter().find(|record| record.process.name == "nginx" && record.is_alive())
    else {
        return Ok(());
    };
    let master = record.process.pid;
    let old: Vec<procfs::Stat> =
        procfs::all().into_iter().filter(|stat| stat.group == master && stat.pid != master).collect();
    signal_one(master, Signal::HUP);
    let accepts = |worker: &procfs::Stat| {
        procfs::is_alive(worker.pid, worker.start_ticks)
            && !procfs::command_line(worker.pid).contains("is shutting down")
    };
    let started = Instant::now();
    while old.iter().any(accepts) {
        if started.elapsed() >= RELOADED_WITHIN {
            let reason = format!("after {} s its old workers still accept connections", RELOADED_WITHIN.as_secs());
            return Err(UpError::step("reload nginx", reason, Some(&record.process.log_path)));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}

fn signal_one(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
