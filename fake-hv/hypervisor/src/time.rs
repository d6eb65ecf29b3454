//! Time as the state machine sees it.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

/// Nanoseconds since an origin that the driver chose. The state machine has no clock: every input carries the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);

    /// Later than everything that happens.
    pub const MAX: Self = Self(u64::MAX);

    /// So many nanoseconds after the origin.
    pub const fn from_nanos(since_origin_ns: u64) -> Self {
        Self(since_origin_ns)
    }

    /// This long after the origin. Saturates after 584 years.
    pub fn from_origin(since: Duration) -> Self {
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Time since the origin.
    pub fn since_origin(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Nanoseconds since the origin.
    pub fn as_nanos(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Time {
    type Output = Duration;

    /// Time from the earlier to the later; zero when they are the other way round.
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
