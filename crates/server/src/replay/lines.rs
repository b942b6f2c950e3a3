//! The lines of the "Online Retail" data set.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

/// The topics that lines go to.
pub(super) const TOPICS: [&str; 2] = ["order_lines", "cancelled_lines"];
const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub invoice: String,
    pub sku: String,
    pub description: String,
    pub quantity: i32,
    pub at: String,
    pub unit_price: String,
    pub customer: Option<i64>,
    pub country: String,
}

impl Line {
    pub(super) fn is_cancelled(&self) -> bool {
        self.invoice.starts_with('C')
    }

    pub(super) fn topic(&self) -> &'static str {
        TOPICS[usize::from(self.is_cancelled())]
    }

    /// The lines of an invoice stay together.
    pub(super) fn key(&self) -> &str {
        &self.invoice
    }

    pub(super) fn json(&self) -> String {
        let price = serde_json::from_str::<serde_json::Value>(&self.unit_price).unwrap_or_default();
        let event = json!({
            "invoice": self.invoice, "sku": self.sku, "description": self.description, "quantity": self.quantity, "unit_price": price,
            "customer_id": self.customer, "country": self.country, "ts": self.at,
        });
        event.to_string()
    }
}

/// The text of a file, unzipped where it is zipped.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("can't read {}: {error}", path.display());
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let mut text = String::new();
    match path.extension().is_some_and(|extension| extension == "gz") {
        true => flate2::bufread::MultiGzDecoder::new(file).read_to_string(&mut text),
        false => file.read_to_string(&mut text),
    }
    .map_err(failed)?;
    Ok(text)
}

/// The lines of a text with a header.
pub(super) fn parse(text: &str) -> Result<Vec<Line>, String> {
    let header = text
        .lines()
        .next()
        .unwrap_or_default()
        .trim_start_matches('\u{feff}');
    if header != COLUMNS.join(",") {
        return Err(format!(
            "the file's first line must be {}, but is {header}",
            COLUMNS.join(",")
        ));
    }
    let schema = Arc::new(Schema::new(
        COLUMNS
            .map(|name| Field::new(name, DataType::Utf8, true))
            .to_vec(),
    ));
    let reader = ReaderBuilder::new(Arc::clone(&schema))
        .with_header(true)
        .build(Cursor::new(text))
        .map_err(|error| error.to_string())?;
    let batches = reader
        .collect::<Result<Vec<RecordBatch>, _>>()
        .map_err(|error| error.to_string())?;
    let all = concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
    let columns: Vec<_> = all
        .columns()
        .iter()
        .map(|column| column.as_string::<i32>())
        .collect();
    let line = |row: usize| -> Result<Line, String> {
        let value = |column: usize| {
            if columns[column].is_null(row) {
                ""
            } else {
                columns[column].value(row)
            }
        };
        let wrong = |column: usize| {
            format!(
                "line {}: {} is \"{}\"",
                row + 2,
                COLUMNS[column],
                value(column)
            )
        };
        let customer = match value(6) {
            "" => None,
            // The data set has them as 17850.0.
            number => Some(
                number
                    .trim_end_matches(".0")
                    .parse()
                    .map_err(|_| wrong(6))?,
            ),
        };
        Ok(Line {
            invoice: value(0).to_owned(),
            sku: value(1).to_owned(),
            description: value(2).to_owned(),
            quantity: value(3).parse().map_err(|_| wrong(3))?,
            at: value(4).to_owned(),
            unit_price: value(5)
                .parse::<f64>()
                .map(|_| value(5).to_owned())
                .map_err(|_| wrong(5))?,
            customer,
            country: value(7).to_owned(),
        })
    };
    (0..all.num_rows()).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_an_event() {
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                    C1,85123A,\"A \"\"B\"\", C\",-6,2010-12-01 08:26:00,2.55,17850.0,EIRE\n\
                    2,X,,1,2010-12-01 08:26:00,0.001,,France\n";
        let lines = parse(text).unwrap();
        assert_eq!(
            (lines[0].topic(), lines[1].topic(), lines[1].customer),
            ("cancelled_lines", "order_lines", None)
        );
        assert_eq!(
            lines[0].json(),
            r#"{"invoice":"C1","sku":"85123A","description":"A \"B\", C","quantity":-6,"unit_price":2.55,"customer_id":17850,"country":"EIRE","ts":"2010-12-01 08:26:00"}"#
        );
        assert!(parse("a,b\n").unwrap_err().contains("first line"));
        assert!(
            parse(&text.replace("-6", "six"))
                .unwrap_err()
                .contains("line 2: Quantity is \"six\"")
        );
    }
}
