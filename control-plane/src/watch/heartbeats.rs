//! When Nova last heard from each hypervisor, from its own records.
//!
//! Nova keeps no list of hosts that are up: whoever needs to know works it out from the last heartbeat
//! (`nova/servicegroup/drivers/db.py`, `is_up`), as is done here. Its service list shows what is so at the moment of asking, and
//! it is asked seldom when the API is slow, which is when hosts go down; the records also tell of a host that was down between
//! two looks, for its heartbeats are further apart than they may be. And a look costs the cloud one query instead of a request.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Sampler, Scribe, SharedFleet,
    database::Link,
    services::{Flips, ServiceState},
};
use crate::load::RunName;

/// Host, last heartbeat and the present by the database's clock (Unix time, as fine as Nova stores it), whether an operator
/// has called it down. A host that never sent one counts from the moment it was recorded.
const QUERY: &str = "SELECT host, TIMESTAMPDIFF(SECOND, '1970-01-01', COALESCE(last_seen_up, created_at)), \
                     TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP()), COALESCE(forced_down, 0) \
                     FROM nova.services WHERE `binary` = 'nova-compute' AND deleted = 0";

/// Looks at the records.
pub(super) struct Heartbeats {
    pub(super) link: Link,
    pub(super) run: RunName,
    pub(super) hypervisors: u32,
    pub(super) fleet: SharedFleet,
    pub(super) heard: Heard,
    /// When the last look was.
    pub(super) looked: Duration,
}

impl Sampler for Heartbeats {
    const WHAT: &'static str = "Nova's records of its services";
    const EVERY: Duration = Duration::from_secs(2);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        if !self.fleet.is_there() {
            return Ok(());
        }
        let rows: Vec<(String, i64, i64, bool)> = self.link.rows(QUERY).await?;
        // The fleet may have been stopped meanwhile: hosts that then go down do so rightly.
        if !self.fleet.is_there() {
            return Ok(());
        }
        let ours = rows.into_iter().filter(|(host, ..)| self.run.owns_host(host, self.hypervisors));
        let ours = ours.map(|(host, heard_s, now_s, forced_down)| Record {
            host,
            heard_s,
            silent_s: now_s - heard_s,
            forced_down,
        });
        let now = scribe.now();
        for State { ago, up, events } in self.heard.next(ours) {
            // Not before what the last look found.
            let at = now.saturating_sub(ago).max(self.looked);
            scribe.sample_at(at, "fleet.up", "", up as f64);
            for (kind, host) in events {
                scribe.event_at(at, kind, host);
            }
        }
        self.looked = now;
        Ok(())
    }
}

/// What Nova has of a host.
struct Record {
    host: String,
    heard_s: i64,
    silent_s: i64,
    forced_down: bool,
}

/// What was so at one moment.
#[derive(Debug, PartialEq)]
struct State {
    /// How long before the look.
    ago: Duration,
    /// How many hosts were up.
    up: usize,
    /// What had changed.
    events: Vec<(&'static str, String)>,
}

/// Nova's rule. A time in the future is as bad as one that is long ago.
pub(crate) fn is_up(silent_s: i64, forced_down: bool, service_down_time_s: i64) -> bool {
    silent_s.abs() <= service_down_time_s && !forced_down
}

/// Whole seconds, as Nova's rule counts them.
pub(crate) fn whole_s(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Remembers the last heartbeat of each host.
pub(super) struct Heard {
    service_down_time_s: i64,
    last_s: BTreeMap<String, i64>,
    flips: Flips,
}

impl Heard {
    pub(super) fn new(service_down_time: Duration) -> Self {
        Self { service_down_time_s: whole_s(service_down_time), last_s: BTreeMap::new(), flips: Flips::default() }
    }

    /// What is so now, and before it what was so in between, when some hosts were down only then.
    fn next(&mut self, records: impl Iterator<Item = Record>) -> Vec<State> {
        let (mut between, mut now) = (Vec::new(), Vec::new());
        let mut ago_s = i64::MAX;
        for Record { host, heard_s, silent_s, forced_down } in records {
            let up = is_up(silent_s, forced_down, self.service_down_time_s);
            let before_s = self.last_s.insert(host.clone(), heard_s).unwrap_or(heard_s);
            let was_silent = heard_s - before_s > self.service_down_time_s;
            if up && was_silent {
                // Both times have lost their fractions: a second earlier it was surely still down.
                ago_s = ago_s.min(silent_s.saturating_add(1));
            }
            between.push(ServiceState { host: host.clone(), up: up && !was_silent });
            now.push(ServiceState { host, up });
        }
        let mut state = |ago, states: &[ServiceState]| {
            let up = states.iter().filter(|state| state.up).count();
            State { ago, up, events: self.flips.next(states) }
        };
        let differs = ago_s < i64::MAX;
        let between = differs.then(|| state(Duration::from_secs(u64::try_from(ago_s).unwrap_or(0)), &between));
        between.into_iter().chain([state(Duration::ZERO, &now)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at hosts `a`, `b`, … that were last heard at these times.
    fn look(heard: &mut Heard, now_s: i64, last_s: &[i64]) -> Vec<State> {
        let record = |(host, heard_s): (char, &i64)| Record {
            host: host.into(),
            heard_s: *heard_s,
            silent_s: now_s - heard_s,
            forced_down: false,
        };
        heard.next(('a'..).zip(last_s).map(record))
    }

    fn quiet(up: usize) -> Vec<State> {
        vec![state(0, up, &[])]
    }

    fn state(ago_s: u64, up: usize, events: &[(&'static str, &str)]) -> State {
        let events = events.iter().map(|(kind, host)| (*kind, (*host).to_owned())).collect();
        State { ago: Duration::from_secs(ago_s), up, events }
    }

    #[test]
    fn a_host_is_up_for_as_long_as_nova_takes_it_for_up() {
        let mut heard = Heard::new(Duration::from_secs(60));
        assert_eq!(look(&mut heard, 100, &[90, 40]), quiet(2));
        assert_eq!(look(&mut heard, 101, &[90, 40]), [state(0, 1, &[("host_down", "b")])]);
        assert_eq!(look(&mut heard, 103, &[100, 102]), [state(2, 1, &[]), state(0, 2, &[("host_up", "b")])]);
        assert_eq!(look(&mut heard, 105, &[100, 102]), quiet(2));
        // A clock that is ahead is as bad as silence.
        let ahead = [state(0, 0, &[("host_down", "a"), ("host_down", "b")])];
        assert_eq!(look(&mut heard, 39, &[100, 102]), ahead);
    }

    #[test]
    fn a_host_that_was_down_between_two_looks_is_told_of_the_time_when_it_was() {
        let mut heard = Heard::new(Duration::from_secs(60));
        assert_eq!(look(&mut heard, 160, &[100, 155]), quiet(2));
        let told = [state(5, 1, &[("host_down", "a")]), state(0, 2, &[("host_up", "a")])];
        assert_eq!(look(&mut heard, 166, &[162, 155]), told);
        assert_eq!(look(&mut heard, 168, &[162, 167]), quiet(2));
    }

    #[test]
    fn a_host_that_is_forced_down_is_down() {
        let mut heard = Heard::new(Duration::from_secs(60));
        let record = Record { host: "a".to_owned(), heard_s: 10, silent_s: 1, forced_down: true };
        assert_eq!(heard.next([record].into_iter()), quiet(0));
    }
}
