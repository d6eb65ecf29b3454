//! What a run leaves on purpose, put aside and taken back, and the run that goes on with it.

use control_plane::{Cloud, Kept, Silent, StateDir, bring_up, live::Keep, restore_snapshot, save_snapshot, snapshots};
use recording::{OutcomeKind, Recording};
use scenarios::{Plan, Source};

use crate::load::carry_out;

const FLEET: &str = r#"
name = "kept"
description = "A fleet that stays"
drain = "2m"
[tenants]
projects = 2
users = 3
[fleet]
hypervisors = 5
connections = "single"
start = { under_way = 2 }
register_within = "3m"
[fleet.times]
image_fetch = "50ms"
spawn = "100ms"
wiring = "50ms"
destroy = "50ms"
"#;

/// Everything that is done to servers, then two storms.
const FIRST: &str = r#"
[[load]]
operation = "boot"
batch = 2
arrivals = "burst"
size = 4
times = 1
every = "1s"
timeout = "2m"
[[load]]
operation = "stop_start"
after = "boot"
arrivals = "constant"
rate = "1/s"
count = 2
[[load]]
operation = "resize"
after = "stop_start"
arrivals = "constant"
rate = "1/s"
count = 2
[[load]]
operation = "list"
arrivals = "constant"
rate = "0.5/s"
duration = "1m"
[[incidents]]
kind = "connections_lost"
at = "35s"
share = 0.5
[[incidents]]
kind = "computes_restart"
at = "45s"
share = 0.5
"#;

/// All of them go, and a new one comes and goes.
const SECOND: &str = r#"
[[load]]
operation = "show"
arrivals = "constant"
rate = "1/s"
count = 4
[[load]]
operation = "boot"
arrivals = "constant"
rate = "1/s"
count = 1
[[load]]
operation = "delete"
after = "boot"
arrivals = "constant"
rate = "1/s"
count = 5
"#;

/// Some come.
const THIRD: &str = r#"
[[load]]
operation = "boot"
arrivals = "constant"
rate = "1/s"
count = 6
timeout = "1m"
"#;

fn plan(load: &str, sets: &[&str]) -> Plan {
    let source = Source { name: "kept.toml".to_owned(), text: format!("{FLEET}{load}") };
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    scenarios::resolve(&source, &sets, Some(3)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn all_went_well(recording: &Recording, operations: usize) {
    let failed: Vec<_> = recording.operations.iter().filter(|operation| operation.error.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(recording.operations.len(), operations);
    let down: Vec<_> = recording.events.iter().filter(|event| event.kind == "host_down").collect();
    assert!(down.is_empty(), "{down:?}");
}

pub(crate) async fn what_a_run_leaves_survives_a_snapshot(state: &StateDir) {
    let cloud = Cloud::open(state).unwrap();
    let keep = Keep { state: state.clone(), kept: None };
    let first = plan(FIRST, &[]);
    let (outcome, recording) = carry_out(state, &cloud, (&first, Some(&keep)), None).await;
    assert_eq!(outcome.kind, OutcomeKind::Completed, "{outcome:?}");
    all_went_well(&recording, 4 + 2 + 2 + 30);
    let steps = |stream: &str| {
        let mut of_stream = recording.operations.iter().filter(|operation| operation.stream == stream);
        of_stream.next().map(|operation| operation.phases_ms.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(steps("resize").unwrap(), ["resize", "confirm"]);
    assert_eq!(steps("stop_start").unwrap(), ["stop", "start"]);
    let incidents = recording.events.iter().filter(|event| event.kind == "incident").count();
    assert_eq!(incidents, 2);

    let (saved, still) = save_snapshot(state, "kept").await.unwrap();
    drop(still);
    assert_eq!(saved.hypervisors, 5);
    let (_, spec) = restore_snapshot(state, "kept").await.unwrap();
    assert_eq!(snapshots(state).unwrap(), [saved]);
    let cloud = bring_up(state, &spec, &Silent).await.unwrap().cloud;

    let kept = Kept::of(state).unwrap().unwrap();
    let second = plan(SECOND, &["fleet.servers=4"]);
    let others = plan(SECOND, &["fleet.servers=4", "tenants.users=4"]);
    assert_eq!(kept.misfit(&second), None);
    assert!(kept.misfit(&others).unwrap().contains("tenants.users: 3 there with tenants.projects = 2, 4 asked for"));
    let keep = Keep { state: state.clone(), kept: Some(kept) };
    let (outcome, recording) = carry_out(state, &cloud, (&second, Some(&keep)), None).await;
    assert_eq!(outcome.kind, OutcomeKind::Completed, "{outcome:?}");
    all_went_well(&recording, 4 + 1 + 5);
    // They did not start again: that takes a dozen calls each before the first beat.
    let called = |what: &str| recording.latency.keys().any(|name| name.ends_with(what));
    assert!(!called("Service.create"), "{:?}", recording.latency.keys());
    // Nor did they log in to Placement again, where a boot and a delete had them ask something.
    let asked = called("placement GET /resource_providers/{uuid}/allocations")
        || called("placement GET /allocations/{consumer}");
    assert!(asked && !called("placement GET /"), "{:?}", recording.latency.keys());

    let (outcome, _) = carry_out(state, &cloud, (&second, Some(&keep)), None).await;
    let reason = outcome.reason.unwrap_or_default();
    assert!(reason.contains("0 of 4 servers"), "{reason}");

    // Of those that are too many for a smaller run nothing is heard, nobody misses them, and no server is sent there, although all of
    // them beat a moment ago.
    // The same of tenants: two of three users are of the first project.
    let smaller = plan(THIRD, &["fleet.hypervisors=2", "tenants.projects=1", "tenants.users=2"]);
    let (outcome, recording) = carry_out(state, &cloud, (&smaller, Some(&keep)), None).await;
    assert_eq!(outcome.kind, OutcomeKind::Completed, "{outcome:?}");
    all_went_well(&recording, 6);
    let up = recording.series.points("fleet.up", "").iter().map(|(_, up)| *up).fold(0.0, f64::max);
    assert_eq!(up, 2.0, "{:?}", recording.series.points("fleet.up", ""));
}
