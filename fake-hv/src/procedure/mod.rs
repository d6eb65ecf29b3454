//! What a nova-compute does when an RPC reaches it, as data: recorded from a real one, with what differs from one time to the
//! next replaced by where it comes from.
//!
//! # Templates
//!
//! Where a message has a value that is not always the same, its template has an object with one key that begins with `$`:
//!
//! | template | stands for |
//! |---|---|
//! | `{"$": "args/instance/uuid"}` | a value of the [scope](Scope), by its path; a path enters a versioned object's data by itself |
//! | `{"$object": "args/migration", "set": {...}, "unset": [...], "changes": [...]}` | a versioned object of the scope, with these fields changed first; with `"labels": true` a notification has listed the VM's addresses |
//! | `{"$text": "compute-alt.{args/migration/dest_compute}"}` | a text with values in it |
//! | `{"$json": "vif"}` | a value as JSON in a text |
//! | `{"$map": [[key, value], ...]}` | a dictionary whose keys are values, too |
//! | `{"$ports": ...}` | a list with one element for each port of the VM, in which `port` and `vif` are its own, and `@` in a path is its place |
//! | `{"$now": true}` | this moment, as Nova writes times |
//! | `{"$new": true}` | a new UUID |

mod labels;
mod scope;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use labels::{NETWORK_INFO, is_labelled, label, read_again};
pub use scope::{Beginning, INSTANCE, LAST, OFFLOADS_AT_ONCE, PORT_INDEX, Scope, identity, is_object, resolve};
pub(crate) use scope::{WHAT_CHANGED, update};

/// Everything that the nova-compute of a release does on RPCs, apart from building and terminating.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Procedures {
    /// The release that was recorded.
    pub release: String,
    /// In the order of their methods.
    pub procedures: Vec<Procedure>,
    /// For each object that queries name, the versions of all objects inside it.
    #[serde(default)]
    pub object_versions: BTreeMap<String, Value>,
}

/// What a nova-compute does on one RPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Procedure {
    /// Method of the RPC.
    pub method: String,
    /// Values of the scope under which it is this procedure and not another of the same method.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub when: BTreeMap<String, Value>,
    /// One after another.
    pub steps: Vec<Step>,
}

/// One thing that a nova-compute does in a procedure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Step {
    /// A remotable method of an instance of an object, carried out by the conductor.
    Action {
        /// The object.
        objinst: Value,
        /// The method.
        objmethod: String,
        /// Positional arguments.
        args: Value,
        /// Arguments by name.
        kwargs: Value,
        /// What its request context has otherwise than that of the RPC.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, Value>,
        /// Class of an exception that the conductor may raise without making the real one fail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepts: Option<String>,
    },
    /// A remotable class method, carried out by the conductor.
    Query {
        /// Name of the class.
        objname: String,
        /// The method.
        objmethod: String,
        /// Positional arguments.
        args: Value,
        /// Arguments by name.
        kwargs: Value,
        /// What its request context has otherwise than that of the RPC.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        context: BTreeMap<String, Value>,
        /// Class of an exception that the conductor may raise without making the real one fail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepts: Option<String>,
    },
    /// A request to an HTTP service.
    Http {
        /// `placement`, `neutron` or `glance`.
        service: String,
        /// HTTP method.
        method: String,
        /// Path from the root of the service.
        path: Value,
        /// Query as it stands after the question mark.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        query: Value,
        /// `OpenStack-API-Version`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        microversion: Option<String>,
        /// Whose token goes with it.
        token: Token,
        /// JSON document.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        body: Value,
        /// `Content-Type`, where it is not that of the document.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_type: Option<String>,
        /// A status that means failure and did not make the real one fail.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepts: Option<u16>,
    },
    /// A message to another service: a cast, a call or, with an exchange of its own, to everyone.
    Send {
        /// Routing key; the topic of a fanout.
        topic: Value,
        /// To everyone who serves the topic.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        fanout: bool,
        /// The method.
        method: String,
        /// Its namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        /// Version of the interface.
        version: String,
        /// Arguments by name.
        args: Value,
        /// A call, and how long it waits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Wait>,
    },
    /// The VM's network information is read from Neutron and saved (`InstanceInfoCache`).
    NetworkInfo {
        /// The networks are known: ports were just made on them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        networks_known: bool,
    },
    /// The resource tracker's update of Placement and of the compute node record (`_update`).
    Resources {
        /// After it has counted everything anew.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        audit: bool,
    },
    /// Neutron is asked for its extensions, if it was not within `[neutron] extension_sync_interval`.
    Extensions,
    /// The same steps for each port of the VM.
    EachPort {
        /// Where the scope has the port's UUID as `port`.
        steps: Vec<Step>,
    },
    /// The answer to a call.
    Reply {
        /// What is answered.
        result: Value,
    },
    /// The answer to a call that failed.
    Raise {
        /// Class of the exception.
        class: String,
        /// Its module.
        module: String,
        /// Its message.
        message: Value,
        /// The keyword arguments that it was raised with.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        kwargs: Value,
    },
}

/// Whose token a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// The user's who asked, with the service's beside it.
    User,
    /// The service's own, twice.
    Service,
    /// The service's own.
    Alone,
    /// None.
    None,
}

/// How long a call waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// For its answer, in milliseconds.
    pub timeout_ms: u64,
    /// For signs that the other side still works on it, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_s: Option<u64>,
}
