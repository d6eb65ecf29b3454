//! The same scenarios in virtual time.
//!
//! [`run`] carries a plan out on a model of the control plane: the hypervisors are the state machines of the live fleet, the
//! services are queueing stations with service times from a [`Calibration`], and time is a number. The same plan gives the
//! same recording, byte for byte, on any machine.
//!
//! [`engine`] is the calendar and the stations that the model is made of.

mod calibration;
mod dice;
pub mod engine;
mod model;
mod sense;

use std::{collections::BTreeMap, time::Duration};

use recording::{Outcome, Recorder};
use scenarios::{Plan, Schedule};

pub use calibration::{
    BrokerFacts, Calibration, CalibrationError, ConvoyPoint, DatabaseFacts, FrontFacts, InterpreterFacts, ShapeFacts,
    Work,
};
pub use dice::Shape;
pub use model::{Progress, Tell};
pub use sense::{ServiceSize, corrections, objection, only_live, services};

use model::{Options, Settings, World};

/// Intervals of the latency logs that the load is divided into, if it is long: as fine as a picture needs. An hour of a second
/// each would take longer to write than to simulate.
const LATENCY_INTERVALS: u32 = 120;
/// Their length if nobody can say how long the load takes.
const LATENCY_INTERVAL: Duration = Duration::from_secs(10);

/// What a run came to, beside its recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Events of the calendar that happened.
    pub events: u64,
    /// Requests that hypervisors made.
    pub requests: u64,
}

/// Options that the plan sets and the model does not follow, as `service: section.name` to the value.
pub fn not_modelled(plan: &Plan) -> BTreeMap<String, String> {
    let options = Options::new(plan);
    let _read = Settings::new(&options, plan.deployment.controller_cores);
    let mut not_modelled = options.not_modelled();
    let batches = plan.load.iter().filter(|load| load.operation.batch() > 1);
    not_modelled.extend(batches.map(|load| (format!("load.{}.batch", load.name), load.operation.batch().to_string())));
    not_modelled
}

/// Carries a plan out in virtual time, recording it, and tells of it now and then.
pub fn run(plan: &Plan, calibration: &Calibration, recorder: Option<Recorder>, tell: &mut Tell<'_>) -> Report {
    let settings = Settings::new(&Options::new(plan), plan.deployment.controller_cores);
    let recorder = recorder.map(|recorder| recorder.with_interval(latency_interval(plan)));
    let mut world = World::new(plan, calibration, settings, recorder);
    let outcome = world.run(tell);
    Report { outcome, events: world.counters.events, requests: world.fleet.requests }
}

/// Whole seconds.
fn latency_interval(plan: &Plan) -> Duration {
    Schedule::of(plan).map_or(LATENCY_INTERVAL, |schedule| {
        Duration::from_secs((schedule.takes() / LATENCY_INTERVALS).as_secs().max(1))
    })
}
