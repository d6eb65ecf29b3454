//! What the tests of a fleet are made with.

use std::time::Duration;

use hypervisor::{ComputeOptions, Driver, Resources, Services, Times};
use scenarios::plan::{ConnectionMode, FleetPlan, Start};

use super::FleetSpec;
use crate::{BrokerAddress, BrokerNode, Secret, ServiceApis};

/// Two hypervisors that start at once.
pub(crate) fn spec() -> FleetSpec {
    let secret = || Secret::new("secret");
    let url = || "http://nowhere".to_owned();
    FleetSpec {
        plan: FleetPlan {
            hypervisors: 2,
            connections: ConnectionMode::Single,
            start: Start::AtOnce,
            l2_agent: false,
            resources: Resources::fake_driver(),
            times: Times::ZERO,
            register_within: Duration::from_secs(1),
            servers: 0,
            real: 0,
            processes: Some(2),
        },
        options: ComputeOptions::default(),
        release: "2026.2".to_owned(),
        seed: 1,
        host_prefix: "km".to_owned(),
        first_host_prefix: None,
        first_host: 1,
        broker: BrokerAddress {
            nodes: vec![BrokerNode::local(1)],
            user: "nova".to_owned(),
            password: secret(),
            vhost: "/".to_owned(),
        },
        apis: ServiceApis {
            identity_url: url(),
            placement_url: url(),
            image_url: url(),
            network_url: url(),
            user: "nova".to_owned(),
            password: secret(),
            project: "service".to_owned(),
            domain: "Default".to_owned(),
        },
        driver: Driver::Plugging,
        services: Services::ComputeOnly,
        processes: None,
    }
}
