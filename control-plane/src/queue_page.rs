//! RabbitMQ's Prometheus page of single queues: what the management API cannot say of a broker that collects no figures for it.

/// Families of metrics of the page that are asked for here.
pub(crate) const CONSUMERS: (&str, &str) = ("queue_consumer_count", "rabbitmq_detailed_queue_consumers");
pub(crate) const MESSAGES: (&str, &str) = ("queue_coarse_metrics", "rabbitmq_detailed_queue_messages");

/// Each queue with its value, of one of the families. A node's page has the queues that live there.
///
/// # Errors
/// What the broker, or the network, said.
pub(crate) async fn queues(
    client: &reqwest::Client,
    metrics_urls: &[String],
    (family, metric): (&str, &str),
) -> Result<Vec<(String, f64)>, reqwest::Error> {
    let mut queues = Vec::new();
    for url in metrics_urls {
        let url = format!("{url}/detailed?family={family}");
        let page = client.get(&url).send().await?.error_for_status()?.text().await?;
        queues.extend(read(&page, metric));
    }
    Ok(queues)
}

fn read(page: &str, metric: &str) -> Vec<(String, f64)> {
    let of_metric = page.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    of_metric.filter_map(series).collect()
}

/// `vhost="openstack",queue="conductor"} 12`
fn series(text: &str) -> Option<(String, f64)> {
    let (labels, value) = text.rsplit_once("} ")?;
    let (_, name) = labels.split_once("queue=\"")?;
    let (name, _) = name.split_once('"')?;
    Some((name.to_owned(), value.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_metric_that_is_meant_is_read() {
        let page = "# TYPE rabbitmq_detailed_queue_messages_ready gauge\n\
                    rabbitmq_detailed_queue_messages_ready{vhost=\"openstack\",queue=\"conductor\"} 12\n\
                    # TYPE rabbitmq_detailed_queue_messages gauge\n\
                    rabbitmq_detailed_queue_messages{vhost=\"openstack\",queue=\"scheduler\"} 3\n\
                    rabbitmq_detailed_queue_messages{vhost=\"openstack\",queue=\"conductor\"} 14\n";
        let expected = [("scheduler".to_owned(), 3.0), ("conductor".to_owned(), 14.0)];
        assert_eq!(read(page, MESSAGES.1), expected);
    }
}
