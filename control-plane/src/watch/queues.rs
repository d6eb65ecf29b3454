//! The deepest queues, from RabbitMQ's Prometheus page of single queues.
//!
//! That page has lines for each queue, and with tens of thousands of them making it is work: for 35,000 a second and more. So it is
//! asked for only when the page of the whole broker says that more messages lie in queues than a broker that keeps up has on their way,
//! and only so often that it is a small part of what the broker does: a look must not be what keeps a backlog up.

use std::{collections::BTreeSet, time::Instant};

use super::{Scribe, broker::client};
use crate::{error::Unanswered, queue_page};

/// Queues that are told of: the deepest, which is where a backlog is.
const DEEPEST: usize = 10;
/// Fewer messages than this in all queues together are no backlog.
const BACKLOG: f64 = 50.0;
/// How many times as long as a look took there is none.
const REST: u32 = 50;

/// Depths of the deepest queues.
pub(super) struct Queues {
    metrics_urls: Vec<String>,
    client: reqwest::Client,
    /// Queues that were deep at the last look, so that a series ends at zero and not in the air.
    deep: BTreeSet<String>,
    /// When the next look may be.
    not_before: Option<Instant>,
}

impl Queues {
    /// Beside the page of the whole broker.
    pub(super) fn new(metrics_urls: &[String]) -> Self {
        Self { metrics_urls: metrics_urls.to_vec(), client: client(), deep: BTreeSet::new(), not_before: None }
    }

    /// Looks, when there are so many messages in all queues.
    pub(super) async fn look(&mut self, scribe: &Scribe, messages: f64) -> Result<(), String> {
        let asked = Instant::now();
        let depths = if messages < BACKLOG {
            Vec::new()
        } else if self.not_before.is_some_and(|then| asked < then) {
            return Ok(());
        } else {
            let depths = self.depths().await;
            self.not_before = Some(rested(asked, Instant::now()));
            deepest(depths.map_err(|error| error.to_string())?)
        };
        for queue in self.deep.iter().filter(|queue| depths.iter().all(|(name, _)| name != *queue)) {
            scribe.sample("broker.queue_depth", queue, 0.0);
        }
        for (queue, depth) in &depths {
            scribe.sample("broker.queue_depth", queue, *depth);
        }
        self.deep = depths.into_iter().map(|(queue, _)| queue).collect();
        Ok(())
    }

    async fn depths(&self) -> Result<Vec<(String, f64)>, Unanswered> {
        queue_page::queues(&self.client, &self.metrics_urls, queue_page::MESSAGES).await
    }
}

/// When the broker has rested from a look.
fn rested(asked: Instant, answered: Instant) -> Instant {
    answered + (answered - asked) * REST
}

/// The deepest first.
fn deepest(mut depths: Vec<(String, f64)>) -> Vec<(String, f64)> {
    depths.sort_by(|a, b| b.1.total_cmp(&a.1));
    depths.truncate(DEEPEST);
    depths
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_deepest_queues_are_told_of() {
        let depths = (1..=12).map(|number| (format!("queue-{number}"), f64::from(number))).collect();
        let deepest = deepest(depths);
        assert_eq!(
            (deepest.len(), &deepest[0], &deepest[9].0[..]),
            (DEEPEST, &("queue-12".to_owned(), 12.0), "queue-3")
        );
    }

    #[test]
    fn looks_are_a_small_part_of_what_the_broker_does() {
        let asked = Instant::now();
        let answered = asked + Duration::from_secs(2);
        assert_eq!(rested(asked, answered) - answered, Duration::from_secs(100));
    }
}
