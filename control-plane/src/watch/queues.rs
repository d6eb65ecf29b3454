//! The deepest queues, from RabbitMQ's Prometheus page of single queues.
//!
//! That page has lines for each queue, and with tens of thousands of them making it is work. So it is asked for only when the
//! page of the whole broker says that more messages lie in queues than a broker that keeps up has on their way.

use std::collections::BTreeSet;

use super::{Scribe, broker::client};
use crate::queue_page;

/// Queues that are told of: the deepest, which is where a backlog is.
const DEEPEST: usize = 10;
/// Fewer messages than this in all queues together are no backlog.
const BACKLOG: f64 = 50.0;

/// Depths of the deepest queues.
pub(super) struct Queues {
    metrics_urls: Vec<String>,
    client: reqwest::Client,
    /// Queues that were deep at the last look, so that a series ends at zero and not in the air.
    deep: BTreeSet<String>,
}

impl Queues {
    /// Beside the page of the whole broker.
    pub(super) fn new(metrics_urls: &[String]) -> Self {
        Self { metrics_urls: metrics_urls.to_vec(), client: client(), deep: BTreeSet::new() }
    }

    /// Looks, when there are so many messages in all queues.
    pub(super) async fn look(&mut self, scribe: &Scribe, messages: f64) -> Result<(), String> {
        let depths = match messages < BACKLOG {
            true => Vec::new(),
            false => deepest(self.depths().await.map_err(|error| error.to_string())?),
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

    async fn depths(&self) -> Result<Vec<(String, f64)>, reqwest::Error> {
        queue_page::queues(&self.client, &self.metrics_urls, queue_page::MESSAGES).await
    }
}

/// Those that hold messages, the deepest first.
fn deepest(mut depths: Vec<(String, f64)>) -> Vec<(String, f64)> {
    depths.retain(|(_, depth)| *depth > 0.0);
    depths.sort_by(|a, b| b.1.total_cmp(&a.1));
    depths.truncate(DEEPEST);
    depths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_queues_are_told_of() {
        let depths = [("compute", 0.0), ("scheduler", 3.0), ("conductor", 14.0)];
        let depths = depths.map(|(queue, depth)| (queue.to_owned(), depth)).to_vec();
        assert_eq!(deepest(depths), [("conductor".to_owned(), 14.0), ("scheduler".to_owned(), 3.0)]);
    }
}
