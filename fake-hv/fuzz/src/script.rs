//! Scripts: what happens to a host, one JSON object a line.
//!
//! | line | what happens |
//! |---|---|
//! | `{"plugging": false}` | the first line: ports as with Nova's fake driver |
//! | `{"early": true}` | the first or second line: answers of the script are given to the start-up, too |
//! | `{"rpc": {...}}` | an RPC, as recorded, without its envelope |
//! | `{"raw": "..."}` | a body that need not be an RPC |
//! | `{"answer": {"result": ...}}` | the next call is answered with this |
//! | `{"answer": {"failure": "Class"}}` | the next call raises |
//! | `{"answer": {"status": 200, "body": ..., "token": "..."}}` | the next HTTP request is answered so |
//! | `{"answer": "late"}` | the next request waits |
//! | `{"late": 3}` | so many of those that wait are answered |
//! | `{"wait_s": 60}` | time passes |
//!
//! Lines that are none of these are skipped, and requests without a line are answered well.

use std::{collections::VecDeque, time::Duration};

use fake_hv::{
    amqp::ReplyError,
    fuzzing::{Asked, Kept, LoneHost},
};
use serde_json::{Value, json};

/// A heartbeat is due every minute, so that one that is not there within two never comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// The longest that a script lets pass at once.
const LONGEST_WAIT_S: u64 = 1200;
/// Of a host that is at rest: those of its start-up and of its periodic task.
const CONTEXTS_AT_REST: usize = 4;

struct Run {
    host: LoneHost,
    lines: VecDeque<Value>,
    late: VecDeque<Asked>,
}

/// The lines of a script; what is no JSON is a body.
pub fn lines(data: &[u8]) -> Vec<Value> {
    let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).unwrap_or_else(|_| json!({"raw": String::from_utf8_lossy(line)})))
        .collect()
}

/// An RPC, or an answer, in the envelope of oslo.messaging.
pub fn envelope(inner: &str) -> Vec<u8> {
    json!({"oslo.version": "2.0", "oslo.message": inner}).to_string().into_bytes()
}

/// Leads a host through a script, lets it finish, and looks whether it is still a host.
///
/// # Panics
/// When it does not answer a ping, has no heartbeat, or keeps more than it needs. One that refused to start, because the script
/// told it that its node is another host's, has no heartbeat.
pub fn play(data: &[u8]) {
    let mut lines: VecDeque<Value> = lines(data).into();
    let mut flag = |name: &str| {
        let at = lines.iter().take(2).position(|line| line.get(name).is_some())?;
        lines.remove(at)?[name].as_bool()
    };
    let plugging = flag("plugging").unwrap_or(true);
    let early = flag("early").unwrap_or(false);
    let mut run = Run { host: LoneHost::new(plugging), lines, late: VecDeque::new() };
    if !early {
        let script = std::mem::take(&mut run.lines);
        run.pass(PATIENCE);
        assert!(run.host.serves(), "start-up goes through when all is well");
        run.lines = script;
    }
    run.answer_all();
    while let Some(line) = run.lines.pop_front() {
        run.line(&line);
        run.answer_all();
    }
    run.finish();
}

impl Run {
    fn line(&mut self, line: &Value) {
        if let Some(rpc) = line.get("rpc") {
            self.host.receive(&envelope(&rpc.to_string()));
        } else if let Some(raw) = line["raw"].as_str() {
            self.host.receive(raw.as_bytes());
        } else if let Some(seconds) = line["wait_s"].as_u64() {
            self.pass(Duration::from_secs(seconds.min(LONGEST_WAIT_S)));
        } else if let Some(count) = line["late"].as_u64() {
            for _ in 0..count {
                let Some(asked) = self.late.pop_front() else { return };
                self.answer(asked);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.host.now() + time;
        self.answer_all();
        while self.host.tick(end) {
            self.answer_all();
        }
    }

    fn answer_all(&mut self) {
        while let Some(asked) = self.host.next_asked() {
            self.answer(asked);
        }
    }

    /// Whether the next line is an answer to a request of this kind.
    fn next_answers(&self, asked: &Asked) -> bool {
        let Some(answer) = self.lines.front().and_then(|line| line.get("answer")) else { return false };
        let over_http = answer.get("status").or(answer.get("body")).is_some();
        answer == "late" || over_http == matches!(asked, Asked::Http(..))
    }

    fn answer(&mut self, asked: Asked) {
        let line = if self.next_answers(&asked) { self.lines.pop_front() } else { None };
        let given = line.map(|mut line| line["answer"].take()).unwrap_or_default();
        if given == "late" {
            return self.late.push_back(asked);
        }
        match asked {
            Asked::Call(id, request) => {
                let result = match (given["failure"].as_str(), given.get("result")) {
                    (Some(class), _) => Err(ReplyError { class: class.to_owned(), message: String::new() }),
                    (None, Some(result)) => Ok(result.clone()),
                    (None, None) => Ok(good_result(&request.args)),
                };
                self.host.answer_call(id, result);
            }
            Asked::Http(id, method, url) => {
                let good = good_answer(method, &url);
                let status = given["status"].as_u64().and_then(|status| u16::try_from(status).ok());
                let body = given.get("body").cloned().unwrap_or(good);
                let answer = (status.unwrap_or(200), Some(given["token"].as_str().unwrap_or("token")), body);
                self.host.answer_http(id, if status == Some(0) { None } else { Some(answer) });
            }
        }
    }

    /// Everything is answered, and all that was asked for comes to its end.
    fn finish(&mut self) {
        self.lines.clear();
        for _ in 0..2 {
            while let Some(asked) = self.late.pop_front() {
                self.answer(asked);
            }
            // Longer than any operation waits: for a wired port 300 s, for a call of a live migration 1,800 s.
            self.pass(Duration::from_secs(2000));
        }
        self.host.take_replies();
        let beats = self.host.beats();
        let ping = json!({
            "method": "ping", "namespace": "baseapi", "version": "1.0", "args": {"arg": "still there?"},
            "_msg_id": "0123456789abcdef0123456789abcdef", "_reply_q": "reply_fuzz",
        });
        self.host.receive(&envelope(&ping.to_string()));
        let replies = self.host.take_replies();
        let pong = replies.first().map(|reply| reply.result.clone());
        assert_eq!(pong, Some(Ok(json!({"service": "compute", "arg": "still there?"}))), "a ping is answered");
        self.pass(PATIENCE);
        if self.host.refused() {
            assert_eq!(self.host.beats(), 0, "nothing beats where nothing has started");
        } else {
            assert!(self.host.serves(), "start-up goes through in the end");
            assert!(self.host.beats() > beats, "its heart beats");
        }
        let Kept { records, operations, contexts, requests, guests } = self.host.kept();
        assert_eq!(operations, 0, "nothing is being carried out");
        assert!(records <= guests, "{records} records of {guests} VMs");
        assert!(contexts <= CONTEXTS_AT_REST, "{contexts} contexts of nothing");
        assert_eq!(requests, 0, "all are answered");
    }
}

/// What a conductor answers when all is well.
fn good_result(args: &Value) -> Value {
    let list = |name: &str, objects: Value| json!({"nova_object.name": name, "nova_object.data": {"objects": objects}});
    match (args["objname"].as_str(), args["objmethod"].as_str()) {
        (Some("BlockDeviceMappingList"), _) => {
            let disk = json!({"nova_object.name": "BlockDeviceMapping", "nova_object.data": {"device_name": null}});
            list("BlockDeviceMappingList", json!([disk]))
        }
        (Some(name), _) if name.ends_with("List") => list(name, json!([])),
        (None, Some("create" | "save" | "refresh" | "destroy")) => json!([{"id": 7, "obj_what_changed": []}, null]),
        _ => Value::Null,
    }
}

/// What Placement and Neutron answer when all is well.
fn good_answer(method: &str, url: &str) -> Value {
    let uuid = "21a5ef50-4a3c-4d33-9b52-c0b3fd6d9f0d";
    let network = "68a4a5b8-6f0c-4f8c-a2ff-1ce5f7b5a7b1";
    let port = json!({
        "id": uuid, "network_id": network, "mac_address": "fa:16:3e:00:00:01", "status": "ACTIVE",
        "fixed_ips": [{"subnet_id": "s", "ip_address": "10.0.0.5"}], "binding:vif_type": "ovs",
    });
    match (method, url) {
        ("POST" | "PUT", url) if url.contains("/ports") => json!({"port": port}),
        ("GET", url) if url.contains("/ports") => json!({"ports": [port]}),
        ("GET", url) if url.contains("/networks?") => json!({"networks": [{"id": network, "name": "n", "mtu": 1500}]}),
        _ => json!({}),
    }
}
