//! RabbitMQ as a whole, from the Prometheus page of each node: aggregated, and as long with ten thousand queues as with ten.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Sampler, Scribe, queues::Queues};
use crate::error::Unanswered;

/// Gauges of the page and the metric that each becomes.
const GAUGES: [(&str, &str); 6] = [
    ("rabbitmq_connections", "broker.connections"),
    ("rabbitmq_channels", "broker.channels"),
    ("rabbitmq_queues", "broker.queues"),
    ("rabbitmq_consumers", "broker.consumers"),
    ("rabbitmq_queue_messages_ready", "broker.messages_ready"),
    ("rabbitmq_queue_messages_unacked", "broker.messages_unacked"),
];
/// Counters of the page and the rate that each becomes.
const COUNTERS: [(&str, &str); 2] = [
    ("rabbitmq_global_messages_received_total", "broker.publish_per_s"),
    ("rabbitmq_global_messages_delivered_total", "broker.deliver_per_s"),
];
/// A page that takes longer is of no use.
const WITHIN: Duration = Duration::from_secs(10);

/// The broker.
pub(super) struct Broker {
    urls: Vec<String>,
    client: reqwest::Client,
    /// Counters of the look before, and when that was.
    before: Option<(Instant, BTreeMap<String, f64>)>,
    queues: Queues,
}

impl Broker {
    pub(super) fn new(urls: &[String]) -> Self {
        Self { urls: urls.to_vec(), client: client(), before: None, queues: Queues::new(urls) }
    }
}

/// A client for the broker's pages.
pub(super) fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().timeout(WITHIN);
    builder.build().expect("a client without TLS needs nothing that could be missing")
}

impl Sampler for Broker {
    const WHAT: &'static str = "RabbitMQ";
    const EVERY: Duration = Duration::from_secs(2);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        let mut pages = String::new();
        for url in &self.urls {
            pages.push_str(&page(&self.client, url).await.map_err(|error| error.to_string())?);
        }
        let (now, totals) = (Instant::now(), totals(&pages));
        for (name, metric) in GAUGES {
            if let Some(value) = totals.get(name) {
                scribe.sample(metric, "", *value);
            }
        }
        if let Some((then, before)) = &self.before {
            for (name, metric) in COUNTERS {
                let (Some(new), Some(old)) = (totals.get(name), before.get(name)) else { continue };
                // Less than before: the broker was started anew.
                let grown = if new >= old { new - old } else { *new };
                scribe.sample(metric, "", grown / (now - *then).as_secs_f64());
            }
        }
        let lie = ["rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_unacked"];
        let messages = lie.iter().filter_map(|name| totals.get(*name)).sum();
        self.before = Some((now, totals));
        self.queues.look(scribe, messages).await
    }
}

async fn page(client: &reqwest::Client, url: &str) -> Result<String, Unanswered> {
    Ok(client.get(url).send().await?.error_for_status()?.text().await?)
}

/// The metrics that matter here, each summed over its labels (protocols and kinds of queue) and over the nodes, each of which tells
/// of what it has itself.
fn totals(page: &str) -> BTreeMap<String, f64> {
    let wanted = |name: &str| GAUGES.iter().chain(&COUNTERS).any(|(metric, _)| *metric == name);
    let mut totals = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split_once('{').map_or(series, |(name, _)| name);
        if let (true, Ok(value)) = (wanted(name), value.parse::<f64>()) {
            *totals.entry(name.to_owned()).or_default() += value;
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_summed_over_labels() {
        let page = "# HELP rabbitmq_queues Queues available\n\
                    rabbitmq_queues 20\n\
                    rabbitmq_queues_created_total 37\n\
                    rabbitmq_global_messages_received_total{protocol=\"amqp091\"} 160\n\
                    rabbitmq_global_messages_received_total{protocol=\"amqp10\"} 2\n";
        let expected = [("rabbitmq_queues", 20.0), ("rabbitmq_global_messages_received_total", 162.0)];
        assert_eq!(totals(page), expected.map(|(name, value)| (name.to_owned(), value)).into_iter().collect());
    }
}
