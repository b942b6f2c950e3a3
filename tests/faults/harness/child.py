"""Child processes that end with this one, and ports for them. Every process is ended by its own id."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)
_taken = set()


def _with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def start(command, log, env=None, cwd=None):
    """Starts a process whose outputs are appended to the file `log`."""
    with open(log, "ab") as out:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            preexec_fn=_with_parent,
        )


def listening(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port():
    """A loopback port that nobody listens on, below those that outgoing connections take; never the same twice."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        if port not in _taken and not listening(port):
            _taken.add(port)
            return port


class TimedOut(Exception):
    """Something did not happen in time."""


def wait_until(condition, what, seconds=60, every=0.05):
    """Waits until `condition()` is true and gives what it gave. An exception in it is as good as false."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            found = condition()
            if found:
                return found
            last = None
        except TimedOut:
            raise
        except Exception as error:  # noqa: BLE001 (told below)
            last = error
        if time.monotonic() > deadline:
            reason = f" (last: {last!r})" if last else ""
            raise TimedOut(f"not within {seconds} s: {what() if callable(what) else what}{reason}")
        time.sleep(every)
