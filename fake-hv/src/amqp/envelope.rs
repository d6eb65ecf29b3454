//! The 2.0 envelope: a JSON string in JSON (`oslo_messaging/_drivers/common.py`, `amqpdriver.py`).

use std::borrow::Cow;

use hypervisor::RequestId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::json;

/// A body larger than this, in bytes, is neither kept nor looked at; Nova's largest are a few hundred kilobytes.
pub const LARGEST_BODY_BYTES: usize = 16 << 20;

/// A request to another service, before the envelope.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    method: &'static str,
    namespace: Option<&'static str>,
    version: &'static str,
    args: Value,
    /// `_context_*`.
    context: Value,
    /// `_timeout`.
    call_monitor_s: Option<u64>,
}

impl Message {
    /// `context` is an object whose keys begin with `_context_`.
    pub fn new(
        method: &'static str,
        namespace: Option<&'static str>,
        version: &'static str,
        args: Value,
        context: Value,
    ) -> Self {
        Self { method, namespace, version, args, context, call_monitor_s: None }
    }

    /// A call whose server is to give signs of life: one at least every so many seconds.
    pub fn monitored(self, call_monitor_s: Option<u64>) -> Self {
        Self { call_monitor_s, ..self }
    }

    /// Serialises a cast.
    pub fn cast(self) -> Vec<u8> {
        wrap(&Value::Object(self.inner()))
    }

    /// Serialises a call that is to be answered on `reply_queue`.
    pub fn call(self, id: RequestId, reply_queue: &str) -> Vec<u8> {
        let call_monitor_s = self.call_monitor_s;
        let mut inner = self.inner();
        inner.insert("_msg_id".to_owned(), message_id(id).into());
        inner.insert("_reply_q".to_owned(), reply_queue.into());
        inner.insert("_timeout".to_owned(), call_monitor_s.into());
        wrap(&Value::Object(inner))
    }

    fn inner(self) -> Map<String, Value> {
        let mut inner = match self.context {
            Value::Object(context) => context,
            _ => Map::new(),
        };
        inner.insert("method".to_owned(), self.method.into());
        inner.insert("args".to_owned(), self.args);
        inner.insert("version".to_owned(), self.version.into());
        if let Some(namespace) = self.namespace {
            inner.insert("namespace".to_owned(), namespace.into());
        }
        inner.insert("_unique_id".to_owned(), Uuid::new_v4().simple().to_string().into());
        inner
    }
}

/// Message ids are 128 random bits in hexadecimal. The last 32 of ours are the request's number, so that an answer finds
/// its request without a table.
fn message_id(id: RequestId) -> String {
    let random = Uuid::new_v4().as_u128() >> 32 << 32;
    Uuid::from_u128(random | u128::from(id.0)).simple().to_string()
}

fn request_id(message_id: &str) -> Option<RequestId> {
    let id = Uuid::try_parse(message_id).ok()?.as_u128();
    u32::try_from(id & u128::from(u32::MAX)).ok().map(RequestId)
}

#[derive(Serialize)]
struct Outer<'a> {
    #[serde(rename = "oslo.version")]
    version: &'a str,
    #[serde(rename = "oslo.message")]
    message: &'a str,
}

fn wrap(inner: &Value) -> Vec<u8> {
    json::dumps(&Outer { version: "2.0", message: &json::dumps(inner) }).into_bytes()
}

/// Where a caller waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo {
    /// Name of the reply queue.
    pub queue: Box<str>,
    message_id: Box<str>,
}

/// A request to this service.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// Name of the method.
    pub method: String,
    /// Namespace of the method, such as `baseapi`; `None`: the service's own.
    pub namespace: Option<String>,
    /// Version of the interface that the caller speaks.
    pub version: String,
    /// Arguments by name.
    pub args: Value,
    /// `_context_*`.
    pub context: Value,
    /// `None`: a cast.
    pub reply_to: Option<ReplyTo>,
    /// To tell a message that was delivered twice.
    pub unique_id: Option<Box<str>>,
}

/// An exception that the other side raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyError {
    /// Its class, without module.
    pub class: String,
    /// Its message.
    pub message: String,
}

#[derive(Deserialize)]
struct OuterOwned {
    #[serde(rename = "oslo.message")]
    message: String,
}

fn unwrap(body: &[u8]) -> Option<Map<String, Value>> {
    if body.len() > LARGEST_BODY_BYTES {
        return None;
    }
    let outer: OuterOwned = serde_json::from_slice(body).ok()?;
    serde_json::from_str(&outer.message).ok()
}

fn take_text(from: &mut Map<String, Value>, name: &str) -> Option<String> {
    match from.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Reads a request; `None`: not one.
pub fn read_request(body: &[u8]) -> Option<Incoming> {
    let mut inner = unwrap(body)?;
    let message_id = take_text(&mut inner, "_msg_id");
    let queue = take_text(&mut inner, "_reply_q");
    // A longer name cannot exist: AMQP counts its length in one byte.
    let queue = queue.filter(|name| name.len() <= usize::from(u8::MAX));
    let reply_to = message_id
        .zip(queue)
        .map(|(message_id, queue)| ReplyTo { queue: queue.into_boxed_str(), message_id: message_id.into_boxed_str() });
    let incoming = Incoming {
        method: take_text(&mut inner, "method")?,
        namespace: take_text(&mut inner, "namespace"),
        version: take_text(&mut inner, "version").unwrap_or_else(|| "1.0".to_owned()),
        args: inner.remove("args").unwrap_or_default(),
        reply_to,
        unique_id: take_text(&mut inner, "_unique_id").map(String::into_boxed_str),
        context: {
            inner.retain(|key, _| key.starts_with("_context_"));
            Value::Object(inner)
        },
    };
    Some(incoming)
}

/// An answer to a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The call.
    pub to: RequestId,
    /// What the other side returned or raised.
    pub result: Result<Value, ReplyError>,
    /// To tell a message that was delivered twice.
    pub unique_id: Option<Box<str>>,
}

/// Reads an answer. `None`: not one, or a call monitor's sign of life (`ending` is false).
pub fn read_reply(body: &[u8]) -> Option<Reply> {
    let mut inner = unwrap(body)?;
    if inner.get("ending") == Some(&Value::Bool(false)) {
        return None;
    }
    let to = request_id(&take_text(&mut inner, "_msg_id")?)?;
    let unique_id = take_text(&mut inner, "_unique_id").map(String::into_boxed_str);
    let result = match inner.remove("failure") {
        None | Some(Value::Null) => Ok(inner.remove("result").unwrap_or_default()),
        Some(failure) => Err(read_failure(&failure)),
    };
    Some(Reply { to, result, unique_id })
}

/// A failure is an object in a JSON string once more.
fn read_failure(failure: &Value) -> ReplyError {
    let parsed = failure.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok()).unwrap_or_default();
    let field = |name: &str| parsed[name].as_str().map(str::to_owned);
    ReplyError {
        class: field("class").unwrap_or_else(|| "RemoteError".to_owned()),
        message: field("message").unwrap_or_else(|| failure.to_string()),
    }
}

/// Serialises an answer.
pub fn write_reply(to: &ReplyTo, result: Result<Value, Raised>) -> Vec<u8> {
    let (result, failure) = match result {
        Ok(result) => (result, Value::Null),
        Err(raised) => (Value::Null, json::dumps(&raised.failure()).into()),
    };
    wrap(&serde_json::json!({
        "result": result, "failure": failure, "ending": true, "_msg_id": to.message_id,
        "_unique_id": Uuid::new_v4().simple().to_string(),
    }))
}

/// An exception of a server, for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Its class, without module.
    pub class: Cow<'static, str>,
    /// The module it is defined in: the caller makes an exception of it only if it knows the module.
    pub module: Cow<'static, str>,
    /// Its text; empty: it was raised without one.
    pub message: String,
    /// Keyword arguments that it was raised with; `null`: none.
    pub kwargs: Value,
}

impl Raised {
    fn failure(&self) -> Value {
        let Self { class, module, message, kwargs } = self;
        let kwargs = if kwargs.is_null() { serde_json::json!({}) } else { kwargs.clone() };
        let args = if message.is_empty() { serde_json::json!([]) } else { serde_json::json!([message]) };
        serde_json::json!({"class": class, "module": module, "message": message, "tb": [], "args": args, "kwargs": kwargs})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_reads_back_as_the_request_it_was() {
        let context = json!({"_context_request_id": "req-1"});
        let message = Message::new("ping", Some("baseapi"), "1.0", json!({"arg": 1}), context.clone());
        let read = read_request(&message.call(RequestId(7), "reply_1")).expect("it is a request");
        assert_eq!(
            (read.method.as_str(), read.namespace.as_deref(), read.version.as_str()),
            ("ping", Some("baseapi"), "1.0")
        );
        assert_eq!(read.context, context);
        assert_eq!(read.reply_to.expect("a call").queue.as_ref(), "reply_1");
    }

    #[test]
    fn an_answer_finds_its_request() {
        let message = Message::new("ping", None, "1.0", json!({}), json!({}));
        let request = read_request(&message.call(RequestId(42), "reply_1")).expect("it is a request");
        let to = request.reply_to.expect("a call");
        let read = |body: Vec<u8>| read_reply(&body).map(|reply| (reply.to, reply.result));
        assert_eq!(read(write_reply(&to, Ok(json!([1])))), Some((RequestId(42), Ok(json!([1])))));
        let raised = Raised {
            class: "Boom".into(),
            module: "builtins".into(),
            message: "it went".to_owned(),
            kwargs: Value::Null,
        };
        let failed = read(write_reply(&to, Err(raised)));
        let error = ReplyError { class: "Boom".to_owned(), message: "it went".to_owned() };
        assert_eq!(failed, Some((RequestId(42), Err(error))));
    }

    /// A ping, a heartbeat, a failure, a fanout and a build of a real cloud, whole, as they were recorded.
    fn recorded() -> impl Iterator<Item = Value> {
        let lines = include_str!("../../tests/data/wire/envelope.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).expect("it is JSON"))
    }

    #[test]
    fn recorded_requests_are_read_and_written_again_member_by_member() {
        let requests = recorded().filter(|record| record["message"].get("method").is_some());
        for record in requests {
            let message = &record["message"];
            let request = read_request(&wrap(message)).expect("it is a request");
            assert_eq!(message["method"], request.method);
            let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
            let (method, version) = (leak(&request.method), leak(&request.version));
            let namespace = request.namespace.as_deref().map(leak);
            let again = Message::new(method, namespace, version, request.args, request.context);
            let body = match &request.reply_to {
                Some(to) => again.call(RequestId(1), &to.queue),
                None => again.cast(),
            };
            assert_eq!(body.len(), wrap(message).len());
            let mut inner = Value::Object(unwrap(&body).expect("it is an envelope"));
            for random in ["_msg_id", "_unique_id"].into_iter().filter(|member| message.get(member).is_some()) {
                inner[random] = message[random].clone();
            }
            assert_eq!(&inner, message);
        }
    }

    #[test]
    fn messages_have_the_sizes_that_were_measured_on_the_wire() {
        let sizes: Vec<usize> = recorded().map(|record| wrap(&record["message"]).len()).collect();
        // Python's `json.dumps`, twice; a heartbeat and its answer are 2,145 bytes.
        assert_eq!(sizes, [1205, 256, 1826, 319, 2203, 6525, 14002]);
    }

    #[test]
    fn recorded_answers_are_read_and_written_again() {
        let answers = recorded().filter(|record| record["message"].get("ending").is_some());
        let mut failures = 0;
        for record in answers {
            let message = &record["message"];
            let result = read_reply(&wrap(message)).expect("it is an answer").result;
            if let Err(error) = result {
                assert_eq!(error.class, "ComputeHostNotFound");
                failures += 1;
                continue;
            }
            assert_eq!(result.as_ref(), Ok(&message["result"]));
            let message_id = message["_msg_id"].as_str().expect("a text").into();
            let to = ReplyTo { queue: "reply".into(), message_id };
            assert_eq!(write_reply(&to, Ok(message["result"].clone())).len(), wrap(message).len());
        }
        assert_eq!(failures, 1);
    }

    #[test]
    fn what_is_too_large_or_names_an_impossible_queue_is_not_read() {
        assert_eq!(read_request(&vec![b' '; LARGEST_BODY_BYTES + 1]), None);
        let inner = json!({"method": "m", "args": {}, "_msg_id": "1", "_reply_q": "q".repeat(256)});
        assert_eq!(read_request(&wrap(&inner)).expect("it is a request").reply_to, None);
    }

    #[test]
    fn a_sign_of_life_is_no_answer() {
        let body = wrap(
            &json!({"result": null, "failure": null, "ending": false, "_msg_id": Uuid::nil().simple().to_string()}),
        );
        assert_eq!(read_reply(&body), None);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(body: Vec<u8>) {
            read_request(&body);
            read_reply(&body);
        }

        #[test]
        fn arbitrary_inner_text_does_not_panic(text: String) {
            let body = serde_json::to_vec(&json!({"oslo.version": "2.0", "oslo.message": text})).expect("it is JSON");
            read_request(&body);
            read_reply(&body);
        }
    }
}
