//! Leaves the cloud as it was: before a run what earlier ones left, after it what it made, and proof.

use std::time::Duration;

use super::{Keep, LiveError, Phase, Run, Status, broker_queues::BrokerQueues};
use crate::{
    Kept,
    load::{self, RunName},
};

/// The end of the fleet may take so long, …
const FLEET_WITHIN: Duration = Duration::from_secs(60);
/// … and so long for each hypervisor: RabbitMQ deletes five queues for each, one after another, in a millisecond each when it has nothing
/// else to do, and in several on a slow machine.
const FLEET_WITHIN_EACH: Duration = Duration::from_millis(30);

/// Removes what runs that were killed have left. On a cloud of somebody else's another run may be under way, from another
/// machine, so there they are only told of.
pub(super) async fn leftovers(run: &Run<'_>) -> Result<(), LiveError> {
    let api = LiveError::api("remove what an earlier run left");
    let others = |name: &RunName| *name != run.name;
    let found = load::remains(&run.admin, &others).await.map_err(&api)?;
    if !found.is_empty() && run.target.own.is_none() {
        run.tell.note(&format!("there is more of kagemusha here, of a run that goes on or was killed: {found}"));
    } else if !found.is_empty() {
        run.tell.note(&format!("an earlier run left {found}; they are removed"));
        run.scribe.event("warning", format!("an earlier run had left {found}"));
        for failure in load::clean_up(&run.admin, &others).await.map_err(&api)? {
            run.scribe.event("warning", format!("could not remove what an earlier run left: {failure}"));
        }
    }
    if let Some(queues) = broker_queues(run) {
        // Queues of a host outlive their consumers for ever; those of a dead fleet have none.
        if let Err(error) = queues.delete_of(&others).await {
            run.scribe.event("warning", format!("cannot remove queues of earlier runs: {error}"));
        }
        if let Ok(names) = queues.names().await {
            let _only_once = run.queues_before.set(names);
        }
    }
    Ok(())
}

/// Removes all that the run made, stops the fleet in between, and records what is left. Goes on whatever fails.
pub(super) async fn clean_up(run: &Run<'_>) {
    let ours = |name: &RunName| *name == run.name;
    let warn = |what: &str, error: &dyn std::fmt::Display| warn(run, &format!("{what}: {error}"));
    // While their hosts live, as an operator would.
    if let Err(error) = load::delete_servers(&run.admin, &ours).await {
        warn("cannot delete the servers", &error);
    }
    if let Some(fleet) = run.fleet.take() {
        end_fleet(run, fleet.stop()).await;
    }
    match load::clean_up(&run.admin, &ours).await {
        Ok(failures) => failures.iter().for_each(|failure| warn("could not be deleted", failure)),
        Err(error) => warn("cannot clean up", &error),
    }
    match load::remains(&run.admin, &ours).await {
        Ok(left) if left.is_empty() => run.scribe.event(
            "verified",
            "nothing of the run is left in Nova, Placement, Neutron, Glance and Keystone: no server, compute service, \
             resource provider, agent, network, port, image, flavor, user or project",
        ),
        Ok(left) => warn("left in the cloud", &left),
        Err(error) => warn("cannot tell what is left in the cloud", &error),
    }
    queues_are_gone(run, &ours).await;
}

/// Leaves everything as it is: the hypervisors stop as nova-computes are stopped that will be started again.
pub(super) async fn leave(run: &Run<'_>, keep: &Keep) {
    if let Some(fleet) = run.fleet.take() {
        let tokens = fleet.tokens();
        end_fleet(run, fleet.halt()).await;
        if let Err(error) = Kept::add_tokens(&keep.state, tokens()) {
            warn(run, &format!("the tokens of the hypervisors are lost, and they log in again the next time: {error}"));
        }
    }
}

/// Waits for the end of the fleet. A broker that has died answers no farewell.
async fn end_fleet(run: &Run<'_>, end: impl Future<Output = ()>) {
    let hypervisors = run.plan.fleet.hypervisors;
    let within = FLEET_WITHIN + FLEET_WITHIN_EACH * hypervisors;
    let status = |since| Status {
        phase: Phase::CleanUp,
        done: 0,
        total: None,
        text: format!("{hypervisors} hypervisors say farewell to RabbitMQ"),
        since,
        planned_left: None,
    };
    if run.telling(status, tokio::time::timeout(within, end)).await.is_err() {
        let within_s = within.as_secs();
        warn(run, &format!("the fleet: has not said farewell to RabbitMQ within {within_s} s"));
    }
}

fn warn(run: &Run<'_>, what: &str) {
    run.tell.note(what);
    run.scribe.event("warning", what);
}

async fn queues_are_gone(run: &Run<'_>, ours: &(dyn Fn(&RunName) -> bool + Sync)) {
    let Some(queues) = broker_queues(run) else { return };
    let Some(before) = run.queues_before.get() else { return };
    let left = match queues.left(before, ours).await {
        Ok(left) => left,
        Err(error) => return run.scribe.event("warning", format!("cannot tell which queues are left: {error}")),
    };
    if left.is_empty() {
        return run
            .scribe
            .event("verified", "no queue of the fleet is left in RabbitMQ: none came that nobody consumes from");
    }
    run.scribe.event("warning", format!("the fleet left {} queues, such as {}", left.len(), left[0]));
    if let Err(error) = queues.delete(&left).await {
        run.scribe.event("warning", format!("these queues cannot be removed: {error}"));
    }
}

fn broker_queues(run: &Run<'_>) -> Option<BrokerQueues> {
    run.target
        .own
        .as_ref()
        .map(|cloud| BrokerQueues::new(&cloud.management_url, &cloud.broker_metrics_urls, &cloud.amqp))
}
