//! One real and one simulated L2 agent, each behind a relay, and what is done to both.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use control_plane::{
    Cloud,
    live::Target,
    load::{Call, Http, RunName, Service, Session},
};
use fake_hv::{BrokerAddress, BrokerNode, Fleet, FleetSpec};
use hypervisor::{ComputeOptions, Driver, Resources, Services, Times};
use recording::{Manifest, Recorder};
use scenarios::plan::{ConnectionMode, FleetPlan, Start};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{REPORT_INTERVAL, real::OpenVswitch, verdict};
use crate::{
    lab::{LabError, wait},
    tap::Tap,
    trace::Trace,
    verdict::Verdict,
};

const STARTED_WITHIN: Duration = Duration::from_secs(120);
/// An agent looks at its bridge every two seconds, and what comes of that makes it look again.
const QUIET: Duration = Duration::from_secs(5);
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// Its RPC servers have three consumers each, and its reply queue one.
const CONSUMERS: usize = 34;

/// The real one and the simulated one.
const SIDES: [&str; 2] = ["real", "simu"];

/// A port on each host: the real one's and the simulated one's.
pub(crate) struct Ports(pub(crate) [String; 2]);

struct Side {
    host: String,
    tap: Tap,
}

/// Both agents on one cloud.
pub(crate) struct Stage<T> {
    admin: Session,
    run: RunName,
    sides: [Side; 2],
    switch: OpenVswitch,
    fleet: Fleet,
    ports: Vec<String>,
    networks: Vec<String>,
    from_us: u64,
    verdicts: Vec<Verdict>,
    tell: T,
}

impl<T: FnMut(&Verdict)> Stage<T> {
    /// Starts both. What is recorded of their start goes to `folder`.
    pub(crate) async fn open(cloud: &Cloud, folder: &Path, tell: T) -> Result<Self, LabError> {
        let target = Target::own(cloud);
        let admin = target.log_in(Http::new(None)).await?;
        let (run, origin) = (RunName::generate(), Instant::now());
        let side = async |name: &str| -> Result<Side, LabError> {
            Ok(Side { host: format!("{}-{name}-00001", run.named("agent")), tap: Tap::open(cloud, origin).await? })
        };
        let sides = [side(SIDES[0]).await?, side(SIDES[1]).await?];
        let mut switch = OpenVswitch::start(cloud).await?;
        switch.start_agent(cloud, &sides[0].host, sides[0].tap.amqp_port())?;
        let manifest = Manifest { schema: Manifest::SCHEMA, ..Manifest::default() };
        let recorder = Recorder::create(folder, &manifest, "{}").map_err(std::io::Error::other)?;
        let spec = fleet_spec(cloud, &target, format!("{}-{}", run.named("agent"), SIDES[1]), sides[1].tap.amqp_port());
        let fleet = Fleet::start(spec, recorder, origin).await?;
        let (ports, networks, verdicts) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { admin, run, sides, switch, fleet, ports, networks, from_us: 0, verdicts, tell })
    }

    /// Waits until both are ready, and compares everything they said so far.
    pub(crate) async fn judge_start(&mut self) -> Result<(), LabError> {
        let started = wait("the start of both L2 agents", STARTED_WITHIN, async || {
            let consumers =
                |side: &Side| side.tap.since(0).iter().filter(|event| event.what.name == "basic.consume").count();
            let found = [consumers(&self.sides[0]), consumers(&self.sides[1])];
            Ok((found == [CONSUMERS; 2]).then_some(()).ok_or_else(|| format!("consumers: {found:?}")))
        });
        if let Err(error) = started.await {
            eprintln!("{}", self.switch.agent_log());
            return Err(error);
        }
        self.settle().await;
        let traces = self.traces();
        let verdict = verdict::compare_start("agent-start", &traces);
        self.pass(verdict);
        Ok(())
    }

    /// Waits until nothing more is said, and compares what was said since the last time, but for reports.
    pub(crate) async fn judge(&mut self, name: &str) -> Result<(), LabError> {
        self.settle().await;
        let traces = self.traces();
        let verdict = verdict::compare(name, &traces);
        self.pass(verdict);
        Ok(())
    }

    /// Compares so many reports.
    pub(crate) fn judge_idle(&mut self, name: &str, reports: usize) {
        let traces = self.traces();
        let verdict = verdict::compare_reports(name, &traces, reports);
        self.pass(verdict);
    }

    fn pass(&mut self, verdict: Verdict) {
        (self.tell)(&verdict);
        self.verdicts.push(verdict);
        self.from_us = self.sides[0].tap.now_us();
    }

    fn traces(&self) -> [Trace; 2] {
        self.sides.each_ref().map(|side| Trace::new(&side.host, side.tap.since(self.from_us)))
    }

    async fn settle(&self) {
        let begun = Instant::now();
        loop {
            let last_us = self.traces().iter().filter_map(verdict::last_us).max().unwrap_or(self.from_us);
            let now_us = self.sides[0].tap.now_us();
            let quiet = Duration::from_micros(now_us.saturating_sub(last_us));
            if quiet >= QUIET || begun.elapsed() > QUIET_WITHIN {
                return;
            }
            tokio::time::sleep(QUIET - quiet).await;
        }
    }

    /// A VLAN network with a subnet.
    pub(crate) async fn create_network(&mut self) -> Result<String, LabError> {
        let body = json!({"network": {
            "name": self.run.named("network"), "provider:network_type": "vlan", "provider:physical_network": "physnet1",
        }});
        let network = self.create("/networks", "network", body).await?["id"].as_str().unwrap_or_default().to_owned();
        self.networks.push(network.clone());
        let subnet = json!({"subnet": {
            "name": self.run.named("subnet"), "network_id": network, "ip_version": 4, "cidr": "10.129.0.0/20",
            "enable_dhcp": false,
        }});
        self.create("/subnets", "subnet", subnet).await?;
        Ok(network)
    }

    /// A port that is bound to each host.
    pub(crate) async fn create_ports(&mut self, network: &str) -> Result<Ports, LabError> {
        let mut made = Ports(Default::default());
        for side in 0..SIDES.len() {
            let body = json!({"port": {
                "name": self.run.named("port"), "network_id": network, "binding:host_id": self.sides[side].host,
                "device_owner": "compute:nova", "device_id": Uuid::new_v4(),
            }});
            let port = self.create("/ports", "port", body).await?["id"].as_str().unwrap_or_default().to_owned();
            self.ports.push(port.clone());
            made.0[side] = port;
        }
        Ok(made)
    }

    async fn create(&self, path: &str, kind: &'static str, body: Value) -> Result<Value, LabError> {
        let answer = self.admin.call(&Call::post(kind, Service::Network, path, body)).await?;
        Ok(answer.json()?[kind].take())
    }

    /// Gives something another name.
    pub(crate) async fn rename(&self, path: &str, id: &str) -> Result<(), LabError> {
        let kind = path.trim_start_matches('/').trim_end_matches('s');
        let body = json!({kind: {"name": self.run.named(&Uuid::new_v4().simple().to_string())}});
        self.admin.call(&Call::put("rename", Service::Network, format!("{path}/{id}"), body)).await?;
        Ok(())
    }

    /// Deletes something.
    pub(crate) async fn delete(&self, path: &str, id: &str) -> Result<(), LabError> {
        Ok(self.admin.delete("delete", Service::Network, format!("{path}/{id}")).await?)
    }

    /// Puts the ports on the bridges.
    pub(crate) async fn plug(&self, Ports([real, simulated]): &Ports) -> Result<(), LabError> {
        let found = self.admin.call(&Call::get("port", Service::Network, format!("/ports/{real}"))).await?.json()?;
        self.switch.plug(real, found["port"]["mac_address"].as_str().unwrap_or_default()).await?;
        self.fleet.change_bridge(0, vec![id(simulated)], Vec::new());
        Ok(())
    }

    /// Takes them off.
    pub(crate) async fn unplug(&self, Ports([real, simulated]): &Ports) -> Result<(), LabError> {
        self.switch.unplug(real).await?;
        self.fleet.change_bridge(0, Vec::new(), vec![id(simulated)]);
        Ok(())
    }

    /// Ends both agents and removes what was made.
    pub(crate) async fn close(self) -> Result<Vec<Verdict>, LabError> {
        self.fleet.stop().await;
        drop(self.switch);
        for (path, ids) in [("/ports", &self.ports), ("/networks", &self.networks)] {
            for id in ids {
                self.admin.delete("clean-up", Service::Network, format!("{path}/{id}")).await?;
            }
        }
        for side in &self.sides {
            let path = format!("/agents?host={}", side.host);
            let found = self.admin.call(&Call::get("agents", Service::Network, path)).await?.json()?;
            for agent in found["agents"].as_array().into_iter().flatten() {
                let path = format!("/agents/{}", agent["id"].as_str().unwrap_or_default());
                self.admin.delete("clean-up", Service::Network, path).await?;
            }
        }
        Ok(self.verdicts)
    }
}

fn id(text: &str) -> Uuid {
    text.parse().unwrap_or_default()
}

fn fleet_spec(cloud: &Cloud, target: &Target, host_prefix: String, amqp_port: u16) -> FleetSpec {
    FleetSpec {
        plan: FleetPlan {
            hypervisors: 1,
            connections: ConnectionMode::Faithful,
            start: Start::AtOnce,
            l2_agent: true,
            resources: Resources::fake_driver(),
            times: Times::ZERO,
            register_within: STARTED_WITHIN,
            servers: 0,
            real: 0,
            processes: None,
        },
        options: ComputeOptions { agent_report_interval: REPORT_INTERVAL, ..ComputeOptions::default() },
        release: cloud.spec.release.clone(),
        seed: 1,
        host_prefix,
        first_host_prefix: None,
        first_host: 1,
        broker: BrokerAddress { nodes: vec![BrokerNode::local(amqp_port)], ..target.broker() },
        apis: target.service_apis(target.nova_service.as_ref().expect("a cloud of ours has a user for Nova")),
        driver: Driver::Fake,
        services: Services::AgentOnly,
        processes: None,
    }
}
