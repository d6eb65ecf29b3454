//! The scenario language, the plans it resolves to, and the library of scenarios.
//!
//! Two stages: what was written (a [`Source`] and its overrides) and what will be done (a [`Plan`]), in which nothing is
//! left to default. [`resolve`] goes from one to the other or says everything that is wrong. The crate takes text and
//! returns values; reading files and printing are its callers'. `README.md` beside this crate documents the language.

mod arrivals;
mod delays;
mod deployment;
mod describe;
mod document;
mod edge;
mod gates;
mod incidents;
pub mod library;
mod load;
pub mod nearest;
pub mod options;
pub mod plan;
mod problem;
mod read;
mod resolve;
mod schedule;
pub mod seed;
mod set;
mod start;
mod stream;
mod tuning;
mod units;
mod written;

pub use arrivals::{ClosedLoop, Times};
pub use describe::{delay, describe, start as show_start};
pub use edge::trial;
pub use gates::{MAY_GROW, check_metric};
pub use plan::Plan;
pub use problem::{Errors, Problem, Source};
pub use resolve::{DEFAULT_RELEASE, resolve, tuning_file};
pub use schedule::Schedule;
pub use units::{read_time, show_rate, show_size, show_time};
