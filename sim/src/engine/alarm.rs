//! An alarm that is set again and again, and seldom rings.

use hypervisor::Time;

/// When something wakes that changes its mind about it all the time: a hypervisor with its timeouts, a machine whose next job
/// ends later when another one comes.
///
/// Cancelling an entry of the calendar would cost as much as entering it. An alarm leaves the entry where it is: it keeps one
/// entry at or before the time it is set to, and when that comes up too early, enters itself again. A timeout of a minute
/// that is cancelled within milliseconds, a thousand times a second, so costs one entry a minute.
#[derive(Debug, Clone, Copy)]
pub struct Alarm {
    /// When it shall ring.
    set_to: Time,
    /// Its earliest entry in the calendar.
    entered: Time,
}

const NEVER: Time = Time::MAX;

impl Default for Alarm {
    fn default() -> Self {
        Self { set_to: NEVER, entered: NEVER }
    }
}

/// What an entry that has come up means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// It is time.
    Now,
    /// Not yet: to be entered again for this time.
    Later(Time),
    /// Nothing; the alarm was set to an earlier time since, or is off.
    Stale,
}

impl Alarm {
    /// Sets it to a time, or off. The caller enters it in the calendar for the time that comes back, if one does.
    #[must_use = "without an entry in the calendar it never rings"]
    pub fn set(&mut self, at: Option<Time>) -> Option<Time> {
        self.set_to = at.unwrap_or(NEVER);
        if self.set_to >= self.entered {
            return None;
        }
        self.entered = self.set_to;
        Some(self.set_to)
    }

    /// An entry has come up.
    #[must_use]
    pub fn ring(&mut self, now: Time) -> Ring {
        if now != self.entered {
            return Ring::Stale;
        }
        self.entered = NEVER;
        if self.set_to <= now {
            self.set_to = NEVER;
            return Ring::Now;
        }
        match self.set(Some(self.set_to)) {
            Some(at) => Ring::Later(at),
            None => Ring::Stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: u64) -> Time {
        Time::from_nanos(ns)
    }

    #[test]
    fn putting_it_off_costs_no_entry() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(10))), Some(at(10)));
        assert_eq!(alarm.set(Some(at(20))), None);
        assert_eq!(alarm.ring(at(10)), Ring::Later(at(20)));
        assert_eq!(alarm.ring(at(20)), Ring::Now);
    }

    #[test]
    fn an_earlier_time_makes_the_other_entry_stale() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(20))), Some(at(20)));
        assert_eq!(alarm.set(Some(at(10))), Some(at(10)));
        assert_eq!(alarm.ring(at(10)), Ring::Now);
        assert_eq!(alarm.ring(at(20)), Ring::Stale);
    }

    #[test]
    fn one_that_is_off_does_not_ring() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.set(Some(at(5))), Some(at(5)));
        assert_eq!(alarm.set(None), None);
        assert_eq!(alarm.ring(at(5)), Ring::Stale);
        assert_eq!(alarm.set(Some(at(9))), Some(at(9)));
    }
}
