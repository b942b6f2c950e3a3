//! Rows on standard output.
//!
//! Values are written alike in all formats: `2024-02-29 23:59:59.900` (three digits of a second, more only where they are not
//! zero), decimals with all their digits, `NaN` and `Infinity`, nested values as CAST to STRING writes them.

use crate::cli::Format;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::sql::sqlparser::ast::{Expr, OrderBy, OrderByKind};
use std::io::{BufWriter, Write};

/// Prints rows.
pub(crate) fn print(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    format: Format,
    null: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    match format {
        Format::Csv => csv(schema, batches, null, &mut out)?,
        Format::Table => table(schema, batches, null, &mut out)?,
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
            writer.write_batches(&batches.iter().collect::<Vec<_>>())?;
            writer.finish()?;
        }
    }
    out.flush()?;
    Ok(())
}

/// A view's rows in the order that its query asks for: a maintained view has none of its own. NULLs are smallest.
pub(crate) fn ordered(
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
    query: &str,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let Ok(parsed) = millstream_sql::parse_query(query) else {
        return Ok(batches);
    };
    let Some(OrderBy {
        kind: OrderByKind::Expressions(orders),
        ..
    }) = &parsed.ast.order_by
    else {
        return Ok(batches);
    };
    let all = concat_batches(schema, &batches)?;
    let column = |expr: &Expr| match expr {
        Expr::Identifier(name) => schema.index_of(&name.value).ok(),
        Expr::Value(value) => value
            .to_string()
            .parse::<usize>()
            .ok()
            .and_then(|place| place.checked_sub(1))
            .filter(|idx| *idx < all.num_columns()),
        _ => None,
    };
    let sort = |order: &datafusion::sql::sqlparser::ast::OrderByExpr| {
        let descending = order.options.asc == Some(false);
        let options = SortOptions {
            descending,
            nulls_first: order.options.nulls_first.unwrap_or(!descending),
        };
        Some(SortColumn {
            values: ArrayRef::clone(all.column(column(&order.expr)?)),
            options: Some(options),
        })
    };
    let Some(columns) = orders
        .iter()
        .map(sort)
        .collect::<Option<Vec<_>>>()
        .filter(|columns| !columns.is_empty())
    else {
        return Ok(batches);
    };
    Ok(vec![take_record_batch(
        &all,
        &lexsort_to_indices(&columns, None)?,
    )?])
}

fn csv(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    null: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let header: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| quoted(field.name()))
        .collect();
    writeln!(out, "{}", header.join(","))?;
    for batch in batches {
        let columns = texts(batch)?;
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns
                .iter()
                .map(|column| {
                    column[row]
                        .as_ref()
                        .map_or_else(|| null.to_owned(), |text| quoted(text))
                })
                .collect();
            writeln!(out, "{}", values.join(","))?;
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

fn table(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    null: &str,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut rows: Vec<Vec<String>> = vec![
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect(),
    ];
    for batch in batches {
        let columns = texts(batch)?;
        rows.extend((0..batch.num_rows()).map(|row| {
            columns
                .iter()
                .map(|column| column[row].clone().unwrap_or_else(|| null.to_owned()))
                .collect()
        }));
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..schema.fields().len()).map(width).collect();
    for (idx, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!(" {cell:<width$} "))
            .collect();
        writeln!(out, "{}", cells.join("|").trim_end())?;
        if idx == 0 {
            writeln!(
                out,
                "{}",
                widths
                    .iter()
                    .map(|width| "-".repeat(width + 2))
                    .collect::<Vec<_>>()
                    .join("+")
            )?;
        }
    }
    let count = rows.len() - 1;
    writeln!(out, "({count} {})", if count == 1 { "row" } else { "rows" })?;
    Ok(())
}

/// The values of each column as text; NULL is `None`.
fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    batch.columns().iter().map(column_texts).collect()
}

fn column_texts(column: &ArrayRef) -> Result<Vec<Option<String>>, ArrowError> {
    let column = match column.data_type() {
        kind if kind.is_nested() => &millstream_engine::text_of(column)?,
        _ => column,
    };
    let options = FormatOptions::default()
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.9f"))
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.9f"))
        .with_time_format(Some("%H:%M:%S%.f"));
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let text = |row: usize| {
        let text = formatter.value(row).to_string();
        match column.data_type() {
            DataType::Timestamp(_, _) => trimmed(text),
            DataType::Float32 | DataType::Float64 => match text.as_str() {
                "inf" => "Infinity".to_owned(),
                "-inf" => "-Infinity".to_owned(),
                _ => text,
            },
            _ => text,
        }
    };
    Ok((0..column.len())
        .map(|row| column.is_valid(row).then(|| text(row)))
        .collect())
}

/// Nine digits of a second without the zeros behind the third.
fn trimmed(text: String) -> String {
    match text.rfind('.') {
        Some(point) if text.len() - point == 10 => {
            let end = text.trim_end_matches('0').len().max(point + 4);
            text[..end].to_owned()
        }
        _ => text,
    }
}
