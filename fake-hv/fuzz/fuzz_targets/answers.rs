//! Answers to every question that a host asks. The first line is the record of a VM; each other line is an answer,
//! `[number, status, body]`.

#![no_main]

use fake_hv::fuzzing::Records;
use fake_hv_fuzz::{mutate::mutate, script::lines};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| {
    let mut lines = lines(data).into_iter();
    let mut records = Records::new(lines.next().unwrap_or_default());
    for mut line in lines {
        let number = line[0].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or_default();
        let status = line[1].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        let body = line.get_mut(2).map(serde_json::Value::take).unwrap_or_default();
        records.ask(number % records.len(), status, Some("token"), body);
    }
    records.say_all();
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });
