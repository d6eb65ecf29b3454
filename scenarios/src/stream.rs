//! One `[[load]]`: what it does, when, and for how long.

use std::time::Duration;

use hypervisor::Delay;

use crate::{
    delays,
    document::{Entry, Table, Value},
    nearest,
    plan::{Arrivals, Operation, Until},
    problem::{Complaint, Desk, Place},
    read::{FromNode, RatePerS, Section, Written},
};

/// Most operations of one stream: ten million records are a gigabyte of results, and no run gets through more.
const MOST_OPERATIONS: u64 = 10_000_000;

/// Lowest rate above zero: one operation in twelve days.
const LOWEST_PER_S: f64 = 1e-6;

/// Longest stream: a year.
const LONGEST_S: f64 = 366.0 * 86_400.0;

const OPERATIONS: [&str; 7] = ["boot", "delete", "list", "show", "token", "stop_start", "resize"];

/// Most servers that one request asks for: Nova's own limit is the quota.
const LARGEST_BATCH: u32 = 1_000;

/// The kinds of arrivals and the keys that each takes.
const ARRIVALS: [(&str, &[&str]); 5] = [
    ("constant", &["rate", "count", "duration"]),
    ("poisson", &["rate", "count", "duration"]),
    ("ramp", &["from", "to", "duration"]),
    ("burst", &["size", "every", "times"]),
    ("closed", &["clients", "think", "count", "duration"]),
];

/// A stream as it was written. What is `None` was wrong or missing, and is noted.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The name, or where there is none the operation.
    pub(crate) name: Option<Written<String>>,
    pub(crate) operation: Option<Operation>,
    pub(crate) arrivals: Option<Arrivals>,
    /// `count = "all"`: the count of the arrivals is filled in when the rest of the scenario is known.
    pub(crate) all: Option<Written<()>>,
    pub(crate) start: Option<Written<Duration>>,
    pub(crate) after: Option<Written<String>>,
    pub(crate) timeout: Option<Written<Duration>>,
}

impl Stream {
    pub(crate) fn read(table: &Table, place: Place, desk: &mut Desk<'_>) -> Self {
        let mut section = Section::new(path(table), table, place);
        let why = format!("one of {}", OPERATIONS.map(|name| format!("\"{name}\"")).join(", "));
        let operation_name = section.require::<String>(desk, "operation", &why);
        let name = section.get::<String>(desk, "name").or_else(|| operation_name.clone());
        let nics = section.get::<u32>(desk, "nics");
        let batch = section.get::<u32>(desk, "batch");
        let operation = operation_name.as_ref().and_then(|written| operation(written, nics, batch, desk));
        let mut all = None;
        let arrivals = arrivals(&mut section, operation_name.as_ref(), &mut all, desk);
        let stream = Self {
            name: name.filter(|name| valid_name(name, desk)),
            operation,
            arrivals,
            all,
            start: section.get(desk, "start"),
            after: section.get(desk, "after"),
            timeout: section.get(desk, "timeout"),
        };
        if let Some(timeout) = stream.timeout.as_ref().filter(|timeout| timeout.value.is_zero()) {
            timeout.complain(desk, "every operation would time out at once", "give a time above zero, such as \"5m\"");
        }
        section.finish(desk);
        stream
    }
}

fn path(table: &Table) -> String {
    let text = |key: &str| match table.get(key).map(|entry: &Entry| &entry.node.value) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    text("name").or_else(|| text("operation")).map_or_else(|| "load".to_owned(), |name| format!("load.{name}"))
}

/// Names of streams are parts of metrics and of file names.
fn valid_name(name: &Written<String>, desk: &mut Desk<'_>) -> bool {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let right = name.value.chars().all(valid) && name.value.len() <= 64;
    if !right {
        let help = "use up to 64 of a-z, 0-9, `-` and `_`: the name becomes part of metrics and of file names";
        name.complain(desk, format!("{:?} cannot be the name of a stream", name.value), help);
    }
    right
}

fn operation(
    written: &Written<String>,
    nics: Option<Written<u32>>,
    batch: Option<Written<u32>>,
    desk: &mut Desk<'_>,
) -> Option<Operation> {
    if let Some(batch) = &batch {
        if written.value != "boot" {
            batch.complain(
                desk,
                format!("a {} is about one thing", written.value),
                "only operation = \"boot\" takes `batch`",
            );
        } else if !(1..=LARGEST_BATCH).contains(&batch.value) {
            batch.complain(
                desk,
                format!("{} servers in one request", batch.value),
                format!("give 1 to {LARGEST_BATCH}"),
            );
        }
    }
    if let Some(nics) = &nics {
        if written.value != "boot" {
            nics.complain(desk, format!("a {} has no NICs", written.value), "only operation = \"boot\" takes `nics`");
        } else if nics.value > 16 {
            nics.complain(desk, format!("{} NICs for each server", nics.value), "give at most 16");
        }
    }
    match written.value.as_str() {
        "boot" => Some(Operation::Boot {
            nics: nics.map_or(1, |nics| nics.value),
            batch: batch.map_or(1, |batch| batch.value),
        }),
        "delete" => Some(Operation::Delete),
        "list" => Some(Operation::List),
        "show" => Some(Operation::Show),
        "token" => Some(Operation::Token),
        "stop_start" => Some(Operation::StopStart),
        "resize" => Some(Operation::Resize),
        other => {
            let near = nearest::hint(other, OPERATIONS);
            let help = format!("{near}operations are {}", OPERATIONS.join(", "));
            written.complain(desk, format!("there is no operation {other:?}"), help);
            None
        }
    }
}

fn arrivals(
    section: &mut Section<'_>,
    operation: Option<&Written<String>>,
    all: &mut Option<Written<()>>,
    desk: &mut Desk<'_>,
) -> Option<Arrivals> {
    let kinds = ARRIVALS.map(|(kind, _)| format!("\"{kind}\"")).join(", ");
    let kind = section.require::<String>(desk, "arrivals", &format!("say when operations start: one of {kinds}"));
    let keys =
        kind.as_ref().and_then(|kind| ARRIVALS.iter().find(|(name, _)| *name == kind.value)).map(|(_, keys)| *keys);
    let Some((kind, keys)) = kind.as_ref().zip(keys) else {
        if let Some(kind) = kind {
            let near = nearest::hint(&kind.value, ARRIVALS.map(|(kind, _)| kind));
            kind.complain(desk, format!("there are no arrivals {:?}", kind.value), format!("{near}one of {kinds}"));
        }
        ignore_arrival_keys(section);
        return None;
    };
    refuse_foreign_keys(section, &kind.value, keys, desk);
    for key in keys {
        section.entry(key); // known, whether the stream gets as far as reading them or not
    }
    let arrivals = match kind.value.as_str() {
        "constant" | "poisson" => {
            let rate_per_s = rate(section, "rate", desk);
            let until = until(section, operation, all, desk);
            let (rate_per_s, until) = (rate_per_s?, until?);
            match kind.value.as_str() {
                "constant" => Arrivals::Constant { rate_per_s, until },
                _ => Arrivals::Poisson { rate_per_s, until },
            }
        }
        "ramp" => ramp(section, desk)?,
        "burst" => burst(section, desk)?,
        _ => closed(section, operation, all, desk)?,
    };
    can_be_planned(&arrivals, kind, desk).then_some(arrivals)
}

/// With unknown arrivals nothing can be said about their keys, so none of them is called unknown.
fn ignore_arrival_keys(section: &mut Section<'_>) {
    for key in ARRIVALS.iter().flat_map(|(_, keys)| keys.iter()) {
        section.entry(key);
    }
}

fn refuse_foreign_keys(section: &mut Section<'_>, kind: &str, keys: &[&str], desk: &mut Desk<'_>) {
    for foreign in ARRIVALS.iter().flat_map(|(_, keys)| keys.iter()).filter(|key| !keys.contains(key)) {
        if !section.has(foreign) {
            continue;
        }
        if let Some(entry) = section.entry(foreign) {
            let takes = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let owners: Vec<_> =
                ARRIVALS.iter().filter(|(_, keys)| keys.contains(foreign)).map(|(kind, _)| *kind).collect();
            let help = format!("arrivals = \"{kind}\" takes {takes}; `{foreign}` belongs to {}", owners.join(", "));
            let message = format!("`{foreign}` means nothing to arrivals = \"{kind}\"");
            desk.complain(&entry.key, &section.key(foreign), Complaint::new(message, help));
        }
    }
}

fn rate(section: &mut Section<'_>, name: &'static str, desk: &mut Desk<'_>) -> Option<f64> {
    let rate = section.require::<RatePerS>(desk, name, "say how many a second, such as \"5/s\"")?;
    if rate.value.0 < LOWEST_PER_S {
        rate.complain(desk, "at this rate nothing ever starts", "give a rate above zero, such as \"5/s\"");
        return None;
    }
    Some(rate.value.0)
}

fn ramp(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<Arrivals> {
    let from = section.require::<RatePerS>(desk, "from", "say where the ramp begins, such as \"0/s\"");
    let to = section.require::<RatePerS>(desk, "to", "say where the ramp ends, such as \"10/s\"");
    let duration = duration(section, desk, "say how long the ramp takes, such as \"5m\"");
    let (from, to, duration) = (from?, to?, duration?);
    if from.value.0 + to.value.0 <= 0.0 {
        to.complain(desk, "the ramp goes from nothing to nothing", "give a rate above zero at one end");
        return None;
    }
    Some(Arrivals::Ramp { from_per_s: from.value.0, to_per_s: to.value.0, duration })
}

fn burst(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<Arrivals> {
    let size = positive(section, "size", "say how many operations start at once", desk);
    let times = positive(section, "times", "say how many bursts there are", desk);
    let every = section.require::<Duration>(desk, "every", "say how far apart the bursts are, such as \"30s\"");
    Some(Arrivals::Burst { size: size?, every: every?.value, times: times? })
}

fn closed(
    section: &mut Section<'_>,
    operation: Option<&Written<String>>,
    all: &mut Option<Written<()>>,
    desk: &mut Desk<'_>,
) -> Option<Arrivals> {
    let clients = section.require::<u32>(desk, "clients", "say how many clients there are");
    if let Some(clients) = clients.as_ref().filter(|clients| clients.value == 0) {
        clients.complain(desk, "without clients nothing starts", "give at least 1");
    }
    let think = if section.has("think") { delays::get(section, desk, "think")? } else { Delay::ZERO };
    let until = until(section, operation, all, desk);
    Some(Arrivals::Closed { users: clients?.value, think, until: until? })
}

fn positive(section: &mut Section<'_>, name: &'static str, why: &str, desk: &mut Desk<'_>) -> Option<u64> {
    let number = section.require::<u64>(desk, name, why)?;
    if number.value == 0 {
        number.complain(desk, "with zero the stream does nothing", "give at least 1, or leave the stream out");
        return None;
    }
    Some(number.value)
}

fn duration(section: &mut Section<'_>, desk: &mut Desk<'_>, why: &str) -> Option<Duration> {
    let duration = section.require::<Duration>(desk, "duration", why)?;
    if duration.value.is_zero() {
        duration.complain(desk, "in no time nothing starts", "give a time above zero, such as \"10m\"");
        return None;
    }
    Some(duration.value)
}

/// The count of a stream: a number, or `"all"` for a stream that deletes.
enum Count {
    Number(u64),
    All,
}

impl FromNode for Count {
    fn from_node(node: &crate::document::Node, raw: &str) -> Result<Self, Complaint> {
        match &node.value {
            Value::Text(text) if text == "all" => Ok(Self::All),
            _ => u64::from_node(node, raw).map(Self::Number),
        }
    }
}

/// Exactly one of `count` and `duration`.
fn until(
    section: &mut Section<'_>,
    operation: Option<&Written<String>>,
    all: &mut Option<Written<()>>,
    desk: &mut Desk<'_>,
) -> Option<Until> {
    const HELP: &str = "give `count` (how many operations) or `duration` (how long), not both";
    match (section.has("count"), section.has("duration")) {
        (false, false) => {
            desk.complain(section.place(), section.path(), Complaint::new("the stream never ends", HELP));
            None
        }
        (false, true) => duration(section, desk, HELP).map(Until::Elapsed),
        (true, true) => {
            let count = section.get::<Count>(desk, "count")?;
            count.complain(desk, "the stream has two ends", HELP);
            None
        }
        (true, false) => {
            let count = section.get::<Count>(desk, "count")?;
            match count.value {
                Count::Number(0) => {
                    count.complain(
                        desk,
                        "with zero the stream does nothing",
                        "give at least 1, or leave the stream out",
                    );
                    None
                }
                Count::Number(number) => Some(Until::Count(number)),
                Count::All if operation.is_some_and(|operation| operation.value == "delete") => {
                    *all = Some(Written { value: (), place: count.place, key: count.key });
                    Some(Until::Count(0))
                }
                Count::All => {
                    count.complain(desk, "\"all\" is for streams that delete", "give a whole number");
                    None
                }
            }
        }
    }
}

/// Whether the stream has a number of operations and a length that a run can have.
fn can_be_planned(arrivals: &Arrivals, kind: &Written<String>, desk: &mut Desk<'_>) -> bool {
    let (operations, length_s) = match *arrivals {
        Arrivals::Constant { rate_per_s, until } | Arrivals::Poisson { rate_per_s, until } => match until {
            Until::Count(count) => (count as f64, count as f64 / rate_per_s),
            Until::Elapsed(duration) => (rate_per_s * duration.as_secs_f64(), duration.as_secs_f64()),
        },
        Arrivals::Ramp { from_per_s, to_per_s, duration } => {
            ((from_per_s + to_per_s) / 2.0 * duration.as_secs_f64(), duration.as_secs_f64())
        }
        Arrivals::Burst { size, every, times } => (size as f64 * times as f64, every.as_secs_f64() * times as f64),
        Arrivals::Closed { until: Until::Count(count), .. } => (count as f64, 0.0),
        Arrivals::Closed { until: Until::Elapsed(duration), .. } => (0.0, duration.as_secs_f64()),
    };
    if operations > MOST_OPERATIONS as f64 {
        let message = format!("the stream would start {operations:.0} operations");
        let help = format!("a stream starts at most {MOST_OPERATIONS}; lower its rate, count or duration");
        kind.complain(desk, message, help);
    } else if length_s > LONGEST_S {
        let message = format!("the stream would take {:.0} days", length_s / 86_400.0);
        kind.complain(desk, message, "a stream takes at most a year; raise its rate or lower its count");
    } else {
        return true;
    }
    false
}
