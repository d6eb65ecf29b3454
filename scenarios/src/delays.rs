//! How long something takes, as scenarios write it: `"500ms"`, or a distribution with its parameters.

use std::time::Duration;

use hypervisor::Delay;

use crate::{
    document::{Node, Value},
    nearest,
    problem::{Complaint, Desk, Place},
    read::{FromNode, Section},
    units,
};

const DISTRIBUTIONS: [&str; 4] = ["constant", "uniform", "exponential", "log_normal"];

/// Reads a delay of a section, if it is written and right.
pub(crate) fn get(section: &mut Section<'_>, desk: &mut Desk<'_>, name: &'static str) -> Option<Delay> {
    let entry = section.entry(name)?;
    let key = section.key(name);
    match &entry.node.value {
        Value::Table(table) => distribution(Section::new(key, table, entry.node.place.clone()), desk),
        _ => match constant(&entry.node, desk.slice(&entry.node.place)) {
            Ok(value) => Some(Delay::Constant { value }),
            Err(complaint) => {
                desk.complain(&entry.node.place, &key, complaint);
                None
            }
        },
    }
}

fn constant(node: &Node, raw: &str) -> Result<Duration, Complaint> {
    let or = "; or a distribution: { distribution = \"log_normal\", median = \"2s\", p99 = \"8s\" }";
    Duration::from_node(node, raw).map_err(|complaint| Complaint {
        help: complaint.help.map(|help| if help == units::TIME_UNITS { help + or } else { help }),
        ..complaint
    })
}

fn distribution(mut section: Section<'_>, desk: &mut Desk<'_>) -> Option<Delay> {
    let why = format!("one of {}", DISTRIBUTIONS.join(", "));
    let kind = section.require::<String>(desk, "distribution", &why)?;
    let delay = match kind.value.as_str() {
        "constant" => time(&mut section, desk, "value").map(|value| Delay::Constant { value: value.0 }),
        "uniform" => {
            let pair = (time(&mut section, desk, "min"), time(&mut section, desk, "max"));
            ordered(desk, &section, ("min", pair.0), ("max", pair.1)).map(|(min, max)| Delay::Uniform { min, max })
        }
        "exponential" => time(&mut section, desk, "mean").map(|mean| Delay::Exponential { mean: mean.0 }),
        "log_normal" => log_normal(&mut section, desk),
        other => {
            let help = format!("{}{why}", nearest::hint(other, DISTRIBUTIONS));
            kind.complain(desk, format!("there is no distribution {other:?}"), help);
            return None; // its parameters are unknown, too
        }
    };
    section.finish(desk);
    delay
}

fn log_normal(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<Delay> {
    let pair = (time(section, desk, "median"), time(section, desk, "p99"));
    if let Some((Duration::ZERO, place)) = &pair.0 {
        let message = "a log-normal time has a median above zero";
        let help = "for no time at all write \"0s\" instead of the distribution";
        desk.complain(place, &section.key("median"), Complaint::new(message, help));
        return None;
    }
    ordered(desk, section, ("median", pair.0), ("p99", pair.1)).map(|(median, p99)| Delay::LogNormal { median, p99 })
}

type Placed = Option<(Duration, Place)>;

fn time(section: &mut Section<'_>, desk: &mut Desk<'_>, name: &'static str) -> Placed {
    section.require::<Duration>(desk, name, "the distribution needs it").map(|time| (time.value, time.place))
}

/// Both times, when the first is not above the second.
fn ordered(
    desk: &mut Desk<'_>,
    section: &Section<'_>,
    (low_name, low): (&str, Placed),
    (high_name, high): (&str, Placed),
) -> Option<(Duration, Duration)> {
    let ((low, _), (high, place)) = (low?, high?);
    if high >= low {
        return Some((low, high));
    }
    let message = format!("{} is below the {low_name}, {}", units::show_time(high), units::show_time(low));
    let help = format!("{high_name} is at least {low_name}; are they swapped?");
    desk.complain(&place, &section.key(high_name), Complaint::new(message, help));
    None
}
