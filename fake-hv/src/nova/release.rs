//! What differs between releases and is read from them by a program.

use std::{collections::BTreeMap, time::Duration};

use hypervisor::{Habits, LazyField};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::dispatch::Interface;
use crate::procedure::{Procedure, Procedures};

/// Object and service versions of one OpenStack release, made by `releases/dump_objects.py` from the installed package.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'static"))]
pub struct Release {
    /// Name of the release, such as `2026.2`.
    pub release: String,
    /// `SERVICE_VERSION` of its nova-compute.
    pub service_version: u32,
    /// The version that it names to each RPC API.
    pub(crate) rpc_versions: RpcVersions,
    /// The topics that it serves.
    pub(crate) rpc_topics: Vec<&'static str>,
    /// Traits that a nova-compute with the fake driver reports of its host.
    pub(crate) traits: Vec<String>,
    /// Whether it looks for the shares of a VM before it shuts it down.
    looks_for_shares: bool,
    /// How often a thread looks whether the answer to its RPC call has come; `None`: it is woken by it.
    looks_for_reply_each_ms: Option<u64>,
    /// Whether an event of a port that Neutron does not have any more takes it out of the info cache.
    pub(crate) forgets_lost_port: bool,
    /// Whether it takes the MTU of a network that it has not asked for again from the info cache.
    pub(crate) keeps_mtu: bool,
    /// What is read of each VM when a nova-compute starts.
    pub(crate) fields_at_start: Vec<String>,
    /// Versions of the objects that a nova-compute sends whole.
    sent: BTreeMap<String, String>,
    /// The RPC interfaces that it serves, in the order in which they are tried.
    pub(crate) interfaces: Vec<Interface>,
    /// What it does on RPCs.
    #[serde(skip)]
    pub(crate) procedures: Vec<Procedure>,
    /// For each object asked for, the versions of all objects inside it.
    object_versions: BTreeMap<String, Box<RawValue>>,
}

/// The version of an RPC API that a nova-compute names to it.
#[derive(Debug, Deserialize)]
pub(crate) struct RpcVersions {
    pub(crate) conductor: &'static str,
    pub(crate) scheduler: &'static str,
    pub(crate) compute_task: &'static str,
    pub(crate) baseapi: &'static str,
}

/// The harness has no data for a release.
#[derive(Debug, thiserror::Error)]
#[error("release {release} is not known; known: {known}. releases/dump_objects.py makes the data of another")]
pub struct ReleaseError {
    release: String,
    known: String,
}

/// Name, versions of objects, procedures.
const RELEASES: &[(&str, &str, &str)] = &[
    (
        "2026.2",
        include_str!("../../releases/2026.2/objects.json"),
        include_str!("../../releases/2026.2/procedures.json"),
    ),
    (
        "2024.2",
        include_str!("../../releases/2024.2/objects.json"),
        include_str!("../../releases/2024.2/procedures.json"),
    ),
];

impl Release {
    /// Topics of the RPC servers of its nova-compute, in the order they start.
    pub fn rpc_topics(&self) -> &[&'static str] {
        &self.rpc_topics
    }

    /// What its services do otherwise than those of others.
    pub(crate) fn habits(&self) -> Habits {
        let looks_for_reply_each = self.looks_for_reply_each_ms.map(Duration::from_millis);
        // The check whether a VM needs a TPM looks at both.
        let loaded = self.fields_at_start.iter().any(|field| field == "flavor");
        let loads_at_start: &[LazyField] = if loaded { &[] } else { &[LazyField::Flavor, LazyField::SystemMetadata] };
        Habits { looks_for_shares: self.looks_for_shares, loads_at_start, looks_for_reply_each }
    }

    /// The data of a release that ships with the harness.
    ///
    /// # Errors
    /// When there is none for it.
    pub fn load(release: &str) -> Result<Self, ReleaseError> {
        let data = RELEASES.iter().find(|(name, ..)| *name == release).ok_or_else(|| ReleaseError {
            release: release.to_owned(),
            known: RELEASES.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "),
        })?;
        let mut found: Self = serde_json::from_str(data.1).expect("a test reads every release that ships");
        let procedures: Procedures = serde_json::from_str(data.2).expect("a test reads every release that ships");
        found.procedures = procedures.procedures;
        for (name, versions) in procedures.object_versions {
            let versions = serde_json::value::to_raw_value(&versions).expect("it was parsed as JSON");
            found.object_versions.entry(name).or_insert(versions);
        }
        Ok(found)
    }

    /// A versioned object as Nova serialises it.
    pub(crate) fn object(&self, name: &str, data: Value, changes: &[&str]) -> Value {
        let version = self.sent.get(name).expect("objects that are sent have their version in the release's data");
        object(name, version, data, changes)
    }

    /// The `object_versions` argument of a call on `name`.
    pub(crate) fn versions_of(&self, name: &str) -> Value {
        let raw = self.object_versions.get(name).expect("objects that are asked for are in the release's data");
        serde_json::from_str(raw.get()).expect("it was parsed as JSON once")
    }
}

/// `nova_object.*` around an object's data; objects without changes have no list of them.
pub(crate) fn object(name: &str, version: &str, data: Value, changes: &[&str]) -> Value {
    let mut object = serde_json::json!({
        "nova_object.name": name,
        "nova_object.namespace": "nova",
        "nova_object.version": version,
        "nova_object.data": data,
    });
    if !changes.is_empty() {
        object["nova_object.changes"] = changes.into();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::TOPICS;

    #[test]
    fn every_release_that_ships_can_be_read() {
        for (name, ..) in RELEASES {
            let release = Release::load(name).expect("it ships");
            assert_eq!(release.release, *name);
            assert!(release.service_version > 0);
            assert!(release.rpc_topics.iter().all(|topic| TOPICS.contains(topic)), "{:?}", release.rpc_topics);
        }
    }

    #[test]
    fn an_unknown_release_says_which_are_known() {
        let error = Release::load("1999.1").expect_err("there was none");
        assert!(error.to_string().contains("2026.2, 2024.2"), "{error}");
    }
}
