//! How late the harness itself is.

use std::time::{Duration, Instant};

use super::Scribe;

/// How long each sleep is meant to be.
const NAP: Duration = Duration::from_millis(100);

/// Sleeps, and records how much longer than asked each sleep took, in the latency stream `harness/timer`. A runtime whose
/// threads are busy, or a machine without CPU to spare, shows here before it shows in operations.
pub(super) async fn run(scribe: Scribe) {
    loop {
        let asleep = Instant::now();
        tokio::time::sleep(NAP).await;
        scribe.recorder().latency("harness/timer", scribe.now(), asleep.elapsed().saturating_sub(NAP));
    }
}
