//! A small load on a cloud that is up: `KAGEMUSHA_LIVE=1 KAGEMUSHA_LIVE_CLOUD=STATE_DIR`.

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    time::{Duration, Instant},
};

use control_plane::{
    Cloud, Lock, StateDir,
    live::{self, Cancel, Keep, LiveError, Phase, Status, Target, Tell},
    load::{Http, Service},
};
use recording::{Manifest, Outcome, OutcomeKind, Recorder, Recording};
use scenarios::{Plan, Source};
use serde_json::Value;
use tokio::sync::oneshot;

const SCENARIO: &str = r#"
name = "small"
description = "A few servers on a few hypervisors"
release = "2026.2"
drain = "2m"
[tenants]
projects = 2
users = 3
[fleet]
hypervisors = 5
connections = "single"
start = "20/s"
register_within = "2m"
[fleet.resources]
vcpus = 32
memory = "128GiB"
disk = "1TiB"
[fleet.times]
image_fetch = "100ms"
spawn = "300ms"
wiring = "100ms"
destroy = "100ms"
[[load]]
operation = "boot"
nics = 1
arrivals = "constant"
rate = "1/s"
count = 6
timeout = "2m"
[[load]]
operation = "list"
arrivals = "closed"
clients = 2
think = "500ms"
count = 10
[[load]]
operation = "delete"
after = "boot"
arrivals = "constant"
rate = "2/s"
count = 6
timeout = "2m"
"#;

/// The cloud to load, when live tests are asked for.
fn cloud(test: &str) -> Option<(StateDir, Cloud)> {
    let asked = env::var("KAGEMUSHA_LIVE").is_ok_and(|value| value == "1");
    let Some(path) = env::var_os("KAGEMUSHA_LIVE_CLOUD").filter(|_| asked) else {
        eprintln!(
            "{test}: skipped; set KAGEMUSHA_LIVE=1 and KAGEMUSHA_LIVE_CLOUD to the state folder of a cloud that is up"
        );
        return None;
    };
    let state = StateDir::resolve(Some(Path::new(&path))).unwrap();
    let cloud = Cloud::open(&state).unwrap();
    Some((state, cloud))
}

fn plan() -> Plan {
    let source = Source { name: "small.toml".to_owned(), text: SCENARIO.to_owned() };
    scenarios::resolve(&source, &[], Some(3)).unwrap()
}

/// Stops the run when this phase begins.
struct StopAt(Option<(Phase, live::Canceller)>);

impl Tell for StopAt {
    fn phase(&self, phase: Phase, _text: &str) {
        if let Some((at, canceller)) = self.0.as_ref().filter(|(at, _)| *at == phase) {
            eprintln!("stopping at {}", at.name());
            canceller.cancel();
        }
    }
    fn status(&self, status: &Status) {
        eprintln!("  {}", status.text);
    }
    fn note(&self, text: &str) {
        eprintln!("  {text}");
    }
}

async fn run(state: &StateDir, cloud: &Cloud, stop_at: Option<Phase>) -> (Outcome, Recording) {
    carry_out(state, cloud, (&plan(), None), stop_at).await
}

/// Carries a plan out, and what it is to keep.
pub(crate) async fn carry_out(
    state: &StateDir,
    cloud: &Cloud,
    (plan, keep): (&Plan, Option<&Keep>),
    stop_at: Option<Phase>,
) -> (Outcome, Recording) {
    let _lock = Lock::take(state).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let manifest = Manifest {
        schema: Manifest::SCHEMA,
        harness_version: "test".to_owned(),
        scenario: plan.scenario.clone(),
        target: "live".to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        started_at: "2026-01-01T00:00:00Z".to_owned(),
        ..Manifest::default()
    };
    let recorder = Recorder::create(&out, &manifest, &serde_json::to_string(plan).unwrap()).unwrap();
    let (canceller, cancel) = Cancel::new();
    let tell = StopAt(stop_at.map(|phase| (phase, canceller)));
    let outcome = live::run(plan, &Target::own(cloud), &recorder, Instant::now(), keep, &cancel, &tell).await;
    recorder.finish(&outcome).unwrap();
    (outcome, Recording::open(&out).unwrap())
}

fn nothing_is_left(recording: &Recording) {
    let of = |kind: &str| recording.events.iter().filter(|event| event.kind == kind).collect::<Vec<_>>();
    assert_eq!(of("verified").len(), 2, "{:?}", recording.events);
    assert!(of("warning").is_empty(), "{:?}", of("warning"));
}

/// One test, since runs on one cloud must follow one another.
#[tokio::test(flavor = "multi_thread")]
async fn runs_leave_the_cloud_as_it_was() {
    let Some((state, cloud)) = cloud("runs_leave_the_cloud_as_it_was") else { return };
    all_operations_succeed_and_boots_have_their_phases(&state, &cloud).await;
    for phase in [Phase::Register, Phase::Load] {
        let (outcome, recording) = run(&state, &cloud, Some(phase)).await;
        assert_eq!(outcome.kind, OutcomeKind::Interrupted, "{outcome:?}");
        nothing_is_left(&recording);
    }
    a_wrong_password_is_told(&cloud).await;
}

/// What a user sees of the run's servers and hosts while it goes on, until it is told that the run is over.
#[derive(Default)]
struct Seen {
    /// ACTIVE servers, with their addresses.
    servers: BTreeMap<String, Value>,
    /// The run's hypervisors, asked for when it has a server: a host that is starting does not answer the API yet, and one
    /// that another test stopped never does.
    hypervisors: usize,
}

async fn look(cloud: &Cloud, over: oneshot::Receiver<()>) -> Seen {
    let admin = Target::own(cloud).log_in(Http::new(None)).await.unwrap();
    let mut seen = Seen::default();
    let looking = async {
        loop {
            let servers =
                admin.list("list", Service::Compute, "/servers/detail?all_tenants=1&status=ACTIVE", "servers");
            // One that is being deleted stays ACTIVE until the end, and loses its ports before.
            let settled = |server: &Value| server["OS-EXT-STS:task_state"].is_null();
            for server in servers.await.unwrap().into_iter().filter(settled) {
                let name = server["name"].as_str().unwrap().to_owned();
                seen.servers.insert(name, server["addresses"].clone());
            }
            if let (0, Some((run, _))) =
                (seen.hypervisors, seen.servers.keys().next().and_then(|name| name.rsplit_once("-boot-")))
            {
                let path = format!("/os-hypervisors/detail?hypervisor_hostname_pattern={run}");
                let hypervisors = admin.list("list", Service::Compute, &path, "hypervisors");
                seen.hypervisors = hypervisors.await.unwrap().len();
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        () = looking => {}
        _ = over => {}
    }
    seen
}

const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Whether a server has one address, on a network with a name.
fn one_address(addresses: &Value) -> bool {
    let networks = addresses.as_object().map(|networks| networks.iter().collect::<Vec<_>>()).unwrap_or_default();
    matches!(networks[..], [(name, list)] if name != "null" && list.as_array().is_some_and(|list| list.len() == 1))
}

async fn all_operations_succeed_and_boots_have_their_phases(state: &StateDir, cloud: &Cloud) {
    let (end, over) = oneshot::channel();
    let whole_run = async {
        let result = run(state, cloud, None).await;
        drop(end);
        result
    };
    let ((outcome, recording), seen) = tokio::join!(whole_run, look(cloud, over));
    assert!(seen.servers.len() >= 4, "{} of 6 servers were seen ACTIVE", seen.servers.len());
    let wrong: Vec<_> = seen.servers.iter().filter(|(_, addresses)| !one_address(addresses)).collect();
    assert!(wrong.is_empty(), "servers without their address: {wrong:?}");
    assert_eq!(seen.hypervisors, 5, "`openstack hypervisor list` shows every host of the run");
    assert_eq!(outcome.kind, OutcomeKind::Completed, "{outcome:?}");
    let failed: Vec<_> = recording.operations.iter().filter(|operation| operation.error.is_some()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(recording.operations.len(), 6 + 10 + 6);
    for boot in recording.operations.iter().filter(|operation| operation.stream == "boot") {
        let names: Vec<&str> = boot.phases_ms.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["api", "conductor", "scheduler", "build", "network", "spawn"], "{boot:?}");
        let whole = boot.ended_ms - boot.started_ms;
        let parts: f64 = boot.phases_ms.iter().map(|(_, ms)| ms).sum();
        // The scheduler's time is known to 10 ms.
        assert!(parts <= whole + 10.0, "{parts} ms of {whole} ms: {boot:?}");
    }
    for metric in
        ["process.cpu_s", "machine.cpu_s", "broker.queues", "database.queries_total", "fleet.up", "fleet.registered"]
    {
        assert!(recording.series.instances(metric).next().is_some(), "no samples of {metric}");
    }
    nothing_is_left(&recording);
}

async fn a_wrong_password_is_told(cloud: &Cloud) {
    let mut target = Target::own(cloud);
    target.admin.password = control_plane::Secret::new("wrong");
    let error = target.log_in(Http::new(None)).await.unwrap_err();
    assert!(matches!(error, LiveError::Login { .. }), "{error}");
    assert!(error.to_string().contains("Name or password is wrong"), "{error}");
}
