"""Apache Kafka on loopback: KRaft brokers (each a controller too) from the jars of Maven Central, as `kafka.sh jars` gets them."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from . import child

KAFKA_SH = Path(__file__).resolve().parents[2] / "kafka-conformance" / "kafka.sh"
TARGET = Path(
    os.environ.get("KAFKA_CONFORMANCE_TARGET")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millstream" / "kafka"
)

# Small heaps and the quick compiler: a broker of a test lives for minutes.
JAVA = ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]


def class_path():
    """The jars, fetched if need be."""
    environment = {**os.environ, "KAFKA_CONFORMANCE_TARGET": str(TARGET)}
    found = subprocess.run([KAFKA_SH, "jars"], env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return found.stdout.strip()


def tool(name, *arguments, timeout=60, check=True):
    """Runs one of Kafka's console tools, such as `consumer.ConsoleConsumer`; gives what it printed."""
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", class_path(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    command += [f"org.apache.kafka.tools.{name}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


class Broker:
    """One node: its folder, its ports and, while it runs, its process."""

    def __init__(self, cluster, node):
        self.cluster, self.node = cluster, node
        self.dir = cluster.dir / f"node-{node}"
        self.port, self.controller = child.free_port(), child.free_port()
        self.process = None
        # Listeners beside the plain one: name -> (protocol, port to listen on, port to tell clients).
        self.more = {}

    def write_properties(self, settings):
        listeners = {"PLAINTEXT": ("PLAINTEXT", self.port, self.port), **self.more}
        at = {"CONTROLLER": f"CONTROLLER://127.0.0.1:{self.controller}"}
        properties = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{b.node}@127.0.0.1:{b.controller}" for b in self.cluster.brokers),
            "listeners": ",".join([f"{n}://127.0.0.1:{own}" for n, (_, own, _) in listeners.items()] + list(at.values())),
            "advertised.listeners": ",".join(f"{n}://127.0.0.1:{told}" for n, (_, _, told) in listeners.items()),
            "listener.security.protocol.map": ",".join(
                [f"{n}:{protocol}" for n, (protocol, _, _) in listeners.items()] + ["CONTROLLER:PLAINTEXT"]
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.dir / "log",
            **settings,
        }
        self.dir.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{name}={value}\n" for name, value in properties.items())
        (self.dir / "server.properties").write_text(text)

    def format(self, cluster_id):
        command = [*JAVA, "-cp", self.cluster.class_path, "kafka.tools.StorageTool", "format", "-t", cluster_id]
        done = subprocess.run([*command, "-c", self.dir / "server.properties"], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"the storage of a broker cannot be formatted: {done.stderr[-2000:]}")

    @property
    def log(self):
        return self.dir / "server.out"

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        command = [*JAVA, "-cp", self.cluster.class_path, "kafka.Kafka", self.dir / "server.properties"]
        self.process = child.start(command, self.log)

    def wait(self, seconds=90):
        def there():
            if not self.alive:
                tail = self.log.read_text(errors="replace")[-2000:]
                raise child.TimedOut(f"broker {self.node} ended while it was starting:\n{tail}")
            return child.listening(self.port)

        child.wait_until(there, f"broker {self.node} answers", seconds, every=0.1)

    def kill(self):
        """kill -9."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """An orderly end; after a while a disorderly one."""
        if not self.alive:
            return
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)


class Cluster:
    """One or three brokers. `settings` are broker properties beside those that a small cluster needs."""

    def __init__(self, folder, nodes=1, settings=None, prepare=None):
        self.dir = Path(folder)
        self.class_path = class_path()
        self.brokers = []
        self.brokers += [Broker(self, node) for node in range(1, nodes + 1)]
        if prepare:
            prepare(self)
        replicas = min(nodes, 3)
        small = {
            "num.partitions": 1,
            "default.replication.factor": replicas,
            "min.insync.replicas": 2 if replicas == 3 else 1,
            "offsets.topic.num.partitions": 4,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": 4,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": 2 if replicas == 3 else 1,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            "log.cleaner.backoff.ms": 500,
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
        }
        self.settings = {**small, **(settings or {})}

    def start(self):
        command = [*JAVA, "-cp", self.class_path, "kafka.tools.StorageTool", "random-uuid"]
        cluster_id = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]
        for broker in self.brokers:
            broker.write_properties(self.settings)
            broker.format(cluster_id)
        for broker in self.brokers:
            broker.start()
        self.wait()
        return self

    def wait(self):
        for broker in self.brokers:
            broker.wait()

    @property
    def servers(self):
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def stop(self):
        for broker in self.brokers:
            if broker.process:
                broker.kill()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
