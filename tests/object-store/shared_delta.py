"""A Delta table that a job appends to while other programs compact, sum up, vacuum and extend it.

Each process of the job is the test `some_checkpoints_more` of crates/connectors/tests/lake.rs: it goes on from the
checkpoint before, and is killed.
"""

import os
import pathlib
import shutil
import subprocess
import sys

import deltalake
import pyarrow as pa

LAKE = os.environ["MILLSTREAM_LAKE"]
OPTIONS = {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true"} if LAKE.startswith("s3://") else None
PATH = f"{LAKE}/shared"
work = pathlib.Path(sys.argv[1])
checkpoint = work / ("checkpoint-" + LAKE.replace("/", "_"))


def job(checkpoints, publish=True):
    """Gives what the process said."""
    settings = {
        "MILLSTREAM_CHECKPOINT": str(checkpoint),
        "MILLSTREAM_CHECKPOINTS": str(checkpoints),
        "MILLSTREAM_PUBLISH": "yes" if publish else "no",
    }
    test = ["--test", "lake", "--", "--ignored", "--exact", "some_checkpoints_more", "--nocapture"]
    run = subprocess.run(
        ["cargo", "test", "-q", "-p", "millstream-connectors", *test],
        env=os.environ | settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    assert run.returncode == 0 and "1 passed" in run.stdout, run.stdout
    return run.stdout


def table():
    return deltalake.DeltaTable(PATH, storage_options=OPTIONS)


def holds(ids, extra=()):
    found = sorted(table().to_pyarrow_table(columns=["id"])["id"].to_pylist())
    assert found == sorted([*range(ids), *extra]), (len(found), ids)


job(2)
holds(200)
# Other programs rewrite files, sum up the log, and end what is old.
table().optimize.compact()
job(1)
holds(300)
table().create_checkpoint()
table().vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
job(1)
holds(400)

# A checkpoint that was not published is, at the next start.
job(1, publish=False)
holds(400)
job(1)
holds(600)

# Others append.
like = table().to_pyarrow_table().slice(0, 2)
ids = pa.array([-1, -2], pa.int64())
theirs = like.set_column(0, like.schema.field("id"), ids)
deltalake.write_deltalake(table(), theirs, mode="append")
job(1)
holds(700, [-1, -2])

# Going back to a checkpoint takes out what came after it, and what others wrote stays.
kept = work / "kept"
shutil.copy(checkpoint, kept)
job(2)
holds(900, [-1, -2])
shutil.copy(kept, checkpoint)
job(1, publish=False)
holds(700, [-1, -2])
job(1)
holds(900, [-1, -2])

# It does not when other programs have rewritten what came after it.
shutil.copy(checkpoint, kept)
job(1)
table().optimize.compact()
shutil.copy(checkpoint, work / "newest")
shutil.copy(kept, checkpoint)
said = job(1)
assert "another program has rewritten files" in said, said
holds(1000, [-1, -2])
shutil.copy(work / "newest", checkpoint)

# The job sums up the log itself, so that it stays short to read.
job(120)
holds(13_000, [-1, -2])
version = table().version()
last = 100 * (version // 100)
if OPTIONS is None:
    assert (pathlib.Path(PATH) / "_delta_log" / f"{last:020}.checkpoint.parquet").exists()
    for record in (pathlib.Path(PATH) / "_delta_log").glob("*.json"):
        if int(record.stem) < last:
            record.unlink()
    holds(13_000, [-1, -2])
    job(1)
    holds(13_100, [-1, -2])
writers = table().transaction_version
assert table().metadata().name == "shared"

# A column that the job does not fill may be there; one that it does not know as such may not.
table().alter.add_columns([deltalake.Field("note", deltalake.schema.PrimitiveType("string"), nullable=True)])
rows = len(table().to_pyarrow_table(columns=["id"]))
job(1)
assert len(table().to_pyarrow_table(columns=["id", "note"])) == rows + 100
