//! Passwords that are made up.

use rand::{Rng, TryRngCore, distr::Alphanumeric, rngs::OsRng};

pub use fake_hv::Secret;

/// Letters and digits of a generated password: 32 of 62 kinds are 190 bits, and need no quoting in any file or URL.
const GENERATED_CHARS: usize = 32;

/// A new random password of letters and digits.
pub(crate) fn generate() -> Secret {
    let chars = OsRng.unwrap_err().sample_iter(Alphanumeric).take(GENERATED_CHARS);
    Secret::new(chars.map(char::from).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_differ_and_need_no_quoting() {
        let (one, other) = (generate(), generate());
        assert_ne!(one, other);
        assert!(one.reveal().len() == GENERATED_CHARS && one.reveal().chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
