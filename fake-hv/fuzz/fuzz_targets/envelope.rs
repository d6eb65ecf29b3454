//! Bodies of messages: as they are, and inside of an envelope.

#![no_main]

use fake_hv::amqp::{Raised, read_reply, read_request, write_reply};
use fake_hv_fuzz::script::envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    read(data);
    if let Ok(inner) = std::str::from_utf8(data) {
        read(&envelope(inner));
    }
});

/// What is read as a call can be answered, and the answer can be read.
fn read(body: &[u8]) {
    let _answer = read_reply(body);
    let Some(request) = read_request(body) else { return };
    let context = request.context.as_object().expect("a context is an object");
    assert!(context.keys().all(|key| key.starts_with("_context_")), "nothing else is in a context");
    let Some(to) = request.reply_to else { return };
    let raised = Raised {
        class: "Boom".into(),
        module: "builtins".into(),
        message: request.method,
        kwargs: serde_json::Value::Null,
    };
    for (result, succeeds) in [(Ok(request.args), true), (Err(raised), false)] {
        // An id that is none of ours is that of another's call, whose answer never comes here.
        if let Some(reply) = read_reply(&write_reply(&to, result)) {
            assert_eq!(reply.result.is_ok(), succeeds);
        }
    }
}
