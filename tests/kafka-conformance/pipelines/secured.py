"""TLS and SASL against Apache Kafka: what the options make of each listener, and what is said when they are wrong."""

import time

from harness import child
from harness.compare import check
from harness.security import PASSWORD, USER

from cases import rows_become, soon, table

JAVA_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


def _options(secured, listener, **more):
    options = {
        "connector": "kafka", "format": "json", "scan.startup.mode": "earliest-offset",
        "properties.default.api.timeout.ms": "3000", "properties.bootstrap.servers": secured.servers(listener), "properties.security.protocol": listener,
    }
    if listener.startswith("SASL"):
        options |= {"properties.sasl.mechanism": "SCRAM-SHA-256", "properties.sasl.username": USER, "properties.sasl.password": PASSWORD}
    if listener.endswith("SSL"):
        options |= {"properties.ssl.ca.location": secured.ca}
    return {key: value for key, value in {**options, **more}.items() if value is not None}


def ways(secured):
    """Name -> options that must work."""
    jaas = f'{JAVA_SCRAM} required username="{USER}" password="{PASSWORD}";'
    none = {"properties.sasl.username": None, "properties.sasl.password": None}
    return {
        "tls": _options(secured, "SSL"),
        "sasl_ssl_plain": _options(secured, "SASL_SSL", **{"properties.sasl.mechanism": "PLAIN"}),
        "sasl_ssl_scram_256": _options(secured, "SASL_SSL"),
        "sasl_ssl_scram_512": _options(secured, "SASL_SSL", **{"properties.sasl.mechanism": "SCRAM-SHA-512"}),
        "sasl_ssl_jaas": _options(secured, "SASL_SSL", **{"properties.sasl.jaas.config": jaas, **none}),
        "sasl_plaintext_scram_256": _options(secured, "SASL_PLAINTEXT"),
    }


def wrong(secured):
    """Name -> (options that must not work, what must be said of them)."""
    bad_password = {"properties.sasl.password": "open barley"}
    return {
        "wrong_password_plain": (_options(secured, "SASL_SSL", **bad_password, **{"properties.sasl.mechanism": "PLAIN"}), "sasl"),
        "wrong_password_scram": (_options(secured, "SASL_SSL", **bad_password), "sasl"),
        "unknown_user": (_options(secured, "SASL_SSL", **{"properties.sasl.username": "nobody"}), "sasl"),
        "wrong_ca": (_options(secured, "SASL_SSL", **{"properties.ssl.ca.location": secured.wrong_ca}), "certificate"),
        "no_ca_file": (_options(secured, "SASL_SSL", **{"properties.ssl.ca.location": "/nowhere/ca.pem"}), "ssl.ca.location"),
        "plain_to_tls": (_options(secured, "SASL_SSL", **{"properties.security.protocol": "PLAINTEXT"}), "security.protocol"),
        "tls_to_plain": (_options(secured, "SASL_PLAINTEXT", **{"properties.security.protocol": "SASL_SSL", "properties.ssl.ca.location": secured.ca}), "ssl"),
        "mechanism_off": (_options(secured, "SASL_SSL", **{"properties.sasl.mechanism": "OAUTHBEARER"}), "sasl"),
    }


def in_and_out(where, name, options):
    """A pipeline that reads a topic, writes another and reads that, all over one secured listener."""
    where.topics.create(f"{name}_in", f"{name}_out", partitions=2)
    text = table("i", "id INT", **options, topic=f"{name}_in") + table("o", "id INT", **options, topic=f"{name}_out")
    text += "INSERT INTO o SELECT id * 10 FROM i;\nCREATE MATERIALIZED VIEW v AS SELECT id FROM o;\n"
    with where.engine(text).start() as engine:
        where.topics.write(f"{name}_in", ['{"id": 1}', '{"id": 2}'], partition=lambda idx: idx)
        rows_become(engine, "SELECT id FROM v", [(10,), (20,)], name)
        check(engine.stop() == 0, "the engine ends with 0")


def refused(where, name, options, word, sink):
    """The engine says what is wrong, where, within some seconds, and neither hangs nor works."""
    where.topics.create(f"{name}_t")
    good = {"connector": "datagen", "rows-per-second": "10", "fields.id.min": "0"}
    if sink:
        text = table("d", "id INT", **good) + table("t", "id INT", **options, topic=f"{name}_t") + "INSERT INTO t SELECT id FROM d;\n"
    else:
        text = table("t", "id INT", **options, topic=f"{name}_t") + "CREATE MATERIALIZED VIEW v AS SELECT id FROM t;\n"
    began = time.monotonic()
    engine = where.engine(text).start(wait=False)
    with engine:

        def told():
            said = [line for line in engine.said().lower().splitlines() if "librdkafka:" not in line]
            return any(word.lower() in line for line in said)

        child.wait_until(told, lambda: f"'{word}' is said of {name}; it said:\n{engine.said()[-3000:]}", 15)
        seconds = time.monotonic() - began
        if engine.alive:
            # It goes on trying: then it must end when it is told to.
            check(engine.stop(20) in (0, 1), "SIGTERM ends it")
        check("panicked" not in engine.said(), "no panic")
        last = [line for line in engine.said().splitlines() if word.lower() in line.lower() and "librdkafka:" not in line]
        return f"after {seconds:.1f} s, exit status {engine.process.returncode}: {last[-1].strip()}"
