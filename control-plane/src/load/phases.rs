//! The phases of a boot, each from moments that were measured; a phase whose moments are not all known is left out.
//!
//! | phase | from | to | measured by |
//! |---|---|---|---|
//! | `api` | the request is sent | its answer (202) has come | the client |
//! | `conductor` | 202 | the host has received `build_and_run_instance` | client, simulated host; less `scheduler` |
//! | `scheduler` | the conductor calls `select_destinations` | it has the answer | the conductor's own log, to 10 ms |
//! | `build` | received | the network allocation begins (build slot, claim) | simulated host |
//! | `network` | the allocation begins | all ports are made and bound | simulated host |
//! | `spawn` | the driver begins | ACTIVE is saved: image, guest, ports wired | simulated host |
//!
//! Nova casts to the conductor before it answers the client: what conductor and scheduler do before the answer has come
//! counts as `api`, so that phases never overlap. What is missing to the whole latency is the harness's lateness before `api`, the saves between
//! network and spawn, and the resolution of the poller after ACTIVE.
//!
//! The conductor writes the time of `select_destinations` with `nova.conductor.manager` at DEBUG only; see
//! [`super::SchedulingLog`]. Without it, `conductor` and `scheduler` are left out: no public interface tells them apart.

use std::time::Duration;

use fake_hv::BuildTimeline;

/// When a boot passed the points that its phases lie between, since the beginning of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moments {
    /// The request was sent.
    pub started: Duration,
    /// Its answer had come.
    pub accepted: Duration,
    /// How long the conductor waited for the scheduler.
    pub scheduling: Option<Duration>,
    /// What the host noted.
    pub host: Option<BuildTimeline>,
}

/// The phases in milliseconds, in the order in which they happen.
pub fn phases_ms(moments: &Moments) -> Vec<(String, f64)> {
    let host = moments.host.clone().unwrap_or_default();
    let control = between(Some(moments.accepted), host.received);
    let scheduler = control.zip(moments.scheduling).map(|(control, scheduling)| scheduling.min(control));
    let conductor = control.zip(scheduler).map(|(control, scheduler)| control - scheduler);
    let phases = [
        ("api", between(Some(moments.started), Some(moments.accepted))),
        ("conductor", conductor),
        ("scheduler", scheduler),
        ("build", between(host.received, host.network_started)),
        ("network", between(host.network_started, host.network_allocated)),
        ("spawn", between(host.spawn_started, host.active)),
    ];
    phases.into_iter().filter_map(|(name, took)| Some((name.to_owned(), recording::millis(took?)))).collect()
}

fn between(from: Option<Duration>, to: Option<Duration>) -> Option<Duration> {
    Some(to?.saturating_sub(from?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn boot() -> Moments {
        let host = BuildTimeline {
            host: "h".to_owned(),
            received: Some(ms(900)),
            started: Some(ms(901)),
            network_started: Some(ms(1000)),
            network_allocated: Some(ms(1300)),
            spawn_started: Some(ms(1310)),
            spawn_finished: Some(ms(1900)),
            active: Some(ms(1950)),
        };
        Moments { started: ms(100), accepted: ms(400), scheduling: Some(ms(350)), host: Some(host) }
    }

    fn names(moments: &Moments) -> Vec<String> {
        phases_ms(moments).into_iter().map(|(name, _)| name).collect()
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
        assert_eq!(phases_ms(&boot()), expected.map(|(name, ms)| (name.to_owned(), ms)));
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        assert_eq!(names(&Moments { scheduling: None, ..boot() }), ["api", "build", "network", "spawn"]);
        assert_eq!(names(&Moments { host: None, ..boot() }), ["api"]);
    }

    #[test]
    fn a_host_that_is_quicker_than_the_answer_makes_no_negative_phase() {
        let quick = Moments { accepted: ms(1200), ..boot() };
        let phases = phases_ms(&quick);
        assert_eq!(phases[1..3], [("conductor".to_owned(), 0.0), ("scheduler".to_owned(), 0.0)]);
    }
}
