"""Runs scenarios of the fault suite and prints a line for each."""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from harness import child  # noqa: E402
from scenarios import SCENARIOS, Lab, Options  # noqa: E402
from scenarios import engine, kafka, kills  # noqa: E402,F401 (they register themselves)


def arguments():
    parser = argparse.ArgumentParser(prog="tests/faults/run", description=__doc__)
    parser.add_argument("only", nargs="*", help="lines of the table (E1, K4) or names of scenarios; all without")
    parser.add_argument("--kills", type=int, default=20, help="of E1 (20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="longer outages and more turns")
    parser.add_argument("--list", action="store_true", help="prints the scenarios")
    parser.add_argument("--keep", action="store_true", help="keeps the folder with all logs")
    parser.add_argument("--verbose", action="store_true", help="says what is done")
    parser.add_argument("--guarantee", help="of the job's Kafka sinks: at-least-once shows that the checks can fail")
    parser.add_argument("--no-state", action="store_true", help="a job without --state")
    parser.add_argument("--without", action="append", default=[], metavar="KEY", help="leaves out a setting of the job")
    return parser.parse_args()


def main():
    given = arguments()
    chosen = [entry for entry in SCENARIOS if not given.only or entry[0] in given.only or entry[1] in given.only]
    if given.list or not chosen:
        for line, name, what, _ in SCENARIOS:
            print(f"{line:4} {name:26} {what}")
        return 0 if given.list else 2
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    began = time.monotonic()

    def say(text):
        if given.verbose:
            print(f"          [{time.monotonic() - began:6.1f}] {text}", flush=True)

    options = Options(
        kills=given.kills, seed=given.seed, guarantee=given.guarantee, state=not given.no_state, without=given.without, keep=given.keep, long=given.long
    )
    lab = Lab(folder, options, say)
    failed = []
    for line, name, what, function in chosen:
        started = time.monotonic()
        try:
            found = function(lab)
            print(f"ok      {line:4} {name} ({time.monotonic() - started:.0f} s): {found}", flush=True)
        except KeyboardInterrupt:
            raise
        except Exception as error:  # noqa: BLE001
            failed.append(name)
            text = str(error) if isinstance(error, (AssertionError, child.TimedOut)) else traceback.format_exc()
            print(f"FAILED  {line:4} {name} ({time.monotonic() - started:.0f} s): {what}", flush=True)
            print("          " + text.replace("\n", "\n          "), flush=True)
            lab.options.keep = True
    lab.close()
    print(f"faults: {len(chosen) - len(failed)} passed; {len(failed)} failed; seed {given.seed}, {time.monotonic() - began:.0f} s")
    if lab.options.keep:
        print(f"logs are in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
