//! When each hypervisor has its turn.

use std::sync::Arc;

use scenarios::plan::Start;
use tokio::{sync::watch, time};

use super::{FleetSpec, Orders};
use crate::{KnownHost, nova::Identity, stats::Counters, worker::Order};

/// Those that are known rest until they are woken, and go on; the others start when the plan says.
pub(super) async fn start_all(
    spec: FleetSpec,
    orders: Orders,
    counters: Arc<Counters>,
    (known, mut awake): (Vec<KnownHost>, watch::Receiver<bool>),
) {
    let mut hosts = 0..spec.plan.hypervisors;
    for (index, host) in hosts.by_ref().take(known.len()).zip(known) {
        let identity = Identity { node: host.node.uuid, ..spec.identity(index) };
        if !orders.give(Order::Start(index, identity, Some(Box::new(host)))) {
            return;
        }
    }
    if awake.wait_for(|awake| *awake).await.is_err() {
        return;
    }
    orders.give_all(|| Order::GoOn);
    let first = hosts.start;
    // Going on counts as a start-up that is over: once all have, the others' start-ups can be counted.
    counters.through(first.into()).await;
    in_turn(spec.plan.start, spec.plan.hypervisors - first, spec.seed, &counters, |number| {
        let index = first + number;
        orders.give(Order::Start(index, spec.identity(index), None))
    })
    .await;
}

/// Does something for each of so many hypervisors when it is its turn, until it says `false`. What is done ends in a start-up.
pub(super) async fn in_turn(start: Start, count: u32, seed: u64, counters: &Counters, act: impl Fn(u32) -> bool) {
    let moments = start.moments(count, seed);
    let (begun, over) = (time::Instant::now(), counters.start_ups_over());
    for number in 0..count {
        match (&moments, start) {
            (Some(moments), _) => time::sleep_until(begun + moments[number as usize]).await,
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
    use hypervisor::Sessions;
    use tokio::sync::mpsc;

    use super::{super::testing::spec, *};
    use crate::{KnownNode, KnownService};

    #[tokio::test(start_paused = true)]
    async fn those_that_are_known_rest_until_they_are_woken_and_the_others_start_after_them() {
        let known = KnownHost {
            service: KnownService::default(),
            node: KnownNode::default(),
            provider_generation: 0,
            since_beat: time::Duration::ZERO,
            vms: Vec::new(),
            tokens: Sessions::default(),
        };
        let (orders, mut queue) = mpsc::unbounded_channel();
        let (wake, awake) = watch::channel(false);
        let counters = Arc::<Counters>::default();
        let starting = start_all(spec(), Orders([orders].into()), Arc::clone(&counters), (vec![known], awake));
        let starting = tokio::spawn(starting);
        assert!(matches!(queue.recv().await, Some(Order::Start(0, _, Some(_)))));
        time::sleep(time::Duration::from_secs(60)).await;
        assert!(queue.try_recv().is_err(), "it rests");
        wake.send_replace(true);
        assert!(matches!(queue.recv().await, Some(Order::GoOn)));
        time::sleep(time::Duration::from_secs(60)).await;
        assert!(queue.try_recv().is_err(), "it has not gone on yet");
        counters.start_up_over(&counters.registered);
        assert!(matches!(queue.recv().await, Some(Order::Start(1, _, None))));
        starting.await.expect("it ends");
    }
}
