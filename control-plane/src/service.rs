//! Which processes make up a cloud, and how to tell that each is ready.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    WSGI_SERVICES,
    config::{Config, Settings, erlang_node, fingerprint, rabbitmq_conf, rabbitmq_name},
    install::{EPMD, MARIADBD, MEMCACHED, NGINX, RABBITMQ_SERVER},
    ports::BrokerPorts,
    process::{Launch, RunAs},
};

/// A process of the cloud.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) launch: Launch,
    pub(crate) ready: Ready,
}

/// How to tell that a process does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ready {
    /// Something accepts connections.
    Tcp(u16),
    /// The server greets as MariaDB does.
    MariaDb(u16),
    /// The server answers an AMQP 0-9-1 header with `connection.start`.
    Amqp(u16),
    /// The server tells its version.
    Memcached(u16),
    /// `GET /` of each port answers 200 or 300.
    Http(Vec<u16>),
    /// The broker knows a consumer of this queue.
    Consumer(&'static str),
    /// Nova's own service list shows this binary up, and it consumes from its queue.
    NovaService { binary: &'static str, queue: &'static str },
    /// It has not ended.
    Running,
}

/// Place in the order of starts. Those of one place start together, and stop together.
pub(crate) mod order {
    pub(crate) const STORES: u32 = 10;
    pub(crate) const EPMD: u32 = 20;
    pub(crate) const BROKER: u32 = 21;
    pub(crate) const APIS: u32 = 30;
    pub(crate) const PROXY: u32 = 40;
    pub(crate) const DAEMONS: u32 = 50;
    pub(crate) const REAL_COMPUTE: u32 = 60;
}

/// All processes of a cloud, in the order in which they start.
pub(crate) fn all(settings: &Settings<'_>, config: &Config) -> Vec<Service> {
    let mut services = vec![mariadb(settings), memcached(settings), epmd(settings)];
    services.extend((0..settings.brokers()).map(|number| rabbitmq(settings, number)));
    for service in WSGI_SERVICES {
        services.extend((0..settings.spec.wsgi[service].processes).map(|index| wsgi(settings, service, index)));
    }
    services.push(nginx(settings));
    services.extend(daemons(settings));
    for service in &mut services {
        service.launch.fingerprint = describe(&service.launch, config);
    }
    services
}

/// Differs when the process would run another command or read other files.
fn describe(launch: &Launch, config: &Config) -> String {
    let mut text = format!("{:?} {:?} {:?} {:?}", launch.program, launch.args, launch.env, launch.run_as);
    for (path, content) in config.files.get(launch.service).into_iter().flatten() {
        text.push_str(&format!("\n{}\n{content}", path.display()));
    }
    fingerprint(&[text.as_bytes()])
}

/// How long a process may take to end unless it is known to need longer.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// A database or a broker that writes its data to disk.
const STOP_STORE_WITHIN: Duration = Duration::from_secs(60);

fn launch(name: &str, service: &'static str, program: impl Into<PathBuf>, args: &[&str], order: u32) -> Launch {
    Launch {
        name: name.to_owned(),
        service,
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        env: BTreeMap::new(),
        run_as: None,
        port: None,
        order,
        fingerprint: String::new(),
        stop_within: STOP_WITHIN,
    }
}

fn mariadb(settings: &Settings<'_>) -> Service {
    let defaults = format!("--defaults-file={}", settings.path("etc/mariadb/my.cnf"));
    let mut launch = launch("mariadb", "mariadb", MARIADBD, &[&defaults], order::STORES);
    // mariadbd refuses to be root unless told that it shall.
    if settings.mariadb_user.is_none() && rustix::process::geteuid().is_root() {
        launch.args.push("--user=root".into());
    }
    run_as(&mut launch, settings.mariadb_user);
    launch.port = Some(settings.ports.mariadb());
    launch.stop_within = STOP_STORE_WITHIN;
    Service { launch, ready: Ready::MariaDb(settings.ports.mariadb()) }
}

fn run_as(launch: &mut Launch, user: Option<RunAs>) {
    launch.run_as = user;
}

fn memcached(settings: &Settings<'_>) -> Service {
    let port = settings.ports.memcached();
    let text = port.to_string();
    // -U 0: no UDP. memcached refuses to be root unless told that it shall.
    let mut args = vec!["-l", "127.0.0.1", "-p", &text, "-U", "0", "-m", "64", "-c", "4096"];
    if rustix::process::geteuid().is_root() {
        args.extend(["-u", "root"]);
    }
    let mut launch = launch("memcached", "memcached", MEMCACHED, &args, order::STORES);
    launch.port = Some(port);
    Service { launch, ready: Ready::Memcached(port) }
}

fn epmd(settings: &Settings<'_>) -> Service {
    let port = settings.ports.epmd();
    let args = ["-port", &port.to_string(), "-address", "127.0.0.1"];
    let mut launch = launch("epmd", "rabbitmq", EPMD, &args, order::EPMD);
    run_as(&mut launch, settings.rabbitmq_user);
    launch.port = Some(port);
    Service { launch, ready: Ready::Tcp(port) }
}

fn rabbitmq(settings: &Settings<'_>, number: u32) -> Service {
    let BrokerPorts { amqp: port, erlang, .. } = settings.ports.broker(number);
    let mut launch = launch(&rabbitmq_name(number), "rabbitmq", RABBITMQ_SERVER, &[], order::BROKER);
    let path = |relative: &str| OsString::from(settings.path(relative));
    launch.env = BTreeMap::from([
        ("HOME", path("data/rabbitmq")),
        ("ERL_EPMD_PORT", settings.ports.epmd().to_string().into()),
        ("RABBITMQ_NODENAME", erlang_node(settings, number).into()),
        ("RABBITMQ_NODE_PORT", port.to_string().into()),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".into()),
        ("RABBITMQ_DIST_PORT", erlang.to_string().into()),
        ("RABBITMQ_CONF_ENV_FILE", path("etc/rabbitmq/rabbitmq-env.conf")),
        ("RABBITMQ_CONFIG_FILE", path(&rabbitmq_conf(number))),
        ("RABBITMQ_ADVANCED_CONFIG_FILE", path("etc/rabbitmq/advanced.config")),
        ("RABBITMQ_ENABLED_PLUGINS_FILE", path("etc/rabbitmq/enabled_plugins")),
        ("RABBITMQ_BASE", path("data/rabbitmq")),
        ("RABBITMQ_MNESIA_BASE", path("data/rabbitmq/mnesia")),
        ("RABBITMQ_LOG_BASE", path("data/rabbitmq/log")),
        ("RABBITMQ_GENERATED_CONFIG_DIR", path("data/rabbitmq/config")),
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".into()),
    ]);
    run_as(&mut launch, settings.rabbitmq_user);
    launch.port = Some(port);
    launch.stop_within = STOP_STORE_WITHIN;
    Service { launch, ready: Ready::Amqp(port) }
}

fn nginx(settings: &Settings<'_>) -> Service {
    let (conf, prefix) = (settings.path("etc/nginx/nginx.conf"), settings.path("run/nginx"));
    // -e: where errors go before the configuration is read.
    let args = ["-c", &conf, "-p", &prefix, "-e", "stderr"];
    let mut launch = launch("nginx", "nginx", NGINX, &args, order::PROXY);
    launch.port = Some(settings.ports.api("keystone"));
    let ports = WSGI_SERVICES.iter().map(|service| settings.ports.api(service)).collect();
    Service { launch, ready: Ready::Http(ports) }
}

/// One uWSGI server with one worker: a master that starts the worker again, threads as asked for.
fn wsgi(settings: &Settings<'_>, service: &'static str, index: u32) -> Service {
    let port = settings.ports.wsgi(service, index);
    let name = format!("{service}-api-{}", index + 1);
    let (socket, venv) = (format!("127.0.0.1:{port}"), settings.path("venv"));
    let (threads, prefix) = (settings.spec.wsgi[service].threads.to_string(), format!("{name} "));
    let args = [
        ["--http-socket", &socket],
        ["--module", settings.release.application(service)],
        ["--virtualenv", &venv],
        ["--processes", "1"],
        ["--threads", &threads],
        ["--listen", "1024"],
        ["--buffer-size", "65535"],
        ["--add-header", "Connection: close"],
        ["--procname-prefix", &prefix],
    ];
    let flags = ["--master", "--enable-threads", "--lazy-apps", "--need-app", "--die-on-term", "--no-orphans"];
    let quiet = ["--disable-logging", "--auto-procname"];
    let args: Vec<&str> = args.into_iter().flatten().chain(flags).chain(quiet).collect();
    let mut launch = launch(&name, service, settings.state.venv_bin("uwsgi"), &args, order::APIS);
    launch.env = wsgi_environment(settings, service);
    launch.port = Some(port);
    Service { launch, ready: Ready::Http(vec![port]) }
}

fn wsgi_environment(settings: &Settings<'_>, service: &str) -> BTreeMap<&'static str, OsString> {
    let folder = settings.state.etc(service).into_os_string();
    match service {
        "keystone" => {
            let file = settings.path("etc/keystone/keystone.conf").into();
            BTreeMap::from([("OS_KEYSTONE_CONFIG_DIR", folder), ("OS_KEYSTONE_CONFIG_FILES", file)])
        }
        "placement" => BTreeMap::from([("OS_PLACEMENT_CONFIG_DIR", folder)]),
        "glance" => BTreeMap::from([("OS_GLANCE_CONFIG_DIR", folder)]),
        "neutron" => BTreeMap::from([
            ("OS_NEUTRON_CONFIG_DIR", folder),
            ("OS_NEUTRON_CONFIG_FILES", "neutron.conf;ml2_conf.ini".into()),
        ]),
        _ => BTreeMap::from([("OS_NOVA_CONFIG_DIR", folder)]),
    }
}

fn daemons(settings: &Settings<'_>) -> Vec<Service> {
    let nova = [settings.path("etc/nova/nova.conf")];
    let neutron = [settings.path("etc/neutron/neutron.conf"), settings.path("etc/neutron/ml2_conf.ini")];
    let daemon = |name: &str, service, files: &[String], ready| {
        let args: Vec<&str> = files.iter().flat_map(|file| ["--config-file", file.as_str()]).collect();
        Service { launch: launch(name, service, settings.state.venv_bin(name), &args, order::DAEMONS), ready }
    };
    vec![
        daemon("neutron-rpc-server", "neutron", &neutron, Ready::Consumer("q-reports-plugin")),
        daemon("neutron-periodic-workers", "neutron", &neutron, Ready::Running),
        daemon("nova-conductor", "nova", &nova, Ready::NovaService { binary: "nova-conductor", queue: "conductor" }),
        daemon("nova-scheduler", "nova", &nova, Ready::NovaService { binary: "nova-scheduler", queue: "scheduler" }),
    ]
}

/// What the name of a real nova-compute's process begins with; the host's name follows.
pub(crate) const REAL_COMPUTE_PREFIX: &str = "nova-compute-";

/// An unmodified nova-compute with the fake driver; its configuration is at `conf`.
pub(crate) fn real_compute(settings: &Settings<'_>, host: &str, conf: &Path) -> Launch {
    let conf = conf.display().to_string();
    let name = format!("{REAL_COMPUTE_PREFIX}{host}");
    let program = settings.state.venv_bin("nova-compute");
    launch(&name, "nova-compute", program, &["--config-file", &conf], order::REAL_COMPUTE)
}
