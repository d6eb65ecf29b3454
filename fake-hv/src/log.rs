//! Where a fleet's worker notes what happens: in the recording, or, in a process beside the one that records, by telling that one.

use std::time::Duration;

use recording::{Event, Recorder, RpcResult};
use tokio::sync::mpsc;

use crate::fleet::Told;

/// How late hypervisors were woken.
pub(crate) const WAKE_STREAM: &str = "harness/fleet_wake";

/// A recording, here or in another process.
#[derive(Debug, Clone)]
pub(crate) enum Log {
    /// Here.
    Recording(Recorder),
    /// There.
    Told(mpsc::UnboundedSender<Told>),
}

impl Log {
    /// How late a hypervisor was woken.
    pub(crate) fn late(&self, at: Duration, late: Duration) {
        match self {
            Self::Recording(recorder) => recorder.latency(WAKE_STREAM, at, late),
            Self::Told(tell) => drop(tell.send(Told::Late { at, late })),
        }
    }

    /// Something that happened once.
    pub(crate) fn event(&self, event: Event) {
        match self {
            Self::Recording(recorder) => recorder.event(&event),
            Self::Told(tell) => drop(tell.send(Told::Event(event))),
        }
    }

    /// A call that has ended.
    pub(crate) fn rpc(&self, call: &str, at: Duration, took: Duration, result: RpcResult) {
        match self {
            Self::Recording(recorder) => recorder.rpc(call, at, took, result),
            Self::Told(tell) => drop(tell.send(Told::Rpc { call: call.to_owned(), at, took, result })),
        }
    }
}
