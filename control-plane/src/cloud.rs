//! A cloud that is up: where everything is, and how to log in.

use std::{collections::BTreeMap, path::PathBuf};

use fake_hv::BrokerNode;
use serde::{Deserialize, Serialize};

use crate::{CloudSpec, Secret, StateDir, UpError};

/// A cloud in a state folder, as `up` left it. Whether it still runs is for [`crate::status`] to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// What was asked for, with every API's processes and threads filled in.
    pub spec: CloudSpec,
    /// Keystone, with its version: `http://127.0.0.1:PORT/v3`.
    pub identity_url: String,
    /// Placement: `http://127.0.0.1:PORT`.
    pub placement_url: String,
    /// Glance: `http://127.0.0.1:PORT`.
    pub image_url: String,
    /// Neutron: `http://127.0.0.1:PORT` (its API begins with `/v2.0`).
    pub network_url: String,
    /// Nova, with its version: `http://127.0.0.1:PORT/v2.1`.
    pub compute_url: String,
    /// Region of all endpoints.
    pub region: String,
    /// The administrator of the cloud.
    pub admin: Credentials,
    /// The user that Nova's services (nova-compute too) log in as.
    pub nova_service: Credentials,
    /// The broker as the services reach it.
    pub amqp: Amqp,
    /// RabbitMQ's management API: `http://127.0.0.1:PORT`; user and password are those of [`Cloud::amqp`].
    pub management_url: String,
    /// RabbitMQ's Prometheus pages, one for each node: `http://127.0.0.1:PORT/metrics`.
    pub broker_metrics_urls: Vec<String>,
    /// The database server.
    pub database: Database,
    /// memcached, `127.0.0.1:PORT`.
    pub memcached: String,
    /// The Python environment of the release.
    pub venv: PathBuf,
    /// What was started, in that order.
    pub processes: Vec<ManagedProcess>,
    /// Where the configuration differs from the release's defaults for the sake of the harness and not of tuning:
    /// `service: section.name = value` to the reason.
    pub deviations_from_defaults: BTreeMap<String, String>,
    /// Versions of what runs: OpenStack's packages and the distribution's servers.
    pub packages: BTreeMap<String, String>,
}

/// How to log in to Keystone. Both domains are `Default`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Name of the user.
    pub user: String,
    /// Password of the user.
    pub password: Secret,
    /// Name of the project.
    pub project: String,
}

/// How to reach the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amqp {
    /// Its nodes: one, or those of a cluster.
    pub nodes: Vec<BrokerNode>,
    /// User of the services; an administrator of the broker too.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// Virtual host of all services.
    pub vhost: String,
}

impl Amqp {
    /// `rabbit://user:password@host:port/vhost`, as `transport_url` wants it, with all nodes. It holds the password.
    pub fn transport_url(&self) -> Secret {
        let (user, password) = (&self.user, self.password.reveal());
        let node = |BrokerNode { host, port }: &BrokerNode| format!("{user}:{password}@{host}:{port}");
        let nodes: Vec<String> = self.nodes.iter().map(node).collect();
        Secret::new(format!("rabbit://{}/{}", nodes.join(","), self.vhost))
    }
}

/// How to reach the database server with all rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Unix socket of the server.
    pub socket: PathBuf,
    /// TCP port on 127.0.0.1, which the services use.
    pub port: u16,
    /// A user with all rights, on the socket and on 127.0.0.1.
    pub user: String,
    /// Its password.
    pub password: Secret,
}

/// A process that the harness started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagedProcess {
    /// Unique name, such as `nova-conductor` or `keystone-api-2`.
    pub name: String,
    /// Service it belongs to: `keystone`, `placement`, `glance`, `neutron`, `nova`, `rabbitmq`, `mariadb`,
    /// `memcached`, `nginx`.
    pub service: String,
    /// Its process id, which is its process group too.
    pub pid: u32,
    /// When the kernel started it, in clock ticks since boot: tells it from a later process with the same id.
    pub start_ticks: u64,
    /// Port on 127.0.0.1 where it listens; `None`: it does not.
    pub port: Option<u16>,
    /// Where its output goes.
    pub log_path: PathBuf,
}

/// File of the state folder that holds the [`Cloud`].
pub(crate) const CLOUD_FILE: &str = "cloud.json";

impl Cloud {
    /// The cloud that `up` left in this state folder.
    ///
    /// # Errors
    /// [`UpError::NoCloud`] when none was brought up to the end, or its file is not of this version.
    pub fn open(state: &StateDir) -> Result<Self, UpError> {
        state.read_json(CLOUD_FILE)?.ok_or_else(|| UpError::NoCloud(state.clone()))
    }
}
