//! Tests of the whole repository.

mod layers;
mod style;
