//! Virtual time: what comes next, and the stations at which things wait.

mod alarm;
mod calendar;
mod permits;
mod processor;
mod servers;

pub use alarm::{Alarm, Ring};
pub use calendar::Calendar;
pub use permits::Permits;
pub use processor::{Enter, Processor, Wake};
pub use servers::Servers;
