//! nova-scheduler: `select_destinations`, and what hosts tell it of their servers.
//!
//! A request reads all compute services, asks Placement for candidates, reads their nodes, filters those that are up by its own
//! clock, weighs them by what their records say, and claims on the best, or on one of `host_subset_size` best. Records lag behind
//! claims, so schedulers that work at the same time choose the same hosts. News of servers comes as one message for each
//! scheduler.
//!
//! Left out: filters other than ComputeFilter, IoOpsFilter and room, weighers other than RAM, CPU, disk, builds and failures (the fleet's
//! hosts are alike in the rest), aggregates, server groups, `discover_hosts_in_cells_interval`.

use hypervisor::Fault;
use rand::Rng;

use super::{
    ServiceId, World,
    ops::Ops,
    recipes::{ask, plain},
    task::{Asker, Count, Flow, OpId, Recipe, Schema, Step, TaskId},
};
use crate::calibration::Calibration;

const SERVICE: &str = "nova-scheduler";

/// The operations of the scheduler.
#[derive(Debug)]
pub(crate) struct SchedulerOps {
    pub(crate) select: OpId,
    pub(crate) news: OpId,
}

impl SchedulerOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration) -> Self {
        let work = calibration.work(SERVICE, "select_destinations");
        let each = |kind: &str| calibration.work(SERVICE, kind).cpu_ms * 1e6;
        let cpu_ns = work.cpu_ms * 1e6;
        let mut steps = vec![Step::Cpu { mean_ns: cpu_ns * 0.3, releases: RELEASES }];
        steps.extend(ask(ask_candidates));
        steps.push(Step::Take(Schema::Main));
        steps.push(Step::QueryEach(calibration.database.service_row_ms * 1e6, Count::ComputeServices));
        steps.push(Step::QueryEach(calibration.database.node_row_ms * 1e6, Count::Candidates));
        steps.push(Step::Query { db_ns: work.db_ms * 1e6, trips: work.queries });
        steps.push(Step::Give);
        steps.push(Step::CpuEach(each("service_row"), Count::ComputeServices));
        steps.push(Step::CpuEach(each("candidate"), Count::Candidates));
        steps.push(Step::Cpu { mean_ns: cpu_ns * 0.4, releases: RELEASES });
        steps.push(Step::Do(choose));
        let claim = u16::try_from(steps.len()).expect("a recipe is short");
        steps.extend([Step::Do(ask_current), Step::Do(ask_claim), Step::Do(claimed)]);
        steps.push(Step::Cpu { mean_ns: cpu_ns * 0.3, releases: RELEASES });
        debug_assert_eq!(claim, CLAIM, "the step that a refused claim goes back to");
        let select = ops.add(Recipe { name: "select_destinations".to_owned(), steps });
        let steps = plain(calibration.work(SERVICE, "news"), None, None);
        let news = ops.add(Recipe { name: "instance news".to_owned(), steps });
        Self { select, news }
    }
}

/// How often each part of it lets go of the interpreter.
const RELEASES: f32 = 4.0;
/// The step of `select_destinations` that claims on the next choice.
const CLAIM: u16 = 12;

fn ask_candidates(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.placement.candidates;
    world.ask(task, ServiceId::Placement, op)
}

fn ask_current(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.placement.allocations;
    world.ask(task, ServiceId::Placement, op)
}

fn ask_claim(world: &mut World, task: TaskId) -> Flow {
    let op = world.ops.placement.claim;
    let subject = world.tasks[task].subject;
    let host = world.tasks[task].note;
    let child = world.tasks.add(op, Asker::Task(task), super::task::Subject { host, ..subject });
    world.send_http(ServiceId::Placement, child);
    Flow::Wait
}

/// Whether the claim went through; else the next choice, and when there is none, no valid host.
fn claimed(world: &mut World, task: TaskId) -> Flow {
    let number = world.tasks[task].subject.instance;
    let refused = std::mem::replace(&mut world.tasks[task].result, Ok(hypervisor::Response::Done)).is_err();
    if !refused {
        return Flow::Next;
    }
    let server = world.facts.server(number);
    server.alternates.remove(0);
    match server.alternates.first() {
        Some(next) => {
            world.tasks[task].note = *next;
            Flow::Goto(CLAIM)
        }
        None => no_valid_host(),
    }
}

fn no_valid_host() -> Flow {
    Flow::Fail(Fault::Remote("NoValidHost".to_owned()))
}

/// Filters and weighs.
fn choose(world: &mut World, task: TaskId) -> Flow {
    let number = world.tasks[task].subject.instance;
    let clock_ns = world.clock_of(world.tasks[task].process);
    let candidates = world.candidates();
    let fit: Vec<u32> = candidates.into_iter().filter(|host| passes(world, *host, clock_ns)).collect();
    let weighed = weigh(world, fit);
    let Some(best) = pick(world, &weighed) else { return no_valid_host() };
    let attempts = world.settings.max_attempts as usize;
    let others = weighed.into_iter().map(|(host, _)| host).filter(|host| *host != best);
    let chosen: Vec<u32> = std::iter::once(best).chain(others).take(attempts.max(1)).collect();
    world.tasks[task].note = best;
    world.facts.server(number).alternates = chosen;
    Flow::Next
}

/// The filters: the host is enabled and up, and has not too many builds.
fn passes(world: &World, host: u32, clock_ns: i64) -> bool {
    let facts = &world.facts.hosts[host as usize];
    let busy = world.settings.max_io_ops.is_some_and(|most| facts.usage.building >= i64::from(most));
    !facts.disabled && !busy && (!world.settings.filters_down || world.is_up(host, clock_ns))
}

/// Hosts with their weights, the heaviest first; equal ones in the order of Placement.
fn weigh(world: &World, hosts: Vec<u32>) -> Vec<(u32, f64)> {
    let of = |host: &u32| {
        let usage = &world.facts.hosts[*host as usize].usage;
        // Of equal hosts, what is free is what is not used: one value stands for RAM, CPU and disk.
        [usage.instances, usage.building, usage.failed_builds].map(|count| -(count as f64))
    };
    let values: Vec<[f64; 3]> = hosts.iter().map(of).collect();
    let bounds = |at: usize| {
        let all = values.iter().map(|value| value[at]);
        (all.clone().fold(f64::MAX, f64::min), all.fold(f64::MIN, f64::max))
    };
    let bounds = [bounds(0), bounds(1), bounds(2)];
    // RAM, CPU and disk count once each, builds once, failures by their multiplier.
    let multipliers = [3.0, 1.0, world.settings.build_failure_multiplier];
    let weight = |value: &[f64; 3]| {
        let terms = (0..3).map(|at| {
            let (low, high) = bounds[at];
            if high > low { multipliers[at] * (value[at] - low) / (high - low) } else { 0.0 }
        });
        terms.sum::<f64>()
    };
    let mut weighed: Vec<(u32, f64)> = hosts.iter().copied().zip(values.iter().map(weight)).collect();
    weighed.sort_by(|a, b| b.1.total_cmp(&a.1));
    weighed
}

/// One of the best.
fn pick(world: &mut World, weighed: &[(u32, f64)]) -> Option<u32> {
    let (_, best) = *weighed.first()?;
    let same = weighed.iter().take_while(|(_, weight)| *weight >= best).count();
    let subset = (world.settings.host_subset_size as usize).clamp(1, weighed.len());
    let among = if world.settings.shuffle_best { subset.max(same) } else { subset };
    let at = if among > 1 { world.dice.random_range(0..among) } else { 0 };
    Some(weighed[at].0)
}

impl World {
    /// The hosts that Placement offers: those with room, as many as the scheduler asks for.
    pub(crate) fn candidates(&mut self) -> Vec<u32> {
        let limit = self.settings.max_placement_results as usize;
        let room = self.facts.room as usize;
        let has_room = |host: &&u32| self.facts.hosts[**host as usize].consumers.len() < room;
        let providers = &self.facts.providers;
        if !self.settings.randomize_candidates || providers.len() <= limit {
            return providers.iter().filter(has_room).take(limit).copied().collect();
        }
        let from = self.dice.random_range(0..providers.len());
        let (before, after) = providers.split_at(from);
        after.iter().chain(before).filter(has_room).take(limit).copied().collect()
    }

    /// Whether a host counts as up for somebody whose clock shows this: `|now − last_seen_up| ≤ service_down_time`.
    pub(crate) fn is_up(&self, host: u32, clock_ns: i64) -> bool {
        let seen_ns = self.facts.hosts[host as usize].last_seen_ns;
        seen_ns.is_some_and(|seen_ns| clock_ns.abs_diff(seen_ns) <= self.settings.service_down_ns)
    }
}
