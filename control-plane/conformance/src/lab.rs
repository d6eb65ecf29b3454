//! The laboratory: on one cloud, a few real nova-computes and as many simulated ones, each behind relays of its own.

mod error;
mod stage;
mod subject;
mod things;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use control_plane::{
    Cloud,
    live::Target,
    load::{
        Call, Http, RunName, Service, Session, Tenants, TenantsMade, TenantsSpec, clean_up, delete_servers, remains,
    },
};
use fake_hv::{Fleet, FleetSpec};
use hypervisor::{Driver, Resources, Services, Times};
use recording::{Manifest, Outcome, OutcomeKind, Recorder};
use scenarios::{
    options::compute_options,
    plan::{ConnectionMode, FleetPlan, OptionValue, Start},
};
use serde_json::json;

use crate::tap::Tap;

pub use error::LabError;
pub use stage::Stage;
pub(crate) use subject::Subject;
use things::{create_flavor, create_network};

/// Whose hypervisors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Unmodified nova-computes with Nova's fake driver.
    Real,
    /// Ours.
    Simulated,
}

impl Kind {
    /// In the names of its hosts.
    fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Simulated => "simu",
        }
    }
}

/// How many hypervisors of each kind there are, and how they are watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// An operation has a source and a destination.
    pub(crate) hosts: u32,
    pub(crate) stage: Stage,
    /// Whether what is said is only counted, the agents' too, instead of kept.
    pub(crate) counting: bool,
}

/// How long a simulated hypervisor may take to register; the real one has its own limit.
const REGISTER_WITHIN: Duration = Duration::from_secs(120);

/// The hypervisors of one kind.
pub(crate) struct Side {
    pub(crate) kind: Kind,
    pub(crate) zone: String,
    pub(crate) subjects: Vec<Subject>,
    aggregate: u64,
}

/// A cloud with hypervisors of both kinds.
pub struct Lab {
    pub(crate) cloud: Cloud,
    pub(crate) admin: Session,
    pub(crate) tenants: Tenants,
    pub(crate) large_flavor: String,
    /// The networks of a server's NICs, in turn.
    pub(crate) networks: Vec<String>,
    pub(crate) sides: Vec<Side>,
    run: RunName,
    agents: Vec<Fleet>,
    /// What the agents beside the nova-computes say, when it is counted.
    pub(crate) agents_tap: Option<Tap>,
    scale: Scale,
    origin: Instant,
    recorder: Recorder,
    folder: std::path::PathBuf,
    options: BTreeMap<String, OptionValue>,
}

impl Lab {
    /// Makes what servers need, and starts the hypervisors of the kinds asked for, all with the same options over the cloud's.
    ///
    /// # Errors
    /// When something of it cannot be made or started. What was made stays until [`Lab::close`].
    pub async fn open(
        cloud: &Cloud,
        kinds: &[Kind],
        stage: Stage,
        options: &BTreeMap<String, OptionValue>,
        folder: &std::path::Path,
    ) -> Result<Self, LabError> {
        let mut lab = Self::prepare(cloud, kinds, options, folder, Scale { hosts: 2, stage, counting: false }).await?;
        for side in 0..lab.sides.len() {
            for subject in &lab.sides[side].subjects {
                lab.start(lab.sides[side].kind, subject).await?;
            }
            lab.make_zone(side).await?;
        }
        Ok(lab)
    }

    /// Makes what servers need, the relays, and the L2 agents of real hypervisors; no hypervisor is started yet.
    pub(crate) async fn prepare(
        cloud: &Cloud,
        kinds: &[Kind],
        options: &BTreeMap<String, OptionValue>,
        folder: &std::path::Path,
        scale: Scale,
    ) -> Result<Self, LabError> {
        let target = Target::own(cloud);
        let admin = target.log_in(Http::new(None)).await?;
        let run = RunName::generate();
        let spec = TenantsSpec {
            projects: 1,
            users: 1,
            ports: 500,
            service_user: false,
            physical_network: Some("physnet1"),
            image: None,
        };
        let tenants = Tenants::create(&admin, &run, spec, &TenantsMade::default()).await?;
        let large_flavor = create_flavor(&admin, &run).await?;
        let first = tenants.network.clone().into_iter();
        let networks = first.chain([create_network(&admin, &run).await?]).collect();
        let manifest = Manifest {
            schema: Manifest::SCHEMA,
            harness_version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: "conformance".to_owned(),
            target: "live".to_owned(),
            release: cloud.spec.release.clone(),
            ..Manifest::default()
        };
        let recorder = Recorder::create(folder, &manifest, "{}").map_err(std::io::Error::other)?;
        let mut lab = Self {
            cloud: cloud.clone(),
            admin,
            tenants,
            large_flavor,
            networks,
            sides: Vec::new(),
            run,
            agents: Vec::new(),
            agents_tap: None,
            scale,
            origin: Instant::now(),
            recorder,
            folder: folder.to_owned(),
            options: options.clone(),
        };
        for kind in kinds {
            let side = lab.side(*kind).await?;
            lab.sides.push(side);
        }
        lab.start_agents().await?;
        Ok(lab)
    }

    /// The next hypervisors of a kind; there can be several sides of each.
    async fn side(&self, kind: Kind) -> Result<Side, LabError> {
        let name = kind.name();
        let first = self.hosts_of(kind) + 1;
        let mut subjects = Vec::new();
        for index in first..first + self.scale.hosts {
            let tap = self.tap().await?;
            let host = format!("{}-{name}-{index:05}", self.run);
            let stage = if index == first { self.scale.stage } else { Stage::Plain };
            let (options, running) = Default::default();
            subjects.push(Subject { host, tap, index, stage, options, running });
        }
        Ok(Side { kind, zone: format!("{}-{name}-{first}", self.run), subjects, aggregate: 0 })
    }

    fn hosts_of(&self, kind: Kind) -> u32 {
        let subjects = self.sides.iter().filter(|side| side.kind == kind).map(|side| side.subjects.len());
        u32::try_from(subjects.sum::<usize>()).expect("a laboratory has a handful of hosts")
    }

    async fn tap(&self) -> std::io::Result<Tap> {
        match self.scale.counting {
            true => Tap::counting(&self.cloud, self.origin).await,
            false => Tap::open(&self.cloud, self.origin).await,
        }
    }

    /// A port binds only when an L2 agent reports from its host: the same ones beside both kinds of nova-computes.
    async fn start_agents(&mut self) -> Result<(), LabError> {
        if self.scale.counting {
            self.agents_tap = Some(self.tap().await?);
        }
        for kind in [Kind::Real, Kind::Simulated] {
            let hosts = self.hosts_of(kind);
            if hosts == 0 {
                continue;
            }
            let mut spec = self.fleet_spec(kind.name(), 1, hosts, Services::AgentOnly);
            spec.plan.connections = ConnectionMode::Single;
            if let Some(tap) = &self.agents_tap {
                spec.broker.nodes = vec![fake_hv::BrokerNode::local(tap.amqp_port())];
            }
            self.agents.push(Fleet::start(spec, self.recorder.clone(), self.origin).await?);
        }
        Ok(())
    }

    fn fleet_spec(&self, name: &str, first: u32, hosts: u32, services: Services) -> FleetSpec {
        let target = Target::own(&self.cloud);
        FleetSpec {
            plan: FleetPlan {
                hypervisors: hosts,
                connections: ConnectionMode::Faithful,
                start: Start::AtOnce,
                l2_agent: true,
                resources: Resources::fake_driver(),
                times: Times { think: Times::MEASURED_THINK, ..Times::ZERO },
                register_within: REGISTER_WITHIN,
                servers: 0,
                real: 0,
                processes: None,
            },
            options: compute_options(&self.cloud.spec.release, &self.cloud.spec.tuning),
            release: self.cloud.spec.release.clone(),
            seed: 1,
            host_prefix: format!("{}-{name}", self.run),
            first_host_prefix: None,
            first_host: first,
            broker: target.broker(),
            apis: target.service_apis(target.nova_service.as_ref().expect("a cloud of ours has a user for Nova")),
            driver: Driver::Fake,
            services,
            processes: None,
        }
    }

    /// An availability zone of the hosts of one kind, so that servers stay among them.
    pub(crate) async fn make_zone(&mut self, side: usize) -> Result<(), LabError> {
        let (zone, hosts): (String, Vec<String>) = {
            let side = &self.sides[side];
            (side.zone.clone(), side.subjects.iter().map(|subject| subject.host.clone()).collect())
        };
        let body = json!({"aggregate": {"name": zone, "availability_zone": zone}});
        let made = self.admin.call(&Call::post("aggregate", Service::Compute, "/os-aggregates", body)).await?;
        let id = made.json()?["aggregate"]["id"].as_u64().unwrap_or_default();
        for host in hosts {
            self.wait_mapped(&host).await?;
            let body = json!({"add_host": {"host": host}});
            let path = format!("/os-aggregates/{id}/action");
            self.admin.call(&Call::post("aggregate", Service::Compute, path, body)).await?;
        }
        self.sides[side].aggregate = id;
        Ok(())
    }

    /// Until the scheduler may place servers on a host: its cell is known.
    async fn wait_mapped(&self, host: &str) -> Result<(), LabError> {
        let path = format!("/os-hypervisors?hypervisor_hostname_pattern={host}");
        wait(&format!("host mapping of {host}"), REGISTER_WITHIN, async || {
            let call = Call::get("hypervisors", Service::Compute, path.as_str());
            match self.admin.call(&call).await {
                Ok(answer) if answer.json()?["hypervisors"].as_array().is_some_and(|found| !found.is_empty()) => {
                    Ok(Ok(()))
                }
                Ok(_) => Ok(Err("not listed".to_owned())),
                Err(error) if error.status() == Some(404) => Ok(Err("not known".to_owned())),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    /// Stops everything and removes what was made.
    ///
    /// # Errors
    /// When something stays.
    pub async fn close(mut self) -> Result<String, LabError> {
        let ours = |name: &RunName| *name == self.run;
        delete_servers(&self.admin, &ours).await?;
        for side in 0..self.sides.len() {
            self.dissolve_zone(side).await?;
            let ends = self.sides[side].subjects.iter().map(|subject| self.end(subject));
            futures_util::future::try_join_all(ends).await?;
        }
        for agents in std::mem::take(&mut self.agents) {
            agents.stop().await;
        }
        let ours = |name: &RunName| *name == self.run;
        let failures = clean_up(&self.admin, &ours).await?;
        for failure in failures {
            tracing::warn!(%failure, "could not be deleted");
        }
        let left = remains(&self.admin, &ours).await?.to_string();
        let outcome = Outcome { kind: OutcomeKind::Completed, reason: None, duration_ms: 0.0 };
        self.recorder.finish(&outcome).map_err(std::io::Error::other)?;
        Ok(left)
    }

    async fn dissolve_zone(&self, side: usize) -> Result<(), LabError> {
        let side = &self.sides[side];
        if side.aggregate == 0 {
            return Ok(());
        }
        for subject in &side.subjects {
            let body = json!({"remove_host": {"host": subject.host}});
            let path = format!("/os-aggregates/{}/action", side.aggregate);
            self.admin.call(&Call::post("aggregate", Service::Compute, path, body)).await?;
        }
        Ok(self.admin.delete("aggregate", Service::Compute, format!("/os-aggregates/{}", side.aggregate)).await?)
    }

    /// Release of the cloud.
    pub fn release(&self) -> &str {
        &self.cloud.spec.release
    }

    /// Where this experiment writes.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }
}

/// Asks every 100 ms until there is something, or for too long.
pub(crate) async fn wait<T>(
    what: &str,
    within: Duration,
    mut ask: impl AsyncFnMut() -> Result<Result<T, String>, LabError>,
) -> Result<T, LabError> {
    let begun = Instant::now();
    loop {
        match ask().await? {
            Ok(value) => return Ok(value),
            Err(last) if begun.elapsed() > within => {
                return Err(LabError::Late { what: what.to_owned(), within, last });
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Options under which nothing happens by itself, so that what is seen belongs to an operation.
///
/// nova-compute asks Neutron for its extensions every so many seconds. `ask_each_time` shows where it would; else it asks once.
pub fn quiet_options(ask_each_time: bool) -> BTreeMap<String, OptionValue> {
    let never = |name: &str| (name.to_owned(), OptionValue::Integer(-1));
    let day = |name: &str| (name.to_owned(), OptionValue::Integer(86_400));
    let extensions = OptionValue::Integer(if ask_each_time { 0 } else { 86_400 });
    BTreeMap::from([
        ("neutron.extension_sync_interval".to_owned(), extensions),
        never("DEFAULT.update_resources_interval"),
        never("DEFAULT.sync_power_state_interval"),
        day("DEFAULT.scheduler_instance_sync_interval"),
        day("DEFAULT.instance_delete_interval"),
        day("DEFAULT.running_deleted_instance_poll_interval"),
        day("image_cache.manager_interval"),
        never("DEFAULT.heal_instance_info_cache_interval"),
        ("DEFAULT.periodic_fuzzy_delay".to_owned(), OptionValue::Integer(0)),
        ("compute.resource_provider_association_refresh".to_owned(), OptionValue::Integer(0)),
    ])
}
