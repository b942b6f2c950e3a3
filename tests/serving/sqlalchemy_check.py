"""SQLAlchemy and pandas: reflection, expressions, frames."""
import pandas
import sqlalchemy

for url in ("postgresql+psycopg2://", "postgresql+psycopg://"):
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT sku, units FROM sales WHERE units > :n ORDER BY sku"), {"n": 1}).all()
        assert rows == [("A", 2), ("B", 4), ("C", 5)], rows
    inspector = sqlalchemy.inspect(engine)
    assert inspector.default_schema_name == "public"
    names = set(inspector.get_view_names()) | set(inspector.get_table_names())
    assert {"orders", "sales"} <= names, names
    frame = pandas.read_sql("SELECT * FROM sales ORDER BY sku", engine)
    assert list(frame["units"]) == [2, 4, 5], frame
    sales = sqlalchemy.table("sales", sqlalchemy.column("sku"), sqlalchemy.column("units"))
    with engine.connect() as connection:
        query = sqlalchemy.select(sqlalchemy.func.sum(sales.c.units)).where(sales.c.sku.in_(["A", "B"]))
        assert connection.execute(query).scalar_one() == 6
