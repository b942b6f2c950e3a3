package millstream;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.IsolationLevel;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTxnStateException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * What a Kafka broker does, asked with the Java client. Arguments: host:port, and perhaps the names of cases.
 * Prints one line per case and a last line with counts; ends with 1 when a case failed.
 */
public final class Conformance {
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final Duration STEP = Duration.ofMillis(100);

  private final String bootstrap;
  private final Admin admin;

  private Conformance(String bootstrap) {
    this.bootstrap = bootstrap;
    this.admin = Admin.create(client());
  }

  /** A case: its name and what it does. */
  private interface Case {
    void run() throws Exception;
  }

  public static void main(String[] arguments) {
    Conformance suite = new Conformance(arguments[0]);
    Set<String> wanted = Set.of(arguments).size() > 1 ? Set.of(arguments) : Set.of();
    int passed = 0;
    List<String> failed = new ArrayList<>();
    for (Map.Entry<String, Case> entry : suite.cases().entrySet()) {
      if (!wanted.isEmpty() && !wanted.contains(entry.getKey())) {
        continue;
      }
      long begin = System.nanoTime();
      try {
        entry.getValue().run();
        passed++;
        System.out.printf("case %s ... ok (%d ms)%n", entry.getKey(), (System.nanoTime() - begin) / 1_000_000);
      } catch (Throwable error) {
        failed.add(entry.getKey());
        System.out.println("case " + entry.getKey() + " ... FAILED");
        error.printStackTrace(System.out);
      }
    }
    suite.admin.close();
    System.out.println("java client: " + passed + " passed; " + failed.size() + " failed");
    System.exit(failed.isEmpty() ? 0 : 1);
  }

  private Map<String, Case> cases() {
    Map<String, Case> all = new TreeMap<>();
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      all.put("batches_" + codec, () -> batches(codec));
    }
    all.put("record_comes_back", this::recordComesBack);
    all.put("too_large_is_refused", this::tooLargeIsRefused);
    all.put("offsets_of_every_kind", this::offsetsOfEveryKind);
    all.put("transaction_commit_and_abort", this::transactionCommitAndAbort);
    all.put("transaction_open_holds_back", this::transactionOpenHoldsBack);
    all.put("transaction_fencing", this::transactionFencing);
    all.put("transaction_timeout", this::transactionTimeout);
    all.put("transaction_offsets", this::transactionOffsets);
    all.put("transactions_are_described", this::transactionsAreDescribed);
    all.put("producers_are_described", this::producersAreDescribed);
    all.put("group_resumes", this::groupResumes);
    all.put("group_shares_partitions", this::groupSharesPartitions);
    all.put("group_static_member", this::groupStaticMember);
    all.put("group_is_administered", this::groupIsAdministered);
    all.put("group_by_pattern", this::groupByPattern);
    all.put("topics_are_administered", this::topicsAreAdministered);
    all.put("configs_are_administered", this::configsAreAdministered);
    all.put("records_are_deleted", this::recordsAreDeleted);
    all.put("cluster_is_described", this::clusterIsDescribed);
    return all;
  }

  // ---- records

  private void batches(String codec) throws Exception {
    String topic = topic("java-" + codec, 1);
    try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", codec, "linger.ms", "20"))) {
      sendAll(producer, topic, 0, 500);
    }
    equal(numbers(0, 500), read(topic, 0, false), "all values");
  }

  private void recordComesBack() throws Exception {
    String topic = topic("java-record", 1);
    try (KafkaProducer<String, String> producer = producer(Map.of())) {
      ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, 1_700_000_000_123L, "k", "v");
      record.headers().add("kind", "test".getBytes()).add("kind", null);
      RecordMetadata at = get(producer.send(record));
      equal(0L, at.offset(), "offset");
      equal(1_700_000_000_123L, at.timestamp(), "timestamp");
      get(producer.send(new ProducerRecord<>(topic, 0, "k", null)));
    }
    List<ConsumerRecord<String, String>> records = readRecords(topic, 0, false);
    equal("k=v", records.get(0).key() + "=" + records.get(0).value(), "record");
    equal(1_700_000_000_123L, records.get(0).timestamp(), "timestamp");
    equal(2, records.get(0).headers().toArray().length, "headers");
    equal(null, records.get(0).headers().toArray()[1].value(), "second header");
    equal(null, records.get(1).value(), "tombstone");
    equal(0, records.get(1).leaderEpoch().orElse(-1), "leader epoch");
  }

  private void tooLargeIsRefused() throws Exception {
    String topic = topic("java-large", 1, Map.of("max.message.bytes", "1000"));
    try (KafkaProducer<String, String> producer = producer(Map.of())) {
      fails(RecordTooLargeException.class, () -> get(producer.send(new ProducerRecord<>(topic, "x".repeat(5000)))));
      equal(0L, get(producer.send(new ProducerRecord<>(topic, "small"))).offset(), "offset");
    }
  }

  private void offsetsOfEveryKind() throws Exception {
    String topic = topic("java-offsets", 1);
    TopicPartition at = new TopicPartition(topic, 0);
    equal(-1L, listed(at, OffsetSpec.maxTimestamp(), IsolationLevel.READ_UNCOMMITTED).offset(), "max of nothing");
    try (KafkaProducer<String, String> producer = producer(Map.of("compression.type", "zstd", "linger.ms", "50"))) {
      List<Future<RecordMetadata>> sent = new ArrayList<>();
      for (long time : new long[] {1000, 3000, 2000, 2500}) {
        sent.add(producer.send(new ProducerRecord<>(topic, 0, time, null, "x")));
      }
      for (Future<RecordMetadata> one : sent) {
        get(one);
      }
    }
    IsolationLevel any = IsolationLevel.READ_UNCOMMITTED;
    equal(0L, listed(at, OffsetSpec.earliest(), any).offset(), "earliest");
    equal(4L, listed(at, OffsetSpec.latest(), any).offset(), "latest");
    equal(0L, listed(at, OffsetSpec.earliestLocal(), any).offset(), "earliest local");
    equal(1L, listed(at, OffsetSpec.maxTimestamp(), any).offset(), "of the largest time");
    equal(3000L, listed(at, OffsetSpec.maxTimestamp(), any).timestamp(), "largest time");
    equal(1L, listed(at, OffsetSpec.forTimestamp(1001), any).offset(), "by time");
    equal(-1L, listed(at, OffsetSpec.forTimestamp(3001), any).offset(), "after everything");
  }

  // ---- transactions

  private void transactionCommitAndAbort() throws Exception {
    String topic = topic("java-tx", 2);
    try (KafkaProducer<String, String> producer = transactional(unique("tx"), 60_000)) {
      for (int round = 0; round < 6; round++) {
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, 0, null, "a" + round));
        producer.send(new ProducerRecord<>(topic, 1, null, "b" + round));
        producer.flush();
        if (round % 3 == 0) {
          producer.abortTransaction();
        } else {
          producer.commitTransaction();
        }
      }
    }
    equal(List.of("a1", "a2", "a4", "a5"), read(topic, 0, true), "committed in 0");
    equal(List.of("b1", "b2", "b4", "b5"), read(topic, 1, true), "committed in 1");
    equal(6, read(topic, 0, false).size(), "all in 0");
  }

  private void transactionOpenHoldsBack() throws Exception {
    String topic = topic("java-open", 1);
    TopicPartition at = new TopicPartition(topic, 0);
    try (KafkaProducer<String, String> open = transactional(unique("tx"), 60_000);
        KafkaProducer<String, String> plain = producer(Map.of())) {
      open.beginTransaction();
      get(open.send(new ProducerRecord<>(topic, 0, null, "open")));
      get(plain.send(new ProducerRecord<>(topic, 0, null, "plain")));
      equal(0L, listed(at, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED).offset(), "last stable offset");
      equal(2L, listed(at, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED).offset(), "end");
      open.abortTransaction();
      eventually("the marker", () -> listed(at, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED).offset() == 3);
    }
    equal(List.of("plain"), read(topic, 0, true), "committed");
  }

  private void transactionFencing() throws Exception {
    String topic = topic("java-fence", 1);
    String id = unique("tx");
    try (KafkaProducer<String, String> zombie = transactional(id, 60_000)) {
      zombie.beginTransaction();
      get(zombie.send(new ProducerRecord<>(topic, 0, null, "zombie")));
      try (KafkaProducer<String, String> successor = transactional(id, 60_000)) {
        fails(
            KafkaException.class,
            () -> {
              zombie.send(new ProducerRecord<>(topic, 0, null, "again"));
              zombie.commitTransaction();
            });
        successor.beginTransaction();
        successor.send(new ProducerRecord<>(topic, 0, null, "successor"));
        successor.commitTransaction();
      }
    }
    equal(List.of("successor"), read(topic, 0, true), "committed");
  }

  private void transactionTimeout() throws Exception {
    String topic = topic("java-timeout", 1);
    TopicPartition at = new TopicPartition(topic, 0);
    try (KafkaProducer<String, String> producer = transactional(unique("tx"), 1000)) {
      producer.beginTransaction();
      get(producer.send(new ProducerRecord<>(topic, 0, null, "late")));
      eventually("the abort", () -> listed(at, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED).offset() == 2);
      Throwable error = thrown(producer::commitTransaction);
      // With transactions of the second kind (KIP-890) the id is not fenced, but its transaction is over.
      if (!(error instanceof ProducerFencedException)
          && !(error instanceof InvalidProducerEpochException)
          && !(error instanceof InvalidTxnStateException)) {
        throw new AssertionError("not fenced", error);
      }
    }
    equal(List.of(), read(topic, 0, true), "committed");
  }

  private void transactionOffsets() throws Exception {
    String topic = topic("java-tx-offsets", 1);
    String group = unique("group");
    TopicPartition at = new TopicPartition(topic, 0);
    try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group));
        KafkaProducer<String, String> producer = transactional(unique("tx"), 60_000)) {
      sendAllPlain(topic, 10);
      consumer.subscribe(List.of(topic));
      take(consumer, 10);
      producer.beginTransaction();
      producer.send(new ProducerRecord<>(topic, 0, null, "output"));
      producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(4)), consumer.groupMetadata());
      producer.abortTransaction();
      equal(null, consumer.committed(Set.of(at)).get(at), "after the abort");
      producer.beginTransaction();
      producer.sendOffsetsToTransaction(Map.of(at, new OffsetAndMetadata(7)), consumer.groupMetadata());
      producer.commitTransaction();
      equal(7L, consumer.committed(Set.of(at)).get(at).offset(), "after the commit");
    }
  }

  private void transactionsAreDescribed() throws Exception {
    String topic = topic("java-tx-described", 1);
    String id = unique("tx");
    try (KafkaProducer<String, String> producer = transactional(id, 60_000)) {
      producer.beginTransaction();
      get(producer.send(new ProducerRecord<>(topic, 0, null, "x")));
      var described = admin.describeTransactions(List.of(id)).description(id).get();
      equal(TransactionState.ONGOING, described.state(), "state");
      equal(Set.of(new TopicPartition(topic, 0)), described.topicPartitions(), "partitions");
      equal(60_000L, described.transactionTimeoutMs(), "timeout");
      boolean listed = admin.listTransactions().all().get().stream().anyMatch(one -> one.transactionalId().equals(id));
      equal(true, listed, "listed");
      producer.commitTransaction();
    }
    eventually(
        "it is complete",
        () ->
            admin.describeTransactions(List.of(id)).description(id).get().state() == TransactionState.COMPLETE_COMMIT);
  }

  private void producersAreDescribed() throws Exception {
    String topic = topic("java-producers", 1);
    TopicPartition at = new TopicPartition(topic, 0);
    try (KafkaProducer<String, String> producer = transactional(unique("tx"), 60_000)) {
      producer.beginTransaction();
      get(producer.send(new ProducerRecord<>(topic, 0, null, "x")));
      get(producer.send(new ProducerRecord<>(topic, 0, null, "y")));
      var states = admin.describeProducers(List.of(at)).partitionResult(at).get().activeProducers();
      equal(1, states.size(), "producers");
      equal(1, states.get(0).lastSequence(), "last sequence");
      equal(0L, states.get(0).currentTransactionStartOffset().orElse(-1), "start of the transaction");
      producer.abortTransaction();
    }
  }

  // ---- groups

  private void groupResumes() throws Exception {
    String topic = topic("java-resume", 1);
    String group = unique("group");
    sendAllPlain(topic, 10);
    try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group))) {
      consumer.subscribe(List.of(topic));
      equal(numbers(0, 10), take(consumer, 10), "first time");
      consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(4, "note")));
    }
    try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group))) {
      consumer.subscribe(List.of(topic));
      equal(numbers(4, 10), take(consumer, 6), "second time");
      TopicPartition at = new TopicPartition(topic, 0);
      equal("note", consumer.committed(Set.of(at)).get(at).metadata(), "metadata");
    }
  }

  private void groupSharesPartitions() throws Exception {
    for (String assignor : List.of("RangeAssignor", "CooperativeStickyAssignor")) {
      String topic = topic("java-share", 4);
      Map<String, String> settings =
          Map.of(
              "group.id",
              unique("group"),
              ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG,
              "org.apache.kafka.clients.consumer." + assignor);
      try (KafkaConsumer<String, String> first = consumer(settings)) {
        first.subscribe(List.of(topic));
        eventually("the first has all", () -> polled(first).assignment().size() == 4);
        try (KafkaConsumer<String, String> second = consumer(settings)) {
          second.subscribe(List.of(topic));
          eventually(
              "both have two",
              () -> polled(first).assignment().size() == 2 & polled(second).assignment().size() == 2);
        }
        eventually("the first has all again", () -> polled(first).assignment().size() == 4);
      }
    }
  }

  private void groupStaticMember() throws Exception {
    String topic = topic("java-static", 2);
    Map<String, String> settings = Map.of("group.id", unique("group"), "group.instance.id", "one");
    try (KafkaConsumer<String, String> consumer = consumer(settings)) {
      consumer.subscribe(List.of(topic));
      eventually("it has both", () -> polled(consumer).assignment().size() == 2);
    }
    try (KafkaConsumer<String, String> consumer = consumer(settings)) {
      consumer.subscribe(List.of(topic));
      eventually("it has both again", () -> polled(consumer).assignment().size() == 2);
      equal(1, consumer.groupMetadata().generationId(), "no rebalance in between");
    }
    equal(
        Set.of("one"),
        Set.of(
            admin
                .describeConsumerGroups(List.of(settings.get("group.id")))
                .all()
                .get()
                .get(settings.get("group.id"))
                .members()
                .iterator()
                .next()
                .groupInstanceId()
                .orElse("none")),
        "instance");
  }

  private void groupIsAdministered() throws Exception {
    String topic = topic("java-admin-group", 1);
    String group = unique("group");
    TopicPartition at = new TopicPartition(topic, 0);
    sendAllPlain(topic, 10);
    try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", group, "client.id", "someone"))) {
      consumer.subscribe(List.of(topic));
      take(consumer, 10);
      consumer.commitSync();
      var described = admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
      equal(GroupState.STABLE, described.groupState(), "state");
      equal("someone", described.members().iterator().next().clientId(), "client");
      equal(Set.of(at), described.members().iterator().next().assignment().topicPartitions(), "assignment");
      fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
    }
    eventually(
        "it is empty",
        () ->
            admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get().groupState()
                == GroupState.EMPTY);
    boolean listed = admin.listGroups().all().get().stream().map(GroupListing::groupId).anyMatch(group::equals);
    equal(true, listed, "listed");
    equal(10L, committed(group).get(at).offset(), "committed");
    admin.alterConsumerGroupOffsets(group, Map.of(at, new OffsetAndMetadata(3))).all().get();
    equal(3L, committed(group).get(at).offset(), "altered");
    admin.deleteConsumerGroupOffsets(group, Set.of(at)).all().get();
    equal(null, committed(group).get(at), "offset deleted");
    admin.deleteConsumerGroups(List.of(group)).all().get();
    fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
    fails(
        GroupIdNotFoundException.class, () -> admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get());
  }

  private void groupByPattern() throws Exception {
    String prefix = unique("java-pattern");
    String name = prefix + "-a";
    admin.createTopics(List.of(new NewTopic(name, 1, (short) 1))).all().get();
    sendAllPlain(name, 3);
    try (KafkaConsumer<String, String> consumer = consumer(Map.of("group.id", unique("group")))) {
      consumer.subscribe(java.util.regex.Pattern.compile(prefix + ".*"));
      equal(numbers(0, 3), take(consumer, 3), "values");
    }
  }

  // ---- administration

  private void topicsAreAdministered() throws Exception {
    String topic = topic("java-topic", 2);
    TopicDescription described = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
    equal(2, described.partitions().size(), "partitions");
    equal(1, described.partitions().get(0).isr().size(), "replicas in sync");
    equal(false, described.isInternal(), "internal");
    equal(topic, admin.describeTopics(org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(described.topicId())))
        .allTopicIds().get().get(described.topicId()).name(), "by id");
    fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get());
    fails(
        InvalidReplicationFactorException.class,
        () -> admin.createTopics(List.of(new NewTopic(unique("x"), 1, (short) 3))).all().get());
    fails(
        InvalidConfigurationException.class,
        () ->
            admin.createTopics(List.of(new NewTopic(unique("x"), 1, (short) 1).configs(Map.of("no.such", "1")))).all().get());
    admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(5))).all().get();
    eventually(
        "five partitions",
        () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == 5);
    admin.deleteTopics(org.apache.kafka.common.TopicCollection.ofTopicIds(List.of(described.topicId()))).all().get();
    eventually("it is gone", () -> !admin.listTopics().names().get().contains(topic));
    fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(topic)).all().get());
    var created = admin.createTopics(List.of(new NewTopic(unique("java-defaults"), java.util.Optional.empty(), java.util.Optional.empty())));
    String made = created.values().keySet().iterator().next();
    equal(1, created.numPartitions(made).get(), "default partitions");
    equal("delete", created.config(made).get().get("cleanup.policy").value(), "settings of the new topic");
  }

  private void configsAreAdministered() throws Exception {
    String topic = topic("java-configs", 1);
    ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
    alter(resource, "retention.ms", "5000", AlterConfigOp.OpType.SET);
    alter(resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND);
    eventually("both are set", () -> "5000".equals(config(resource, "retention.ms").value())
        && "delete,compact".equals(config(resource, "cleanup.policy").value()));
    equal(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config(resource, "retention.ms").source(), "source");
    equal(ConfigEntry.ConfigType.LONG, config(resource, "retention.ms").type(), "type");
    alter(resource, "cleanup.policy", "delete", AlterConfigOp.OpType.SUBTRACT);
    alter(resource, "retention.ms", null, AlterConfigOp.OpType.DELETE);
    eventually("both are changed", () -> "604800000".equals(config(resource, "retention.ms").value())
        && "compact".equals(config(resource, "cleanup.policy").value()));
    equal(true, config(resource, "retention.ms").isDefault(), "default");
    fails(InvalidConfigurationException.class, () -> alter(resource, "retention.ms", "soon", AlterConfigOp.OpType.SET));
    fails(InvalidConfigurationException.class, () -> alter(resource, "no.such", "1", AlterConfigOp.OpType.SET));
    ConfigResource missing = new ConfigResource(ConfigResource.Type.TOPIC, unique("missing"));
    fails(UnknownTopicOrPartitionException.class, () -> admin.describeConfigs(List.of(missing)).all().get());
    ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
    equal("1", admin.describeConfigs(List.of(broker)).all().get().get(broker).get("num.partitions").value(), "broker");
  }

  private void recordsAreDeleted() throws Exception {
    String topic = topic("java-delete", 1);
    TopicPartition at = new TopicPartition(topic, 0);
    sendAllPlain(topic, 10);
    long low =
        admin.deleteRecords(Map.of(at, RecordsToDelete.beforeOffset(6))).lowWatermarks().get(at).get().lowWatermark();
    equal(6L, low, "low watermark");
    equal(6L, listed(at, OffsetSpec.earliest(), IsolationLevel.READ_UNCOMMITTED).offset(), "earliest");
    equal(numbers(6, 10), read(topic, 0, false), "what is left");
  }

  private void clusterIsDescribed() throws Exception {
    var cluster = admin.describeCluster();
    equal(1, cluster.nodes().get().size(), "nodes");
    var node = cluster.nodes().get().iterator().next();
    equal(bootstrap, node.host() + ":" + node.port(), "address");
    equal(1, cluster.controller().get().id(), "controller");
    equal(false, cluster.clusterId().get().isEmpty(), "id");
    String topic = topic("java-dirs", 1);
    sendAllPlain(topic, 10);
    var dirs = admin.describeLogDirs(List.of(1)).allDescriptions().get().get(1);
    var replica = dirs.values().iterator().next().replicaInfos().get(new TopicPartition(topic, 0));
    equal(true, replica.size() > 0, "bytes on disk");
  }

  // ---- clients

  private Properties client() {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    properties.put("default.api.timeout.ms", "30000");
    return properties;
  }

  private KafkaProducer<String, String> producer(Map<String, String> settings) {
    Properties properties = client();
    properties.remove("default.api.timeout.ms");
    properties.putAll(settings);
    return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
  }

  private KafkaProducer<String, String> transactional(String id, int timeoutMs) {
    KafkaProducer<String, String> producer =
        producer(Map.of("transactional.id", id, "transaction.timeout.ms", Integer.toString(timeoutMs)));
    producer.initTransactions();
    return producer;
  }

  private KafkaConsumer<String, String> consumer(Map<String, String> settings) {
    Properties properties = client();
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("heartbeat.interval.ms", "300");
    properties.put("session.timeout.ms", "10000");
    properties.put("group.protocol", "classic");
    properties.putAll(settings);
    return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
  }

  private static KafkaConsumer<String, String> polled(KafkaConsumer<String, String> consumer) {
    consumer.poll(STEP);
    return consumer;
  }

  private static List<String> take(KafkaConsumer<String, String> consumer, int count) throws Exception {
    List<String> values = new ArrayList<>();
    eventually(
        count + " records",
        () -> {
          consumer.poll(STEP).forEach(record -> values.add(record.value()));
          return values.size() >= count;
        });
    return values;
  }

  private List<String> read(String topic, int partition, boolean committed) throws Exception {
    List<String> values = new ArrayList<>();
    readRecords(topic, partition, committed).forEach(record -> values.add(record.value()));
    return values;
  }

  private List<ConsumerRecord<String, String>> readRecords(String topic, int partition, boolean committed)
      throws Exception {
    TopicPartition at = new TopicPartition(topic, partition);
    Map<String, String> settings = new HashMap<>();
    settings.put("isolation.level", committed ? "read_committed" : "read_uncommitted");
    try (KafkaConsumer<String, String> consumer = consumer(settings)) {
      consumer.assign(List.of(at));
      consumer.seekToBeginning(List.of(at));
      long end = consumer.endOffsets(List.of(at)).get(at);
      List<ConsumerRecord<String, String>> records = new ArrayList<>();
      eventually(
          "the end of the partition",
          () -> {
            consumer.poll(STEP).forEach(records::add);
            return consumer.position(at) >= end;
          });
      return records;
    }
  }

  private String topic(String what, int partitions) throws Exception {
    return topic(what, partitions, Map.of());
  }

  private String topic(String what, int partitions, Map<String, String> settings) throws Exception {
    String name = unique(what);
    admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1).configs(settings))).all().get();
    eventually("the topic", () -> admin.listTopics().names().get().contains(name));
    return name;
  }

  private void sendAllPlain(String topic, int count) throws Exception {
    try (KafkaProducer<String, String> producer = producer(Map.of())) {
      sendAll(producer, topic, 0, count);
    }
  }

  private static void sendAll(KafkaProducer<String, String> producer, String topic, int partition, int count)
      throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (String value : numbers(0, count)) {
      sent.add(producer.send(new ProducerRecord<>(topic, partition, null, value)));
    }
    for (int at = 0; at < count; at++) {
      equal((long) at, get(sent.get(at)).offset(), "offset");
    }
  }

  private ListOffsetsResultInfo listed(TopicPartition at, OffsetSpec spec, IsolationLevel isolation) throws Exception {
    var options = new org.apache.kafka.clients.admin.ListOffsetsOptions(isolation);
    return admin.listOffsets(Map.of(at, spec), options).partitionResult(at).get();
  }

  private Map<TopicPartition, OffsetAndMetadata> committed(String group) throws Exception {
    return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
  }

  private ConfigEntry config(ConfigResource resource, String name) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource).get(name);
  }

  private void alter(ConfigResource resource, String name, String value, AlterConfigOp.OpType kind) throws Exception {
    AlterConfigOp change = new AlterConfigOp(new ConfigEntry(name, value), kind);
    admin.incrementalAlterConfigs(Map.of(resource, Collections.singletonList(change))).all().get();
  }

  // ---- checks

  private static String unique(String what) {
    return what + "-" + UUID.randomUUID();
  }

  private static List<String> numbers(int from, int to) {
    List<String> values = new ArrayList<>();
    for (int number = from; number < to; number++) {
      values.add("value " + number);
    }
    return values;
  }

  private static <T> T get(Future<T> future) throws Exception {
    return future.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
  }

  private static void equal(Object expected, Object found, String what) {
    if (!Objects.equals(expected, found)) {
      throw new AssertionError(what + ": expected " + expected + ", found " + found);
    }
  }

  /** What a case throws, without the wrapping that futures put around it. */
  private static Throwable thrown(Case attempt) {
    try {
      attempt.run();
    } catch (ExecutionException error) {
      return error.getCause();
    } catch (Exception error) {
      return error;
    }
    throw new AssertionError("nothing was thrown");
  }

  private static void fails(Class<? extends Exception> expected, Case attempt) {
    Throwable error = thrown(attempt);
    if (!expected.isInstance(error)) {
      throw new AssertionError("expected " + expected.getSimpleName() + ", found " + error, error);
    }
  }

  private interface Condition {
    boolean holds() throws Exception;
  }

  private static void eventually(String what, Condition condition) throws Exception {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (!condition.holds()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("not in time: " + what);
      }
      Thread.sleep(20);
    }
  }
}
