//! The kinds of processes on a hypervisor, as oslo.messaging knows them: each has its RPC servers, a queue for the answers
//! to its calls, and in `faithful` mode connections of its own.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Incoming, envelope, topology};

/// Bodies kept to tell that another host got the same: of as many messages as may be under way to a fleet at once.
const RECENT_BODIES: usize = 16;

/// What all processes of a kind have in common.
#[derive(Debug)]
pub(crate) struct Process {
    /// `control_exchange` of its project.
    pub(crate) exchange: &'static str,
    /// Topics of its RPC servers, in the order they start.
    pub(crate) topics: Vec<&'static str>,
    recent: Option<Recent>,
}

type Recent = Mutex<VecDeque<(Box<[u8]>, Arc<Incoming>)>>;

impl Process {
    /// A nova-compute.
    pub(crate) fn nova_compute() -> Arc<Self> {
        Arc::new(Self { exchange: topology::NOVA, topics: topology::TOPICS.to_vec(), recent: None })
    }

    /// An agent of Neutron's. Most of what it hears, all others hear too.
    pub(crate) fn neutron_agent(topics: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self { exchange: topology::NEUTRON, topics, recent: Some(Mutex::default()) })
    }

    /// Whether most requests come to all hosts.
    pub(crate) fn hears_broadcasts(&self) -> bool {
        self.recent.is_some()
    }

    /// Reads a request that is likely to have come to another host already: then nothing is parsed again.
    pub(crate) fn read_broadcast(&self, body: &[u8]) -> Option<Arc<Incoming>> {
        let Some(recent) = &self.recent else { return envelope::read_request(body).map(Arc::new) };
        let lock = || recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = lock().iter().find(|(known, _)| **known == *body) {
            return Some(Arc::clone(known));
        }
        let read = Arc::new(envelope::read_request(body)?);
        let mut recent = lock();
        if recent.len() == RECENT_BODIES {
            recent.pop_front();
        }
        recent.push_back((body.into(), Arc::clone(&read)));
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(number: usize) -> Vec<u8> {
        let inner = json!({"method": "push", "args": {"number": number}}).to_string();
        json!({"oslo.version": "2.0", "oslo.message": inner}).to_string().into_bytes()
    }

    #[test]
    fn what_came_to_another_host_is_not_read_again() {
        let agents = Process::neutron_agent(vec!["topic"]);
        let read = |number| agents.read_broadcast(&body(number)).expect("it is a request");
        let first = read(0);
        assert!(Arc::ptr_eq(&first, &read(0)));
        for number in 1..=RECENT_BODIES {
            assert_eq!(read(number).args["number"], number);
        }
        assert!(!Arc::ptr_eq(&first, &read(0)), "the oldest was forgotten");
        assert!(agents.read_broadcast(b"no JSON").is_none());
    }
}
