//! One poller for all operations that wait for a server to become ACTIVE or to be gone.
//!
//! A thousand clients that each poll their own server would load the API more than the operations themselves. Instead, the
//! administrator lists, for all projects at once, which servers *changed* lately and are ACTIVE, ERROR or deleted
//! (`GET /servers?all_tenants=1&status=…&changes-since=…`, without details): two requests a round or a few, whatever the number
//! of operations, and none when nobody waits.
//!
//! Rounds follow one another after [`PAUSE_FACTOR`] times what the last one took, within [`PAUSE`]: polling takes at most a
//! quarter of one API thread. That pause and the request itself are the resolution: an operation is seen to have ended up to
//! one pause late. Each request's latency is recorded (`http/nova poll`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use time::{OffsetDateTime, format_description::well_known::Rfc2822, format_description::well_known::Rfc3339};
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{ApiError, Call, Service, Session};

/// Bounds of the pause between rounds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A pause is this many times as long as the round before it.
const PAUSE_FACTOR: u32 = 3;
/// `updated_at` has whole seconds, is cut off rather than rounded, and is set before the change is committed: a round looks
/// this far back beyond the round before.
const OVERLAP: Duration = Duration::from_secs(3);
/// A deletion leaves `updated_at` where the host's last save of the server put it, and the row goes only after the ports and
/// allocations have: on a busy cloud many seconds later.
const GONE_OVERLAP: Duration = Duration::from_secs(60);
/// Every so many rounds of a kind one looks further back, for what took longer still.
const WIDE_EVERY: u64 = 20;
/// How far.
const WIDE_OVERLAP: Duration = Duration::from_secs(900);

/// What the poller saw a server become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Active,
    Shutoff,
    /// It was resized, and waits for the user to say that it shall stay so.
    Resized,
    Error,
    Gone,
}

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// ACTIVE.
    Active,
    /// SHUTOFF.
    Shutoff,
    /// VERIFY_RESIZE.
    Resized,
    /// Deleted.
    Gone,
}

impl Wait {
    const ALL: [Self; 4] = [Self::Active, Self::Shutoff, Self::Resized, Self::Gone];

    /// What is waited for, unless it ends in ERROR.
    pub(crate) fn goal(self) -> Seen {
        match self {
            Self::Active => Seen::Active,
            Self::Shutoff => Seen::Shutoff,
            Self::Resized => Seen::Resized,
            Self::Gone => Seen::Gone,
        }
    }

    /// Whether it is over for who waits: a server that goes will not become anything else, and one that is gone is not in ERROR.
    fn ends_with(self, seen: Seen) -> bool {
        seen == self.goal() || matches!(seen, Seen::Error | Seen::Gone)
    }
}

/// Serves all outstanding operations.
#[derive(Debug, Default)]
pub(crate) struct Poller {
    book: Mutex<Book>,
    wanted: Notify,
}

impl Poller {
    /// Tells, once, what becomes of a server. Dropping the receiver ends the interest.
    pub(crate) fn watch(&self, server: &str, wait: Wait) -> oneshot::Receiver<Seen> {
        let (sender, receiver) = oneshot::channel();
        self.with(|book| book.watch(server, wait, sender));
        self.wanted.notify_one();
        receiver
    }

    /// Polls for as long as it is driven.
    pub(crate) async fn run(&self, admin: &Session) {
        let mut rounds = Rounds::default();
        loop {
            let wanted = self.with(Book::wanted);
            if wanted.is_empty() {
                self.wanted.notified().await;
                continue;
            }
            let begun = Instant::now();
            for seen in wanted {
                if let Err(error) = self.round(admin, &mut rounds, seen).await {
                    tracing::debug!(%error, "a poll failed; the next one looks further back");
                }
            }
            tokio::time::sleep((begun.elapsed() * PAUSE_FACTOR).clamp(PAUSE.0, PAUSE.1)).await;
        }
    }

    async fn round(&self, admin: &Session, rounds: &mut Rounds, seen: Seen) -> Result<(), ApiError> {
        let state = match seen {
            Seen::Active => "status=ACTIVE&deleted=False",
            Seen::Shutoff => "status=SHUTOFF&deleted=False",
            Seen::Resized => "status=VERIFY_RESIZE&deleted=False",
            Seen::Error => "status=ERROR&deleted=False",
            Seen::Gone => "deleted=True",
        };
        let path = format!("/servers?all_tenants=1&{state}&changes-since={}", rounds.since(seen));
        let mut next = Some(path);
        let mut answered_at = None;
        while let Some(path) = next {
            let answer = admin.call(&Call::get("poll", Service::Compute, path)).await?;
            // The first page's date: what changes while the others are read belongs to the next round.
            answered_at = answered_at.or_else(|| answer.header("Date").and_then(parse_date));
            let (servers, after) = (answer.list("servers")?, admin.next_page(&answer, "servers")?);
            self.with(|book| book.report(seen, servers.iter().filter_map(|server| server["id"].as_str())));
            next = after;
        }
        rounds.done(seen, answered_at.unwrap_or_else(OffsetDateTime::now_utc));
        Ok(())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
struct Book(BTreeMap<Wait, HashMap<String, oneshot::Sender<Seen>>>);

impl Book {
    fn watch(&mut self, server: &str, wait: Wait, sender: oneshot::Sender<Seen>) {
        self.0.entry(wait).or_default().insert(server.to_owned(), sender);
    }

    /// What has to be asked for.
    fn wanted(&mut self) -> Vec<Seen> {
        for waiting in self.0.values_mut() {
            waiting.retain(|_, sender| !sender.is_closed());
        }
        let awaited = |wait: &Wait| self.0.get(wait).is_some_and(|waiting| !waiting.is_empty());
        let goals: Vec<Seen> = Wait::ALL.iter().filter(|wait| awaited(wait)).map(|wait| wait.goal()).collect();
        let error = (!goals.is_empty()).then_some(Seen::Error);
        goals.into_iter().chain(error).collect()
    }

    fn report<'a>(&mut self, seen: Seen, servers: impl Iterator<Item = &'a str>) {
        for server in servers {
            for (_, waiting) in self.0.iter_mut().filter(|(wait, _)| wait.ends_with(seen)) {
                if let Some(sender) = waiting.remove(server) {
                    let _nobody_waits_any_more = sender.send(seen);
                }
            }
        }
    }
}

/// When each kind of question was last answered, by the clock of the API's machine.
#[derive(Debug, Default)]
struct Rounds {
    answered: HashMap<&'static str, (OffsetDateTime, u64)>,
}

impl Rounds {
    fn since(&self, seen: Seen) -> String {
        let first = || (OffsetDateTime::now_utc(), 0);
        let (last, rounds) = self.answered.get(key(seen)).copied().unwrap_or_else(first);
        let overlap = match seen {
            _ if rounds.is_multiple_of(WIDE_EVERY) => WIDE_OVERLAP,
            Seen::Gone => GONE_OVERLAP,
            _ => OVERLAP,
        };
        let since = (last - overlap).replace_nanosecond(0).expect("zero is a nanosecond");
        since.format(&Rfc3339).expect("a time of this age has a year of four digits")
    }

    fn done(&mut self, seen: Seen, answered_at: OffsetDateTime) {
        let rounds = self.answered.get(key(seen)).map_or(0, |(_, rounds)| *rounds);
        self.answered.insert(key(seen), (answered_at, rounds + 1));
    }
}

fn key(seen: Seen) -> &'static str {
    match seen {
        Seen::Active => "active",
        Seen::Shutoff => "shutoff",
        Seen::Resized => "resized",
        Seen::Error => "error",
        Seen::Gone => "gone",
    }
}

/// An HTTP date (`Mon, 23 Nov 2026 08:00:00 GMT`).
fn parse_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_question_looks_far_back_now_and_then() {
        let mut rounds = Rounds::default();
        let begun = OffsetDateTime::now_utc();
        let mut looked_back = Vec::new();
        for _ in 0..2 * WIDE_EVERY {
            for seen in [Seen::Error, Seen::Gone] {
                let since = OffsetDateTime::parse(&rounds.since(seen), &Rfc3339).expect("a time");
                looked_back.push((seen, (begun - since).whole_seconds()));
                rounds.done(seen, begun);
            }
        }
        for (seen, usual_s) in [(Seen::Error, 3), (Seen::Gone, 60)] {
            let of_kind: Vec<i64> = looked_back.iter().filter(|(kind, _)| *kind == seen).map(|(_, s)| *s).collect();
            assert_eq!(of_kind.iter().filter(|s| **s >= 890).count(), 2, "{of_kind:?}");
            assert!(of_kind[1..20].iter().all(|s| (usual_s..=usual_s + 1).contains(s)), "{of_kind:?}");
        }
    }

    #[test]
    fn nobody_waits_nothing_is_asked() {
        let mut book = Book::default();
        assert!(book.wanted().is_empty());
        let (sender, receiver) = oneshot::channel();
        book.watch("a", Wait::Active, sender);
        assert_eq!(book.wanted(), [Seen::Active, Seen::Error]);
        drop(receiver);
        assert!(book.wanted().is_empty());
    }

    #[test]
    fn each_hears_once_what_it_waits_for() {
        let mut book = Book::default();
        let mut watch = |server, wait| {
            let (sender, receiver) = oneshot::channel();
            book.watch(server, wait, sender);
            receiver
        };
        let mut boots = [watch("a", Wait::Active), watch("b", Wait::Active), watch("c", Wait::Active)];
        let mut delete = watch("c", Wait::Gone);
        let mut stuck = watch("d", Wait::Gone);
        book.report(Seen::Active, ["a", "a", "d", "stranger"].into_iter());
        assert!(stuck.try_recv().is_err());
        book.report(Seen::Error, ["d"].into_iter());
        assert_eq!(stuck.try_recv().unwrap(), Seen::Error);
        book.report(Seen::Error, ["b"].into_iter());
        assert!(delete.try_recv().is_err());
        book.report(Seen::Gone, ["c", "a"].into_iter());
        assert_eq!(boots.each_mut().map(|boot| boot.try_recv().unwrap()), [Seen::Active, Seen::Error, Seen::Gone]);
        assert_eq!(delete.try_recv().unwrap(), Seen::Gone);
        assert!(book.wanted().is_empty());
    }

    #[test]
    fn a_round_looks_back_beyond_the_one_before() {
        let mut rounds = Rounds::default();
        let date = parse_date("Mon, 23 Nov 2026 08:00:05 GMT").unwrap();
        rounds.done(Seen::Active, date);
        assert_eq!(rounds.since(Seen::Active), "2026-11-23T08:00:02Z");
    }
}
