//! `start`: when hypervisors start.

use std::time::Duration;

use crate::{
    document::Value,
    nearest,
    plan::Start,
    problem::{Complaint, Desk},
    read::{RatePerS, Section, Written, expected},
};

const FORMS: &str = "\"50/s\" (evenly), \"at_once\", { stagger = \"5m\" } (spread over five minutes) or { under_way = 16 } \
                     (as fast as the cloud takes them, 16 at any time)";

/// Reads it.
pub(crate) fn get(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<Written<Start>> {
    let entry = section.entry("start")?;
    let (key, place) = (section.key("start"), entry.node.place.clone());
    let value = match &entry.node.value {
        Value::Text(text) if text == "at_once" => Start::AtOnce,
        Value::Text(text) if !text.starts_with(|first: char| first.is_ascii_digit()) => {
            let help = format!("{}{FORMS}", nearest::hint(text, ["at_once"]));
            desk.complain(&place, &key, Complaint::new(format!("there is no start {text:?}"), help));
            return None;
        }
        Value::Text(_) => {
            let rate = section.get::<RatePerS>(desk, "start")?;
            if rate.value.0 <= 0.0 {
                rate.complain(desk, "at this pace no hypervisor ever starts", FORMS);
                return None;
            }
            Start::Pace { per_s: rate.value.0 }
        }
        Value::Table(table) => {
            let mut form = Section::new(key.clone(), table, place.clone());
            let over = form.get::<Duration>(desk, "stagger");
            let under_way = form.get::<u32>(desk, "under_way");
            form.finish(desk);
            match (over, under_way) {
                (Some(over), None) => Start::Stagger { over: over.value },
                (None, Some(hypervisors)) if hypervisors.value > 0 => {
                    Start::UnderWay { hypervisors: hypervisors.value }
                }
                _ => {
                    desk.complain(&place, &key, Complaint::new("that does not say when hypervisors start", FORMS));
                    return None;
                }
            }
        }
        other => {
            desk.complain(&place, &key, Complaint::new(expected("a pace", other), FORMS));
            return None;
        }
    };
    Some(Written { value, place, key })
}
