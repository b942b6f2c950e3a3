"""E3-E11: the process, its disk, its store, its clock and its own parts."""

import os
import random
import re
import shutil
import subprocess
import time
from pathlib import Path

from harness import child
from harness.bucket import NAME, Bucket
from harness.compare import check, same

from . import scenario

HERE = Path(__file__).resolve().parent


def waits(engine, pattern, seconds=30):
    return child.wait_until(lambda: re.search(pattern, engine.said()), lambda: f"it says '{pattern}'; it said\n{engine.said()[-2000:]}", seconds)


def checkpoints_made(engine):
    return engine.status().get("checkpoint", {}).get("sequence") or 0


@scenario("E3", "a sync that fails: the checkpoint is not taken for durable, the job goes on from an older one")
def failing_sync(lab):
    shim = lab.folder / "sync.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, HERE / "sync.c", "-ldl"], check=True)
    with lab.world("E3") as world:
        control = world.dir / "fail"
        world.engine.env |= {"LD_PRELOAD": str(shim), "FAIL_SYNC": str(control), "FAIL_SYNC_UNDER": str(world.state)}
        world.start()
        for _ in range(3):
            world.wait_orders(300)
            control.write_text("")
            time.sleep(2)
            check(world.engine.alive, lambda: f"the job ended: {world.engine.said()[-2000:]}")
            check(re.search("WARN|ERROR", world.engine.said()), "a failing sync is told")
            world.wait_orders(100)
            # What was not synced is gone after a crash: the shim has thrown it away.
            world.engine.kill()
            control.unlink()
            world.engine.start()
        world.wait_orders(300)
        return world.finish()


@scenario("E4", "an object store that answers 500, 503, late, half or not at all, and loses its own writes' answers")
def bad_object_store(lab):
    bucket = Bucket(lab.options.seed)
    rng = random.Random(lab.options.seed)
    with lab.world("E4") as world:
        world.engine = world.new_engine("engine-s3", state=f"s3://{NAME}/job", env=bucket.environment)
        world.start()
        world.wait_orders(300)
        check(any("manifest" in name for name in bucket.objects), lambda: f"checkpoints are in the bucket: {list(bucket.objects)[:10]}")
        bucket.faults = {"500": 0.1, "503": 0.1, "slow": 0.05, "lost": 0.05, "partial": 0.05, "conflict": 0.1}
        for turn in range(6 if lab.options.long else 3):
            world.wait_orders(400, 120)
            time.sleep(rng.uniform(0, 2))
            world.engine.kill()
            world.engine.start(wait=False)
            world.engine.wait_ready(120)
        lab.say(f"faults so far: {bucket.struck}")
        bucket.down = True
        world.wait_orders(600, 60)
        time.sleep(5)
        check(world.engine.alive, lambda: f"the job ended with its store: {world.engine.said()[-2000:]}")
        world.wait_orders(100, 60)
        bucket.down = False
        bucket.faults = {}
        newest = max(name for name in bucket.objects if "manifest" in name)
        child.wait_until(lambda: max(name for name in bucket.objects if "manifest" in name) > newest, "checkpoints go on when the store is back", 90)
        world.engine.kill()
        world.engine.start()
        found = world.finish(120)
    bucket.close()
    return f"{found}; faults: {bucket.struck}"


@scenario("E5", "two engines on one state folder: the second is refused")
def two_on_one_folder(lab):
    with lab.world("E5") as world:
        world.start()
        world.wait_orders(200)
        second = world.new_engine("second").start(wait=False)
        status = second.wait_end(30)
        said = second.said()
        check(status not in (0, None), f"the second ends with {status}")
        check(re.search("another process|in use|locked", said), lambda: f"it does not say why:\n{said}")
        check(world.engine.alive, "the first goes on")
        world.wait_orders(200)
        return f"{world.finish()}; the second said: {said.strip().splitlines()[-1][:200]}"


@scenario("E6", "the state's disk is full, and then has room again; a state folder that cannot be written")
def disk_full(lab):
    if os.geteuid() != 0:
        return "not run: mounting a small disk needs root"
    with lab.world("E6") as world:
        disk = world.dir / "disk"
        disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
        try:
            world.state = disk / "state"
            world.engine = world.new_engine("engine-small")
            world.start()
            world.wait_orders(300)
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=1M"], capture_output=True)
            waits(world.engine, r"(?i)no space|disk.*full|storage.*full", 60)
            time.sleep(3)
            check(world.engine.alive, lambda: f"the job ended: {world.engine.said()[-2000:]}")
            check(world.engine.query("SELECT n FROM grand"), "views can be read while the disk is full")
            # Killed while nothing can be saved: what was committed since is replayed from its records.
            world.engine.kill()
            (disk / "filler").unlink()
            world.engine.start()
            world.wait_orders(300)
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/filler", "bs=1M"], capture_output=True)
            time.sleep(4)
            (disk / "filler").unlink()
            newest = max(path.name for path in (disk / "state").rglob("manifest/[0-9]*"))
            child.wait_until(
                lambda: max(path.name for path in (disk / "state").rglob("manifest/[0-9]*")) > newest, "checkpoints go on when there is room", 60
            )
            found = world.finish()
        finally:
            world.engine.kill()
            subprocess.run(["umount", disk], check=False)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", disk], check=True)
        try:
            refused = world.new_engine("engine-read-only", state=disk / "state").start(wait=False)
            check(refused.wait_end(30) not in (0, -9), "a state folder that cannot be written is refused")
            said = refused.said().strip().splitlines()
        finally:
            subprocess.run(["umount", disk], check=False)
        return f"{found}; read-only: {said[0][:160] if said else ''}"


def faketime_library():
    found = list(Path("/usr/lib").rglob("libfaketime.so.1"))
    return found[0] if found else None


@scenario("E8", "the wall clock jumps, forwards and backwards, by hours: results by event time are the same")
def clock_jumps(lab):
    library = faketime_library()
    if not library:
        return "not run: libfaketime is not installed (Debian: faketime)"
    with lab.world("E8") as world:
        file = world.dir / "clock"
        file.write_text("+0\n")
        fake = {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
        world.engine.env |= {**fake, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        world.start()
        for jump in ("+5h", "-3h", "+1d", "-2d", "+0"):
            world.wait_orders(300)
            file.write_text(jump + "\n")
            lab.say(f"the clock is at {jump}")
            world.wait_orders(300)
            if jump in ("-3h", "+1d"):
                world.engine.kill()
                world.engine.start()
        return world.finish()


@scenario("E9", "sinks stall for a while: bounded memory, readable views, and everything arrives afterwards")
def slow_sink(lab):
    cluster, proxy = lab.proxied()
    # Sources read past the proxy; only the job's producers go through it.
    with lab.world("E9", cluster, servers=proxy.servers) as world:
        text = world.sql.read_text()
        direct = f"'properties.bootstrap.servers' = '{cluster.servers}', "
        for topic in ("orders", "payments"):
            text = text.replace(f"'topic' = '{world.prefix}{topic}'", f"{direct}'topic' = '{world.prefix}{topic}'")
        # Dead letters go to the source's brokers; here all output is to stand still.
        text = text.replace(f", 'dead-letter.topic' = '{world.prefix}dead'", "")
        world.sql.write_text(text + f"CREATE TABLE dead (raw STRING, source STRING, `offset` BIGINT) WITH ('connector' = 'kafka', 'topic' = '{world.prefix}dead', 'format' = 'json');\n"
            "INSERT INTO dead SELECT CAST(NULL AS STRING), source, `offset` FROM orders_dead_letters;\n")
        world.start()
        world.wait_orders(300)
        before = world.engine.rss()
        world.feeder.rate = 20_000
        fed = len(world.feeder.ledger.taken["orders"])
        proxy.stall()
        slowest, grown = 0, 0
        for _ in range(40 if lab.options.long else 15):
            time.sleep(1)
            began = time.monotonic()
            world.engine.query("SELECT n, amount FROM grand")
            slowest = max(slowest, time.monotonic() - began)
            grown = max(grown, world.engine.rss() - before)
        world.feeder.rate = 300
        fed = len(world.feeder.ledger.taken["orders"]) - fed
        proxy.flow()
        check(slowest < 2, f"a read took {slowest:.1f} s while the sinks stood still")
        check(grown < 1 << 30, f"memory grew by {grown >> 20} MiB")
        found = world.finish(180)
        return f"{found}; {fed} orders came meanwhile, memory grew by {grown >> 20} MiB, the slowest read took {slowest * 1000:.0f} ms"


@scenario("E10", "SIGTERM makes a last checkpoint; the job goes on from it without running steps again")
def terminated(lab):
    with lab.world("E10", settings={"execution.checkpointing.interval": "1 h"}) as world:
        world.start()
        for _ in range(3):
            world.wait_orders(400)
            before = world.read()
            check(world.engine.stop() == 0, "SIGTERM ends it with 0")
            world.engine.start()
            # Nothing comes anew from the topics before what was there is there.
            check(world.read() >= before, "what was read before SIGTERM is there when clients connect again")
            said = world.engine.said()
            again = re.findall(r"(\d+) steps", said)
            check(not again or again[0] == "0", lambda: f"steps are run again after SIGTERM:\n{said[-1500:]}")
        return world.finish()


@scenario("E10", "changed SQL: views whose plan did not change keep their state, a new one is computed from the start, a dropped one goes")
def changed_sql(lab):
    with lab.world("E10") as world:
        world.start()
        world.wait_orders(600)
        time.sleep(1)
        check(world.engine.stop() == 0, "SIGTERM ends it with 0")
        text = world.sql.read_text()
        text = text.replace("CREATE MATERIALIZED VIEW payment_count", "CREATE MATERIALIZED VIEW by_sku_and_account AS SELECT sku, account, COUNT(*) AS n FROM orders GROUP BY sku, account;\nCREATE MATERIALIZED VIEW payment_count")
        world.sql.write_text(text)
        world.engine.start()
        world.wait_orders(300)
        world.engine.kill()
        world.engine.start()
        world.wait_orders(100)
        found = world.feeder.finish

        def finish():
            ledger = found()
            wanted = {}
            for order in ledger.orders():
                wanted[order.sku, order.account] = wanted.get((order.sku, order.account), 0) + 1
            rows = [(sku, account, n) for (sku, account), n in wanted.items()]
            query = "SELECT sku, account, n FROM by_sku_and_account"
            try:
                child.wait_until(lambda: sorted(world.engine.query(query)) == sorted(rows), "the new view", 60)
            except child.TimedOut:
                same("the view that was added", world.engine.query(query), rows)
            return ledger

        world.feeder.finish = finish
        return world.finish()


@scenario("E10", "state of another format version is refused, never misread")
def other_version(lab):
    with lab.world("E10") as world:
        world.start()
        world.wait_orders(400)
        check(world.engine.stop() == 0, "SIGTERM ends it with 0")
        manifests = sorted(world.state.rglob("manifest/[0-9]*"))
        said = None
        for manifest in manifests:
            # The first bytes say which format it is.
            data = bytearray(manifest.read_bytes())
            data[:16] = bytes(byte ^ 0x40 for byte in data[:16])
            manifest.write_bytes(data)
        world.engine.start(wait=False)
        status = world.engine.wait_end(30)
        said = world.engine.said()
        check(status not in (0, -9, -6), f"it ends with {status}")
        check(re.search("checkpoint", said) and "panicked" not in said, lambda: f"it does not say why:\n{said}")
        return f"{len(manifests)} manifests changed; it said: {said.strip().splitlines()[-1][:200]}"


@scenario("E11", "a view that fails stops alone: it says why, can be dropped, the others go on, also after a kill")
def failing_view(lab):
    with lab.world("E11") as world:
        more = """
        CREATE MATERIALIZED VIEW fragile AS SELECT id, 100 / (id - 300) AS x FROM orders;
        CREATE MATERIALIZED VIEW on_fragile AS SELECT COUNT(*) AS n FROM fragile;
        """
        world.sql.write_text(world.sql.read_text() + more)
        world.start()
        world.wait_orders(700)

        def told():
            try:
                world.engine.query("SELECT COUNT(*) FROM on_fragile")
            except Exception as error:  # noqa: BLE001
                return str(error)
            return None

        said = child.wait_until(told, "a view that depends on the failed one says why", 30)
        check("zero" in said.lower(), f"it says: {said}")
        world.wait_orders(300)
        world.engine.kill()
        world.engine.start()
        world.wait_orders(200)
        check(told() or _still_fails(world), "it still says why after a kill")
        world.engine.query("DROP MATERIALIZED VIEW on_fragile")
        world.engine.query("DROP MATERIALIZED VIEW fragile")
        world.wait_orders(200)
        return f"{world.finish()}; it said: {said.splitlines()[0][:160]}"


def _still_fails(world):
    return any("fragile" in error for error in world.engine.status()["errors"])
