"""psycopg 3: the extended protocol, text and binary, prepared statements, pipelines, cursors of the server."""
import datetime
import decimal

import psycopg
from psycopg.rows import dict_row

ROW = (
    1, "ada", 2, decimal.Decimal("10.50"), 0.5, True, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 10, 0, 0, 500000),
    datetime.datetime(2026, 1, 1, 10, 0, 0, 500000, datetime.timezone.utc), ["new", "gift"], {"city": "Rome", "zip": 100},
)
COLUMNS = "id, customer, units, price, weight, paid, day, at, zoned, tags, ship"

with psycopg.connect("", autocommit=True) as connection:
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        assert cursor.execute(f"SELECT {COLUMNS} FROM orders WHERE id = %s", (1,)).fetchone() == ROW, binary
        assert cursor.execute("SELECT id FROM orders WHERE customer = %s AND units > %s", ("ada", 2)).fetchall() == [(3,)]
        assert cursor.execute("SELECT id FROM orders WHERE id = ANY(%s) ORDER BY id", ([1, 4],)).fetchall() == [(1,), (4,)]
        assert cursor.execute("SELECT id FROM orders WHERE price < %b AND day = %s ORDER BY id", (decimal.Decimal("50"), datetime.date(2026, 1, 1))).fetchall() == [(1,)]
        assert cursor.execute("SELECT id FROM orders WHERE zoned > %s ORDER BY id LIMIT %s", (datetime.datetime(2026, 1, 1, 10, 30, tzinfo=datetime.timezone.utc), 1)).fetchall() == [(2,)]
        assert cursor.execute("SELECT id FROM orders WHERE paid = %s AND weight > %s", (True, 0.1)).fetchall() == [(1,)]
        assert cursor.execute("SELECT %s::text, %s::int, %s::float8", ("x", 1, None)).fetchone() == ("x", 1, None)
    for _ in range(8):  # from the fifth time on it is prepared by name
        assert connection.execute("SELECT units FROM sales WHERE sku = %s", ("B",)).fetchone() == (4,)
    with connection.pipeline():
        cursors = [connection.execute("SELECT id FROM orders WHERE id = %s", (n,)) for n in (1, 2, 3)]
    assert [cursor.fetchone()[0] for cursor in cursors] == [1, 2, 3]
    try:
        connection.execute("SELECT * FROM nosuch")
        raise AssertionError("it should have failed")
    except psycopg.errors.UndefinedTable as error:
        assert error.diag.sqlstate == "42P01"
    with connection.transaction(), connection.cursor("server", row_factory=dict_row) as cursor:
        cursor.itersize = 2
        assert [row["id"] for row in cursor.execute("SELECT id FROM orders ORDER BY id")] == [1, 2, 3, 4]
    with connection.transaction():
        connection.execute("SELECT 1")
        try:
            with connection.transaction():
                connection.execute("SELECT nosuch FROM orders")
        except psycopg.errors.UndefinedColumn:
            pass
        assert connection.execute("SELECT 2").fetchone() == (2,)
    assert [column.name for column in connection.execute("SELECT count(*), max(id) AS top FROM orders").description] == ["count", "top"]
    connection.execute("CREATE MATERIALIZED VIEW psycopg3_view AS SELECT sku FROM sales")
    connection.execute("DROP MATERIALIZED VIEW psycopg3_view")
