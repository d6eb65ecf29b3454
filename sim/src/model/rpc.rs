//! Requests between services that are given up: calls that are watched (oslo.messaging's call monitor), and HTTP requests with a
//! timeout.
//!
//! A server that works on such a call says so every half of the caller's `rpc_response_timeout`. Whoever hears nothing for that
//! long gives up: the call waits in the server's queue, where nobody speaks for it. In any case it gives up after
//! `long_rpc_timeout`. The server goes on all the same.
//!
//! Left out: the beats themselves.

use std::time::Duration;

use hypervisor::{Fault, Time};

use super::{
    Event, World,
    task::{Asker, TaskId},
};

/// A call that is watched.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Monitor {
    task: TaskId,
    generation: u32,
    deadline: Time,
    /// The server says that it works on it.
    beats: bool,
}

impl World {
    /// The caller of this task watches it.
    pub(crate) fn watch_call(&mut self, task: TaskId) {
        let (first, last) = (self.settings.rpc_response_timeout, self.settings.long_rpc_timeout);
        self.monitor(task, self.now + first, self.now + last, true);
    }

    /// The caller of this task gives up after some time.
    pub(crate) fn limit_request(&mut self, task: TaskId, timeout: Duration) {
        self.monitor(task, self.now + timeout, self.now + timeout, false);
    }

    fn monitor(&mut self, task: TaskId, first: Time, deadline: Time, beats: bool) {
        let monitor = Monitor { task, generation: self.tasks[task].generation, deadline, beats };
        let index = self.free_monitors.pop().unwrap_or_else(|| {
            self.monitors.push(monitor);
            u32::try_from(self.monitors.len() - 1).expect("fewer than there are tasks")
        });
        self.monitors[index as usize] = monitor;
        self.calendar.enter(first, Event::Monitor(index));
    }

    pub(crate) fn look_at_call(&mut self, index: u32) {
        let Monitor { task, generation, deadline, beats } = self.monitors[index as usize];
        if self.tasks[task].generation != generation {
            self.free_monitors.push(index);
            return; // answered
        }
        if beats && self.tasks[task].begun && self.now < deadline {
            let next = (self.now + self.settings.rpc_response_timeout).min(deadline);
            self.calendar.enter(next, Event::Monitor(index));
            return;
        }
        self.free_monitors.push(index);
        if let Asker::Task(parent) = std::mem::replace(&mut self.tasks[task].asker, Asker::Nobody) {
            self.fail(parent, Fault::TimedOut);
        }
    }
}
