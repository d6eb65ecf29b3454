//! Bytes of a broker: the handshake, frames, contents in pieces. The first byte chooses what the client was told to do before,
//! the second in how large pieces the stream comes.

#![no_main]

use fake_hv::fuzzing::converse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let [orders, cut, bytes @ ..] = data {
        converse(*orders, *cut, bytes);
    }
});
