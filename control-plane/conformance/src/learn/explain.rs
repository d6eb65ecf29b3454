//! Where the values of a message come from.
//!
//! The same thing is recorded twice, with other VMs, hosts and flavors. A value that is the same both times is taken for a
//! constant, unless it looks like somebody's id; one that differs must be found in the scope of both, at the same path.

use std::collections::BTreeSet;

use fake_hv::procedure::{LAST, PORT_INDEX, Scope, identity, is_labelled, is_object};
use serde_json::{Map, Value, json};

const DATA: &str = "nova_object.data";
const CHANGES: &str = "nova_object.changes";
const TASK: &str = "task_state";

/// The two scopes.
pub(crate) struct Pair {
    pub(crate) a: Scope,
    pub(crate) b: Scope,
}

/// A value that nothing explains.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {a} and {b} come from nowhere")]
pub(crate) struct Unexplained {
    path: String,
    a: String,
    b: String,
}

type Explained = Result<Value, Unexplained>;

impl Pair {
    /// The template that gives `a` from the first scope and `b` from the second.
    pub(crate) fn explain(&mut self, path: &str, a: &Value, b: &Value) -> Explained {
        if is_object(a) && is_object(b) {
            return self.explain_object(path, a, b);
        }
        match (a, b) {
            (Value::Object(a_map), Value::Object(b_map)) => {
                if !a_map.is_empty()
                    && let Some(found) = self.common_path(a, b)
                {
                    return Ok(json!({"$": found}));
                }
                self.explain_map(path, a_map, b_map)
            }
            (Value::Array(a_items), Value::Array(b_items)) => {
                if !a_items.is_empty()
                    && let Some(found) = self.common_path(a, b)
                {
                    return Ok(json!({"$": found}));
                }
                let texts = |items: &[Value]| -> Option<BTreeSet<String>> {
                    items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
                };
                if let (Some(set_a), Some(set_b)) = (texts(a_items), texts(b_items))
                    && set_a == set_b
                    && !set_a.iter().any(|text| looks_like_an_id(&text.as_str().into()))
                {
                    // A set, whose order is chance, unless it is the same both times.
                    return Ok(if a_items == b_items { a.clone() } else { json!(set_a) });
                }
                if let Some(each) = self.explain_ports(path, a_items, b_items) {
                    return Ok(json!({"$ports": each}));
                }
                if a_items.len() != b_items.len() {
                    return Err(unexplained(path, a, b));
                }
                let items = a_items.iter().zip(b_items).enumerate();
                items.map(|(index, (a, b))| self.explain(&format!("{path}/{index}"), a, b)).collect()
            }
            _ => self.explain_leaf(path, a, b),
        }
    }

    /// A list with an element for each port, all of the same form.
    fn explain_ports(&mut self, path: &str, a: &[Value], b: &[Value]) -> Option<Value> {
        let vifs = |scope: &Scope| scope.get("vifs").and_then(Value::as_array).cloned().unwrap_or_default();
        let (vifs_a, vifs_b) = (vifs(&self.a), vifs(&self.b));
        let fits = !a.is_empty() && a.len() == vifs_a.len() && b.len() == vifs_b.len() && a.len() == b.len();
        let mentions = |item: &Value, vif: &Value| item.to_string().contains(vif["id"].as_str().unwrap_or("-"));
        if !fits || !a.iter().zip(&vifs_a).all(|(item, vif)| mentions(item, vif)) {
            return None;
        }
        let mut template = None;
        for (index, ((a, b), (vif_a, vif_b))) in a.iter().zip(b).zip(vifs_a.iter().zip(&vifs_b)).enumerate() {
            self.a.set_port(vif_a);
            self.b.set_port(vif_b);
            let explained = of_each(&self.explain(path, a, b).ok()?, &index.to_string());
            if template.get_or_insert_with(|| explained.clone()) != &explained {
                return None;
            }
        }
        template
    }

    fn explain_map(&mut self, path: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Explained {
        if a.keys().ne(b.keys()) || a.keys().any(|key| looks_like_an_id(&key.as_str().into())) {
            return self.explain_keys(path, a, b);
        }
        let mut explained = Map::new();
        for (key, a) in a {
            explained.insert(key.clone(), self.explain(&format!("{path}/{key}"), a, &b[key])?);
        }
        Ok(Value::Object(explained))
    }

    /// A dictionary whose keys are values themselves.
    fn explain_keys(&mut self, path: &str, a: &Map<String, Value>, b: &Map<String, Value>) -> Explained {
        let mut left: Vec<(&String, &Value)> = b.iter().collect();
        let mut items = Vec::new();
        for (key_a, value_a) in a {
            let found = left.iter().enumerate().find_map(|(at, (key_b, value_b))| {
                let key = self.explain_leaf(path, &key_a.as_str().into(), &key_b.as_str().into()).ok()?;
                let value = self.explain(&format!("{path}/{key_a}"), value_a, value_b).ok()?;
                Some((at, json!([key, value])))
            });
            let Some((at, item)) = found else { return Err(unexplained(path, &json!(a), &json!(b))) };
            left.remove(at);
            items.push(item);
        }
        if left.is_empty() { Ok(json!({"$map": items})) } else { Err(unexplained(path, &json!(a), &json!(b))) }
    }

    /// A versioned object: one of the scope, perhaps changed, or a new one.
    fn explain_object(&mut self, path: &str, a: &Value, b: &Value) -> Explained {
        let Some(known) = self.known_object(a, b) else { return self.explain_new_object(path, a, b) };
        let old = (self.a.get(&known).cloned().unwrap_or_default(), self.b.get(&known).cloned().unwrap_or_default());
        let (mut set, mut unset) = (Map::new(), BTreeSet::new());
        // The network information of a VM is kept by the step that reads it.
        let kept = |name: &str| a["nova_object.name"] == "Instance" && name == "info_cache";
        let differences = Differences::of(&old.0[DATA], &a[DATA], &old.1[DATA], &b[DATA], &kept);
        for name in differences.found {
            match (at(&a[DATA], &name), at(&b[DATA], &name)) {
                (Some(a), Some(b)) => {
                    set.insert(name.clone(), self.explain(&format!("{path}/{name}"), a, b)?);
                }
                (None, None) => {
                    unset.insert(name);
                }
                (a, b) => return Err(unexplained(&format!("{path}/{name}"), &json!(a), &json!(b))),
            }
        }
        let labelled = |object: &Value| is_labelled(network_info(&object[DATA]));
        let newly = |old: &Value, new: &Value| labelled(new) && !labelled(old);
        let labels = newly(&old.0, a) && newly(&old.1, b);
        // What is set to no task is set whatever task there was, though there was none in the recordings.
        let clears_task = |object: &Value| {
            let changed = object[CHANGES].as_array().is_some_and(|names| names.iter().any(|name| name == TASK));
            changed && object[DATA][TASK].is_null()
        };
        if clears_task(a) && clears_task(b) {
            set.entry(TASK).or_insert(Value::Null);
        }
        self.a.put(&known, a.clone());
        self.b.put(&known, b.clone());
        let mut template = json!({"$object": known});
        if labels {
            template["labels"] = true.into();
        }
        if !set.is_empty() {
            template["set"] = Value::Object(set);
        }
        if !unset.is_empty() {
            template["unset"] = json!(unset);
        }
        if let Some(changes) = changes(a, b) {
            template["changes"] = changes;
        }
        Ok(template)
    }

    fn explain_new_object(&mut self, path: &str, a: &Value, b: &Value) -> Explained {
        let (Value::Object(a_map), Value::Object(b_map)) = (a, b) else { return Err(unexplained(path, a, b)) };
        let mut template = Map::new();
        for (key, value) in a_map {
            let other = b_map.get(key).cloned().unwrap_or_default();
            let explained = match key.as_str() {
                DATA => {
                    let (Value::Object(a), Value::Object(b)) = (value, &other) else {
                        return Err(unexplained(path, value, &other));
                    };
                    self.explain_map(path, a, b)?
                }
                CHANGES => changes(a, b).unwrap_or_default(),
                _ => value.clone(),
            };
            template.insert(key.clone(), explained);
        }
        Ok(Value::Object(template))
    }

    fn explain_leaf(&self, path: &str, a: &Value, b: &Value) -> Explained {
        if is_time(a) && is_time(b) {
            return Ok(json!({"$now": true}));
        }
        let same = a == b;
        // Generations of providers may be the same by chance; they always come from an answer.
        if same && !looks_like_an_id(a) && !path.ends_with("generation") {
            return Ok(a.clone());
        }
        let found = match a {
            _ if path.ends_with("generation") => self.common_generation(a, b),
            Value::Number(_) => self.common_number(path, a, b),
            _ => self.common_path(a, b),
        };
        if let Some(found) = found {
            return Ok(json!({"$": found}));
        }
        if let (Value::String(a), Value::String(b)) = (a, b)
            && let Some(text) = self.explain_text(a, b)
        {
            return Ok(json!({"$text": text}));
        }
        if let (Some(a), Some(b)) = (inner(a), inner(b))
            && let Some(found) = self.common_path(&a, &b)
        {
            return Ok(json!({"$json": found}));
        }
        if is_uuid(a) && is_uuid(b) && !same {
            return Ok(json!({"$new": true}));
        }
        Err(unexplained(path, a, b))
    }

    /// A text that is put together: cut where ids, hosts and names are usually joined.
    fn explain_text(&self, a: &str, b: &str) -> Option<String> {
        // A set: its order is chance.
        let ((before_a, set_a), (before_b, set_b)) = (as_set(a), as_set(b));
        if before_a == before_b && set_a == set_b && !looks_like_an_id(&a.into()) {
            return Some(format!("{before_a}{}", set_a.join(",")));
        }
        ['/', '&', '=', ',', ':', '.', ' ', '\''].into_iter().find_map(|separator| self.explain_parts(a, b, separator))
    }

    fn explain_parts(&self, a: &str, b: &str, separator: char) -> Option<String> {
        let (a_parts, b_parts): (Vec<_>, Vec<_>) = (a.split(separator).collect(), b.split(separator).collect());
        if a_parts.len() != b_parts.len() || a_parts.len() < 2 {
            return None;
        }
        let parts = a_parts.into_iter().zip(b_parts).map(|(a, b)| {
            if a == b && !looks_like_an_id(&a.into()) {
                return Some(a.to_owned());
            }
            match self.common_path(&a.into(), &b.into()) {
                Some(found) => Some(format!("{{{found}}}")),
                None => self.explain_text(a, b),
            }
        });
        let parts: Option<Vec<String>> = parts.collect();
        parts.map(|parts| parts.join(&separator.to_string()))
    }

    /// The paths at which both scopes have what is wanted of each.
    fn paths(&self, in_a: &dyn Fn(&Value) -> bool, in_b: &dyn Fn(&Value) -> bool) -> BTreeSet<String> {
        let of = |scope: &Scope, wanted: &dyn Fn(&Value) -> bool| {
            let mut found = BTreeSet::new();
            scope.values().iter().for_each(|(root, value)| find(root, value, wanted, &mut found));
            found
        };
        &of(&self.a, in_a) & &of(&self.b, in_b)
    }

    /// The paths that lead to `a` in the one scope and to `b` in the other.
    fn common_paths(&self, a: &Value, b: &Value) -> BTreeSet<String> {
        self.paths(&|value| value == a, &|value| value == b)
    }

    /// The shortest of them.
    fn common_path(&self, a: &Value, b: &Value) -> Option<String> {
        best(self.common_paths(a, b).iter())
    }

    /// The like for a number, which others are by chance, too: best under the same name.
    fn common_number(&self, path: &str, a: &Value, b: &Value) -> Option<String> {
        let found = self.common_paths(a, b);
        let name = path.rsplit('/').next().unwrap_or_default();
        best(found.iter().filter(|path| path.ends_with(name))).or_else(|| best(found.iter()))
    }

    /// The like for a generation, which other numbers may be by chance.
    fn common_generation(&self, a: &Value, b: &Value) -> Option<String> {
        let found = self.common_paths(a, b).into_iter().filter(|path| path.ends_with("generation"));
        // The last answer knows best.
        found.max_by_key(|path| step_of(path))
    }

    /// Where both scopes have the objects that these are later states of.
    fn known_object(&self, a: &Value, b: &Value) -> Option<String> {
        let (id_a, id_b) = (identity(a)?, identity(b)?);
        best(self.paths(&|value| identity(value) == Some(id_a), &|value| identity(value) == Some(id_b)).iter())
    }
}

/// The network information in the data of a VM's record.
fn network_info(data: &Value) -> &str {
    data["info_cache"][DATA]["network_info"].as_str().unwrap_or_default()
}

/// A template for the element of one port, as that of each: where paths have its index, they have the port's.
fn of_each(template: &Value, index: &str) -> Value {
    let path = |path: &str| {
        let steps = path.split('/').map(|step| if step == index { PORT_INDEX } else { step });
        steps.collect::<Vec<_>>().join("/")
    };
    match template {
        Value::Object(map) => {
            let item = |(key, value): (&String, &Value)| match value.as_str() {
                Some(text) if matches!(key.as_str(), "$" | "$object" | "$json") => (key.clone(), path(text).into()),
                _ => (key.clone(), of_each(value, index)),
            };
            Value::Object(map.iter().map(item).collect())
        }
        Value::Array(items) => items.iter().map(|item| of_each(item, index)).collect(),
        other => other.clone(),
    }
}

/// The document in a text, if there is one.
fn inner(text: &Value) -> Option<Value> {
    let text = text.as_str().filter(|text| text.starts_with(['{', '[']))?;
    serde_json::from_str(text).ok()
}

fn unexplained(path: &str, a: &Value, b: &Value) -> Unexplained {
    let short = |value: &Value| value.to_string().chars().take(200).collect();
    Unexplained { path: path.to_owned(), a: short(a), b: short(b) }
}

/// What was asked for comes before what was answered, and near before far.
fn best<'a>(paths: impl Iterator<Item = &'a String>) -> Option<String> {
    let rank = |path: &String| (path.starts_with("answers/"), path.matches('/').count(), path.len(), path.clone());
    paths.min_by_key(|path| rank(path)).cloned()
}

/// All paths below `path` where `wanted` holds. Versioned objects are entered by themselves.
fn find(path: &str, value: &Value, wanted: &dyn Fn(&Value) -> bool, found: &mut BTreeSet<String>) {
    if wanted(value) {
        found.insert(path.to_owned());
    }
    match value {
        Value::Object(map) => {
            let fields = map.get(DATA).and_then(Value::as_object).unwrap_or(map);
            // Keys that a path cannot name are passed by.
            for (key, value) in fields.iter().filter(|(key, _)| !key.contains(['/', '{', '}'])) {
                find(&format!("{path}/{key}"), value, wanted, found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                let last = path == "vifs" && index + 1 == items.len();
                let step = if last { LAST.to_owned() } else { index.to_string() };
                find(&format!("{path}/{step}"), value, wanted, found);
            }
        }
        _ => {}
    }
}

/// Number of the step whose answer a path leads into.
fn step_of(path: &str) -> usize {
    path.strip_prefix("answers/").and_then(|rest| rest.split('/').next()?.parse().ok()).unwrap_or(0)
}

fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('/').try_fold(value, |value, key| value.get(key))
}

/// The changed fields that a message names, as a set: the order is that of a hash.
fn changes(a: &Value, b: &Value) -> Option<Value> {
    let names = |object: &Value| -> BTreeSet<String> {
        let names = object[CHANGES].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let all: BTreeSet<String> = names(a).union(&names(b)).cloned().collect();
    (!a[CHANGES].is_null()).then(|| json!(all))
}

/// Names of the fields that differ between two states of an object, in either recording.
struct Differences {
    found: BTreeSet<String>,
}

impl Differences {
    fn of(old_a: &Value, new_a: &Value, old_b: &Value, new_b: &Value, skip: &dyn Fn(&str) -> bool) -> Self {
        let mut it = Self { found: BTreeSet::new() };
        let empty = Map::new();
        let fields = |value: &'_ Value| value.as_object().cloned().unwrap_or(empty.clone());
        let (old_a, new_a, old_b, new_b) = (fields(old_a), fields(new_a), fields(old_b), fields(new_b));
        let names: BTreeSet<&String> =
            old_a.keys().chain(new_a.keys()).chain(old_b.keys()).chain(new_b.keys()).collect();
        for name in names.into_iter().filter(|name| !skip(name)) {
            if old_a.get(name) == new_a.get(name) && old_b.get(name) == new_b.get(name) {
                continue;
            }
            it.add(name, [&old_a, &new_a, &old_b, &new_b].map(|map| map.get(name)));
        }
        it
    }

    /// Dictionaries such as the system metadata change in a few of their items.
    fn add(&mut self, name: &str, values: [Option<&Value>; 4]) {
        let plain = |value: &Option<&Value>| value.is_some_and(|v| v.is_object() && !is_object(v));
        if values.iter().all(plain) && values.iter().all(|value| value.is_some_and(|v| v["nova_object.name"].is_null()))
        {
            let [old_a, new_a, old_b, new_b] = values.map(|value| value.cloned().unwrap_or_default());
            let inner = Self::of(&old_a, &new_a, &old_b, &new_b, &|_| false);
            self.found.extend(inner.found.into_iter().map(|inner| format!("{name}/{inner}")));
            return;
        }
        self.found.insert(name.to_owned());
    }
}

/// What stands before a list in a query, and the list.
fn as_set(text: &str) -> (&str, Vec<&str>) {
    let at = text.find("=in:").map_or(0, |at| at + "=in:".len());
    (&text[..at], sorted(&text[at..], ','))
}

fn sorted(text: &str, separator: char) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(separator).collect();
    parts.sort_unstable();
    parts
}

fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, separator) in text.match_indices([':', '/', '?', '&', '=', '.', ',', ' ', '\'', '"', '%', ';']) {
        parts.push(&text[from..at]);
        parts.push(separator);
        from = at + separator.len();
    }
    parts.push(&text[from..]);
    parts
}

pub(super) fn is_time(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    let digits = text.as_bytes();
    digits.len() >= 19 && digits[4] == b'-' && digits[7] == b'-' && digits[10] == b'T' && digits[13] == b':'
}

fn is_uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| (text.len() == 36 || text.len() == 32) && uuid::Uuid::try_parse(text).is_ok())
}

/// What is never a constant of the program: ids, and names that this harness gives.
pub(super) fn looks_like_an_id(value: &Value) -> bool {
    let Some(text) = value.as_str() else { return false };
    is_uuid(value)
        || text.contains("kagemusha-")
        || parts(text).into_iter().filter(|part| *part != text).any(|part| is_uuid(&part.into()))
}
