//! Whether two hypervisors said the same.

mod connections;
mod difference;
mod lanes;
mod normal;

pub(crate) use connections::connections;
pub use difference::Difference;
pub(crate) use difference::differences;
pub(crate) use lanes::{EVENT, Lane, lanes, short_name};
pub(crate) use normal::Names;
