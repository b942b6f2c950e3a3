"""What readers see while the job runs: views that must agree with each other and never go backwards, and windows as they come out."""

import json
import threading
import time
from collections import namedtuple
from datetime import datetime
from decimal import Decimal

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from .compare import Different

Sample = namedtuple("Sample", "life parts")

# One query: all of its views are of one step.
TOGETHER = """
SELECT
  (SELECT n FROM grand), (SELECT amount FROM grand),
  (SELECT SUM(n) FROM by_account), (SELECT SUM(amount) FROM by_account),
  (SELECT SUM(n) FROM by_sku), (SELECT SUM(amount) FROM by_sku),
  (SELECT SUM(n) FROM by_part), (SELECT SUM(amount) FROM by_part),
  (SELECT COUNT(*) FROM closed_windows)
"""


class Reader:
    """Reads the views again and again, in a thread. What it sees is judged when the ledger is complete."""

    def __init__(self, engine):
        self.engine, self.wrong, self.samples, self.reads = engine, [], [], 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._end.is_set():
            life = self.engine.process.pid if self.engine.process else None
            try:
                with self.engine.connect() as connection:
                    self._life(connection, life)
            except Exception:  # noqa: BLE001 (the process is being killed all the time)
                time.sleep(0.05)

    def _life(self, connection, life):
        """One connection: it does not outlive the process."""
        before = (0, 0)
        while not self._end.is_set():
            n, amount, *others, windows = connection.execute(TOGETHER).fetchone()
            for count, total in zip(others[::2], others[1::2]):
                if (count or 0) != (n or 0) or (total or 0) != (amount or 0):
                    self.wrong.append(f"views of one query differ: {n}, {amount} in `grand`, {others} in the others")
            now = (n or 0, windows)
            if now[0] < before[0] or now[1] < before[1]:
                self.wrong.append(f"reads went backwards in one life: {before} orders and windows, then {now}")
            before = now
            parts = connection.execute("SELECT part, n, last, amount FROM by_part").fetchall()
            self.samples.append(Sample(life, parts))
            self.reads += 1
            time.sleep(0.01)

    def finish(self, ledger):
        """Stops and judges: each read was of a prefix of each partition."""
        self._end.set()
        self._thread.join(10)
        at = {}
        for each in sorted(ledger.placed_orders(), key=lambda each: (each.partition, each.offset)):
            n, _, amount = at.get((each.partition, "last"), (0, 0, Decimal(0)))
            at[each.partition, "last"] = at[each.partition, each.offset] = (n + 1, each.offset, amount + each.row.amount)
        for sample in self.samples:
            for part, n, last, amount in sample.parts:
                wanted = at.get((part, last))
                if wanted != (n, last, amount):
                    self.wrong.append(f"a read is of no prefix of partition {part}: {n} orders of {amount} up to offset {last}, but {wanted} are there")
        if self.wrong:
            raise Different(f"{len(self.wrong)} of {self.reads} reads were wrong (I4): {self.wrong[0]}")
        return self.reads


class Windows:
    """Follows the topic of closed windows as a `read_committed` consumer does, and tells the feeder what it saw."""

    def __init__(self, topics, topic, feeder):
        self.topics, self.topic, self.feeder = topics, topic, feeder
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        config = {"group.id": "windows", "enable.auto.commit": False, "isolation.level": "read_committed", "auto.offset.reset": "earliest"}
        consumer = Consumer({**self.topics.config, **config, "fetch.wait.max.ms": 50})
        consumer.assign([TopicPartition(self.topic, 0, OFFSET_BEGINNING)])
        while not self._end.is_set():
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                self.feeder.seen_windows.append(datetime.fromisoformat(json.loads(message.value())["window_end"]))
        consumer.close()

    def finish(self):
        self._end.set()
        self._thread.join(10)
