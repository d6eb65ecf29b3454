//! From a plan to the machines and processes of the model.

use std::time::Duration;

use hypervisor::{Config, Driver, Habits, Services, Time};
use recording::Recorder;
use scenarios::{Plan, options::compute_options, plan::DeploymentPlan, seed};

use super::{
    Broker, Catalogue, Clients, Convoy, Costs, Counters, Database, Event, Facts, Fleet, Links, Log, Machine, Notices,
    Process, Service, ServiceId, Settings, Tasks, Tokens, Turns, World, glance, http, keystone,
    machine::MachineId,
    neutron, placement,
    pool::{Pool, PoolOptions},
    run::{Stage, Terms},
    task::{ProcessId, Schema},
};
use crate::{calibration::Calibration, dice::Shape, engine::Calendar, sense::sizes};

/// There and back over the loopback.
const LOCAL_TRIP: Duration = Duration::from_micros(40);
/// Connections to the broker that services not bound by an option send on.
const SENDERS: u64 = 30;

/// Processes that recordings tell as one: a service's on one machine.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) processes: Vec<ProcessId>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Groups(pub(crate) Vec<Group>);

/// Machines and processes as they are being put up.
pub(crate) struct Deployment<'a> {
    plan: &'a DeploymentPlan,
    settings: &'a Settings,
    machines: Vec<Machine>,
    processes: Vec<Process>,
    services: Vec<Service>,
    groups: Groups,
    database: MachineId,
    brokers: Vec<MachineId>,
}

impl<'a> Deployment<'a> {
    fn new(plan: &'a DeploymentPlan, settings: &'a Settings) -> Self {
        let controllers = plan.controllers.max(1);
        let skew_ns = i64::try_from(plan.clock_skew.as_nanos()).unwrap_or(i64::MAX);
        // The first controller has the right time, the last is ahead by all of the skew.
        let ahead = |index: u32| skew_ns / i64::from(controllers.max(2) - 1) * i64::from(index);
        let name = |index: u32| format!("controller-{}", index + 1);
        let mut machines: Vec<Machine> =
            (0..controllers).map(|index| Machine::new(name(index), plan.controller_cores, ahead(index))).collect();
        let database = match plan.database_cores {
            0 => 0,
            cores => add(&mut machines, Machine::of_one_server("database".to_owned(), cores)),
        };
        let brokers = match plan.brokers {
            0 => vec![0],
            several => (0..several)
                .map(|index| {
                    add(&mut machines, Machine::of_one_server(format!("broker-{}", index + 1), plan.broker_cores))
                })
                .collect(),
        };
        let (processes, services, groups) = (Vec::new(), Vec::new(), Groups::default());
        Self { plan, settings, machines, processes, services, groups, database, brokers }
    }

    /// A service with so many processes on each controller. Services come in the order of `ServiceId`.
    fn service(&mut self, id: ServiceId, name: &str, processes: u32, threads: u32, pools: [Option<PoolOptions>; 2]) {
        debug_assert_eq!(self.services.len(), id as usize);
        let senders = if id == ServiceId::Conductor { u64::from(self.settings.rpc_senders) } else { SENDERS };
        let controllers = self.plan.controllers.max(1);
        let mut all = Vec::new();
        for controller in 0..controllers {
            let mut here = Vec::new();
            for _ in 0..processes.max(1) {
                let machine = MachineId::try_from(controller).expect("a plan has fewer controllers");
                let mut process = Process::new(machine, threads.max(1), senders, id);
                process.pools = pools.map(|options| options.map(Pool::new));
                self.processes.push(process);
                here.push(ProcessId::try_from(self.processes.len() - 1).expect("a plan has fewer processes"));
            }
            let name = if controllers == 1 { name.to_owned() } else { format!("{name}@controller-{}", controller + 1) };
            self.groups.0.push(Group { name, processes: here.clone() });
            all.push(here);
        }
        // Turns go round the controllers.
        let longest = all.first().map_or(0, Vec::len);
        let order = (0..longest).flat_map(|index| all.iter().map(move |here| here[index])).collect();
        self.services.push(Service { processes: Turns { all: order, next: 0 } });
    }

    fn services(&mut self, plan: &Plan) {
        let settings = self.settings;
        let pool = |service: &str| settings.pools.get(service).copied();
        let nova = [pool("nova"), Some(settings.api_pool)];
        let of = |service: &str| [pool(service), None];
        let services = [
            (ServiceId::Keystone, of(keystone::SERVICE)),
            (ServiceId::Placement, of(placement::SERVICE)),
            (ServiceId::Glance, of(glance::SERVICE)),
            (ServiceId::Neutron, of(neutron::SERVICE)),
            (ServiceId::NovaApi, nova),
            (ServiceId::Conductor, nova),
            (ServiceId::Scheduler, nova),
            (ServiceId::NeutronRpc, of(neutron::SERVICE)),
            (ServiceId::NeutronReports, of(neutron::SERVICE)),
        ];
        for ((id, pools), size) in services.into_iter().zip(sizes(plan, settings)) {
            self.service(id, size.name, size.processes, size.threads, pools);
        }
    }
}

fn add(machines: &mut Vec<Machine>, machine: Machine) -> MachineId {
    machines.push(machine);
    MachineId::try_from(machines.len() - 1).expect("a plan has fewer machines")
}

impl World {
    /// The world of a plan before anything has happened.
    pub(crate) fn new(plan: &Plan, calibration: &Calibration, settings: Settings, recorder: Option<Recorder>) -> Self {
        let mut deployment = Deployment::new(&plan.deployment, &settings);
        deployment.services(plan);
        let Deployment { machines, processes, services, groups, database, brokers, .. } = deployment;
        let ops = Catalogue::new(calibration, settings.password_hash_rounds);
        let log = Log::new(recorder, &ops.recipes);
        let hosts = plan.fleet.hypervisors;
        let options = compute_options(&plan.release, &plan.tuning);
        let mut links = Links::new(&plan.fleet, options.rabbit.clone(), seed::generator(plan.seed, "links"));
        links.missing_consumer_timeout = settings.missing_consumer_timeout;
        let config = Config {
            options,
            resources: plan.fleet.resources.clone(),
            times: plan.fleet.times.clone(),
            driver: Driver::default(),
            services: if plan.fleet.l2_agent { Services::All } else { Services::ComputeOnly },
            habits: Habits::default(),
        };
        let mut world = Self {
            now: Time::ZERO,
            calendar: Calendar::default(),
            http_load: vec![0; processes.len()],
            machines,
            processes,
            services,
            groups,
            tasks: Tasks::default(),
            ops,
            broker: Broker::new(brokers),
            links,
            incidents: plan.incidents.clone(),
            database: Database::new(database, plan.deployment.database_connections.into()),
            facts: Facts::new(&plan.fleet, plan.tenants.projects),
            tokens: Tokens::new(hosts, plan.tenants.users, settings.token_expiration),
            notices: Notices::default(),
            monitors: Vec::new(),
            free_monitors: Vec::new(),
            fleet: Fleet::new(config, plan.seed),
            clients: Clients::new(plan),
            convoy: Convoy::new(&calibration.interpreter),
            costs: costs(&plan.deployment, calibration),
            shape: Shape::log_normal(calibration.shape.p99_over_median),
            dice: seed::generator(plan.seed, "model"),
            counters: Counters::default(),
            stage: Stage::new(Terms::of(plan)),
            settings,
            log,
        };
        world.place_servers(plan);
        world
    }

    /// Servers that run already, spread evenly over hosts and projects.
    fn place_servers(&mut self, plan: &Plan) {
        if plan.fleet.hypervisors == 0 {
            return;
        }
        for server in 0..plan.fleet.servers {
            self.facts.place_server(server % plan.tenants.projects.max(1), server % plan.fleet.hypervisors);
            self.clients.has(server);
        }
    }

    /// The next hypervisor of the fleet starts, at the plan's pace.
    pub(crate) fn next_host_starts(&mut self) {
        if self.stage.all_started(self.fleet.started) {
            // Two that got through at the same moment both made room for the last one.
            return;
        }
        self.start_host();
        if let Some(at) = self.stage.next_host(self.fleet.started) {
            self.calendar.enter(at, Event::HostStarts);
        }
    }
}

fn costs(plan: &DeploymentPlan, calibration: &Calibration) -> Costs {
    let ns = |ms: f64| ms * 1e6;
    Costs {
        link: plan.link,
        trip: plan.link * 2,
        local_trip: LOCAL_TRIP.min(plan.link * 2),
        proxy: http::proxy_time(calibration.front.proxy_ms),
        publish_ns: ns(calibration.broker.publish_ms),
        deliver_ns: ns(calibration.broker.deliver_ms),
        broker_connect_ns: ns(calibration.broker.connect_ms),
        declare_ns: ns(calibration.broker.declare_ms),
        heartbeat_ns: ns(calibration.broker.heartbeat_ms),
        connect_ns: ns(calibration.database.connect_ms),
        connect_client_ns: ns(calibration.database.connect_client_ms),
        commit_wait_ns: ns(calibration.database.commit_wait_ms),
    }
}

/// Databases that a service has a pool for are numbered.
const _: () = assert!(Schema::Main as usize == 0 && Schema::Api as usize == 1);
