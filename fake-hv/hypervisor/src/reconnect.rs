//! When a lost connection to the broker is tried again (`oslo_messaging/_drivers/impl_rabbit.py`).

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The options of `[oslo_messaging_rabbit]` that decide it. Release defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reconnect {
    /// `kombu_reconnect_delay`: from the loss to the first attempt.
    pub delay: Duration,
    /// `kombu_reconnect_splay`: upper bound of a random time on top of it.
    pub splay: Duration,
    /// `rabbit_retry_interval`: from a failed attempt to the next.
    pub interval: Duration,
    /// `rabbit_retry_backoff`: what that grows by with each failure.
    pub backoff: Duration,
    /// `rabbit_interval_max`: its upper bound.
    pub interval_max: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(1),
            splay: Duration::ZERO,
            interval: Duration::from_secs(1),
            backoff: Duration::from_secs(2),
            interval_max: Duration::from_secs(30),
        }
    }
}

impl Reconnect {
    /// How long to wait after a connection was lost.
    pub fn after_loss(&self, rng: &mut impl Rng) -> Duration {
        if self.splay.is_zero() { self.delay } else { self.delay + self.splay.mul_f64(rng.random::<f64>()) }
    }

    /// How long to wait after so many attempts have failed, at least one.
    pub fn after_failures(&self, failures: u32) -> Duration {
        let grown = self.backoff.saturating_mul(failures.saturating_sub(1));
        self.interval.saturating_add(grown).min(self.interval_max.max(self.interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let defaults = Reconnect::default();
        let pauses: Vec<u64> = (1..=18).map(|failures| defaults.after_failures(failures).as_secs()).collect();
        assert_eq!(pauses[..4], [1, 3, 5, 7]);
        assert_eq!(pauses[14..], [29, 30, 30, 30]);
    }
}
