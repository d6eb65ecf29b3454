//! What a hypervisor does with its connections to the broker: handshakes, channels, declarations, consumers, and their end.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Lane, Names};
use crate::trace::{Direction, Event, Trace};

/// One lane for each connection, named by what it is for, in the order of these names: which of several threads connects first
/// is chance.
pub(crate) fn connections(trace: &Trace, names: &Names) -> Vec<Lane> {
    let mut found: BTreeMap<u32, Vec<&Event>> = BTreeMap::new();
    for event in &trace.events {
        let formal = !matches!(
            event.what.name.as_str(),
            "http" | "basic.publish" | "basic.deliver" | "basic.ack" | "basic.return" | "connection.gone"
        );
        if formal && event.direction == Direction::Sent {
            found.entry(event.connection).or_default().push(event);
        }
    }
    // One that was closed again at once was a look at whether the broker is there.
    let used = |events: &Vec<&Event>| events.iter().any(|event| event.what.name == "channel.open");
    let mut lanes: Vec<Lane> = found
        .into_values()
        .filter(used)
        .map(|events| {
            let mut names = names.clone();
            let queue = events.iter().find_map(|event| event.what.fields["queue"].as_str());
            let name = queue.map_or("to send".to_owned(), |queue| {
                names.normal(&queue.into()).as_str().unwrap_or_default().to_owned()
            });
            let said = events.iter().map(|event| {
                let mut fields = json!({"channel": event.what.channel, "fields": event.what.fields});
                if let Some(tag) = fields.pointer_mut("/fields/consumer_tag") {
                    *tag = "<tag>".into(); // a name that each client chooses
                }
                (event.what.name.clone(), names.normal(&fields))
            });
            Lane { name: format!("the connection for {name}"), said: said.collect() }
        })
        .collect();
    lanes.sort_by(|a, b| a.name.cmp(&b.name));
    lanes
}
