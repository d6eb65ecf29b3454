//! Real and simulated hypervisors side by side on one cloud.

mod agent;
mod caller;
mod compare;
mod lab;
mod learn;
mod load;
mod operations;
mod recordings;
mod run;
mod scene;
mod tap;
pub mod trace;
mod verdict;

pub use agent::{Agents, compare_agents};
pub use compare::Difference;
pub use lab::{Kind, Lab, LabError, Stage, quiet_options};
pub use learn::{Lesson, learn};
pub use load::{Group, Likeness, LoadPlan, LoadReport, Period, Row, Window, load};
pub use operations::{Operation, SKIPPED, all_operations, learnable};
pub use recordings::{Recordings, Take};
pub use run::{Recorded, START_UP, choose, record, start_up};
pub use scene::Variation;
pub use verdict::{Attempts, Verdict, compare};
