//! Exchanges, queues and bindings, declared as oslo.messaging declares them (`impl_rabbit.py`).

use amqprs::{
    FieldTable, FieldValue,
    channel::{
        BasicConsumeArguments, Channel, ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments,
        QueueDeleteArguments,
    },
    consumer::AsyncConsumer,
    error::Error,
};
use uuid::Uuid;

/// `rabbit_transient_queues_ttl`, 1,800 s, in milliseconds: reply and fanout queues go when nobody uses them for that long.
const TRANSIENT_QUEUES_TTL_MS: i32 = 1_800_000;

/// A name that oslo.messaging makes unique with a UUID in hexadecimal.
pub(crate) fn unique(prefix: &str) -> String {
    format!("{prefix}_{}", Uuid::new_v4().simple())
}

fn transient(queue: &str) -> QueueDeclareArguments {
    let mut arguments = FieldTable::new();
    let key = "x-expires".try_into().expect("a short name");
    arguments.insert(key, FieldValue::I(TRANSIENT_QUEUES_TTL_MS));
    QueueDeclareArguments::new(queue).arguments(arguments).finish()
}

/// A topic exchange of a project: `nova`, `neutron`.
pub(crate) async fn topic_exchange(channel: &Channel, name: &str) -> Result<(), Error> {
    channel.exchange_declare(ExchangeDeclareArguments::new(name, "topic")).await
}

/// The fanout exchange of a topic; it goes with its last queue.
pub(crate) async fn fanout_exchange(channel: &Channel, topic: &str) -> Result<(), Error> {
    let name = format!("{topic}_fanout");
    channel.exchange_declare(ExchangeDeclareArguments::new(&name, "fanout").auto_delete(true).finish()).await
}

async fn consume(channel: &Channel, queue: &str, consumer: impl AsyncConsumer + Send + 'static) -> Result<(), Error> {
    channel.basic_consume(consumer, BasicConsumeArguments::new(queue, "")).await.map(drop)
}

/// The reply queue of a process.
pub(crate) async fn reply_queue(
    channel: &Channel,
    queue: &str,
    consumer: impl AsyncConsumer + Send + 'static,
) -> Result<(), Error> {
    channel.queue_declare(transient(queue)).await?;
    consume(channel, queue, consumer).await
}

/// An RPC server's three queues: of the topic, of the topic on this host, and its own copy of what goes to all.
pub(crate) async fn rpc_server<C: AsyncConsumer + Send + 'static>(
    channel: &Channel,
    topic: &str,
    host: &str,
    fanout_queue: &str,
    mut consumer: impl FnMut() -> C,
) -> Result<(), Error> {
    topic_exchange(channel, "nova").await?;
    for queue in [topic.to_owned(), host_queue(topic, host)] {
        channel.queue_declare(QueueDeclareArguments::new(&queue)).await?;
        channel.queue_bind(QueueBindArguments::new(&queue, "nova", &queue)).await?;
        consume(channel, &queue, consumer()).await?;
    }
    fanout_exchange(channel, topic).await?;
    channel.queue_declare(transient(fanout_queue)).await?;
    channel.queue_bind(QueueBindArguments::new(fanout_queue, &format!("{topic}_fanout"), topic)).await?;
    consume(channel, fanout_queue, consumer()).await
}

/// The queue of a topic on one host.
pub(crate) fn host_queue(topic: &str, host: &str) -> String {
    format!("{topic}.{host}")
}

/// Deletes a queue, used or not; one that does not exist is fine.
pub(crate) async fn delete(channel: &Channel, queue: &str) -> Result<(), Error> {
    channel.queue_delete(QueueDeleteArguments::new(queue)).await.map(drop)
}
