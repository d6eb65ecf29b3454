//! What was seen on a hypervisor's wires.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The hypervisor.
    Sent,
    /// The broker.
    Received,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Microseconds since the recording began.
    pub at_us: u64,
    /// Number of the TCP connection, in the order they were opened.
    pub connection: u32,
    /// Who said it.
    pub direction: Direction,
    /// What was said.
    #[serde(flatten)]
    pub what: What,
}

/// The content of an [`Event`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct What {
    /// An AMQP method such as `queue.declare`, or `http`.
    pub name: String,
    /// AMQP channel; zero for HTTP.
    #[serde(default)]
    pub channel: u16,
    /// Arguments and message, or request and answer.
    pub fields: Value,
}

impl What {
    pub(crate) fn amqp(name: &str, channel: u16, fields: Value) -> Self {
        Self { name: name.to_owned(), channel, fields }
    }

    pub(crate) fn http(fields: Value) -> Self {
        Self { name: "http".to_owned(), channel: 0, fields }
    }
}

/// What one hypervisor said and heard of one operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Name of its host.
    pub host: String,
    /// In order.
    pub events: Vec<Event>,
}

impl Trace {
    /// Everything on the wires but signs of life, which come when they come.
    pub(crate) fn new(host: &str, events: Vec<Event>) -> Self {
        let mut beats = BTreeSet::new();
        let mut keep = |event: &Event| {
            let message = &event.what.fields["message"];
            let id = message["_msg_id"].as_str().unwrap_or_default();
            if event.is_heartbeat() {
                beats.insert(id.to_owned());
            }
            event.what.name != "heartbeat" && !beats.contains(id)
        };
        Self { host: host.to_owned(), events: events.into_iter().filter(|event| keep(event)).collect() }
    }

    /// When the last thing was said.
    pub(crate) fn last_us(&self) -> Option<u64> {
        self.events.iter().map(|event| event.at_us).max()
    }
}

impl Event {
    /// A call or a cast that the hypervisor got.
    pub(crate) fn is_request_to_it(&self) -> bool {
        self.what.name == "basic.deliver" && self.what.fields["message"]["method"].is_string()
    }

    /// Something the hypervisor said, apart from the formalities of AMQP.
    pub(crate) fn is_utterance(&self) -> bool {
        self.direction == Direction::Sent && matches!(self.what.name.as_str(), "basic.publish" | "http")
    }

    /// The beat of the service group, not of AMQP.
    fn is_heartbeat(&self) -> bool {
        let args = &self.what.fields["message"]["args"];
        args["objmethod"] == "save"
            && args["objinst"]["nova_object.name"] == "Service"
            && args["objinst"]["nova_object.changes"] == serde_json::json!(["report_count"])
    }
}
