//! `kagemusha up`

use std::{
    collections::BTreeMap,
    fs,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::{Duration, Instant},
};

use control_plane::{CloudSpec, DEFAULT_BASE_PORT, DEFAULT_RELEASE, Progress, StateDir, Up, UpError, release_of};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use scenarios::plan::Tuning;

use super::{exit, fail, runtime};

/// Brings up a real OpenStack on loopback.
///
/// Installs what is missing, configures and starts RabbitMQ, MariaDB, memcached, Keystone, Placement, Glance, Neutron,
/// Nova and nginx, all on 127.0.0.1 and all in one state folder. Called again it starts what is dead, and starts anew
/// what is to be different.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// OpenStack release [default: that of the cloud in the state folder, else 2026.2]
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Options that differ from the release's defaults: TOML, a table per service, keys "section.name"
    #[arg(long, value_name = "FILE")]
    tuning: Option<PathBuf>,
    /// First port of the cloud's range on 127.0.0.1 [default: 21000]
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Nodes of RabbitMQ, as one cluster; they stay as many as a cloud was made with [default: 1]
    #[arg(long, value_name = "N")]
    brokers: Option<u32>,
}

const EXAMPLES: &str = "\
Examples:
  kagemusha up
  kagemusha up --state /var/tmp/cloud --base-port 23000
  kagemusha up --release 2024.2 --state /var/tmp/older --base-port 25000
  kagemusha up --brokers 2 --state /var/tmp/clustered
  kagemusha up --tuning talk.toml

A tuning file:
  [nova]
  \"DEFAULT.report_interval\" = 60
  \"conductor.workers\" = 4
  [wsgi]
  \"keystone.processes\" = 9
  \"neutron.processes\" = 3";

/// Steps shown as the slowest.
const SLOWEST: usize = 3;

pub(crate) fn run(args: &Args) -> ExitCode {
    match bring_up(args) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => fail(&error),
    }
}

fn bring_up(args: &Args) -> Result<(), UpError> {
    let started = Instant::now();
    let state = StateDir::resolve(args.state.as_deref())?;
    let tuning = args.tuning.as_deref().map(read_tuning).transpose()?.unwrap_or_default();
    let release = args.release.clone().or_else(|| release_of(&state)).unwrap_or_else(|| DEFAULT_RELEASE.to_owned());
    let spec = CloudSpec { release, brokers: args.brokers, wsgi: BTreeMap::new(), tuning, base_port: args.base_port };
    let progress = Terminal::new();
    let up = runtime()?.block_on(control_plane::bring_up(&state, &spec, &progress))?;
    print_result(&state, &up, started.elapsed());
    Ok(())
}

/// Reads a tuning file: a table per service, keys `section.name`.
pub(crate) fn read_tuning(path: &Path) -> Result<Tuning, UpError> {
    let text = fs::read_to_string(path).map_err(|source| UpError::file(path, source))?;
    toml::from_str(&text).map_err(|error| UpError::invalid(format!("{}: {error}", path.display())))
}

fn print_result(state: &StateDir, up: &Up, took: Duration) {
    let base = up.cloud.spec.base_port.unwrap_or(DEFAULT_BASE_PORT);
    let processes = up.cloud.processes.len();
    if up.started.is_empty() {
        tell!("The cloud was up already, {processes} processes on ports from {base}.");
    } else {
        let (fresh, took) = (up.started.len(), took.as_secs_f64());
        tell!("The cloud is up: {processes} processes on ports from {base}, {fresh} started now, in {took:.1} s.");
        let mut steps = up.steps.clone();
        steps.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        let slowest: Vec<String> =
            steps.iter().take(SLOWEST).map(|(step, took)| format!("{step} {:.1} s", took.as_secs_f64())).collect();
        tell!("Slowest steps: {}.", slowest.join(", "));
    }
    tell!("Try it:");
    tell!("  . {}; openstack compute service list", state.join("openrc").display());
}

/// Progress on the terminal: a line per step with its time; while steps run, on a terminal, a spinner for each.
pub(crate) struct Terminal {
    spinners: Option<(MultiProgress, Mutex<BTreeMap<String, ProgressBar>>)>,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let spinners = std::io::stderr().is_terminal().then(|| (MultiProgress::new(), Mutex::default()));
        Self { spinners }
    }
}

impl Progress for Terminal {
    fn begin(&self, step: &str) {
        let Some((all, bars)) = &self.spinners else { return };
        let bar = all.add(ProgressBar::new_spinner());
        bar.set_style(
            ProgressStyle::with_template("{elapsed:>7} {spinner} {msg}").expect("the template is well-formed"),
        );
        bar.set_message(step.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        bars.lock().expect("no holder of this lock panics").insert(step.to_owned(), bar);
    }

    fn end(&self, step: &str, took: Duration) {
        let line = format!("{:>6.1}s ✓ {step}", took.as_secs_f64());
        match &self.spinners {
            None => say!("{line}"),
            Some((all, bars)) => {
                if let Some(bar) = bars.lock().expect("no holder of this lock panics").remove(step) {
                    bar.finish_and_clear();
                }
                // A terminal that cannot be written to has gone; the cloud has not.
                let _ = all.println(line);
            }
        }
    }

    fn note(&self, text: &str) {
        match &self.spinners {
            None => say!("        · {text}"),
            Some((all, _)) => {
                let _ = all.println(format!("        · {text}"));
            }
        }
    }
}
