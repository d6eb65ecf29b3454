//! What all configuration is made from.

use std::{collections::BTreeMap, path::Path};

use super::Ini;
use fake_hv::BrokerNode;

use crate::{Amqp, CloudSpec, Secret, StateDir, UpError, install::Release, ports::Ports, process::RunAs, secret};

/// The address of everything.
pub(crate) const LOCALHOST: &str = "127.0.0.1";
/// User of the services at the broker, and the virtual host.
pub(crate) const BROKER_USER: &str = "openstack";
pub(crate) const BROKER_VHOST: &str = "openstack";
/// The database user with all rights.
pub(crate) const DATABASE_ADMIN: &str = "kagemusha";
/// Region of all endpoints.
pub(crate) const REGION: &str = "RegionOne";

/// What all configuration is made from.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) state: &'a StateDir,
    /// Resolved: every API has its processes and threads.
    pub(crate) spec: &'a CloudSpec,
    pub(crate) release: Release,
    pub(crate) ports: Ports,
    pub(crate) secrets: Secrets,
    /// Whom the servers that should not be root run as; `None`: the user who runs the harness.
    pub(crate) mariadb_user: Option<RunAs>,
    pub(crate) rabbitmq_user: Option<RunAs>,
}

impl Settings<'_> {
    /// How many nodes the broker has.
    pub(crate) fn brokers(&self) -> u32 {
        self.spec.brokers.unwrap_or(1)
    }

    /// RabbitMQ's Prometheus pages, one for each node.
    pub(crate) fn broker_metrics_urls(&self) -> Vec<String> {
        let url = |number| format!("http://{LOCALHOST}:{}/metrics", self.ports.broker(number).metrics);
        (0..self.brokers()).map(url).collect()
    }

    /// The broker as services reach it.
    pub(crate) fn amqp(&self) -> Amqp {
        Amqp {
            nodes: (0..self.brokers()).map(|number| BrokerNode::local(self.ports.broker(number).amqp)).collect(),
            user: BROKER_USER.to_owned(),
            password: self.secrets.get("broker").clone(),
            vhost: BROKER_VHOST.to_owned(),
        }
    }

    /// Base URL of an API behind nginx, without version.
    pub(crate) fn url(&self, service: &str) -> String {
        format!("http://{LOCALHOST}:{}", self.ports.api(service))
    }

    /// Where Keystone authenticates.
    pub(crate) fn identity_url(&self) -> String {
        format!("{}/v3", self.url("keystone"))
    }

    /// SQLAlchemy's URL of a database; each service has a user of its own.
    pub(crate) fn database_url(&self, service: &str, database: &str) -> String {
        let password = self.secrets.get(&format!("database-{service}"));
        let port = self.ports.mariadb();
        format!("mysql+pymysql://{service}:{}@{LOCALHOST}:{port}/{database}?charset=utf8mb4", password.reveal())
    }

    /// A path of the state folder, as text for a configuration file.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> String {
        self.state.join(relative).display().to_string()
    }

    /// How a service logs in to Keystone, in the section that is for it.
    pub(crate) fn own_login(&self, ini: &mut Ini, section: &str, user: &str) {
        let url = self.identity_url();
        let password = self.secrets.get(&format!("user-{user}"));
        ini.own(
            section,
            &[
                ("auth_type", "password"),
                ("auth_url", &url),
                ("username", user),
                ("password", password.reveal()),
                ("project_name", "service"),
                ("user_domain_name", "Default"),
                ("project_domain_name", "Default"),
                ("region_name", REGION),
            ],
        );
    }

    /// How a service checks the tokens of its callers.
    pub(crate) fn own_token_check(&self, ini: &mut Ini, user: &str) {
        const SECTION: &str = "keystone_authtoken";
        self.own_login(ini, SECTION, user);
        let memcached = format!("{LOCALHOST}:{}", self.ports.memcached());
        ini.own(SECTION, &[("www_authenticate_uri", &self.identity_url()), ("memcached_servers", &memcached)]);
        ini.deviate(SECTION, "service_token_roles_required", "True", "as every installation guide asks for");
    }
}

/// The generated passwords of a cloud by name.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Everything that has a password.
    const NAMES: [&str; 14] = [
        "broker",
        "erlang-cookie",
        "keystone-admin",
        "database-root",
        "database-kagemusha",
        "database-keystone",
        "database-placement",
        "database-glance",
        "database-neutron",
        "database-nova",
        "user-placement",
        "user-glance",
        "user-neutron",
        "user-nova",
    ];

    /// The passwords of this state folder; those that are not there yet are generated and written first.
    pub(crate) fn of(state: &StateDir) -> Result<Self, UpError> {
        const FILE: &str = "secrets.json";
        let mut secrets: BTreeMap<String, Secret> = state.read_json(FILE)?.unwrap_or_default();
        let before = secrets.len();
        for name in Self::NAMES {
            secrets.entry(name.to_owned()).or_insert_with(secret::generate);
        }
        if secrets.len() > before {
            state.write_json(FILE, &secrets)?;
        }
        Ok(Self(secrets))
    }

    pub(crate) fn get(&self, name: &str) -> &Secret {
        self.0.get(name).expect("only names of NAMES are asked for")
    }
}
