//! Counters of this process: the fleet and the load.

use std::{fs, time::Duration};

use tokio::runtime::Handle;

use super::{Sampler, Scribe, SharedFleet};

/// What the fleet counts.
pub(super) struct Counters {
    pub(super) fleet: SharedFleet,
}

impl Sampler for Counters {
    const WHAT: &'static str = "the fleet";
    // Its open files are counted one by one.
    const EVERY: Duration = Duration::from_secs(2);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        let looked = self.fleet.with(|fleet| (fleet.stats(), fleet.take_waiting_peak()));
        // What would grow for ever if something were not given back.
        let tasks = Handle::current().metrics().num_alive_tasks() as f64;
        scribe.sample("harness.tasks", "", tasks + looked.map_or(0.0, |(stats, _)| stats.tasks_beside as f64));
        let files =
            self.fleet.harness_processes().into_iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
        scribe.sample("harness.files", "", files.map(Iterator::count).sum::<usize>() as f64);
        let Some((stats, waiting_peak)) = looked else { return Ok(()) };
        scribe.sample("harness.waiting", "events", waiting_peak as f64);
        scribe.sample("harness.waiting", "HTTP requests", stats.http_under_way as f64);
        scribe.sample("fleet.registered", "", stats.registered as f64);
        scribe.sample("fleet.rpc_calls_total", "", stats.requests as f64);
        scribe.sample("fleet.rpc_timeouts_total", "", stats.timed_out as f64);
        Ok(())
    }
}

/// How many operations of each stream have started.
pub(super) struct Started {
    pub(super) started: Box<dyn Fn() -> Vec<(String, u64)> + Send + Sync>,
}

impl Sampler for Started {
    const WHAT: &'static str = "the load";
    const EVERY: Duration = Duration::from_secs(1);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        for (stream, started) in (self.started)() {
            scribe.sample("load.started", &stream, started as f64);
        }
        Ok(())
    }
}
