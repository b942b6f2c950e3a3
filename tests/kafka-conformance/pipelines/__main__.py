"""Runs every case against the embedded broker and against Apache Kafka; prints one line for each, and what failed."""

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "faults")]

import cases  # noqa: E402
import secured  # noqa: E402
from harness import child  # noqa: E402
from harness.cluster import Cluster  # noqa: E402
from harness.engine import Engine  # noqa: E402
from harness.security import Secured  # noqa: E402


class Run:
    def __init__(self, only):
        self.only, self.failed, self.passed = only, [], 0

    def __call__(self, name, function, *arguments):
        if self.only and not any(word in name for word in self.only):
            return
        began = time.monotonic()
        try:
            said = function(*arguments)
            self.passed += 1
            line = "ok"
        except Exception as error:  # noqa: BLE001
            self.failed.append(name)
            said, line = None, "FAILED"
            trace = traceback.format_exc() if not isinstance(error, (AssertionError, child.TimedOut)) else str(error)
        print(f"{line:7} {name} ({time.monotonic() - began:.1f} s)", flush=True)
        if said:
            print(f"          {said}")
        if line == "FAILED":
            print("          " + trace.replace("\n", "\n          "), flush=True)


def embedded(folder):
    """The embedded broker in a process of its own."""
    folder.mkdir(parents=True)
    file = folder / "broker.sql"
    file.write_text(
        "CREATE TABLE d (id INT) WITH ('connector' = 'datagen', 'number-of-rows' = '1');\n"
        "CREATE MATERIALIZED VIEW v AS SELECT id FROM d;\n"
    )
    port = child.free_port()
    engine = Engine(folder, [file], arguments=["--embedded-kafka", f"127.0.0.1:{port}"])
    return engine.start(), f"127.0.0.1:{port}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="parts of the names of cases")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pipelines-"))
    run = Run(given.only)
    security = Secured(folder / "certificates")
    settings = security.settings()
    inside, inside_servers = embedded(folder / "embedded-broker")
    with inside, Cluster(folder / "kafka", 1, settings, security.prepare) as kafka:
        wheres = [cases.Where("embedded", inside_servers, folder), cases.Where("kafka", kafka.servers, folder)]
        for case in cases.CASES:
            for where in wheres:
                run(f"{where.name}: {case.__name__}", case, where)
        run("both: shops", cases.shops, *wheres)
        secure(run, wheres[1], security)
    print(f"pipelines: {run.passed} passed; {len(run.failed)} failed")
    if given.keep or run.failed:
        print(f"logs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if run.failed else 0


def secure(run, where, security):
    security.add_users(where.topics)
    for name, options in secured.ways(security).items():
        run(f"kafka: {name}", secured.in_and_out, where, name, options)
    for name, (options, word) in secured.wrong(security).items():
        # Both directions for the two mistakes that people make; for the others reading is enough.
        for sink in (False, True) if name in ("wrong_password_scram", "wrong_ca") else (False,):
            full = f"{name}_{'sink' if sink else 'source'}"
            run(f"kafka: {full}", secured.refused, where, full, options, word, sink)


sys.exit(main())
