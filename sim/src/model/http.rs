//! The APIs' front: nginx, and the processes behind it.
//!
//! nginx on each controller takes connections one after another and hands each to the process with the fewest, as
//! `least_conn` does; a process serves as many as it has threads and lets the rest wait in its socket's backlog. Client timeouts
//! are those of the services' clients: none by default.
//!
//! Left out: TLS, keep-alive, a backlog that overflows, `proxy_read_timeout`, HAProxy.

use std::time::Duration;

use hypervisor::Time;

use super::{Event, ServiceId, World, task::TaskId};

impl World {
    /// Sends a request to an API.
    pub(crate) fn send_http(&mut self, service: ServiceId, task: TaskId) {
        let process = self.least_loaded(service);
        self.tasks[task].process = process;
        let machine = usize::from(self.machine_of(process));
        let arrives = self.now + self.costs.link;
        let proxied = self.costs.proxy;
        let front_free = &mut self.machines[machine].front_free;
        *front_free = (*front_free).max(arrives) + proxied;
        let done: Time = *front_free;
        self.outstanding_http(process, 1);
        self.calendar.enter(done, Event::Arrive(task));
    }

    fn least_loaded(&mut self, service: ServiceId) -> u16 {
        let offset = self.services[service].processes.turn();
        let all = &self.services[service].processes.all;
        let first = offset % all.len();
        let mut best = all[first];
        let mut fewest = self.http_load[usize::from(best)];
        for step in 1..all.len() {
            if fewest == 0 {
                break;
            }
            let candidate = all[(first + step) % all.len()];
            let load = self.http_load[usize::from(candidate)];
            if load < fewest {
                (best, fewest) = (candidate, load);
            }
        }
        best
    }

    pub(crate) fn outstanding_http(&mut self, process: u16, change: i32) {
        let load = &mut self.http_load[usize::from(process)];
        *load = load.saturating_add_signed(change);
    }

    /// An HTTP request is served: its answer goes out, its thread is free.
    pub(crate) fn send_response(&mut self, task: TaskId) {
        let process = self.tasks[task].process;
        self.outstanding_http(process, -1);
        self.calendar.enter(self.now + self.costs.link, Event::Answer(task));
        self.handler_free(process);
    }
}

/// How long nginx works on one request.
pub(crate) fn proxy_time(proxy_ms: f64) -> Duration {
    Duration::from_nanos((proxy_ms * 1e6) as u64)
}
