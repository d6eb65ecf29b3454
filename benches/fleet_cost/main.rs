//! What simulated hypervisors cost, beside an unmodified nova-compute (fake driver) on the same cloud at the same time.
//!
//! ```text
//! kagemusha up
//! cargo run --release -p control-plane --example fleet_cost -- ~/.local/state/kagemusha 1000 single 120
//! ```
//!
//! The fleet is idle, as the nova-compute is: heartbeats, periodic tasks, agent reports, with the options of the cloud. What
//! is counted is what this process grows by while the fleet registers, its recording included, and the CPU that both use in
//! the same interval. On two cores 1,000 take five minutes to register.
//!
//! Both figures depend on the cloud, whose own CPU is told for that reason. Each HTTP request that waits for its answer holds
//! a connection of some 27 KiB, and what a wave of them took stays with the process: with the release's defaults each host
//! waits for Keystone, which hashes a password for every token, and memory is three times that of a fleet on a cloud that
//! keeps up. And a cloud that does not keep up lets hosts do less in the same time.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use control_plane::{
    Cloud, Lock, ManagedProcess, StateDir,
    live::Target,
    load::{Http, RunName, Session, clean_up, delete_servers, remains},
    process::procfs::{self, Usage},
    real_compute,
};
use fake_hv::{Fleet, FleetSpec};
use recording::{Manifest, Outcome, OutcomeKind, Recorder};
use scenarios::{Plan, Source, options::compute_options};
use tikv_jemallocator::Jemalloc;

/// The one that `kagemusha` has.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

const SCENARIO: &str = r#"
name = "fleet-cost"
description = "An idle fleet"
release = "2026.2"
drain = "1s"
[tenants]
projects = 1
users = 1
[fleet]
hypervisors = 1
start = "10/s"
register_within = "1h"
[[load]]
operation = "list"
arrivals = "constant"
rate = "1/s"
count = 1
"#;
const REAL_HOST: &str = "fleet-cost-real";
/// Every periodic task of every host has run once by then, and what start-up needed is freed.
const SETTLE: Duration = Duration::from_secs(75);
const TELL_EVERY: Duration = Duration::from_secs(10);

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Arguments {
    state: PathBuf,
    hypervisors: u32,
    connections: String,
    idle: Duration,
}

fn arguments() -> Option<Arguments> {
    let given: Vec<String> = env::args().skip(1).collect();
    let or = |at: usize, default: &str| given.get(at).cloned().unwrap_or_else(|| default.to_owned());
    Some(Arguments {
        state: PathBuf::from(given.first()?),
        hypervisors: or(1, "1000").parse().ok().filter(|count| *count > 0)?,
        connections: or(2, "single"),
        idle: Duration::from_secs(or(3, "120").parse().ok().filter(|seconds| *seconds > 0)?),
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: fleet_cost STATE_DIR [hypervisors] [single|shared|faithful] [idle seconds]");
        return ExitCode::from(2);
    };
    match compare(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn compare(arguments: &Arguments) -> Result<(), Failure> {
    let source = Source { name: "fleet-cost".to_owned(), text: SCENARIO.to_owned() };
    let sets = [
        format!("fleet.hypervisors={}", arguments.hypervisors),
        format!("fleet.connections=\"{}\"", arguments.connections),
    ];
    let plan = scenarios::resolve(&source, &sets, Some(1)).map_err(|errors| errors.to_string())?;
    let state = StateDir::resolve(Some(&arguments.state))?;
    let cloud = Cloud::open(&state)?;
    let _mine = Lock::take(&state)?;
    let admin = Target::own(&cloud).log_in(Http::new(None)).await?;
    let real = real_compute::start(&cloud, &real_compute::Spec::plain(REAL_HOST)).await?;
    let run = RunName::generate();
    let measured = measure(arguments, &plan, &cloud, &run, &real).await;
    let left = tidy(&admin, &run).await;
    real_compute::stop(&cloud, &real).await?;
    println!("left in the cloud: {}", left?);
    measured
}

async fn tidy(admin: &Session, run: &RunName) -> Result<String, Failure> {
    let ours = |name: &RunName| name == run;
    delete_servers(admin, &ours).await?;
    for failure in clean_up(admin, &ours).await? {
        eprintln!("could not be deleted: {failure}");
    }
    Ok(remains(admin, &ours).await?.to_string())
}

async fn measure(
    arguments: &Arguments,
    plan: &Plan,
    cloud: &Cloud,
    run: &RunName,
    real: &ManagedProcess,
) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let recorder = recorder(&folder.path().join("run"), plan)?;
    let before = of_self();
    let begun = Instant::now();
    let fleet = Fleet::start(spec(plan, cloud, run), recorder.clone(), begun).await?;
    let wanted = u64::from(plan.fleet.hypervisors);
    while fleet.stats().registered < wanted {
        tokio::time::sleep(TELL_EVERY).await;
        let stats = fleet.stats();
        println!(
            "{:5.0} s: {} started, {} registered, {} requests failed, {} KiB",
            begun.elapsed().as_secs_f64(),
            stats.started,
            stats.registered,
            stats.failed,
            of_self().rss_bytes / 1024
        );
    }
    tokio::time::sleep(SETTLE).await;
    let (mine, its, theirs, calls) = (of_self(), of(real), of_cloud(cloud), fleet.stats());
    let window = Instant::now();
    tokio::time::sleep(arguments.idle).await;
    let seconds = window.elapsed().as_secs_f64();
    let (mine_after, its_after, theirs_after, calls_after) = (of_self(), of(real), of_cloud(cloud), fleet.stats());
    fleet.stop().await;
    recorder.finish(&Outcome { kind: OutcomeKind::Completed, reason: None, duration_ms: 0.0 })?;

    let each = |value: f64| value / wanted as f64;
    let per_thousand = |before: Usage, after: Usage| (after.cpu_s - before.cpu_s) / seconds * 1e3;
    println!("{} hypervisors, {}, idle for {seconds:.0} s", wanted, arguments.connections);
    println!("requests per second           {:12.1}", (calls_after.requests - calls.requests) as f64 / seconds);
    println!("requests failed in the window {:12}", calls_after.failed - calls.failed);
    println!("                                  memory          CPU (thousandths of a core)");
    row("this process without a fleet", before.rss_bytes as f64, None);
    row("this process with it", mine_after.rss_bytes as f64, Some(per_thousand(mine, mine_after)));
    let grown = mine_after.rss_bytes.saturating_sub(before.rss_bytes) as f64;
    row("each simulated hypervisor", each(grown), Some(each(per_thousand(mine, mine_after))));
    row("all processes of the cloud", theirs_after.rss_bytes as f64, Some(per_thousand(theirs, theirs_after)));
    row("one real nova-compute", its_after.rss_bytes as f64, Some(per_thousand(its, its_after)));
    Ok(())
}

fn row(what: &str, bytes: f64, cpu: Option<f64>) {
    let cpu = cpu.map(|cpu| format!("{cpu:12.3}")).unwrap_or_default();
    println!("{what:30} {:10.1} KiB {cpu}", bytes / 1024.0);
}

fn spec(plan: &Plan, cloud: &Cloud, run: &RunName) -> FleetSpec {
    let target = Target::own(cloud);
    FleetSpec {
        plan: plan.fleet.clone(),
        options: compute_options(&cloud.spec.release, &cloud.spec.tuning),
        release: cloud.spec.release.clone(),
        seed: plan.seed,
        host_prefix: run.as_str().to_owned(),
        first_host_prefix: None,
        first_host: 1,
        broker: target.broker(),
        apis: target.service_apis(target.nova_service.as_ref().expect("a cloud of ours has a user for Nova")),
        driver: hypervisor::Driver::default(),
        services: hypervisor::Services::default(),
        processes: None,
    }
}

fn recorder(folder: &Path, plan: &Plan) -> Result<Recorder, Failure> {
    let manifest = Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: "live".to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        command: env::args().collect(),
        ..Manifest::default()
    };
    Ok(Recorder::create(folder, &manifest, "{}")?)
}

fn of(process: &ManagedProcess) -> Usage {
    procfs::usage(std::slice::from_ref(process)).remove(&process.name).unwrap_or_default()
}

fn of_cloud(cloud: &Cloud) -> Usage {
    let each = procfs::usage(&cloud.processes).into_values();
    each.fold(Usage::default(), |sum, one| Usage {
        cpu_s: sum.cpu_s + one.cpu_s,
        rss_bytes: sum.rss_bytes + one.rss_bytes,
        processes: sum.processes + one.processes,
    })
}

fn of_self() -> Usage {
    procfs::stat(std::process::id()).map(|stat| procfs::sum([&stat])).unwrap_or_default()
}
