//! How a connection to the broker is kept, and tried again when it is lost (`oslo_messaging/_drivers/impl_rabbit.py`).

use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};

/// The options of `[oslo_messaging_rabbit]` that decide it. Release defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RabbitOptions {
    /// `heartbeat_timeout_threshold`: after two of them without a byte the broker counts as dead. Zero: there are no heartbeats.
    pub heartbeat_timeout: Duration,
    /// `heartbeat_rate`: into so many parts that time is divided; after one without sending a heartbeat is sent.
    pub heartbeat_rate: u32,
    /// `kombu_reconnect_delay`: from the loss to the first attempt.
    pub reconnect_delay: Duration,
    /// `kombu_reconnect_splay`: upper bound of a random time on top of it.
    pub reconnect_splay: Duration,
    /// `rabbit_retry_interval`: from a failed attempt to the next.
    pub retry_interval: Duration,
    /// `rabbit_retry_backoff`: what that grows by with each failure.
    pub retry_backoff: Duration,
    /// `rabbit_interval_max`: its upper bound.
    pub retry_interval_max: Duration,
}

impl Default for RabbitOptions {
    fn default() -> Self {
        Self {
            heartbeat_timeout: Duration::from_secs(60),
            heartbeat_rate: 3,
            reconnect_delay: Duration::from_secs(1),
            reconnect_splay: Duration::ZERO,
            retry_interval: Duration::from_secs(1),
            retry_backoff: Duration::from_secs(2),
            retry_interval_max: Duration::from_secs(30),
        }
    }
}

impl RabbitOptions {
    /// How long to wait after a connection was lost.
    pub fn after_loss(&self, rng: &mut impl Rng) -> Duration {
        let splay = self.reconnect_splay;
        if splay.is_zero() { self.reconnect_delay } else { self.reconnect_delay + splay.mul_f64(rng.random::<f64>()) }
    }

    /// How long to wait after so many attempts have failed, at least one.
    pub fn after_failures(&self, failures: u32) -> Duration {
        let grown = self.retry_backoff.saturating_mul(failures.saturating_sub(1));
        self.retry_interval.saturating_add(grown).min(self.retry_interval_max.max(self.retry_interval))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let defaults = RabbitOptions::default();
        let pauses: Vec<u64> = (1..=18).map(|failures| defaults.after_failures(failures).as_secs()).collect();
        assert_eq!(pauses[..4], [1, 3, 5, 7]);
        assert_eq!(pauses[14..], [29, 30, 30, 30]);
    }
}
