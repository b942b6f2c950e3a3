#!/usr/bin/env python3
"""Measures Millstream and prints tables of ratios to its peers. Called by benches/run; README.md tells what is measured.

usage: bench.py [json|memory|step|latency|kafka]... [--flink] [--queries q0,q1] [--events N] [--runs N]
env:   BENCH_DATA  where data and results are kept (default: ~/.cache/millstream/bench)
       BENCH_BIN   the folder of the programs `millstream` and `millstream-bench`
"""
import argparse, csv, datetime, json, math, os, platform, re, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream"
DATA = Path(os.environ.get("BENCH_DATA") or CACHE / "bench")
BIN = Path(os.environ.get("BENCH_BIN") or CACHE / "target" / "release")
PARTS = 2
SIZES = {"n5m": 5_000_000, "n10m": 10_000_000}
QUERIES = "q0 q1 q2 q3 q4 q5 q7 q8 q9 q11 q15 q16 q17 q18 q19 q20 q22".split()
# The queries that the bars hold for; the others are shown.
CORE = "q0 q1 q2 q3 q4 q5 q7 q8 q17 q18 q20".split()
BLACKHOLE = "'connector' = 'blackhole'"
LIMIT_S = 600


def table(path):
    """A csv file with comment lines, by query; numbers as floats, missing ones as None."""
    lines = [line for line in open(path) if not line.startswith("#")]
    number = lambda text: float(text) if text else None
    return {row.pop("query"): {name: number(text) for name, text in row.items()} for row in csv.DictReader(lines)}


def busy():
    """CPU seconds of all processes of the machine, idle and steal left out."""
    fields = [int(field) for field in open("/proc/stat").readline().split()[1:8]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def run(command, env=None):
    """A whole process, measured from outside: CPU of user and system, wall time, peak of resident memory."""
    errors = DATA / "errors.log"
    began, before = time.monotonic(), busy()
    with open(DATA / "out.log", "w+") as out, open(errors, "w+") as err:
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err, env=env)
        while True:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - began > LIMIT_S:
                child.kill()
            time.sleep(0.01)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall = time.monotonic() - began
        out.seek(0), err.seek(0)
        text, error = out.read(), err.read()
    cpu = used.ru_utime + used.ru_stime
    found = {"cpu_s": cpu, "wall_s": wall, "rss_mb": used.ru_maxrss / 1024, "other_cpu_s": busy() - before - cpu, "out": text}
    if child.returncode != 0:
        found["error"] = "time limit" if wall > LIMIT_S else error.strip()[-2000:] or f"exit status {child.returncode}"
    return found


def log(record):
    with open(DATA / "results.jsonl", "a") as file:
        file.write(json.dumps({"at": datetime.datetime.now().isoformat(timespec="seconds"), **record}) + "\n")


def tell(text):
    print(text, file=sys.stderr, flush=True)


def write_job(query, name, source, sink=BLACKHOLE):
    """The file that an engine runs: tables and views, then the query, with the placeholders filled."""
    text = "".join((HERE / "nexmark" / f"{part}.sql").read_text() for part in ("ddl", query))
    path = DATA / f"{name}-{query}.sql"
    path.write_text(text.replace("${SOURCE}", source).replace("${SINK}", sink))
    return path


def files(size):
    """The folder of a data set, made if it is not there."""
    folder = DATA / size
    if not (folder / "done").exists():
        tell(f"generating {size} into {folder}")
        subprocess.run([BIN / "millstream-bench", "generate", "--events", str(SIZES[size]), "--parts", str(PARTS), "--out", folder], check=True)
        (folder / "done").touch()
    return folder


def best(runs, measure):
    """The run with the least CPU time: what disturbs a run only adds to it."""
    found = [measure() for _ in range(runs)]
    return next((one for one in found if "error" in one), None) or min(found, key=lambda one: one["cpu_s"])


# ---------------------------------------------------------------- JSON files, beside Flink

def filesystem(size):
    return f"'connector' = 'filesystem', 'path' = '{files(size)}', 'format' = 'json'"


def eval_command(path):
    return [BIN / "millstream", "eval", path, "--workers", "2"]


def steady(measure):
    """Both sizes of a query; the difference leaves out what happens once: start, planning, JIT."""
    short, long = measure("n5m"), measure("n10m")
    for one in (short, long):
        if "error" in one:
            return {"error": one["error"]}
    seconds = long["cpu_s"] - short["cpu_s"]
    return {
        "events_per_s": SIZES["n10m"] / long["wall_s"], "cpu_s": long["cpu_s"], "short_cpu_s": short["cpu_s"], "peak_rss_mb": long["rss_mb"],
        "steady_events_per_cpu_s": (SIZES["n10m"] - SIZES["n5m"]) / seconds if seconds > 0 else math.inf,
        "disturbed": max(one["other_cpu_s"] / one["wall_s"] for one in (short, long)) > 0.1,
    }


def bench_json(options):
    recorded = table(HERE / "flink" / "results.csv")
    flink = Flink() if options.flink else None
    rows, errors, pairs = [], [], {}
    for query in options.queries:
        def measure(size):
            path = write_job(query, size, filesystem(size))
            found = best(options.runs, lambda: run(eval_command(path)))
            log({"bench": "json", "query": query, "size": size, **found})
            return found
        tell(f"json {query}")
        ours = steady(measure)
        if "error" in ours:
            errors.append((query, ours["error"]))
            continue
        theirs = recorded.get(query)
        if flink:
            tell(f"json {query} on Flink")
            theirs = steady(lambda size: flink.run(query, size))
            if "error" in theirs:
                errors.append((f"{query} on Flink", theirs["error"]))
                theirs = None
        ratio = ours["steady_events_per_cpu_s"] / theirs["steady_events_per_cpu_s"] if theirs else None
        memory = ours["peak_rss_mb"] / theirs["peak_rss_mb"] if theirs else None
        pairs[query] = (ratio, memory)
        disturbed = ours["disturbed"] or bool(theirs and theirs.get("disturbed"))
        rows.append([query + ("*" if disturbed else ""), thousands(ours["events_per_s"]), f"{ours['short_cpu_s']:.2f}", f"{ours['cpu_s']:.2f}",
                     thousands(ours["steady_events_per_cpu_s"]), thousands(theirs and theirs["steady_events_per_cpu_s"]), times(ratio),
                     f"{ours['peak_rss_mb']:.0f}", f"{theirs['peak_rss_mb']:.0f}" if theirs else "", f"{memory:.3f}" if memory else ""])
    source = "measured in this run" if flink else "recorded, benches/flink/results.csv"
    heading(f"JSON files, beside Flink 2.3.0 ({source})", "millstream eval FILE.sql --workers 2",
            ("" if flink else "Recorded figures are of another day and maybe another machine; only --flink compares like with like.\n")
            + "Steady: 5 million events / (CPU seconds at 10 million - CPU seconds at 5 million), user and system, whole process. * other processes used the machine.")
    markdown(["query", "k events/s", "CPU s 5M", "CPU s 10M", "steady k events/CPU-s", "Flink", "ratio", "peak MB", "Flink MB", "memory ratio"], rows)
    core = [pairs[query] for query in CORE if query in pairs and pairs[query][0]]
    every = [pair for pair in pairs.values() if pair[0]]
    for name, some in (("core queries", core), ("all queries shown", every)):
        if some:
            ratios, memories = [pair[0] for pair in some], [pair[1] for pair in some]
            print(f"- {name} ({len(some)}): geometric mean {times(mean(ratios))} (wanted: 4), least {times(min(ratios))} (wanted: 3), "
                  f"most memory {max(memories):.3f} of Flink's (wanted: 0.25)")
    failures(errors)


class Flink:
    """Apache Flink's own runtime in one JVM a run; its jars come with the Python package."""
    OPENS = ("lang net io nio lang.reflect text time util util.concurrent util.concurrent.atomic util.concurrent.locks").split()

    def __init__(self):
        venv, self.classes = DATA / "flink-venv", DATA / "flink-classes"
        if not (venv / "done").exists():
            tell("installing apache-flink 2.3.0")
            python = os.environ.get("FLINK_PYTHON", "python3")
            subprocess.run([python, "-m", "venv", venv], check=True)
            subprocess.run([venv / "bin/pip", "install", "-q", "apache-flink==2.3.0"], check=True, stdout=sys.stderr)
            (venv / "done").touch()
        find = "import importlib.util, os; print(os.path.dirname(importlib.util.find_spec('pyflink').origin))"
        self.home = subprocess.run([venv / "bin/python", "-c", find], check=True, capture_output=True, text=True).stdout.strip()
        self.classes.mkdir(exist_ok=True)
        subprocess.run(["javac", "-cp", f"{self.home}/lib/*", "-d", self.classes, HERE / "flink/RunSql.java"], check=True)

    def run(self, query, size):
        temporary = DATA / "flink-tmp"
        temporary.mkdir(exist_ok=True)
        settings = {
            "parallelism.default": 2, "taskmanager.numberOfTaskSlots": 2, "pipeline.object-reuse": "true", "io.tmp.dirs": temporary,
            "taskmanager.memory.managed.size": "1g", "taskmanager.memory.network.min": "512m", "taskmanager.memory.network.max": "512m",
            "state.backend.type": "hashmap", "rest.port": 0, "rest.bind-port": 0,
            "table.exec.mini-batch.enabled": "true", "table.exec.mini-batch.allow-latency": "2s", "table.exec.mini-batch.size": 50000,
            "table.optimizer.distinct-agg.split.enabled": "true",
        }
        command = ["java", "-Xmx8g", "-Xms8g", *[f"--add-opens=java.base/java.{name}=ALL-UNNAMED" for name in self.OPENS],
                   "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED", f"-Dlog4j.configurationFile={HERE}/flink/log4j2.properties",
                   "-cp", f"{self.classes}:{self.home}/lib/*", "RunSql", *[f"-D{key}={value}" for key, value in settings.items()],
                   "-v", f"SOURCE={filesystem(size)}", "-v", f"SINK={BLACKHOLE}", "-t", str(LIMIT_S), HERE / "nexmark/ddl.sql", HERE / f"nexmark/{query}.sql"]
        found = run(command)
        result = re.search(r"^RESULT (.*)$", found["out"], re.M)
        if result:
            result = json.loads(result.group(1))
            if not result["ok"]:
                found["error"] = result["error"]
            found.update(cpu_s=result["job_cpu_s"], wall_s=result.get("job_s", found["wall_s"]))
        elif "error" not in found:
            found["error"] = "no RESULT line"
        log({"bench": "flink", "query": query, "size": size, **found})
        return found


# ---------------------------------------------------------------- one process of millstream-bench

def bench(*arguments, **more):
    """Runs `millstream-bench` and gives its JSON line."""
    found = run([BIN / "millstream-bench", *arguments], **more)
    if "error" in found:
        return {"error": found["error"]}
    return {**json.loads(found["out"]), "other_cpu_s": found["other_cpu_s"]}


def bench_memory(options):
    feldera = table(HERE / "feldera" / "results.csv")
    events = options.events
    source = f"'connector' = 'nexmark', 'events' = '{events}', 'preload' = 'true'"
    rows, errors, pairs = [], [], {}
    for query in options.queries:
        tell(f"memory {query}")
        path = write_job(query, "memory", source)
        found = best(options.runs, lambda: bench("memory", path, "--workers", "1"))
        log({"bench": "memory", "query": query, **found})
        if "error" in found:
            errors.append((query, found["error"]))
            continue
        ours, theirs = found["rows"] / found["cpu_s"], feldera.get(query, {})
        speed, memory = theirs.get("events_per_cpu_s"), theirs.get("peak_rss_mb")
        pairs[query] = (ours, ours / speed if speed else None)
        note = "" if found["partitions"] == 1 else f" ({found['partitions']} sources)"
        rows.append([query + note, f"{found['cpu_s']:.2f}", thousands(ours), thousands(speed), times(pairs[query][1]), found["steps"],
                     found["peak_mb"] - found["start_mb"], found["start_mb"], f"{memory:.0f}" if memory else ""])
    heading(f"From memory, {events:,} events, beside Feldera's hand-written circuits (recorded, benches/feldera/results.csv)",
            "millstream-bench memory FILE.sql --workers 1",
            "Recorded figures are of another day and maybe another machine.\n"
            "CPU of all threads from the moment the events are in memory. State MB: peak resident memory above that of the events.")
    markdown(["query", "CPU s", "k events/CPU-s", "Feldera", "ratio", "steps", "state MB", "events MB", "Feldera MB"], rows)
    ratios = [ratio for _, ratio in pairs.values() if ratio]
    if ratios:
        print(f"- {len(ratios)} queries: geometric mean {times(mean(ratios))}, least {times(min(ratios))} (wanted: 1)")
    failures(errors)


def bench_step(options):
    rows, errors = [], []
    for workers in (1, 2):
        tell(f"step, {workers} workers")
        found = best(options.runs, lambda: bench("step", "--workers", str(workers)))
        log({"bench": "step", "workers": workers, **found})
        if "error" in found:
            errors.append((f"{workers} workers", found["error"]))
            continue
        micros = found["wall_s"] * 1e6 / found["steps"]
        rows.append([workers, found["steps"], found["nodes"], f"{micros:.1f}", f"{found['cpu_s'] * 1e6 / found['steps']:.1f}", f"{50 / micros:.2f}x"])
    heading("One row a step: source, five operators, view", "millstream-bench step --workers N", "Wanted: under 50 us.")
    markdown(["workers", "steps", "nodes", "us a step", "CPU us a step", "50 us / it"], rows)
    failures(errors)


def bench_latency(options):
    tell("latency")
    found = bench("latency")
    log({"bench": "latency", **found})
    heading("From a produced row to its sight through the Postgres port", "millstream-bench latency",
            "Broker, engine and port in one process, 20,000 rows/s into the topic; a client asks for the row's key until it is there. Wanted: median under 20 ms.")
    if "error" not in found:
        names = ["rate", "probes", "p50_ms", "p90_ms", "p99_ms", "max_ms", "query_p50_ms", "cores"]
        markdown(["rows/s", "probes", "median ms", "p90 ms", "p99 ms", "most ms", "a query ms", "cores used", "20 ms / median"],
                 [[*[found[name] for name in names], f"{20 / found['p50_ms']:.2f}x"]])
    failures([("latency", found["error"])] if "error" in found else [])


def bench_decision(options):
    tell("decision")
    with tempfile.TemporaryDirectory(dir=DATA) as state:
        found = bench("decision", "--state", state)
    log({"bench": "decision", **found})
    heading("From a produced row to the committed record that follows from it", "millstream-bench decision --state DIR",
            "Exactly once, commit interval 10 ms, checkpoints every 10 s, 20,000 rows/s in and out; a read_committed consumer waits for the record. Wanted: median under 50 ms.")
    if "error" not in found:
        names = ["rate", "probes", "p50_ms", "p90_ms", "p99_ms", "max_ms"]
        markdown(["rows/s", "probes", "median ms", "p90 ms", "p99 ms", "most ms", "50 ms / median"],
                 [[*[found[name] for name in names], f"{50 / found['p50_ms']:.2f}x"]])
    failures([("decision", found["error"])] if "error" in found else [])


def bench_recovery(options):
    tell("recovery")
    with tempfile.TemporaryDirectory(dir=DATA) as state:
        found = bench("recovery", "--millstream", BIN / "millstream", "--state", state)
    log({"bench": "recovery", **found})
    heading("From kill -9 to the first right row", "millstream-bench recovery --millstream BIN --state DIR",
            "An aggregate and a view of 5 million keys with texts, on local disk. Wanted: under 2 s at 1 GB of state; no step waits longer than 10 ms for a checkpoint.")
    if "error" not in found:
        markdown(["keys", "state MB", "longest wait for a checkpoint ms", "recovery s, least", "most", "2 s / most"],
                 [[f"{found['keys']:,}", found["state_mb"], found["pause_max_ms"], found["recovery_least_s"], found["recovery_most_s"],
                   f"{2 / found['recovery_most_s']:.2f}x"]])
    failures([("recovery", found["error"])] if "error" in found else [])


def bench_kafka(options):
    events = min(options.events, 2_000_000)
    source = ("'connector' = 'kafka', 'topic' = 'nexmark', 'format' = 'json', 'scan.startup.mode' = 'earliest-offset', "
              "'scan.bounded.mode' = 'latest-offset'")
    queries = [query for query in options.queries if query in ("q0", "q1", "q2", "q3")]
    rows, errors = [], []
    tell("kafka: writing the topic")
    broker = subprocess.Popen([BIN / "millstream-bench", "broker", "--events", str(events)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        servers = broker.stdout.readline().strip()
        for query in queries if servers else []:
            tell(f"kafka {query}")
            path = write_job(query, "kafka", source)
            found = best(options.runs, lambda: bench("kafka", path, "--bootstrap", servers, "--workers", "2"))
            log({"bench": "kafka", "query": query, **found})
            if "error" in found:
                errors.append((query, found["error"]))
                continue
            rows.append([query, found["rows"], f"{found['cpu_s']:.2f}", thousands(found["rows"] / found["cpu_s"]),
                         thousands(found["rows"] / found["wall_s"]), found["peak_mb"]])
    finally:
        broker.stdin.close()
        broker.wait()
    if not servers:
        errors.append(("broker", f"exit status {broker.returncode}"))
    heading(f"From a Kafka topic of 2 partitions, {events:,} events as JSON", "millstream-bench kafka FILE.sql --bootstrap HOST:PORT --workers 2",
            "The broker's process (embedded broker) is not counted.")
    markdown(["query", "rows", "CPU s", "k rows/CPU-s", "k rows/s", "peak MB"], rows)
    failures(errors)


# ---------------------------------------------------------------- printing

def thousands(value):
    return f"{value / 1000:,.0f}" if value else ""


def times(value):
    return f"{value:.2f}x" if value else ""


def mean(values):
    return math.exp(sum(math.log(value) for value in values) / len(values))


def heading(title, command, text):
    print(f"\n## {title}\n\n`{command}`\n\n{text}\n")


def markdown(names, rows):
    print("| " + " | ".join(names) + " |")
    print("|" + "|".join(["---"] * len(names)) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print(flush=True)


def failures(errors):
    for name, error in errors:
        print(f"- **{name} failed**: {' '.join(error.split())[:600]}")
    sys.stdout.flush()


def machine():
    model = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = int(next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal"))) / 2**20
    print(f"# Benchmarks\n\n{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, {datetime.date.today()}\n")
    print(f"`benches/run {' '.join(sys.argv[1:])}`".replace(" `", "`"), flush=True)


BENCHES = {"json": bench_json, "memory": bench_memory, "step": bench_step, "latency": bench_latency, "decision": bench_decision,
           "recovery": bench_recovery, "kafka": bench_kafka}


def main():
    parser = argparse.ArgumentParser(prog="benches/run", description="Measures Millstream and prints tables of ratios to its peers.")
    parser.add_argument("benches", nargs="*", metavar="json|memory|step|latency|decision|recovery|kafka", help="what to measure (default: all)")
    parser.add_argument("--flink", action="store_true", help="measure Flink in the same run (Java 17, Python up to 3.12) instead of recorded figures")
    parser.add_argument("--queries", default=",".join(QUERIES), help="q0,q1,...")
    parser.add_argument("--events", type=int, default=10_000_000, help="events from memory")
    parser.add_argument("--runs", type=int, default=1, help="runs of each measurement; the one with the least CPU counts")
    options = parser.parse_args()
    options.queries = options.queries.split(",")
    unknown = [name for name in options.benches if name not in BENCHES] + [name for name in options.queries if name not in QUERIES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; benches are {', '.join(BENCHES)}, queries are {', '.join(QUERIES)}")
    DATA.mkdir(parents=True, exist_ok=True)
    machine()
    for name in options.benches or BENCHES:
        BENCHES[name](options)


main()
