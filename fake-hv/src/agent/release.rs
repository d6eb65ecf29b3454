//! What differs between releases of Neutron and is read from them by a program.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

/// What the Open vSwitch agent of a release says of itself, made by `releases/dump_agent.py` from the installed package.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentRelease {
    /// Topics to which Neutron pushes the resources that the agent keeps.
    #[serde(borrow)]
    pub(crate) resource_topics: Vec<&'static str>,
    /// Topics of notifications, and of the trunk driver.
    pub(crate) notification_topics: Vec<&'static str>,
    pub(crate) plugin_topic: &'static str,
    pub(crate) report_topic: &'static str,
    call_versions: BTreeMap<&'static str, &'static str>,
    /// What its request contexts have that those of other releases have not.
    pub(crate) context: BTreeMap<&'static str, serde_json::Value>,
    /// Of all resources, in Neutron's order: the first report has it.
    pub(crate) resource_versions: Box<RawValue>,
}

/// Name and data.
const RELEASES: &[(&str, &str)] = &[
    ("2026.2", include_str!("../../releases/2026.2/agent.json")),
    ("2024.2", include_str!("../../releases/2024.2/agent.json")),
];

impl AgentRelease {
    /// The data of a release that nova's data is there for, too: they are made together.
    pub(crate) fn load(release: &str) -> Self {
        let data = RELEASES.iter().find(|(name, _)| *name == release).expect("every release has the data of its agent");
        serde_json::from_str(data.1).expect("a test reads every release that ships")
    }

    /// The interface version that a call is made with.
    pub(crate) fn version_of(&self, method: &str) -> &'static str {
        self.call_versions.get(method).expect("calls that are made have their version in the release's data")
    }

    /// The version of a resource.
    pub(crate) fn resource_version(&self, resource: &str) -> &'static str {
        let version =
            |topic: &&'static str| topic.strip_prefix("neutron-vo-")?.strip_prefix(resource)?.strip_prefix('-');
        let found = self.resource_topics.iter().find_map(version);
        found.expect("resources that are asked for have a topic")
    }

    /// Topics of all RPC servers, in the order they start.
    pub(crate) fn topics(&self) -> Vec<&'static str> {
        self.resource_topics.iter().chain(&self.notification_topics).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_that_ships_can_be_read() {
        for (name, _) in RELEASES {
            let release = AgentRelease::load(name);
            assert_eq!(
                release.resource_version("SecurityGroupRule"),
                release.resource_topics[2].rsplit_once('-').expect("it ends in its version").1
            );
            assert_ne!(release.resource_version("SecurityGroup"), release.resource_version("SecurityGroupRule"));
            assert!(!release.version_of("bulk_pull").is_empty());
        }
    }
}
