//! What the targets have in common: scripts that a host is led through, and how they are changed at random.

pub mod mutate;
pub mod script;
