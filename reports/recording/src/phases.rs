//! The phases of a boot, each from moments that a target noted; a phase whose moments are not all known is left out.
//!
//! | phase | from | to |
//! |---|---|---|
//! | `api` | the request is sent | its answer (202) has come |
//! | `conductor` | 202 | the host has received `build_and_run_instance`; less `scheduler` |
//! | `scheduler` | the conductor calls `select_destinations` | it has the answer |
//! | `build` | received | the network allocation begins (build slot, claim) |
//! | `network` | the allocation begins | all ports are made and bound |
//! | `spawn` | the driver begins | ACTIVE is saved: image, guest, ports wired |
//!
//! Nova casts to the conductor before it answers the client: what conductor and scheduler do before the answer has come
//! counts as `api`, so that phases never overlap. What is missing to the whole latency is the harness's lateness before
//! `api`, the saves between network and spawn, and the resolution of the poller after ACTIVE.

use std::time::Duration;

use crate::millis;

/// When a boot passed the points that its phases lie between, since the beginning of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootMoments {
    /// The request was sent.
    pub started: Duration,
    /// Its answer had come.
    pub accepted: Option<Duration>,
    /// How long the conductor waited for the scheduler.
    pub scheduling: Option<Duration>,
    /// The host had received the build.
    pub received: Option<Duration>,
    /// Resources were claimed, and the network allocation began.
    pub network_started: Option<Duration>,
    /// All ports were made and bound.
    pub network_allocated: Option<Duration>,
    /// The driver began.
    pub spawn_started: Option<Duration>,
    /// ACTIVE was saved.
    pub active: Option<Duration>,
}

impl BootMoments {
    /// The phases in milliseconds, in the order in which they happen.
    pub fn phases_ms(&self) -> Vec<(String, f64)> {
        let control = between(self.accepted, self.received);
        let scheduler = control.zip(self.scheduling).map(|(control, scheduling)| scheduling.min(control));
        let conductor = control.zip(scheduler).map(|(control, scheduler)| control - scheduler);
        let phases = [
            ("api", between(Some(self.started), self.accepted)),
            ("conductor", conductor),
            ("scheduler", scheduler),
            ("build", between(self.received, self.network_started)),
            ("network", between(self.network_started, self.network_allocated)),
            ("spawn", between(self.spawn_started, self.active)),
        ];
        phases.into_iter().filter_map(|(name, took)| Some((name.to_owned(), millis(took?)))).collect()
    }
}

fn between(from: Option<Duration>, to: Option<Duration>) -> Option<Duration> {
    Some(to?.saturating_sub(from?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Option<Duration> {
        Some(Duration::from_millis(ms))
    }

    fn boot() -> BootMoments {
        BootMoments {
            started: Duration::from_millis(100),
            accepted: ms(400),
            scheduling: ms(350),
            received: ms(900),
            network_started: ms(1000),
            network_allocated: ms(1300),
            spawn_started: ms(1310),
            active: ms(1950),
        }
    }

    fn names(moments: &BootMoments) -> Vec<String> {
        moments.phases_ms().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn phases_follow_one_another() {
        let expected = [
            ("api", 300.0),
            ("conductor", 150.0),
            ("scheduler", 350.0),
            ("build", 100.0),
            ("network", 300.0),
            ("spawn", 640.0),
        ];
        assert_eq!(boot().phases_ms(), expected.map(|(name, ms)| (name.to_owned(), ms)));
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        assert_eq!(names(&BootMoments { scheduling: None, ..boot() }), ["api", "build", "network", "spawn"]);
        let host_unknown = BootMoments {
            received: None,
            network_started: None,
            network_allocated: None,
            spawn_started: None,
            active: None,
            ..boot()
        };
        assert_eq!(names(&host_unknown), ["api"]);
    }

    #[test]
    fn a_host_that_is_quicker_than_the_answer_makes_no_negative_phase() {
        let quick = BootMoments { accepted: ms(1200), ..boot() };
        let phases = quick.phases_ms();
        assert_eq!(phases[1..3], [("conductor".to_owned(), 0.0), ("scheduler".to_owned(), 0.0)]);
    }
}
