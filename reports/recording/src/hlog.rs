//! Reading HdrHistogram interval logs.

use std::{path::Path, time::Duration};

use base64::Engine as _;
use hdrhistogram::{
    Histogram,
    serialization::{
        Deserializer,
        interval_log::{IntervalLogHistogram, IntervalLogIterator, LogEntry},
    },
};

use crate::{error::ReadError, latency::SIGNIFICANT_DIGITS};

/// One latency stream of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencyStream {
    /// Its intervals, in order of time. Seconds in which nothing ended have none.
    pub intervals: Vec<Interval>,
}

/// The latencies that ended within one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interval {
    /// When it began, from `t = 0`.
    pub start: Duration,
    /// How long it was.
    pub length: Duration,
    /// Latency in microseconds (the largest of its histogram bucket) and how many there were, ascending. A histogram of
    /// its own for each second would take a hundred times the memory.
    pub counts: Vec<(u64, u64)>,
}

impl LatencyStream {
    /// Number of latencies in the stream.
    pub fn count(&self) -> u64 {
        self.intervals.iter().flat_map(|interval| &interval.counts).map(|(_, count)| count).sum()
    }

    /// The whole stream as one histogram, in microseconds.
    pub fn histogram(&self) -> Histogram<u64> {
        merge(&self.intervals)
    }
}

/// One histogram, in microseconds, of several intervals.
pub fn merge<'a>(intervals: impl IntoIterator<Item = &'a Interval>) -> Histogram<u64> {
    let mut merged = Histogram::new(SIGNIFICANT_DIGITS).expect("three digits are within the histogram's limits");
    for (value_us, count) in intervals.into_iter().flat_map(|interval| &interval.counts) {
        merged.record_n(*value_us, *count).expect("an auto-resizing histogram takes every value");
    }
    merged
}

/// Parses the whole lines of a log.
pub(crate) fn parse<'a>(path: &Path, lines: impl Iterator<Item = &'a str>) -> Result<LatencyStream, ReadError> {
    let mut deserializer = Deserializer::new();
    let mut stream = LatencyStream::default();
    for (index, line) in lines.enumerate() {
        let malformed = |reason: String| ReadError::Malformed { path: path.to_owned(), line: index + 1, reason };
        // The log's parser wants the newline; line by line, its errors have a line number.
        let line = format!("{line}\n");
        for entry in IntervalLogIterator::new(line.as_bytes()) {
            match entry {
                Ok(LogEntry::Interval(entry)) => {
                    stream.intervals.push(interval(&entry, &mut deserializer).map_err(malformed)?);
                }
                Ok(LogEntry::StartTime(_) | LogEntry::BaseTime(_)) => {}
                Err(_) => return Err(malformed("not a line of an HdrHistogram interval log".to_owned())),
            }
        }
    }
    Ok(stream)
}

fn interval(entry: &IntervalLogHistogram<'_>, deserializer: &mut Deserializer) -> Result<Interval, String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(entry.encoded_histogram())
        .map_err(|error| format!("the histogram is not base64: {error}"))?;
    let histogram: Histogram<u64> = deserializer
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| format!("the histogram cannot be decoded: {error}"))?;
    let counts = histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
    Ok(Interval { start: entry.start_timestamp(), length: entry.duration(), counts })
}
