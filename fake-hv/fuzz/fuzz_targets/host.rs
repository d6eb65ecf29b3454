//! RPCs to a host that has started, and answers to all that it asks because of them.

#![no_main]

use fake_hv_fuzz::{mutate::mutate, script::play};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| play(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, size, max_size, seed) });
