//! The servers of a run that are ACTIVE, for operations that need one.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use super::Session;

/// A server of the run.
#[derive(Debug, Clone)]
pub struct Server {
    /// UUID.
    pub id: String,
    /// Who booted it.
    pub owner: Session,
    /// The host it runs on, where known.
    pub host: Option<String>,
    /// Whether it has the larger flavor.
    pub large: bool,
}

/// ACTIVE servers, the oldest first.
#[derive(Debug, Default)]
pub struct Servers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    active: VecDeque<Server>,
    /// How often one was shown.
    shown: usize,
}

impl Servers {
    /// One more, the youngest.
    pub fn add(&self, server: Server) {
        self.with(|state| state.active.push_back(server));
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.with(|state| state.active.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The oldest, which is nobody else's any more.
    pub(crate) fn take_oldest(&self) -> Option<Server> {
        self.with(|state| state.active.pop_front())
    }

    /// The youngest, which is nobody else's until it is put back: [`Self::add_oldest`] gives it the longest rest.
    pub(crate) fn take_youngest(&self) -> Option<Server> {
        self.with(|state| state.active.pop_back())
    }

    /// One that something was done to, and that is ACTIVE again.
    pub(crate) fn add_oldest(&self, server: Server) {
        self.with(|state| state.active.push_front(server));
    }

    /// One after the other, round and round.
    pub(crate) fn next(&self) -> Option<Server> {
        self.with(|state| {
            let count = state.active.len();
            state.shown = state.shown.wrapping_add(1);
            state.active.get(state.shown.checked_rem(count)?).cloned()
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Secret,
        load::{Apis, Http, Login},
    };

    #[test]
    fn the_oldest_goes_first_and_all_are_shown() {
        let url = String::new;
        let apis = Apis { identity: url(), compute: url(), network: url(), image: url(), placement: url() };
        let owner = Session::new(Http::new(None), apis, Login::in_default_domain("u", &Secret::new("p"), "p"));
        let servers = Servers::default();
        assert!(servers.next().is_none() && servers.take_oldest().is_none());
        for id in ["a", "b", "c"] {
            servers.add(Server { id: id.to_owned(), owner: owner.clone(), host: None, large: false });
        }
        let mut shown: Vec<String> = (0..3).map(|_| servers.next().unwrap().id).collect();
        shown.sort();
        assert_eq!(shown, ["a", "b", "c"]);
        assert_eq!(servers.take_oldest().unwrap().id, "a");
        assert_eq!(servers.take_oldest().unwrap().id, "b");
    }
}
