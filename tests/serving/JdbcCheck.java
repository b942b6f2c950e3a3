import java.math.BigDecimal;
import java.sql.*;
import java.util.*;

/** The JDBC driver: statements and prepared statements in text and binary, fetch sizes, metadata, errors, time-outs. */
public class JdbcCheck {
    static void same(Object found, Object wanted) {
        if (!Objects.equals(found, wanted)) throw new AssertionError("expected " + wanted + ", got " + found);
    }

    public static void main(String[] args) throws Exception {
        String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/millstream?user=shop";
        for (String mode : List.of("", "&preferQueryMode=simple", "&prepareThreshold=-1", "&prepareThreshold=1")) {
            try (Connection connection = DriverManager.getConnection(url + mode)) {
                values(connection);
                parameters(connection);
                errors(connection);
                if (mode.isEmpty()) {
                    fetchSize(connection);
                    metadata(connection);
                    ddl(connection);
                }
            } catch (Throwable error) {
                throw new AssertionError("with '" + mode + "'", error);
            }
        }
    }

    static void values(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery("SELECT * FROM orders ORDER BY id")) {
            rows.next();
            same(rows.getInt("id"), 1);
            same(rows.getString("customer"), "ada");
            same(rows.getLong("units"), 2L);
            same(rows.getBigDecimal("price"), new BigDecimal("10.50"));
            same(rows.getDouble("weight"), 0.5);
            same(rows.getBoolean("paid"), true);
            same(rows.getDate("day").toString(), "2026-01-01");
            same(rows.getObject("at", java.time.LocalDateTime.class), java.time.LocalDateTime.parse("2026-01-01T10:00:00.500"));
            same(rows.getObject("zoned", java.time.OffsetDateTime.class).toInstant(), java.time.Instant.parse("2026-01-01T10:00:00.500Z"));
            same(Arrays.asList((Object[]) rows.getArray("tags").getArray()), List.of("new", "gift"));
            same(rows.getString("ship"), "{\"city\":\"Rome\",\"zip\":100}");
            same(rows.getMetaData().getScale(5), 2);
            rows.next();
            rows.next();
            rows.getDouble("weight");
            same(rows.wasNull(), true);
        }
    }

    static void parameters(Connection connection) throws SQLException {
        String text = "SELECT id FROM orders WHERE customer = ? AND units >= ? AND price < ? AND zoned >= ? AND day < ? ORDER BY id LIMIT ?";
        try (PreparedStatement statement = connection.prepareStatement(text)) {
            for (int turn = 0; turn < 7; turn++) {
                statement.setString(1, "ada");
                statement.setInt(2, 2);
                statement.setBigDecimal(3, new BigDecimal("1000.5"));
                statement.setObject(4, java.time.OffsetDateTime.parse("2026-01-01T00:00:00Z"));
                statement.setObject(5, java.time.LocalDate.parse("2027-01-01"));
                statement.setLong(6, 10);
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    same(rows.getInt(1), 1);
                    rows.next();
                    same(rows.getInt(1), 3);
                    same(rows.next(), false);
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement("SELECT count(*) FROM orders WHERE id = ANY(?) AND paid = ? AND weight > ?")) {
            statement.setArray(1, connection.createArrayOf("int4", new Integer[] {1, 2}));
            statement.setBoolean(2, true);
            statement.setDouble(3, 0.1);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                same(rows.getLong("count"), 1L);
            }
        }
    }

    static void errors(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            try {
                statement.executeQuery("SELECT * FROM nosuch");
                throw new AssertionError("it should have failed");
            } catch (SQLException error) {
                same(error.getSQLState(), "42P01");
            }
            statement.setQueryTimeout(1);
            try {
                statement.executeQuery("SELECT count(*) FROM generate_series(1, 100000000) a, generate_series(1, 100000000) b");
                throw new AssertionError("it should have been cancelled");
            } catch (SQLException error) {
                same(error.getSQLState(), "57014");
            }
        }
    }

    static void fetchSize(Connection connection) throws SQLException {
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(1000);
            try (ResultSet rows = statement.executeQuery("SELECT * FROM generate_series(1, 25000)")) {
                long sum = 0;
                while (rows.next()) sum += rows.getLong(1);
                same(sum, 312512500L);
            }
        }
        connection.commit();
        connection.setAutoCommit(true);
    }

    static void metadata(Connection connection) throws SQLException {
        DatabaseMetaData metadata = connection.getMetaData();
        same(metadata.getDatabaseProductName(), "PostgreSQL");
        Set<String> names = new TreeSet<>();
        try (ResultSet tables = metadata.getTables(null, "public", "%", null)) {
            while (tables.next()) names.add(tables.getString("TABLE_NAME"));
        }
        if (!names.containsAll(List.of("orders", "sales"))) throw new AssertionError("tables: " + names);
        Map<String, String> columns = new LinkedHashMap<>();
        try (ResultSet found = metadata.getColumns(null, "public", "sales", "%")) {
            while (found.next()) columns.put(found.getString("COLUMN_NAME"), found.getString("TYPE_NAME"));
        }
        same(columns.toString(), "{sku=text, orders=int8, units=int8, revenue=numeric}");
        try (ResultSet schemas = metadata.getSchemas()) {
            boolean found = false;
            while (schemas.next()) found |= schemas.getString(1).equals("public");
            same(found, true);
        }
    }

    static void ddl(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute("CREATE MATERIALIZED VIEW jdbc_view AS SELECT sku, units FROM sales");
            try (ResultSet rows = statement.executeQuery("SHOW MATERIALIZED VIEWS")) {
                rows.next();
                same(rows.getString(1), "jdbc_view");
            }
            statement.execute("DROP MATERIALIZED VIEW jdbc_view");
        }
    }
}
