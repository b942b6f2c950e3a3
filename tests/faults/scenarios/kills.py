"""E1, E2, I6: the engine killed at every point, and what it finds when it is back."""

import random
import re
import shutil
import time
from dataclasses import replace

from harness import child
from harness.compare import Different, check, same
from harness.invariants import check_stable, wait_all_read

from . import scenario

# The points of the engine (crates/runtime, `failpoint::pass`) and up to which passing they are made to strike.
POINTS = {
    "step.begin": 200,
    "step.recorded": 200,
    "sink.write": 400,
    "sink.before_commit": 30,
    "sink.after_commit": 30,
    "sink.before_prepare": 6,
    "sink.after_prepare": 6,
    "sink.before_publish": 6,
    "checkpoint.begin": 4,
    "checkpoint.before_manifest": 4,
    "checkpoint.after_manifest": 4,
    "recovery.restored": 1,
    "recovery.step": 20,
    "recovery.done": 1,
}
# How long a point may take to be passed before the process is killed from outside, wherever it stands.
PATIENCE = 5


def kill_again_and_again(world, kills, rng, say):
    """Starts the engine, to be killed at a point of the rng's choice, so many times. Gives how often each point struck."""
    struck = {point: 0 for point in POINTS} | {"anywhere": 0}
    points = []
    for kill in range(kills):
        if not points:
            points = list(POINTS) + ["anywhere"]
            rng.shuffle(points)
        point = points.pop()
        armed = "" if point == "anywhere" else f"{point}=kill@{rng.randint(1, POINTS[point])}"
        patience = rng.uniform(0.1, 2.5) if point == "anywhere" else PATIENCE
        world.engine.start(wait=False, env={"MILLSTREAM_FAILPOINTS": armed})
        try:
            status = world.engine.process.wait(patience)
            check(status == -9, lambda: f"kill {kill} at {armed}: the engine ended by itself with {status}:\n{world.engine.said()[-3000:]}")
            check("failpoint" in world.engine.said(), "it was killed, but by no failpoint")
            struck[point] += 1
        except child.subprocess.TimeoutExpired:
            world.engine.kill()
            struck["anywhere"] += 1
        say(f"kill {kill + 1} of {kills}: {armed or 'anywhere'}, {len(world.feeder.ledger.taken['orders'])} orders fed")
    return struck


def killed(lab, options, kills, late=True):
    rng = random.Random(options.seed)
    with lab.world("E1", options=options) as world:
        world.feeder.late = late
        world.feeder.start()
        world.watch()
        struck = kill_again_and_again(world, kills, rng, lab.say)
        world.engine.start()
        world.wait_orders(100)
        return struck, world.finish(180)


@scenario("E1", "kill -9 at every point of a step, a commit, a checkpoint and a recovery")
def killed_at_every_point(lab):
    struck, found = killed(lab, lab.options, lab.options.kills)
    never = [point for point, times in struck.items() if times == 0]
    if lab.options.kills >= 10 * len(POINTS):
        check(not never, f"points at which nothing was killed prove nothing: {never}")
    listed = ", ".join(f"{point} {times}" for point, times in struck.items() if times)
    return f"{found}; killed at: {listed}" + (f"; never struck: {', '.join(never)}" if never else "")


@scenario("E1", "control: with at-least-once sinks and kills the checks must fail")
def checks_can_fail(lab):
    options = replace(lab.options, guarantee="at-least-once")
    try:
        # Without orders that are late by what was seen in the output: only exactly-once output is certain to be seen again.
        killed(lab, options, 4, late=False)
    except Different as found:
        check("copied" in str(found) and "too many" in str(found), lambda: f"found something else than doubled rows: {found}")
        return "as it should be: " + " ".join(str(found).split("\n")[:2])
    raise Different("rows are written twice by at-least-once sinks, and nobody noticed: the checks prove nothing")


def checkpoints(world):
    """Files of the newest checkpoints, the newest first: manifests, and segments."""
    files = {kind: sorted(world.state.rglob(f"{kind}/[0-9]*"), reverse=True) for kind in ("manifest", "segment")}
    check(files["manifest"], lambda: f"no checkpoint in {world.state}: {[str(p) for p in world.state.rglob('*')][:20]}")
    return files


def flip(file, rng):
    data = bytearray(file.read_bytes())
    at = rng.randrange(len(data))
    data[at] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return f"a bit flipped at byte {at} of {len(data)} in {file.parent.name}/{file.name}"


def cut(file, rng):
    size = file.stat().st_size
    at = rng.randrange(size)
    with open(file, "r+b") as open_file:
        open_file.truncate(at)
    return f"{file.parent.name}/{file.name} cut from {size} to {at} bytes"


def newest_segments(world):
    """Segments that only the newest checkpoint names: made between the manifest before it and its own."""
    files = checkpoints(world)
    check(len(files["manifest"]) > 1, "only one checkpoint is kept")
    newest, before = (manifest.stat().st_mtime_ns for manifest in files["manifest"][:2])
    return [segment for segment in files["segment"] if before < segment.stat().st_mtime_ns < newest]


@scenario("E2", "manifests and segments torn, truncated, flipped: the checkpoint before is used, and that is said")
def damaged_checkpoints(lab):
    rng = random.Random(lab.options.seed)
    said = []
    with lab.world("E2") as world:
        # Two more checkpoints than damage are kept: what is damaged stays.
        world.engine.settings["execution.checkpointing.num-retained"] = "4"
        world.start()
        for turn in range(12 if lab.options.long else 6):
            world.wait_orders(300)
            time.sleep(1.2)
            world.engine.kill()
            damage = (flip, cut)[turn // 2 % 2]
            if turn % 2 == 0:
                what = damage(checkpoints(world)["manifest"][0], rng)
            else:
                newest = newest_segments(world)
                check(newest, "the newest checkpoint has a segment of its own")
                # Most of a segment's bytes are blocks; a few bits make it certain that one is hit.
                what = [damage(newest[0], rng) for _ in range(8 if damage is flip else 1)][0]
            lab.say(what)
            world.engine.start()
            notes = [line for line in world.engine.said().splitlines() if re.search("checkpoint", line) and re.search("WARN|ERROR|warning", line)]
            check(notes, lambda: f"{what}: nothing is said of it:\n{world.engine.said()[-2000:]}")
            said.append(notes[0].split("  ")[-1][:160])
        return f"{world.finish(120)}; it said: {said[-1]}"


@scenario("I6", "the same checkpoint restored twice gives the same views, and writes nothing more")
def restored_twice(lab):
    with lab.world("I6") as world:
        # The job goes on from the first restore; the copy must still be one of the checkpoints that it keeps.
        world.engine.settings["execution.checkpointing.num-retained"] = "100"
        world.start()
        world.wait_orders(600)
        world.engine.kill()
        world.feeder.pause()
        child.wait_until(lambda: world.feeder.producer.flush(1) == 0, "all that was fed is taken")
        copy = world.dir / "copy"
        shutil.copytree(world.state, copy)
        views = re.findall(r"MATERIALIZED VIEW (\w+)", world.sql.read_text())
        found, ends = [], []
        outputs = [world.prefix + name for name in ("copied", "paid", "totals", "balances", "windows", "dead")]
        for turn in range(2):
            if turn:
                world.engine.kill()
                shutil.rmtree(world.state)
                shutil.copytree(copy, world.state)
            world.engine.start()
            wait_all_read(world.engine, world.feeder.ledger)
            time.sleep(2)
            found.append({view: world.engine.query(f"SELECT * FROM {view}") for view in views})
            ends.append({name: len(world.topics.read(name)) for name in outputs})
        for view in views:
            same(f"{view}, restored twice (I6)", found[1][view], found[0][view])
        fed = len(world.feeder.ledger.copied())
        check(ends[0] == ends[1], lambda: f"the second restore wrote more (I2), {fed} orders were fed: {ends}")
        world.feeder.resume()
        world.wait_orders(100)
        return world.finish()


@scenario("K6", "killed with an open transaction: it is aborted by the next start, not by its timeout")
def open_transaction(lab):
    with lab.world("K6") as world:
        world.feeder.start()
        world.watch()
        topics = [world.prefix + name for name in ("copied", "paid", "totals", "balances", "windows")]
        pinned = 0
        for turn, name in enumerate(("", "", "renamed")):
            world.engine.start(wait=False, env={"MILLSTREAM_FAILPOINTS": f"sink.before_commit=kill@{40 + turn}"})
            check(world.engine.wait_end(30) == -9, "the failpoint kills")
            world.feeder.pause()
            pinned += any(world.topics.ends(t) != world.topics.ends(t, committed=True) for t in topics)
            if name:
                world.engine.settings["pipeline.name"] = world.prefix + name
            began = time.monotonic()
            world.engine.start()
            check_stable(world.topics, topics, seconds=8)
            lab.say(f"no open transaction after {time.monotonic() - began:.1f} s")
            world.engine.kill()
            world.feeder.resume()
        check(pinned, "no kill left an open transaction: nothing was proved")
        world.engine.start()
        world.wait_orders(100)
        return f"{world.finish()}; {pinned} of 3 kills left a transaction open"
