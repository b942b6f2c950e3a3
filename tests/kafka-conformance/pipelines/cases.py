"""The cases: each takes a `Where` (a broker, and a folder to work in) and gives what must be the same for every broker."""

import json
import re
import time

import replay
import shop
from harness import child, cluster
from harness.compare import check, same
from harness.engine import ROOT, Engine
from harness.topics import Topics

CASES = []
SOON = 30


def case(function):
    CASES.append(function)
    return function


class Where:
    """A broker to run against. `inside`: how an engine gets it by a setting, or by starting it in its own process."""

    def __init__(self, name, servers, folder, config=None):
        self.name, self.servers, self.folder = name, servers, folder
        self.topics = Topics(servers, config)
        self.count = 0

    def engine(self, text, settings=None, **more):
        """An engine over a text; its kafka tables name no brokers, the setting does."""
        self.count += 1
        folder = self.folder / f"{self.name}-{self.count}"
        folder.mkdir(parents=True)
        file = folder / "pipeline.sql"
        file.write_text(text)
        settings = {"kafka.bootstrap.servers": self.servers, **(settings or {})}
        return Engine(folder, [file], settings=settings, **more)


def soon(condition, what):
    return child.wait_until(condition, what, SOON)


def rows_become(engine, sql, wanted, what):
    """Waits until a query has these rows; says how they differ if it never does."""
    wanted = [tuple(row) for row in wanted]
    try:
        soon(lambda: sorted(engine.query(sql), key=repr) == sorted(wanted, key=repr), what)
    except child.TimedOut:
        same(what, engine.query(sql), wanted)


def table(name, columns, **options):
    listed = ", ".join(f"'{key}' = '{value}'" for key, value in options.items())
    return f"CREATE TABLE {name} ({columns}) WITH ({listed});\n"


def kafka(topic, **more):
    named = {} if topic is None else {"topic": topic}
    return {"connector": "kafka", **named, "format": "json", "scan.startup.mode": "earliest-offset", **more}


@case
def replayed_shop(where):
    """The slice of a real shop's year: every view is what a batch computes."""
    where.topics.create(*replay.TOPICS, partitions=3)
    with where.engine(replay.PIPELINE.read_text()).start() as engine:
        lines = list(replay.lines())
        for topic in replay.TOPICS:
            mine = [line for line in lines if replay.topic(line) == topic]
            where.topics.write(topic, [replay.event(line) for line in mine], [line["invoice"] for line in mine])
        soon(lambda: engine.status()["rows"] >= len(lines), "all lines are taken")
        for sql, wanted in replay.expected().items():
            rows_become(engine, sql, wanted, sql)
        check(engine.stop() == 0, "the engine ends with 0")


def _starts_and_ends(where, topic):
    """Two partitions of 20 records with the times 1000, 2000, ... and a group that has read 5 and 7 of them."""
    from confluent_kafka import Consumer, TopicPartition

    where.topics.create(topic, partitions=2)
    producer = where.topics.producer()
    for idx in range(20):
        for partition in range(2):
            value = json.dumps({"id": partition * 100 + idx})
            producer.produce(topic, value, partition=partition, timestamp=1_700_000_000_000 + idx * 1000)
    producer.flush(30)
    consumer = Consumer({**where.topics.config, "group.id": f"{topic}-group", "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, 0, 5), TopicPartition(topic, 1, 7)], asynchronous=False)
    consumer.close()


_IDS = [(p * 100 + i) for p in range(2) for i in range(20)]
_AT = 1_700_000_000_000


@case
def startup_and_bounded_modes(where):
    """Every way to begin and every way to end."""
    topic = "places"
    _starts_and_ends(where, topic)
    group = {"properties.group.id": f"{topic}-group"}
    start = {
        "earliest": ({"scan.startup.mode": "earliest-offset"}, lambda p, i: True),
        "group": ({"scan.startup.mode": "group-offsets", **group}, lambda p, i: i >= (5, 7)[p]),
        "time": ({"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": _AT + 11_500}, lambda p, i: i >= 12),
        "late": ({"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": _AT + 900_000}, lambda p, i: False),
        "specific": (
            {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": "partition:0,offset:18;partition:1,offset:3"},
            lambda p, i: i >= (18, 3)[p],
        ),
        "latest": ({"scan.startup.mode": "latest-offset"}, lambda p, i: False),
        "reset": (
            {"scan.startup.mode": "group-offsets", "properties.group.id": "nobody", "properties.auto.offset.reset": "earliest"},
            lambda p, i: True,
        ),
    }
    end = {
        "never": ({}, lambda p, i: True),
        "latest": ({"scan.bounded.mode": "latest-offset"}, lambda p, i: True),
        "group": ({"scan.bounded.mode": "group-offsets", **group}, lambda p, i: i < (5, 7)[p]),
        "time": ({"scan.bounded.mode": "timestamp", "scan.bounded.timestamp-millis": _AT + 8_000}, lambda p, i: i < 8),
        "specific": (
            {"scan.bounded.mode": "specific-offsets", "scan.bounded.specific-offsets": "partition:0,offset:2;partition:1,offset:19"},
            lambda p, i: i < (2, 19)[p],
        ),
    }
    text, wanted = "", {}
    for first, (from_options, begins) in start.items():
        for last, (to_options, ends) in end.items():
            if first == "reset" and last == "group":
                continue
            name = f"{first}_{last}"
            options = {"connector": "kafka", "topic": topic, "format": "json", **from_options, **to_options}
            text += table(f"t_{name}", "id INT", **options)
            text += f"CREATE MATERIALIZED VIEW {name} AS SELECT id FROM t_{name};\n"
            wanted[name] = [(p * 100 + i,) for p in range(2) for i in range(20) if begins(p, i) and ends(p, i)]
    with where.engine(text).start() as engine:
        for name, rows in wanted.items():
            rows_become(engine, f"SELECT id FROM {name}", rows, f"{name} has what lies between")
        # What is written now is read by those that do not end, and by no other.
        where.topics.write(topic, [json.dumps({"id": 1000 + p}) for p in range(2)], partition=lambda idx: idx)
        for name, rows in wanted.items():
            more = [(1000,), (1001,)] if name.endswith("_never") else []
            rows_become(engine, f"SELECT id FROM {name}", rows + more, f"{name} after more came")


@case
def groups_without_offsets(where):
    """A group that has committed nothing, and no word on what to do then, is an error that says so."""
    where.topics.create("unread")
    options = {"connector": "kafka", "topic": "unread", "format": "json", "properties.group.id": "nobody-else"}
    text = table("t", "id INT", **options) + "CREATE MATERIALIZED VIEW v AS SELECT id FROM t;\n"
    engine = where.engine(text).start(wait=False)
    with engine:
        soon(lambda: not engine.alive or re.search("committed no offset", engine.said()), "it is said")
        check("auto.offset.reset" in engine.said(), lambda: f"no hint in: {engine.said()}")


@case
def committed_offsets_show_the_lag(where):
    """With a group the positions are committed, so that tools show its lag."""
    where.topics.create("followed")
    options = kafka("followed", **{"properties.group.id": "followers", "properties.auto.commit.interval.ms": "200"})
    text = table("t", "id INT", **options) + "CREATE MATERIALIZED VIEW v AS SELECT id FROM t;\n"
    where.topics.write("followed", ['{"id": 1}', '{"id": 2}', '{"id": 3}'])
    with where.engine(text).start() as engine:
        rows_become(engine, "SELECT COUNT(*) FROM v", [(3,)], "three records")

        def committed():
            arguments = ["--bootstrap-server", where.servers, "--describe", "--group", "followers"]
            listed = cluster.tool("consumer.group.ConsumerGroupCommand", *arguments, check=False)
            found = re.search(r"followed\s+0\s+(\d+)\s+(\d+)\s+(\d+)", listed)
            return found and found.groups() == ("3", "3", "0")

        soon(committed, "the tool shows 3 of 3, no lag")


@case
def topic_patterns(where):
    """All topics that match; those that come while the job runs too."""
    where.topics.create("sales-fr", "sales-it", "salesman", partitions=2)
    where.topics.write("sales-fr", ['{"id": 1}', '{"id": 2}'], partition=lambda idx: idx)
    where.topics.write("sales-it", ['{"id": 3}'])
    where.topics.write("salesman", ['{"id": 4}'])
    options = kafka(None, **{"topic-pattern": "sales-.*", "scan.topic-partition-discovery.interval": "500 ms"})
    text = table("t", "id INT, topic STRING METADATA VIRTUAL", **options)
    text += "CREATE MATERIALIZED VIEW v AS SELECT id, topic FROM t;\n"
    with where.engine(text).start() as engine:
        wanted = [(1, "sales-fr"), (2, "sales-fr"), (3, "sales-it")]
        rows_become(engine, "SELECT * FROM v", wanted, "two of three topics match")
        where.topics.create("sales-be")
        where.topics.write("sales-be", ['{"id": 5}'])
        rows_become(engine, "SELECT * FROM v", wanted + [(5, "sales-be")], "a topic that came later")


@case
def partitions_added(where):
    """New partitions are read from their beginning."""
    where.topics.create("growing", partitions=1)
    options = kafka("growing", **{"scan.topic-partition-discovery.interval": "500 ms", "properties.topic.metadata.refresh.interval.ms": "500"})
    columns = "id INT, p INT METADATA FROM 'partition' VIRTUAL"
    text = table("t", columns, **options) + "CREATE MATERIALIZED VIEW v AS SELECT id, p FROM t;\n"
    with where.engine(text).start() as engine:
        where.topics.write("growing", ['{"id": 1}'])
        rows_become(engine, "SELECT * FROM v", [(1, 0)], "one partition")
        where.topics.add_partitions("growing", 3)
        where.topics.write("growing", ['{"id": 2}', '{"id": 3}', '{"id": 4}'], partition=lambda idx: (1, 2, 0)[idx])
        rows_become(engine, "SELECT * FROM v", [(1, 0), (2, 1), (3, 2), (4, 0)], "three partitions")


@case
def upserts(where):
    """upsert-kafka in and out: the latest value of each key, tombstones, and what comes out of an aggregate over it."""
    where.topics.create("stock", partitions=3)
    where.topics.create("stock_by_place", partitions=2)
    text = table("stock", "sku STRING, place STRING, units INT, PRIMARY KEY (sku) NOT ENFORCED", **{
        "connector": "upsert-kafka", "topic": "stock", "key.format": "raw", "value.format": "json",
    })
    text += table("by_place", "place STRING, units INT, PRIMARY KEY (place) NOT ENFORCED", **{
        "connector": "upsert-kafka", "topic": "stock_by_place", "key.format": "json", "value.format": "json",
    })
    text += """
        CREATE MATERIALIZED VIEW latest AS SELECT sku, place, units FROM stock;
        INSERT INTO by_place SELECT place, SUM(units) FROM stock GROUP BY place;
        CREATE MATERIALIZED VIEW read_back AS SELECT place, units FROM by_place;
    """
    records = [("a", "X", 1), ("b", "X", 2), ("c", "Y", 4), ("a", "X", 8), ("b", None, None), ("d", "Y", 16), ("c", "X", 32), ("d", None, None)]
    keys = [key for key, _, _ in records]
    values = [json.dumps({"sku": k, "place": p, "units": u}) if p else None for k, p, u in records]
    with where.engine(text).start() as engine:
        where.topics.write("stock", values[:5], keys[:5])
        rows_become(engine, "SELECT * FROM latest", [("a", "X", 8), ("c", "Y", 4)], "the first records")
        where.topics.write("stock", values[5:], keys[5:])
        rows_become(engine, "SELECT * FROM latest", [("a", "X", 8), ("c", "X", 32)], "all records")
        rows_become(engine, "SELECT * FROM read_back", [("X", 40)], "what was written, read back")
        held = {}

        def topic_holds():
            held.clear()
            for record in where.topics.read("stock_by_place"):
                held[record.key] = record.value
            return {k: v for k, v in held.items() if v} == {b'{"place":"X"}': b'{"place":"X","units":40}'}

        soon(topic_holds, lambda: f"the topic holds one key, not {held}")
        check(held.get(b'{"place":"Y"}', 1) is None, lambda: f"the other key has a tombstone: {held}")


@case
def debezium(where):
    """debezium-json in (create, update, delete, tombstone after it) and out."""
    where.topics.create("cdc", "cdc_out")
    text = table("orders", "id INT, state STRING, amount DECIMAL(10, 2)", **{
        "connector": "kafka", "topic": "cdc", "format": "debezium-json", "scan.startup.mode": "earliest-offset",
    })
    text += table("totals", "state STRING, n BIGINT, amount DECIMAL(38, 2)", **{
        "connector": "kafka", "topic": "cdc_out", "format": "debezium-json", "scan.startup.mode": "earliest-offset",
    })
    text += """
        CREATE MATERIALIZED VIEW v AS SELECT id, state, amount FROM orders;
        INSERT INTO totals SELECT state, COUNT(*), SUM(amount) FROM orders GROUP BY state;
        CREATE MATERIALIZED VIEW read_back AS SELECT state, n, amount FROM totals;
    """
    row = lambda id, state, amount: {"id": id, "state": state, "amount": amount}  # noqa: E731
    envelopes = [
        {"before": None, "after": row(1, "new", 10.5), "op": "r"},
        {"before": None, "after": row(2, "new", 20), "op": "c"},
        {"before": row(1, "new", 10.5), "after": row(1, "paid", 10.5), "op": "u"},
        {"before": None, "after": row(3, "new", 0.25), "op": "c"},
        {"before": row(2, "new", 20), "after": None, "op": "d"},
    ]
    from decimal import Decimal as D

    with where.engine(text).start() as engine:
        where.topics.write("cdc", [json.dumps(each) for each in envelopes] + [None])
        rows_become(engine, "SELECT * FROM v", [(1, "paid", D("10.50")), (3, "new", D("0.25"))], "the table that was captured")
        wanted = [("new", 1, D("0.25")), ("paid", 1, D("10.50"))]
        rows_become(engine, "SELECT * FROM read_back", wanted, "totals, written and read back")
        ops = {json.loads(record.value)["op"] for record in where.topics.read("cdc_out")}
        check(ops <= {"c", "d"} and "c" in ops, lambda: f"Flink's envelopes have c and d, not {ops}")


@case
def sink_and_console_consumer(where):
    """Keys, headers and times are written, and Java's console consumer reads them."""
    where.topics.create("out_in", "out", partitions=1)
    text = table("t", "id INT, name STRING", **kafka("out_in"))
    columns = "id INT, name STRING, at TIMESTAMP_LTZ(3) METADATA FROM 'timestamp', h MAP<STRING, BYTES> METADATA FROM 'headers'"
    text += table("o", columns, **{
        "connector": "kafka", "topic": "out", "value.format": "json", "key.format": "raw", "key.fields": "name",
        "scan.startup.mode": "earliest-offset", "properties.compression.type": "zstd",
    })
    text += "INSERT INTO o SELECT id, name, TO_TIMESTAMP_LTZ(1700000000000 + id, 3), MAP['from', ENCODE(name, 'UTF-8')] FROM t;\n"
    with where.engine(text).start():
        where.topics.write("out_in", [json.dumps({"id": n, "name": f"n{n % 3}"}) for n in range(20)])
        soon(lambda: len(where.topics.read("out")) == 20, "20 records")
    arguments = ["--bootstrap-server", where.servers, "--topic", "out", "--from-beginning", "--max-messages", 20]
    arguments += ["--isolation-level", "read_committed", "--timeout-ms", 20000]
    for name in ("key", "timestamp", "headers"):
        arguments += ["--property", f"print.{name}=true"]
    printed = cluster.tool("consumer.ConsoleConsumer", *arguments).splitlines()
    wanted = [
        f'CreateTime:{1700000000000 + n}\tfrom:n{n % 3}\tn{n % 3}\t{{"id":{n},"name":"n{n % 3}"}}' for n in range(20)
    ]
    same("what the console consumer prints", printed, wanted)


@case
def dead_letters(where):
    """Bad records between good ones: to a view and a topic, with their bytes and places; counted; skipped; or the end of the source."""
    where.topics.create("mixed", partitions=2)
    where.topics.create("mixed_dead")
    columns = "id INT NOT NULL, amount DECIMAL(6, 2)"
    text = table("lettered", columns, **kafka("mixed", **{"bad-records": "dead-letter", "dead-letter.topic": "mixed_dead"}))
    text += table("skipped", columns, **kafka("mixed", **{"bad-records": "skip"}))
    text += table("failing", columns, **kafka("mixed"))
    for name in ("lettered", "skipped", "failing"):
        text += f"CREATE MATERIALIZED VIEW v_{name} AS SELECT id, amount FROM {name};\n"
    good = ['{"id": 1, "amount": 1.5}', '{"id": 2}', '{"id": 3, "amount": "2.5"}', '{"id": 4, "amount": 9999.99}']
    bad = ["{", '{"amount": 1}', '{"id": "x"}', b"\xff\xfe", "[1]", '{"id": 99999999999}', "", '{"id": 5, "amount": {}}']
    values = [value for pair in zip(good * 2, bad) for value in pair]
    places = where.topics.write("mixed", values, partition=lambda idx: idx % 2)
    with where.engine(text).start() as engine:
        from decimal import Decimal as D

        wanted = [(1, D("1.50")), (2, None), (3, D("2.50")), (4, D("9999.99"))] * 2
        for name in ("lettered", "skipped"):
            rows_become(engine, f"SELECT id, amount FROM v_{name}", wanted, f"good records of {name}")
        as_bytes = [value if isinstance(value, bytes) else value.encode() for value in values]
        letters = [(as_bytes[n], f"mixed/{places[n][0]}", places[n][1]) for n in range(1, len(values), 2)]
        rows_become(engine, "SELECT raw, source, \"offset\" FROM lettered_dead_letters", letters, "the dead letters")
        reasons = engine.query("SELECT reason FROM lettered_dead_letters WHERE reason IS NULL OR reason = ''")
        check(not reasons, "each letter has a reason")
        soon(lambda: len(where.topics.read("mixed_dead")) == len(letters), "as many in the topic")
        found = [json.loads(record.value) for record in where.topics.read("mixed_dead")]
        same("places in the topic", [(each["source"], each["offset"]) for each in found], [(s, o) for _, s, o in letters])
        counted = {each["table"]: 0 for each in engine.status()["bad_records"]}
        for each in engine.status()["bad_records"]:
            counted[each["table"]] += each["records"]
        check(counted.get("skipped") == len(bad), lambda: f"skipped records are counted: {counted}")
        soon(lambda: any("failing" in error for error in engine.status()["errors"]), lambda: f"`failing` says so: {engine.status()['errors']}")


@case
def transactions_in_the_input(where):
    """What was aborted is not read; the marks of transactions are no lag."""
    where.topics.create("tx", partitions=2)
    producer = where.topics.producer(**{"transactional_id": "writer"})
    producer.init_transactions(30)
    number = 0
    wanted = []
    for turn in range(6):
        producer.begin_transaction()
        for partition in range(2):
            producer.produce("tx", json.dumps({"id": number}), partition=partition)
            if turn % 2 == 0:
                wanted.append((number,))
            number += 1
        producer.flush(30)
        producer.commit_transaction(30) if turn % 2 == 0 else producer.abort_transaction(30)
    text = table("t", "id INT", **kafka("tx")) + "CREATE MATERIALIZED VIEW v AS SELECT id FROM t;\n"
    text += table("b", "id INT", **kafka("tx", **{"scan.bounded.mode": "latest-offset"}))
    text += "CREATE MATERIALIZED VIEW w AS SELECT COUNT(*) AS n FROM b;\n"
    with where.engine(text).start() as engine:
        rows_become(engine, "SELECT * FROM v", wanted, "committed records")
        rows_become(engine, "SELECT * FROM w", [(len(wanted),)], "a bounded table ends behind a mark")
        lags = lambda: {s["table"]: s["lag"] for s in engine.status()["sources"]}  # noqa: E731
        soon(lambda: lags() == {"t": 0, "b": 0}, lambda: f"no lag behind marks: {lags()}")
        soon(lambda: [s["ended"] for s in engine.status()["sources"] if s["table"] == "b"] == [True], "the bounded table has ended")


@case
def missing_topics(where):
    """A topic that is not there is an error that names it, at the start."""
    if where.name == "embedded":
        return  # It makes topics that are asked for.
    options = {**kafka("not-there")}
    text = table("t", "id INT", **options) + "CREATE MATERIALIZED VIEW v AS SELECT id FROM t;\n"
    engine = where.engine(text).start(wait=False)
    with engine:
        soon(lambda: "not-there" in engine.said() or not engine.alive, "something is said")
        time.sleep(0.5)
        said = engine.said()
        check("not-there" in said and "create it" in said, lambda: f"no clear error: {said}")


def _send(topics, events):
    producer = topics.producer()
    for topic, key, value in events:
        producer.produce(topic, value, key=key, partition=0)
    producer.flush(30)


def shops(inside, outside):
    """The files of `sql/` with the broker inside the process and with another, at the same time: all views equal."""
    files = sorted((ROOT / "sql").glob("*.sql"))
    views = re.findall(r"CREATE MATERIALIZED VIEW (\w+)", "".join(file.read_text() for file in files))
    outside.topics.create(*shop.TOPICS, partitions=1)
    port = child.free_port()
    first = Engine(inside.folder / "shop-inside", files, arguments=["--embedded-kafka", f"127.0.0.1:{port}"]).start()
    second = Engine(outside.folder / "shop-outside", files, settings={"kafka.bootstrap.servers": outside.servers})
    with first, second.start():
        events = list(shop.events(7))
        marks = list(shop.marks())
        for engine, topics in ((first, Topics(f"127.0.0.1:{port}")), (second, outside.topics)):
            # No topic is idle when the events come, so none is late beside the others.
            _send(topics, marks)
            soon(lambda: engine.status()["rows"] >= len(marks), "the first events are taken")
            _send(topics, events)
            soon(lambda: engine.status()["rows"] >= len(marks) + len(events), lambda: f"{engine.status()['rows']} of {len(events)} events are taken")
            _send(topics, shop.marks(minutes=5))
        time.sleep(1)
        counts = {}
        for view in views:
            rows_become(second, f"SELECT * FROM {view}", first.query(f"SELECT * FROM {view}"), f"{view} is the same with both")
            counts[view] = len(first.query(f"SELECT * FROM {view}"))
        empty = [view for view, count in counts.items() if count == 0]
        check(not empty, f"views without rows prove nothing: {empty}")
        check(first.stop() == 0 and second.stop() == 0, "both end with 0")
