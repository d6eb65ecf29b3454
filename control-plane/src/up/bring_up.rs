//! The steps of `up`, in order.

use std::collections::BTreeMap;

use super::processes::Processes;
use crate::{
    Cloud, Database, StateDir, UpError,
    cloud::CLOUD_FILE,
    config::{self, Config, DATABASE_ADMIN, DATABASE_SOCKET, LOCALHOST, REGION, Settings},
    database, identity,
    identity::Session,
    install,
    process::{load, reload_nginx},
    progress::Steps,
    service::{self, Service, order},
};

/// Installs the system packages that are missing.
pub(crate) async fn packages(state: &StateDir, steps: &Steps<'_>) -> Result<(), UpError> {
    let missing = install::missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    steps.run("install system packages", install::install_packages(state, &missing)).await
}

/// File of the state folder with the number of nodes that its broker was made with.
pub(crate) const BROKERS_FILE: &str = "brokers.json";

/// One call of `up`.
pub(crate) struct BringUp<'a> {
    settings: &'a Settings<'a>,
    steps: &'a Steps<'a>,
    config: Config,
    services: Vec<Service>,
    session: Session,
    pub(crate) processes: Processes<'a>,
}

impl<'a> BringUp<'a> {
    pub(crate) fn new(settings: &'a Settings<'a>, steps: &'a Steps<'a>) -> Result<Self, UpError> {
        let config = config::build(settings)?;
        let services = service::all(settings, &config);
        let session = Session::new(settings);
        Ok(Self { settings, steps, config, services, session, processes: Processes::new(settings) })
    }

    pub(crate) async fn run(&self) -> Result<Cloud, UpError> {
        database::discard_unfinished(self.settings).await?;
        self.processes.stop_unwanted(&self.may_run_on()).await?;
        config::write(self.settings, &self.config)?;
        tokio::select! {
            result = self.all_steps() => result?,
            error = self.processes.watch() => return Err(error),
        }
        let cloud = self.cloud().await?;
        self.settings.state.write_json(CLOUD_FILE, &cloud)?;
        config::write_clients(self.settings.state, &cloud)?;
        Ok(cloud)
    }

    async fn all_steps(&self) -> Result<(), UpError> {
        let state = self.settings.state;
        tokio::try_join!(
            self.steps.run("install Python packages", install::install_venv(state, &self.settings.release)),
            self.steps.run("start MariaDB and memcached", self.start_stores()),
            self.steps.run("start RabbitMQ", self.start_broker()),
        )?;
        self.steps.run("prepare the databases", database::migrate(self.settings)).await?;
        let apis = self.chosen(|at| at == order::APIS || at == order::PROXY);
        let daemons = self.chosen(|at| at == order::DAEMONS);
        self.processes.start(&apis)?;
        // They load while the APIs do. But they log in while they start, so they have to wait for users, and for new hashes of their
        // passwords, with which the tokens from before end.
        let (first_time, hashed) = (!identity::is_set_up(self.settings), identity::is_hashed(self.settings));
        let wait = first_time || !hashed;
        if !wait {
            self.processes.start(&daemons)?;
        }
        self.steps.run("start the APIs", self.processes.wait_ready(&apis, &self.session)).await?;
        self.steps.run("users and endpoints", identity::set_up(self.settings, &self.session)).await?;
        if first_time {
            identity::note_hashing(self.settings)?;
        } else if !hashed {
            let hash = identity::hash_passwords(self.settings, &self.session);
            self.steps.run("hash passwords anew, as Keystone is to now", hash).await?;
        }
        if wait {
            self.processes.start(&daemons)?;
        }
        self.steps.run("start the daemons", self.processes.wait_ready(&daemons, &self.session)).await?;
        self.part_connections().await
    }

    /// Those that are left alone if they run as wanted. When passwords are hashed anew the tokens of all services end, and of the
    /// threads of one that learn this at the same moment only one gets another: the requests of the others fail (`invalidate` of
    /// keystoneauth), which nova-scheduler takes for a lack of hosts. So none is left with a token.
    fn may_run_on(&self) -> Vec<&Service> {
        let tokens_last = identity::is_hashed(self.settings);
        self.chosen(|at| tokens_last || at < order::APIS)
    }

    /// nova-scheduler's workers are forked with the connections to Placement and Keystone that their master has opened, and until
    /// these are closed two that ask at the same moment get each other's answers: boots fail with `KeyError: 'allocations'`. A
    /// reload closes connections that are idle, and each opens its own.
    async fn part_connections(&self) -> Result<(), UpError> {
        match self.processes.has_started("nova-scheduler") {
            true => reload_nginx(self.settings.state).await,
            false => Ok(()),
        }
    }

    async fn start_stores(&self) -> Result<(), UpError> {
        database::make_data_folder(self.settings).await?;
        self.start(|at| at == order::STORES).await
    }

    async fn start_broker(&self) -> Result<(), UpError> {
        // The broker would start a port mapper of its own if it found none.
        self.start(|at| at == order::EPMD).await?;
        self.settings.state.write_json(BROKERS_FILE, &self.settings.brokers())?;
        self.start(|at| at == order::BROKER).await
    }

    async fn start(&self, which: impl Fn(u32) -> bool) -> Result<(), UpError> {
        let chosen = self.chosen(which);
        self.processes.start(&chosen)?;
        self.processes.wait_ready(&chosen, &self.session).await
    }

    fn chosen(&self, which: impl Fn(u32) -> bool) -> Vec<&Service> {
        self.services.iter().filter(|service| which(service.launch.order)).collect()
    }

    async fn cloud(&self) -> Result<Cloud, UpError> {
        let settings = self.settings;
        let ports = settings.ports;
        let records = load(settings.state)?.into_iter().filter(|record| record.order != order::REAL_COMPUTE);
        let release = settings.release.packages().map(|(name, version)| (name.to_owned(), version.to_owned()));
        let mut packages: BTreeMap<String, String> = release.collect();
        packages.extend(install::system_versions().await);
        Ok(Cloud {
            spec: settings.spec.clone(),
            identity_url: settings.identity_url(),
            placement_url: settings.url("placement"),
            image_url: settings.url("glance"),
            network_url: settings.url("neutron"),
            compute_url: format!("{}/v2.1", settings.url("nova")),
            region: REGION.to_owned(),
            admin: identity::admin(settings),
            nova_service: identity::nova_service(settings),
            amqp: settings.amqp(),
            management_url: format!("http://{LOCALHOST}:{}", ports.broker(0).management),
            broker_metrics_urls: settings.broker_metrics_urls(),
            database: Database {
                socket: settings.state.join(DATABASE_SOCKET),
                port: ports.mariadb(),
                user: DATABASE_ADMIN.to_owned(),
                password: settings.secrets.get("database-kagemusha").clone(),
            },
            memcached: format!("{LOCALHOST}:{}", ports.memcached()),
            venv: settings.state.venv(),
            processes: records.map(|record| record.process).collect(),
            deviations_from_defaults: self.config.deviations.clone(),
            packages,
        })
    }
}
