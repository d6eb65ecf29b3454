//! What a scenario may say, and what it means.

use std::time::Duration;

use hypervisor::Delay;
use scenarios::{
    Plan, Source,
    plan::{Arrivals, Bound, ConnectionMode, IncidentKind, Operation, OptionValue, Start, Until},
};

use super::resolve;

const LEAST: &str = "name = 'least'\ndescription = 'as little as possible'\n[fleet]\nhypervisors = 3\n";

#[test]
fn little_need_be_said() {
    let plan = resolve(LEAST, &[]).unwrap();
    assert_eq!((plan.release.as_str(), plan.seed), ("2026.2", 1));
    assert_eq!(plan.fleet.connections, ConnectionMode::Faithful);
    assert_eq!((plan.tenants.projects, plan.tenants.users), (1, 1));
    assert_eq!(
        plan.cloud.wsgi.keys().map(String::as_str).collect::<Vec<_>>(),
        ["glance", "keystone", "neutron", "nova", "placement"]
    );
    assert!(plan.load.is_empty() && plan.gates.is_empty() && plan.tuning.is_empty());
}

/// A search that is gone on with compares the plans of its trials with what the scenario says now.
#[test]
fn a_rate_is_the_same_after_it_was_written_down() {
    for each in ["7/m", "14/m", "33/h", "0.1/s"] {
        let load = format!("[[load]]\noperation = 'list'\narrivals = 'constant'\nrate = '{each}'\nduration = '1m'\n");
        let plan = resolve(&format!("{LEAST}{load}"), &[]).unwrap();
        let read: Plan = serde_json::from_str(&serde_json::to_string(&plan).unwrap()).unwrap();
        assert_eq!(read, plan, "{each}");
    }
}

#[test]
fn the_example_of_the_documentation_works() {
    let readme = include_str!("../../README.md");
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!examples.is_empty());
    for example in examples {
        resolve(example, &[]).unwrap_or_else(|errors| panic!("{errors}"));
    }
    let overrides = readme.lines().filter_map(|line| line.strip_prefix("--set "));
    let overrides: Vec<&str> = overrides.map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(overrides.len(), 6);
    let quickstart = scenarios::library::find("quickstart").unwrap().text;
    let restart = "[[incidents]]\nkind = \"broker_restart\"\nat = \"1m\"\nlasts = \"10s\"\n";
    resolve(&format!("{quickstart}\n{restart}"), &overrides).unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn a_fleet_starts_as_it_is_told() {
    let start = |written: &str| resolve(&format!("{LEAST}start = {written}\n"), &[]).map(|plan| plan.fleet.start);
    let least = resolve(LEAST, &[]).unwrap();
    assert_eq!(least.fleet.start, Start::UnderWay { hypervisors: 16 });
    assert_eq!(start("'at_once'").unwrap(), Start::AtOnce);
    assert_eq!(start("'30/m'").unwrap(), Start::Pace { per_s: 0.5 });
    assert_eq!(start("{ stagger = '5m' }").unwrap(), Start::Stagger { over: Duration::from_secs(300) });
    assert_eq!(start("{ under_way = 8 }").unwrap(), Start::UnderWay { hypervisors: 8 });
    for wrong in ["'at_onec'", "'0/s'", "{}", "{ under_way = 0 }", "{ under_way = 1, stagger = '1s' }", "7"] {
        let said = start(wrong).unwrap_err().to_string();
        assert!(said.contains("under_way = 16"), "{wrong}: {said}");
    }
}

#[test]
fn moments_of_a_start_are_in_order_and_all_there() {
    let second = Duration::from_secs(1);
    assert_eq!(Start::Pace { per_s: 2.0 }.moments(3, 1).unwrap(), [Duration::ZERO, second / 2, second]);
    assert_eq!(Start::AtOnce.moments(2, 1).unwrap(), [Duration::ZERO; 2]);
    assert_eq!(Start::UnderWay { hypervisors: 2 }.moments(2, 1), None);
    let spread = Start::Stagger { over: second * 60 }.moments(1000, 1).unwrap();
    assert!(spread.is_sorted() && spread.len() == 1000 && spread[999] < second * 60 && spread[0] < second);
    let middle = spread[500].as_secs_f64();
    assert!((27.0..33.0).contains(&middle), "evenly, but the middle one at {middle} s");
}

#[test]
fn incidents_are_read_with_their_defaults() {
    let incident = |written: &str| {
        resolve(&format!("{LEAST}[[incidents]]\nat = '5m'\n{written}"), &[]).map(|plan| plan.incidents[0].kind)
    };
    assert_eq!(incident("kind = 'connections_lost'").unwrap(), IncidentKind::ConnectionsLost { share: 1.0 });
    let restart = incident("kind = 'computes_restart'\nshare = 0.5\nstart = { stagger = '1m' }").unwrap();
    let start = Start::Stagger { over: Duration::from_secs(60) };
    assert_eq!(restart, IncidentKind::ComputesRestart { share: 0.5, start });
    assert_eq!(restart.words(), "nova-compute restarts on 50 % of the hypervisors, at random within 1m");
    for wrong in ["kind = 'connection_lost'", "kind = 'connections_lost'\nshare = 1.5", "kind = 'broker_restart'"] {
        assert!(incident(wrong).is_err(), "{wrong}");
    }
    let near = incident("kind = 'connection_lost'").unwrap_err().to_string();
    assert!(near.contains("connections_lost"), "{near}");
}

#[test]
fn only_boots_come_in_batches() {
    let stream = |written: &str| {
        resolve(&format!("{LEAST}[[load]]\narrivals = 'burst'\nsize = 7\ntimes = 1\nevery = '1s'\n{written}"), &[])
    };
    let plan = stream("operation = 'boot'\nbatch = 50").unwrap();
    assert_eq!(plan.load[0].operation, Operation::Boot { nics: 1, batch: 50 });
    assert_eq!(plan.load[0].operations(1), Some(7), "each server counts");
    assert!(stream("operation = 'boot'\nbatch = 0").is_err());
    assert!(stream("operation = 'list'\nbatch = 2").is_err());
}

#[test]
fn servers_with_nics_need_an_agent() {
    let boot = "[[load]]\noperation = 'boot'\narrivals = 'burst'\nsize = 1\ntimes = 1\nevery = '1s'\n";
    let without = format!("{LEAST}l2_agent = false\n{boot}");
    assert!(resolve(&without, &[]).unwrap_err().to_string().contains("nics = 0"));
    assert!(!resolve(&format!("{without}nics = 0\n"), &[]).unwrap().fleet.l2_agent);
    assert!(resolve(LEAST, &[]).unwrap().fleet.l2_agent);
}

#[test]
fn servers_beside_openstack_are_tuned_too() {
    let tuned = |written: &str| resolve(&format!("{LEAST}[tuning.rabbitmq]\n{written}"), &[]);
    let plan =
        tuned("collect_statistics_interval = 60000\n'management_agent.disable_metrics_collector' = true").unwrap();
    assert_eq!(plan.tuning["rabbitmq"]["collect_statistics_interval"], OptionValue::Integer(60_000));
    let said = tuned("collect_statistic_interval = 1000").unwrap_err().to_string();
    assert!(said.contains("collect_statistics_interval"), "{said}");
    assert!(tuned("heartbeat = -1").is_err());
}

/// A key that the language has and the documentation has not would be found by nobody.
#[test]
fn every_key_is_documented() {
    let readme = include_str!("../../README.md");
    let wrong =
        "x = 1\n[cloud]\nx = 1\n[deployment]\nx = 1\n[[incidents]]\nx = 1\n[tenants]\nx = 1\n[fleet]\nx = 1\n[fleet.resources]\nx = 1\n[fleet.times]\nx = 1
[harness]\nx = 1\n[[load]]\nx = 1\narrivals = 'closed'\n[[load]]\narrivals = 'burst'\nx = 1\n[[gates]]\nx = 1\n";
    let errors = resolve(wrong, &[]).unwrap_err();
    let helps = errors.problems().iter().filter_map(|problem| problem.help.as_deref()?.split_once("keys here: "));
    let known: Vec<&str> = helps.flat_map(|(_, keys)| keys.split(", ")).collect();
    assert!(known.len() > 40, "{known:?}");
    for key in known {
        let bare = key.trim_matches('`');
        let documented =
            [format!("`{bare}`"), format!("`{bare}."), format!(".{bare}`"), format!("[{bare}]"), format!("[{bare}.")];
        assert!(documented.iter().any(|form| readme.contains(form)), "README.md does not document {key}");
    }
}

#[test]
fn arrivals_of_every_kind_are_read() {
    let text = format!(
        "{LEAST}
[[load]]
name = 'even'
operation = 'list'
arrivals = 'constant'
rate = '30/m'
duration = '10m'
[[load]]
operation = 'boot'
nics = 2
arrivals = 'ramp'
from = '0/s'
to = '2/s'
duration = '1m'
[[load]]
operation = 'show'
arrivals = 'closed'
clients = 5
think = {{ distribution = 'exponential', mean = '3s' }}
count = 50
[[load]]
operation = 'delete'
after = 'boot'
arrivals = 'burst'
size = 5
every = '10s'
times = 2
"
    );
    let plan = resolve(&text, &[]).unwrap();
    let arrivals: Vec<_> = plan.load.iter().map(|load| load.arrivals.clone()).collect();
    let minute = Duration::from_secs(60);
    assert_eq!(
        arrivals,
        [
            Arrivals::Constant { rate_per_s: 0.5, until: Until::Elapsed(minute * 10) },
            Arrivals::Ramp { from_per_s: 0.0, to_per_s: 2.0, duration: minute },
            Arrivals::Closed {
                users: 5,
                think: Delay::Exponential { mean: Duration::from_secs(3) },
                until: Until::Count(50)
            },
            Arrivals::Burst { size: 5, every: Duration::from_secs(10), times: 2 },
        ]
    );
    assert_eq!(plan.load[1].operations(1), Some(60));
}

#[test]
fn overrides_reach_everything() {
    let text = scenarios::library::find("quickstart").unwrap().text;
    let plan = resolve(
        text,
        &[
            "fleet.hypervisors=50",
            "fleet.connections.shared=4",
            "load.boot.count=10",
            "load.boot.rate=5/s",
            "tuning.nova.DEFAULT.report_interval=60",
            "tuning.nova.conductor.workers=3",
            "gates.operations.boot.p99_ms.max=3s",
            "release=2026.2",
            "fleet.times.spawn=7s",
            "drain=1m",
            "drain=2m",
        ],
    )
    .unwrap();
    assert_eq!((plan.fleet.hypervisors, plan.drain), (50, Duration::from_secs(120)));
    assert_eq!(plan.fleet.connections, ConnectionMode::Shared { connections: 4 });
    assert_eq!(plan.load[0].arrivals, Arrivals::Poisson { rate_per_s: 5.0, until: Until::Count(10) });
    assert_eq!(plan.tuning["nova"]["DEFAULT.report_interval"], OptionValue::Integer(60));
    assert_eq!(plan.tuning["nova"]["conductor.workers"], OptionValue::Integer(3));
    assert_eq!(plan.fleet.times.spawn, Delay::Constant { value: Duration::from_secs(7) });
    let bound = |metric: &str| plan.gates.iter().find(|gate| gate.metric == metric).unwrap().bound;
    assert_eq!(bound("operations.boot.p99_ms"), Bound::Max(3000.0));
    // Bounds of "all", and the deletion of all, follow.
    assert_eq!(bound("operations.boot.succeeded"), Bound::Equals(10.0));
    assert_eq!(bound("hypervisors.up_min"), Bound::Min(50.0));
    assert_eq!(plan.load[1].operations(plan.seed), Some(10));
}

#[test]
fn all_of_a_random_stream_is_as_many_as_the_seed_gives() {
    let text = format!(
        "{LEAST}
[[load]]
operation = 'boot'
arrivals = 'poisson'
rate = '2/s'
duration = '1m'
[[gates]]
metric = 'operations.boot.succeeded'
equals = 'all'
"
    );
    let plan = resolve(&text, &[]).unwrap();
    let starts = plan.load[0].intended_starts(plan.seed).unwrap().count();
    assert_eq!(plan.gates[0].bound, Bound::Equals(starts as f64));
}

#[test]
fn what_one_deletion_leaves_is_all_for_another() {
    let text = format!(
        "{LEAST}
[[load]]
operation = 'boot'
arrivals = 'burst'
size = 10
every = '1s'
times = 2
[[load]]
name = 'some'
operation = 'delete'
arrivals = 'constant'
rate = '1/s'
count = 5
[[load]]
name = 'rest'
operation = 'delete'
arrivals = 'constant'
rate = '1/s'
count = 'all'
"
    );
    let plan = resolve(&text, &[]).unwrap();
    assert_eq!(plan.load[2].operations(1), Some(15));
    assert!(resolve(&text, &["load.some.count=20"]).unwrap_err().to_string().contains("all servers already"));
    assert!(resolve(&text, &["load.some.count=21", "load.rest.count=1"]).unwrap_err().to_string().contains("only 20"));
}

#[test]
fn allocation_ratios_are_those_of_the_tuning() {
    let ratio = |sets: &[&str]| resolve(LEAST, sets).unwrap().fleet.resources.cpu_allocation_ratio;
    assert_eq!(ratio(&[]), 4.0);
    assert_eq!(ratio(&["tuning.nova.DEFAULT.initial_cpu_allocation_ratio=8"]), 8.0);
    assert_eq!(ratio(&["tuning.nova.DEFAULT.cpu_allocation_ratio=2.5"]), 2.5);
}

#[test]
fn a_tuning_file_is_the_tuning_of_a_scenario() {
    let file = |text: &str| {
        scenarios::tuning_file(&Source { name: "tuning.toml".to_owned(), text: text.to_owned() }, "2026.2")
    };
    let tuning = file(
        "[nova]\n'DEFAULT.report_interval' = 60\n[nova.conductor]\nworkers = 2\n[wsgi]\n'keystone.processes' = 9\n",
    );
    let tuning = tuning.unwrap();
    assert_eq!(tuning["nova"].len(), 2);
    assert_eq!(tuning["wsgi"]["keystone.processes"], OptionValue::Integer(9));
    let errors = file("[nova]\n'DEFAULT.host_state_interval' = 300\n[wsgi]\n'keystone.processes' = 0\n").unwrap_err();
    assert_eq!(errors.problems().len(), 2, "{errors}");
}

#[test]
fn a_real_cloud_can_be_named() {
    let text = format!("{LEAST}[cloud.bring_your_own]\ncloud = 'qa'\ntransport_url_env = 'QA_BROKER'\n");
    let own = resolve(&text, &[]).unwrap().cloud.bring_your_own.unwrap();
    assert_eq!((own.cloud.as_str(), own.transport_url_env.as_str()), ("qa", "QA_BROKER"));
}
