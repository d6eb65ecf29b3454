//! The handle that targets record through.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Event, Manifest, OperationRecord, Outcome, Sample, error::RecordError, writer::Writer};

/// How a remote call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RpcResult {
    /// With a reply.
    Ok,
    /// With an exception that the server sent, or a connection that broke.
    Failed,
    /// Without a reply in time.
    TimedOut,
}

/// A remote call whose latency stream is open: see [`Recorder::rpc_stream`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RpcStream(pub(crate) usize);

/// Records a run into a folder while it goes on. Cheap to clone; every clone writes to the same files.
///
/// The recorder has no clock. Callers say when things happened, as time since `t = 0` of the run, and the latest
/// moment that any call spoke of is the recorder's present: when it enters a new second, what was buffered goes to the
/// system. A harness that is killed thus loses at most the second that ran, provided that something is recorded each
/// second (a sample, or [`Recorder::tick`]). A call that speaks of an earlier moment is recorded all the same; its
/// latency counts in the second that runs.
///
/// The same calls in the same order give the same bytes.
///
/// Recording never panics and never makes its callers handle errors: the first error ends the recording, and is told
/// once by [`Recorder::take_error`] for a run that wants to stop early, and in any case by [`Recorder::finish`].
///
/// Dropping the last clone without `finish` keeps everything recorded so far; the run then counts as partial.
#[derive(Clone)]
pub struct Recorder {
    folder: Arc<Path>,
    state: Arc<Mutex<State>>,
}

struct State {
    writer: Writer,
    error: Option<RecordError>,
    /// Whether the error was told already.
    told: bool,
}

impl Recorder {
    /// Begins a recording: makes the folder and writes the manifest and the plan (any JSON; the run's resolved plan).
    ///
    /// # Errors
    /// When the folder exists, or cannot be made or written.
    pub fn create(folder: &Path, manifest: &Manifest, plan_json: &str) -> Result<Self, RecordError> {
        let writer = Writer::create(folder, manifest, plan_json)?;
        let state = State { writer, error: None, told: false };
        Ok(Self { folder: folder.into(), state: Arc::new(Mutex::new(state)) })
    }

    /// Makes the intervals of the latency logs this long instead of a second: for runs in virtual time, whose hours pass in
    /// seconds. To be said before anything is recorded.
    #[must_use]
    pub fn with_interval(self, interval: Duration) -> Self {
        self.lock().writer.set_interval(interval);
        self
    }

    /// The run folder.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Where the logs of the services belong; the caller makes it.
    pub fn services(&self) -> PathBuf {
        self.folder.join("services")
    }

    /// Notes a latency that ended at `at` in `latency/<stream>.hlog`, to the microsecond.
    ///
    /// Streams: `operations/<stream>`, `operations/<stream>@<phase>`, `failed/<stream>` and `harness/operations` are
    /// filled by [`Recorder::operation`], `rpc/<call>` by [`Recorder::rpc`]. Targets add `http/<service> <what>` and
    /// `harness/<who>` (how late something of the harness itself was).
    pub fn latency(&self, stream: &str, at: Duration, value: Duration) {
        self.write(|writer| writer.latency(stream, at, value));
    }

    /// Notes an operation that has ended: its record, its latency from the intended start (under `failed/` when it
    /// failed, so that quick failures make no percentile look good), the phases, and how late the harness started it.
    pub fn operation(&self, record: &OperationRecord) {
        self.write(|writer| writer.operation(record));
    }

    /// Notes an event, and hands it to the system at once.
    pub fn event(&self, event: &Event) {
        self.write(|writer| writer.event(event));
    }

    /// Notes a point of a time series. A value that is not a finite number is an error: leave out what is not known.
    pub fn sample(&self, sample: &Sample) {
        self.write(|writer| writer.sample(sample));
    }

    /// Notes a remote call that ended at `at`, however it ended: its latency in the stream `rpc/<call>`, and the
    /// cumulative counters `rpc.count`, `rpc.failed`, `rpc.timed_out` of the series, which are written every five
    /// seconds and at the end. A call that timed out counts with the time its caller waited.
    pub fn rpc(&self, call: &str, at: Duration, latency: Duration, result: RpcResult) {
        self.write(|writer| writer.rpc(call, at, latency, result));
    }

    /// Opens the stream of a remote call, for callers that note millions of them: [`Recorder::rpc_in`] spares them the name.
    pub fn rpc_stream(&self, call: &str) -> RpcStream {
        RpcStream(self.lock().writer.rpc_stream(call))
    }

    /// As [`Recorder::rpc`], for a stream that is open.
    pub fn rpc_in(&self, stream: RpcStream, at: Duration, latency: Duration, result: RpcResult) {
        self.write(|writer| writer.rpc_in(stream.0, at, latency, result));
    }

    /// Says what time it is, for a run in which nothing else is recorded for seconds.
    pub fn tick(&self, at: Duration) {
        self.write(|writer| writer.advance(at));
    }

    /// The error that ended the recording, if one did: once, then never again.
    pub fn take_error(&self) -> Option<RecordError> {
        let mut state = self.lock();
        if state.told {
            return None;
        }
        state.told = state.error.is_some();
        state.error.clone()
    }

    /// Ends the recording: writes what is pending, and how the run ended.
    ///
    /// # Errors
    /// When this or anything recorded before could not be written; the run then stays partial.
    pub fn finish(&self, outcome: &Outcome) -> Result<(), RecordError> {
        self.write(|writer| writer.finish(outcome));
        match self.lock().error.clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn write(&self, record: impl FnOnce(&mut Writer) -> Result<(), RecordError>) {
        let mut state = self.lock();
        if state.error.is_none() {
            state.error = record(&mut state.writer).err();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panicked while it recorded leaves at worst one torn line, which readers tolerate.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if self.error.is_none() {
            // Nobody is left to be told; what could not be written is missing from a run that is partial anyway.
            let _ = self.writer.write_pending();
        }
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("folder", &self.folder).finish_non_exhaustive()
    }
}
