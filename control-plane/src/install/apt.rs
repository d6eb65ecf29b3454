//! System packages of Debian.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use super::{EPMD, MARIADB_INSTALL_DB, MARIADBD, MEMCACHED, NGINX, PYTHON, RABBITMQ_SERVER};
use crate::{StateDir, UpError};

/// Packages, and a file of each that shows that it is there.
const PACKAGES: [(&str, &str); 11] = [
    ("rabbitmq-server", RABBITMQ_SERVER),
    ("erlang-base", EPMD),
    ("mariadb-server", MARIADBD),
    ("mariadb-server", MARIADB_INSTALL_DB),
    ("nginx-light", NGINX),
    ("memcached", MEMCACHED),
    ("python3", PYTHON),
    ("python3-venv", "/usr/lib/python3.11/ensurepip/__init__.py"),
    ("python3-dev", "/usr/include/python3.11/Python.h"),
    ("gcc", "/usr/bin/gcc"),
    ("libc6-dev", "/usr/include/stdlib.h"),
];

/// A script that Debian's packages ask before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Its answer: not allowed.
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Written by kagemusha while it installs packages; it needs none of their services.\nexit 101\n";

/// The packages that are not there.
pub(crate) fn missing() -> Vec<String> {
    let absent = PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists());
    let mut names: Vec<String> = absent.map(|(name, _)| (*name).to_owned()).collect();
    names.dedup();
    names
}

/// The command that installs some packages.
pub(crate) fn command(packages: &[String]) -> String {
    format!("apt-get install --no-install-recommends {}", packages.join(" "))
}

/// What a user is told who may not install them.
pub(crate) fn cannot_install(packages: Vec<String>) -> UpError {
    let command = command(&packages);
    UpError::MissingPackages { packages, command }
}

/// Installs what is missing, when this user may; none of the packages' services is started.
pub(crate) async fn install(state: &StateDir, packages: &[String]) -> Result<(), UpError> {
    if !rustix::process::geteuid().is_root() {
        return Err(cannot_install(packages.to_vec()));
    }
    let _guard = NoServices::install()?;
    let mut args = vec!["install", "-y", "--no-install-recommends"];
    args.extend(packages.iter().map(String::as_str));
    if apt_get(state, &args).await.is_ok() {
        return Ok(());
    }
    // The lists may be absent or older than the mirror.
    apt_get(state, &["update"]).await?;
    apt_get(state, &args).await
}

/// Runs apt-get to its end: not in the cloud's name, and never killed half-way, which would leave dpkg broken.
async fn apt_get(state: &StateDir, args: &[&str]) -> Result<(), UpError> {
    let log_path = state.log("apt-get");
    let open = || fs::OpenOptions::new().append(true).create(true).open(&log_path);
    let log = open().map_err(|source| UpError::file(&log_path, source))?;
    let second = open().map_err(|source| UpError::file(&log_path, source))?;
    let step = format!("apt-get {}", args.first().copied().unwrap_or_default());
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(second)
        .process_group(0)
        .status()
        .await
        .map_err(|error| UpError::step(&step, format!("cannot run apt-get: {error}"), None))?;
    match status.success() {
        true => Ok(()),
        false => Err(UpError::step(step, format!("ended with {status}"), Some(&log_path))),
    }
}

/// Keeps packages from starting services; gone when dropped, unless the machine had such a script of its own.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn install() -> Result<Self, UpError> {
        let path = PathBuf::from(POLICY);
        let written = fs::OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut file| {
            io::Write::write_all(&mut file, POLICY_TEXT.as_bytes())?;
            file.set_permissions(fs::Permissions::from_mode(0o755))
        });
        match written {
            Ok(()) => Ok(Self(Some(path))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self(None)),
            Err(source) => Err(UpError::file(&path, source)),
        }
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Versions of the servers that the distribution brought, by package.
pub(crate) async fn system_versions() -> BTreeMap<String, String> {
    let names = ["rabbitmq-server", "mariadb-server", "nginx-light", "memcached", "erlang-base"];
    let query = Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Version}\n"]).args(names).output().await;
    let text = query.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_exactly_what_is_missing() {
        let packages = ["gcc".to_owned(), "memcached".to_owned()];
        assert_eq!(command(&packages), "apt-get install --no-install-recommends gcc memcached");
    }
}
