//! The values that a procedure works with, and how templates are filled from them.

use serde_json::{Map, Value};

use super::labels::{NETWORK_INFO, label, read_again};
use crate::amqp::json;

/// Key of a versioned object's fields.
pub(crate) const DATA: &str = "nova_object.data";
/// Key of the names of its changed fields.
pub(crate) const CHANGES: &str = "nova_object.changes";
const NAME: &str = "nova_object.name";
/// In the updates of a save: names of the fields that still differ from the database.
pub(crate) const WHAT_CHANGED: &str = "obj_what_changed";

/// The values that a procedure works with: `args` of the RPC, `context` of the request, `answers` by number of the step,
/// `host`, `node_id`, `node_uuid`, `my_ip`, `has_ports`, `came`, `offloads_at_once`, `vifs`,
/// and in a loop `port` and `vif`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    /// Which of the VM's ports a loop is at.
    port_index: Option<usize>,
    values: Map<String, Value>,
}

/// Whether this is a versioned object.
pub fn is_object(value: &Value) -> bool {
    value.get(DATA).is_some_and(Value::is_object)
}

/// Name and identity of a versioned object, which stay when it changes.
pub fn identity(object: &Value) -> Option<(&str, &Value)> {
    let data = object.get(DATA)?;
    // The cache of a VM has no id, and what belongs to a VM has its UUID.
    let id = ["uuid", "id", "instance_uuid"].into_iter().find_map(|key| data.get(key).filter(|id| !id.is_null()))?;
    Some((object.get(NAME)?.as_str()?, id))
}

/// In a path: the place of the port that a loop is at, in a list that has an element for each port.
pub const PORT_INDEX: &str = "@";

/// In a path: the last element of a list, such as the port that was just added.
pub const LAST: &str = "last";

fn enter<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => match map.get(step) {
            Some(found) => Some(found),
            None => map.get(DATA)?.get(step),
        },
        Value::Array(items) if step == LAST => items.last(),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

fn enter_mut<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(step) {
                return map.get_mut(step);
            }
            map.get_mut(DATA)?.get_mut(step)
        }
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Puts a value at a path below another; what leads there is made where it is missing.
fn put(value: &mut Value, path: &str, new: Value) {
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    if let (Value::Array(items), Ok(index)) = (&mut *value, first.parse::<usize>()) {
        if let Some(item) = items.get_mut(index) {
            match rest {
                Some(rest) => put(item, rest, new),
                None => *item = new,
            }
        }
        return;
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Value::Object(map) = value else { return };
    let fields = match map.contains_key(DATA) && !map.contains_key(first) {
        true => map.get_mut(DATA).and_then(Value::as_object_mut),
        false => Some(map),
    };
    let Some(fields) = fields else { return };
    match rest {
        None => {
            fields.insert(first.to_owned(), new);
        }
        Some(rest) => put(fields.entry(first).or_insert(Value::Null), rest, new),
    }
}

fn below_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('/').try_fold(value, enter_mut)
}

fn remove(value: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').map_or((None, path), |(parent, last)| (Some(parent), last));
    let above = match parent {
        Some(parent) => below_mut(value, parent),
        None => Some(value),
    };
    let Some(Value::Object(map)) = above else { return };
    let fields = if map.contains_key(DATA) { map.get_mut(DATA).and_then(Value::as_object_mut) } else { Some(map) };
    if let Some(fields) = fields {
        fields.remove(last);
    }
}

/// What an RPC begins with: what came, and what the hypervisor knows of itself.
#[derive(Debug)]
pub struct Beginning<'a> {
    /// Arguments of the RPC.
    pub args: Value,
    /// A document with its `_context_*`.
    pub context: &'a Value,
    /// Name of the host.
    pub host: &'a str,
    /// UUID and number of its compute node, where they are known.
    pub node: Option<(Value, Value)>,
    /// Whether the VM has ports.
    pub has_ports: bool,
    /// Whether what is shelved leaves the host at once.
    pub offloads_at_once: bool,
}

/// A root: an option of the host, and not what came with the RPC.
pub const OFFLOADS_AT_ONCE: &str = "offloads_at_once";

/// The path of the VM's record.
pub const INSTANCE: &str = "args/instance";

/// Of the request context only what identifies is looked for: the rest goes with each message as it came.
const IDENTIFIES: [&str; 4] = ["user_id", "project_id", "request_id", "roles"];

impl Scope {
    /// As a procedure finds it.
    pub fn begin(it: Beginning<'_>) -> Self {
        let mut scope = Self::default();
        scope.set("args", it.args);
        scope.read_network_info();
        scope.note_what_came();
        let context = IDENTIFIES.map(|name| (name.to_owned(), it.context[format!("_context_{name}")].clone()));
        scope.set("context", Value::Object(Map::from_iter(context)));
        scope.set("host", it.host.into());
        if let Some((uuid, id)) = it.node {
            scope.set("node_uuid", uuid);
            scope.set("node_id", id);
        }
        scope.set("has_ports", it.has_ports.into());
        scope.set(OFFLOADS_AT_ONCE, it.offloads_at_once.into());
        scope.set("answers", Value::Object(Map::new()));
        scope
    }

    /// A value by the name of its root.
    pub fn set(&mut self, root: &str, value: Value) {
        self.values.insert(root.to_owned(), value);
    }

    /// Notes under `came` which parts the record of a VM has; what is missing is asked for where it is needed.
    fn note_what_came(&mut self) {
        let parts = ["flavor", "info_cache", "metadata", "system_metadata"];
        let came = parts.map(|part| (part.to_owned(), self.get(&format!("{INSTANCE}/{part}")).is_some().into()));
        self.set("came", Value::Object(Map::from_iter(came)));
    }

    /// Reads the network information that came with a VM, as Nova reads it.
    fn read_network_info(&mut self) {
        if let Some(info) = self.get_mut(&format!("{INSTANCE}/{NETWORK_INFO}"))
            && let Some(text) = info.as_str()
        {
            *info = read_again(text).into();
        }
    }

    /// The VM's network information, as the text that its cache has.
    pub fn set_vifs(&mut self, network_info: &str) {
        self.set("vifs", serde_json::from_str(network_info).unwrap_or_default());
    }

    /// The port that a loop is at.
    pub fn set_port(&mut self, vif: &Value) {
        let vifs = self.get("vifs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        self.port_index = vifs.iter().position(|known| known["id"] == vif["id"]);
        self.set("port", vif["id"].clone());
        self.set("vif", vif.clone());
    }

    /// The value at a path.
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut steps = path.split('/');
        let root = self.values.get(steps.next()?)?;
        steps.try_fold(root, |value, step| match step {
            // In a list that has an element for each port: the port's own.
            PORT_INDEX => value.get(self.port_index?),
            step => enter(value, step),
        })
    }

    /// The value at a path, to change it.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Value> {
        let mut steps = path.split('/');
        let root = self.values.get_mut(steps.next()?)?;
        steps.try_fold(root, enter_mut)
    }

    /// Puts a value at a path.
    pub fn put(&mut self, path: &str, new: Value) {
        match path.split_once('/') {
            Some((root, rest)) => put(self.values.entry(root).or_insert(Value::Null), rest, new),
            None => self.set(path, new),
        }
    }

    /// Everything, for those who look for a value.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// Takes over what the conductor says a method changed in an object: `object_action` answers `[updates, result]`.
    pub fn update(&mut self, path: &str, answer: &Value) {
        let Some(object) = self.get_mut(path) else { return };
        let Some(updates) = answer.get(0).and_then(Value::as_object) else { return };
        update(object, updates);
    }
}

/// Takes over what the conductor changed in an object, and what it says is still to be saved.
pub(crate) fn update(object: &mut Value, updates: &Map<String, Value>) {
    for (key, value) in updates {
        if key == WHAT_CHANGED {
            set_changes(object, value.as_array().filter(|changes| !changes.is_empty()).cloned());
        } else if let Some(data) = object.get_mut(DATA).and_then(Value::as_object_mut) {
            data.insert(key.clone(), value.clone());
        }
    }
}

pub(crate) fn set_changes(object: &mut Value, changes: Option<Vec<Value>>) {
    let Value::Object(object) = object else { return };
    match changes {
        Some(changes) => object.insert(CHANGES.to_owned(), changes.into()),
        None => object.remove(CHANGES),
    };
}

/// Fills a template. An object that is changed on the way is changed in the scope, too.
///
/// # Errors
/// The path of a value that the scope does not have.
pub fn resolve(template: &Value, scope: &mut Scope, now: &str) -> Result<Value, String> {
    match template {
        Value::Object(map) => match map.keys().find(|key| key.starts_with('$')).map(String::as_str) {
            Some("$") => lookup(map, "$", scope).cloned(),
            Some("$object") => resolve_object(map, scope, now),
            Some("$text") => text(map["$text"].as_str().unwrap_or_default(), scope),
            Some("$json") => lookup(map, "$json", scope).map(|value| json::dumps(value).into()),
            Some("$map") => pairs(&map["$map"], scope, now),
            Some("$ports") => for_each_port(&map["$ports"], scope, now),
            Some("$now") => Ok(now.into()),
            Some("$new") => Ok(uuid::Uuid::new_v4().to_string().into()),
            Some(other) => Err(other.to_owned()),
            None => map.iter().map(|(key, value)| Ok((key.clone(), resolve(value, scope, now)?))).collect(),
        },
        Value::Array(items) => items.iter().map(|item| resolve(item, scope, now)).collect(),
        other => Ok(other.clone()),
    }
}

/// A dictionary from its keys and values.
fn pairs(items: &Value, scope: &mut Scope, now: &str) -> Result<Value, String> {
    let mut filled = Map::new();
    for item in items.as_array().into_iter().flatten() {
        let key = resolve(&item[0], scope, now)?;
        let value = resolve(&item[1], scope, now)?;
        filled.insert(key.as_str().unwrap_or_default().to_owned(), value);
    }
    Ok(Value::Object(filled))
}

/// Fills a template once for each port of the VM.
fn for_each_port(template: &Value, scope: &mut Scope, now: &str) -> Result<Value, String> {
    let vifs = scope.get("vifs").and_then(Value::as_array).cloned().unwrap_or_default();
    let filled = vifs.into_iter().map(|vif| {
        scope.set_port(&vif);
        resolve(template, scope, now)
    });
    filled.collect()
}

fn lookup<'a>(map: &Map<String, Value>, key: &str, scope: &'a Scope) -> Result<&'a Value, String> {
    let path = map[key].as_str().unwrap_or_default();
    scope.get(path).ok_or_else(|| path.to_owned())
}

fn resolve_object(map: &Map<String, Value>, scope: &mut Scope, now: &str) -> Result<Value, String> {
    let path = map["$object"].as_str().unwrap_or_default().to_owned();
    let mut object = lookup(map, "$object", scope)?.clone();
    for name in map.get("unset").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        remove(&mut object, name);
    }
    for (name, template) in map.get("set").and_then(Value::as_object).into_iter().flatten() {
        let value = resolve(template, scope, now)?;
        put(&mut object, name, value);
    }
    if map.contains_key("labels")
        && let Some(info) = below_mut(&mut object, NETWORK_INFO)
        && let Some(text) = info.as_str()
    {
        *info = label(text).into();
    }
    set_changes(&mut object, map.get("changes").and_then(Value::as_array).cloned());
    scope.put(&path, object.clone());
    Ok(object)
}

/// Replaces `{path}` by the value there.
fn text(template: &str, scope: &Scope) -> Result<Value, String> {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (path, after) = after.split_once('}').ok_or_else(|| template.to_owned())?;
        text.push_str(before);
        match scope.get(path).ok_or_else(|| path.to_owned())? {
            Value::String(value) => text.push_str(value),
            other => text.push_str(&other.to_string()),
        }
        rest = after;
    }
    text.push_str(rest);
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(data: Value) -> Value {
        json!({"nova_object.name": "Migration", "nova_object.data": data})
    }

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.set("host", "h1".into());
        scope.set("args", json!({"migration": object(json!({"id": 7, "dest": "h2"})), "list": [1, 2]}));
        scope
    }

    #[test]
    fn paths_enter_objects_by_themselves() {
        let scope = scope();
        assert_eq!(scope.get("args/migration/dest"), Some(&"h2".into()));
        assert_eq!(scope.get("args/list/1"), Some(&2.into()));
        assert_eq!(scope.get("args/migration/none"), None);
    }

    #[test]
    fn an_object_keeps_what_a_template_sets() {
        let mut scope = scope();
        let template =
            json!({"$object": "args/migration", "set": {"status": "done", "to": {"$": "host"}}, "changes": ["status"]});
        let filled = resolve(&template, &mut scope, "now").expect("all is there");
        assert_eq!(filled["nova_object.data"], json!({"id": 7, "dest": "h2", "status": "done", "to": "h1"}));
        assert_eq!(filled["nova_object.changes"], json!(["status"]));
        assert_eq!(scope.get("args/migration/status"), Some(&"done".into()));
        scope.update("args/migration", &json!([{"updated_at": "t", "obj_what_changed": []}, null]));
        assert_eq!(scope.get("args/migration/nova_object.changes"), None);
        assert_eq!(scope.get("args/migration/updated_at"), Some(&"t".into()));
    }

    #[test]
    fn texts_and_what_is_missing() {
        let mut scope = scope();
        let template = json!({"$text": "alt.{args/migration/dest}/{args/migration/id}"});
        assert_eq!(resolve(&template, &mut scope, ""), Ok("alt.h2/7".into()));
        assert_eq!(resolve(&json!([{"$": "args/gone"}]), &mut scope, ""), Err("args/gone".into()));
    }
}
