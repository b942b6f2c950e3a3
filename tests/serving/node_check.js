// node-postgres: simple and extended protocol, named statements, cursors, errors, pools.
const assert = require("node:assert");
const { Client, Pool } = require("pg");
const Cursor = require("pg-cursor");

(async () => {
  const client = new Client();
  await client.connect();
  const { rows, fields } = await client.query("SELECT id, customer, units, price, weight, paid, tags, ship, zoned FROM orders ORDER BY id");
  assert.deepStrictEqual(rows[0], {
    id: 1, customer: "ada", units: "2", price: "10.50", weight: 0.5, paid: true, tags: ["new", "gift"], ship: { city: "Rome", zip: 100 },
    zoned: new Date("2026-01-01T10:00:00.500Z"),
  });
  assert.strictEqual(fields.length, 9);
  const found = await client.query("SELECT id FROM orders WHERE customer = $1 AND units > $2 AND id = ANY($3) ORDER BY id", ["ada", 1, [1, 3]]);
  assert.deepStrictEqual(found.rows, [{ id: 1 }, { id: 3 }]);
  for (const sku of ["A", "B", "C"]) {
    const one = await client.query({ name: "by-sku", text: "SELECT units FROM sales WHERE sku = $1", values: [sku] });
    assert.strictEqual(one.rowCount, 1);
  }
  await assert.rejects(client.query("SELECT nosuch FROM orders"), (error) => error.code === "42703" && Number(error.position) === 8);
  await assert.rejects(client.query("SELECT $1::int", ["x"]), (error) => error.code === "22P02");
  await client.query("BEGIN");
  const cursor = client.query(new Cursor("SELECT id FROM orders ORDER BY id"));
  assert.deepStrictEqual((await cursor.read(3)).map((row) => row.id), [1, 2, 3]);
  assert.deepStrictEqual((await cursor.read(3)).map((row) => row.id), [4]);
  await cursor.close();
  await client.query("COMMIT");
  const several = await client.query("SELECT 1 AS a; SELECT 2 AS b");
  assert.deepStrictEqual(several.map((result) => result.rows[0]), [{ a: "1" }, { b: "2" }]);
  await client.end();
  const pool = new Pool({ max: 5 });
  const counts = await Promise.all(Array.from({ length: 20 }, () => pool.query("SELECT count(*) FROM orders")));
  counts.forEach((count) => assert.strictEqual(count.rows[0].count, "4"));
  await pool.end();
})().catch((error) => { console.error(error); process.exit(1); });
