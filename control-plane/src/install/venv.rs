//! The Python environment of a release.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use super::Release;
use crate::{StateDir, UpError, process::run_command};

/// Debian 12's Python. Another one on the PATH might be of another version, and the lock is for this one.
pub(crate) const PYTHON: &str = "/usr/bin/python3.11";

/// Makes the environment from the lock, unless it is there already. A half-made one is thrown away.
pub(crate) async fn install(state: &StateDir, release: &Release) -> Result<(), UpError> {
    let fingerprint = crate::config::fingerprint(&[release.build_lock.as_bytes(), release.lock.as_bytes()]);
    if state.is_done("venv", &fingerprint) {
        return Ok(());
    }
    let venv = state.venv();
    if venv.exists() {
        fs::remove_dir_all(&venv).map_err(|source| UpError::file(&venv, source))?;
    }
    let temporary = venv.join("tmp");
    let step = "install Python packages";
    let none = BTreeMap::new();
    let make = ["-m".into(), "venv".into(), venv.clone().into_os_string()];
    run_command(state, step, "venv", Path::new(PYTHON), &make, &none).await?;
    for (name, text) in [("build", release.build_lock), ("requirements", release.lock)] {
        let file = venv.join(format!("{name}.txt"));
        fs::write(&file, text).map_err(|source| UpError::file(&file, source))?;
        fs::create_dir_all(&temporary).map_err(|source| UpError::file(&temporary, source))?;
        pip_install(state, step, name, &file, &temporary).await?;
    }
    fs::remove_dir_all(&temporary).map_err(|source| UpError::file(&temporary, source))?;
    // Once and on all cores, rather than by each of twenty processes at its first start.
    let compile: Vec<OsString> = ["-m", "compileall", "-q", "-j", "0"].map(OsString::from).to_vec();
    let compile = [compile, vec![venv.join("lib").into()]].concat();
    // A package may ship a template that is no Python; that is no failure.
    let _ = run_command(state, step, "compileall", &state.venv_bin("python"), &compile, &none).await;
    state.mark_done("venv", &fingerprint)
}

impl StateDir {
    /// Has a cloud that is yet to come up use the Python packages of another one, instead of installing them once more. Nothing is
    /// copied: as long as this cloud is used, the other's folder has to stay. Where the other has none, this one installs its own.
    ///
    /// # Errors
    /// When this folder holds packages already, or something other than a cloud, or cannot be written.
    pub fn borrow_packages(&self, lender: &Self) -> Result<(), UpError> {
        self.create()?;
        let Some(fingerprint) = lender.done_as("venv") else { return Ok(()) };
        let venv = self.venv();
        std::os::unix::fs::symlink(lender.venv(), &venv).map_err(|source| UpError::file(&venv, source))?;
        self.mark_done("venv", &fingerprint)
    }
}

/// What pip unpacks and builds lies in `temporary`: when it is killed, it leaves that behind.
async fn pip_install(state: &StateDir, step: &str, name: &str, file: &Path, temporary: &Path) -> Result<(), UpError> {
    let flags = [
        "-m",
        "pip",
        "install",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
        "--no-build-isolation",
        "--no-compile",
        "--require-hashes",
        "-r",
    ];
    let mut args: Vec<OsString> = flags.map(OsString::from).to_vec();
    args.push(file.into());
    let mut env = user_settings();
    env.insert("TMPDIR", temporary.into());
    run_command(state, step, &format!("pip-{name}"), &state.venv_bin("python"), &args, &env).await
}

/// How this user reaches packages (mirror, proxy, certificates) is the user's own setting, and pip's.
fn user_settings() -> BTreeMap<&'static str, OsString> {
    const KEPT: [&str; 15] = [
        "HOME",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_CERT",
        "PIP_PROXY",
        "PIP_CONFIG_FILE",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_RETRIES",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "http_proxy",
        "https_proxy",
        "no_proxy",
    ];
    KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_borrowed_and_stay_their_lenders() {
        let folder = tempfile::tempdir().unwrap();
        let state = |name: &str| StateDir::resolve(Some(&folder.path().join(name))).unwrap();
        let (lender, borrower) = (state("lender"), state("borrower"));
        lender.create().unwrap();
        borrower.borrow_packages(&lender).unwrap();
        assert!(!borrower.venv().exists() && !borrower.is_done("venv", "lock"), "there was nothing to borrow");

        fs::create_dir(lender.venv()).unwrap();
        fs::write(lender.venv().join("package"), "code").unwrap();
        lender.mark_done("venv", "lock").unwrap();
        borrower.borrow_packages(&lender).unwrap();
        assert!(borrower.is_done("venv", "lock"));
        assert_eq!(fs::read_to_string(borrower.venv().join("package")).unwrap(), "code");

        fs::remove_dir_all(borrower.path()).unwrap();
        assert!(lender.venv().join("package").exists());
    }
}
