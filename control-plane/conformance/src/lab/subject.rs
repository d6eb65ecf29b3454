//! One hypervisor of a laboratory: started, stopped, started otherwise.

use std::collections::BTreeMap;

use control_plane::{
    Cloud, ManagedProcess,
    real_compute::{self, Wires},
};
use fake_hv::{BrokerAddress, BrokerNode, Fleet, FleetError, FleetSpec, FleetStats, Release, ServiceApis};
use hypervisor::{ComputeOptions, Services};
use scenarios::{options::compute_options, plan::OptionValue};

use super::{Kind, Lab, LabError, REGISTER_WITHIN, Stage, wait};
use crate::tap::Tap;

/// In the names of hosts of either kind that were renamed: as long as those of both, so that messages have the same size.
const RENAMED: &str = "else";

/// One hypervisor under observation.
pub(crate) struct Subject {
    pub(crate) host: String,
    pub(crate) tap: Tap,
    pub(crate) index: u32,
    pub(super) stage: Stage,
    /// Options of its own, over those of the laboratory.
    pub(super) options: tokio::sync::Mutex<BTreeMap<String, OptionValue>>,
    pub(super) running: tokio::sync::Mutex<Option<Running>>,
}

pub(super) enum Running {
    Real(ManagedProcess),
    Simulated(Fleet),
}

impl Lab {
    /// Options of a hypervisor over those of the cloud's tuning.
    async fn options_of(&self, it: &Subject) -> BTreeMap<String, OptionValue> {
        let mut options = self.options.clone();
        options.extend(it.options.lock().await.clone());
        options
    }

    async fn real_spec(&self, it: &Subject) -> real_compute::Spec {
        real_compute::Spec {
            host: it.host.clone(),
            renamed: None,
            driver: it.stage.drivers().0.to_owned(),
            wires: Some(wires(&it.tap)),
            options: self.options_of(it).await,
        }
    }

    async fn simulated_spec(&self, it: &Subject) -> FleetSpec {
        let spec = self.fleet_spec(Kind::Simulated.name(), it.index, 1, Services::ComputeOnly);
        FleetSpec {
            // Each is a fleet of its own: with one seed all would have the same jitter.
            seed: it.index.into(),
            driver: it.stage.drivers().1,
            options: options_with(&self.cloud, self.options_of(it).await),
            broker: BrokerAddress { nodes: vec![BrokerNode::local(it.tap.amqp_port())], ..spec.broker },
            apis: ServiceApis {
                identity_url: it.tap.url("keystone"),
                placement_url: it.tap.url("placement"),
                network_url: it.tap.url("neutron"),
                image_url: it.tap.url("glance"),
                ..spec.apis
            },
            ..spec
        }
    }

    /// Starts a hypervisor whose host has another name than before, which it refuses; comes back when it has.
    pub(crate) async fn start_renamed(&self, kind: Kind, it: &Subject) -> Result<(), LabError> {
        match kind {
            Kind::Real => {
                let spec = self.real_spec(it).await;
                let renamed = format!("{}-{RENAMED}-{:05}", self.run, it.index);
                let spec = real_compute::Spec { renamed: Some(renamed), ..spec };
                Ok(real_compute::start_in_vain(&self.cloud, &spec).await?)
            }
            Kind::Simulated => {
                let spec = self.simulated_spec(it).await;
                let host_prefix = format!("{}-{RENAMED}", self.run);
                let spec = FleetSpec { first_host_prefix: Some(spec.host_prefix), host_prefix, ..spec };
                let fleet = Fleet::start(spec, self.recorder.clone(), self.origin).await?;
                let refused = until(&fleet, &format!("refusal of {}", it.host), |stats| stats.refused > 0).await;
                fleet.halt().await;
                refused
            }
        }
    }

    /// Starts a hypervisor, for the first time or again.
    pub(crate) async fn start(&self, kind: Kind, it: &Subject) -> Result<(), LabError> {
        let from_us = it.tap.now_us();
        let running = match kind {
            Kind::Real => Running::Real(real_compute::start(&self.cloud, &self.real_spec(it).await).await?),
            Kind::Simulated => {
                let spec = self.simulated_spec(it).await;
                let fleet = Fleet::start(spec, self.recorder.clone(), self.origin).await?;
                until(&fleet, &format!("registration of {}", it.host), |stats| stats.registered > 0).await?;
                Running::Simulated(fleet)
            }
        };
        *it.running.lock().await = Some(running);
        if self.scale.counting {
            return Ok(());
        }
        let release = Release::load(self.release()).map_err(FleetError::from)?;
        let last = format!("{}_fanout_", release.rpc_topics().last().copied().unwrap_or_default());
        wait(&format!("RPC servers of {}", it.host), REGISTER_WITHIN, async || {
            // The last of its queues; that Nova takes it for up may come from before a restart.
            let serves = it.tap.since(from_us).iter().any(|event| {
                let queue = event.what.fields["queue"].as_str().unwrap_or_default();
                event.what.name == "basic.consume" && queue.starts_with(&last)
            });
            Ok(serves.then_some(()).ok_or_else(|| "no consumer of its last queue".to_owned()))
        })
        .await
    }

    /// Stops a hypervisor and starts it with these options over those of the laboratory.
    pub(crate) async fn restart_with(&self, kind: Kind, it: &Subject, options: &[(&str, i64)]) -> Result<(), LabError> {
        self.stop(it).await?;
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), OptionValue::Integer(*value)));
        *it.options.lock().await = options.collect();
        self.start(kind, it).await
    }

    /// The real nova-computes that run.
    pub(crate) async fn real_processes(&self) -> Vec<ManagedProcess> {
        let mut found = Vec::new();
        for subject in self.sides.iter().flat_map(|side| &side.subjects) {
            if let Some(Running::Real(process)) = &*subject.running.lock().await {
                found.push(process.clone());
            }
        }
        found
    }

    /// Stops a hypervisor as SIGTERM stops a service.
    pub(crate) async fn stop(&self, subject: &Subject) -> Result<(), LabError> {
        match subject.running.lock().await.take() {
            Some(Running::Real(process)) => real_compute::halt(&self.cloud, &process).await?,
            Some(Running::Simulated(fleet)) => fleet.halt().await,
            None => {}
        }
        Ok(())
    }

    /// Stops a hypervisor for good.
    pub(super) async fn end(&self, subject: &Subject) -> Result<(), LabError> {
        match subject.running.lock().await.take() {
            Some(Running::Real(process)) => real_compute::stop(&self.cloud, &process).await?,
            Some(Running::Simulated(fleet)) => fleet.stop().await,
            // A start that was interrupted has left its process.
            None => {
                if let Some(process) = real_compute::find(&self.cloud, &subject.host)? {
                    real_compute::stop(&self.cloud, &process).await?;
                }
            }
        }
        Ok(())
    }
}

/// Waits for something that a fleet counts.
async fn until(fleet: &Fleet, what: &str, done: impl Fn(&FleetStats) -> bool) -> Result<(), LabError> {
    wait(what, REGISTER_WITHIN, async || {
        let stats = fleet.stats();
        Ok(done(&stats).then_some(()).ok_or_else(|| format!("{stats:?}")))
    })
    .await
}

fn wires(tap: &Tap) -> Wires {
    Wires {
        amqp_port: tap.amqp_port(),
        identity_url: tap.url("keystone"),
        placement_url: tap.url("placement"),
        network_url: tap.url("neutron"),
        image_url: tap.url("glance"),
    }
}

/// The cloud's options of nova-compute, with these over them.
fn options_with(cloud: &Cloud, options: BTreeMap<String, OptionValue>) -> ComputeOptions {
    let mut tuning = cloud.spec.tuning.clone();
    tuning.entry("nova".to_owned()).or_default().extend(options);
    compute_options(&cloud.spec.release, &tuning)
}
