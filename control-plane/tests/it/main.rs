//! A real cloud from nothing, and what becomes of it: needs root on Debian 12 and about five minutes.
//!
//! Runs when `KAGEMUSHA_LIVE=1`. `KAGEMUSHA_LIVE_STATE` names a state folder to use and keep, so that a second run need not
//! install everything again; without it the folder is a temporary one, and is purged. The packages of the cloud that
//! `KAGEMUSHA_LIVE_CLOUD` names are used, if there is one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod kept;
mod load;

use std::{
    collections::BTreeMap,
    env,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use control_plane::{Cloud, CloudSpec, Health, ManagedProcess, StateDir, Up, bring_up, process::procfs, real_compute};
use scenarios::plan::{OptionValue, WsgiPlan};
use tokio::runtime::Handle;

/// A range that is not the default, so that a cloud of the user's own is not disturbed.
const BASE_PORT: u16 = 23_000;

fn live(test: &str) -> bool {
    let live = env::var("KAGEMUSHA_LIVE").is_ok_and(|value| value == "1");
    if !live {
        eprintln!("{test}: skipped, since it starts a real cloud; set KAGEMUSHA_LIVE=1 to run it");
    }
    live
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_lives_from_up_to_down() {
    if !live("a_cloud_lives_from_up_to_down") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let kept = env::var_os("KAGEMUSHA_LIVE_STATE");
    let path = kept.as_ref().map_or_else(|| temporary.path().join("state"), Into::into);
    let state = StateDir::resolve(Some(&path)).unwrap();
    if let Some(lender) = env::var_os("KAGEMUSHA_LIVE_CLOUD").filter(|_| kept.is_none()) {
        state.borrow_packages(&StateDir::resolve(Some(Path::new(&lender))).unwrap()).unwrap();
    }
    let spec = CloudSpec { base_port: Some(BASE_PORT), ..CloudSpec::default() };

    // In a task of its own, so that `down` comes also after a failed assertion.
    let life = tokio::spawn({
        let (state, spec) = (state.clone(), spec);
        async move { tell_its_life(&state, &spec).await }
    });
    let result = life.await;
    let stopped = control_plane::down(&state, kept.is_none()).await.unwrap();
    assert!(processes_of(&state).is_empty(), "left after down: {:?}", processes_of(&state));
    result.unwrap();
    assert!(stopped.len() >= 16, "{stopped:?}");
}

/// Everything between `up` and `down`. One test, since a cloud is dear.
async fn tell_its_life(state: &StateDir, spec: &CloudSpec) {
    let cloud = bring_up_timed(state, spec).await.cloud;
    all_is_well(state).await;
    nothing_shows_a_password(&cloud);
    the_ordinary_client_works(state);
    a_second_up_does_nothing(state, spec).await;
    a_dead_process_is_started_again(state, spec, &cloud).await;
    tuning_touches_its_service_only(state, spec).await;
    new_hashes_leave_no_service_with_an_old_token(state).await;
    a_real_compute_boots_a_server(state).await;
    // It holds what only lives in this task, so that the compiler cannot send it to another thread.
    tokio::task::block_in_place(|| Handle::current().block_on(kept::what_a_run_leaves_survives_a_snapshot(state)));
}

async fn bring_up_timed(state: &StateDir, spec: &CloudSpec) -> Up {
    let started = Instant::now();
    let up = bring_up(state, spec, &control_plane::Silent).await.unwrap();
    eprintln!("up took {:.1} s: {:?}", started.elapsed().as_secs_f64(), up.steps);
    up
}

async fn all_is_well(state: &StateDir) {
    let status = control_plane::status(state).await.unwrap();
    let bad: Vec<_> = status.iter().filter(|process| process.health != Health::Ok).collect();
    assert!(bad.is_empty(), "{bad:?}");
    assert!(status.iter().all(|process| process.rss_bytes > 0));
}

/// No password of the cloud is on any command line, and none is shown by `Debug`.
fn nothing_shows_a_password(cloud: &Cloud) {
    let secrets = [&cloud.admin.password, &cloud.nova_service.password, &cloud.amqp.password, &cloud.database.password];
    let listing =
        String::from_utf8_lossy(&Command::new("ps").args(["-eww", "-o", "args"]).output().unwrap().stdout).into_owned();
    let shown = format!("{cloud:?}");
    for secret in secrets {
        assert!(!listing.contains(secret.reveal()) && !shown.contains(secret.reveal()));
    }
}

fn client(state: &StateDir, args: &[&str]) -> Output {
    let output = Command::new(state.venv_bin("openstack"))
        .args(args)
        .env("OS_CLIENT_CONFIG_FILE", state.join("clouds.yaml"))
        .env("OS_CLOUD", "kagemusha")
        .env("XDG_CACHE_HOME", state.join("run/.cache"))
        .output()
        .unwrap();
    assert!(output.status.success(), "openstack {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn the_ordinary_client_works(state: &StateDir) {
    let services = text(&client(state, &["compute", "service", "list", "-f", "value", "-c", "Binary", "-c", "State"]));
    assert!(services.contains("nova-scheduler up") && services.contains("nova-conductor up"), "{services}");

    // As somebody in a shell has it; and nothing is left at home.
    let (home, script) = (tempfile::tempdir().unwrap(), ". \"$0\" && openstack project list -f value -c Name");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(state.join("openrc")).env("HOME", home.path()).env_remove("XDG_CACHE_HOME");
    let output = shell.output().unwrap();
    assert!(text(&output).contains("admin"), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

async fn a_second_up_does_nothing(state: &StateDir, spec: &CloudSpec) {
    let again = bring_up_timed(state, spec).await;
    assert_eq!(again.started, Vec::<String>::new());
}

async fn a_dead_process_is_started_again(state: &StateDir, spec: &CloudSpec, cloud: &Cloud) {
    let scheduler = find(cloud, "nova-scheduler");
    kill(scheduler, "KILL");
    wait_until(|| !procfs::is_alive(scheduler.pid, scheduler.start_ticks)).await;
    let again = bring_up_timed(state, spec).await;
    assert_eq!(again.started, ["nova-scheduler"]);
}

async fn tuning_touches_its_service_only(state: &StateDir, spec: &CloudSpec) {
    let before = Cloud::open(state).unwrap();
    let options = BTreeMap::from([("workers.unknown".to_owned(), OptionValue::Integer(1))]);
    let mut tuned = spec.clone();
    tuned.tuning.insert("nova".to_owned(), options);
    let error = bring_up(state, &tuned, &control_plane::Silent).await.unwrap_err().to_string();
    assert!(error.contains("workers.unknown"), "{error}");

    let options = BTreeMap::from([("conductor.workers".to_owned(), OptionValue::Integer(1))]);
    tuned.tuning.insert("nova".to_owned(), options);
    tuned.wsgi.insert("placement".to_owned(), WsgiPlan { processes: 2, threads: 2 });
    let up = bring_up_timed(state, &tuned).await;
    let touched = |service: &str| up.started.iter().any(|name| name.starts_with(service));
    assert!(touched("nova-conductor") && touched("nova-api-1") && touched("placement-api-2") && touched("nginx"));
    assert!(
        !touched("keystone") && !touched("rabbitmq") && !touched("mariadb") && !touched("neutron"),
        "{:?}",
        up.started
    );
    assert_eq!(find(&before, "mariadb"), find(&up.cloud, "mariadb"));
    let conf = std::fs::read_to_string(state.join("etc/nova/nova.conf")).unwrap();
    assert!(conf.contains("[conductor]\nworkers = 1\n"));
    all_is_well(state).await;
}

/// A password that is set anew ends the tokens of its user, so whatever may have one starts anew, and nothing else.
async fn new_hashes_leave_no_service_with_an_old_token(state: &StateDir) {
    let mut spec = Cloud::open(state).unwrap().spec;
    let rounds = BTreeMap::from([("identity.password_hash_rounds".to_owned(), OptionValue::Integer(4))]);
    spec.tuning.insert("keystone".to_owned(), rounds);
    let up = bring_up_timed(state, &spec).await;
    let touched = |service: &str| up.started.iter().any(|name| name.starts_with(service));
    let all = ["keystone", "placement", "glance", "neutron-api", "nova-api", "nova-conductor", "nova-scheduler"];
    assert!(all.into_iter().all(touched) && !touched("mariadb") && !touched("rabbitmq"), "{:?}", up.started);
    all_is_well(state).await;
}

/// The proof that the cloud works: a server on an unmodified nova-compute, through the ordinary client.
async fn a_real_compute_boots_a_server(state: &StateDir) {
    let cloud = Cloud::open(state).unwrap();
    let compute = real_compute::start(&cloud, &real_compute::Spec::plain("real-1")).await.unwrap();
    let image = state.join("image");
    std::fs::write(&image, "not much of an image").unwrap();
    let unique = format!("it-{}", std::process::id());
    let make_image = ["image", "create", "--disk-format", "raw", "--container-format", "bare", "--file"];
    client(state, &[&make_image[..], &[image.to_str().unwrap(), &unique]].concat());
    client(state, &["flavor", "create", "--ram", "64", "--disk", "1", "--vcpus", "1", &unique]);
    wait_until(|| text(&client(state, &["hypervisor", "list", "-f", "value"])).contains("real-1")).await;
    let boot = ["server", "create", "--image", &unique, "--flavor", &unique, "--nic", "none", "--wait", &unique];
    client(state, &[&["--os-compute-api-version", "2.37"][..], &boot].concat());
    let shown = text(&client(state, &["server", "show", &unique, "-f", "value", "-c", "status"]));
    client(state, &["server", "delete", "--wait", &unique]);
    client(state, &["flavor", "delete", &unique]);
    client(state, &["image", "delete", &unique]);
    let used = procfs::usage(std::slice::from_ref(&compute))[&compute.name];
    eprintln!("a real nova-compute: {} bytes resident, {:.1} s of CPU", used.rss_bytes, used.cpu_s);
    real_compute::stop(&cloud, &compute).await.unwrap();
    assert_eq!(shown, "ACTIVE");
    assert!(!procfs::is_alive(compute.pid, compute.start_ticks));
    for list in ["compute service", "hypervisor", "resource provider"] {
        let args: Vec<&str> = list.split(' ').chain(["list", "-f", "value"]).collect();
        assert!(!text(&client(state, &args)).contains("real-1"), "{list} still knows the host");
    }
}

fn find<'a>(cloud: &'a Cloud, name: &str) -> &'a ManagedProcess {
    cloud.processes.iter().find(|process| process.name == name).unwrap()
}

fn kill(process: &ManagedProcess, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &process.pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until something holds; a minute is the end of patience, not a measure of speed.
async fn wait_until(mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never came to hold");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Ids of the processes that carry a state folder in their environment.
fn processes_of(state: &StateDir) -> Vec<u32> {
    let mark = format!("KAGEMUSHA_PROCESS_OF={}", state.path().display());
    let carries = |pid: &u32| {
        let environment = std::fs::read(Path::new("/proc").join(pid.to_string()).join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|entry| entry == mark.as_bytes())
    };
    procfs::all().iter().filter(|stat| stat.state != 'Z').map(|stat| stat.pid).filter(carries).collect()
}
