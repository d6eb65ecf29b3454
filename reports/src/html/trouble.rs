//! What went wrong: failed operations and warnings, grouped by what they say.

use std::collections::BTreeMap;

use super::{Esc, Run, Section, table, td, td_count};
use crate::words::clock;

/// Kinds of trouble that the page shows; who needs more reads the files.
const MOST_KINDS: usize = 40;

/// One kind of trouble.
struct Group {
    count: u64,
    first_ms: f64,
    last_ms: f64,
    /// A message as it was.
    example: String,
}

pub(super) fn section(run: &Run<'_>) -> Section {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let mut add = |place: String, message: &str, t_ms: f64| {
        let group = groups.entry((place, shape(message))).or_insert_with(|| Group {
            count: 0,
            first_ms: t_ms,
            last_ms: t_ms,
            example: message.to_owned(),
        });
        group.count += 1;
        group.first_ms = group.first_ms.min(t_ms);
        group.last_ms = group.last_ms.max(t_ms);
    };
    for operation in &run.recording.operations {
        if let Some(error) = &operation.error {
            // When it was meant to begin: what hit it happened between then and its timeout, which may be long after.
            add(operation.stream.clone(), error, operation.intended_ms);
        }
    }
    for event in &run.recording.events {
        if ["warning", "error", "host_down", "interrupted"].contains(&event.kind.as_str()) {
            let loaded = (run.window_s.0..=run.window_s.1).contains(&(event.t_ms / 1e3));
            // A host is down for a while between its registration and its first heartbeat; only the load's time counts.
            let outside = if event.kind == "host_down" && !loaded { " (outside the load)" } else { "" };
            add(format!("{}{outside}", event.kind.replace('_', " ")), &event.detail, event.t_ms);
        }
    }
    let mut groups: Vec<((String, String), Group)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, group)| std::cmp::Reverse(group.count));
    let row = |((place, _), group): &((String, String), Group)| {
        let Group { count, first_ms, last_ms, example } = group;
        let times = [*first_ms, *last_ms].map(|t_ms| td(&clock(t_ms / 1e3))).concat();
        format!("<td>{}</td>{}<td class=\"wide\">{}</td>{times}", Esc(place), td_count(*count), Esc(example))
    };
    let rows: Vec<String> = groups.iter().take(MOST_KINDS).map(row).collect();
    let beyond = groups.len().saturating_sub(MOST_KINDS);
    let mut body = if rows.is_empty() {
        super::empty("Nothing: no operation failed, and nothing warned.")
    } else {
        let note = "<p class=\"note\">Messages that differ only in identifiers and numbers count as one; the first of each is \
                    shown. An operation stands at its intended start, not at the end of its patience.</p>\n";
        format!(
            "{note}<div class=\"trouble\">{}</div>\n",
            table(&["Where", "Count", "Message", "First at", "Last at"], &rows)
        )
    };
    if beyond > 0 {
        body.push_str(&format!(
            "<p class=\"note\">{beyond} rarer kinds are in operations.jsonl and events.jsonl.</p>\n"
        ));
    }
    if !run.recording.torn.is_empty() {
        let files = run.recording.torn.join(", ");
        body.push_str(&format!(
            "<p class=\"note\">The last line of these files was torn and is left out: {}.</p>\n",
            Esc(&files)
        ));
    }
    Section { anchor: "trouble".into(), title: "Errors and warnings".into(), body }
}

/// A message without its identifiers and numbers, so that the same trouble of a thousand servers is one.
fn shape(message: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    let mut shape = String::new();
    for piece in message.split_inclusive(|c| !word(c)) {
        let (name, border) = match piece.char_indices().next_back() {
            Some((at, last)) if !word(last) => piece.split_at(at),
            _ => (piece, ""),
        };
        shape.push_str(if name.contains(|c: char| c.is_ascii_digit()) { "…" } else { name });
        shape.push_str(border);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_differ_in_identifiers_have_one_shape() {
        let one = shape("server 0b5f7f0e-3c1d-4f5e-8a51-7d0c0f3b2a11: no host after 3 tries (hv-00017)");
        let two = shape("server 1c5f7f0e-3c1d-4f5e-8a51-7d0c0f3b2a12: no host after 12 tries (hv-00400)");
        assert_eq!(one, two);
        assert_eq!(one, "server …: no host after … tries (…)");
        assert_ne!(shape("timed out"), shape("refused"));
    }
}
