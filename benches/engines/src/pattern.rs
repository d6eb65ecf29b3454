//! The pattern of events that all engines carry out, and what each of them counts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a client sends its heartbeat, counted from a phase of its own.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// How long it waits for the answer. One whose last request is still out skips a heartbeat.
pub const TIMEOUT: Duration = Duration::from_secs(60);
/// From the end of the service to the client.
pub const LINK: Duration = Duration::from_micros(100);
/// Servers, with one line before them.
pub const SERVERS: usize = 16;
/// Share of their time that the servers are meant to be busy.
const UTILISATION: f64 = 0.8;
/// Share of the requests that get lost, so that timeouts are mostly cancelled, and not always.
const LOST: f64 = 0.001;

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Clients that send heartbeats.
    pub clients: u32,
    /// How long, in virtual time.
    pub length: Duration,
}

impl Pattern {
    /// As long as it takes so many clients to send so many requests.
    pub fn new(clients: u32, requests: u64) -> Self {
        Self { clients, length: INTERVAL.mul_f64(requests as f64 / f64::from(clients)) }
    }

    fn mean_service(&self) -> Duration {
        INTERVAL.mul_f64(UTILISATION * SERVERS as f64 / f64::from(self.clients))
    }
}

/// What came of it. All engines have to come to the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub answers: u64,
    pub timeouts: u64,
    /// Sum of the times from request to answer.
    pub latency_ns: u64,
}

impl Tally {
    pub fn answer(&mut self, latency: Duration) {
        self.answers += 1;
        self.latency_ns += latency.as_nanos() as u64;
    }

    pub fn mean_latency_ms(&self) -> f64 {
        self.latency_ns as f64 / self.answers.max(1) as f64 / 1e6
    }
}

/// The random numbers, the same for every engine that asks in the same order: all phases first, then for each request as it
/// reaches the servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dice {
    state: u64,
    mean_service_ns: f64,
}

impl Dice {
    pub fn new(pattern: &Pattern) -> Self {
        Self { state: 1, mean_service_ns: pattern.mean_service().as_nanos() as f64 }
    }

    /// SplitMix64, to a number in [0, 1).
    fn roll(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// When a client sends its first heartbeat. Not at the origin, for nexosim schedules nothing for the present.
    pub fn phase(&mut self) -> Duration {
        INTERVAL.mul_f64(self.roll()) + Duration::from_nanos(1)
    }

    /// How long a request will be served, or nothing if it gets lost.
    pub fn service(&mut self) -> Option<Duration> {
        if self.roll() < LOST {
            return None;
        }
        let ns = -(1.0 - self.roll()).ln() * self.mean_service_ns;
        Some(Duration::from_nanos((ns as u64).max(1)))
    }
}
