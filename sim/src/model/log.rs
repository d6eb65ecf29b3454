//! What goes into the recording.

use std::time::Duration;

use hypervisor::Time;
use recording::{Event, OperationRecord, Recorder, RpcResult, RpcStream, Sample, millis};

use super::task::{OpId, Recipe};

/// The recording, with a stream ready for each operation.
pub(crate) struct Log {
    recorder: Option<Recorder>,
    names: Vec<String>,
    streams: Vec<Option<RpcStream>>,
}

impl Log {
    pub(crate) fn new(recorder: Option<Recorder>, recipes: &[Recipe]) -> Self {
        let names: Vec<String> = recipes.iter().map(|recipe| recipe.name.clone()).collect();
        Self { recorder, streams: vec![None; names.len()], names }
    }

    pub(crate) fn rpc(&mut self, op: OpId, at: Time, took: Duration, result: RpcResult) {
        let Some(recorder) = &self.recorder else { return };
        let stream = &mut self.streams[usize::from(op)];
        let stream = *stream.get_or_insert_with(|| recorder.rpc_stream(&self.names[usize::from(op)]));
        recorder.rpc_in(stream, at.since_origin(), took, result);
    }

    pub(crate) fn operation(&self, record: &OperationRecord) {
        if let Some(recorder) = &self.recorder {
            recorder.operation(record);
        }
    }

    pub(crate) fn event(&self, at: Time, kind: &str, detail: impl Into<String>) {
        if let Some(recorder) = &self.recorder {
            recorder.event(&Event { t_ms: millis(at.since_origin()), kind: kind.to_owned(), detail: detail.into() });
        }
    }

    pub(crate) fn sample(&self, at: Time, metric: &str, instance: &str, value: f64) {
        if let Some(recorder) = &self.recorder {
            let (metric, instance) = (metric.to_owned(), instance.to_owned());
            recorder.sample(&Sample { t_ms: millis(at.since_origin()), metric, instance, value });
        }
    }
}
