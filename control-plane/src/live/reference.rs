//! Real nova-computes beside the simulated hypervisors: what one costs stands in the same report.

use serde_json::json;

use super::{LiveError, Run};
use crate::{
    Cloud,
    load::{Call, RunName, Service},
    real_compute::{self, Spec},
};

/// Why no servers are put on them: when they end, their fake driver forgets what it had.
const DISABLED: &str = "a reference beside simulated hypervisors";

/// Starts as many as the plan asks for; [`disable`] is to follow before anything is loaded.
pub(super) async fn start(run: &Run<'_>) -> Result<(), LiveError> {
    let Some(cloud) = own(run) else { return Ok(()) };
    for number in 1..=run.plan.fleet.real {
        let host = run.name.numbered("real", number);
        run.tell.note(&format!("starts a real nova-compute, {host}"));
        let process = real_compute::start(cloud, &Spec::plain(&host)).await.map_err(LiveError::RealCompute)?;
        run.real.add(process);
    }
    Ok(())
}

/// Has the scheduler leave them alone. Nova's API calls the nova-compute for that, and waits for all of `rpc_response_timeout`
/// for one that does not serve calls yet: it is up for Nova when it has made its service, and serves calls a moment later. Its
/// first heartbeat is after both.
pub(super) async fn disable(run: &Run<'_>) -> Result<(), LiveError> {
    let Some(cloud) = own(run) else { return Ok(()) };
    for number in 1..=run.plan.fleet.real {
        let host = run.name.numbered("real", number);
        real_compute::wait_for_a_beat(cloud, &host, run.plan.fleet.register_within)
            .await
            .map_err(LiveError::RealCompute)?;
        for (_, uuid) in real_compute::service_ids(cloud, &host).await.map_err(LiveError::RealCompute)? {
            disable_service(run, &uuid).await.map_err(LiveError::api("disable a real nova-compute"))?;
        }
    }
    Ok(())
}

async fn disable_service(run: &Run<'_>, uuid: &str) -> Result<(), crate::load::ApiError> {
    let body = json!({"status": "disabled", "disabled_reason": DISABLED});
    run.admin
        .call(&Call::put("disable service", Service::Compute, format!("/os-services/{uuid}"), body))
        .await
        .map(drop)
}

/// Stops them, and lets Nova forget them; one whose start was cut short as well.
pub(super) async fn stop(run: &Run<'_>) {
    let Some(cloud) = own(run) else { return };
    let _not_watched_any_more = run.real.take();
    for number in 1..=run.plan.fleet.real {
        let host = run.name.numbered("real", number);
        let stopped = match real_compute::find(cloud, &host) {
            Ok(Some(process)) => real_compute::stop(cloud, &process).await,
            // One that has died is known to Nova all the same.
            Ok(None) => real_compute::forget(cloud, &host).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stopped {
            let what = format!("cannot take {host} away: {error}");
            run.tell.note(&what);
            run.scribe.event("warning", what);
        }
    }
}

/// Stops those of runs that were killed, of this one's name as well: a nova-compute that lives would make its service anew, and beat
/// beside those that are measured.
pub(super) async fn stop_left(run: &Run<'_>) -> Result<(), LiveError> {
    let Some(cloud) = &run.target.own else { return Ok(()) };
    for (host, process) in real_compute::all(cloud).map_err(LiveError::RealCompute)? {
        if RunName::owner_of(&host).is_some() {
            run.tell.note(&format!("an earlier run left the nova-compute of {host}; it is stopped"));
            real_compute::stop(cloud, &process).await.map_err(LiveError::RealCompute)?;
        }
    }
    Ok(())
}

fn own<'a>(run: &Run<'a>) -> Option<&'a Cloud> {
    run.target.own.as_ref().filter(|_| run.plan.fleet.real > 0)
}
