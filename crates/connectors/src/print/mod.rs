//! `print`: every change as a line of text in Flink's form, `+I[a, b]` and `-D[a, b]`, behind an optional identifier.
//!
//! Lines go to the standard output, or to what [`set_output`] names (a program whose standard output is a result sends
//! them elsewhere). A row of weight 2 is two lines. Lines of one step are written together.

mod text;

use crate::{Capabilities, Connector, cannot_read};
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::{Changes, Delta, Error, Options, Result, Step, Table};
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) const CONNECTOR: Connector = Connector {
    name: "print",
    check: |_, options| {
        settings(options)?;
        Ok(Capabilities {
            sink: Some(Changes::All),
            ..Capabilities::default()
        })
    },
    source: |table, _, _| Err(cannot_read(table)),
    sink: open,
};

static OUTPUT: Mutex<Option<Box<dyn Write + Send>>> = Mutex::new(None);

/// Sends the lines of all `print` tables of this process to `output` instead of the standard output.
pub fn set_output(output: Box<dyn Write + Send>) {
    *OUTPUT.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
}

fn settings(mut options: Options) -> Result<Print> {
    let print = Print {
        identifier: options.text("print-identifier").filter(|id| !id.is_empty()),
        standard_error: options.flag("standard-error", false)?,
    };
    let _: Option<u32> = options.parse("sink.parallelism")?;
    options.finish()?;
    Ok(print)
}

fn open(_: &Table, options: Options) -> Result<Arc<dyn Sink>> {
    Ok(Arc::new(settings(options)?))
}

/// Where and how changes are printed.
#[derive(Clone, Debug)]
struct Print {
    identifier: Option<String>,
    standard_error: bool,
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("print")?;
        match &self.identifier {
            Some(identifier) => write!(f, " as {identifier}"),
            None => Ok(()),
        }
    }
}

impl Sink for Print {
    fn changes(&self) -> Changes {
        Changes::All
    }

    fn open(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(self.clone()))
    }
}

impl Writer for Print {
    fn write(&mut self, _: Step, delta: &Delta) -> Result<()> {
        let lines = text::lines(delta, self.identifier.as_deref())?;
        let written = if self.standard_error {
            io::stderr().lock().write_all(lines.as_bytes())
        } else {
            let mut output = OUTPUT.lock().unwrap_or_else(PoisonError::into_inner);
            match output.as_mut() {
                Some(output) => put(output, &lines),
                None => put(&mut io::stdout().lock(), &lines),
            }
        };
        written.map_err(|error| {
            Error::internal("the lines of a `print` table cannot be written")
                .detail(error.to_string())
        })
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        Ok(())
    }
}

fn put(output: &mut impl Write, lines: &str) -> io::Result<()> {
    output.write_all(lines.as_bytes())?;
    output.flush()
}
