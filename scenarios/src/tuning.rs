//! Options of services as they are written: below `[tuning]` in a scenario, or in a file of their own.

use crate::{
    document::{Node, Table, Value},
    options::SERVICES,
    plan::OptionValue,
    problem::{Complaint, Desk, Place},
    read::{Section, Written, expected},
};

/// `[tuning.<service>]`: one option.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) service: String,
    /// `section.name`.
    pub(crate) option: String,
    pub(crate) key: Place,
    pub(crate) value: Written<OptionValue>,
}

/// Reads `[tuning]` of a scenario.
pub(crate) fn read(mut section: Section<'_>, desk: &mut Desk<'_>) -> Vec<Entry> {
    let mut entries = services(&mut section, &SERVICES, desk);
    if section.has("wsgi")
        && let Some(entry) = section.entry("wsgi")
    {
        let help = "write [cloud.wsgi] with lines such as keystone = { processes = 9, threads = 4 }";
        let complaint = Complaint::new("processes and threads of the WSGI services are not options of theirs", help);
        desk.complain(&entry.key, &section.key("wsgi"), complaint);
    }
    section.finish(desk);
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}

/// Reads a file that holds nothing but options, and processes and threads below `wsgi`.
pub(crate) fn read_file(root: &Node, desk: &mut Desk<'_>) -> Vec<Entry> {
    let Value::Table(table) = &root.value else { unreachable!("a TOML document is a table") };
    let mut section = Section::new("", table, root.place.clone());
    let mut entries = services(&mut section, &SERVICES, desk);
    entries.extend(services(&mut section, &["wsgi"], desk));
    section.finish(desk);
    entries
}

fn services(section: &mut Section<'_>, names: &[&'static str], desk: &mut Desk<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for service in names {
        if let Some(section) = section.section(desk, service) {
            entries.extend(service_options(service, section.table(), section.path(), desk));
        }
    }
    entries
}

/// The options of one service, in both ways TOML can spell them: `"DEFAULT.report_interval" = 60` and
/// `[tuning.nova.DEFAULT]` with `report_interval = 60`. An override wins over what the file says.
fn service_options(service: &str, table: &Table, path: &str, desk: &mut Desk<'_>) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut pending: Vec<(String, &Table)> = vec![(String::new(), table)];
    while let Some((prefix, table)) = pending.pop() {
        for (name, entry) in table {
            let option = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            let key = format!("{path}.{option}");
            if let Value::Table(inner) = &entry.node.value {
                pending.push((option, inner));
                continue;
            }
            let place = entry.node.place.clone();
            let Some(value) = option_value(&entry.node, &key, desk) else { continue };
            let value = Written { value, place, key };
            let new = Entry { service: service.to_owned(), option, key: entry.key.clone(), value };
            match found.iter_mut().find(|old| old.option == new.option) {
                None => found.push(new),
                Some(old) if new.key.is_set() => *old = new,
                Some(old) if old.key.is_set() => {}
                Some(_) => desk.complain(
                    &new.key,
                    &new.value.key,
                    Complaint::new("the option is given twice", "keep one of the two"),
                ),
            }
        }
    }
    found
}

fn option_value(node: &Node, key: &str, desk: &mut Desk<'_>) -> Option<OptionValue> {
    let help = "an option takes a boolean, a number, text, or a list of texts";
    let value = match &node.value {
        Value::Bool(value) => Ok(OptionValue::Bool(*value)),
        Value::Integer(value) => Ok(OptionValue::Integer(*value)),
        Value::Float(value) if value.is_finite() => Ok(OptionValue::Float(*value)),
        Value::Text(value) => Ok(OptionValue::Text(value.clone())),
        Value::List(items) => {
            items.iter().map(|item| list_item(item, desk)).collect::<Result<_, _>>().map(OptionValue::List)
        }
        other => Err(Complaint::new(format!("{} is no value of an option", other.kind()), help)),
    };
    value.map_err(|complaint| desk.complain(&node.place, key, complaint)).ok()
}

fn list_item(item: &Node, desk: &Desk<'_>) -> Result<String, Complaint> {
    match &item.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => Ok(desk.slice(&item.place).to_owned()),
        other => Err(Complaint::new(expected("text", other), "write a list of texts")),
    }
}
