"""K1-K12: the brokers, and the way to them."""

import json
import random
import re
import shutil
import time
from dataclasses import replace

from harness import child
from harness.compare import Different, check, same
from harness.invariants import Outputs, check_stable
from harness.topics import Topics

from . import scenario


def failures(engine):
    """What the status page says has failed, and what the process said if it has ended."""
    if not engine.alive:
        return [engine.said()[-3000:]]
    return engine.status()["errors"]


def wait_failure(engine, words, seconds=60):
    """Waits until a part of the job, or all of it, has stopped and says one of these words. Gives what it said."""

    def failed():
        return next((text for text in failures(engine) if re.search(words, text, re.I)), None)

    return child.wait_until(failed, lambda: f"it says '{words}'; it said {failures(engine)} and\n{engine.said()[-2000:]}", seconds, every=0.2)


@scenario("K1", "the broker killed and restarted; all down for a long time: the job goes on by itself, without a busy loop")
def broker_killed(lab):
    cluster = lab.cluster()
    broker = cluster.brokers[0]
    with lab.world("K1") as world:
        world.start()
        world.wait_orders(300)
        loads = []
        for seconds in (0, 3, 90 if lab.options.long else 20):
            broker.kill()
            before, began = world.engine.cpu_seconds(), time.monotonic()
            time.sleep(seconds)
            if seconds > 10:
                loads.append((world.engine.cpu_seconds() - before) / (time.monotonic() - began))
                check(world.engine.alive, lambda: f"the engine gave up: {world.engine.said()[-2000:]}")
                check(world.engine.query("SELECT n FROM grand"), "views can be read while the brokers are away")
            broker.start()
            broker.wait()
            world.wait_orders(300, 120)
        check(max(loads) < 0.4, f"a busy loop while the brokers are away: {loads} of a core")
        return f"{world.finish(120)}; {max(loads):.2f} of a core while they were away"


@scenario("K1", "three brokers: each killed in turn, so that every leader and coordinator moves")
def leaders_move(lab):
    cluster = lab.cluster(3)
    with lab.world("K1", cluster) as world:
        world.start()
        world.wait_orders(300)
        for turn in range(2 if lab.options.long else 1):
            for broker in cluster.brokers:
                broker.kill()
                lab.say(f"broker {broker.node} is killed")
                world.wait_orders(600, 120)
                broker.start()
                broker.wait()
                # The next may only go when this one is in sync again.
                child.wait_until(lambda: in_sync(world.topics), "all replicas are in sync", 120, every=0.5)
        found = world.finish(120)
    lab.drop(3)
    return found


def in_sync(topics):
    all_topics = topics.admin.list_topics(timeout=10).topics.values()
    return all(len(p.isrs) == len(p.replicas) for topic in all_topics for p in topic.partitions.values())


@scenario("K2", "a network that is slow, cut, and half open: bounded memory, and the job goes on by itself")
def bad_network(lab):
    cluster, proxy = lab.proxied()
    with lab.world("K2", cluster, servers=proxy.servers) as world:
        world.start()
        world.wait_orders(300)
        for _ in range(5):
            proxy.cut()
            time.sleep(0.5)
        world.wait_orders(200, 90)
        lab.say("cut five times")
        proxy.cut(refuse=True)
        time.sleep(8)
        proxy.mend()
        world.wait_orders(200, 90)
        lab.say("refused for eight seconds")
        proxy.bytes_per_second = 100_000
        time.sleep(10)
        proxy.bytes_per_second = None
        world.wait_orders(200, 90)
        lab.say("slow for ten seconds")
        before = world.engine.rss()
        world.feeder.rate = 3000
        proxy.stall()
        time.sleep(90 if lab.options.long else 30)
        grown = world.engine.rss() - before
        check(world.engine.query("SELECT n FROM grand"), "views can be read while the network stands still")
        world.feeder.rate = 300
        proxy.flow()
        check(grown < 200 << 20, f"memory grew by {grown >> 20} MiB while nothing moved")
        world.wait_orders(1000, 120)
        return f"{world.finish(120)}; memory grew by {max(grown, 0) >> 20} MiB while the network stood still"


FAULTS = [
    # Retriable.
    ("EndTxn", "error", "COORDINATOR_LOAD_IN_PROGRESS", 2),
    ("EndTxn", "error", "COORDINATOR_NOT_AVAILABLE", 2),
    ("EndTxn", "error", "NOT_COORDINATOR", 2),
    ("EndTxn", "error", "CONCURRENT_TRANSACTIONS", 3),
    ("AddPartitionsToTxn", "error", "CONCURRENT_TRANSACTIONS", 3),
    ("AddPartitionsToTxn", "error", "COORDINATOR_NOT_AVAILABLE", 2),
    ("Produce", "error", "NOT_LEADER_OR_FOLLOWER", 2),
    ("Produce", "error", "NOT_ENOUGH_REPLICAS", 2),
    ("Produce", "error", "KAFKA_STORAGE_ERROR", 1),
    # Abortable.
    ("AddPartitionsToTxn", "error", "INVALID_PRODUCER_ID_MAPPING", 1),
    ("Produce", "error", "UNKNOWN_PRODUCER_ID", 1),
    ("Produce", "error", "OUT_OF_ORDER_SEQUENCE_NUMBER", 1),
    ("Produce", "error", "INVALID_PRODUCER_ID_MAPPING", 1),
    # Fatal for a producer: a new one must take its place.
    ("EndTxn", "error", "INVALID_TXN_STATE", 1),
    ("EndTxn", "error", "INVALID_PRODUCER_EPOCH", 1),
    ("EndTxn", "error", "PRODUCER_FENCED", 1),
    ("AddPartitionsToTxn", "error", "PRODUCER_FENCED", 1),
    ("Produce", "error", "INVALID_PRODUCER_EPOCH", 1),
    # Done, and nobody says so.
    ("EndTxn", "lose", None, 1),
    ("EndTxn", "lose", None, 4),
    ("EndTxn", "silence", None, 1),
    ("AddPartitionsToTxn", "lose", None, 2),
    ("Produce", "lose", None, 2),
    ("Produce", "silence", None, 1),
    # Not done, and nobody says so.
    ("EndTxn", "close", None, 3),
    ("Produce", "close", None, 2),
    ("InitProducerId", "close", None, 2),
    ("FindCoordinator", "close", None, 2),
    ("Fetch", "close", None, 3),
    ("Fetch", "lose", None, 3),
    ("Metadata", "lose", None, 2),
    ("ListOffsets", "close", None, 2),
    # Late.
    ("EndTxn", "delay", 3, 1),
    ("Produce", "delay", 3, 1),
]


@scenario("K3", "retriable, abortable and fatal errors from each API, EndTxn done with its answer lost: one case after the other")
def errors_of_each_api(lab):
    cluster, proxy = lab.proxied()
    hit, ended = 0, []
    rng = random.Random(lab.options.seed)
    with lab.world("K3", cluster, servers=proxy.servers) as world:
        world.start()
        world.wait_orders(200)
        for api, action, value, times in FAULTS:
            fault = proxy.inject(api, action, value, times=times, skip=rng.randrange(3))
            if api in ("InitProducerId", "FindCoordinator", "ListOffsets", "Metadata"):
                # Asked for by who connects: a start does.
                world.engine.kill()
                world.engine.start(wait=False)
            try:
                child.wait_until(lambda: fault.hits > 0 or not world.engine.alive, "the fault strikes", 15)
                hit += fault.hits > 0
            except child.TimedOut:
                lab.say(f"{api} {action} {value or ''}: not asked for")
            for _ in range(3):
                try:
                    world.wait_orders(60, 75)
                    break
                except child.TimedOut:
                    if world.engine.alive:
                        raise
                    # It may end, with a message, and be started again.
                    ended.append(f"{api} {value or action}")
                    check(re.search("error", world.engine.said(), re.I), "it ended and said nothing")
                    world.revive()
            proxy.clear()
            lab.say(f"{api} {action} {value or ''} x{fault.hits}{' ended the process' if ended and ended[-1] == f'{api} {value or action}' else ''}")
        found = world.finish(120)
    check(hit >= len(FAULTS) * 2 // 3, f"only {hit} of {len(FAULTS)} faults struck")
    return f"{found}; {hit} of {len(FAULTS)} faults struck; the process ended by {', '.join(ended) or 'none'}"


@scenario("K4", "a zombie: the engine is stopped, a second one takes its place, the first is continued")
def zombie(lab):
    with lab.world("K4") as world:
        world.start()
        world.wait_orders(300)
        first = world.engine
        first.pause()
        # As on another machine: with the state as it was then.
        other = world.dir / "state-of-the-second"
        shutil.copytree(world.state, other)
        world.engine = world.new_engine("second", state=other)
        world.engine.start()
        world.reader.engine = world.engine
        world.wait_orders(300)
        first.resume()
        status = first.wait_end(90)
        said = first.said()
        check(status not in (0, -9), f"the zombie ends with {status}")
        check(re.search(r"another instance|fenced", said), lambda: f"the zombie says nothing of the other:\n{said[-2000:]}")
        check("panicked" not in said, lambda: f"the zombie panics:\n{said[-2000:]}")
        world.wait_orders(200)
        line = [line for line in said.splitlines() if re.search("another instance|fenced", line)][-1]
        return f"{world.finish()}; the zombie said: {line.split('  ')[-1][:160]}"


@scenario("K5", "stopped for longer than transaction.timeout.ms: no loss")
def stopped_beyond_timeout(lab):
    options = replace(lab.options)
    with lab.world("K5", options=options) as world:
        text = world.sql.read_text()
        sinks = re.sub(r"('topic' = '[\w-]*(?:copied|paid|totals|balances|windows)',)", r"\1 'properties.transaction.timeout.ms' = '3000',", text)
        sinks = sinks.replace("'dead-letter.topic' =", "'properties.transaction.timeout.ms' = '3000', 'dead-letter.topic' =")
        world.sql.write_text(sinks)
        world.start()
        for turn in range(3):
            world.wait_orders(200, 90)
            world.engine.pause()
            time.sleep(7)
            world.engine.resume()
            lab.say("stopped for 7 s")
            time.sleep(3)
            world.revive()
        world.wait_orders(200, 90)
        return world.finish()


@scenario("K6", "killed with an open transaction, then started under another name and without its state")
def renamed_without_state(lab):
    with lab.world("K6") as world:
        world.engine.start(wait=False, env={"MILLSTREAM_FAILPOINTS": "sink.before_commit=kill@40"})
        world.feeder.start()
        check(world.engine.wait_end(30) == -9, "the failpoint kills")
        world.feeder.finish()
        topics = [world.prefix + name for name in ("copied", "paid", "totals", "balances", "windows")]
        pinned = [name for name in topics if world.topics.ends(name) != world.topics.ends(name, committed=True)]
        check(pinned, "a transaction is open")
        shutil.rmtree(world.state)
        world.engine.settings["pipeline.name"] = world.prefix + "other"
        world.engine.start()
        began = time.monotonic()
        # Nobody knows of the other name any more: what is left is the transaction's own timeout.
        check_stable(world.topics, topics, seconds=90)
        return f"{len(pinned)} topics were pinned; free {time.monotonic() - began:.0f} s after the start under another name"


@scenario("K8", "partitions added to inputs and outputs while running: read from their beginning, nothing late or lost")
def partitions_added(lab):
    with lab.world("K8") as world:
        world.start()
        world.wait_orders(500)
        world.topics.add_partitions(world.prefix + "orders", 7)
        world.topics.add_partitions(world.prefix + "payments", 5)
        world.topics.add_partitions(world.prefix + "copied", 6)
        world.feeder.repartition()
        world.wait_orders(1500)
        world.engine.kill()
        world.topics.add_partitions(world.prefix + "orders", 9)
        world.feeder.repartition()
        time.sleep(2)
        world.engine.start()
        world.wait_orders(1500)
        return world.finish()


@scenario("K9", "a topic deleted, and one made anew, while the job runs and while it does not: it stops loudly")
def topics_gone(lab):
    said = []
    for case in ("deleted", "made anew", "made anew while stopped"):
        with lab.world("K9") as world:
            orders = world.prefix + "orders"
            world.start()
            world.wait_orders(300)
            if case == "made anew while stopped":
                world.engine.kill()
            world.feeder._end.set()
            world.feeder._thread.join()
            ends = world.topics.ends(orders)
            world.topics.delete(orders)
            if case != "deleted":
                world.topics.create(orders, partitions=4)
                # As many records as before and more, so that offsets look as if nothing had happened.
                row = '{"id": -1, "account": "other", "sku": "other", "amount": 1, "ts": "2026-01-01 00:00:00"}'
                world.topics.write(orders, [row] * (max(ends.values()) + 500) * 4, partition=lambda idx: idx % 4)
            if case == "made anew while stopped":
                world.engine.start(wait=False)
            text = wait_failure(world.engine, "orders", 60)
            check(re.search("anew|recreated|gone|exist|deleted|another topic", text), lambda: f"{case}: it does not say what happened: {text}")
            if world.engine.alive:
                status, _ = world.engine.page("/healthz")
                check(status == 503, f"{case}: healthz says {status}")
                copied = Outputs(world.topics, world.prefix, world.files).copied()
                check(not any(row[1] == "other" for row in copied), f"{case}: records of the new topic were taken for those of the old")
            said.append(f"{case}: {text.strip().splitlines()[0][:250]}")
            lab.say(said[-1])
    return "; ".join(said)


@scenario("K10", "offsets gone by retention while the job was down: it fails and says so, or goes on and counts what was skipped")
def retention(lab):
    notes = []
    for orders, goes_on in (("", False), (", 'properties.auto.offset.reset' = 'earliest'", True)):
        with lab.world("K10", orders=orders) as world:
            world.start()
            world.wait_orders(500)
            time.sleep(1)
            world.engine.kill()
            world.feeder.pause()
            time.sleep(0.3)
            at = world.topics.ends(world.prefix + "orders")
            world.feeder.resume()
            child.wait_until(lambda: sum(world.topics.ends(world.prefix + "orders").values()) > sum(at.values()) + 1500, "more orders", 60)
            middle = {partition: offset - 50 for partition, offset in world.topics.ends(world.prefix + "orders").items()}
            world.topics.delete_records(world.prefix + "orders", middle)
            world.engine.start(wait=False)
            if not goes_on:
                text = wait_failure(world.engine, "offset|retention", 60)
                notes.append(f"fails: {text.strip().splitlines()[0][:200]}")
                continue
            ledger = world.feeder.finish()
            world.engine.wait_ready()
            newest = {each.partition: each.offset for each in ledger.placed_orders()}

            def read():
                found = {part: last for part, last in world.engine.query("SELECT part, last FROM by_part")}
                return found == {part: max(e.offset for e in ledger.placed_orders() if e.partition == part) for part in newest}

            child.wait_until(read, "everything that is left is read", 60)
            time.sleep(1)
            check(world.engine.stop() == 0, "it ends with 0")
            copied = {row[0] for row in Outputs(world.topics, world.prefix, world.files).copied()}
            lost = [each for each in ledger.placed_orders() if each.row.id not in copied]
            wrong = [each for each in lost if each.offset >= middle[each.partition]]
            check(not wrong, lambda: f"{len(wrong)} orders that were there were skipped: {wrong[:3]}")
            # Each record below the cut that the job had not read: good ones and bad ones.
            said = world.engine.said()
            numbers = [int(number.replace(",", "")) for number in re.findall(r"(\d[\d,]*) (?:messages|records|offsets)", said)]
            check(numbers, lambda: f"nothing says how much was skipped:\n{said[-2000:]}")
            notes.append(f"goes on: {len(lost)} orders skipped, it said {sum(numbers)} records")
            check(sum(numbers) >= len(lost), lambda: f"{len(lost)} orders were skipped, but it said {numbers}")
    return "; ".join(notes)


@scenario("K12", "input written in transactions, some aborted: their marks are no lag, and what was aborted is not read")
def marker_gaps(lab):
    with lab.world("K12", transactional=True) as world:
        world.start()
        world.wait_orders(300)
        world.engine.kill()
        world.engine.start()
        world.wait_orders(300)
        found_before = world.feeder.finish
        world.feeder.finish = lambda: _no_lag(world, found_before())
        return world.finish()


def _no_lag(world, ledger):
    def lags():
        return {source["table"]: source["lag"] for source in world.engine.status()["sources"]}

    child.wait_until(lambda: set(lags().values()) == {0}, lambda: f"there is lag for ever: {lags()}", 60)
    return ledger


@scenario("K12", "a compacted topic with gaps and tombstones: the latest value of each key, no lag, before and after a kill")
def compacted(lab):
    cluster = lab.cluster()
    topics = Topics(cluster.servers)
    rng = random.Random(lab.options.seed)
    with lab.world("K12") as world:
        topic = world.prefix + "stock"
        settings = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "200", "delete.retention.ms": "100", "min.compaction.lag.ms": "0"}
        topics.create(topic, partitions=2, config=settings)
        path = world.dir / "stock.sql"
        path.write_text(
            f"""CREATE TABLE stock (sku STRING, units INT, PRIMARY KEY (sku) NOT ENFORCED) WITH (
              'connector' = 'upsert-kafka', 'topic' = '{topic}', 'key.format' = 'raw', 'value.format' = 'json');
            CREATE MATERIALIZED VIEW latest AS SELECT sku, units FROM stock;
            CREATE MATERIALIZED VIEW total AS SELECT COUNT(*) AS n, SUM(units) AS units FROM stock;
            """
        )
        held = {}

        def write(count):
            keys = [f"k{rng.randrange(50)}" for _ in range(count)]
            units = [None if rng.random() < 0.3 else rng.randrange(1000) for _ in keys]
            topics.write(topic, [None if u is None else json.dumps({"sku": k, "units": u}) for k, u in zip(keys, units)], keys)
            held.update(zip(keys, units))

        world.engine = world.new_engine("stock", sql=path)
        engine = world.engine.start()
        for turn in range(4):
            write(500)
            time.sleep(0.6)
        rows = [(key, units) for key, units in held.items() if units is not None]

        def right():
            rows[:] = [(key, units) for key, units in held.items() if units is not None]
            return sorted(engine.query("SELECT sku, units FROM latest")) == sorted(rows)

        def lag():
            return [source["lag"] for source in engine.status()["sources"]]

        child.wait_until(right, "the latest values", 30)
        child.wait_until(lambda: lag() == [0], lambda: f"no lag: {lag()}", 30)
        engine.kill()
        write(300)

        def gaps():
            # The cleaner needs a later segment before it cleans one.
            write(20)
            time.sleep(1)
            return len(topics.read(topic)) < sum(topics.ends(topic).values()) - 1000

        child.wait_until(gaps, "the topic is compacted", 90)
        engine.start()
        child.wait_until(right, lambda: f"the latest values after a kill: {same('latest', engine.query('SELECT sku, units FROM latest'), rows)}", 30)
        child.wait_until(lambda: lag() == [0], lambda: f"no lag: {lag()}", 30)
        same("total", engine.query("SELECT n, units FROM total"), [(len(rows), sum(units for _, units in rows))])
        left, end = len(topics.read(topic)), sum(topics.ends(topic).values())
        return f"{left} of {end} records were left by compaction, {len(rows)} keys hold"
