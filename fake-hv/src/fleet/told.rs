//! What a fleet and a process of it tell each other: JSON, a line each.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use recording::{Event, RpcResult};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::FleetSpec;
use crate::{
    BuildTimeline,
    stats::{Counted, Tokens},
};

/// The first line that a process reads; those after it are orders.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begin {
    pub(super) spec: FleetSpec,
    /// `t = 0` of the run.
    pub(super) origin: Moment,
}

/// What a process tells.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// It has reached the broker, and takes orders.
    Ready,
    /// It cannot begin.
    Refused(String),
    /// How late it was with waking a hypervisor.
    Late { at: Duration, late: Duration },
    /// Something that happened once.
    Event(Event),
    /// A call that has ended.
    Rpc { call: String, at: Duration, took: Duration, result: RpcResult },
    /// All that it has counted so far.
    Counted(Counted),
    /// What it has noted of builds since it last did.
    Builds(BTreeMap<Uuid, BuildTimeline>),
    /// What its hypervisors have for the next time.
    Tokens(Tokens),
    /// Its hypervisors have stopped, as they were ordered to.
    Stopped,
}

/// An [`Instant`] that another process of this machine understands: time of the monotonic clock, which all of them share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment(Duration);

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        Self(monotonic().saturating_sub(instant.elapsed()))
    }
}

impl Moment {
    pub(super) fn instant(self) -> Instant {
        let now = Instant::now();
        now.checked_sub(monotonic().saturating_sub(self.0)).unwrap_or(now)
    }
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_same_in_another_process() {
        let origin = Instant::now() - Duration::from_secs(5);
        let text = serde_json::to_string(&Moment::from(origin)).expect("it is JSON");
        let there = serde_json::from_str::<Moment>(&text).expect("it is a moment").instant();
        let apart = there.max(origin) - there.min(origin);
        assert!(apart < Duration::from_secs(1), "{apart:?}");
    }
}
