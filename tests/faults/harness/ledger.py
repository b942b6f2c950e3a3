"""What goes into the job of `ledger.sql`, written down when the brokers have taken it, and what must come out, computed from that alone.

Orders have unique ids, a column of money, and event times that rise with the stream, up to two seconds out of order: less than
the watermark's five, so they are never late. On purpose late are orders of a window that was already seen in the output: whatever
was committed before a crash is replayed after it, so they are late for ever. Between them come records that are no orders.
"""

import json
import random
import threading
import time
from collections import defaultdict, namedtuple
from datetime import datetime, timedelta
from decimal import Decimal

from confluent_kafka import KafkaError, KafkaException

from . import child

Order = namedtuple("Order", "id account sku amount ts")
Payment = namedtuple("Payment", "id order_id amount")
# What the brokers took: the row, or None for a record that is none.
Taken = namedtuple("Taken", "partition offset row late raw")

START = datetime(2026, 1, 1)
WINDOW = timedelta(seconds=10)
DELAY = timedelta(seconds=5)
JITTER_MS = 2000
# Event time that passes from one order to the next.
PACE = timedelta(milliseconds=25)


def text(time):
    return time.isoformat(sep=" ", timespec="milliseconds")


def window_end(time):
    return START + ((time - START) // WINDOW + 1) * WINDOW


def bad_records(rng):
    """A record that is no order, each for another reason."""
    order = '{"id": %s, "account": "a1", "sku": "s1", "amount": %s, "ts": "2026-01-01 00:00:00"}'
    return rng.choice(
        [
            b"{",
            b'{"id": 1, "account"',
            b"\xff\xfe\x00",
            b"[1, 2]",
            (order % ("null", "1.00")).encode(),
            (order % ('"x"', "1.00")).encode(),
            (order % ("99999999999999999999", "1.00")).encode(),
            (order % ("1", '{"cents": 1}')).encode(),
            (order % ("1", "1.00")).replace("2026-01-01", "2026-02-30").encode(),
        ]
    )


class Ledger:
    """What the brokers took, by topic ("orders", "payments")."""

    def __init__(self):
        self.taken = {"orders": [], "payments": []}
        self.failed = []
        self._lock = threading.Lock()

    def take(self, topic, taken):
        with self._lock:
            self.taken[topic].append(taken)

    def orders(self, late=True):
        return [each.row for each in self.taken["orders"] if each.row and (late or not each.late)]

    def placed_orders(self):
        return [each for each in self.taken["orders"] if each.row]

    def payments(self):
        return [each.row for each in self.taken["payments"] if each.row]

    def bad(self, topic):
        return [each for each in self.taken[topic] if not each.row]

    # What must come out.

    def copied(self):
        return [(o.row.id, o.row.account, o.row.sku, o.row.amount, o.partition, o.offset) for o in self.placed_orders()]

    def paid(self):
        orders = {order.id: order for order in self.orders()}
        found = ((orders[p.order_id], p) for p in self.payments() if p.order_id in orders)
        return [(order.id, payment.id, order.amount, payment.amount) for order, payment in found]

    def grouped(self, key):
        groups = defaultdict(lambda: (0, Decimal(0)))
        for order in self.orders():
            n, amount = groups[getattr(order, key)]
            groups[getattr(order, key)] = (n + 1, amount + order.amount)
        return {name: group for name, group in groups.items()}

    def by_part(self):
        parts = defaultdict(lambda: (0, -1, Decimal(0)))
        for each in self.placed_orders():
            n, last, amount = parts[each.partition]
            parts[each.partition] = (n + 1, max(last, each.offset), amount + each.row.amount)
        return [(part, *values) for part, values in parts.items()]

    def grand(self):
        orders = self.orders()
        return (len(orders), sum((order.amount for order in orders), Decimal(0)))

    def windows(self, watermark):
        """The windows that the watermark has closed."""
        windows = defaultdict(lambda: (0, Decimal(0)))
        for order in self.orders(late=False):
            end = window_end(order.ts)
            n, amount = windows[end]
            windows[end] = (n + 1, amount + order.amount)
        return [(end, *values) for end, values in windows.items() if end - timedelta(milliseconds=1) <= watermark]

    def dearest(self):
        accounts = defaultdict(list)
        for order in self.orders():
            accounts[order.account].append((-order.amount, order.id))
        ranked = ((account, sorted(orders)[:3]) for account, orders in accounts.items())
        return [(account, place, id, -amount) for account, best in ranked for place, (amount, id) in enumerate(best, 1)]

    def unpaid(self):
        paid = {payment.order_id for payment in self.payments()}
        counts = defaultdict(int)
        for order in self.orders():
            if order.id not in paid:
                counts[order.account] += 1
        return list(counts.items())


class Feeder:
    """Writes orders and payments at a rate, in a thread of its own, until it is told to finish."""

    def __init__(self, topics, prefix, seed, rate=300, transactional=False, on_error=None):
        self.topics, self.prefix, self.rate = topics, prefix, rate
        self.ledger = Ledger()
        self.rng = random.Random(seed)
        self.count = 0
        self.partitions = {name: topics.partitions(prefix + name) for name in ("orders", "payments")}
        self.unpaid = []
        # Whether orders are made that are late.
        self.late = True
        # Ends of windows that were seen in the output; the watcher adds to it.
        self.seen_windows = []
        self._end = threading.Event()
        self._pause = threading.Event()
        self._thread = None
        # Nothing is given up, however long the brokers are away: the ledger must know what was taken.
        config = {"message.timeout.ms": 0, "topic.metadata.refresh.interval.ms": 500, **({"transactional_id": f"{prefix}feeder"} if transactional else {})}
        self.transactional = transactional
        self.producer = topics.producer(**config)
        if transactional:
            self.producer.init_transactions(30)
        self.closing = None

    @property
    def now(self):
        return START + self.count * PACE

    def start(self):
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def pause(self):
        self._pause.set()

    def resume(self):
        self._pause.clear()

    def repartition(self):
        """After partitions were added."""
        self.partitions = {name: self.topics.partitions(self.prefix + name) for name in ("orders", "payments")}

    def _run(self):
        began, sent = time.monotonic(), 0
        while not self._end.is_set():
            if self._pause.is_set():
                time.sleep(0.02)
                began, sent = time.monotonic(), 0
                continue
            due = int((time.monotonic() - began) * self.rate) - sent
            if due <= 0:
                self.producer.poll(0.005)
                continue
            self.batch(min(due, 1000))
            sent += due

    def batch(self, count):
        """Writes so many orders with what goes with them; in transactions every fourth is aborted and counts nowhere."""
        aborted = self.transactional and self.rng.random() < 0.25
        if self.transactional:
            self.producer.begin_transaction()
        for _ in range(count):
            self._order(aborted)
        if self.transactional:
            self.producer.flush(60)
            self.producer.abort_transaction(60) if aborted else self.producer.commit_transaction(60)
        self.producer.poll(0)

    def _order(self, aborted):
        rng = self.rng
        self.count += 1
        roll = rng.random()
        if roll < 0.01:
            self._send("orders", None, bad_records(rng), aborted=aborted)
        elif roll < 0.02 and self.late and self.seen_windows and not aborted:
            ts = rng.choice(self.seen_windows[-5:]) - timedelta(milliseconds=rng.randrange(1, 10_000))
            self._send("orders", self._made(ts), late=True)
        order = self._made(self.now + timedelta(milliseconds=rng.randrange(-JITTER_MS, JITTER_MS)))
        self._send("orders", order, aborted=aborted)
        if rng.random() < 0.7:
            self.unpaid.append(order)
        if rng.random() < 0.1:
            # Paid before it was ordered, as far as this job can see, or never ordered.
            self._pay(order, aborted)
        if len(self.unpaid) > 50:
            self._pay(self.unpaid.pop(rng.randrange(len(self.unpaid))), aborted)
        if rng.random() < 0.002:
            self._send("payments", None, b'{"id": "none"}', aborted=aborted)

    def _made(self, ts):
        rng = self.rng
        # Half of all orders are of one article; accounts are skewed less.
        sku = "s0" if rng.random() < 0.5 else f"s{rng.randrange(1, 20)}"
        account = f"a{int(rng.paretovariate(1.0)) % 40}"
        amount = Decimal(rng.randrange(1, 1_000_000)).scaleb(-2)
        return Order(self._id(), account, sku, amount, ts.replace(microsecond=ts.microsecond // 1000 * 1000))

    def _id(self):
        self._last = getattr(self, "_last", 0) + 1
        return self._last

    def _pay(self, order, aborted):
        self._send("payments", Payment(self._id(), order.id, order.amount), aborted=aborted)

    def _send(self, topic, row, raw=None, late=False, aborted=False, partition=None):
        if row is not None:
            fields = {name: text(value) if isinstance(value, datetime) else value for name, value in row._asdict().items()}
            amount = fields.pop("amount")
            raw = json.dumps(fields)[:-1].encode() + f', "amount": {amount}}}'.encode()
        if partition is None:
            partition = self.rng.randrange(self.partitions[topic])

        def delivered(error, message):
            if error is not None:
                if not aborted:
                    self.ledger.failed.append(str(error))
            elif not aborted:
                self.ledger.take(topic, Taken(message.partition(), message.offset(), row, late, raw))

        while True:
            try:
                self.producer.produce(self.prefix + topic, raw, partition=partition, on_delivery=delivered)
                return
            except BufferError:
                self.producer.poll(0.1)
            except KafkaException as error:
                # A partition that was just added is not known to the client yet.
                if error.args[0].code() != KafkaError._UNKNOWN_PARTITION:
                    raise
                self.producer.poll(0.1)

    def finish(self, seconds=120):
        """Stops, and closes all windows but the last by an order in each partition. Gives the ledger when everything was taken."""
        self._end.set()
        if self._thread:
            self._thread.join()
        if self.transactional:
            self.producer.begin_transaction()
        self.closing = window_end(self.now + timedelta(minutes=1))
        for partition in range(self.partitions["orders"]):
            self._send("orders", self._made(self.closing), partition=partition)
        if self.transactional:
            self.producer.flush(60)
            self.producer.commit_transaction(60)
        child.wait_until(lambda: self.producer.flush(1) == 0, "the brokers have taken all that was fed", seconds)
        if self.ledger.failed:
            raise RuntimeError(f"{len(self.ledger.failed)} records could not be fed: {self.ledger.failed[0]}")
        return self.ledger

    @property
    def watermark(self):
        """Where it stands when everything is read."""
        return self.closing - DELAY
