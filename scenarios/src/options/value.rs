//! Values of options: how they stand in a configuration file, and whether an option takes them.

use std::fmt;

use serde_json::Value as Json;

use super::catalogue::OptionFacts;
use crate::{plan::OptionValue, problem::Complaint};

/// What oslo.config reads as a boolean.
const TRUE: [&str; 4] = ["true", "1", "on", "yes"];
const FALSE: [&str; 4] = ["false", "0", "off", "no"];

impl fmt::Display for OptionValue {
    /// As it stands in a configuration file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Text(value) => f.write_str(value),
            Self::List(items) => f.write_str(&items.join(",")),
        }
    }
}

impl OptionValue {
    /// The boolean that oslo.config reads from it.
    pub fn as_bool(&self) -> Option<bool> {
        let text = match self {
            Self::Bool(value) => return Some(*value),
            Self::Integer(value) => value.to_string(),
            Self::Text(text) => text.trim().to_lowercase(),
            Self::Float(_) | Self::List(_) => return None,
        };
        match text.as_str() {
            text if TRUE.contains(&text) => Some(true),
            text if FALSE.contains(&text) => Some(false),
            _ => None,
        }
    }

    /// The integer that oslo.config reads from it.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok(),
            Self::Bool(_) | Self::Float(_) | Self::List(_) => None,
        }
    }

    /// The number that oslo.config reads from it.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Text(text) => text.trim().parse().ok().filter(|value: &f64| value.is_finite()),
            Self::Bool(_) | Self::List(_) => None,
        }
    }
}

/// Whether an option takes a value.
pub(crate) fn fits(facts: &OptionFacts, value: &OptionValue) -> Result<(), Complaint> {
    let shown = value.to_string();
    if shown.contains(['\n', '\r']) {
        return Err(Complaint::new("a value of an option is one line", "take the line breaks out"));
    }
    let wrong = |wanted: &str| {
        let default = match &facts.default {
            Json::Null => String::new(),
            default => format!("; its default is {default}"),
        };
        Err(Complaint::new(format!("`{shown}` is not {wanted}"), format!("the option takes {wanted}{default}")))
    };
    match facts.kind.as_str() {
        "boolean" if value.as_bool().is_none() => return wrong("a boolean, true or false"),
        "integer" if value.as_integer().is_none() => return wrong("a whole number"),
        "port" if !value.as_integer().is_some_and(|port| (0..=65_535).contains(&port)) => {
            return wrong("a port, 0 to 65535");
        }
        "float" if value.as_number().is_none() => return wrong("a number"),
        "list" | "multi" | "dict" => {}
        _ if matches!(value, OptionValue::List(_)) => return wrong("one value, but a list"),
        _ => {}
    }
    in_range(facts, value)?;
    among_choices(facts, &shown)
}

fn in_range(facts: &OptionFacts, value: &OptionValue) -> Result<(), Complaint> {
    if !matches!(facts.kind.as_str(), "integer" | "float" | "port") {
        return Ok(());
    }
    let Some(number) = value.as_number() else { return Ok(()) };
    let range = match (facts.min, facts.max) {
        (Some(min), Some(max)) => format!("the option takes {min} to {max}"),
        (Some(min), None) => format!("the option takes {min} or more"),
        (None, Some(max)) => format!("the option takes {max} or less"),
        (None, None) => return Ok(()),
    };
    if facts.min.is_some_and(|min| number < min) {
        return Err(Complaint::new(format!("{value} is too small"), range));
    }
    if facts.max.is_some_and(|max| number > max) {
        return Err(Complaint::new(format!("{value} is too large"), range));
    }
    Ok(())
}

fn among_choices(facts: &OptionFacts, shown: &str) -> Result<(), Complaint> {
    let Some(choices) = &facts.choices else { return Ok(()) };
    let choices: Vec<String> = choices.iter().filter(|choice| !choice.is_null()).map(plain).collect();
    let one = |item: &str| choices.iter().any(|choice| choice == item.trim());
    let right = if facts.kind == "list" { shown.split(',').all(one) } else { one(shown) };
    if right {
        return Ok(());
    }
    Err(Complaint::new(
        format!("`{shown}` is not one of its values"),
        format!("the option takes {}", choices.join(", ")),
    ))
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether a value says the same as a default of the catalogue.
pub(crate) fn equals_json(value: &OptionValue, json: &Json) -> bool {
    match json {
        Json::Null => false,
        Json::Bool(default) => value.as_bool() == Some(*default),
        Json::Number(default) => value.as_number() == default.as_f64(),
        Json::String(default) => value.to_string() == *default,
        Json::Array(items) => value.to_string() == items.iter().map(plain).collect::<Vec<_>>().join(","),
        Json::Object(_) => false,
    }
}
