//! The service group heartbeat (`nova/servicegroup/drivers/db.py`).

use std::time::Duration;

use rand::Rng;

use crate::{ConductorCall, executor::Host};

/// `INITIAL_REPORTING_DELAY`.
const FIRST_BEAT_AFTER: Duration = Duration::from_secs(5);

/// Beats every `report_interval`, counted from beat to beat; never two at once: a beat that took longer than the interval
/// is followed by the next at once.
pub(crate) async fn run(host: Host) {
    host.sleep(FIRST_BEAT_AFTER).await;
    beat(&host).await;
}

/// A beat that is later than this part of the interval has lost its turn.
const OVERDUE: f64 = 1.25;

/// Goes on with the beats of a hypervisor that was at rest. One that has lost its turn, as after a longer rest than that of others, gets
/// another: all of these would beat at the same moment ever after.
pub(crate) async fn go_on(host: Host, since_beat: Duration) {
    let interval = host.peek().config.options.report_interval;
    let due_in = match since_beat > interval.mul_f64(OVERDUE) {
        true => interval.mul_f64(host.state().rng.random()),
        false => interval.saturating_sub(since_beat),
    };
    host.sleep(due_in).await;
    beat(&host).await;
}

async fn beat(host: &Host) {
    let interval = host.peek().config.options.report_interval;
    loop {
        let started = host.now();
        let report_count = {
            let mut state = host.state();
            state.report_count += 1;
            state.report_count
        };
        // A lost beat is logged and otherwise forgotten; the next one carries the count on. A thread sleeps nearly all its life: it
        // has room for the call only while that is under way.
        let _lost = Box::pin(host.conductor(ConductorCall::SaveService { report_count })).await.err();
        host.sleep_until(started + interval).await;
    }
}
