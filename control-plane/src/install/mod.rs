//! What has to be on the machine: system packages, and the Python environment of the release.

mod apt;
mod release;
mod venv;

pub(crate) use apt::{
    cannot_install, command as install_command, install as install_packages, missing as missing_packages,
    system_versions,
};
pub use release::RELEASES;
pub(crate) use release::{Release, find as find_release};
pub(crate) use venv::{PYTHON, install as install_venv};

/// RabbitMQ's own start script. Debian's wrapper in front of it resets the limit of open files to 1,024.
pub(crate) const RABBITMQ_SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
/// Erlang's port mapper.
pub(crate) const EPMD: &str = "/usr/bin/epmd";
/// The database server.
pub(crate) const MARIADBD: &str = "/usr/sbin/mariadbd";
/// Makes a new data folder for it.
pub(crate) const MARIADB_INSTALL_DB: &str = "/usr/bin/mariadb-install-db";
/// The proxy in front of the APIs.
pub(crate) const NGINX: &str = "/usr/sbin/nginx";
/// The cache of tokens.
pub(crate) const MEMCACHED: &str = "/usr/bin/memcached";
