//! Several servers and one line before them.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use hypervisor::Time;

/// Servers that take whoever came first, each serving one at a time to the end (G/G/c, first come, first served).
///
/// When someone will be through is known the moment he comes, for whoever comes later does not change it (Kiefer and
/// Wolfowitz): there is no entry in the calendar for the line or the service, only the one of whatever follows.
#[derive(Debug)]
pub struct Servers {
    /// When each is free, the earliest on top.
    free_at: BinaryHeap<Reverse<Time>>,
    busy: Duration,
}

impl Servers {
    /// So many, at least one.
    pub fn new(servers: u32) -> Self {
        let free_at = (0..servers.max(1)).map(|_| Reverse(Time::ZERO)).collect();
        Self { free_at, busy: Duration::ZERO }
    }

    /// Someone comes who has to be served for so long. Gives when he is through. Arrivals have to be told in order of time.
    pub fn serve(&mut self, now: Time, service: Duration) -> Time {
        let mut earliest = self.free_at.peek_mut().expect("there is at least one server");
        let end = earliest.0.max(now) + service;
        *earliest = Reverse(end);
        self.busy += service;
        end
    }

    /// Service given or promised so far.
    pub fn busy(&self) -> Duration {
        self.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_first_is_served_first() {
        let ms = |ms| Time::from_origin(Duration::from_millis(ms));
        let mut two = Servers::new(2);
        let service = Duration::from_millis(10);
        assert_eq!(two.serve(ms(0), service), ms(10));
        assert_eq!(two.serve(ms(1), service), ms(11));
        assert_eq!(two.serve(ms(2), service), ms(20), "the first server is free at 10");
        assert_eq!(two.serve(ms(3), service), ms(21));
        assert_eq!(two.serve(ms(100), service), ms(110));
        assert_eq!(two.busy(), Duration::from_millis(50));
    }
}
