//! RabbitMQ, MariaDB and nginx.

use std::fmt::Write;

use super::{
    Config, Settings,
    settings::{BROKER_USER, BROKER_VHOST, DATABASE_ADMIN, LOCALHOST},
};
use crate::WSGI_SERVICES;
use scenarios::plan::OptionValue;

pub(super) fn all(settings: &Settings<'_>, config: &mut Config) {
    for number in 0..settings.brokers() {
        config.add("rabbitmq", rabbitmq_conf(number), rabbitmq(settings, number));
    }
    config.add("rabbitmq", "etc/rabbitmq/enabled_plugins", "[rabbitmq_management,rabbitmq_prometheus].\n".to_owned());
    config.add("rabbitmq", "etc/rabbitmq/rabbitmq-env.conf", "# Nothing of the system's own.\n".to_owned());
    config.add("rabbitmq", "data/rabbitmq/.erlang.cookie", settings.secrets.get("erlang-cookie").reveal().to_owned());
    config.add("mariadb", "etc/mariadb/my.cnf", mariadb(settings));
    config.add("mariadb", "etc/mariadb/init.sql", mariadb_init(settings));
    config.add("nginx", "etc/nginx/nginx.conf", nginx(settings));
    config.deviations.extend([
        (
            format!("mariadb: max_connections = {MAX_DATABASE_CONNECTIONS}"),
            "each worker may open 55 connections to each of its databases; 151 are not enough".to_owned(),
        ),
        (
            "mariadb: innodb_buffer_pool_size = 1G".to_owned(),
            "the schemas of thousands of hypervisors fit; 128 MiB is MariaDB's default".to_owned(),
        ),
    ]);
}

/// Connections that MariaDB accepts: above 55 for each of some 70 workers with a database or two.
const MAX_DATABASE_CONNECTIONS: u32 = 8_000;

/// Configuration of a node of RabbitMQ, in the state folder.
pub(crate) fn rabbitmq_conf(number: u32) -> String {
    format!("etc/rabbitmq/{}.conf", rabbitmq_name(number))
}

/// Name of the process of a node of RabbitMQ.
pub(crate) fn rabbitmq_name(number: u32) -> String {
    if number == 0 { "rabbitmq".to_owned() } else { format!("rabbitmq-{}", number + 1) }
}

/// What Erlang calls a node of RabbitMQ; its data lies in a folder of that name.
pub(crate) fn erlang_node(settings: &Settings<'_>, number: u32) -> String {
    format!("kagemusha-{}@localhost", settings.ports.broker(number).amqp)
}

/// The other nodes, which one that is new joins.
fn cluster(settings: &Settings<'_>) -> String {
    let nodes = match settings.brokers() {
        1 => return String::new(),
        several => (0..several).map(|number| {
            let key = format!("cluster_formation.classic_config.nodes.{}", number + 1);
            format!("{key} = {}\n", erlang_node(settings, number))
        }),
    };
    format!("cluster_formation.peer_discovery_backend = classic_config\n{}", nodes.collect::<String>())
}

fn rabbitmq(settings: &Settings<'_>, number: u32) -> String {
    let ports = settings.ports.broker(number);
    let cluster = cluster(settings);
    let password = settings.secrets.get("broker");
    let tuning = tuning(settings, "rabbitmq");
    format!(
        "listeners.tcp.default = {LOCALHOST}:{amqp}\n\
         management.tcp.ip = {LOCALHOST}\n\
         management.tcp.port = {management}\n\
         prometheus.tcp.ip = {LOCALHOST}\n\
         prometheus.tcp.port = {metrics}\n\
         default_vhost = {BROKER_VHOST}\n\
         default_user = {BROKER_USER}\n\
         default_pass = {password}\n\
         default_user_tags.administrator = true\n\
         log.file = false\n\
         log.console = true\n\
         log.console.level = info\n\
         log.connection.level = warning\n\
         {cluster}\
         {tuning}",
        amqp = ports.amqp,
        management = ports.management,
        metrics = ports.metrics,
        password = password.reveal(),
    )
}

/// Options that a scenario sets, a line each.
fn tuning(settings: &Settings<'_>, server: &str) -> String {
    let options = settings.spec.tuning.get(server).into_iter().flatten();
    let lines = options.map(|(option, value)| match value {
        // In lower case; OpenStack's files have `True`.
        OptionValue::Bool(value) => format!("{option} = {value}\n"),
        value => format!("{option} = {value}\n"),
    });
    lines.collect()
}

/// Settings beyond the defaults change neither durability nor isolation: no name look-ups, memory for the schemas, room for
/// connections, a log large enough to write in one go. Every commit is still flushed.
fn mariadb(settings: &Settings<'_>) -> String {
    format!(
        "[mariadbd]\n\
         datadir = {data}\n\
         socket = {socket}\n\
         pid-file = {run}/mariadb.pid\n\
         tmpdir = {run}\n\
         bind-address = {LOCALHOST}\n\
         port = {port}\n\
         skip-name-resolve\n\
         init-file = {init}\n\
         max_connections = {MAX_DATABASE_CONNECTIONS}\n\
         back_log = 1024\n\
         table_open_cache = 4000\n\
         innodb_buffer_pool_size = 1G\n\
         innodb_log_file_size = 256M\n\
         character-set-server = utf8mb4\n\
         collation-server = utf8mb4_general_ci\n\
         {tuning}",
        tuning = tuning(settings, "mariadb"),
        data = settings.path("data/mariadb/db"),
        run = settings.path("data/mariadb/run"),
        socket = settings.path(DATABASE_SOCKET),
        port = settings.ports.mariadb(),
        init = settings.path("etc/mariadb/init.sql"),
    )
}

/// MariaDB's socket in the state folder.
pub(crate) const DATABASE_SOCKET: &str = "data/mariadb/run/mariadb.sock";

/// Databases, and the service that each belongs to.
const DATABASES: [(&str, &str); 7] = [
    ("keystone", "keystone"),
    ("placement", "placement"),
    ("glance", "glance"),
    ("neutron", "neutron"),
    ("nova", "nova"),
    ("nova_api", "nova"),
    ("nova_cell0", "nova"),
];

/// Run by the server at each start, before it accepts connections; one statement a line.
fn mariadb_init(settings: &Settings<'_>) -> String {
    let mut sql = String::new();
    let mut user = |name: &str, host: &str, secret: &str| {
        let password = settings.secrets.get(secret).reveal();
        writeln!(sql, "CREATE USER IF NOT EXISTS '{name}'@'{host}';").expect("writing to a String cannot fail");
        writeln!(sql, "ALTER USER '{name}'@'{host}' IDENTIFIED BY '{password}';")
            .expect("writing to a String cannot fail");
    };
    user("root", "localhost", "database-root");
    for host in ["localhost", LOCALHOST] {
        user(DATABASE_ADMIN, host, "database-kagemusha");
    }
    for service in WSGI_SERVICES {
        user(service, LOCALHOST, &format!("database-{service}"));
    }
    for host in ["localhost", LOCALHOST] {
        writeln!(sql, "GRANT ALL PRIVILEGES ON *.* TO '{DATABASE_ADMIN}'@'{host}' WITH GRANT OPTION;")
            .expect("writing to a String cannot fail");
    }
    for (database, service) in DATABASES {
        writeln!(sql, "CREATE DATABASE IF NOT EXISTS {database};").expect("writing to a String cannot fail");
        writeln!(sql, "GRANT ALL PRIVILEGES ON {database}.* TO '{service}'@'{LOCALHOST}';")
            .expect("writing to a String cannot fail");
    }
    sql
}

/// Open connections of one nginx worker: as many as its file limit of 20,000 allows, two for each request.
const NGINX_CONNECTIONS: u32 = 16_000;

fn nginx(settings: &Settings<'_>) -> String {
    let root = if rustix::process::geteuid().is_root() { "user root;\n" } else { "" };
    let run = settings.path("run/nginx");
    let mut text = format!(
        "{root}daemon off;\nworker_processes 1;\nworker_rlimit_nofile {limit};\npid {run}/nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections {NGINX_CONNECTIONS}; }}\n\
         http {{\n\
         log_format times '$time_iso8601 $server_port $request_method $uri $status $bytes_sent $request_time \
         $upstream_response_time';\n\
         access_log {access} times buffer=64k flush=1s;\n\
         client_max_body_size 0;\n\
         proxy_read_timeout 600s;\nproxy_send_timeout 600s;\n\
         proxy_set_header Host $http_host;\nproxy_set_header X-Forwarded-For $remote_addr;\n",
        limit = NGINX_CONNECTIONS + 1_000,
        access = settings.state.log("nginx-access").display(),
    );
    for folder in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "{folder}_temp_path {run}/{folder};").expect("writing to a String cannot fail");
    }
    for service in WSGI_SERVICES {
        let servers: String = (0..settings.spec.wsgi[service].processes)
            .map(|index| format!(" server {LOCALHOST}:{} max_fails=0;", settings.ports.wsgi(service, index)))
            .collect();
        let port = settings.ports.api(service);
        writeln!(text, "upstream {service} {{ least_conn;{servers} }}").expect("writing to a String cannot fail");
        writeln!(
            text,
            "server {{ listen {LOCALHOST}:{port} backlog=4096; location / {{ proxy_pass http://{service}; }} }}"
        )
        .expect("writing to a String cannot fail");
    }
    text.push_str("}\n");
    text
}
