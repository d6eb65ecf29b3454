//! The service group heartbeat (`nova/servicegroup/drivers/db.py`).

use std::time::Duration;

use crate::{ConductorCall, executor::Host};

/// `INITIAL_REPORTING_DELAY`.
const FIRST_BEAT_AFTER: Duration = Duration::from_secs(5);

/// Beats every `report_interval`, counted from beat to beat; never two at once: a beat that took longer than the interval
/// is followed by the next at once.
pub(crate) async fn run(host: Host) {
    host.sleep(FIRST_BEAT_AFTER).await;
    beat(&host).await;
}

/// Goes on with the beats of a hypervisor that was at rest.
pub(crate) async fn go_on(host: Host, since_beat: Duration) {
    let interval = host.peek().config.options.report_interval;
    host.sleep(interval.saturating_sub(since_beat)).await;
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
        // A lost beat is logged and otherwise forgotten; the next one carries the count on.
        let _lost = host.conductor(ConductorCall::SaveService { report_count }).await.err();
        host.sleep_until(started + interval).await;
    }
}
