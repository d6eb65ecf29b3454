//! A number of permits, and those who wait for one.

use std::collections::VecDeque;

/// Permits that are given out first come, first served: threads of a pool, a lock, servers of a counter.
#[derive(Debug)]
pub struct Permits<W> {
    free: u64,
    waiting: VecDeque<W>,
}

impl<W> Permits<W> {
    /// So many may hold one at a time.
    pub fn new(permits: u64) -> Self {
        Self { free: permits, waiting: VecDeque::new() }
    }

    /// Asks for a permit. Gives the asker back when there is one; else it waits.
    #[must_use = "who comes back has the permit and goes on"]
    pub fn ask(&mut self, who: W) -> Option<W> {
        if self.free > 0 {
            self.free -= 1;
            return Some(who);
        }
        self.waiting.push_back(who);
        None
    }

    /// A permit is given back. Gives who has it next, if anyone waits.
    #[must_use = "who comes back has the permit and goes on"]
    pub fn give_back(&mut self) -> Option<W> {
        let next = self.waiting.pop_front();
        self.free += u64::from(next.is_none());
        next
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Those that nobody holds.
    pub fn free(&self) -> u64 {
        self.free
    }

    /// Takes one out of the line that has given up.
    pub fn forget(&mut self, mut is_it: impl FnMut(&W) -> bool) -> Option<W> {
        let at = self.waiting.iter().position(&mut is_it)?;
        self.waiting.remove(at)
    }
}
