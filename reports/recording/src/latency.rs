//! The latency logs: one HdrHistogram interval log for each stream.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use hdrhistogram::{
    Histogram,
    serialization::{
        V2DeflateSerializer,
        interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError},
    },
};

use crate::{error::RecordError, text};

/// Length of the intervals. What a killed harness loses is at most this, and no picture needs a finer grain.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// Significant decimal digits of a latency: an error of at most 0.1 %.
pub(crate) const SIGNIFICANT_DIGITS: u8 = 3;

/// What stands at the head of every log, for the readers of other tools.
const HEADER: &str = "\
#[Histogram log format version 1.3]
#Latencies in microseconds. Times are seconds since t=0 of the run; manifest.json has its wall-clock time.
#[StartTime: 0.000 (seconds since epoch)]
\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"
";

/// All latency streams of a run.
pub(crate) struct LatencyLogs {
    folder: PathBuf,
    /// Place of each stream in `streams`.
    places: BTreeMap<String, usize>,
    streams: Vec<Stream>,
    serializer: V2DeflateSerializer,
}

/// A stream that is open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StreamId(usize);

struct Stream {
    path: PathBuf,
    file: BufWriter<File>,
    /// Latencies of the running interval, in microseconds, as they came. A histogram takes some hundred KiB: one that is made at
    /// the end of each interval, as large as its values need, leaves the processor's cache to whoever is being recorded.
    interval_us: Vec<u64>,
}

impl LatencyLogs {
    pub(crate) fn create(folder: PathBuf) -> Result<Self, RecordError> {
        fs::create_dir(&folder).map_err(RecordError::io(&folder))?;
        Ok(Self { folder, places: BTreeMap::new(), streams: Vec::new(), serializer: V2DeflateSerializer::new() })
    }

    /// Notes a latency in the running interval.
    pub(crate) fn record(&mut self, stream: &str, value: Duration) -> Result<(), RecordError> {
        let stream = self.open(stream)?;
        self.record_in(stream, value);
        Ok(())
    }

    /// The stream of this name, made if there is none yet.
    pub(crate) fn open(&mut self, stream: &str) -> Result<StreamId, RecordError> {
        if let Some(place) = self.places.get(stream) {
            return Ok(StreamId(*place));
        }
        self.streams.push(Stream::create(&self.folder.join(text::stream_file(stream)))?);
        self.places.insert(stream.to_owned(), self.streams.len() - 1);
        Ok(StreamId(self.streams.len() - 1))
    }

    /// Notes a latency in the running interval of a stream that is open.
    pub(crate) fn record_in(&mut self, StreamId(place): StreamId, value: Duration) {
        let value_us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.streams[place].interval_us.push(value_us);
    }

    /// Writes the interval that began at `start` and makes the next one the running one. A stream in which nothing
    /// happened gets no line.
    pub(crate) fn end_interval(&mut self, start: Duration, length: Duration) -> Result<(), RecordError> {
        for stream in self.streams.iter_mut().filter(|stream| !stream.interval_us.is_empty()) {
            stream.write_interval(&mut self.serializer, start, length)?;
            stream.interval_us.clear();
        }
        Ok(())
    }
}

impl Stream {
    fn create(path: &Path) -> Result<Self, RecordError> {
        let folder = path.parent().expect("a stream's file lies below the latency folder");
        fs::create_dir_all(folder).map_err(RecordError::io(folder))?;
        let file = File::create_new(path).map_err(RecordError::io(path))?;
        let mut file = BufWriter::new(file);
        file.write_all(HEADER.as_bytes()).map_err(RecordError::io(path))?;
        Ok(Self { path: path.to_owned(), file, interval_us: Vec::new() })
    }

    fn write_interval(
        &mut self,
        serializer: &mut V2DeflateSerializer,
        start: Duration,
        length: Duration,
    ) -> Result<(), RecordError> {
        let interval = histogram(&self.interval_us);
        // The builder writes no header of its own when it is told of none, so a writer for each line is free of charge.
        let written = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.file, serializer)
            .map_err(IntervalLogWriterError::from)
            .and_then(|mut log| log.write_histogram(&interval, start, length, None));
        match written {
            Ok(()) => self.file.flush().map_err(RecordError::io(&self.path)),
            Err(IntervalLogWriterError::IoError(source)) => Err(RecordError::io(&self.path)(source)),
            Err(IntervalLogWriterError::SerializeError(error)) => {
                Err(RecordError::Record { path: self.path.clone(), reason: error.to_string() })
            }
        }
    }
}

/// The values as a histogram that is no larger than the largest of them needs.
fn histogram(values_us: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new(SIGNIFICANT_DIGITS).expect("three digits are within the histogram's limits");
    // The largest first: the histogram grows once.
    let largest = values_us.iter().copied().max().unwrap_or(0);
    histogram.record_n(largest, 0).expect("an auto-resizing histogram takes every value");
    for value_us in values_us {
        histogram.record(*value_us).expect("an auto-resizing histogram takes every value");
    }
    histogram
}
