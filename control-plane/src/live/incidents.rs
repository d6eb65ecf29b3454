//! What the scenario makes happen to the fleet while it is loaded.

use std::time::Instant;

use scenarios::plan::IncidentKind;

use super::Run;

/// Makes everything happen at its time, counted from now, and comes back never: the load says when it is over.
pub(super) async fn happen(run: &Run<'_>) {
    let begun = Instant::now();
    let mut incidents = run.plan.incidents.clone();
    incidents.sort_by_key(|incident| incident.at);
    for incident in incidents {
        tokio::time::sleep_until((begun + incident.at).into()).await;
        let what = incident.kind.words();
        run.tell.note(&what);
        run.scribe.event("incident", what);
        match incident.kind {
            IncidentKind::ConnectionsLost { share } => {
                run.fleet.with(|fleet| fleet.lose_connections(share));
            }
            IncidentKind::ComputesRestart { share, start } => {
                // The next incident does not wait until all of them have restarted.
                let restarts = run.fleet.with(|fleet| fleet.restart(share, start));
                restarts.map(tokio::spawn);
            }
            IncidentKind::BrokerRestart { .. } => {}
        }
    }
    std::future::pending().await
}
