//! What one call costs nova-conductor, by the number of calls that are outstanding.
//!
//! ```text
//! kagemusha up --tuning FILE      with "conductor.workers" = 1 for nova
//! cargo run --release -p control-plane --example conductor_curve -- ~/.local/state/kagemusha 20 1 2 4 8 16 32 64
//! ```
//!
//! Each step starts as many hypervisors as calls shall be outstanding, with a heartbeat that follows the last one at once:
//! a closed loop of `Service.save`, each on a row of its own. What is told is the throughput, by Little's law the latency,
//! and the CPU that each process of the cloud spends on one call. The same question is asked of the model by the scenario
//! `conductor-scaling`.

use std::{
    collections::BTreeMap,
    env,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use control_plane::{
    Cloud, Lock, StateDir,
    live::Target,
    load::{Http, RunName, Session, clean_up},
    process::procfs,
};
use fake_hv::{Fleet, FleetSpec};
use hypervisor::ComputeOptions;
use recording::{Manifest, Recorder};
use scenarios::{Plan, Source};

const SCENARIO: &str = r#"
name = "conductor-curve"
description = "Heartbeats in a closed loop"
drain = "1s"
[fleet]
hypervisors = 1
connections = "single"
start = "at_once"
[fleet.times]
think = "0s"
[[load]]
operation = "list"
arrivals = "constant"
rate = "1/s"
count = 1
"#;
/// The first heartbeat comes 5 s after start-up.
const SETTLE: Duration = Duration::from_secs(10);
/// Below this share of a core a process is left out of the table.
const WORTH_TELLING: f64 = 0.02;

type Failure = Box<dyn std::error::Error + Send + Sync>;

struct Arguments {
    state: PathBuf,
    window: Duration,
    outstanding: Vec<u32>,
}

fn arguments() -> Option<Arguments> {
    let mut given = env::args().skip(1);
    let state = PathBuf::from(given.next()?);
    let window = Duration::from_secs(given.next()?.parse().ok().filter(|seconds| *seconds > 0)?);
    let outstanding = given.map(|text| text.parse().ok().filter(|n| *n > 0)).collect::<Option<Vec<u32>>>()?;
    (!outstanding.is_empty()).then_some(Arguments { state, window, outstanding })
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: conductor_curve STATE_DIR SECONDS OUTSTANDING...");
        return ExitCode::from(2);
    };
    match measure_all(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

async fn measure_all(arguments: &Arguments) -> Result<(), Failure> {
    let state = StateDir::resolve(Some(&arguments.state))?;
    let cloud = Cloud::open(&state)?;
    let _mine = Lock::take(&state)?;
    let admin = Target::own(&cloud).log_in(Http::new(None)).await?;
    for outstanding in &arguments.outstanding {
        let run = RunName::generate();
        let measured = measure(arguments, &cloud, &run, *outstanding).await;
        tidy(&admin, &run).await?;
        measured?;
    }
    Ok(())
}

async fn measure(arguments: &Arguments, cloud: &Cloud, run: &RunName, outstanding: u32) -> Result<(), Failure> {
    let source = Source { name: "conductor-curve".to_owned(), text: SCENARIO.to_owned() };
    let sets = [format!("fleet.hypervisors={outstanding}")];
    let plan = scenarios::resolve(&source, &sets, Some(1)).map_err(|errors| errors.to_string())?;
    let folder = tempfile::tempdir()?;
    let recorder = Recorder::create(&folder.path().join("run"), &manifest(&plan), "{}")?;
    let fleet = Fleet::start(spec(&plan, cloud, run), recorder, Instant::now()).await?;
    while fleet.stats().registered < u64::from(outstanding) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(SETTLE).await;
    let (requests, cpu_s, begun) = (fleet.stats().requests, cpu_s(cloud), Instant::now());
    tokio::time::sleep(arguments.window).await;
    let (requests_after, cpu_s_after, seconds) = (fleet.stats().requests, self::cpu_s(cloud), begun.elapsed());
    let failed = fleet.stats().failed;
    fleet.stop().await;
    let calls = (requests_after - requests) as f64;
    let per_s = calls / seconds.as_secs_f64();
    print!("{outstanding:4} outstanding: {per_s:6.1}/s, {:7.1} ms each;", f64::from(outstanding) / per_s * 1e3);
    for (name, after) in &cpu_s_after {
        let spent_s = after - cpu_s.get(name).unwrap_or(&0.0);
        if spent_s > WORTH_TELLING * seconds.as_secs_f64() {
            print!(" {name} {:.2} ms", spent_s / calls * 1e3);
        }
    }
    println!("; {failed} failed");
    Ok(())
}

/// CPU time of each process of the cloud so far.
fn cpu_s(cloud: &Cloud) -> BTreeMap<String, f64> {
    procfs::usage(&cloud.processes).into_iter().map(|(name, usage)| (name, usage.cpu_s)).collect()
}

fn spec(plan: &Plan, cloud: &Cloud, run: &RunName) -> FleetSpec {
    let target = Target::own(cloud);
    let options = ComputeOptions {
        report_interval: Duration::ZERO,
        agent_report_interval: Duration::from_secs(3600),
        ..ComputeOptions::default().without_periodic_tasks()
    };
    FleetSpec {
        plan: plan.fleet.clone(),
        options,
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

fn manifest(plan: &Plan) -> Manifest {
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: plan.scenario.clone(),
        target: "live".to_owned(),
        release: plan.release.clone(),
        seed: plan.seed,
        command: env::args().collect(),
        ..Manifest::default()
    }
}

async fn tidy(admin: &Session, run: &RunName) -> Result<(), Failure> {
    for failure in clean_up(admin, &|name: &RunName| name == run).await? {
        eprintln!("could not be deleted: {failure}");
    }
    Ok(())
}
