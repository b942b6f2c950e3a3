//! `millstream verify`: the views of files computed again as a batch, and compared with those that are maintained.

use arrow::array::{BinaryViewArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};
use millstream_engine::render;
use millstream_engine::verify::{Facts, Pipeline, SNAPSHOT, Verdict, Verified};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

use crate::check::read_all;
use crate::cli::Verify;

/// Address space, not memory: plans are walked by recursion.
const STACK_BYTES: usize = 64 << 20;
/// How long a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// Every view is what the batch computes.
const EQUAL: u8 = 0;
/// Some view is not.
const DIFFERENT: u8 = 1;
/// Some view could not be verified, or none could.
const UNVERIFIED: u8 = 2;

/// Verifies views. Gives the exit status.
pub(crate) fn verify(verify: &Verify) -> ExitCode {
    match verified(verify) {
        Ok(status) => ExitCode::from(status),
        Err(text) => {
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let _ = writeln!(std::io::stderr(), "error: {text}");
            ExitCode::from(UNVERIFIED)
        }
    }
}

fn verified(verify: &Verify) -> Result<u8, String> {
    let (text, name) = read_all(&verify.files.files)?;
    let (pipeline, notes) = Pipeline::new(&text, &verify.set, &verify.views)
        .map_err(|error| render(&error, &text, &name))?;
    notes
        .iter()
        .for_each(|note| drop(writeln!(std::io::stderr(), "note: {note}")));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|error| format!("can't start threads: {error}"))?;
    let facts = match &verify.against {
        Some(instance) => runtime.block_on(asked(instance, &pipeline))?,
        None => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            let facts = pipeline.run(verify.workers.unwrap_or(cores), verify.step_rows);
            facts.map_err(|error| error.to_string())?
        }
    };
    let rows_max = verify.differences;
    // On a thread of the runtime: there stacks are deep.
    let done = runtime.spawn(async move { pipeline.verify(&facts, rows_max, show).await });
    let all = runtime
        .block_on(done)
        .map_err(|error| format!("the verification was lost: {error}"))?;
    runtime.shutdown_background();
    Ok(status(&all))
}

fn status(all: &[Verified]) -> u8 {
    let has = |wanted: fn(&Verdict) -> bool| all.iter().any(|one| wanted(&one.verdict));
    if has(|verdict| matches!(verdict, Verdict::Different(_))) {
        DIFFERENT
    } else if has(|verdict| matches!(verdict, Verdict::Unverified { .. })) {
        UNVERIFIED
    } else {
        EQUAL
    }
}

/// Prints what was found of a view.
fn show(verified: &Verified) {
    let Verified { view, verdict } = verified;
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| drop(writeln!(out, "{line}"));
    let differences = match verdict {
        Verdict::Equal { rows } => return say(format!("{view}: equal, {rows} rows")),
        Verdict::Different(differences) => {
            say(format!(
                "{view}: NOT equal: {} rows only in the view, {} only in the batch",
                differences.only_view, differences.only_batch
            ));
            Some(differences)
        }
        Verdict::Unverified {
            reason,
            differences,
        } => {
            say(format!("{view}: could not be verified: {reason}"));
            differences.as_ref()
        }
    };
    let Some(differences) = differences else {
        return;
    };
    differences
        .first
        .iter()
        .for_each(|row| say(format!("  {row}")));
    let shown = differences.first.len() as u64;
    let all = differences.only_view + differences.only_batch;
    if all > shown {
        say(format!("  ... and {} more", all - shown));
    }
}

/// Asks a running instance for one step of all that the views follow from.
async fn asked(instance: &str, pipeline: &Pipeline) -> Result<Facts, String> {
    let client = connect(instance).await?;
    let known = client
        .query("SHOW MATERIALIZED VIEWS", &[])
        .await
        .map_err(|error| told(&error))?;
    let known: Vec<String> = known.iter().map(|row| row.get(0)).collect();
    let names: Vec<String> = pipeline
        .names()
        .into_iter()
        .filter(|name| known.iter().any(|known| known == name))
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    if names.is_empty() {
        return Err(format!("the instance at {instance} has none of the views"));
    }
    let asked = format!("SELECT * FROM {SNAPSHOT}({})", names.join(", "));
    let rows = client
        .query(&asked, &[])
        .await
        .map_err(|error| told(&error))?;
    let batch = batch(&rows).map_err(|error| error.to_string())?;
    Facts::read(&[batch]).map_err(|error| error.to_string())
}

async fn connect(instance: &str) -> Result<Client, String> {
    let url = if instance.contains("://") || instance.contains('=') {
        instance.to_owned()
    } else {
        format!("postgres://verify@{instance}/millstream")
    };
    let mut config: tokio_postgres::Config = url.parse().map_err(|error| {
        format!("--against {instance}: write it as host:port, or postgres://host:port ({error})")
    })?;
    config.connect_timeout(CONNECT_WAIT);
    let connected = config.connect(NoTls).await;
    let (client, connection) =
        connected.map_err(|error| format!("can't reach {instance}: {}", told(&error)))?;
    tokio::spawn(connection);
    client
        .batch_execute("SET statement_timeout = 0")
        .await
        .map_err(|error| told(&error))?;
    Ok(client)
}

/// An error in the server's words, if it has any.
fn told(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |said| said.message().to_owned())
}

/// The rows of a snapshot as they were before they went over the wire.
fn batch(rows: &[tokio_postgres::Row]) -> Result<RecordBatch, String> {
    let text = |column: usize| {
        let texts = rows
            .iter()
            .map(|row| row.try_get::<_, Option<String>>(column));
        let texts = texts.collect::<Result<StringViewArray, _>>();
        texts.map_err(|error| error.to_string())
    };
    let number = |column: usize| {
        let numbers = rows.iter().map(|row| row.try_get::<_, Option<i64>>(column));
        let numbers = numbers.collect::<Result<Int64Array, _>>();
        numbers.map_err(|error| error.to_string())
    };
    let data = rows.iter().map(|row| row.try_get::<_, Option<&[u8]>>(6));
    let data = data.collect::<Result<BinaryViewArray, _>>();
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("what", DataType::Utf8View),
        field("view", DataType::Utf8View),
        field("name", DataType::Utf8View),
        field("part", DataType::Utf8View),
        field("from_offset", DataType::Int64),
        field("to_offset", DataType::Int64),
        field("data", DataType::BinaryView),
    ]);
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(text(0)?),
        Arc::new(text(1)?),
        Arc::new(text(2)?),
        Arc::new(text(3)?),
        Arc::new(number(4)?),
        Arc::new(number(5)?),
        Arc::new(data.map_err(|error| error.to_string())?),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).map_err(|error| error.to_string())
}
