//! When each hypervisor has its turn to start, or to go on.

use std::{cmp::Reverse, time::Duration};

use scenarios::plan::Start;
use tokio::time::{Instant, sleep_until, timeout};

use crate::{KnownHost, amqp::HostIndex, stats::Counters};

/// Hypervisors that go on and do not serve calls yet, at any time: enough for the broker to be busy. All at once, it would declare
/// thousands of queues before the first heartbeat has its answer.
const GOING_ON: u64 = 64;
/// How long those that do not get to serve hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);

/// Hypervisors that ran before go on, as fast as the broker takes them, first those whose next heartbeat is due first. `act` gets them
/// as they are when it is their turn; `false`: there is nobody any more who would obey.
pub(super) async fn go_on(
    mut known: Vec<(HostIndex, KnownHost)>,
    servers_each: u64,
    counters: &Counters,
    act: impl Fn(HostIndex, KnownHost) -> bool,
) -> bool {
    let begun = Instant::now();
    known.sort_by_key(|(_, host)| Reverse(host.since_beat));
    let mut ahead = GOING_ON;
    for (number, (index, host)) in (1_u64..).zip(known) {
        let serving = counters.serving(number.saturating_sub(ahead) * servers_each);
        if timeout(PATIENCE, serving).await.is_err() {
            ahead += GOING_ON;
        }
        if !act(index, KnownHost { since_beat: host.since_beat + begun.elapsed(), ..host }) {
            return false;
        }
    }
    true
}

/// Does something for each of so many hypervisors when it is its turn, until it says `false`. What is done ends in a start-up.
pub(super) async fn in_turn(start: Start, count: u32, seed: u64, counters: &Counters, act: impl Fn(u32) -> bool) {
    let moments = start.moments(count, seed);
    let (begun, over) = (Instant::now(), counters.start_ups_over());
    for number in 0..count {
        match (&moments, start) {
            (Some(moments), _) => sleep_until(begun + moments[number as usize]).await,
            (None, Start::UnderWay { hypervisors }) => {
                counters.through(over + u64::from((number + 1).saturating_sub(hypervisors))).await;
            }
            (None, _) => {}
        }
        if !act(number) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::poll_fn, pin::pin, task::Poll};

    use hypervisor::Sessions;

    use super::*;
    use crate::{KnownNode, KnownService};

    fn hundred() -> Vec<(HostIndex, KnownHost)> {
        let host = |index: u64| KnownHost {
            service: KnownService::default(),
            node: KnownNode::default(),
            provider_generation: 0,
            since_beat: Duration::from_secs(index % 60),
            vms: Vec::new(),
            tokens: Sessions::default(),
        };
        (0..).zip((0..100).map(host)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn those_whose_beat_is_due_first_go_on_first_and_few_at_a_time() {
        let (counters, gone_on) = (Counters::default(), RefCell::new(Vec::new()));
        let mut going_on = pin!(go_on(hundred(), 2, &counters, |index, _| {
            gone_on.borrow_mut().push(index);
            true
        }));
        let mut as_far_as_it_gets = async || {
            poll_fn(|context| Poll::Ready(going_on.as_mut().poll(context).is_ready())).await;
            gone_on.borrow().len()
        };
        assert_eq!(as_far_as_it_gets().await, 64);
        counters.serves();
        assert_eq!(as_far_as_it_gets().await, 64, "one of its two RPC servers");
        counters.serves();
        assert_eq!(as_far_as_it_gets().await, 65);
        assert_eq!(gone_on.borrow()[..3], [59, 58, 57]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_never_serve_do_not_hold_up_the_others_for_ever() {
        let (counters, beats) = (Counters::default(), RefCell::new(Vec::new()));
        let all = go_on(hundred(), 2, &counters, |_, host| {
            beats.borrow_mut().push(host.since_beat.as_secs());
            true
        })
        .await;
        assert!(all);
        assert_eq!(beats.borrow().len(), 100);
        assert_eq!((beats.borrow()[0], beats.borrow()[99]), (59, 5), "the last was to beat at once, five seconds ago");
    }
}
