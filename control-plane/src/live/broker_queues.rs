//! Queues of simulated hosts, by RabbitMQ's management API.

use serde_json::Value;

use crate::{Amqp, Secret, load::RunName};

/// The queues of a virtual host.
pub(super) struct BrokerQueues {
    client: reqwest::Client,
    /// `…/api/queues/VHOST`
    url: String,
    user: String,
    password: Secret,
}

impl BrokerQueues {
    pub(super) fn new(management_url: &str, login: &Amqp) -> Self {
        let builder = reqwest::Client::builder().no_proxy();
        Self {
            client: builder.build().expect("a client without TLS needs nothing that could be missing"),
            url: format!("{management_url}/api/queues/{}", login.vhost.replace('/', "%2F")),
            user: login.user.clone(),
            password: login.password.clone(),
        }
    }

    /// Names of the queues of hosts (`compute.HOST`, `compute-alt.HOST`) of these runs. Fanout and reply queues carry no host's
    /// name; they expire when nobody uses them.
    pub(super) async fn named(&self, ours: &(dyn Fn(&RunName) -> bool + Sync)) -> Result<Vec<String>, reqwest::Error> {
        // Without figures: the broker then asks no queue, only its own table.
        let url = format!("{}?columns=name&disable_stats=true", self.url);
        let request = self.client.get(url).basic_auth(&self.user, Some(self.password.reveal()));
        let queues: Vec<Value> = request.send().await?.error_for_status()?.json().await?;
        let names = queues.into_iter().filter_map(|queue| queue["name"].as_str().map(str::to_owned));
        Ok(names.filter(|name| run_of(name).is_some_and(|run| ours(&run))).collect())
    }

    /// Deletes these queues.
    pub(super) async fn delete(&self, ours: &(dyn Fn(&RunName) -> bool + Sync)) -> Result<(), reqwest::Error> {
        for name in self.named(ours).await? {
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
