"""Kills a job that writes tables of files, again and again, and looks whether each row is there once.

    kills.py BINARY FOLDER [KILLS [SEED]]

Tables and state are at `MILLSTREAM_LAKE`: a folder or a URL.
"""

import collections
import gzip
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import deltalake
import pyarrow.fs

ROWS = 1_500_000
LAKE = os.environ["MILLSTREAM_LAKE"]
REMOTE = LAKE.startswith("s3://")
OPTIONS = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true"} if REMOTE else None
binary, work = sys.argv[1], pathlib.Path(sys.argv[2])
kills = int(sys.argv[3]) if len(sys.argv) > 3 else 12
chance = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)

sql = work / "kills.sql"
sql.write_text(f"""
SET 'execution.checkpointing.interval' = '300 ms';
CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '100000',
  'fields.n.kind' = 'sequence', 'fields.n.start' = '0', 'fields.n.end' = '{ROWS - 1}');
CREATE TABLE in_delta (id BIGINT, part BIGINT) PARTITIONED BY (part) WITH ('connector' = 'filesystem',
  'path' = '{LAKE}/in_delta', 'format' = 'parquet', 'sink.commit-format' = 'delta');
CREATE TABLE in_json (id BIGINT, part BIGINT) WITH ('connector' = 'filesystem',
  'path' = '{LAKE}/in_json', 'format' = 'json', 'compression' = 'gzip');
INSERT INTO in_delta SELECT n, MOD(n, 3) FROM numbers;
INSERT INTO in_json SELECT n, MOD(n, 3) FROM numbers;
""")


def start():
    log = open(work / "engine.log", "a")
    ports = ["--pg", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return subprocess.Popen([binary, "run", str(sql), "--state", f"{LAKE}/state", "--set", "execution.checkpointing.interval=300 ms", *ports], stdout=log, stderr=log)


def in_delta():
    if not deltalake.DeltaTable.is_deltatable(f"{LAKE}/in_delta", storage_options=OPTIONS):
        return []
    table = deltalake.DeltaTable(f"{LAKE}/in_delta", storage_options=OPTIONS)
    return table.to_pyarrow_table(columns=["id"])["id"].to_pylist()


def files():
    if not REMOTE:
        return pyarrow.fs.SubTreeFileSystem(LAKE, pyarrow.fs.LocalFileSystem())
    endpoint = OPTIONS["AWS_ENDPOINT_URL"].removeprefix("http://")
    store = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="eu-central-1")
    return pyarrow.fs.SubTreeFileSystem(LAKE.removeprefix("s3://"), store)


def rows_in_delta():
    if not deltalake.DeltaTable.is_deltatable(f"{LAKE}/in_delta", storage_options=OPTIONS):
        return 0
    files = deltalake.DeltaTable(f"{LAKE}/in_delta", storage_options=OPTIONS).get_add_actions(flatten=True)
    return sum(pyarrow.table(files)["num_records"].to_pylist())


def committed():
    """The files that the manifest names, and what it says of them."""
    store, named = files(), {}
    folder = pyarrow.fs.FileSelector("in_json/_millstream/commits", allow_not_found=True)
    for entry in sorted(store.get_file_info(folder), key=lambda entry: entry.path):
        commit = json.loads(store.open_input_stream(entry.path).read())
        named |= {"in_json/" + file["path"]: file for file in commit["added"]}
        for path in commit["removed"]:
            del named["in_json/" + path]
    return named


def listed():
    """The files that a listing of the folder finds."""
    folder = pyarrow.fs.FileSelector("in_json", allow_not_found=True)
    return [entry.path for entry in files().get_file_info(folder) if entry.is_file]


def in_json(names):
    store, ids = files(), []
    for name in names:
        lines = gzip.decompress(store.open_input_stream(name, compression=None).read()).splitlines()
        ids += [json.loads(line)["id"] for line in lines]
    return ids


def missing(ids):
    """The first ranges of ids that are not there."""
    gaps, next = [], 0
    for id in [*sorted(set(ids)), ROWS]:
        if id > next:
            gaps.append((next, id - 1))
        next = id + 1
    return gaps[:10]


def doubled(ids):
    return [id for id, times in collections.Counter(ids).items() if times > 1][:10]


for kill in range(kills):
    engine = start()
    time.sleep(chance.uniform(0.6, 2.2))
    assert engine.poll() is None, "the engine has ended by itself"
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    # What is committed while the job is down holds nothing twice.
    assert not doubled(in_delta()) and not doubled(in_json(committed())), f"after kill {kill}"
print(f"{len(in_delta())} of {ROWS} rows after {kills} kills")
assert 0 < len(in_delta()) < ROWS, "the kills came too early or too late to tell anything"

engine = start()
# Until all rows are there, or no more come.
seen, still = -1, 0
while seen < ROWS and still < 120:
    assert engine.poll() is None, "the engine has ended by itself"
    time.sleep(0.5)
    rows = min(rows_in_delta(), sum(file["rows"] for file in committed().values()))
    seen, still = rows, still + 1 if rows == seen else 0
print(f"{seen} rows at the end")
engine.terminate()
assert engine.wait(timeout=30) == 0
everything = list(range(ROWS))
for name, ids in [("delta", in_delta()), ("json", in_json(committed())), ("json's folder", in_json(listed()))]:
    assert sorted(ids) == everything, f"{name}: {len(ids)} rows, missing {missing(ids)}, doubled {doubled(ids)}"
