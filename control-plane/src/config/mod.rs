//! Every configuration file of a cloud, made from its specification, its ports and its passwords.
//!
//! Files are written again by each `up`. A process is started anew when the files it reads differ from those it has read.

mod clients;
mod ini;
mod nova;
mod openstack;
mod servers;
mod settings;

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{PermissionsExt, lchown, symlink},
    path::{Path, PathBuf},
};

pub(crate) use clients::write as write_clients;
pub(crate) use ini::Ini;
pub(crate) use nova::compute_conf;
pub(crate) use servers::{DATABASE_SOCKET, erlang_node, rabbitmq_conf, rabbitmq_name};
pub(crate) use settings::{DATABASE_ADMIN, LOCALHOST, REGION, Secrets, Settings};

use crate::{UpError, process::RunAs};

/// Names of a process's configuration files and their content; what the fingerprint of a process is made from.
pub(crate) type Files = BTreeMap<PathBuf, String>;

/// The configuration of a whole cloud.
#[derive(Debug)]
pub(crate) struct Config {
    /// Content of each file by service, paths relative to the state folder.
    pub(crate) files: BTreeMap<&'static str, Files>,
    /// See [`crate::Cloud::deviations_from_defaults`].
    pub(crate) deviations: BTreeMap<String, String>,
}

/// Makes the configuration of all services.
///
/// # Errors
/// When tuning sets an option that is the harness's own.
pub(crate) fn build(settings: &Settings<'_>) -> Result<Config, UpError> {
    let mut config = Config { files: BTreeMap::new(), deviations: BTreeMap::new() };
    openstack::keystone(settings, &mut config)?;
    openstack::placement(settings, &mut config)?;
    openstack::glance(settings, &mut config)?;
    openstack::neutron(settings, &mut config)?;
    nova::nova(settings, &mut config)?;
    servers::all(settings, &mut config);
    Ok(config)
}

impl Config {
    fn add(&mut self, service: &'static str, path: impl Into<PathBuf>, content: String) {
        self.files.entry(service).or_default().insert(path.into(), content);
    }

    /// Adds a service's finished files, and notes where they deviate from the defaults.
    fn add_ini(&mut self, service: &'static str, settings: &Settings<'_>, mut ini: Ini) -> Result<(), UpError> {
        ini.tune(settings.spec.tuning.get(service), settings.release.name)?;
        self.deviations.extend(ini.deviations().map(|(option, reason)| (format!("{service}: {option}"), reason)));
        for (path, content) in ini.render() {
            self.add(service, path, content);
        }
        Ok(())
    }
}

/// A short text that differs when any of the parts does.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Gives a folder or file, with all in it, to the user that a server runs as. `None`: it is the right one's already.
pub(crate) fn chown(path: &Path, user: Option<RunAs>) -> Result<(), UpError> {
    let Some(user) = user else { return Ok(()) };
    let failed = |source| UpError::file(path, source);
    lchown(path, Some(user.uid), Some(user.gid)).map_err(failed)?;
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).map_err(failed)? {
            chown(&entry.map_err(failed)?.path(), Some(user))?;
        }
    }
    Ok(())
}

/// Folders that services expect to be there.
const FOLDERS: [&str; 13] = [
    "data/mariadb/run",
    "data/rabbitmq/log",
    "data/rabbitmq/config",
    "data/keystone/fernet-keys",
    "data/keystone/credential-keys",
    "data/glance/images",
    "data/glance/staging",
    "data/glance/tasks",
    "data/neutron",
    "data/nova",
    "run/nginx",
    "run/nova",
    "run/neutron",
];

/// Writes the files of a configuration, and makes the folders that services expect.
pub(crate) fn write(settings: &Settings<'_>, config: &Config) -> Result<(), UpError> {
    let state = settings.state;
    for folder in FOLDERS {
        state.make_dir(folder)?;
    }
    for keys in ["fernet-keys", "credential-keys"] {
        let path = state.join("data/keystone").join(keys);
        let owner_only = fs::Permissions::from_mode(0o700);
        fs::set_permissions(&path, owner_only).map_err(|source| UpError::file(&path, source))?;
    }
    for (service, files) in &config.files {
        state.make_dir(Path::new("etc").join(service))?;
        for (path, content) in files {
            state.write_private(path, content.as_bytes())?;
        }
    }
    // Nova's WSGI application looks for this file in its configuration folder, whatever `[wsgi] api_paste_config` says.
    let paste = state.join("etc/nova/api-paste.ini");
    let _ = fs::remove_file(&paste);
    symlink(state.venv().join("etc/nova/api-paste.ini"), &paste).map_err(|source| UpError::file(&paste, source))?;
    for (user, folders) in [
        (settings.mariadb_user, ["etc/mariadb", "data/mariadb/run"]),
        (settings.rabbitmq_user, ["etc/rabbitmq", "data/rabbitmq"]),
    ] {
        for folder in folders {
            chown(&state.join(folder), user)?;
        }
    }
    Ok(())
}
