"""Topics: made, changed, written and read back, by librdkafka outside of the engine."""

from collections import namedtuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, AlterConfigOpType, ConfigEntry, NewPartitions, NewTopic, OffsetSpec, ResourceType

from . import child

Record = namedtuple("Record", "topic partition offset key value timestamp headers")


class Topics:
    """One cluster's topics. `config`: properties of librdkafka beside the brokers (security)."""

    def __init__(self, servers, config=None):
        self.config = {"bootstrap.servers": servers, "log_level": 0, **(config or {})}
        self.admin = AdminClient(self.config)

    def create(self, *names, partitions=1, config=None):
        topics = [NewTopic(name, num_partitions=partitions, config=config or {}) for name in names]
        for future in self.admin.create_topics(topics, request_timeout=30).values():
            future.result()
        child.wait_until(lambda: all(self.partitions(name) == partitions for name in names), f"topics {names} are there")

    def delete(self, *names):
        for future in self.admin.delete_topics(list(names), request_timeout=30).values():
            future.result()
        child.wait_until(lambda: not set(names) & set(self.names()), f"topics {names} are gone")

    def names(self):
        return list(self.admin.list_topics(timeout=10).topics)

    def partitions(self, name):
        return len(self.admin.list_topics(name, timeout=10).topics[name].partitions)

    def leader(self, name, partition=0):
        return self.admin.list_topics(name, timeout=10).topics[name].partitions[partition].leader

    def add_partitions(self, name, total):
        for future in self.admin.create_partitions([NewPartitions(name, total)]).values():
            future.result()
        child.wait_until(lambda: self.partitions(name) == total, f"{name} has {total} partitions")

    def configure(self, name, **settings):
        entries = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET) for key, value in settings.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
        for future in self.admin.incremental_alter_configs([resource]).values():
            future.result()

    def delete_records(self, name, before):
        """Deletes what is below the given offsets: partition -> offset."""
        wanted = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
        for future in self.admin.delete_records(wanted).values():
            future.result()

    def ends(self, name, committed=False):
        """Where each partition ends: the high watermark, or with `committed` the last stable offset."""
        level = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(name, p): OffsetSpec.latest() for p in range(self.partitions(name))}
        found = self.admin.list_offsets(wanted, isolation_level=level, request_timeout=20)
        return {at.partition: future.result().offset for at, future in found.items()}

    def begins(self, name):
        wanted = {TopicPartition(name, p): OffsetSpec.earliest() for p in range(self.partitions(name))}
        found = self.admin.list_offsets(wanted, request_timeout=20)
        return {at.partition: future.result().offset for at, future in found.items()}

    def producer(self, **config):
        settings = {"enable.idempotence": True, "linger.ms": 2, "queue.buffering.max.messages": 1000000}
        return Producer({**self.config, **settings, **{key.replace("_", "."): value for key, value in config.items()}})

    def write(self, name, values, keys=None, partition=None):
        """Writes values (texts, bytes or None) and waits; gives their places as (partition, offset)."""
        places = [None] * len(values)

        def delivered(idx):
            def done(error, message):
                places[idx] = error or (message.partition(), message.offset())

            return done

        producer = self.producer()
        for idx, value in enumerate(values):
            at = partition(idx) if callable(partition) else partition
            more = {} if at is None else {"partition": at}
            while True:
                try:
                    producer.produce(name, value, key=keys[idx] if keys else None, on_delivery=delivered(idx), **more)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        producer.flush(60)
        wrong = [place for place in places if not isinstance(place, tuple)]
        if wrong:
            raise RuntimeError(f"{len(wrong)} records were not written to {name}: {wrong[0]}")
        return places

    def read(self, name, committed=True, seconds=60):
        """All records of a topic up to its present end. `committed`: as a consumer with read_committed sees it."""
        ends = self.ends(name, committed)
        level = "read_committed" if committed else "read_uncommitted"
        consumer = Consumer(
            {
                **self.config,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": level,
                "auto.offset.reset": "error",
                "fetch.wait.max.ms": 10,
            }
        )
        records, open_partitions = [], set(ends)
        consumer.assign([TopicPartition(name, partition, OFFSET_BEGINNING) for partition in ends])
        try:

            def step():
                message = consumer.poll(0.2)
                while message is not None:
                    error = message.error()
                    if error is None:
                        if message.offset() < ends[message.partition()]:
                            records.append(_record(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        if message.offset() >= ends[message.partition()]:
                            open_partitions.discard(message.partition())
                    elif not error.retriable():
                        raise RuntimeError(f"{name} cannot be read: {error}")
                    message = consumer.poll(0)
                return not open_partitions

            child.wait_until(step, f"{name} is read to its end", seconds, every=0)
        finally:
            consumer.close()
        return records


def _record(message):
    kind, time = message.timestamp()
    return Record(
        message.topic(), message.partition(), message.offset(), message.key(), message.value(), time if kind else None, message.headers() or []
    )
