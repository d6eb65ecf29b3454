//! One stream of a plan: each operation at its intended start, in a task of its own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use recording::{OperationRecord, Recorder, millis};
use scenarios::{ClosedLoop, plan::LoadPlan};
use tokio::{sync::watch, task::JoinSet};

use super::operations::{Attempt, Ended, Ground, state_of};

/// What the streams of a load are told while they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Operations start when they are due.
    Load,
    /// No operation starts any more; those under way may end.
    Drain,
    /// What has not ended has failed.
    Over,
}

/// Waits until the stage is reached; for ever when nobody can tell any more.
pub(crate) async fn reached(stages: &mut watch::Receiver<Stage>, stage: Stage) {
    if stages.wait_for(|now| *now >= stage).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Counters of one stream that anyone may read.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A stream that runs.
#[derive(Clone)]
pub(crate) struct Stream {
    pub(crate) plan: Arc<LoadPlan>,
    pub(crate) ground: Arc<Ground>,
    pub(crate) recorder: Recorder,
    pub(crate) counts: Arc<Counts>,
    /// Turns of the users, over all streams.
    pub(crate) turns: Arc<AtomicU64>,
    pub(crate) stages: watch::Receiver<Stage>,
    /// Streams that have operations to start yet.
    pub(crate) starting: watch::Sender<usize>,
}

impl Stream {
    /// Starts every operation at its time, counted from `begin`, and waits until all have ended.
    pub(crate) async fn run(mut self, begin: Instant, seed: u64) {
        let mut tasks = JoinSet::new();
        if let Some(starts) = self.plan.intended_starts(seed) {
            let mut starts = (0..).zip(starts);
            while let Some((index, start)) = starts.next() {
                let intended = begin + start;
                if !self.wait_until(intended).await {
                    break;
                }
                // What goes in one request goes when the first of it is due.
                let count = 1 + starts.by_ref().take(self.batch() - 1).count();
                let stream = self.clone();
                tasks.spawn(async move { stream.operate(index, count, intended).await });
                while tasks.try_join_next().is_some() {}
            }
        } else if let Some(closed) = self.plan.closed_loop(seed) {
            let users = closed.users();
            let closed = Arc::new(Mutex::new((closed, 0)));
            for _ in 0..users {
                tasks.spawn(self.clone().client(Arc::clone(&closed), begin));
            }
        }
        // The clients of a closed loop are done when their last operations are.
        if self.plan.closed_loop(seed).is_none() {
            self.all_started();
        }
        while tasks.join_next().await.is_some() {}
        if self.plan.closed_loop(seed).is_some() {
            self.all_started();
        }
    }

    fn batch(&self) -> usize {
        self.plan.operation.batch() as usize
    }

    fn all_started(&self) {
        self.starting.send_modify(|streams| *streams -= 1);
    }

    /// One client of a closed loop.
    async fn client(mut self, closed: Arc<Mutex<(ClosedLoop, u64)>>, begin: Instant) {
        let mut last_ended = None;
        loop {
            let next = {
                let (closed, begun) = &mut *closed.lock().expect("no holder of this lock panics");
                let first = closed.next_start(last_ended);
                first.map(|start| {
                    let more = (1..self.batch()).map_while(|_| closed.next_start(last_ended)).count();
                    let index = *begun;
                    *begun += 1 + more as u64;
                    (start, index, 1 + more)
                })
            };
            let Some((start, index, count)) = next else { return };
            let intended = begin + start;
            if !self.wait_until(intended).await {
                return;
            }
            self.operate(index, count, intended).await;
            last_ended = Some(begin.elapsed());
        }
    }

    /// `false` when the load is over before that.
    async fn wait_until(&mut self, at: Instant) -> bool {
        // A late start is never skipped: when its time has passed it starts now.
        tokio::select! {
            biased;
            () = reached(&mut self.stages, Stage::Drain) => false,
            () = tokio::time::sleep_until(at.into()) => true,
        }
    }

    /// Operations that go in one request, from the one of this index on.
    async fn operate(&self, index: u64, count: usize, intended: Instant) {
        let started = Instant::now();
        self.counts.started.fetch_add(count as u64, Ordering::Relaxed);
        let ms = |at: Instant| millis(at.saturating_duration_since(self.ground.origin));
        for (index, (ended_at, ended)) in (index..).zip(self.bounded(index, count).await) {
            if ended.error.is_some() {
                self.counts.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.counts.ended.fetch_add(1, Ordering::Relaxed);
            self.recorder.operation(&OperationRecord {
                stream: self.plan.name.clone(),
                index,
                intended_ms: ms(intended),
                started_ms: ms(started),
                ended_ms: ms(ended_at),
                error: ended.error,
                server: ended.server,
                host: ended.host,
                phases_ms: ended.phases_ms,
            });
        }
    }

    /// The operations, until they end, their timeout passes or the drain is over.
    async fn bounded(&self, index: u64, count: usize) -> Vec<(Instant, Ended)> {
        let attempts: Vec<Attempt> = (0..count).map(|_| Attempt::default()).collect();
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{}-{index}", self.ground.tenants.run, self.plan.name);
        let mut stages = self.stages.clone();
        let cut_short = tokio::select! {
            () = self.ground.carry_out(&self.plan.operation, &name, turn, &attempts) => "it ended without a word".to_owned(),
            () = tokio::time::sleep(self.plan.timeout) => timed_out(self.plan.timeout),
            () = reached(&mut stages, Stage::Over) => "not ended when the run did".to_owned(),
        };
        let cut_at = Instant::now();
        let ends = attempts.iter().map(async |attempt| {
            if let Some(ended) = attempt.take() {
                return ended;
            }
            let (server, error) = match state_of(attempt).await {
                Some((server, state)) => (Some(server), format!("{cut_short}: {state}")),
                None => (None, cut_short.clone()),
            };
            (cut_at, Ended { error: Some(error), server, ..Ended::default() })
        });
        futures_util::future::join_all(ends).await
    }
}

fn timed_out(after: Duration) -> String {
    format!("not ended within {} s", after.as_secs_f64())
}
