//! Open vSwitch in the user's space, with nothing of the system's own, and the real agent on it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use control_plane::Cloud;
use fake_hv::BrokerNode;
use tokio::process::{Child, Command};

use super::REPORT_INTERVAL;
use crate::lab::{LabError, wait};

const PROGRAMS: [&str; 5] = ["ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "ovs-appctl"];
/// Where Debian has them, and the services' PATH often has not.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// What it makes; they are one for each machine.
const INTERFACES: [&str; 3] = ["ovs-netdev", "br-int", PHYSICAL_BRIDGE];
const LOCALHOST: &str = "127.0.0.1";
const PHYSICAL_BRIDGE: &str = "br-physnet1";
const CLEANED_WITHIN: Duration = Duration::from_secs(10);
const READY_WITHIN: Duration = Duration::from_secs(20);
/// The agent's helpers that run with privileges; the harness is root already.
const PRIVSEP_SECTIONS: [&str; 6] =
    ["privsep", "privsep_dhcp_release", "privsep_ovs_vsctl", "privsep_namespace", "privsep_conntrack", "privsep_link"];

/// Both servers of Open vSwitch, and the agent. All end when it is dropped.
pub(crate) struct OpenVswitch {
    folder: PathBuf,
    database_port: u16,
    processes: Vec<Child>,
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        // The interfaces of its bridges outlive a process that is killed.
        let control = self.path("vswitchd.ctl");
        if let Some(appctl) = find("ovs-appctl").filter(|_| Path::new(&control).exists()) {
            let arguments = ["--timeout=10", "--target", &control, "exit", "--cleanup"];
            if let Err(error) = std::process::Command::new(appctl).args(arguments).output() {
                tracing::warn!(%error, "the bridges could not be removed");
            }
            // It says yes before it does so.
            let until = Instant::now() + CLEANED_WITHIN;
            while existing_interface().is_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        for process in self.processes.iter_mut().rev() {
            // It may have ended by itself.
            let _ended = process.start_kill();
        }
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "could not be removed");
        }
    }
}

fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// The first interface of an Open vSwitch that is there.
fn existing_interface() -> Option<&'static str> {
    INTERFACES.into_iter().find(|name| Path::new("/sys/class/net").join(name).exists())
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((LOCALHOST, 0))?.local_addr()?.port())
}

impl OpenVswitch {
    /// Why it cannot run here, if it cannot.
    pub(crate) fn obstacle() -> Option<String> {
        let program = PROGRAMS.iter().find(|program| find(program).is_none()).copied();
        let missing = program.or_else(|| (!Path::new(SCHEMA).is_file()).then_some(SCHEMA));
        if let Some(missing) = missing {
            return Some(format!("{missing} is not installed; on Debian: apt-get install openvswitch-switch"));
        }
        let interface = existing_interface()?;
        Some(format!("there is an interface {interface}: another Open vSwitch runs on this machine"))
    }

    /// Starts both servers with an empty database, and makes the bridge of the physical network.
    pub(crate) async fn start(cloud: &Cloud) -> Result<Self, LabError> {
        let state = cloud.venv.parent().expect("the environment lies in the state folder");
        let folder = state.join("data/ovs-agent");
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?; // of an earlier one that was killed
        }
        std::fs::create_dir_all(&folder)?;
        let mut it = Self { folder, database_port: free_port()?, processes: Vec::new() };
        let database = it.path("conf.db");
        it.run("ovsdb-tool", &["create", &database, SCHEMA]).await?;
        let (socket, tcp) = (it.path("db.sock"), format!("--remote=ptcp:{}:{LOCALHOST}", it.database_port));
        it.spawn("ovsdb-server", &[&database, &format!("--remote=punix:{socket}"), &tcp, &it.control("ovsdb")])?;
        wait("the database of Open vSwitch", READY_WITHIN, async || {
            Ok(Path::new(&socket).exists().then_some(()).ok_or_else(|| "no socket".to_owned()))
        })
        .await?;
        it.vsctl(&["--no-wait", "init"]).await?;
        it.spawn("ovs-vswitchd", &[&format!("unix:{socket}"), &it.control("vswitchd")])?;
        let bridge = ["set", "bridge", PHYSICAL_BRIDGE, "datapath_type=netdev"];
        it.vsctl(&[&["add-br", PHYSICAL_BRIDGE, "--"][..], &bridge].concat()).await?;
        Ok(it)
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn control(&self, name: &str) -> String {
        format!("--unixctl={}", self.path(&format!("{name}.ctl")))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, &self.folder);
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), LabError> {
        let found = find(program).unwrap_or_else(|| program.into());
        let mut command = self.command(&found);
        command.args(arguments);
        self.spawn_command(program, command)
    }

    fn spawn_command(&mut self, name: &str, mut command: Command) -> Result<(), LabError> {
        let log = File::create(self.folder.join(format!("{name}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        self.processes.push(command.spawn()?);
        Ok(())
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Result<(), LabError> {
        let found = find(program).unwrap_or_else(|| program.into());
        let ended = self.command(&found).args(arguments).output().await?;
        if ended.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        Err(std::io::Error::other(format!("{program} {}: {}", arguments.join(" "), said.trim())).into())
    }

    async fn vsctl(&self, arguments: &[&str]) -> Result<(), LabError> {
        let database = format!("--db=unix:{}", self.path("db.sock"));
        self.run("ovs-vsctl", &[&[&*database, "--timeout=20"][..], arguments].concat()).await
    }

    /// Puts a port on the integration bridge, as Nova's driver does.
    pub(crate) async fn plug(&self, port: &str, mac: &str) -> Result<(), LabError> {
        let (tap, id, mac) =
            (tap(port), format!("external_ids:iface-id={port}"), format!("external_ids:attached-mac={mac}"));
        let interface = ["set", "Interface", &tap, "type=internal", &id, "external_ids:iface-status=active", &mac];
        self.vsctl(&[&["add-port", "br-int", &*tap, "--"][..], &interface].concat()).await
    }

    /// Takes a port off the integration bridge.
    pub(crate) async fn unplug(&self, port: &str) -> Result<(), LabError> {
        self.vsctl(&["del-port", "br-int", &tap(port)]).await
    }

    /// Starts the agent of this host, which reaches the broker at this port.
    pub(crate) fn start_agent(&mut self, cloud: &Cloud, host: &str, amqp_port: u16) -> Result<(), LabError> {
        let config = self.path("agent.conf");
        std::fs::write(&config, self.agent_config(cloud, host, amqp_port)?)?;
        let bin = cloud.venv.join("bin");
        let mut command = self.command(&bin.join("neutron-openvswitch-agent"));
        let path = std::env::var("PATH").unwrap_or_default();
        command.args(["--config-file", &config]).env("PATH", format!("{}:{path}", bin.display()));
        self.spawn_command("agent", command)
    }

    fn agent_config(&self, cloud: &Cloud, host: &str, amqp_port: u16) -> Result<String, LabError> {
        let mut amqp = cloud.amqp.clone();
        amqp.nodes = vec![BrokerNode::local(amqp_port)];
        let helper = format!("{}/bin/privsep-helper --config-file {}", cloud.venv.display(), self.path("agent.conf"));
        let privsep: String =
            PRIVSEP_SECTIONS.iter().map(|section| format!("[{section}]\nhelper_command = {helper}\n")).collect();
        Ok(format!(
            "[DEFAULT]\ntransport_url = {url}\nhost = {host}\nstate_path = {folder}\n\
             [oslo_concurrency]\nlock_path = {folder}/lock\n\
             [ovs]\ndatapath_type = netdev\nbridge_mappings = physnet1:{PHYSICAL_BRIDGE}\n\
             ovsdb_connection = tcp:{LOCALHOST}:{database}\nof_listen_port = {openflow}\n\
             [agent]\nroot_helper =\nuse_helper_for_ns_read = false\nreport_interval = {interval}\n\
             [securitygroup]\nfirewall_driver = openvswitch\n{privsep}",
            url = amqp.transport_url().reveal(),
            folder = self.folder.display(),
            database = self.database_port,
            openflow = free_port()?,
            interval = REPORT_INTERVAL.as_secs(),
        ))
    }

    /// The last lines of the agent's log.
    pub(crate) fn agent_log(&self) -> String {
        let log = std::fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

/// Linux allows 15 characters for the name of an interface.
fn tap(port: &str) -> String {
    format!("tap{}", &port[..11.min(port.len())])
}
