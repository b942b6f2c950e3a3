"""`millstream run` as a child process: started, asked over the Postgres port and the status page, killed."""

import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import psycopg

from . import child
from .compare import Different

ROOT = Path(__file__).resolve().parents[3]


def binary():
    """The binary that is tested: MILLSTREAM, or the release build."""
    given = os.environ.get("MILLSTREAM")
    target = os.environ.get("CARGO_TARGET_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream" / "target"
    folders = [Path(target)] if target else [cache, ROOT / "target"]
    candidates = [Path(given)] if given else [folder / "release" / "millstream" for folder in folders]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise SystemExit(f"no binary at {candidates[0]}: make build, or name one with MILLSTREAM")


class Ended(Exception):
    """The engine ended when it should not have."""


class Engine:
    """A `millstream run` over files. The same object can be started again and again: its log grows, its ports stay."""

    def __init__(self, folder, files, state=None, settings=None, arguments=(), env=None, name="engine"):
        self.dir = Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.files, self.state, self.settings = list(files), state, dict(settings or {})
        self.arguments, self.env, self.name = list(arguments), dict(env or {}), name
        self.pg, self.http = child.free_port(), child.free_port()
        self.process = None
        self.log = self.dir / f"{name}.log"
        self._from = 0

    def command(self):
        command = [binary(), "run", *self.files, "--pg", f"127.0.0.1:{self.pg}", "--http", f"127.0.0.1:{self.http}"]
        if self.state:
            command += ["--state", self.state]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        return command + self.arguments

    def start(self, wait=True, env=None, wrapper=()):
        """Starts the process; `wait`: until clients can connect."""
        self._from = self.log.stat().st_size if self.log.exists() else 0
        environment = {"RUST_LOG": "info", **self.env, **(env or {})}
        self.process = child.start([*wrapper, *self.command()], self.log, environment)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=60):
        def ready():
            if not self.alive:
                raise child.TimedOut(f"the engine ended with {self.process.returncode}:\n{self.said()[-3000:]}")
            return re.search(r"^psql ", self.said(), re.M)

        child.wait_until(ready, lambda: f"the engine is ready; it said:\n{self.said()[-3000:]}", seconds)

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def said(self, everything=False):
        """What it logged since it was last started."""
        if not self.log.exists():
            return ""
        with open(self.log, "rb") as log:
            log.seek(0 if everything else self._from)
            return re.sub(r"\x1b\[[0-9;]*m", "", log.read().decode(errors="replace"))

    def kill(self):
        """kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM, and the exit status."""
        if not self.alive:
            return self.process.returncode
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise child.TimedOut(f"the engine did not end within {seconds} s of SIGTERM:\n{self.said()[-3000:]}") from None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def wait_end(self, seconds=60):
        """Waits until it ends by itself; gives the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise child.TimedOut(f"the engine goes on after {seconds} s:\n{self.said()[-3000:]}") from None

    def connect(self):
        return psycopg.connect(
            host="127.0.0.1", port=self.pg, user="shop", dbname="millstream", autocommit=True, connect_timeout=5
        )

    def query(self, sql):
        """The rows of a query, as tuples."""
        with self.connect() as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def page(self, path):
        """Status and text of a page of the HTTP port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.page("/status.json")[1])

    def verify(self, views, seconds=120):
        """The product's own oracle: `millstream verify` computes the views again as a batch and compares. Batches know no late rows."""
        command = [binary(), "verify", *self.files, "--against", f"127.0.0.1:{self.pg}"]
        command += [f"--view={view}" for view in views] + [f"--set={key}={value}" for key, value in self.settings.items()]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            raise Different(f"`millstream verify` ends with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def rss(self):
        """Resident memory in bytes."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
