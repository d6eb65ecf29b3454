//! What is looked at before a request reaches a method, and how it is refused: by oslo.messaging's dispatcher, by the
//! deserialisation of its objects, by the count of what goes on, by Python (`rpc/dispatcher.py`, `nova/service.py`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::amqp::{Incoming, Raised};

/// An RPC interface that a nova-compute serves.
#[derive(Debug, Deserialize)]
pub(crate) struct Interface {
    namespace: Option<String>,
    version: String,
    methods: BTreeMap<String, Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    /// Its parameters, without the context.
    takes: Vec<String>,
    /// Those of them that have a default.
    #[serde(default)]
    optional: Vec<String>,
    /// Who complains of wrong arguments, if it is not the method by its plain name.
    speaker: Option<String>,
    /// Whether its instance is asked for its UUID before the method is called.
    #[serde(default)]
    tracked: bool,
    /// Whether its instance is asked for its task state when the method fails.
    #[serde(default)]
    reverts_task_state: bool,
}

const BUILTINS: &str = "builtins";
const DISPATCHER: &str = "oslo_messaging.rpc.dispatcher";
/// What makes a dictionary a versioned object, and what one has to have, in the order in which they are looked at.
const NAME: &str = "nova_object.name";
const NAMESPACE: &str = "nova_object.namespace";
const VERSION: &str = "nova_object.version";
const DATA: &str = "nova_object.data";

fn builtin(class: &'static str, message: String) -> Raised {
    Raised { class: class.into(), module: BUILTINS.into(), message, kwargs: Value::Null }
}

/// Looks for the method of a request, as the dispatcher does.
///
/// # Errors
/// What a real nova-compute raises before it has begun.
pub(crate) fn dispatch(interfaces: &[Interface], incoming: &Incoming) -> Result<(), Raised> {
    let Incoming { method, namespace, version, args, .. } = incoming;
    let mut served = false;
    for interface in interfaces.iter().filter(|interface| interface.namespace == *namespace) {
        if !is_compatible(&interface.version, version)? {
            continue;
        }
        if let Some(found) = interface.methods.get(method) {
            return found.accept(method, args);
        }
        served = true;
    }
    Err(match served {
        true => by_dispatcher("NoSuchMethod", format!("Endpoint does not support RPC method {method}")),
        false => unsupported_version(version, method),
    })
}

/// What oslo.messaging answers to a call that no endpoint serves in this version.
pub(crate) fn unsupported_version(version: &str, method: &str) -> Raised {
    let message = format!("Endpoint does not support RPC version {version}. Attempted method: {method}");
    by_dispatcher("UnsupportedVersion", message)
}

/// An exception of oslo.messaging's dispatcher.
pub(super) fn by_dispatcher(class: &'static str, message: String) -> Raised {
    Raised { class: class.into(), module: DISPATCHER.into(), message, kwargs: Value::Null }
}

/// The same major version, and no later one (`_utils.version_is_compatible`).
fn is_compatible(ours: &str, theirs: &str) -> Result<bool, Raised> {
    let part = |version: &str, index: usize| match version.split('.').nth(index) {
        Some(part) => part
            .trim()
            .parse::<u64>()
            .map_err(|_| builtin("ValueError", format!("invalid literal for int() with base 10: '{part}'"))),
        None if index == 2 => Ok(0),
        None => Err(builtin("IndexError", "list index out of range".to_owned())),
    };
    if part(theirs, 0)? != part(ours, 0)? {
        return Ok(false);
    }
    let (minor, our_minor) = (part(theirs, 1)?, part(ours, 1)?);
    Ok(minor < our_minor || (minor == our_minor && part(theirs, 2)? <= part(ours, 2)?))
}

impl Method {
    fn accept(&self, name: &str, args: &Value) -> Result<(), Raised> {
        let Value::Object(args) = args else { return Err(lacks(args, "items")) };
        args.values().try_for_each(readable)?;
        let instance = args.get("instance").filter(|instance| instance.get(NAME).is_none());
        if let (true, Some(instance)) = (self.tracked, instance) {
            return Err(lacks(instance, "uuid"));
        }
        self.take(name, args).map_err(|complaint| {
            let speaker = self.speaker.as_deref().unwrap_or(name);
            builtin("TypeError", format!("{speaker}() {complaint}"))
        })?;
        match instance {
            Some(instance) if self.reverts_task_state => Err(lacks(instance, "task_state")),
            _ => Ok(()),
        }
    }

    fn take(&self, name: &str, args: &Map<String, Value>) -> Result<(), String> {
        if let Some(unexpected) = args.keys().find(|arg| !self.takes.contains(arg)) {
            return Err(format!("got an unexpected keyword argument '{unexpected}'"));
        }
        let needed = self.takes.iter().filter(|name| !self.optional.contains(name));
        let missing: Vec<String> =
            needed.filter(|name| !args.contains_key(*name)).map(|name| format!("'{name}'")).collect();
        let (count, plural) = (missing.len(), if missing.len() == 1 { "" } else { "s" });
        let names = match missing.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            [one, two] => format!("{one} and {two}"),
            // Python puts a comma before the last of three; `inspect`, which nova asks, does not.
            [most @ .., last] if self.speaker.as_ref().is_some_and(|speaker| speaker != name) => {
                format!("{}, and {last}", most.join(", "))
            }
            [most @ .., last] => format!("{} and {last}", most.join(", ")),
        };
        Err(format!("missing {count} required positional argument{plural}: {names}"))
    }
}

/// Whether an argument that says it is a versioned object can be one.
fn readable(value: &Value) -> Result<(), Raised> {
    if value.get(NAME).is_none() {
        return Ok(());
    }
    // The text of a KeyError is the key as Python shows it.
    let key = |key: &str| value.get(key).ok_or_else(|| builtin("KeyError", format!("'{key}'")));
    let (namespace, name) = (key(NAMESPACE)?, key(NAME)?);
    if namespace != "nova" {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let kind = format!("{}.{}", text(namespace), text(name));
        let message = format!("Unsupported object type {kind}");
        let module = "oslo_versionedobjects.exception";
        let kwargs = serde_json::json!({"objtype": kind, "code": 500});
        return Err(Raised { class: "UnsupportedObjectError".into(), module: module.into(), message, kwargs });
    }
    key(VERSION).and_then(|_| key(DATA)).map(drop)
}

/// `AttributeError` of a JSON value, by the name that Python has for it.
fn lacks(value: &Value, attribute: &str) -> Raised {
    let kind = match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    };
    builtin("AttributeError", format!("'{kind}' object has no attribute '{attribute}'"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        amqp::{read_reply, read_request, write_reply},
        nova::Release,
    };

    const MADE_BY_NOVA: &str = include_str!("../../tests/data/dispatch.json");

    fn request(message: &Value) -> Incoming {
        let mut message = message.clone();
        message["_msg_id"] = "0123456789abcdef0123456789abcdef".into();
        message["_reply_q"] = "reply".into();
        let body = json!({"oslo.version": "2.0", "oslo.message": message.to_string()}).to_string();
        read_request(body.as_bytes()).expect("it is a request")
    }

    #[test]
    fn requests_are_refused_as_oslo_messaging_and_nova_refuse_them() {
        let release = Release::load("2026.2").expect("it ships");
        let made: Value = serde_json::from_str(MADE_BY_NOVA).expect("JSON");
        for case in made["cases"].as_array().expect("a list") {
            let request = request(&case["message"]);
            let raised = dispatch(&release.interfaces, &request).expect_err("the real one refused it");
            let reply = write_reply(&request.reply_to.expect("a call"), Err(raised.clone()));
            let outer: Value = serde_json::from_slice(&reply).expect("JSON");
            let inner: Value = serde_json::from_str(outer["oslo.message"].as_str().expect("text")).expect("JSON");
            let failure: Value = serde_json::from_str(inner["failure"].as_str().expect("text")).expect("JSON");
            for field in ["class", "module", "message", "args"] {
                assert_eq!(failure[field], case["raised"][field], "{field} of {}", case["message"]);
            }
            assert!(read_reply(&reply).is_some_and(|reply| reply.result.is_err()));
        }
    }

    #[test]
    fn a_request_in_good_order_is_not_refused() {
        let release = Release::load("2026.2").expect("it ships");
        let instance = json!({NAME: "Instance", NAMESPACE: "nova", VERSION: "2.8", DATA: {"uuid": "x"}});
        let args = json!({"instance": instance, "clean_shutdown": true});
        for version in ["6.0", "6.5", "5.0"] {
            let message = json!({"method": "stop_instance", "version": version, "args": args});
            assert_eq!(dispatch(&release.interfaces, &request(&message)), Ok(()));
        }
        let ping = json!({"method": "ping", "namespace": "baseapi", "version": "1.0", "args": {"arg": 1}});
        assert_eq!(dispatch(&release.interfaces, &request(&ping)), Ok(()));
    }
}
