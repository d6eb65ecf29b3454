//! CPU and memory, from `/proc`.

use std::{collections::BTreeMap, fs, time::Duration};

use super::{Sampler, Scribe, SharedFleet, SharedProcesses};
use crate::{ManagedProcess, process::procfs};

/// The cloud's processes by name, with the workers of each, and beside them the machine and the harness.
pub(super) struct Processes {
    pub(super) processes: Vec<ManagedProcess>,
    /// Real nova-computes, which come later.
    pub(super) real: SharedProcesses,
    /// Its processes are the harness's.
    pub(super) fleet: SharedFleet,
    /// CPU time of each process of the harness when it was last seen: one that has ended has used its share all the same.
    pub(super) harness_ticks: BTreeMap<u32, u64>,
}

impl Sampler for Processes {
    const WHAT: &'static str = "the processes";
    const EVERY: Duration = Duration::from_secs(2);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        // A pass over /proc takes about a millisecond: less than moving it to another thread is worth.
        for (name, usage) in procfs::usage(&[self.processes.clone(), self.real.all()].concat()) {
            scribe.sample("process.cpu_s", &name, usage.cpu_s);
            scribe.sample("process.rss_bytes", &name, usage.rss_bytes as f64);
        }
        let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
        let mut pages = 0;
        for (pid, stat) in self.fleet.harness_processes().into_iter().filter_map(|pid| Some((pid, procfs::stat(pid)?)))
        {
            // Without children that have ended: those are the commands that brought the cloud up.
            self.harness_ticks.insert(pid, stat.own_cpu_ticks);
            pages += stat.rss_pages;
        }
        scribe.sample("harness.cpu_s", "", self.harness_ticks.values().sum::<u64>() as f64 / ticks_per_s);
        scribe.sample("harness.rss_bytes", "", pages as f64 * rustix::param::page_size() as f64);
        let stat = fs::read_to_string("/proc/stat").map_err(|error| format!("/proc/stat: {error}"))?;
        let busy = busy_ticks(&stat).ok_or("/proc/stat does not begin with the line `cpu`")?;
        scribe.sample("machine.cpu_s", "", busy as f64 / ticks_per_s);
        Ok(())
    }
}

/// Ticks in which any core was busy: user, nice, system, irq, softirq, steal (proc(5); guest time is part of user time).
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    const IDLE_AND_IOWAIT: [usize; 2] = [3, 4];
    let busy = ticks.iter().take(8).enumerate().filter(|(field, _)| !IDLE_AND_IOWAIT.contains(field));
    (ticks.len() >= 8).then(|| busy.map(|(_, ticks)| ticks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(busy_ticks("cpu  10 1 5 1000 200 2 3 4 9 9\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), Some(25));
        assert_eq!(busy_ticks("intr 1 2 3\n"), None);
    }
}
