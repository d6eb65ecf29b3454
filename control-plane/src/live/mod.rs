//! The live target: a plan, carried out on a real cloud.

mod broker_queues;
mod error;
mod foreign;
mod incidents;
mod logs;
mod records;
mod reference;
mod register;
mod steps;
mod target;
mod tell;
mod tidy;

use std::{collections::BTreeSet, sync::OnceLock, time::Instant};

use fake_hv::Fleet;
use recording::{Outcome, OutcomeKind, Recorder, millis};
use scenarios::Plan;

use crate::{
    Kept, StateDir,
    load::{Http, RunName, Session},
    watch::{Scribe, SharedFleet, SharedProcesses, Watch},
};
use logs::Logs;

pub use error::LiveError;
pub use target::Target;
pub use tell::{Cancel, Canceller, Phase, Status, Tell};

/// What all steps of a run need.
struct Run<'a> {
    plan: &'a Plan,
    target: &'a Target,
    name: RunName,
    admin: Session,
    scribe: Scribe,
    fleet: SharedFleet,
    real: SharedProcesses,
    /// Names of the broker's queues before the fleet came.
    queues_before: OnceLock<BTreeSet<String>>,
    keep: Option<&'a Keep>,
    cancel: &'a Cancel,
    tell: &'a dyn Tell,
}

/// Tenants, hypervisors and servers stay when the run ends, for the next one.
#[derive(Debug)]
pub struct Keep {
    /// Where it is noted what stays.
    pub state: StateDir,
    /// What stayed of the run before, which this one goes on with.
    pub kept: Option<Kept>,
}

/// Carries out a plan, and leaves the cloud as it was, whatever happens in between. Times of the recording count from
/// `origin`.
///
/// The steps, each an event `phase`: tenants, register, load, drain, clean_up, end. A wish to stop ends the step that is
/// under way; operations that have begun may end within the plan's drain, and the clean-up is never left out.
pub async fn run(
    plan: &Plan,
    target: &Target,
    recorder: &Recorder,
    origin: Instant,
    keep: Option<&Keep>,
    cancel: &Cancel,
    tell: &dyn Tell,
) -> Outcome {
    let logs = target.own.as_ref().map(|cloud| Logs::begin(&cloud.processes));
    let result = match log_in(plan, target, recorder, origin, (keep, cancel, tell)).await {
        Ok(run) => {
            let watch = run.watch();
            let result = run.carry_out(watch).await;
            run.phase(Phase::End, "");
            result
        }
        Err(error) => Err(error),
    };
    if let Some(Err(error)) = logs.map(|logs| logs.copy_to(&recorder.services())) {
        tell.note(&format!("the logs of the services could not be copied: {error}"));
    }
    outcome(result, origin)
}

async fn log_in<'a>(
    plan: &'a Plan,
    target: &'a Target,
    recorder: &Recorder,
    origin: Instant,
    (keep, cancel, tell): (Option<&'a Keep>, &'a Cancel, &'a dyn Tell),
) -> Result<Run<'a>, LiveError> {
    let admin = target.log_in(Http::new(Some((recorder.clone(), origin)))).await?;
    let scribe = Scribe::new(recorder.clone(), origin);
    let kept = keep.and_then(|keep| keep.kept.as_ref());
    let name = kept.map_or_else(RunName::generate, |kept| kept.run.clone());
    let (fleet, real) = (SharedFleet::default(), SharedProcesses::default());
    let queues_before = OnceLock::new();
    Ok(Run { plan, target, name, admin, scribe, fleet, real, queues_before, keep, cancel, tell })
}

impl Run<'_> {
    async fn carry_out(&self, mut watch: Watch) -> Result<(), LiveError> {
        let result = self.make_and_load(&mut watch).await;
        if let Err(error) = &result {
            let kind = if matches!(error, LiveError::Interrupted) { "interrupted" } else { "error" };
            self.scribe.event(kind, error.to_string());
        }
        let stays =
            if self.keep.is_some() { "tenants, hypervisors and servers stay for the next run" } else { "as it was" };
        self.phase(Phase::CleanUp, stays);
        reference::stop(self).await;
        match self.keep {
            Some(keep) => tidy::leave(self, keep).await,
            None => tidy::clean_up(self).await,
        }
        watch.stop().await;
        result
    }

    async fn make_and_load(&self, watch: &mut Watch) -> Result<(), LiveError> {
        self.phase(Phase::Tenants, self.name.as_str());
        let tenants = self.unless_cancelled(self.make_tenants()).await?;
        let login = self.target.nova_service.as_ref().or(tenants.nova_service.as_ref());
        // While the cloud has nothing else to do: beside thousands that come up it would take minutes.
        self.unless_cancelled(reference::start(self)).await?;
        let disable = reference::disable(self);
        if let Some(login) = login.filter(|_| self.plan.fleet.hypervisors > 0) {
            self.phase(Phase::Register, &format!("{} hypervisors", self.plan.fleet.hypervisors));
            let register = register::register(self, login);
            self.unless_cancelled(async { tokio::try_join!(register, disable).map(drop) }).await?;
        } else {
            self.unless_cancelled(disable).await?;
        }
        let servers = self.servers(&tenants).await?;
        let (there, asked) = (servers.len(), self.plan.fleet.servers);
        if there < asked as usize {
            return Err(LiveError::Kept(format!(
                "{there} of {asked} servers run already that fleet.servers asks for; boot them in a run with --keep"
            )));
        }
        self.phase(Phase::Load, "");
        let mut loader = self.begin_load(tenants, servers);
        watch.load(loader.started());
        let load = async {
            let tally = loader.tally();
            let loaded = self.showing(Phase::Load, &tally, self.load(&mut loader)).await;
            self.phase(Phase::Drain, "");
            self.showing(Phase::Drain, &tally, loader.drain(self.plan.drain)).await;
            loaded
        };
        let lost = self.fleet.with(Fleet::lost);
        let lost = async {
            match lost {
                Some(lost) => lost.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            loaded = load => loaded,
            reason = lost => Err(LiveError::FleetLost(reason)),
            () = incidents::happen(self) => unreachable!("it makes things happen for ever"),
        }
    }
}

fn outcome(result: Result<(), LiveError>, origin: Instant) -> Outcome {
    let (kind, reason) = match result {
        Ok(()) => (OutcomeKind::Completed, None),
        Err(error @ LiveError::Interrupted) => (OutcomeKind::Interrupted, Some(error.to_string())),
        Err(error @ LiveError::Overwhelmed(_)) => (OutcomeKind::Overwhelmed, Some(error.to_string())),
        Err(error) => (OutcomeKind::Error, Some(error.to_string())),
    };
    Outcome { kind, reason, duration_ms: millis(origin.elapsed()) }
}
