//! Tests of analysis and page on run folders that are made up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod figures;
mod fixture;
mod page;
