//! The database's data folder, the services' schemas, and Nova's cells.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path};

use crate::{
    StateDir, UpError,
    config::{REGION, Settings, chown},
    install::MARIADB_INSTALL_DB,
    process::{run_command, stop_all},
};

/// File of the state folder with the first port that its databases know.
pub(crate) const BASE_PORT_FILE: &str = "base-port.json";

/// The release of the cloud in a state folder, whose schemas its databases have; `None`: there is none that was prepared to the
/// end.
pub fn release_of(state: &StateDir) -> Option<String> {
    state.done_as("migrations")
}

/// Makes a new, empty data folder for MariaDB. A half-made one is thrown away.
pub(crate) async fn make_data_folder(settings: &Settings<'_>) -> Result<(), UpError> {
    if settings.state.is_done("mariadb-data", "1") {
        return Ok(());
    }
    let data = settings.state.join("data/mariadb/db");
    if data.exists() {
        fs::remove_dir_all(&data).map_err(|source| UpError::file(&data, source))?;
    }
    let mut args: Vec<OsString> = vec![
        "--no-defaults".into(),
        format!("--datadir={}", data.display()).into(),
        "--auth-root-authentication-method=normal".into(),
        "--skip-test-db".into(),
        "--skip-name-resolve".into(),
    ];
    if rustix::process::geteuid().is_root() {
        args.push(format!("--user={}", if settings.mariadb_user.is_some() { "mysql" } else { "root" }).into());
    }
    let step = "make the database's data folder";
    run_command(settings.state, step, "mariadb-install-db", Path::new(MARIADB_INSTALL_DB), &args, &BTreeMap::new())
        .await?;
    chown(&data, settings.mariadb_user)?;
    settings.state.mark_done("mariadb-data", "1")
}

/// Throws the databases away when an earlier `up` was ended while it prepared them: a migration that stopped half-way cannot
/// be taken up again, since MariaDB commits each change of a schema by itself.
pub(crate) async fn discard_unfinished(settings: &Settings<'_>) -> Result<(), UpError> {
    let state = settings.state;
    let begun = state.read_json::<u16>(BASE_PORT_FILE)?.is_some();
    if begun && !state.is_done("migrations", settings.release.name) {
        stop_all(state).await?;
        state.mark_done("mariadb-data", "to be made again")?;
    }
    Ok(())
}

/// Brings every schema to the release's form, the services side by side, and makes Keystone's first user and Nova's cells.
pub(crate) async fn migrate(settings: &Settings<'_>) -> Result<(), UpError> {
    if settings.state.is_done("migrations", settings.release.name) {
        return Ok(());
    }
    // From here on ports are in the databases: Keystone's catalogue, Nova's cells.
    settings.state.write_json(BASE_PORT_FILE, &settings.ports.base())?;
    let manage = Manage { settings };
    tokio::try_join!(manage.keystone(), manage.placement(), manage.glance(), manage.neutron(), manage.nova())?;
    settings.state.mark_done("migrations", settings.release.name)
}

struct Manage<'a> {
    settings: &'a Settings<'a>,
}

impl Manage<'_> {
    async fn keystone(&self) -> Result<(), UpError> {
        let conf = ["etc/keystone/keystone.conf"];
        self.run("keystone-manage", &conf, &["db_sync"], "keystone-db-sync").await?;
        let owner = ["--keystone-user", "root", "--keystone-group", "root"];
        let owner: &[&str] = if rustix::process::geteuid().is_root() { &owner } else { &[] };
        for keys in ["fernet_setup", "credential_setup"] {
            self.run("keystone-manage", &conf, &[&[keys], owner].concat(), &format!("keystone-{keys}")).await?;
        }
        let url = self.settings.identity_url();
        let mut args = vec!["bootstrap", "--bootstrap-region-id", REGION];
        for interface in ["--bootstrap-public-url", "--bootstrap-internal-url", "--bootstrap-admin-url"] {
            args.extend([interface, &url]);
        }
        // The password goes by the environment: a command line can be read by every user of the machine.
        let password = self.settings.secrets.get("keystone-admin").reveal();
        let env = BTreeMap::from([("OS_BOOTSTRAP_PASSWORD", OsString::from(password))]);
        self.run_with("keystone-manage", &conf, &args, "keystone-bootstrap", &env).await
    }

    async fn placement(&self) -> Result<(), UpError> {
        self.run("placement-manage", &["etc/placement/placement.conf"], &["db", "sync"], "placement-db-sync").await
    }

    async fn glance(&self) -> Result<(), UpError> {
        self.run("glance-manage", &["etc/glance/glance-api.conf"], &["db_sync"], "glance-db-sync").await
    }

    async fn neutron(&self) -> Result<(), UpError> {
        let conf = ["etc/neutron/neutron.conf", "etc/neutron/ml2_conf.ini"];
        self.run("neutron-db-manage", &conf, &["upgrade", "heads"], "neutron-db-sync").await
    }

    async fn nova(&self) -> Result<(), UpError> {
        let conf = ["etc/nova/nova.conf"];
        self.run("nova-manage", &conf, &["api_db", "sync"], "nova-api-db-sync").await?;
        self.run("nova-manage", &conf, &["cell_v2", "map_cell0"], "nova-map-cell0").await?;
        let (schema, cell) = tokio::join!(
            self.run("nova-manage", &conf, &["db", "sync"], "nova-db-sync"),
            self.run("nova-manage", &conf, &["cell_v2", "create_cell", "--name", "cell1"], "nova-create-cell"),
        );
        schema?;
        match cell {
            // Left by an attempt that did not come to its end.
            Err(UpError::Step { tail, .. }) if tail.contains("already exists") => Ok(()),
            other => other,
        }
    }

    async fn run(&self, program: &str, conf: &[&str], args: &[&str], log: &str) -> Result<(), UpError> {
        self.run_with(program, conf, args, log, &BTreeMap::new()).await
    }

    async fn run_with(
        &self,
        program: &str,
        conf: &[&str],
        args: &[&str],
        log: &str,
        env: &BTreeMap<&'static str, OsString>,
    ) -> Result<(), UpError> {
        let state = self.settings.state;
        let files = conf.iter().flat_map(|file| [OsString::from("--config-file"), state.join(file).into()]);
        let args: Vec<OsString> = files.chain(args.iter().map(OsString::from)).collect();
        let step = format!("prepare the databases: {log}");
        run_command(state, &step, log, &state.venv_bin(program), &args, env).await
    }
}
