"""The table of faults, line by line. Each scenario is a function of a `Lab`; it raises when something does not hold."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from harness.cluster import Cluster
from harness.proxy import Proxied
from harness.world import World

SCENARIOS = []


def scenario(line, what):
    """Registers a scenario under the line of the table that it proves."""

    def register(function):
        SCENARIOS.append((line, function.__name__, what, function))
        return function

    return register


@dataclass
class Options:
    """What a run was asked for."""

    kills: int = 20
    seed: int = 1
    # Of the job's Kafka sinks; None: the default.
    guarantee: str | None = None
    # Whether the job keeps its state.
    state: bool = True
    # Settings of the ledger's job that are left out.
    without: list = field(default_factory=list)
    keep: bool = False
    long: bool = False


class Lab:
    """The clusters that scenarios share, and a folder for them to work in."""

    def __init__(self, folder, options, say):
        self.folder, self.options, self.say = Path(folder), options, say
        self._clusters = {}

    def cluster(self, nodes=1):
        """A running cluster. One that a scenario has broken is repaired by it."""
        if nodes not in self._clusters:
            self._clusters[nodes] = Cluster(self.folder / f"kafka-{nodes}", nodes).start()
        return self._clusters[nodes]

    def proxied(self):
        """A broker behind a proxy: (cluster, proxy)."""
        if "proxied" not in self._clusters:
            proxy = Proxied()
            self._clusters["proxied"] = Cluster(self.folder / "kafka-proxied", 1, None, proxy.prepare).start()
            self._proxy = proxy
        self._proxy.clear()
        return self._clusters["proxied"], self._proxy

    def drop(self, nodes):
        """Ends a cluster that is not needed any more."""
        cluster = self._clusters.pop(nodes, None)
        if cluster:
            cluster.remove()

    def world(self, name, cluster=None, options=None, **more):
        return World(name, cluster or self.cluster(), self.folder, options or self.options, **more)

    def close(self):
        for cluster in self._clusters.values():
            cluster.stop()
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
