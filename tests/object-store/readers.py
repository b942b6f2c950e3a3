"""Reads what crates/connectors/tests/lake.rs wrote, as other programs do, and compares it with what it must be.

The same function of a row's number is in lake.rs (`rows`).
"""

import datetime
import decimal
import json
import os
import sys

import boto3
import deltalake
import duckdb
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet

ROWS = 30_000
COUNTRIES = ["FR", "Côte d'Ivoire", "a/b=c%:d e", "x|z`<w>+&,@!$();", None, "100%"]
LAKE = os.environ["MILLSTREAM_LAKE"]
REMOTE = LAKE.startswith("s3://")
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]
UTC = datetime.timezone.utc


def row(id):
    units, tiny = id % 777, id % 100
    at = datetime.datetime(2026, 1, 5, 10, 0, 0, id % 1000 * 1000, UTC)
    return {
        "id": id,
        "country": COUNTRIES[id % 6],
        "day": datetime.date(2026, 1, id // (ROWS // 3) + 1),
        "at": at,
        "shop_time": at.replace(tzinfo=None) + datetime.timedelta(hours=1, microseconds=123),
        "price": decimal.Decimal(units) + decimal.Decimal("0.25"),
        "units": units,
        "tiny": tiny,
        "small": id % 30_000,
        "paid": id % 3 == 0,
        "ratio": 0.5,
        "weight": id + 0.125,
        "tags": [f"t{tiny}", None],
        "counts": [(f"k{tiny}", units)],
        "item": {"sku": f"sku-{units}", "sizes": [tiny, units]},
        "nothing": None,
    }


def same(table):
    table = table.sort_by("id")
    assert table.num_rows == ROWS, table.num_rows
    for id, found in enumerate(table.to_pylist()):
        assert found == row(id), f"{found} is not {row(id)}"


def file_system():
    if not REMOTE:
        return pa.fs.SubTreeFileSystem(LAKE, pa.fs.LocalFileSystem())
    endpoint = ENDPOINT.removeprefix("http://")
    store = pa.fs.S3FileSystem(endpoint_override=endpoint, scheme="http", region="eu-central-1")
    return pa.fs.SubTreeFileSystem("lake", store)


def delta():
    options = {"AWS_ENDPOINT_URL": ENDPOINT, "AWS_ALLOW_HTTP": "true"} if REMOTE else None
    table = deltalake.DeltaTable(f"{LAKE}/delta", storage_options=options)
    same(table.to_pyarrow_table())
    fields = {field.name: field.type for field in table.schema().fields}
    assert str(fields["price"]) == 'PrimitiveType("decimal(10,2)")', fields["price"]
    assert str(fields["shop_time"]) == 'PrimitiveType("timestamp_ntz")', fields["shop_time"]
    assert table.metadata().partition_columns == ["country", "day"]
    one_day = table.to_pyarrow_table(partitions=[("day", "=", "2026-01-02"), ("country", "=", "a/b=c%:d e")])
    assert one_day.num_rows == sum(row(id)["day"].day == 2 for id in range(2, ROWS, 6)), one_day.num_rows


def committed(files, table):
    """The files that a table's manifest names, and what it says of them."""
    files_of, folder = {}, f"{table}/_millstream/commits"
    for entry in sorted(files.get_file_info(pa.fs.FileSelector(folder)), key=lambda entry: entry.path):
        with files.open_input_stream(entry.path) as stream:
            commit = json.load(stream)
        files_of |= {f"{table}/{file['path']}": file for file in commit["added"]}
        for name in commit["removed"]:
            del files_of[f"{table}/{name}"]
    return files_of


def manifest():
    files = file_system()
    for table in ["parquet", "parquet_zstd"]:
        parts = []
        for name, file in committed(files, table).items():
            part = pa.parquet.ParquetFile(name, filesystem=files).read()
            assert part.num_rows == file["rows"], name
            for column, value in file["partition"].items():
                values = pa.array([value] * part.num_rows, pa.string())
                parsed = values.cast(pa.date32()) if column == "day" else values
                part = part.append_column(column, parsed)
            parts.append(part)
        same(pa.concat_tables(parts).select(list(row(0))))
    if not REMOTE:
        in_duckdb()


def in_duckdb():
    table = f"{LAKE}/parquet"
    # As in docs/connectors.md.
    duckdb.sql(f"""
        SET VARIABLE files = (
          WITH log AS (
            FROM read_json('{table}/_millstream/commits/*.commit',
                           columns = {{added: 'STRUCT(path VARCHAR)[]', removed: 'VARCHAR[]'}}))
          SELECT list('{table}/' || path)
          FROM (SELECT unnest(added).path AS path FROM log EXCEPT SELECT unnest(removed) FROM log))
    """)
    found = duckdb.sql("""
        SELECT count(*), count(DISTINCT id), sum(id), count(DISTINCT country), sum(price)
        FROM read_parquet(getvariable('files'), hive_partitioning = true)
    """).fetchall()
    price = sum(row(id)["price"] for id in range(ROWS))
    assert found == [(ROWS, ROWS, ROWS * (ROWS - 1) // 2, 6, price)], found


def listing():
    """Whoever lists the folder, and skips hidden names, sees the same."""
    files = file_system()
    for table in ["json", "json_gz", "csv_zst", "parquet"]:
        found = files.get_file_info(pa.fs.FileSelector(table, recursive=True))
        names = {entry.path for entry in found if entry.type == pa.fs.FileType.File}
        names = {name for name in names if not any(part.startswith(("_", ".")) for part in name.split("/"))}
        assert names == set(committed(files, table)), names ^ set(committed(files, table))


def leftovers():
    store = boto3.client("s3")
    uploads = store.list_multipart_uploads(Bucket="lake").get("Uploads", [])
    notes = [
        entry["Key"]
        for page in store.get_paginator("list_objects_v2").paginate(Bucket="lake")
        for entry in page.get("Contents", [])
        if "_millstream/staged" in entry["Key"]
    ]
    assert not uploads and not notes, (uploads, notes)


{"delta": delta, "manifest": manifest, "listing": listing, "leftovers": leftovers}[sys.argv[1]]()
