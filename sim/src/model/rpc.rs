//! Calls between services that are watched (oslo.messaging's call monitor).
//!
//! A server that works on such a call says so every half of the caller's `rpc_response_timeout`. Whoever hears nothing for that
//! long gives up: the call waits in the server's queue, where nobody speaks for it. In any case it gives up after
//! `long_rpc_timeout`. The server goes on all the same.
//!
//! Left out: the beats themselves.

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
}

impl World {
    /// The caller of this task watches it.
    pub(crate) fn watch_call(&mut self, task: TaskId) {
        let generation = self.tasks[task].generation;
        self.monitors.push(Monitor { task, generation, deadline: self.now + self.settings.long_rpc_timeout });
        let index = u32::try_from(self.monitors.len() - 1).expect("fewer watched calls than boots");
        self.calendar.enter(self.now + self.settings.rpc_response_timeout, Event::Monitor(index));
    }

    pub(crate) fn look_at_call(&mut self, index: u32) {
        let Monitor { task, generation, deadline } = self.monitors[index as usize];
        if self.tasks[task].generation != generation {
            return; // answered
        }
        if self.tasks[task].begun && self.now < deadline {
            let next = (self.now + self.settings.rpc_response_timeout).min(deadline);
            self.calendar.enter(next, Event::Monitor(index));
            return;
        }
        if let Asker::Task(parent) = std::mem::replace(&mut self.tasks[task].asker, Asker::Nobody) {
            self.fail(parent, Fault::TimedOut);
        }
    }
}
