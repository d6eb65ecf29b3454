//! SQLAlchemy's `QueuePool`, one for each process and database.
//!
//! Follows `sqlalchemy/pool/impl.py` exactly as far as it can be seen from outside: `pool_size` connections are kept,
//! `max_overflow` more are made when those are out and closed when they come back to a full pool; who finds neither waits up to
//! `pool_timeout`, first come, first served; a connection older than `recycle` is made anew when it is taken out. An overflow of
//! -1 means that there is no bound, and so does a size of 0, whatever the overflow; then all that come back are kept.
//!
//! Left out: invalidation of connections that the server closed, `pool_pre_ping` (oslo.db's own `SELECT 1` is part of the
//! measured queries), checkouts that lose a race and look again.

use std::{collections::VecDeque, time::Duration};

use hypervisor::Time;

use super::task::TaskId;

/// The options that bound a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolOptions {
    /// `max_pool_size`; 0: no bound at all.
    pub(crate) size: u32,
    /// `max_overflow`; `None`: no bound.
    pub(crate) overflow: Option<u32>,
    /// `pool_timeout`.
    pub(crate) timeout: Duration,
    /// `connection_recycle_time`; `None`: never.
    pub(crate) recycle: Option<Duration>,
}

/// A connection to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    /// When it was made.
    pub(crate) made: Time,
}

/// What a task that asks for a connection gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// One that was there.
    Pooled(Connection),
    /// Leave to make one. With `true`, in the place of one that was too old, which the server loses.
    Make { instead: bool },
    /// Nothing yet; it waits.
    Wait,
}

/// What becomes of a connection that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    /// It stays in the pool.
    Kept,
    /// It is closed.
    Closed,
}

/// One pool.
#[derive(Debug)]
pub(crate) struct Pool {
    options: PoolOptions,
    idle: VecDeque<Connection>,
    /// Connections beyond `size`; negative while there are fewer than that (`QueuePool._overflow`).
    overflow: i64,
    waiting: VecDeque<(TaskId, Time)>,
}

impl Pool {
    pub(crate) fn new(options: PoolOptions) -> Self {
        let overflow = options.overflow.filter(|_| options.size > 0);
        let options = PoolOptions { overflow, ..options };
        Self { options, idle: VecDeque::new(), overflow: -i64::from(options.size), waiting: VecDeque::new() }
    }

    /// A task wants a connection.
    pub(crate) fn take(&mut self, now: Time, task: TaskId) -> Taken {
        let taken = self.take_now(now);
        if taken == Taken::Wait {
            self.waiting.push_back((task, now + self.options.timeout));
        }
        taken
    }

    fn take_now(&mut self, now: Time) -> Taken {
        if let Some(connection) = self.idle.pop_front() {
            let old = self.options.recycle.is_some_and(|recycle| now - connection.made > recycle);
            return if old { Taken::Make { instead: true } } else { Taken::Pooled(connection) };
        }
        if self.options.overflow.is_some_and(|most| self.overflow >= i64::from(most)) {
            return Taken::Wait;
        }
        self.overflow += 1;
        Taken::Make { instead: false }
    }

    /// A connection comes back. Whoever waits is to be served with [`Pool::serve`].
    pub(crate) fn give(&mut self, connection: Connection) -> Returned {
        let full = self.options.size > 0 && self.idle.len() >= self.options.size as usize;
        if full {
            self.overflow -= 1;
            return Returned::Closed;
        }
        self.idle.push_back(connection);
        Returned::Kept
    }

    /// A connection that was to be made could not be.
    pub(crate) fn fail(&mut self) {
        self.overflow -= 1;
    }

    /// Serves whoever waits first, if there is something to have.
    pub(crate) fn serve(&mut self, now: Time) -> Option<(TaskId, Taken)> {
        let (task, _) = *self.waiting.front()?;
        let taken = self.take_now(now);
        if taken == Taken::Wait {
            return None;
        }
        self.waiting.pop_front();
        Some((task, taken))
    }

    /// When the first of those who wait gives up.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.waiting.front().map(|(_, deadline)| *deadline)
    }

    /// Takes out one who has waited too long.
    pub(crate) fn give_up(&mut self, now: Time) -> Option<TaskId> {
        let (task, deadline) = *self.waiting.front()?;
        if deadline > now {
            return None;
        }
        self.waiting.pop_front();
        Some(task)
    }

    /// Connections that exist or are being made.
    #[cfg(test)]
    fn open(&self) -> u64 {
        u64::try_from(self.overflow + i64::from(self.options.size)).unwrap_or(0)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: PoolOptions = PoolOptions {
        size: 1,
        overflow: Some(1),
        timeout: Duration::from_secs(30),
        recycle: Some(Duration::from_secs(60)),
    };

    fn at(s: u64) -> Time {
        Time::from_origin(Duration::from_secs(s))
    }

    #[test]
    fn overflow_is_closed_when_the_pool_is_full() {
        let mut pool = Pool::new(OPTIONS);
        assert_eq!(pool.take(at(0), 1), Taken::Make { instead: false });
        assert_eq!(pool.take(at(0), 2), Taken::Make { instead: false });
        assert_eq!(pool.take(at(0), 3), Taken::Wait);
        assert_eq!((pool.open(), pool.waiting()), (2, 1));
        assert_eq!(pool.give(Connection { made: at(0) }), Returned::Kept);
        assert_eq!(pool.serve(at(1)), Some((3, Taken::Pooled(Connection { made: at(0) }))));
        assert_eq!(pool.give(Connection { made: at(0) }), Returned::Kept);
        assert_eq!(pool.give(Connection { made: at(0) }), Returned::Closed);
        assert_eq!((pool.open(), pool.serve(at(2))), (1, None));
    }

    #[test]
    fn who_waits_too_long_gives_up() {
        let mut pool = Pool::new(PoolOptions { size: 1, overflow: Some(0), ..OPTIONS });
        assert_eq!(pool.take(at(0), 1), Taken::Make { instead: false });
        assert_eq!(pool.take(at(5), 2), Taken::Wait);
        assert_eq!(pool.next_timeout(), Some(at(35)));
        assert_eq!(pool.give_up(at(34)), None);
        assert_eq!(pool.give_up(at(35)), Some(2));
    }

    #[test]
    fn old_connections_are_made_anew() {
        let mut pool = Pool::new(OPTIONS);
        pool.take(at(0), 1);
        pool.give(Connection { made: at(0) });
        assert_eq!(pool.take(at(60), 2), Taken::Pooled(Connection { made: at(0) }));
        pool.give(Connection { made: at(0) });
        assert_eq!(pool.take(at(61), 3), Taken::Make { instead: true });
    }

    #[test]
    fn a_size_of_zero_and_an_overflow_of_minus_one_have_no_bound() {
        // `self._max_overflow = -1 if pool_size == 0 else max_overflow`
        let nothing = Pool::new(PoolOptions { size: 0, overflow: Some(0), ..OPTIONS });
        let boundless = Pool::new(PoolOptions { overflow: None, ..OPTIONS });
        for mut pool in [nothing, boundless] {
            for task in 0..1000 {
                assert_eq!(pool.take(at(0), task), Taken::Make { instead: false });
            }
            assert_eq!(pool.give(Connection { made: at(0) }), Returned::Kept);
        }
    }
}
