//! The deepest queues, from RabbitMQ's management API.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use super::{Sampler, Scribe, broker::client};
use crate::{Amqp, Secret};

/// Queues that are looked at: the deepest, which is where a backlog is.
const DEEPEST: usize = 10;

/// Depths of the deepest queues.
pub(super) struct Queues {
    url: String,
    user: String,
    password: Secret,
    client: reqwest::Client,
    /// Queues that were deep at the last look, so that a series ends at zero and not in the air.
    deep: BTreeSet<String>,
}

impl Queues {
    pub(super) fn new(management_url: &str, login: &Amqp) -> Self {
        // The page is cut and sorted by the broker; columns keep what travels small.
        let page = format!("page=1&page_size={DEEPEST}&sort=messages&sort_reverse=true&columns=name,messages");
        let url = format!("{management_url}/api/queues/{}?{page}", login.vhost.replace('/', "%2F"));
        let (user, password) = (login.user.clone(), login.password.clone());
        Self { url, user, password, client: client(), deep: BTreeSet::new() }
    }
}

impl Sampler for Queues {
    const WHAT: &'static str = "RabbitMQ's queues";
    const EVERY: Duration = Duration::from_secs(10);

    async fn look(&mut self, scribe: &Scribe) -> Result<(), String> {
        let request = self.client.get(&self.url).basic_auth(&self.user, Some(self.password.reveal()));
        let response = request.send().await.and_then(reqwest::Response::error_for_status);
        let page: Value =
            response.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())?;
        let depths = depths(&page);
        for queue in self.deep.iter().filter(|queue| depths.iter().all(|(name, _)| name != *queue)) {
            scribe.sample("broker.queue_depth", queue, 0.0);
        }
        for (queue, depth) in &depths {
            scribe.sample("broker.queue_depth", queue, *depth);
        }
        self.deep = depths.into_iter().map(|(queue, _)| queue).collect();
        Ok(())
    }
}

/// Queues that hold messages, of the page.
fn depths(page: &Value) -> Vec<(String, f64)> {
    let queues = page["items"].as_array().into_iter().flatten();
    let depths = queues.filter_map(|queue| Some((queue["name"].as_str()?.to_owned(), queue["messages"].as_f64()?)));
    depths.filter(|(_, depth)| *depth > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_queues_and_queues_without_figures_are_left_out() {
        let page =
            json!({"items": [{"name": "conductor", "messages": 7}, {"name": "x", "messages": 0}, {"name": "new"}]});
        assert_eq!(depths(&page), [("conductor".to_owned(), 7.0)]);
    }
}
