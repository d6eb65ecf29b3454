//! The crate from outside: what users write, and what they get.

#![allow(clippy::unwrap_used, missing_docs)]

mod errors;
mod language;
mod library;

use scenarios::{Errors, Plan, Source};

fn resolve(text: &str, sets: &[&str]) -> Result<Plan, Errors> {
    let source = Source { name: "scenario.toml".to_owned(), text: text.to_owned() };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    scenarios::resolve(&source, &sets, None)
}
