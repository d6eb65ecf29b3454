//! Reading a table of the tree key by key: every key has a type, a wrong value is noted and reading goes on, and at the
//! end what nobody asked for is an unknown key.

use std::time::Duration;

use crate::{
    document::{Entry, Node, Table, Value},
    nearest,
    problem::{Complaint, Desk, Place},
    units,
};

/// A value as it was written, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
    /// Dotted path of its key.
    pub(crate) key: String,
}

impl<T> Written<T> {
    pub(crate) fn complain(&self, desk: &mut Desk<'_>, message: impl Into<String>, help: impl Into<String>) {
        desk.complain(&self.place, &self.key, Complaint::new(message, help));
    }
}

/// What a key may hold.
pub(crate) trait FromNode: Sized {
    /// `raw` is the text of the node as it was written.
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint>;
}

/// A table that is being read.
pub(crate) struct Section<'t> {
    path: String,
    table: &'t Table,
    place: Place,
    asked: Vec<&'static str>,
}

impl<'t> Section<'t> {
    pub(crate) fn new(path: impl Into<String>, table: &'t Table, place: Place) -> Self {
        Self { path: path.into(), table, place, asked: Vec::new() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn table(&self) -> &'t Table {
        self.table
    }

    pub(crate) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// The entry of a key, which is a known key from now on.
    pub(crate) fn entry(&mut self, name: &'static str) -> Option<&'t Entry> {
        self.asked.push(name);
        self.table.get(name)
    }

    /// The value of a key, if it was written and is right.
    pub(crate) fn get<T: FromNode>(&mut self, desk: &mut Desk<'_>, name: &'static str) -> Option<Written<T>> {
        let entry = self.entry(name)?;
        let key = self.key(name);
        match T::from_node(&entry.node, desk.slice(&entry.node.place)) {
            Ok(value) => Some(Written { value, place: entry.node.place.clone(), key }),
            Err(complaint) => {
                desk.complain(&entry.node.place, &key, complaint);
                None
            }
        }
    }

    /// The value of a key that must be written.
    pub(crate) fn require<T: FromNode>(
        &mut self,
        desk: &mut Desk<'_>,
        name: &'static str,
        why: &str,
    ) -> Option<Written<T>> {
        if !self.has(name) {
            self.asked.push(name);
            desk.complain(&self.place, &self.path, Complaint::new(format!("the key `{name}` is missing"), why));
            return None;
        }
        self.get(desk, name)
    }

    /// The table of a key.
    pub(crate) fn section(&mut self, desk: &mut Desk<'_>, name: &'static str) -> Option<Section<'t>> {
        let entry = self.entry(name)?;
        let key = self.key(name);
        match &entry.node.value {
            Value::Table(table) => Some(Section::new(key, table, entry.node.place.clone())),
            other => {
                let help = format!("write it as a section: [{key}]");
                desk.complain(&entry.node.place, &key, Complaint::new(expected("a table", other), help));
                None
            }
        }
    }

    /// The tables of a key that may be written several times.
    pub(crate) fn sections(&mut self, desk: &mut Desk<'_>, name: &'static str) -> Vec<(&'t Table, Place)> {
        let Some(entry) = self.entry(name) else { return Vec::new() };
        let help = format!("write each as a section of its own: [[{name}]]");
        let Value::List(items) = &entry.node.value else {
            desk.complain(&entry.key, name, Complaint::new(expected("a list of tables", &entry.node.value), help));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            match &item.value {
                Value::Table(table) => tables.push((table, item.place.clone())),
                other => desk.complain(&item.place, name, Complaint::new(expected("a table", other), help.clone())),
            }
        }
        tables
    }

    /// The keys that were asked for, each once, in that order.
    fn known(&self) -> impl Iterator<Item = &'static str> {
        let first = |at: &usize| !self.asked[..*at].contains(&self.asked[*at]);
        (0..self.asked.len()).filter(first).map(|at| self.asked[at])
    }

    /// Notes the keys that nobody asked for.
    pub(crate) fn finish(self, desk: &mut Desk<'_>) {
        for (name, entry) in self.table.iter().filter(|(name, _)| !self.asked.contains(&name.as_str())) {
            let known = self.known().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let help = format!("{}keys here: {known}", nearest::hint(name, self.known()));
            desk.complain(&entry.key, &self.path, Complaint::new(format!("unknown key `{name}`"), help));
        }
    }
}

/// `expected a table, found text`.
pub(crate) fn expected(what: &str, found: &Value) -> String {
    format!("expected {what}, found {}", found.kind())
}

impl FromNode for String {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        match &node.value {
            Value::Text(text) if text.trim().is_empty() => Err(Complaint::new("the text is empty", "write something")),
            Value::Text(text) => Ok(text.clone()),
            // `--set release=2026.2` reads as a number and means text.
            Value::Integer(_) | Value::Float(_) | Value::Bool(_) if node.place.is_set() => Ok(raw.to_owned()),
            other => Err(Complaint::new(expected("text", other), format!("write it in quotes: \"{raw}\""))),
        }
    }
}

/// A whole number that is not negative.
impl FromNode for u64 {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        let help = "write a whole number, zero or more";
        match node.value {
            Value::Integer(value) => {
                u64::try_from(value).map_err(|_| Complaint::new(format!("{raw} is negative"), help))
            }
            ref other => Err(Complaint::new(expected("a whole number", other), help)),
        }
    }
}

impl FromNode for u32 {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        let too_many = |_| Complaint::new(format!("{raw} is too many"), format!("at most {}", u32::MAX));
        u64::from_node(node, raw).and_then(|value| Self::try_from(value).map_err(too_many))
    }
}

impl FromNode for bool {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        match &node.value {
            Value::Bool(value) => Ok(*value),
            other => Err(Complaint::new(expected("true or false", other), format!("{raw} is neither"))),
        }
    }
}

impl FromNode for Duration {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        units::time(&quantity(node, raw, "a time", units::TIME_UNITS)?)
    }
}

/// A number, whole or not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl FromNode for Number {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        match node.value {
            Value::Integer(value) => Ok(Self(value as f64)),
            Value::Float(value) if value.is_finite() => Ok(Self(value)),
            ref other => Err(Complaint::new(expected("a number", other), format!("{raw} is none"))),
        }
    }
}

/// Operations a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RatePerS(pub(crate) f64);

impl FromNode for RatePerS {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        units::rate_per_s(&quantity(node, raw, "a rate", units::RATE_UNITS)?).map(Self)
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromNode for Bytes {
    fn from_node(node: &Node, raw: &str) -> Result<Self, Complaint> {
        units::size_bytes(&quantity(node, raw, "a size", units::SIZE_UNITS)?).map(Self)
    }
}

fn quantity(node: &Node, raw: &str, what: &str, units: &str) -> Result<String, Complaint> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) => Err(Complaint::new(format!("{raw} has no unit"), units)),
        other => Err(Complaint::new(expected(what, other), units)),
    }
}
