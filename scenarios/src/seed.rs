//! Random generators of a run, all derived from the plan's one seed.

use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

/// The seed of a run that names none. Fixed, so that a run without a seed can be repeated, too.
pub const DEFAULT_SEED: u64 = 1;

/// The generator for one purpose of a run.
///
/// Each purpose has a seed of its own, mixed from the seed of the plan and the purpose's name (`arrivals/boot`), so that
/// adding a stream to a scenario does not shift the arrivals of another.
pub fn generator(plan_seed: u64, purpose: &str) -> Pcg64Mcg {
    // FNV-1a: stable across versions of Rust, unlike the hashes of the standard library.
    let hash = purpose
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The generator's own expansion spreads the bits; the rotation keeps seed and name from cancelling out.
    Pcg64Mcg::seed_from_u64(plan_seed.rotate_left(32) ^ hash)
}
