"""psycopg2: the simple protocol, client-side parameters, named cursors, types."""
import datetime
import decimal

import psycopg2
import psycopg2.errors
import psycopg2.extras

connection = psycopg2.connect("")
cursor = connection.cursor()
cursor.execute("SELECT id, customer, units, price, weight, paid, day, at, zoned, tags, ship FROM orders ORDER BY id")
rows = cursor.fetchall()
assert rows[0] == (
    1, "ada", 2, decimal.Decimal("10.50"), 0.5, True, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, 10, 0, 0, 500000),
    datetime.datetime(2026, 1, 1, 10, 0, 0, 500000, datetime.timezone.utc), ["new", "gift"], {"city": "Rome", "zip": 100},
), rows[0]
assert rows[2][4:6] == (None, None) and rows[2][9] is None, rows[2]
cursor.execute("SELECT id FROM orders WHERE customer = %s AND price > %s AND day >= %s AND id IN %s ORDER BY id", ("ada", decimal.Decimal("1.5"), datetime.date(2026, 1, 1), (1, 2, 3)))
assert cursor.fetchall() == [(1,), (3,)]
cursor.execute("SELECT id FROM orders WHERE id = ANY(%s) ORDER BY id", ([1, 4],))
assert cursor.fetchall() == [(1,), (4,)]
connection.commit()
named = connection.cursor("named")
named.itersize = 2
named.execute("SELECT id FROM orders ORDER BY id")
assert [row[0] for row in named] == [1, 2, 3, 4]
named.close()
connection.rollback()
try:
    cursor.execute("SELECT * FROM nosuch")
    raise AssertionError("it should have failed")
except psycopg2.errors.UndefinedTable as error:
    assert "nosuch" in str(error)
try:
    cursor.execute("SELECT 1")
    raise AssertionError("the transaction should have failed")
except psycopg2.errors.InFailedSqlTransaction:
    connection.rollback()
dicts = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
dicts.execute("SELECT count(*) FROM sales")
assert dicts.fetchone() == {"count": 3}
connection.commit()
connection.autocommit = True
cursor.execute("CREATE MATERIALIZED VIEW psycopg2_view AS SELECT sku, units FROM sales")
cursor.execute("SELECT count(*) FROM psycopg2_view")
assert cursor.fetchone() == (3,)
cursor.execute("DROP MATERIALIZED VIEW psycopg2_view")
cursor.execute("SET TIME ZONE 'Europe/Rome'; SELECT zoned FROM orders WHERE id = 1")
assert cursor.fetchone()[0].utcoffset() == datetime.timedelta(hours=1)
connection.close()
