//! `--target live`: on a real OpenStack.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use control_plane::{
    CloudSpec, Kept, Lock, StateDir, Up,
    live::{self, Cancel, Canceller, Keep, Target},
};
use recording::Recorder;
use reports::Summary;
use scenarios::{Plan, Source};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    super::{exit, fleet_process, runtime, up::Terminal},
    Args, Failure, edge, manifest, new_folder,
    progress::RunTerminal,
    show, words,
};

pub(super) fn run(args: &Args, source: &Source, plan: &Plan) -> Result<u8, Failure> {
    let state = StateDir::resolve(args.state.as_deref()).map_err(words)?;
    let status = match &plan.edge {
        Some(edge) => {
            if plan.cloud.bring_your_own.is_some() {
                return Err("a search leaves its hypervisors in the cloud, and is for the harness's own".to_owned());
            }
            edge::search(args, (source, plan), edge, |plan, folder| {
                carry_out(args, plan, &state, Some(folder)).map(|(_, summary)| summary)
            })?
        }
        None => {
            let (out, summary) = carry_out(args, plan, &state, None)?;
            show(args, &summary, &out);
            summary.outcome.exit_status()
        }
    };
    if args.down {
        stop_cloud(&state)?;
    } else if plan.cloud.bring_your_own.is_none() {
        let (openrc, down) = (state.join("openrc"), state.command("down"));
        say!("the cloud keeps running: `. {}` for the openstack client; `{down}` stops it", openrc.display());
    }
    Ok(status)
}

fn stop_cloud(state: &StateDir) -> Result<(), Failure> {
    runtime().map_err(words)?.block_on(control_plane::down(state, false)).map_err(words)?;
    Ok(())
}

/// Runs a plan on its cloud, into a new folder or that of a trial.
///
/// Hypervisors stay from one trial of a search to the next, and each has a cloud that was just started: a broker goes on for minutes
/// with the farewells and the backlog of thousands of hypervisors, and its statistics grow from trial to trial.
fn carry_out(args: &Args, plan: &Plan, state: &StateDir, trial: Option<&Path>) -> Result<(PathBuf, Summary), Failure> {
    let keep = keep(args.keep || trial.is_some(), plan, state)?;
    only_modelled(plan, keep.as_ref())?;
    let out = trial.map_or_else(|| new_folder(args, plan), |folder| Ok(folder.to_owned()))?;
    if trial.is_some() && state.exists() {
        stop_cloud(state)?;
    }
    let (target, _lock) = runtime().map_err(words)?.block_on(target(args, plan, state))?;
    // Threads inherit it, and so would the processes of the cloud: hence between two runtimes.
    let _first = Precedence::take();
    let runtime = runtime().map_err(words)?;
    let summary = runtime.block_on(record(plan, (&target, keep.as_ref()), &out))?;
    Ok((out, summary))
}

/// The harness does not restart a real cloud's broker yet, and servers run on it already only if an earlier run left them.
fn only_modelled(plan: &Plan, keep: Option<&Keep>) -> Result<(), Failure> {
    let incident = plan.incidents.iter().find(|incident| incident.kind.is_modelled());
    if let Some(incident) = incident {
        let what = incident.kind.name();
        return Err(format!(
            "the incident `{what}` is one that only the model does; take it out, or run it with --target sim"
        ));
    }
    let nobody_left_any = keep.is_none_or(|keep| keep.kept.is_none());
    if plan.fleet.servers > 0 && nobody_left_any {
        let servers = plan.fleet.servers;
        return Err(format!(
            "the scenario asks for {servers} servers that run already (fleet.servers), and no earlier run left any here; boot \
             them in a run with --keep, or run it with --target sim"
        ));
    }
    Ok(())
}

/// What stays in the cloud when the run ends, if anything does: what an earlier one left, or what this one is to leave.
fn keep(stays: bool, plan: &Plan, state: &StateDir) -> Result<Option<Keep>, Failure> {
    if plan.cloud.bring_your_own.is_some() {
        return if stays { Err("--keep is for the harness's own cloud".to_owned()) } else { Ok(None) };
    }
    let kept = if state.exists() { Kept::of(state).map_err(words)? } else { None };
    if let Some(misfit) = kept.as_ref().and_then(|kept| kept.misfit(plan)) {
        return Err(format!(
            "the cloud in {} has hypervisors and tenants that an earlier run left with --keep, and the scenario does not fit \
             them: {misfit}\nRestore a snapshot from before that run ({}), choose another folder with --state DIR, or remove \
             the cloud ({})",
            state.path().display(),
            state.command("snapshot restore NAME"),
            state.command("down --purge"),
        ));
    }
    Ok((stays || kept.is_some()).then(|| Keep { state: state.clone(), kept }))
}

/// How much nicer the cloud shall be than the harness.
const NICER_BY: i32 = 10;

/// On the machine that it loads, a generator that waits for CPU measures its own waiting. Root may go first; others run as
/// they are, and the run tells how late it was in any case.
struct Precedence {
    taken: bool,
}

impl Precedence {
    fn take() -> Self {
        Self { taken: rustix::process::nice(-NICER_BY).is_ok() }
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        if self.taken {
            let _stays_as_it_is = rustix::process::nice(NICER_BY);
        }
    }
}

/// The cloud, up and open to its administrator, and the right to load it. A wrong password is told before anything is made.
async fn target(args: &Args, plan: &Plan, state: &StateDir) -> Result<(Target, Option<Lock>), Failure> {
    let (mut target, lock) = find(args, plan, state).await?;
    target.fleet_command = Some(fleet_process::command().map_err(words)?);
    target.log_in(control_plane::load::Http::new(None)).await.map_err(words)?;
    Ok((target, lock))
}

async fn find(args: &Args, plan: &Plan, state: &StateDir) -> Result<(Target, Option<Lock>), Failure> {
    if let Some(foreign) = &plan.cloud.bring_your_own {
        if !args.allow_foreign_cloud {
            return Err(format!(
                "the scenario loads the cloud {:?}, which this harness did not start: servers, projects and {} simulated \
                 hypervisors will be made there\nIf that is what you want, say so with --allow-foreign-cloud",
                foreign.cloud, plan.fleet.hypervisors
            ));
        }
        return Ok((Target::foreign(foreign).await.map_err(words)?, None));
    }
    let mut spec = CloudSpec::from_plan(&plan.release, &plan.cloud, &plan.tuning);
    spec.base_port = args.base_port;
    let Up { cloud, lock, .. } = control_plane::bring_up(state, &spec, &Terminal::new()).await.map_err(words)?;
    Ok((Target::own(&cloud), Some(lock)))
}

/// Carries the plan out, recording it, and reports.
async fn record(plan: &Plan, (target, keep): (&Target, Option<&Keep>), out: &Path) -> Result<Summary, Failure> {
    let manifest = manifest::live(plan, target);
    let plan_json = serde_json::to_string_pretty(plan).expect("a plan is JSON");
    let recorder = Recorder::create(out, &manifest, &plan_json).map_err(words)?;
    // For whoever has to kill it.
    say!("recorded in {}", out.display());
    let origin = Instant::now();
    let (canceller, cancel) = Cancel::new();
    let signals = tokio::spawn(listen(canceller, out.to_owned())?);
    let terminal = RunTerminal::new(plan);
    let outcome = live::run(plan, target, &recorder, origin, keep, &cancel, &terminal).await;
    terminal.finish();
    signals.abort();
    let finished = recorder.finish(&outcome);
    if let Some(reason) = outcome.failure() {
        say!("error: {reason}");
    }
    let summary = reports::write(out).map_err(words)?;
    finished.map_err(words)?;
    Ok(summary)
}

/// Turns the first SIGINT or SIGTERM into the wish to stop, and the second into the end.
fn listen(canceller: Canceller, out: PathBuf) -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(words)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(words)?;
    Ok(async move {
        for first in [true, false] {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first {
                say!("\nstopping: nothing more is started, what is under way may end, then the run ends as any other");
                say!("once more stops at once and leaves what was made for the next run to remove");
                canceller.cancel();
            } else {
                say!("stopped at once: servers, tenants and hosts of the run stay until the next run removes them");
                say!("`kagemusha report {}` reports what was recorded", out.display());
                std::process::exit(exit::COULD_NOT_RUN.into());
            }
        }
    })
}
