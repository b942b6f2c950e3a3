"""I1-I5 and I7 at the end of a scenario: everything that left, beside what the ledger says must have."""

import json
from collections import defaultdict
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet

from . import child
from .compare import Different, check, same


VIEWS = ("grand", "by_account", "by_sku", "by_part", "payment_count", "closed_windows", "dearest", "unpaid")


def _json(record):
    return json.loads(record.value, parse_float=Decimal)


def _money(value):
    return Decimal(str(value)).quantize(Decimal("0.01"))


class Outputs:
    """Where a job's outputs are."""

    def __init__(self, topics, prefix, files):
        self.topics, self.prefix, self.files = topics, prefix, Path(files)

    def read(self, name):
        return self.topics.read(self.prefix + name)

    def copied(self):
        rows = map(_json, self.read("copied"))
        return [(r["id"], r["account"], r["sku"], _money(r["amount"]), r["part"], r["place"]) for r in rows]

    def paid(self):
        rows = map(_json, self.read("paid"))
        return [(r["order_id"], r["payment_id"], _money(r["ordered"]), _money(r["paid"])) for r in rows]

    def windows(self):
        rows = map(_json, self.read("windows"))
        return [(datetime.fromisoformat(r["window_end"]), r["n"], _money(r["amount"])) for r in rows]

    def letters(self):
        return [(r["source"], r["offset"]) for r in map(_json, self.read("dead"))]

    def parquet(self):
        rows = []
        for file in visible(self.files / "parquet", ".parquet"):
            # The whole file must be readable: files appear whole or not at all.
            for r in pyarrow.parquet.read_table(file).to_pylist():
                rows.append((r["id"], r["account"], r["amount"], r["part"], r["place"]))
        return rows

    def json_files(self):
        rows = []
        for file in visible(self.files / "json"):
            for line in file.read_text().splitlines():
                row = json.loads(line)
                rows.append((row["order_id"], row["payment_id"]))
        return rows


def visible(folder, ending=""):
    """The files that a reader of the folder sees: not those whose path has a part that begins with . or _"""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name.endswith(ending))
    return sorted(path for path in files if not any(part[0] in "._" for part in path.relative_to(folder).parts))


def chain(records):
    """A changelog in order: each change must take back what the ones before it have left. Gives what is left at the end."""
    held = {}
    for record in records:
        change = _json(record)
        before, after = change["before"], change["after"]
        if before is not None:
            row = (before["n"], _money(before["amount"]))
            check(held.get(before["sku"]) == row, f"totals take back {before}, but {held.get(before['sku'])} was there (I1, I2)")
            del held[before["sku"]]
        if after is not None:
            check(after["sku"] not in held, f"totals set {after}, but {held.get(after['sku'])} was not taken back (I1, I2)")
            held[after["sku"]] = (after["n"], _money(after["amount"]))
    return held


def latest(records):
    """An upserted topic in order: the counts of a key only grow. Gives the last value of each key."""
    held = {}
    for record in records:
        row = _json(record)
        before = held.get(row["account"])
        check(before is None or row["n"] > before[0], f"balances of {row['account']} go from {before} to {row} (I2)")
        held[row["account"]] = (row["n"], _money(row["amount"]))
    return held


def wait_all_read(engine, ledger, seconds=90):
    """Waits until the job has read all that was taken."""
    wanted = sorted(ledger.by_part())

    def read():
        return sorted(engine.query("SELECT part, n, last, amount FROM by_part")) == wanted and engine.query(
            "SELECT n FROM payment_count"
        ) == [(len(ledger.payments()),)]

    try:
        child.wait_until(read, "everything is read", seconds, every=0.1)
    except child.TimedOut as late:
        found = engine.query("SELECT part, n, last, amount FROM by_part") if engine.alive else "no engine"
        raise Different(f"not everything was read once within {seconds} s (I1, I2): {sorted(found)} instead of {wanted}; {late}") from None


def check_views(engine, ledger, watermark):
    """The views through the Postgres port."""
    query = engine.query
    same("view grand (I3)", query("SELECT n, amount FROM grand"), [ledger.grand()])
    for key in ("account", "sku"):
        wanted = [(name, *group) for name, group in ledger.grouped(key).items()]
        same(f"view by_{key} (I3)", query(f"SELECT {key}, n, amount FROM by_{key}"), wanted)
    same("view dearest", query("SELECT account, place_in_account, id, amount FROM dearest"), ledger.dearest())
    same("view unpaid", query("SELECT account, n FROM unpaid"), ledger.unpaid())
    same("view closed_windows", query("SELECT window_end, n, amount FROM closed_windows"), ledger.windows(watermark))
    for topic, prefix in (("orders", ""), ("payments", "")):
        places = [(each.partition, each.offset) for each in ledger.bad(topic)]
        found = query(f'SELECT source, "offset" FROM {topic}_dead_letters')
        same(f"dead letters of {topic} (I7)", [(int(source.rsplit("/")[-1]), offset) for source, offset in found], places)


def check_topics(outputs, ledger, watermark, upserts=True):
    """The output topics as a `read_committed` consumer sees them."""
    same("topic copied (I1, I2, I3)", outputs.copied(), ledger.copied())
    same("topic paid (I1, I2, I3)", outputs.paid(), ledger.paid())
    same("topic windows (I1, I2, I3)", outputs.windows(), ledger.windows(watermark))
    totals = {sku: group for sku, group in ledger.grouped("sku").items()}
    check(chain(outputs.read("totals")) == totals, "topic totals ends in something else than the batch (I3)")
    balances = defaultdict(list)
    for record in outputs.read("balances"):
        balances[record.partition].append(record)
    held = {}
    for records in balances.values():
        held |= latest(records)
    check(held == ledger.grouped("account"), "topic balances ends in something else than the batch (I3)")
    letters = [(f"{outputs.prefix}orders/{each.partition}", each.offset) for each in ledger.bad("orders")]
    same("topic of dead letters (I7)", outputs.letters(), letters)


def check_files(outputs, ledger):
    """The files that can be seen."""
    same("parquet files (I1, I2)", outputs.parquet(), [(id, account, amount, part, place) for id, account, _, amount, part, place in ledger.copied()])
    same("json files (I1, I2)", outputs.json_files(), [(order, payment) for order, payment, _, _ in ledger.paid()])


def check_stable(topics, names, seconds=20):
    """I5: no open transaction pins the end of a topic."""

    def stable():
        return all(topics.ends(name) == topics.ends(name, committed=True) for name in names)

    try:
        child.wait_until(stable, "no open transaction", seconds)
    except child.TimedOut:
        ends = {name: (topics.ends(name), topics.ends(name, committed=True)) for name in names}
        pinned = {name: both for name, both in ends.items() if both[0] != both[1]}
        raise Different(f"open transactions pin topics (I5), high watermark and last stable offset: {pinned}") from None
