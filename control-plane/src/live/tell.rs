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
