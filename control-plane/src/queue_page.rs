//! RabbitMQ's Prometheus page of single queues: what the management API cannot say of a broker that collects no figures for it.

use crate::error::Unanswered;

/// Families of metrics of the page that are asked for here.
pub(crate) const CONSUMERS: (&str, &str) = ("queue_consumer_count", "rabbitmq_detailed_queue_consumers");
pub(crate) const MESSAGES: (&str, &str) = ("queue_coarse_metrics", "rabbitmq_detailed_queue_messages");

/// Each queue that has any, with its value of one of the families. A node's page has the queues that live there. With tens of
/// thousands of them it is megabytes long, so it is read as it comes.
///
/// # Errors
/// What the broker, or the network, said.
pub(crate) async fn queues(
    client: &reqwest::Client,
    metrics_urls: &[String],
    (family, metric): (&str, &str),
) -> Result<Vec<(String, f64)>, Unanswered> {
    let mut queues = Vec::new();
    for url in metrics_urls {
        let url = format!("{url}/detailed?family={family}");
        let mut page = client.get(&url).send().await?.error_for_status()?;
        let mut unread = Vec::new();
        while let Some(chunk) = page.chunk().await? {
            unread.extend_from_slice(&chunk);
            take_lines(&mut unread, metric, &mut queues);
        }
    }
    Ok(queues)
}

/// Reads the lines that are whole.
fn take_lines(unread: &mut Vec<u8>, metric: &str, queues: &mut Vec<(String, f64)>) {
    let end = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&unread[..end]);
    let of_metric = text.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    queues.extend(of_metric.filter_map(series).filter(|(_, value)| *value > 0.0));
    unread.drain(..end);
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
                    rabbitmq_detailed_queue_messages{vhost=\"openstack\",queue=\"reply_1\"} 0\n\
                    rabbitmq_detailed_queue_messages{vhost=\"openstack\",queue=\"conductor\"} 14\n";
        let expected = [("scheduler".to_owned(), 3.0), ("conductor".to_owned(), 14.0)];
        // However the network cuts it.
        for size in 1..page.len() {
            let (mut unread, mut queues) = (Vec::new(), Vec::new());
            for chunk in page.as_bytes().chunks(size) {
                unread.extend_from_slice(chunk);
                take_lines(&mut unread, MESSAGES.1, &mut queues);
            }
            assert_eq!(queues, expected);
        }
    }
}
