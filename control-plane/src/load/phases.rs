//! From what client, host and conductor noted of a boot to the moments that its phases lie between
//! ([`recording::BootMoments`]).
//!
//! The conductor writes the time of `select_destinations` with `nova.conductor.manager` at DEBUG only; see
//! [`super::SchedulingLog`], which is exact to 10 ms. Without it, `conductor` and `scheduler` are left out: no public interface
//! tells them apart.

use std::time::Duration;

use fake_hv::BuildTimeline;
use recording::BootMoments;

/// What is known of a boot: the client's times, the conductor's wait for the scheduler, what the host noted.
pub(crate) fn moments(
    started: Duration,
    accepted: Duration,
    scheduling: Option<Duration>,
    host: Option<BuildTimeline>,
) -> BootMoments {
    let host = host.unwrap_or_default();
    BootMoments {
        started,
        accepted: Some(accepted),
        scheduling,
        received: host.received,
        network_started: host.network_started,
        network_allocated: host.network_allocated,
        spawn_started: host.spawn_started,
        active: host.active,
    }
}
