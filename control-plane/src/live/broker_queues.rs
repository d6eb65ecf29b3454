//! Queues of simulated hosts, by RabbitMQ's management API and its Prometheus page.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{Amqp, Secret, error::Unanswered, load::RunName, queue_page};

/// The queues of a virtual host.
pub(super) struct BrokerQueues {
    client: reqwest::Client,
    /// `…/api/queues/VHOST`
    url: String,
    metrics_urls: Vec<String>,
    user: String,
    password: Secret,
}

impl BrokerQueues {
    pub(super) fn new(management_url: &str, metrics_urls: &[String], login: &Amqp) -> Self {
        let builder = reqwest::Client::builder().no_proxy();
        Self {
            client: builder.build().expect("a client without TLS needs nothing that could be missing"),
            url: format!("{management_url}/api/queues/{}", login.vhost.replace('/', "%2F")),
            metrics_urls: metrics_urls.to_vec(),
            user: login.user.clone(),
            password: login.password.clone(),
        }
    }

    /// Names of all queues.
    pub(super) async fn names(&self) -> Result<BTreeSet<String>, Unanswered> {
        // Without figures: the broker then asks no queue, only its own table.
        let request = self.client.get(format!("{}?columns=name&disable_stats=true", self.url));
        let request = request.basic_auth(&self.user, Some(self.password.reveal()));
        let queues: Vec<Value> = request.send().await?.error_for_status()?.json().await?;
        Ok(queues.iter().filter_map(|queue| queue["name"].as_str().map(str::to_owned)).collect())
    }

    /// Names of the queues that came after `before`, and those of the hosts of these runs, as far as nobody consumes from
    /// them. Fanout and reply queues carry no host's name; a service that makes one consumes from it.
    pub(super) async fn left(
        &self,
        before: &BTreeSet<String>,
        ours: &(dyn Fn(&RunName) -> bool + Sync),
    ) -> Result<Vec<String>, Unanswered> {
        let consumers = queue_page::queues(&self.client, &self.metrics_urls, queue_page::CONSUMERS).await?;
        let used: BTreeSet<String> = consumers.into_iter().map(|(queue, _)| queue).collect();
        let mut left = self.names().await?;
        left.retain(|name| !used.contains(name));
        left.retain(|name| !before.contains(name) || run_of(name).is_some_and(|run| ours(&run)));
        Ok(left.into_iter().collect())
    }

    /// Deletes the queues of the hosts (`compute.HOST`, `compute-alt.HOST`) of these runs.
    pub(super) async fn delete_of(&self, ours: &(dyn Fn(&RunName) -> bool + Sync)) -> Result<(), Unanswered> {
        let names = self.names().await?;
        self.delete(names.iter().filter(|name| run_of(name).is_some_and(|run| ours(&run)))).await
    }

    /// Deletes these queues.
    pub(super) async fn delete(&self, names: impl IntoIterator<Item = &String>) -> Result<(), Unanswered> {
        for name in names {
            let request = self.client.delete(format!("{}/{name}", self.url));
            request.basic_auth(&self.user, Some(self.password.reveal())).send().await?;
        }
        Ok(())
    }
}

/// The run that a host's queue belongs to.
fn run_of(queue: &str) -> Option<RunName> {
    queue.split('.').find_map(RunName::owner_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_a_host_tells_its_run() {
        let run = RunName::generate();
        assert_eq!(run_of(&format!("compute.{run}-00001")), Some(run));
        assert_eq!(run_of("compute.vm"), None);
        assert_eq!(run_of("reply_0123456789abcdef"), None);
    }
}
