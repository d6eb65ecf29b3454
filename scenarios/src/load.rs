//! The streams of a plan: each by itself, and what they have to do with each other.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    nearest,
    plan::{
        Arrivals::{Burst, Closed, Constant, Poisson, Ramp},
        LoadPlan, Operation, Until,
    },
    problem::Desk,
    read::Written,
    seed::DEFAULT_SEED,
    stream::Stream,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The streams of a plan, in the order of the scenario. What is wrong is noted, and left out.
pub(crate) fn resolve(streams: &[Stream], running: u32, desk: &mut Desk<'_>) -> Vec<LoadPlan> {
    names_are_unique(streams, desk);
    streams_can_follow(streams, desk);
    let mut load: Vec<LoadPlan> = streams.iter().filter_map(stream_plan).collect();
    servers_exist(streams, running > 0, desk);
    deletions_have_servers(streams, running.into(), &mut load, desk);
    load
}

/// Whether the load boots servers.
pub(crate) fn boots(streams: &[Stream]) -> bool {
    streams.iter().any(|stream| matches!(stream.operation, Some(Operation::Boot { .. })))
}

fn stream_plan(stream: &Stream) -> Option<LoadPlan> {
    Some(LoadPlan {
        name: stream.name.as_ref()?.value.clone(),
        operation: stream.operation.clone()?,
        arrivals: stream.arrivals.clone()?,
        start: stream.start.as_ref().map_or(Duration::ZERO, |start| start.value),
        after: stream.after.as_ref().map(|after| after.value.clone()),
        timeout: stream.timeout.as_ref().map_or(DEFAULT_TIMEOUT, |timeout| timeout.value),
    })
}

fn names_are_unique(streams: &[Stream], desk: &mut Desk<'_>) {
    let names: Vec<_> = streams.iter().filter_map(|stream| stream.name.as_ref()).collect();
    for (at, name) in names.iter().enumerate() {
        if names[..at].iter().any(|earlier| earlier.value == name.value) {
            let help = format!("give it one of its own: name = \"{}-2\"", name.value);
            name.complain(desk, format!("another stream is called `{}` already", name.value), help);
        }
    }
}

/// `after` names another stream, and following it comes to an end.
fn streams_can_follow(streams: &[Stream], desk: &mut Desk<'_>) {
    let with_after = |stream: &'_ Stream| Some((stream.name.as_ref()?.value.clone(), stream.after.clone()));
    let after: BTreeMap<String, Option<Written<String>>> = streams.iter().filter_map(with_after).collect();
    for (name, next) in &after {
        let Some(next) = next else { continue };
        if !after.contains_key(&next.value) {
            let others: Vec<&str> = after.keys().map(String::as_str).filter(|other| other != name).collect();
            let help = match others.as_slice() {
                [] => "there is no other stream; take `after` out".to_owned(),
                others => format!(
                    "{}other streams are {}",
                    nearest::hint(&next.value, others.iter().copied()),
                    others.join(", ")
                ),
            };
            next.complain(desk, format!("there is no stream `{}`", next.value), help);
        } else if let Some(circle) = circle(name, &after) {
            let circle = circle.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" waits for ");
            let message = format!("{circle} waits for `{name}`: none of them ever starts");
            next.complain(desk, message, "take one `after` out");
        }
    }
}

/// The streams from this one back to itself, if its `after`s lead there.
fn circle<'a>(name: &'a str, after: &'a BTreeMap<String, Option<Written<String>>>) -> Option<Vec<&'a str>> {
    let mut seen = vec![name];
    loop {
        let last = seen.last().expect("it begins with one");
        let next = after.get(*last)?.as_ref()?.value.as_str();
        if next == name {
            return Some(seen);
        }
        if seen.contains(&next) {
            return None; // a circle further on, which its own streams report
        }
        seen.push(next);
    }
}

/// Streams that work on servers have a stream that boots some, unless some run already.
fn servers_exist(streams: &[Stream], some_run: bool, desk: &mut Desk<'_>) {
    let unknown = streams.iter().any(|stream| stream.operation.is_none());
    if unknown || some_run || boots(streams) {
        return;
    }
    for stream in streams {
        if let (Some(Operation::Delete | Operation::Show | Operation::StopStart | Operation::Resize), Some(name)) =
            (&stream.operation, &stream.name)
        {
            name.complain(desk, "there are no servers to work on", "add a stream with operation = \"boot\"");
        }
    }
}

/// No more servers are deleted than run already and are booted, and `count = "all"` becomes the number that the other deletions leave.
fn deletions_have_servers(streams: &[Stream], running: u64, load: &mut [LoadPlan], desk: &mut Desk<'_>) {
    if !boots(streams) && running == 0 {
        return;
    }
    let booted: Option<u64> =
        load.iter().filter(|plan| matches!(plan.operation, Operation::Boot { .. })).map(exact_count).sum();
    let booted = booted.map(|booted| booted + running);
    let deletes = load.iter().filter(|plan| plan.operation == Operation::Delete);
    // A stream of "all" counts zero until its number is known.
    let mut deleted: u64 = deletes.filter_map(exact_count).sum();
    for stream in streams.iter().filter(|stream| stream.operation == Some(Operation::Delete)) {
        let Some(name) = &stream.name else { continue };
        let Some(plan) = load.iter_mut().find(|plan| plan.name == name.value) else { continue };
        match (&stream.all, booted) {
            (Some(all), None) => {
                let message = "it is not known beforehand how many servers there will be";
                all.complain(desk, message, "give a number, or give every boot stream a `count`");
            }
            (Some(all), Some(booted)) if deleted >= booted && booted > 0 => {
                all.complain(desk, "other streams delete all servers already", "leave this stream out");
            }
            (Some(_), Some(booted)) => {
                set_count(plan, booted.saturating_sub(deleted));
                deleted = booted;
            }
            (None, Some(booted)) if deleted > booted => {
                let message = format!("{deleted} servers are deleted, but only {booted} are booted");
                name.complain(desk, message, "delete fewer, or say count = \"all\"");
            }
            (None, _) => {}
        }
    }
}

/// The number of operations where it does not depend on the seed.
fn exact_count(plan: &LoadPlan) -> Option<u64> {
    match plan.arrivals {
        Poisson { until: Until::Elapsed(_), .. } => None,
        _ => plan.operations(DEFAULT_SEED),
    }
}

fn set_count(plan: &mut LoadPlan, count: u64) {
    match &mut plan.arrivals {
        Constant { until, .. } | Poisson { until, .. } | Closed { until, .. } => *until = Until::Count(count),
        Ramp { .. } | Burst { .. } => unreachable!("neither takes a count"),
    }
}
