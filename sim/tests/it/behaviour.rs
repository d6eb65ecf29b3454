//! What operators know of such clouds, and the model has to show.

use recording::Recording;

use super::{plan, record};

const SCENARIO: &str = r#"
name = "behaviour"
description = "A small cloud to look at"
drain = "1m"
[deployment]
controllers = 2
controller_cores = 4
[fleet]
hypervisors = 30
register_within = "3m"
[[load]]
operation = "boot"
arrivals = "constant"
rate = "0.5/s"
count = 30
timeout = "5m"
"#;

/// Runs the scenario with overrides and reads what it recorded.
fn recorded(sets: &[&str]) -> Recording {
    recorded_of(SCENARIO, sets)
}

fn recorded_of(text: &str, sets: &[&str]) -> Recording {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    record(&plan(text, sets, 1), &run);
    Recording::open(&run).unwrap()
}

fn events(recording: &Recording, kind: &str) -> usize {
    recording.events.iter().filter(|event| event.kind == kind).count()
}

fn errors(recording: &Recording) -> Vec<&str> {
    recording.operations.iter().filter_map(|operation| operation.error.as_deref()).collect()
}

fn last(recording: &Recording, metric: &str, instance: &str) -> f64 {
    recording.series.points(metric, instance).last().map_or(0.0, |point| point.1)
}

/// As many as are to be in their start-up at a time, and no more; and all of them in the end.
#[test]
fn a_fleet_starts_as_fast_as_the_cloud_takes_it() {
    let took_s = |under_way: u32| {
        let run = recorded(&[&format!("fleet.start.under_way={under_way}"), "load.boot.count=1"]);
        assert_eq!(last(&run, "fleet.registered", ""), 30.0);
        let load = run.events.iter().find(|event| event.kind == "phase" && event.detail == "load");
        load.expect("all of them got up").t_ms / 1e3
    };
    let (one, six, all) = (took_s(1), took_s(6), took_s(100));
    assert!(one >= 3.0 * six && six >= all, "one after the other {one} s, six at a time {six} s, all at once {all} s");
}

#[test]
fn a_cloud_that_keeps_up_boots_everything() {
    let run = recorded(&[]);
    assert_eq!((errors(&run), events(&run, "host_down")), (Vec::new(), 0));
    assert_eq!(last(&run, "fleet.up", ""), 30.0);
    for operation in &run.operations {
        let phases: Vec<&str> = operation.phases_ms.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(phases, ["api", "conductor", "scheduler", "build", "network", "spawn"]);
        let parts: f64 = operation.phases_ms.iter().map(|(_, ms)| ms).sum();
        assert!(parts <= operation.ended_ms - operation.intended_ms, "phases overlap: {operation:?}");
    }
}

/// `last_seen_up` is written by one clock and read by another: a time in the future counts as down, too.
#[test]
fn clocks_that_are_too_far_apart_take_hosts_down() {
    let run = recorded(&["deployment.clock_skew=90s", "fleet.register_within=60s"]);
    assert!(events(&run, "host_down") > 0);
    let run = recorded(&["deployment.clock_skew=40s"]);
    assert_eq!(events(&run, "host_down"), 0);
}

#[test]
fn a_port_binds_only_where_an_agent_is_alive() {
    let sets = ["tuning.neutron.agent.report_interval=120", "tuning.neutron.DEFAULT.agent_down_time=10"];
    let run = recorded(&sets);
    assert!(errors(&run).iter().any(|error| error.contains("PortBindingFailed")), "{:?}", errors(&run));
}

#[test]
fn without_news_of_ports_builds_wait_in_vain() {
    let sets = [
        "tuning.neutron.DEFAULT.notify_nova_on_port_status_changes=false",
        "tuning.nova.DEFAULT.vif_plugging_timeout=20",
    ];
    let errors_of = |run: &Recording| errors(run).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let fatal = recorded(&sets);
    assert_eq!(errors(&fatal).len(), 30, "{:?}", errors_of(&fatal));
    let patient = recorded(&[sets[0], sets[1], "tuning.nova.DEFAULT.vif_plugging_is_fatal=false"]);
    assert_eq!(errors_of(&patient), Vec::<String>::new());
}

#[test]
fn a_pool_without_patience_fails_calls() {
    let sets = [
        "deployment.link=20ms",
        "fleet.hypervisors=200",
        "tuning.nova.conductor.workers=1",
        "tuning.nova.database.max_pool_size=1",
        "tuning.nova.database.max_overflow=0",
        "tuning.nova.database.pool_timeout=1",
        "fleet.register_within=60s",
    ];
    let run = recorded(&sets);
    assert!(last(&run, "database.pool_timeouts_total", "") > 0.0);
    assert!(last(&run, "rpc.failed", "Service.save") + last(&run, "rpc.failed", "ComputeNode.save") > 0.0);
}

#[test]
fn an_outage_of_the_broker_is_noticed_when_it_outlasts_the_patience() {
    let restart = |lasts: &str| {
        format!("{SCENARIO}\n[[incidents]]\nkind = \"broker_restart\"\nat = \"10s\"\nlasts = \"{lasts}\"\n")
    };
    let short = recorded_of(&restart("10s"), &[]);
    assert_eq!(events(&short, "host_down"), 0);
    let long = recorded_of(&restart("100s"), &["load.boot.count=100"]);
    assert_eq!((events(&long, "host_down"), events(&long, "host_up")), (30, 30), "all fall, and all come back");
}

/// Tokens of an hour, all taken at the start, run out together.
#[test]
fn tokens_run_out_and_are_taken_anew() {
    let sets = ["tuning.keystone.token.expiration=120", "load.boot.rate=0.1/s"];
    let run = recorded(&sets);
    assert!(last(&run, "rpc.count", "keystone POST /v3/auth/tokens") > 90.0);
    assert_eq!(errors(&run), Vec::<&str>::new());
}

/// Records lag behind claims, so a scheduler puts servers that are asked for at the same moment on the same host, unless it
/// chooses among several.
#[test]
fn boots_at_once_crowd_on_one_host() {
    let text = SCENARIO.replace(
        "arrivals = \"constant\"\nrate = \"0.5/s\"\ncount = 30",
        "arrivals = \"burst\"\nsize = 12\nevery = \"10m\"\ntimes = 1",
    );
    let hosts = |run: &Recording| {
        let hosts: std::collections::BTreeSet<_> = run.operations.iter().filter_map(|one| one.host.clone()).collect();
        hosts.len()
    };
    let one = recorded_of(&text, &["tuning.nova.scheduler.workers=4"]);
    let many =
        recorded_of(&text, &["tuning.nova.scheduler.workers=4", "tuning.nova.filter_scheduler.host_subset_size=30"]);
    assert!(hosts(&one) < hosts(&many), "{} hosts, and {} with a choice among thirty", hosts(&one), hosts(&many));
}
