//! Recordings that never happened: a generator of run folders with figures like those of a real run, for tests of the
//! analysis and for looking at the page. Nothing here was measured.

use std::{collections::BTreeMap, path::Path, time::Duration};

use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64Mcg;
use recording::{Event, Manifest, OperationRecord, Outcome, OutcomeKind, Recorder, RpcResult, Sample, millis};

/// What kind of run to make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All goes well.
    Passed,
    /// The scheduler falls behind: slow boots, errors, hypervisors shown down.
    Failed,
    /// The harness falls behind.
    Invalid,
    /// Killed in the middle of the load.
    Killed,
    /// Nothing but the manifest.
    Empty,
    /// The cloud could not be brought up.
    Error,
}

pub(crate) fn plan_json(gates: &str) -> String {
    let text = "# Two hundred hypervisors, a hundred VMs.\nname = \"quickstart\"\n\n[fleet]\nhypervisors = 200\n";
    format!(
        r#"{{"scenario": "quickstart", "description": "Two hundred hypervisors register, a hundred servers with one NIC each are booted at random times, then all are deleted.",
 "scenario_text": {text:?}, "release": "2026.2", "seed": 4242,
 "cloud": {{"bring_your_own": null, "wsgi": {{"keystone": {{"processes": 3, "threads": 1}}, "nova": {{"processes": 2, "threads": 4}}}}}},
 "tenants": {{"projects": 2, "users": 4}},
 "fleet": {{"hypervisors": 200, "connections": {{"mode": "single"}}, "start": {{"kind": "pace", "per_s": 20.0}},
   "resources": {{"vcpus": 32, "memory_mb": 131072, "local_gb": 1000, "cpu_allocation_ratio": 4.0, "ram_allocation_ratio": 1.0, "disk_allocation_ratio": 1.0}},
   "times": {{"image_fetch": {{"distribution": "constant", "value": {{"secs": 0, "nanos": 0}}}},
     "spawn": {{"distribution": "log_normal", "median": {{"secs": 1, "nanos": 0}}, "p99": {{"secs": 4, "nanos": 0}}}},
     "wiring": {{"distribution": "constant", "value": {{"secs": 0, "nanos": 300000000}}}},
     "destroy": {{"distribution": "constant", "value": {{"secs": 0, "nanos": 500000000}}}}}},
   "register_within": {{"secs": 120, "nanos": 0}}}},
 "tuning": {{"nova": {{"DEFAULT.report_interval": 60}}}},
 "load": [
  {{"name": "boot", "operation": {{"kind": "boot", "nics": 1}}, "arrivals": {{"kind": "poisson", "rate_per_s": 1.0, "until": {{"count": 100}}}},
   "start": {{"secs": 0, "nanos": 0}}, "after": null, "timeout": {{"secs": 300, "nanos": 0}}}},
  {{"name": "delete", "operation": {{"kind": "delete"}}, "arrivals": {{"kind": "constant", "rate_per_s": 4.0, "until": {{"count": 100}}}},
   "start": {{"secs": 5, "nanos": 0}}, "after": "boot", "timeout": {{"secs": 300, "nanos": 0}}}}],
 "drain": {{"secs": 60, "nanos": 0}}, "gates": {gates}, "late_bound": {{"secs": 0, "nanos": 100000000}}}}"#
    )
}

pub(crate) const GATES: &str = r#"[
  {"metric": "hypervisors.up_min", "bound": {"min": 200.0}}, {"metric": "hypervisors.false_down", "bound": {"max": 0.0}},
  {"metric": "operations.boot.succeeded", "bound": {"equals": 100.0}},
  {"metric": "operations.boot.p99_ms", "bound": {"max": 15000.0}}, {"metric": "rpc.Service.save.p99_ms", "bound": {"max": 1000.0}}]"#;

fn manifest() -> Manifest {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect::<BTreeMap<String, String>>()
    };
    Manifest {
        schema: Manifest::SCHEMA,
        harness_version: "0.1.0".into(),
        scenario: "quickstart".into(),
        target: "live".into(),
        release: "2026.2".into(),
        seed: 4242,
        command: ["kagemusha", "run", "quickstart", "--set", "fleet.hypervisors=200"].map(String::from).into(),
        started_at: "2026-11-23T07:25:26Z".into(),
        machine: map(&[
            ("cores", "2"),
            ("memory_bytes", "25769803776"),
            ("kernel", "6.1.0-28-amd64"),
            ("cpu", "EPYC 7B13"),
        ]),
        packages: map(&[
            ("nova", "34.0.0"),
            ("keystone", "30.0.0"),
            ("neutron", "29.0.0"),
            ("rabbitmq-server", "3.10.8"),
        ]),
        tuning: map(&[
            ("nova: DEFAULT.report_interval", "60"),
            ("nova: DEFAULT.service_down_time", "300"),
            ("nova: database.max_pool_size", "50"),
            ("neutron: DEFAULT.rpc_workers", "2"),
        ]),
        deviations: map(&[("mariadb: max_connections = 8000", "151 are <not> enough")]),
        ..Manifest::default()
    }
}

struct Run {
    recorder: Recorder,
    rng: Pcg64Mcg,
    kind: Kind,
}

/// Start of the load and its end, in seconds.
const LOAD: (f64, f64) = (30.0, 175.0);

/// Makes a run folder up.
pub(crate) fn make(folder: &Path, kind: Kind) {
    let gates = if kind == Kind::Empty { "[]" } else { GATES };
    let recorder = Recorder::create(folder, &manifest(), &plan_json(gates)).unwrap();
    let mut run = Run { recorder, rng: Pcg64Mcg::seed_from_u64(7), kind };
    let phase = |t_ms: f64, detail: &str| Event { t_ms, kind: "phase".into(), detail: detail.into() };
    match kind {
        Kind::Empty => return,
        Kind::Error => {
            run.recorder.event(&phase(0.0, "bring_up"));
            let reason = "mariadbd ended with status 1 while it was started: port 33061 is in use <by another>";
            let outcome = Outcome { kind: OutcomeKind::Error, reason: Some(reason.into()), duration_ms: 2140.0 };
            return run.recorder.finish(&outcome).unwrap();
        }
        _ => {}
    }
    let end_s = if kind == Kind::Killed { 72.4 } else { 190.0 };
    let mut operations = run.operations();
    operations.retain(|operation| operation.ended_ms < end_s * 1e3);
    let mut operations = operations.into_iter().peekable();
    let names =
        [(0.0, "tenants"), (4.0, "register"), (30.0, "load"), (175.0, "drain"), (186.0, "clean_up"), (190.0, "end")];
    for second in 0..end_s as u32 {
        for (at, name) in names.iter().filter(|(at, _)| *at == f64::from(second)) {
            run.recorder.event(&phase(at * 1e3, name));
        }
        while let Some(operation) = operations.next_if(|operation| operation.ended_ms < f64::from(second + 1) * 1e3) {
            run.recorder.operation(&operation);
        }
        run.second(f64::from(second));
    }
    if kind != Kind::Killed {
        let outcome = Outcome { kind: OutcomeKind::Completed, reason: None, duration_ms: end_s * 1e3 };
        run.recorder.finish(&outcome).unwrap();
    }
}

impl Run {
    fn around(&mut self, median: f64, spread: f64) -> f64 {
        LogNormal::new(median.ln(), spread).unwrap().sample(&mut self.rng)
    }

    fn operations(&mut self) -> Vec<OperationRecord> {
        let mut operations = Vec::new();
        let mut intended_ms = LOAD.0 * 1e3;
        for index in 0..100 {
            intended_ms += -1000.0 * (1.0 - self.rng.random::<f64>()).ln();
            operations.push(self.boot(index, intended_ms));
        }
        for index in 0..100 {
            let intended_ms = 145e3 + index as f64 * 250.0;
            let ended_ms = intended_ms + self.around(1400.0, 0.3);
            operations.push(self.record("delete", index, intended_ms, ended_ms, Vec::new()));
        }
        operations.sort_by(|a, b| a.ended_ms.total_cmp(&b.ended_ms));
        operations
    }

    fn boot(&mut self, index: u64, intended_ms: f64) -> OperationRecord {
        let slow = if self.kind == Kind::Failed { 1.0 + index as f64 / 6.0 } else { 1.0 };
        let medians = [
            ("api", 310.0, 0.3),
            ("conductor", 160.0, 0.3),
            ("scheduler", 420.0 * slow, 0.4),
            ("build", 120.0, 0.5),
            ("network", 900.0, 0.35),
            ("spawn", 1500.0, 0.5),
        ];
        let phases: Vec<(String, f64)> =
            medians.map(|(name, median, spread)| (name.to_owned(), self.around(median, spread))).into();
        let waits = self.around(250.0, 0.6);
        let total = phases.iter().map(|(_, ms)| ms).sum::<f64>() + waits;
        let mut record = self.record("boot", index, intended_ms, intended_ms + total, phases);
        if self.kind == Kind::Failed && index > 70 && index.is_multiple_of(5) {
            record.error = Some(match index % 2 {
                0 => "No valid host was found. There are not enough hosts available.".into(),
                _ => format!(
                    "timed out after 300 s waiting for server {:08x}-3c1d-4f5e-8a51-7d0c0f3b2a11 <BUILD>",
                    index * 7919
                ),
            });
        }
        record
    }

    fn record(
        &mut self,
        stream: &str,
        index: u64,
        intended_ms: f64,
        ended_ms: f64,
        phases_ms: Vec<(String, f64)>,
    ) -> OperationRecord {
        let late = if self.kind == Kind::Invalid { 120.0 } else { 1.2 };
        let started_ms = intended_ms + self.around(late, 0.6);
        let (server, host) = (Some(format!("{index:08x}")), Some(format!("hv-{:05}", index % 200)));
        OperationRecord {
            stream: stream.into(),
            index,
            intended_ms,
            started_ms,
            ended_ms,
            error: None,
            server,
            host,
            phases_ms,
        }
    }

    fn second(&mut self, s: f64) {
        let busy = if (LOAD.0..LOAD.1).contains(&s) { 1.0 } else { 0.25 };
        for call in 0_u32..20 {
            let at = Duration::from_secs_f64(s + f64::from(call) * 0.05);
            let (name, median) = [
                ("Service.save", 4.0),
                ("ComputeNode.save", 6.5),
                ("Instance.save", 9.0),
                ("InstanceList.get_by_host", 14.0),
            ][call as usize % 4];
            let strained = if self.kind == Kind::Failed && s > 90.0 { 40.0 } else { 1.0 };
            let latency = Duration::from_secs_f64(self.around(median * strained * (1.0 + busy), 0.7) / 1e3);
            // One before the load.
            let early = s == 10.0 && call == 0;
            let timed_out = self.kind == Kind::Failed && (early || s > 110.0 && self.rng.random_bool(0.02));
            let (latency, result) =
                if timed_out { (Duration::from_secs(60), RpcResult::TimedOut) } else { (latency, RpcResult::Ok) };
            self.recorder.rpc(name, at, latency, result);
            self.recorder.latency("harness/fleet", at, Duration::from_micros(300 + u64::from(call) * 40));
            self.recorder.latency(
                "http/placement GET /allocation_candidates",
                at,
                Duration::from_millis(30 + u64::from(call)),
            );
        }
        self.series(s, busy);
    }

    fn sample(&self, s: f64, metric: &str, instance: &str, value: f64) {
        let t_ms = millis(Duration::from_secs_f64(s + 0.97));
        self.recorder.sample(&Sample { t_ms, metric: metric.into(), instance: instance.into(), value });
    }

    fn series(&mut self, s: f64, busy: f64) {
        let registered = ((s - 4.0) * 20.0).clamp(0.0, 200.0);
        let down =
            if self.kind == Kind::Failed && (118.0..131.0).contains(&s) { ((s - 117.0) * 3.0).floor() } else { 0.0 };
        for host in (0..3).filter(|_| down > 0.0) {
            let detail = format!("hv-{:05} shown down, last heartbeat 61 s ago", down as u32 - host);
            self.recorder.event(&Event { t_ms: s * 1e3 + 500.0, kind: "host_down".into(), detail });
        }
        self.sample(s, "fleet.registered", "", registered);
        self.sample(s, "fleet.up", "", (registered - down).max(0.0));
        let services = [
            ("nova-conductor", 0.42, 168),
            ("nova-scheduler", 0.31, 155),
            ("nova-api-1", 0.10, 142),
            ("nova-api-2", 0.11, 143),
            ("keystone-1", 0.04, 110),
            ("keystone-2", 0.05, 111),
            ("keystone-3", 0.04, 109),
            ("placement", 0.09, 104),
            ("neutron-api", 0.16, 171),
            ("neutron-rpc", 0.12, 150),
            ("glance-api", 0.01, 120),
            ("rabbitmq", 0.14, 240),
            ("mariadb", 0.22, 410),
            ("nginx", 0.01, 9),
            ("memcached", 0.002, 6),
        ];
        let mut total = 0.0;
        for (name, cores, mib) in services {
            let cpu_s =
                cores * (s * 0.25 + (s.min(LOAD.1) - LOAD.0).max(0.0) * 0.75) + (s / 6.0).sin() * cores * 0.6 + cores;
            total += cpu_s;
            self.sample(s, "process.cpu_s", name, cpu_s);
            self.sample(s, "process.rss_bytes", name, f64::from(mib) * 1048576.0 * (1.0 + s / 2400.0));
        }
        self.sample(s, "machine.cpu_s", "", total + s * 0.14);
        self.sample(s, "harness.cpu_s", "", s * 0.09 + (s / 9.0).sin() * 0.05);
        self.sample(s, "harness.rss_bytes", "", 21e6 + registered * 48e3);
        let noise = self.around(1.0, 0.25);
        self.sample(s, "broker.publish_per_s", "", 18.0 + 160.0 * busy * noise);
        self.sample(s, "broker.deliver_per_s", "", 18.0 + 155.0 * busy * noise);
        self.sample(s, "broker.connections", "", registered + 34.0);
        self.sample(s, "broker.channels", "", registered * 3.0 + 60.0);
        self.sample(s, "broker.queues", "", registered * 4.0 + 70.0);
        self.sample(s, "broker.consumers", "", registered * 4.0 + 66.0);
        let depth = if self.kind == Kind::Failed { (s - 60.0).clamp(0.0, 70.0) * 9.0 } else { busy * noise * 3.0 };
        self.sample(s, "broker.queue_depth", "conductor", depth.round());
        self.sample(s, "broker.queue_depth", "scheduler", (depth / 3.0).round());
        self.sample(s, "broker.queue_depth", "q-plugin", (noise * 2.0).floor());
        self.sample(s, "database.queries_total", "", s * 220.0 + (s - 30.0).max(0.0) * 900.0);
        self.sample(s, "database.connections", "", 48.0 + (12.0 * busy * noise).round());
        self.sample(s, "database.threads_running", "", (1.0 + 3.0 * busy * noise).round());
        self.sample(s, "database.lock_waits_total", "", (s / 20.0).floor());
    }
}
