//! What `up` tells while it works.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

/// Someone who wants to know how far `up` is. Steps may overlap.
pub trait Progress: Send + Sync {
    /// A step began.
    fn begin(&self, step: &str);
    /// A step ended well.
    fn end(&self, step: &str, took: Duration);
    /// Something worth knowing that is no error.
    fn note(&self, text: &str);
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str) {}
    fn end(&self, _step: &str, _took: Duration) {}
    fn note(&self, _text: &str) {}
}

/// Hands progress on and remembers how long each step took.
pub(crate) struct Steps<'a> {
    progress: &'a dyn Progress,
    took: Mutex<Vec<(String, Duration)>>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, took: Mutex::default() }
    }

    /// Runs a step, telling its beginning and its end. A step that fails ends with the error that its caller shows.
    pub(crate) async fn run<T, E>(&self, step: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        self.progress.begin(step);
        let started = Instant::now();
        let result = work.await;
        if result.is_ok() {
            let took = started.elapsed();
            self.took.lock().expect("no holder of this lock panics").push((step.to_owned(), took));
            self.progress.end(step, took);
        }
        result
    }

    pub(crate) fn note(&self, text: &str) {
        self.progress.note(text);
    }

    /// Each step with its time, in the order in which they ended.
    pub(crate) fn finish(self) -> Vec<(String, Duration)> {
        self.took.into_inner().expect("no holder of this lock panics")
    }
}
