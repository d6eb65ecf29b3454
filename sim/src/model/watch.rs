//! Looks at the model, at the same things as the live target looks at in its cloud. A look costs the model nothing.

use std::time::Duration;

use super::{Event, World, host_name};

/// Time between two looks. A host that is down between two of them is not seen; the live target sees it.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

impl World {
    pub(crate) fn look(&mut self) {
        self.look_at_hosts();
        self.look_at_processes();
        self.look_at_broker_and_database();
        self.look_at_load();
        self.beat_connections(EVERY);
        self.calendar.enter(self.now + EVERY, Event::Look);
        self.go_on();
    }

    /// Which hosts Nova takes for up, by the clock of the first controller.
    fn look_at_hosts(&mut self) {
        let clock_ns = self.machines[0].clock_ns(self.now);
        let mut up = 0_u32;
        for host in 0..self.fleet.started {
            let is_up = self.is_up(host, clock_ns);
            up += u32::from(is_up);
            let was_up = std::mem::replace(&mut self.stage.up[host as usize], is_up);
            if was_up != is_up && (was_up || self.stage.was_up[host as usize]) {
                let kind = if is_up { "host_up" } else { "host_down" };
                self.log.event(self.now, kind, host_name(host));
            }
            self.stage.was_up[host as usize] |= is_up;
        }
        self.stage.hosts_up = up;
        self.sample("fleet.up", "", f64::from(up));
        self.sample("fleet.registered", "", f64::from(self.registered()));
        self.sample("fleet.rpc_calls_total", "", self.fleet.requests as f64);
        self.sample("fleet.rpc_timeouts_total", "", self.fleet.timeouts as f64);
    }

    fn look_at_processes(&mut self) {
        for group in 0..self.groups.0.len() {
            let members = &self.groups.0[group].processes;
            let cpu_ns: f64 = members.iter().map(|id| self.processes[usize::from(*id)].cpu_ns).sum();
            let waiting: usize = members.iter().map(|id| self.processes[usize::from(*id)].backlog()).sum();
            let pools: usize = members.iter().map(|id| self.processes[usize::from(*id)].pool_waiting()).sum();
            let name = self.groups.0[group].name.clone();
            self.sample("process.cpu_s", &name, cpu_ns / 1e9);
            self.sample("process.waiting", &name, waiting as f64);
            self.sample("process.pool_waiting", &name, pools as f64);
        }
        let now = self.now;
        for machine in 0..self.machines.len() {
            let busy = self.machines[machine].busy(now).as_secs_f64();
            let name = if self.machines.len() == 1 { String::new() } else { self.machines[machine].name.clone() };
            self.sample("machine.cpu_s", &name, busy);
        }
    }

    fn look_at_broker_and_database(&mut self) {
        for node in 0..self.broker.nodes.len() {
            let name = numbered("rabbitmq", node, self.broker.nodes.len());
            self.sample("process.cpu_s", &name, self.broker.cpu_ns[node] / 1e9);
        }
        let every_s = EVERY.as_secs_f64();
        let (published, delivered) = (self.broker.published, self.broker.delivered);
        let [published_before, delivered_before] = std::mem::replace(&mut self.stage.messages, [published, delivered]);
        self.sample("broker.publish_per_s", "", (published - published_before) as f64 / every_s);
        self.sample("broker.deliver_per_s", "", (delivered - delivered_before) as f64 / every_s);
        let (connections, consumers) = self.links.connections();
        self.sample("broker.connections", "", connections as f64);
        self.sample("broker.consumers", "", consumers as f64);
        self.sample("process.cpu_s", "mariadb", self.database.cpu_ns / 1e9);
        let database = &self.database;
        let values = [
            ("database.connections", database.connections),
            ("database.queries_total", database.queries),
            ("database.lock_waits_total", database.lock_waits),
            ("database.refused_total", database.refused),
            ("database.pool_timeouts_total", database.pool_timeouts),
        ];
        for (metric, value) in values {
            self.sample(metric, "", value as f64);
        }
    }

    fn look_at_load(&self) {
        for (stream, started) in self.clients.started() {
            self.sample("load.started", stream, started as f64);
        }
    }

    fn sample(&self, metric: &str, instance: &str, value: f64) {
        self.log.sample(self.now, metric, instance, value);
    }
}

/// `rabbitmq`, or `rabbitmq-2` where there are several.
fn numbered(name: &str, index: usize, of: usize) -> String {
    if of == 1 { name.to_owned() } else { format!("{name}-{}", index + 1) }
}
