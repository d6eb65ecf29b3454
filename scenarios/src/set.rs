//! `--set KEY=VALUE`: a dotted path into the scenario and the value to put there.
//!
//! A stream of the load is addressed by its name (`load.boot.count=10`), a gate by its metric
//! (`gates.operations.boot.p99_ms.max=5000`), an option of a service by its real name
//! (`tuning.nova.DEFAULT.report_interval=60`).

use std::collections::BTreeMap;

use crate::{
    document::{Entry, Node, Table, Value, parse_set_value},
    nearest,
    problem::{Complaint, Desk, Place},
};

/// Puts the overrides into the tree, first to last; the last one wins.
pub(crate) fn apply(root: &mut Node, sets: &[String], desk: &mut Desk<'_>) {
    for (index, set) in sets.iter().enumerate() {
        apply_one(root, index, set, desk);
    }
}

fn apply_one(root: &mut Node, index: usize, set: &str, desk: &mut Desk<'_>) {
    let whole = Place::in_set(index, 0..set.len());
    let Some((path, value)) = set.split_once('=') else {
        let help = "give KEY=VALUE, as in --set fleet.hypervisors=500";
        desk.complain(&whole, "", Complaint::new("an override needs a `=`", help));
        return;
    };
    let key = Place::in_set(index, 0..path.len());
    let segments: Vec<String> = path.split('.').map(|s| s.trim().trim_matches('"').to_owned()).collect();
    if segments.iter().any(String::is_empty) {
        let help =
            "give a dotted path, as in fleet.hypervisors, load.boot.count or tuning.nova.DEFAULT.report_interval";
        desk.complain(&key, "", Complaint::new(format!("{path:?} is not a path into a scenario"), help));
        return;
    }
    let value_at = path.len() + 1 + (value.len() - value.trim_start().len());
    let value = parse_set_value(value, &|span| Place::in_set(index, span.start + value_at..span.end + value_at));
    if let Err(complaint) = put(root, &segments, &key, value) {
        desk.complain(&key, path, complaint);
    }
}

fn put(node: &mut Node, path: &[String], key: &Place, value: Node) -> Result<(), Complaint> {
    let Some((first, rest)) = path.split_first() else {
        *node = value;
        return Ok(());
    };
    if let Value::List(items) = &mut node.value {
        let (item, rest) = element(items, path)?;
        return put(item, rest, key, value);
    }
    if !matches!(node.value, Value::Table(_)) {
        // A scalar that is given a key becomes a table: `connections = "single"` and `fleet.connections.shared=4`.
        *node = Node { value: Value::Table(Table::new()), place: key.clone() };
    }
    let Value::Table(table) = &mut node.value else { unreachable!("made a table just above") };
    let new = || Entry { key: key.clone(), node: Node { value: Value::Table(BTreeMap::new()), place: key.clone() } };
    let entry = table.entry(first.clone()).or_insert_with(new);
    if rest.is_empty() {
        entry.key = key.clone();
    }
    put(&mut entry.node, rest, key, value)
}

/// The element of a list that a path names, and the rest of the path.
fn element<'n, 'p>(items: &'n mut [Node], path: &'p [String]) -> Result<(&'n mut Node, &'p [String]), Complaint> {
    let names: Vec<String> = items.iter().map(|item| name(item).unwrap_or_default().to_owned()).collect();
    for taken in (1..=path.len()).rev() {
        let wanted = path[..taken].join(".");
        if let Some(at) = names.iter().position(|name| *name == wanted) {
            return Ok((&mut items[at], &path[taken..]));
        }
    }
    let given = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let guess = nearest::to(&path[0], names.iter().map(String::as_str));
    let help = match guess {
        Some(name) => format!("did you mean `{name}`? the scenario has {given}"),
        None if names.is_empty() => "the scenario has none".to_owned(),
        None => format!("the scenario has {given}"),
    };
    Err(Complaint::new(format!("nothing here is called `{}`", path.join(".")), help))
}

/// What an element of a list is called: a stream by its name or its operation, a gate by its metric, an incident by its kind.
fn name(item: &Node) -> Option<&str> {
    let Value::Table(table) = &item.value else { return None };
    ["name", "operation", "metric", "kind"].iter().find_map(|key| match &table.get(*key)?.node.value {
        Value::Text(text) => Some(text.as_str()),
        _ => None,
    })
}
