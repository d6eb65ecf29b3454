//! The processes of one call of `up`: kept, started, waited for, watched, and stopped again when it fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Child,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    UpError,
    config::{Settings, rabbitmq_name},
    identity::Session,
    ports,
    process::{Record, forget, launch, load, stop_recorded},
    ready,
    service::{Service, order},
};

/// How long a process may take until it is ready. The slowest, on a busy machine of two cores, took 30 s.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// How often a process that is not ready yet is asked again.
const ASK_EVERY: Duration = Duration::from_millis(150);

pub(crate) struct Processes<'a> {
    settings: &'a Settings<'a>,
    /// Children of this very process, so that their exit status can be told.
    children: Mutex<BTreeMap<String, Child>>,
    started: Mutex<Vec<Record>>,
}

impl<'a> Processes<'a> {
    pub(crate) fn new(settings: &'a Settings<'a>) -> Self {
        Self { settings, children: Mutex::default(), started: Mutex::default() }
    }

    /// Stops what runs and is no longer wanted, or is wanted in another form, and forgets what is dead.
    pub(crate) async fn stop_unwanted(&self, wanted: &[&Service]) -> Result<(), UpError> {
        let form: BTreeMap<&str, &str> =
            wanted.iter().map(|s| (s.launch.name.as_str(), s.launch.fingerprint.as_str())).collect();
        let unwanted = |record: &Record| {
            let as_wanted = form.get(record.process.name.as_str()) == Some(&record.fingerprint.as_str());
            record.order != order::REAL_COMPUTE && !(as_wanted && record.is_alive())
        };
        let unwanted: Vec<Record> = load(self.settings.state)?.into_iter().filter(unwanted).collect();
        let orders: BTreeSet<u32> = unwanted.iter().map(|record| record.order).collect();
        for order in orders.into_iter().rev() {
            let together: Vec<Record> = unwanted.iter().filter(|record| record.order == order).cloned().collect();
            stop_recorded(self.settings.state, &together).await?;
        }
        Ok(())
    }

    /// Starts those that do not run yet.
    pub(crate) fn start(&self, services: &[&Service]) -> Result<(), UpError> {
        let running: BTreeSet<String> =
            load(self.settings.state)?.into_iter().filter(Record::is_alive).map(|record| record.process.name).collect();
        for service in services.iter().filter(|service| !running.contains(&service.launch.name)) {
            for (port, purpose) in self.listens(service) {
                if !ports::is_free(port) {
                    return Err(UpError::PortInUse { state: self.settings.state.clone(), port, purpose });
                }
            }
            let (record, child) = launch(self.settings.state, &service.launch)?;
            let name = record.process.name.clone();
            self.started.lock().expect("no holder of this lock panics").push(record);
            self.children.lock().expect("no holder of this lock panics").insert(name, child);
        }
        Ok(())
    }

    /// Whether this was started here, and did not run before.
    pub(crate) fn has_started(&self, name: &str) -> bool {
        let started = self.started.lock().expect("no holder of this lock panics");
        started.iter().any(|record| record.process.name == name)
    }

    /// All ports where a process will listen.
    fn listens(&self, service: &Service) -> Vec<(u16, String)> {
        let ports = self.settings.ports;
        let name = service.launch.name.clone();
        let broker = (0..self.settings.brokers()).find(|number| rabbitmq_name(*number) == name);
        match (name.as_str(), broker.map(|number| ports.broker(number))) {
            ("nginx", _) => crate::WSGI_SERVICES.iter().map(|s| (ports.api(s), format!("the API of {s}"))).collect(),
            (_, Some(ports)) => vec![
                (ports.amqp, name),
                (ports.management, "RabbitMQ's management".to_owned()),
                (ports.metrics, "RabbitMQ's metrics".to_owned()),
                (ports.erlang, "RabbitMQ's Erlang node".to_owned()),
            ],
            _ => service.launch.port.map(|port| (port, name)).into_iter().collect(),
        }
    }

    /// Waits until each is ready; one that ends instead is an error at once.
    pub(crate) async fn wait_ready(&self, services: &[&Service], session: &Session) -> Result<(), UpError> {
        for service in services {
            self.wait_one(service, session).await?;
        }
        Ok(())
    }

    async fn wait_one(&self, service: &Service, session: &Session) -> Result<(), UpError> {
        let name = &service.launch.name;
        let started = Instant::now();
        loop {
            self.check_alive(name)?;
            let Err(why) = ready::check(&service.ready, self.settings, session).await else { return Ok(()) };
            if started.elapsed() > READY_WITHIN {
                let reason = format!("not ready within {} s ({why})", READY_WITHIN.as_secs());
                return Err(self.failed(name, &reason));
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// An error when a process that was started or found running is dead.
    fn check_alive(&self, name: &str) -> Result<(), UpError> {
        let records = load(self.settings.state)?;
        if records.iter().any(|record| record.process.name == name && record.is_alive()) {
            return Ok(());
        }
        let mut children = self.children.lock().expect("no holder of this lock panics");
        let status = children.get_mut(name).and_then(|child| child.try_wait().ok().flatten());
        let reason = status.map_or("it ended".to_owned(), |status| format!("it ended with {status}"));
        Err(self.failed(name, &reason))
    }

    fn failed(&self, name: &str, reason: &str) -> UpError {
        UpError::step(format!("start {name}"), reason, Some(&self.settings.state.log(name)))
    }

    /// Ends, with the error, as soon as a process of the cloud does.
    pub(crate) async fn watch(&self) -> UpError {
        loop {
            let names: Vec<String> = {
                let started = self.started.lock().expect("no holder of this lock panics");
                started.iter().map(|record| record.process.name.clone()).collect()
            };
            for name in names {
                if let Err(error) = self.check_alive(&name) {
                    return error;
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Names of what this call started.
    pub(crate) fn started(&self) -> Vec<String> {
        let started = self.started.lock().expect("no holder of this lock panics");
        started.iter().map(|record| record.process.name.clone()).collect()
    }

    /// Stops what this call started, latest first.
    pub(crate) async fn stop_started(&self) -> Result<(), UpError> {
        let started = self.started.lock().expect("no holder of this lock panics").clone();
        let orders: BTreeSet<u32> = started.iter().map(|record| record.order).collect();
        for order in orders.into_iter().rev() {
            let together: Vec<Record> = started.iter().filter(|record| record.order == order).cloned().collect();
            stop_recorded(self.settings.state, &together).await?;
            together.iter().try_for_each(|record| forget(self.settings.state, &record.process.name))?;
        }
        Ok(())
    }
}
