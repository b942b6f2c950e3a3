"""A network between clients and a broker that does what networks and brokers do on bad days.

    client --> Proxy --> broker's second listener, which tells clients the proxy's port

Whole requests and answers are passed on, so that single requests of an API can fail: answered with an error without being done,
done with the answer lost, refused, delayed. And the whole line can be slow, stalled with its connections open, or cut.
"""

import asyncio
import struct
import threading

from . import child

PRODUCE, FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR = 0, 1, 2, 3, 10
INIT_PRODUCER_ID, ADD_PARTITIONS_TO_TXN, END_TXN = 22, 24, 26
APIS = {
    "Produce": PRODUCE,
    "Fetch": FETCH,
    "ListOffsets": LIST_OFFSETS,
    "Metadata": METADATA,
    "FindCoordinator": FIND_COORDINATOR,
    "InitProducerId": INIT_PRODUCER_ID,
    "AddPartitionsToTxn": ADD_PARTITIONS_TO_TXN,
    "EndTxn": END_TXN,
}
# The first version of a request with compact lengths and tagged fields.
FLEXIBLE = {PRODUCE: 9, FETCH: 12, LIST_OFFSETS: 6, METADATA: 9, FIND_COORDINATOR: 3, INIT_PRODUCER_ID: 2, ADD_PARTITIONS_TO_TXN: 3, END_TXN: 3}

ERRORS = {
    "REQUEST_TIMED_OUT": 7,
    "NOT_LEADER_OR_FOLLOWER": 6,
    "COORDINATOR_LOAD_IN_PROGRESS": 14,
    "COORDINATOR_NOT_AVAILABLE": 15,
    "NOT_COORDINATOR": 16,
    "NOT_ENOUGH_REPLICAS": 19,
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": 20,
    "TOPIC_AUTHORIZATION_FAILED": 29,
    "OUT_OF_ORDER_SEQUENCE_NUMBER": 45,
    "INVALID_PRODUCER_EPOCH": 47,
    "INVALID_TXN_STATE": 48,
    "INVALID_PRODUCER_ID_MAPPING": 49,
    "CONCURRENT_TRANSACTIONS": 51,
    "KAFKA_STORAGE_ERROR": 56,
    "UNKNOWN_PRODUCER_ID": 59,
    "PRODUCER_FENCED": 90,
}


class Reading:
    """Reads a request's fields."""

    def __init__(self, bytes_, flexible):
        self.bytes, self.at, self.flexible = bytes_, 0, flexible

    def number(self, form):
        (value,) = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return value

    def varint(self):
        value = shift = 0
        while True:
            byte = self.bytes[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def length(self, form):
        return self.varint() - 1 if self.flexible else self.number(form)

    def text(self):
        size = self.length(">h")
        value = None if size < 0 else self.bytes[self.at : self.at + size]
        self.at += max(size, 0)
        return value

    def skip_bytes(self):
        self.at += max(self.length(">i"), 0)

    def tags(self):
        if self.flexible:
            for _ in range(self.varint()):
                self.varint()
                size = self.varint()
                self.at += size


class Writing:
    """Writes an answer's fields."""

    def __init__(self, flexible):
        self.bytes, self.flexible = bytearray(), flexible

    def number(self, form, value):
        self.bytes += struct.pack(form, value)

    def varint(self, value):
        while value >= 0x80:
            self.bytes.append(value & 0x7F | 0x80)
            value >>= 7
        self.bytes.append(value)

    def length(self, form, size):
        self.varint(size + 1) if self.flexible else self.number(form, size)

    def text(self, value):
        self.length(">h", len(value))
        self.bytes += value

    def tags(self):
        if self.flexible:
            self.bytes.append(0)


def refuse(api, version, correlation, body, error):
    """The answer of a broker that did not do what was asked; `body` is what comes behind the request's head."""
    flexible = version >= FLEXIBLE[api]
    answer = Writing(flexible)
    answer.number(">i", correlation)
    answer.tags()
    if api == END_TXN:
        answer.number(">i", 0)
        answer.number(">h", error)
    elif api == INIT_PRODUCER_ID:
        answer.number(">i", 0)
        answer.number(">h", error)
        answer.number(">q", -1)
        answer.number(">h", -1)
    elif api == ADD_PARTITIONS_TO_TXN:
        _refuse_partitions(answer, Reading(body, flexible), error)
    elif api == PRODUCE:
        _refuse_produce(answer, Reading(body, flexible), version, error)
    else:
        raise ValueError(f"no error can be made for API {api}")
    answer.tags()
    return struct.pack(">i", len(answer.bytes)) + bytes(answer.bytes)


def _refuse_partitions(answer, asked, error):
    asked.text()
    asked.number(">q")
    asked.number(">h")
    answer.number(">i", 0)
    topics = asked.length(">i")
    answer.length(">i", topics)
    for _ in range(topics):
        answer.text(asked.text())
        partitions = asked.length(">i")
        answer.length(">i", partitions)
        for _ in range(partitions):
            answer.number(">i", asked.number(">i"))
            answer.number(">h", error)
            answer.tags()
        asked.tags()
        answer.tags()


def _refuse_produce(answer, asked, version, error):
    asked.text()
    asked.number(">h")
    asked.number(">i")
    topics = asked.length(">i")
    answer.length(">i", topics)
    for _ in range(topics):
        answer.text(asked.text())
        partitions = asked.length(">i")
        answer.length(">i", partitions)
        for _ in range(partitions):
            answer.number(">i", asked.number(">i"))
            asked.skip_bytes()
            asked.tags()
            answer.number(">h", error)
            answer.number(">q", -1)
            answer.number(">q", -1)
            answer.number(">q", -1)
            if version >= 8:
                answer.length(">i", 0)
                answer.length(">h", -1)
            answer.tags()
        asked.tags()
        answer.tags()
    answer.number(">i", 0)


class Fault:
    """What happens to the next `times` requests of an API: `error` (a name of ERRORS), `lose` the answer and the connection,
    `close` before it is done, `silence` (done, never answered), `delay` in seconds."""

    def __init__(self, api, action, value=None, times=1, skip=0):
        self.api, self.action, self.value = APIS[api], action, value
        self.times, self.skip, self.hits = times, skip, 0

    def strike(self, api):
        if api != self.api or self.hits >= self.times:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True


class Proxy:
    """Listens on a port and leads to another, in a thread."""

    def __init__(self, target):
        self.target, self.port = target, child.free_port()
        self.faults, self.seen = [], {}
        self.bytes_per_second = None
        self._connections = set()
        self._refusing = False
        self._loop = asyncio.new_event_loop()
        self._open = None
        ready = threading.Event()
        threading.Thread(target=self._serve, args=(ready,), daemon=True).start()
        ready.wait(10)

    def inject(self, *arguments, **more):
        fault = Fault(*arguments, **more)
        self.faults.append(fault)
        return fault

    def clear(self):
        self.faults = []

    def _call(self, function):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (function(), done.set()))
        done.wait(10)

    def stall(self):
        """Connections stay open and nothing passes, in either direction."""
        self._call(self._open.clear)

    def flow(self):
        self._call(self._open.set)

    def cut(self, refuse=False):
        """Closes all connections; with `refuse` new ones too, until `mend`."""

        def close():
            self._refusing = refuse
            for writer in list(self._connections):
                writer.transport.abort()

        self._call(close)

    def mend(self):
        self._refusing = False

    def _serve(self, ready):
        asyncio.set_event_loop(self._loop)

        async def begin():
            self._open = asyncio.Event()
            self._open.set()
            await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 20)
            ready.set()

        self._loop.run_until_complete(begin())
        self._loop.run_forever()

    async def _accept(self, reader, writer):
        if self._refusing:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.target, limit=1 << 20)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, there_writer}
        self._connections |= both
        # What becomes of the answers, by the numbers of their requests.
        marked = {}
        asking = asyncio.ensure_future(self._requests(reader, there_writer, writer, marked))
        answering = asyncio.ensure_future(self._answers(there_reader, writer, marked))
        await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asking, answering):
            task.cancel()
        for each in both:
            self._connections.discard(each)
            each.transport.abort()

    async def _pass(self, writer, data):
        await self._open.wait()
        if self.bytes_per_second:
            for at in range(0, len(data), 4096):
                part = data[at : at + 4096]
                await asyncio.sleep(len(part) / self.bytes_per_second)
                writer.write(part)
                await writer.drain()
        else:
            writer.write(data)
            await writer.drain()

    async def _frame(self, reader):
        head = await reader.readexactly(4)
        return head + await reader.readexactly(struct.unpack(">i", head)[0])

    async def _requests(self, reader, there, here, marked):
        while True:
            frame = await self._frame(reader)
            api, version, correlation, name = struct.unpack_from(">hhih", frame, 4)
            self.seen[api] = self.seen.get(api, 0) + 1
            fault = next((fault for fault in self.faults if fault.strike(api)), None)
            if fault is None:
                pass
            elif fault.action == "close":
                return
            elif fault.action == "error":
                body = Reading(frame, version >= FLEXIBLE[api])
                body.at = 14 + max(name, 0)
                body.tags()
                await self._pass(here, refuse(api, version, correlation, frame[body.at :], ERRORS[fault.value]))
                continue
            else:
                marked[correlation] = fault
            await self._pass(there, frame)

    async def _answers(self, reader, here, marked):
        while True:
            frame = await self._frame(reader)
            fault = marked.pop(struct.unpack_from(">i", frame, 4)[0], None)
            if fault is not None:
                if fault.action == "lose":
                    return
                if fault.action == "silence":
                    continue
                await asyncio.sleep(fault.value)
            await self._pass(here, frame)


class Proxied:
    """A second listener of each broker, behind a proxy: `prepare` is for a `Cluster`."""

    def __init__(self):
        self.proxies = []

    def prepare(self, cluster):
        for broker in cluster.brokers:
            proxy = Proxy(child.free_port())
            broker.more["PROXIED"] = ("PLAINTEXT", proxy.target, proxy.port)
            self.proxies.append(proxy)

    @property
    def servers(self):
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self.proxies)

    def __getattr__(self, name):
        """The one proxy of a single broker."""
        return getattr(self.proxies[0], name)
