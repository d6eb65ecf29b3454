//! The one writer behind every [`Recorder`](crate::Recorder): the files, in the order of the calls.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Serialize;

use crate::{
    Event, Manifest, OperationRecord, Outcome, RpcResult, Sample,
    error::RecordError,
    latency::{INTERVAL, LatencyLogs, StreamId},
    names, text,
};

/// How often the cumulative counters of the remote calls go to the series.
pub const COUNTERS_EVERY: Duration = Duration::from_secs(5);

pub(crate) struct Writer {
    folder: PathBuf,
    operations: Lines,
    events: Lines,
    series: Lines,
    latency: LatencyLogs,
    /// Place of each remote call in `rpc`.
    rpc_places: BTreeMap<String, usize>,
    rpc: Vec<Call>,
    /// The latest moment that any record spoke of.
    now: Duration,
    /// Start of the running interval of the latency logs.
    interval_start: Duration,
    counters_due: Duration,
    /// Length of the intervals.
    interval: Duration,
}

/// One remote call: its latency stream, and cumulative counts.
struct Call {
    name: String,
    latency: Option<StreamId>,
    count: u64,
    failed: u64,
    timed_out: u64,
    /// Whether the series lacks the latest change.
    unwritten: bool,
}

impl Writer {
    pub(crate) fn create(folder: &Path, manifest: &Manifest, plan_json: &str) -> Result<Self, RecordError> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(RecordError::io(parent))?;
        }
        fs::create_dir(folder).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => RecordError::Exists(folder.to_owned()),
            _ => RecordError::io(folder)(error),
        })?;
        let mut series = Lines::create(folder.join(names::SERIES))?;
        series.write(names::SERIES_HEADER)?;
        series.flush()?;
        let writer = Self {
            operations: Lines::create(folder.join(names::OPERATIONS))?,
            events: Lines::create(folder.join(names::EVENTS))?,
            series,
            latency: LatencyLogs::create(folder.join(names::LATENCY))?,
            rpc_places: BTreeMap::new(),
            rpc: Vec::new(),
            interval: INTERVAL,
            now: Duration::ZERO,
            interval_start: Duration::ZERO,
            counters_due: COUNTERS_EVERY,
            folder: folder.to_owned(),
        };
        // The manifest comes last: a folder that has one has all the rest.
        replace(&folder.join(names::PLAN), plan_json.as_bytes())?;
        replace(&folder.join(names::MANIFEST), &pretty_json(&folder.join(names::MANIFEST), manifest)?)?;
        Ok(writer)
    }

    /// Time has passed: ends the intervals that are over, and hands to the system what was buffered.
    pub(crate) fn advance(&mut self, at: Duration) -> Result<(), RecordError> {
        self.now = self.now.max(at);
        if self.now >= self.counters_due {
            self.write_counters()?;
            self.counters_due = Duration::from_secs(self.now.as_secs()) + COUNTERS_EVERY;
        }
        if self.now >= self.interval_start + self.interval {
            self.latency.end_interval(self.interval_start, self.interval)?;
            self.interval_start = Duration::from_secs(self.now.as_secs());
            self.operations.flush()?;
            self.series.flush()?;
        }
        Ok(())
    }

    pub(crate) fn latency(&mut self, stream: &str, at: Duration, value: Duration) -> Result<(), RecordError> {
        self.advance(at)?;
        self.latency.record(stream, value)
    }

    pub(crate) fn operation(&mut self, record: &OperationRecord) -> Result<(), RecordError> {
        let [intended, started, ended] = [record.intended_ms, record.started_ms, record.ended_ms].map(text::moment);
        self.advance(ended)?;
        self.operations.json(record)?;
        self.latency.record(names::HARNESS_LATE_OPERATIONS, started.saturating_sub(intended))?;
        let stream = &record.stream;
        let latency = ended.saturating_sub(intended);
        if record.error.is_some() {
            return self.latency.record(&format!("failed/{stream}"), latency);
        }
        self.latency.record(&format!("operations/{stream}"), latency)?;
        for (phase, duration_ms) in &record.phases_ms {
            self.latency.record(&format!("operations/{stream}@{phase}"), text::moment(*duration_ms))?;
        }
        Ok(())
    }

    pub(crate) fn event(&mut self, event: &Event) -> Result<(), RecordError> {
        self.advance(text::moment(event.t_ms))?;
        self.events.json(event)?;
        self.events.flush()
    }

    pub(crate) fn sample(&mut self, sample: &Sample) -> Result<(), RecordError> {
        self.advance(text::moment(sample.t_ms))?;
        write_sample(&mut self.series, sample)
    }

    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval.max(INTERVAL);
    }

    pub(crate) fn rpc_stream(&mut self, call: &str) -> usize {
        if let Some(place) = self.rpc_places.get(call) {
            return *place;
        }
        let name = call.to_owned();
        self.rpc.push(Call { name, latency: None, count: 0, failed: 0, timed_out: 0, unwritten: false });
        self.rpc_places.insert(call.to_owned(), self.rpc.len() - 1);
        self.rpc.len() - 1
    }

    pub(crate) fn rpc(
        &mut self,
        call: &str,
        at: Duration,
        latency: Duration,
        result: RpcResult,
    ) -> Result<(), RecordError> {
        let place = self.rpc_stream(call);
        self.rpc_in(place, at, latency, result)
    }

    pub(crate) fn rpc_in(
        &mut self,
        place: usize,
        at: Duration,
        latency: Duration,
        result: RpcResult,
    ) -> Result<(), RecordError> {
        self.advance(at)?;
        let call = &mut self.rpc[place];
        let stream = match call.latency {
            Some(stream) => stream,
            None => *call.latency.insert(self.latency.open(&format!("rpc/{}", call.name))?),
        };
        call.count += 1;
        call.failed += u64::from(result == RpcResult::Failed);
        call.timed_out += u64::from(result == RpcResult::TimedOut);
        call.unwritten = true;
        self.latency.record_in(stream, latency);
        Ok(())
    }

    /// Writes what is pending, up to the running interval. The recording can go on after it, but then that interval
    /// has two lines.
    pub(crate) fn write_pending(&mut self) -> Result<(), RecordError> {
        self.write_counters()?;
        let length = self.now.saturating_sub(self.interval_start);
        self.latency.end_interval(self.interval_start, length)?;
        self.operations.flush()?;
        self.series.flush()
    }

    pub(crate) fn finish(&mut self, outcome: &Outcome) -> Result<(), RecordError> {
        self.advance(text::moment(outcome.duration_ms))?;
        self.write_pending()?;
        let path = self.folder.join(names::OUTCOME);
        replace(&path, &pretty_json(&path, outcome)?)
    }

    fn write_counters(&mut self) -> Result<(), RecordError> {
        let mut rpc = std::mem::take(&mut self.rpc);
        let t_ms = text::millis(self.now);
        for place in self.rpc_places.values() {
            let Call { name, count, failed, timed_out, unwritten, .. } = &mut rpc[*place];
            if !std::mem::take(unwritten) {
                continue;
            }
            for (metric, value) in [("rpc.count", *count), ("rpc.failed", *failed), ("rpc.timed_out", *timed_out)] {
                let sample = Sample { t_ms, metric: metric.into(), instance: name.clone(), value: value as f64 };
                write_sample(&mut self.series, &sample)?;
            }
        }
        self.rpc = rpc;
        Ok(())
    }
}

fn write_sample(series: &mut Lines, sample: &Sample) -> Result<(), RecordError> {
    let Sample { t_ms, metric, instance, value } = sample;
    if !(t_ms.is_finite() && value.is_finite()) {
        let reason = format!("{metric} {instance}: {value} at {t_ms} ms is not a number");
        return Err(RecordError::Record { path: series.path.clone(), reason });
    }
    let (metric, instance) = (text::csv_field(metric), text::csv_field(instance));
    series.write(&format!("{t_ms},{metric},{instance},{value}"))
}

/// A file that grows by lines.
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, RecordError> {
        let file = File::create_new(&path).map_err(RecordError::io(&path))?;
        Ok(Self { path, file: BufWriter::new(file) })
    }

    fn write(&mut self, line: &str) -> Result<(), RecordError> {
        writeln!(self.file, "{line}").map_err(RecordError::io(&self.path))
    }

    fn json(&mut self, record: &impl Serialize) -> Result<(), RecordError> {
        let line = serde_json::to_string(record)
            .map_err(|error| RecordError::Record { path: self.path.clone(), reason: error.to_string() })?;
        self.write(&line)
    }

    fn flush(&mut self) -> Result<(), RecordError> {
        self.file.flush().map_err(RecordError::io(&self.path))
    }
}

fn pretty_json(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, RecordError> {
    let mut json = serde_json::to_vec_pretty(value)
        .map_err(|error| RecordError::Record { path: path.to_owned(), reason: error.to_string() })?;
    json.push(b'\n');
    Ok(json)
}

/// Writes a whole file so that a reader sees all of it or nothing.
fn replace(path: &Path, content: &[u8]) -> Result<(), RecordError> {
    let unfinished = path.with_extension("tmp");
    fs::write(&unfinished, content).map_err(RecordError::io(&unfinished))?;
    fs::rename(&unfinished, path).map_err(RecordError::io(path))
}
