//! `kagemusha status`

use std::{path::PathBuf, process::ExitCode};

use control_plane::{Health, ProcessStatus, StateDir, UpError};

use super::{exit, fail, runtime};

/// Shows each process of the cloud, its health, CPU, memory and port.
///
/// Exit status 0 when every process answers as it should, else 2.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kagemusha status\n  kagemusha status --json | jq '.[] | select(.health != \"ok\")'"
)]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print JSON: a list of processes
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> ExitCode {
    match show(args) {
        Ok(true) => ExitCode::from(exit::OK),
        Ok(false) => ExitCode::from(exit::COULD_NOT_RUN),
        Err(error) => fail(&error),
    }
}

/// Prints the status; true when all is well.
fn show(args: &Args) -> Result<bool, UpError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let processes = runtime()?.block_on(control_plane::status(&state))?;
    if args.json {
        tell!("{}", serde_json::to_string_pretty(&processes).expect("statuses have text keys only"));
    } else if processes.iter().all(|process| process.health == Health::Dead) {
        tell!("The cloud in {} is stopped; `{}` starts it again.", state.path().display(), state.command("up"));
    } else {
        print_table(&processes);
    }
    Ok(processes.iter().all(|process| process.health == Health::Ok))
}

fn print_table(processes: &[ProcessStatus]) {
    let width = processes.iter().map(|status| status.process.name.len()).max().unwrap_or(0);
    tell!("{:width$}  {:>7}  {:>6}  {:>9}  {:>9}  HEALTH", "PROCESS", "PID", "PORT", "CPU S", "MEM MIB");
    for ProcessStatus { process, health, cpu_s, rss_bytes } in processes {
        let port = process.port.map_or("-".to_owned(), |port| port.to_string());
        let memory_mib = *rss_bytes as f64 / (1024.0 * 1024.0);
        let health = match health {
            Health::Ok => "ok".to_owned(),
            Health::Failing(why) => format!("failing: {why}"),
            Health::Dead => "dead".to_owned(),
        };
        tell!("{:width$}  {:>7}  {port:>6}  {cpu_s:>9.1}  {memory_mib:>9.1}  {health}", process.name, process.pid);
    }
    let memory_bytes: u64 = processes.iter().map(|status| status.rss_bytes).sum();
    let cpu_s: f64 = processes.iter().map(|status| status.cpu_s).sum();
    tell!("{} processes, {cpu_s:.1} s of CPU, {:.0} MiB", processes.len(), memory_bytes as f64 / (1024.0 * 1024.0));
}
