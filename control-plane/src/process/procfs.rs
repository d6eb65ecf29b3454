//! What the kernel says about processes (`/proc`, see proc(5)).

use std::{collections::BTreeMap, fs, path::Path};

use crate::ManagedProcess;

/// One line of `/proc/PID/stat`, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Process id.
    pub pid: u32,
    /// State letter; `Z`: ended, not yet collected by its parent.
    pub state: char,
    /// Process group.
    pub group: u32,
    /// CPU time of the process and of its collected children, in clock ticks.
    pub cpu_ticks: u64,
    /// CPU time of the process alone.
    pub own_cpu_ticks: u64,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Resident memory in pages.
    pub rss_pages: u64,
}

/// CPU and memory of a managed process: all processes of its group together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU time since its start, user and system, in seconds.
    pub cpu_s: f64,
    /// Resident memory in bytes; pages shared between the processes of the group count in each.
    pub rss_bytes: u64,
    /// Number of processes in the group.
    pub processes: u32,
}

/// Reads the stat line of a process; `None` when there is no such process.
pub fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes that can be seen.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat).collect()
}

/// Whether this very process still runs.
pub fn is_alive(pid: u32, start_ticks: u64) -> bool {
    stat(pid).is_some_and(|stat| stat.start_ticks == start_ticks && stat.state != 'Z')
}

/// What a process was called with, or what it has written over that to say what it is; empty when it has ended.
pub(crate) fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// CPU and memory of each process by name, from one pass over `/proc`. Processes that ended are left out.
pub fn usage(processes: &[ManagedProcess]) -> BTreeMap<String, Usage> {
    let everything = all();
    let alive = |process: &&ManagedProcess| {
        everything.iter().any(|stat| stat.pid == process.pid && stat.start_ticks == process.start_ticks)
    };
    let measured = processes.iter().filter(alive).map(|process| {
        let group = everything.iter().filter(|stat| stat.group == process.pid && stat.state != 'Z');
        (process.name.clone(), sum(group))
    });
    measured.collect()
}

/// Usage of several processes together.
pub fn sum<'a>(group: impl IntoIterator<Item = &'a Stat>) -> Usage {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let page_bytes = rustix::param::page_size() as u64;
    group.into_iter().fold(Usage::default(), |usage, stat| Usage {
        cpu_s: usage.cpu_s + stat.cpu_ticks as f64 / ticks_per_s,
        rss_bytes: usage.rss_bytes + stat.rss_pages * page_bytes,
        processes: usage.processes + 1,
    })
}

/// Ids of the processes whose environment has `name=value`; those of other users are seen by root only.
pub(crate) fn with_environment(name: &str, value: &Path) -> Vec<Stat> {
    let wanted = [name.as_bytes(), b"=", value.as_os_str().as_encoded_bytes()].concat();
    let carries = |stat: &Stat| {
        fs::read(format!("/proc/{}/environ", stat.pid))
            .is_ok_and(|environment| environment.split(|&byte| byte == 0).any(|entry| entry == wanted))
    };
    all().into_iter().filter(|stat| stat.state != 'Z' && carries(stat)).collect()
}

/// Parses a stat line. The command, in parentheses, may hold spaces and parentheses of its own.
fn parse(line: &str) -> Option<Stat> {
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    // proc(5) counts from 1 and the state is field 3, so field N is at N - 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let own_cpu_ticks = number(14)? + number(15)?;
    let cpu_ticks = own_cpu_ticks + number(16)? + number(17)?;
    Some(Stat {
        pid,
        state: fields.first()?.chars().next()?,
        group: u32::try_from(number(5)?).ok()?,
        cpu_ticks,
        own_cpu_ticks,
        start_ticks: number(22)?,
        rss_pages: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_hostile_name_is_read() {
        let line =
            "42 (a) b (c)) S 1 40 40 0 -1 4194304 1 2 3 4 10 20 3 4 20 0 1 0 777 1000000 55 18446744073709551615 1";
        let expected =
            Stat { pid: 42, state: 'S', group: 40, cpu_ticks: 37, own_cpu_ticks: 30, start_ticks: 777, rss_pages: 55 };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn this_process_is_alive_and_a_later_one_with_its_id_is_not_it() {
        let me = stat(std::process::id()).unwrap();
        assert!(is_alive(me.pid, me.start_ticks));
        assert!(!is_alive(me.pid, me.start_ticks + 1));
    }
}
