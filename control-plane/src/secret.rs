//! Passwords, kept out of everything that is printed.

use std::fmt;

use rand::{Rng, TryRngCore, distr::Alphanumeric, rngs::OsRng};
use serde::{Deserialize, Serialize};

/// A password. `Debug` and `Display` print `***`; [`Secret::reveal`] is the one way to the text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// Letters and digits of a generated password: 32 of 62 kinds are 190 bits, and need no quoting in any file or URL.
const GENERATED_CHARS: usize = 32;

impl Secret {
    /// A password that exists already.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A new random password of letters and digits.
    pub fn generate() -> Self {
        Self(OsRng.unwrap_err().sample_iter(Alphanumeric).take(GENERATED_CHARS).map(char::from).collect())
    }

    /// The text. It belongs into a file of mode 0600, the environment of a child or a request, and nowhere else.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_shows_nothing() {
        let secret = Secret::new("open sesame");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "open sesame");
    }

    #[test]
    fn generated_passwords_differ_and_need_no_quoting() {
        let (one, other) = (Secret::generate(), Secret::generate());
        assert_ne!(one, other);
        assert!(one.reveal().len() == GENERATED_CHARS && one.reveal().chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
