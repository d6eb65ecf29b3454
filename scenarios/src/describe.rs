//! A plan in a form that people like to read.

use std::{fmt::Write as _, time::Duration};

use hypervisor::Delay;

use crate::{
    options,
    plan::{Arrivals, Bound, ConnectionMode, DeploymentPlan, Gate, LoadPlan, Operation, Plan, Start, Until},
    units::{show_rate, show_size, show_time},
};

/// Shows a plan: every value that the run will use, with the units a scenario writes.
pub fn describe(plan: &Plan) -> String {
    let mut page = Page { text: format!("{}: {}\n", plan.scenario, plan.description), rows: Vec::new() };
    page.row("release", &plan.release);
    page.row("seed", &plan.seed.to_string());
    cloud(&mut page, plan);
    if plan.cloud.bring_your_own.is_none() {
        deployment(&mut page, &plan.deployment);
    }
    fleet(&mut page, plan);
    page.head("tuning (what differs from the release's defaults)");
    let tuning = options::non_defaults(&plan.tuning, &plan.release);
    tuning.iter().for_each(|(option, value)| page.row(option, value));
    if tuning.is_empty() {
        page.row("nothing", "");
    }
    page.head("load");
    plan.load.iter().for_each(|load| stream(&mut page, load, plan.seed));
    if plan.load.is_empty() {
        page.row("none", "the fleet registers and idles");
    }
    for incident in &plan.incidents {
        let (at, what) = (show_time(incident.at), incident.kind.words());
        page.row("incident", &format!("{at} after the load begins: {what}"));
    }
    page.row("drain", &format!("waits up to {} for the last operations", show_time(plan.drain)));
    page.head("gates");
    plan.gates.iter().for_each(|gate| page.row(&gate.metric, &bound(gate)));
    page.row(
        "(lateness)",
        &format!("invalid if the harness is late by more than {} (p99)", show_time(plan.late_bound)),
    );
    edge(&mut page, plan);
    page.finish()
}

fn edge(page: &mut Page, plan: &Plan) {
    let Some(edge) = &plan.edge else { return };
    page.head("search");
    let (from, to) = (edge.written(edge.from), edge.written(edge.to));
    page.row(&edge.vary, &format!("{from} to {to}, to the largest at which all gates hold"));
    let (within, most) = (edge.within * 100.0, count(edge.most_trials.into(), "trial"));
    page.row("until", &format!("the edge is known within {within:.0} %, or after {most}"));
    for (name, tuning) in &edge.tunings {
        let options = options::non_defaults(tuning, &plan.release);
        let options: Vec<String> = options.iter().map(|(option, value)| format!("{option} = {value}")).collect();
        page.row(name, &if options.is_empty() { "as above".to_owned() } else { options.join(", ") });
    }
}

/// Sections of two columns, as wide as each section needs.
struct Page {
    text: String,
    rows: Vec<(String, String)>,
}

impl Page {
    fn head(&mut self, title: &str) {
        self.flush();
        writeln!(self.text, "\n{title}").expect("writing to a string cannot fail");
    }

    fn row(&mut self, name: &str, value: &str) {
        self.rows.push((name.to_owned(), value.to_owned()));
    }

    fn flush(&mut self) {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in self.rows.drain(..) {
            let line = format!("  {name:<width$}  {value}");
            writeln!(self.text, "{}", line.trim_end()).expect("writing to a string cannot fail");
        }
    }

    fn finish(mut self) -> String {
        self.flush();
        self.text
    }
}

fn cloud(page: &mut Page, plan: &Plan) {
    page.head("cloud");
    match &plan.cloud.bring_your_own {
        Some(own) => {
            page.row(
                "bring your own",
                &format!("{} of clouds.yaml, broker from ${}", own.cloud, own.transport_url_env),
            );
        }
        None => {
            if let Some(brokers) = plan.cloud.brokers {
                page.row("rabbitmq", &count(brokers.into(), "node"));
            }
            for (service, wsgi) in &plan.cloud.wsgi {
                page.row(
                    service,
                    &format!("{} x {}", count(wsgi.processes.into(), "process"), count(wsgi.threads.into(), "thread")),
                );
            }
        }
    }
    let tenants = &plan.tenants;
    page.row(
        "tenants",
        &format!("{}, {}", count(tenants.projects.into(), "project"), count(tenants.users.into(), "user")),
    );
    if let Some(image) = &tenants.image {
        page.row("image", image);
    }
}

fn deployment(page: &mut Page, plan: &DeploymentPlan) {
    page.head("deployment (of the model; a live run has the machine that it is on)");
    let machines = |count: u32, cores: u32| match count {
        0 => "on the first controller".to_owned(),
        some => format!("{} with {} each", self::count(some.into(), "machine"), self::count(cores.into(), "core")),
    };
    page.row("controllers", &machines(plan.controllers, plan.controller_cores));
    page.row("brokers", &machines(plan.brokers, plan.broker_cores));
    let database = machines(u32::from(plan.database_cores > 0), plan.database_cores);
    page.row("database", &format!("{database}, {}", count(plan.database_connections.into(), "connection")));
    page.row("links", &format!("{} one way", show_time(plan.link)));
    if !plan.clock_skew.is_zero() {
        page.row("clocks", &format!("up to {} apart", show_time(plan.clock_skew)));
    }
}

fn fleet(page: &mut Page, plan: &Plan) {
    let fleet = &plan.fleet;
    page.head("fleet");
    page.row("hypervisors", &fleet.hypervisors.to_string());
    if fleet.servers > 0 {
        page.row("servers", &format!("{} run on them already", fleet.servers));
    }
    page.row(
        "connections",
        &match fleet.connections {
            ConnectionMode::Faithful if fleet.l2_agent => {
                "faithful: four as nova-compute, thirteen as its L2 agent".to_owned()
            }
            ConnectionMode::Faithful => "faithful: four as nova-compute".to_owned(),
            ConnectionMode::Single => "single: one for each hypervisor".to_owned(),
            ConnectionMode::Shared { connections } => format!("shared: {connections} for the whole fleet"),
        },
    );
    if fleet.real > 0 {
        page.row("beside them", &count(fleet.real.into(), "real nova-compute"));
    }
    if let Some(processes) = fleet.processes {
        page.row("processes", &format!("{processes} of the harness carry them"));
    }
    if !fleet.l2_agent {
        page.row("L2 agent", "none: servers have no NICs");
    }
    let pace = start(fleet.start);
    page.row("start", &format!("{pace}, all up within {}", show_time(fleet.register_within)));
    let resources = &fleet.resources;
    let (memory, disk) = (show_size(resources.memory_mb << 20), show_size(resources.local_gb << 30));
    page.row("each offers", &format!("{} vCPUs, {memory} memory, {disk} disk", resources.vcpus));
    let (cpu, ram, disk) =
        (resources.cpu_allocation_ratio, resources.ram_allocation_ratio, resources.disk_allocation_ratio);
    page.row("allocation ratios", &format!("CPU {cpu}, memory {ram}, disk {disk}"));
    page.row("image fetch", &delay(&fleet.times.image_fetch));
    page.row("spawn", &delay(&fleet.times.spawn));
    page.row("wiring", &delay(&fleet.times.wiring));
    page.row("destroy", &delay(&fleet.times.destroy));
    page.row("think time", &delay(&fleet.times.think));
}

/// Shows when hypervisors start: `50/s`, `all at once`.
pub fn start(start: Start) -> String {
    match start {
        Start::Pace { per_s } => show_rate(per_s),
        Start::AtOnce => "all at once".to_owned(),
        Start::Stagger { over } => format!("at random within {}", show_time(over)),
        Start::UnderWay { hypervisors } => format!("as fast as the cloud takes them, {hypervisors} at any time"),
    }
}

fn stream(page: &mut Page, load: &LoadPlan, seed: u64) {
    let what = match load.operation {
        Operation::Boot { nics, batch } => {
            let batch = if batch > 1 { format!(", {batch} servers a request") } else { String::new() };
            format!("boot, {} each{batch}", count(nics.into(), "NIC"))
        }
        Operation::Delete => "delete".to_owned(),
        Operation::List => "list".to_owned(),
        Operation::Show => "show".to_owned(),
        Operation::Token => "token".to_owned(),
        Operation::StopStart => "stop, then start".to_owned(),
        Operation::Resize => "resize to the other flavor, then confirm".to_owned(),
    };
    page.row(&load.name, &format!("{what}: {}", arrivals(&load.arrivals)));
    let begins = match &load.after {
        Some(after) => format!("{} after `{after}` has ended", show_time(load.start)),
        None => format!("{} after the load begins", show_time(load.start)),
    };
    let total = load.operations(seed).map_or("as many as it gets done".to_owned(), |total| count(total, "operation"));
    page.row("", &format!("{total}; begins {begins}; each fails after {}", show_time(load.timeout)));
}

fn arrivals(arrivals: &Arrivals) -> String {
    match arrivals {
        Arrivals::Constant { rate_per_s, until } => format!("{} evenly, {}", show_rate(*rate_per_s), ends(*until)),
        Arrivals::Poisson { rate_per_s, until } => format!("{} Poisson, {}", show_rate(*rate_per_s), ends(*until)),
        Arrivals::Ramp { from_per_s, to_per_s, duration } => {
            format!("{} to {} over {}", show_rate(*from_per_s), show_rate(*to_per_s), show_time(*duration))
        }
        Arrivals::Burst { size, every, times } => format!("{size} at once, {times} times, {} apart", show_time(*every)),
        Arrivals::Closed { users, think, until } => {
            format!(
                "closed loop of {}, think time {}, {}",
                count((*users).into(), "client"),
                delay(think),
                ends(*until)
            )
        }
    }
}

fn ends(until: Until) -> String {
    match until {
        Until::Count(total) => format!("{total} of them"),
        Until::Elapsed(time) => format!("for {}", show_time(time)),
    }
}

/// Shows a distribution of times: `log-normal, median 2s, p99 8s`.
pub fn delay(delay: &Delay) -> String {
    match delay {
        Delay::Constant { value } => show_time(*value),
        Delay::Uniform { min, max } => format!("uniform, {} to {}", show_time(*min), show_time(*max)),
        Delay::Exponential { mean } => format!("exponential, mean {}", show_time(*mean)),
        Delay::LogNormal { median, p99 } => {
            format!("log-normal, median {}, p99 {}", show_time(*median), show_time(*p99))
        }
    }
}

fn bound(gate: &Gate) -> String {
    let (words, value) = match gate.bound {
        Bound::Max(value) => ("at most", value),
        Bound::Min(value) => ("at least", value),
        Bound::Equals(value) => ("exactly", value),
    };
    match Duration::try_from_secs_f64(value / 1e3) {
        Ok(time) if gate.metric.contains("_ms") => format!("{words} {}", show_time(time)),
        _ => format!("{words} {value}"),
    }
}

fn count(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ if what.ends_with('s') => format!("{number} {what}es"),
        _ => format!("{number} {what}s"),
    }
}
