//! The scenario language, the plans it resolves to, and the library of scenarios.

pub mod plan;

pub use plan::Plan;
