//! What was written, as a tree in which every key and value knows where it stands; `--set` overrides go into the same
//! tree.

use std::{collections::BTreeMap, ops::Range};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::problem::{Complaint, Desk, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

/// A TOML value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(Table),
    /// What no scenario takes: a date, an integer beyond 64 bits. Says what it is.
    Other(&'static str),
}

impl Value {
    /// What it is, in words, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(what) => what,
        }
    }
}

/// Keys and values, in the order of their names.
pub(crate) type Table = BTreeMap<String, Entry>;

/// A value with its key.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the key stands.
    pub(crate) key: Place,
    pub(crate) node: Node,
}

/// Reads a TOML document. Syntax errors go to the desk; what could be read around them is returned.
pub(crate) fn parse(text: &str, desk: &mut Desk<'_>) -> Node {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().unwrap_or(0..0);
        let message = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        desk.complain(&Place::in_file(at), "", Complaint { message, help: None });
    }
    let span = document.span();
    Node { value: Value::Table(table(document.into_inner(), &Place::in_file)), place: Place::in_file(span) }
}

/// Reads the value of a `--set`: as TOML where it is TOML, else as text.
pub(crate) fn parse_set_value(text: &str, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    match DeValue::parse(text.trim()) {
        Ok(value) if !text.trim().is_empty() => node(value, place),
        _ => Node { value: Value::Text(text.to_owned()), place: place(0..text.len()) },
    }
}

fn table(table: DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let entry = Entry { key: place(key.span()), node: node(value, place) };
            (key.into_inner().into_owned(), entry)
        })
        .collect()
}

fn node(value: Spanned<DeValue<'_>>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    let at = place(value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
            .map_or(Value::Other("an integer beyond 64 bits"), Value::Integer),
        DeValue::Float(value) => value.as_str().parse().map_or(Value::Other("not a number"), Value::Float),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(items) => Value::List(items.into_iter().map(|item| node(item, place)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, place)),
    };
    Node { value, place: at }
}
