//! What a run tells while it goes on, and how it is told to stop.

use std::time::Duration;

use tokio::sync::watch;

/// The steps of a run, in their order; events `phase` have these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Projects, users, network, image, flavor; remains of earlier runs are removed first.
    Tenants,
    /// The fleet starts, until Nova's service list shows all of it up.
    Register,
    /// Operations start at their intended times.
    Load,
    /// Every operation has been started; those under way may end.
    Drain,
    /// What the run made is removed.
    CleanUp,
    /// All is done.
    End,
}

impl Phase {
    /// Its name in the recording.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Register => "register",
            Self::Load => "load",
            Self::Drain => "drain",
            Self::CleanUp => "clean_up",
            Self::End => "end",
        }
    }
}

/// How far a phase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Which phase.
    pub phase: Phase,
    /// Things done.
    pub done: u64,
    /// Things to do, where that is known.
    pub total: Option<u64>,
    /// The figures that matter now, in words.
    pub text: String,
    /// Time since the phase began.
    pub since: Duration,
    /// What is left of the phase if the cloud keeps up from now on, where the plan says so.
    pub planned_left: Option<Duration>,
}

/// One in so many things has to be done before the rest is judged by it.
const ENOUGH: u64 = 10;

impl Status {
    /// What the rest takes: by the plan where it has one, else as long as it takes if it goes on like this; `None` when
    /// nothing can be said yet.
    pub fn estimate(&self) -> Option<Duration> {
        if let Some(left) = self.planned_left {
            return Some(left);
        }
        let (done, total) = (self.done, self.total?);
        let left = total.checked_sub(done)?;
        // A fleet registers slowly at first, when all of it asks for tokens: the first few of a thousand say nothing.
        let enough = done > 0 && done.saturating_mul(ENOUGH) >= total;
        enough.then(|| self.since.mul_f64(left as f64 / done as f64))
    }
}

/// Someone who wants to know how far a run is.
pub trait Tell: Send + Sync {
    /// A phase began.
    fn phase(&self, phase: Phase, text: &str);
    /// How far it is, every second or so.
    fn status(&self, status: &Status);
    /// Something worth knowing.
    fn note(&self, text: &str);
}

/// The wish to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<bool>);

/// Who can utter that wish.
#[derive(Debug)]
pub struct Canceller(watch::Sender<bool>);

impl Cancel {
    /// A wish that has not been uttered, and the way to utter it.
    pub fn new() -> (Canceller, Self) {
        let (sender, receiver) = watch::channel(false);
        (Canceller(sender), Self(receiver))
    }

    /// Waits for the wish; for ever when nobody can utter it any more.
    pub async fn cancelled(&self) {
        if self.0.clone().wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it was uttered.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

impl Canceller {
    /// Utters the wish.
    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_needs_something_to_go_by() {
        let status = |done, total| {
            let (text, since) = (String::new(), Duration::from_secs(10));
            Status { phase: Phase::Load, done, total, text, since, planned_left: None }.estimate()
        };
        assert_eq!(status(0, Some(10)), None);
        assert_eq!(status(9, Some(100)), None);
        assert_eq!(status(5, None), None);
        assert_eq!(status(25, Some(100)), Some(Duration::from_secs(30)));
        assert_eq!(status(10, Some(10)), Some(Duration::ZERO));
    }
}
