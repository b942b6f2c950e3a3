"""One scenario's world: its topics on a cluster, its folder, its engine, its feeder, and the checks at the end."""

import itertools
import shutil
from pathlib import Path

from . import child, invariants
from .compare import check
from .engine import Engine
from .ledger import Feeder
from .topics import Topics
from .watch import Reader, Windows

LEDGER_SQL = Path(__file__).resolve().parents[1] / "ledger.sql"
OUTPUTS = ("copied", "paid", "totals", "balances", "windows", "dead")
_numbers = itertools.count(1)


class World:
    """`options`: what all scenarios share (seed, the guarantee of sinks, whether to keep folders)."""

    def __init__(self, name, cluster, folder, options, *, rate=300, orders="", servers=None, transactional=False, settings=None, partitions=4):
        self.name, self.cluster, self.options = name, cluster, options
        self.prefix = f"{name.lower()}-{next(_numbers)}-"
        self.dir = Path(folder) / self.prefix.strip("-")
        self.dir.mkdir(parents=True)
        self.state, self.files = self.dir / "state", self.dir / "files"
        self.topics = Topics(cluster.servers)
        self.topics.create(self.prefix + "orders", self.prefix + "payments", partitions=partitions)
        self.topics.create(*(self.prefix + name for name in OUTPUTS if name != "copied"))
        self.topics.create(self.prefix + "copied", partitions=3)
        self.sql = self.write_sql("ledger.sql", orders=orders)
        self.settings = {
            "kafka.bootstrap.servers": servers or cluster.servers,
            "execution.checkpointing.interval": "500 ms",
            "sink.commit-interval": "10 ms",
            "pipeline.name": self.prefix.strip("-"),
            **(settings or {}),
        }
        for key in options.without:
            self.settings.pop(key, None)
        self.engine = self.new_engine()
        self.feeder = Feeder(self.topics, self.prefix, options.seed, rate, transactional)
        self.reader = self.windows = None

    def write_sql(self, name, orders="", more=""):
        """The job's file, with more options for `orders` and more statements."""
        guarantee = f", 'sink.delivery-guarantee' = '{self.options.guarantee}'" if self.options.guarantee else ""
        sql = LEDGER_SQL.read_text()
        for mark, value in {"@PREFIX@": self.prefix, "@FILES@": str(self.files), "@GUARANTEE@": guarantee, "@ORDERS@": orders}.items():
            sql = sql.replace(mark, value)
        path = self.dir / name
        path.write_text(sql + more)
        return path

    def new_engine(self, name="engine", state=None, sql=None, settings=None, **more):
        state = state or (self.state if self.options.state else None)
        return Engine(self.dir, [sql or self.sql], state=state, settings={**self.settings, **(settings or {})}, name=name, **more)

    def start(self, env=None):
        """Starts engine, feeder and watchers."""
        self.engine.start(env=env)
        self.feeder.start()
        self.watch()
        return self

    def watch(self):
        self.windows = Windows(self.topics, self.prefix + "windows", self.feeder)
        self.reader = Reader(self.engine)

    def read(self):
        """How many orders the job has read."""
        return self.engine.query("SELECT n FROM grand")[0][0]

    def wait_orders(self, more=200, seconds=60):
        """Waits until the job has read so many more orders than now."""
        first = child.wait_until(lambda: [self.read()], "the views can be read", seconds)[0]
        child.wait_until(lambda: self.read() >= first + more, f"{more} more orders are read", seconds)

    def revive(self):
        """Starts the engine again if it has ended, as a supervisor would."""
        if not self.engine.alive:
            self.engine.start()

    def finish(self, seconds=90):
        """Feeds no more; when everything is read, all invariants must hold. Gives what was compared."""
        ledger = self.feeder.finish()
        self.revive()
        watermark = self.feeder.watermark
        invariants.wait_all_read(self.engine, ledger, seconds)
        invariants.check_views(self.engine, ledger, watermark)
        self.engine.verify([view for view in invariants.VIEWS if view != "closed_windows"])
        outputs = invariants.Outputs(self.topics, self.prefix, self.files)

        def copied():
            return len(outputs.copied()) >= len(ledger.copied()) and len(outputs.windows()) >= len(ledger.windows(watermark))

        try:
            child.wait_until(copied, "the output is complete", 20, every=0.5)
        except child.TimedOut:
            pass
        reads = self.reader.finish(ledger) if self.reader else 0
        status = self.engine.stop()
        check(status == 0, f"SIGTERM ends the engine with {status}")
        if self.windows:
            self.windows.finish()
        invariants.check_topics(outputs, ledger, watermark)
        invariants.check_files(outputs, ledger)
        names = [name for name in self.topics.names() if name.startswith(self.prefix) or name.startswith("__millstream") or name.startswith("millstream")]
        invariants.check_stable(self.topics, names)
        late = sum(each.late for each in ledger.taken["orders"])
        bad = len(ledger.bad("orders")) + len(ledger.bad("payments"))
        if reads == 0 and self.reader:
            raise AssertionError("the views were never read")
        return f"{len(ledger.orders())} orders ({late} late), {len(ledger.payments())} payments, {bad} bad records, {len(ledger.windows(watermark))} windows, {reads} reads"

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for watcher in (self.reader, self.windows):
            if watcher:
                watcher._end.set()
        self.feeder._end.set()
        self.engine.kill()
        if kind is None and not self.options.keep:
            shutil.rmtree(self.dir, ignore_errors=True)
