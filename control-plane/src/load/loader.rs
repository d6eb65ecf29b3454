//! Carries out all streams of a plan, each after its time or after the stream that it follows.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::{Duration, Instant},
};

use recording::{Recorder, Sample, millis};
use scenarios::plan::{LoadPlan, Plan};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::{
    SchedulingLog, Session, Tenants,
    operations::{Ground, TimelineOf},
    poller::Poller,
    servers::Servers,
    stream::{Counts, Stage, Stream},
};

/// What a load works with.
pub struct LoaderSpec {
    /// Who loads.
    pub tenants: Tenants,
    /// Servers that are there and ACTIVE already.
    pub servers: Servers,
    /// The administrator, whose eyes the poller uses.
    pub admin: Session,
    /// Where results go.
    pub recorder: Recorder,
    /// `t = 0` of the run.
    pub origin: Instant,
    /// The conductor's log, where it is at hand.
    pub scheduling: Option<SchedulingLog>,
    /// What the fleet noted of a build.
    pub timeline_of: Box<TimelineOf>,
}

/// How far a load is, over all streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations started.
    pub started: u64,
    /// Operations that have ended, failed ones included.
    pub ended: u64,
    /// Operations that have failed.
    pub failed: u64,
    /// Operations of the plan; `None`: only the run can tell.
    pub intended: Option<u64>,
}

/// A load that runs. Dropping it ends all its operations.
pub struct Loader {
    streams: JoinSet<()>,
    poller: AbortHandle,
    stage: watch::Sender<Stage>,
    starting: watch::Receiver<usize>,
    counts: Vec<(String, Option<u64>, Arc<Counts>)>,
}

impl Loader {
    /// Begins the streams of a plan, now.
    pub fn start(plan: &Plan, spec: LoaderSpec) -> Self {
        let LoaderSpec { tenants, servers, admin, recorder, origin, scheduling, timeline_of } = spec;
        let poller = Poller::default();
        let ground = Arc::new(Ground { tenants, servers, poller, scheduling, timeline_of, origin });
        let polled = Arc::clone(&ground);
        let poller = tokio::spawn(async move { polled.poller.run(&admin).await }).abort_handle();
        let (stage, stages) = watch::channel(Stage::Load);
        let (starting, still_starting) = watch::channel(plan.load.len());
        let turns = Arc::new(AtomicU64::new(0));
        let ends: BTreeMap<&str, watch::Sender<bool>> =
            plan.load.iter().map(|load| (load.name.as_str(), watch::channel(false).0)).collect();
        let (begin, mut streams, mut counts) = (Instant::now(), JoinSet::new(), Vec::new());
        for load in &plan.load {
            let stream = Stream {
                plan: Arc::new(load.clone()),
                ground: Arc::clone(&ground),
                recorder: recorder.clone(),
                counts: Arc::default(),
                turns: Arc::clone(&turns),
                stages: stages.clone(),
                starting: starting.clone(),
            };
            let intended = load.operations(plan.seed);
            note_intended(&recorder, origin.elapsed(), load, intended);
            counts.push((load.name.clone(), intended, Arc::clone(&stream.counts)));
            let before = load.after.as_deref().and_then(|name| ends.get(name)).map(watch::Sender::subscribe);
            streams.spawn(in_turn(stream, plan.seed, begin, before, ends[load.name.as_str()].clone()));
        }
        Self { streams, poller, stage, starting: still_starting, counts }
    }

    /// Waits until all streams have started all their operations.
    pub async fn all_started(&mut self) {
        // An error means that nobody starts anything any more.
        let _none_left = self.starting.wait_for(|streams| *streams == 0).await;
    }

    async fn ended(&mut self) {
        while self.streams.join_next().await.is_some() {}
    }

    /// Starts no more operations, and waits this long for those under way. What has not ended then has failed.
    pub async fn drain(&mut self, within: Duration) {
        self.stage.send_replace(Stage::Drain);
        if tokio::time::timeout(within, self.ended()).await.is_err() {
            self.stage.send_replace(Stage::Over);
            self.ended().await;
        }
    }

    /// Reads, for whoever shows progress, how far the load is.
    pub fn tally(&self) -> impl Fn() -> Tally + Send + Sync + 'static {
        let counts: Vec<_> = self.counts.iter().map(|(_, intended, counts)| (*intended, Arc::clone(counts))).collect();
        move || {
            let sum = |of: fn(&Counts) -> &AtomicU64| {
                counts.iter().map(|(_, counts)| of(counts).load(Ordering::Relaxed)).sum()
            };
            Tally {
                started: sum(|counts| &counts.started),
                ended: sum(|counts| &counts.ended),
                failed: sum(|counts| &counts.failed),
                intended: counts.iter().map(|(intended, _)| *intended).sum(),
            }
        }
    }

    /// Reads, for the sampler, how many operations of each stream have started.
    pub fn started(&self) -> impl Fn() -> Vec<(String, u64)> + Send + Sync + 'static {
        let counts: Vec<_> = self.counts.iter().map(|(name, _, counts)| (name.clone(), Arc::clone(counts))).collect();
        move || counts.iter().map(|(name, counts)| (name.clone(), counts.started.load(Ordering::Relaxed))).collect()
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

async fn in_turn(
    stream: Stream,
    seed: u64,
    mut begin: Instant,
    before: Option<watch::Receiver<bool>>,
    end: watch::Sender<bool>,
) {
    if let Some(mut before) = before {
        // A stream that panicked has ended, too.
        let _ended = before.wait_for(|ended| *ended).await;
        begin = Instant::now();
    }
    let start = begin + stream.plan.start;
    stream.run(start, seed).await;
    end.send_replace(true);
}

fn note_intended(recorder: &Recorder, at: Duration, load: &LoadPlan, intended: Option<u64>) {
    if let Some(intended) = intended {
        let (metric, instance) = ("load.intended".to_owned(), load.name.clone());
        recorder.sample(&Sample { t_ms: millis(at), metric, instance, value: intended as f64 });
    }
}
