//! What must differ between two hypervisors, replaced by what it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Names and numbers that are one hypervisor's own, and what stands for them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    /// Longest first, so that no name is taken for a part of another.
    known: Vec<(String, String)>,
    /// Ids in the order they come up.
    ids: BTreeMap<String, usize>,
}

/// Fields whose value is one of a sequence, a time, or random.
const NUMBERS: [&str; 13] = [
    // Whether the scheduler has found the host by then is chance.
    "mapped",
    "id",
    "instance_id",
    "migration_id",
    "compute_id",
    "dest_compute_id",
    "service_id",
    "report_count",
    "generation",
    "resource_provider_generation",
    "consumer_generation",
    "flavorid",
    "instance_type_id",
];
/// Lists whose order is that of a hash.
const SETS: [&str; 5] = ["nova_object.changes", "roles", "_context_roles", "traits", "expected_task_state"];
const RANDOM: [&str; 5] = ["admin_password", "adminPass", "password", "auth_token", "new_pass"];

const TRACEBACK: &str = "<traceback>";

fn is_traceback(text: &str) -> bool {
    text.starts_with("Traceback (most recent call last):")
}

impl Names {
    /// Names of hosts, zones and the like, each with what stands for it.
    pub(crate) fn new(mut known: Vec<(String, String)>) -> Self {
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self { known, ids: BTreeMap::new() }
    }

    /// A document without what is this hypervisor's own.
    pub(crate) fn normal(&mut self, value: &Value) -> Value {
        self.value("", value)
    }

    fn value(&mut self, key: &str, value: &Value) -> Value {
        match value {
            _ if RANDOM.contains(&key) && !value.is_null() => "<secret>".into(),
            Value::Object(map) => self.map(map),
            Value::Array(items) if SETS.contains(&key) => {
                let mut names: Vec<String> = items.iter().map(|item| self.value("", item).to_string()).collect();
                names.sort();
                names.into()
            }
            // Where in whose code an exception was raised.
            Value::Array(items) if items.first().and_then(Value::as_str).is_some_and(is_traceback) => TRACEBACK.into(),
            Value::Array(items) => items.iter().map(|item| self.value(key, item)).collect(),
            Value::Number(_) if NUMBERS.contains(&key) || key.ends_with("_id") => "<number>".into(),
            Value::String(text) => self.text(key, text),
            other => other.clone(),
        }
    }

    fn map(&mut self, map: &Map<String, Value>) -> Value {
        // In the order of the keys, which is that of the map: ids are numbered the same way on both sides.
        map.iter().map(|(key, value)| (self.plain(key), self.value(key, value))).collect()
    }

    fn text(&mut self, key: &str, text: &str) -> Value {
        if NUMBERS.contains(&key) && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return "<number>".into();
        }
        if is_traceback(text) {
            return TRACEBACK.into();
        }
        // JSON in a string: the order of its keys is nobody's business.
        if text.starts_with(['[', '{'])
            && let Ok(inner) = serde_json::from_str::<Value>(text)
        {
            return Value::Object(Map::from_iter([("<json>".to_owned(), self.value(key, &inner))]));
        }
        self.plain(text).into()
    }

    /// A text with every name, id, time and address in it replaced.
    fn plain(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, stands) in &self.known {
            if text.contains(name.as_str()) {
                text = text.replace(name, stands);
            }
        }
        if text.len() < SHORTEST {
            return text;
        }
        if text.matches(',').count() > 2 && !text.contains(' ') {
            // A set again, in a query: of the first and the last of its elements only the part that is theirs.
            let (before, list) = text.split_once("in:").map_or(("", text.as_str()), |(before, list)| (before, list));
            let mut parts: Vec<&str> = list.split(',').collect();
            parts.sort_unstable();
            text = format!("{before}{}", parts.join(","));
        }
        let mut plain = String::with_capacity(text.len());
        let mut word = String::new();
        for c in text.chars() {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '+' | '_') {
                word.push(c);
            } else {
                plain.push_str(&self.word(&word));
                word.clear();
                plain.push(c);
            }
        }
        plain.push_str(&self.word(&word));
        plain
    }

    fn word(&mut self, word: &str) -> String {
        let token = word.starts_with("gAAAAA");
        if token {
            return "<token>".to_owned();
        }
        if is_time(word) {
            return "<time>".to_owned();
        }
        if is_mac(word) {
            return "<mac>".to_owned();
        }
        if is_address(word) {
            return "<address>".to_owned();
        }
        for prefix in ["req-", "reply_", "tap", "compute_fanout_", "compute-alt_fanout_"] {
            if let Some(rest) = word.strip_prefix(prefix)
                && (is_uuid(rest) || prefix == "tap" && rest.len() == 11)
            {
                return format!("{prefix}<id>");
            }
        }
        if let Some((kind @ ("i" | "r" | "ami" | "instance"), rest)) = word.split_once('-')
            && rest.len() == 8
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return format!("{kind}-<number>");
        }
        if is_uuid(word) {
            let next = self.ids.len() + 1;
            return format!("<id {}>", self.ids.entry(word.replace('-', "")).or_insert(next));
        }
        // Several ids in a row, joined as an address is by a port.
        if word.contains(':') && word.split(':').any(is_uuid) {
            let parts: Vec<String> = word.split(':').map(|part| self.word(part)).collect();
            return parts.join(":");
        }
        word.to_owned()
    }
}

/// No id, time or address is shorter.
const SHORTEST: usize = 7;

fn is_uuid(word: &str) -> bool {
    matches!(word.len(), 32 | 36) && uuid::Uuid::try_parse(word).is_ok()
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() >= 19 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[10] == b'T' && bytes[13] == b':'
}

fn is_mac(word: &str) -> bool {
    word.len() == 17 && word.split(':').count() == 6
}

/// An address of a VM; the harness's own are names.
fn is_address(word: &str) -> bool {
    word.starts_with("10.") && word.parse::<std::net::Ipv4Addr>().is_ok()
}
