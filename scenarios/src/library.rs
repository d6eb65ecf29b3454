//! The scenarios that ship with the harness: in the binary, so that an installed command has them anywhere.

use crate::problem::Source;

/// A scenario of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Name of its folder, which is the scenario's name.
    pub name: &'static str,
    /// Its `scenario.toml`.
    pub text: &'static str,
    /// Its `README.md`.
    pub readme: &'static str,
}

impl Shipped {
    /// The scenario as [`crate::resolve`] takes it.
    pub fn source(&self) -> Source {
        Source { name: format!("scenarios/{}/scenario.toml", self.name), text: self.text.to_owned() }
    }
}

macro_rules! shipped {
    ($($name:literal),+ $(,)?) => {
        &[$(Shipped {
            name: $name,
            text: include_str!(concat!("../", $name, "/scenario.toml")),
            readme: include_str!(concat!("../", $name, "/README.md")),
        }),+]
    };
}

const SHIPPED: &[Shipped] = shipped![
    "yahoo-2014",
    "yahoo-2014-tuned",
    "yahoo-2014-live",
    "yahoo-2014-live-defaults",
    "yahoo-2014-fill",
    "yahoo-2014-soak",
    "find-the-edge",
    "quickstart",
    "boot-storm",
    "heartbeat-storm",
    "conductor-scaling",
    "scheduler-scaling",
    "db-pool",
    "api-front",
    "broker-reconnect",
];

/// All scenarios of the library, the one to begin with first.
pub fn all() -> &'static [Shipped] {
    SHIPPED
}

/// The scenario of this name.
pub fn find(name: &str) -> Option<&'static Shipped> {
    SHIPPED.iter().find(|shipped| shipped.name == name)
}

/// The name of the library that looks most like this one, for messages.
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::nearest::to(name, SHIPPED.iter().map(|shipped| shipped.name))
}
