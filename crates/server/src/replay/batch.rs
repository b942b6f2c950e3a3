//! The other side of the comparison: the file's lines as one table, each view's question asked of DataFusion once.

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::context::SessionContext;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::lines::Line;

/// Each view, and what a batch says it should be.
pub(super) const QUERIES: [(&str, &str); 5] = [
    (
        "revenue_per_country",
        "SELECT country, SUM(CAST(quantity AS DECIMAL(10, 0)) * price), COUNT(DISTINCT customer) FROM lines GROUP BY country",
    ),
    (
        "units_per_sku",
        "SELECT sku, SUM(quantity), COUNT(1) FROM lines GROUP BY sku",
    ),
    (
        "cancellation_rate_per_day",
        "WITH invoices AS (SELECT DISTINCT date_trunc('day', at) AS day, invoice FROM lines), \
         days AS (SELECT day, COUNT(*) AS total, SUM(CASE WHEN starts_with(invoice, 'C') THEN 1 ELSE 0 END) AS bad FROM invoices GROUP BY day) \
         SELECT CAST(day AS DATE), total, bad, CAST(bad AS DOUBLE) / total FROM days",
    ),
    (
        "top_sellers_per_month",
        "WITH sold AS (SELECT substr(CAST(date_trunc('month', at) AS VARCHAR), 1, 7) AS month, sku, SUM(quantity) AS units, \
           SUM(CAST(quantity AS DECIMAL(10, 0)) * price) AS revenue FROM lines WHERE NOT starts_with(invoice, 'C') GROUP BY 1, 2), \
         ranked AS (SELECT *, row_number() OVER (PARTITION BY month ORDER BY revenue DESC, sku) AS place FROM sold) \
         SELECT month, place, sku, units, revenue FROM ranked WHERE place <= 5",
    ),
    (
        "customer_ranking",
        "WITH customers AS (SELECT customer, COUNT(DISTINCT invoice) AS invoices, SUM(CAST(quantity AS DECIMAL(10, 0)) * price) AS revenue \
           FROM lines WHERE customer IS NOT NULL GROUP BY customer) \
         SELECT row_number() OVER (ORDER BY revenue DESC, customer), customer, invoices, revenue FROM customers ORDER BY revenue DESC, customer LIMIT 100",
    ),
];

/// How the head of a view is ordered for people.
pub(super) fn order(view: &str) -> &'static str {
    match view {
        "revenue_per_country" => "revenue DESC",
        "units_per_sku" => "units DESC",
        "cancellation_rate_per_day" => "sales_day",
        "top_sellers_per_month" => "sales_month, place",
        _ => "place",
    }
}

/// The lines as a table.
pub(super) struct Batch {
    context: SessionContext,
}

impl Batch {
    pub(super) fn new(lines: &[Line]) -> Result<Self, String> {
        let texts = |of: fn(&Line) -> &str| {
            Arc::new(
                lines
                    .iter()
                    .map(|line| Some(of(line)))
                    .collect::<StringArray>(),
            ) as ArrayRef
        };
        let wrong = |error: arrow::error::ArrowError| error.to_string();
        let at = cast(
            &texts(|line| &line.at),
            &DataType::Timestamp(TimeUnit::Millisecond, None),
        )
        .map_err(wrong)?;
        let thousandths = lines
            .iter()
            .map(|line| thousandths(&line.unit_price))
            .collect::<Option<Vec<i128>>>()
            .ok_or("a price has more than three decimals")?;
        let price = Decimal128Array::from(thousandths)
            .with_precision_and_scale(12, 3)
            .map_err(wrong)?;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("invoice", texts(|line| &line.invoice)),
            ("sku", texts(|line| &line.sku)),
            (
                "quantity",
                Arc::new(
                    lines
                        .iter()
                        .map(|line| Some(line.quantity))
                        .collect::<Int32Array>(),
                ),
            ),
            ("at", at),
            ("price", Arc::new(price)),
            (
                "customer",
                Arc::new(
                    lines
                        .iter()
                        .map(|line| line.customer)
                        .collect::<Int64Array>(),
                ),
            ),
            ("country", texts(|line| &line.country)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, array)| (name, array, true)),
        )
        .map_err(wrong)?;
        let context = SessionContext::new();
        context
            .register_batch("lines", batch)
            .map_err(|error| error.to_string())?;
        Ok(Self { context })
    }

    pub(super) async fn run(&self, query: &str) -> Result<Vec<RecordBatch>, String> {
        let answer = self
            .context
            .sql(query)
            .await
            .map_err(|error| error.to_string())?;
        answer.collect().await.map_err(|error| error.to_string())
    }
}

/// A decimal text times 1,000.
fn thousandths(text: &str) -> Option<i128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 {
        return None;
    }
    format!("{whole}{fraction:0<3}").parse().ok()
}

/// Compares rows as multisets, by their values: neither order nor the scale of a decimal counts.
pub(super) fn differences(
    view: &[RecordBatch],
    batch: &[RecordBatch],
) -> Result<Vec<String>, String> {
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    for (batches, weight) in [(view, 1), (batch, -1)] {
        for row in rows(batches)? {
            *counts.entry(row).or_default() += weight;
        }
    }
    let line = |(row, count): (String, i64)| {
        (count != 0).then(|| format!("{}{row}", if count > 0 { "+ " } else { "- " }))
    };
    Ok(counts.into_iter().filter_map(line).collect())
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<String>, String> {
    let options = FormatOptions::default();
    let mut rows = Vec::new();
    for batch in batches {
        let formatters = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let formatters = formatters
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())?;
        for row in 0..batch.num_rows() {
            let values = formatters
                .iter()
                .zip(batch.columns())
                .map(|(formatter, column)| {
                    plain(formatter.value(row).to_string(), column.data_type())
                });
            rows.push(values.collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(rows)
}

/// A decimal without the zeros behind its last digit.
fn plain(text: String, data_type: &DataType) -> String {
    match data_type {
        DataType::Decimal128(_, _) | DataType::Decimal256(_, _) if text.contains('.') => {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_as_multisets() {
        let batch = |values: Vec<i64>| {
            vec![
                RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(values)) as ArrayRef)])
                    .unwrap(),
            ]
        };
        assert_eq!(
            differences(&batch(vec![1, 2, 2]), &batch(vec![2, 1, 2])).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(
            differences(&batch(vec![1, 2]), &batch(vec![2, 2])).unwrap(),
            ["+ 1", "- 2"]
        );
    }

    #[test]
    fn prices() {
        assert_eq!(
            ["2.55", "-11062.06", "0.001", "7", "0.0001"].map(thousandths),
            [Some(2550), Some(-11_062_060), Some(1), Some(7000), None]
        );
    }
}
