//! `blackhole`: takes every change and keeps none. For measuring what comes before it.

use crate::{Capabilities, Connector, cannot_read};
use millstream_dataflow::sink::{Sink, Writer};
use millstream_dataflow::{Changes, Delta, Options, Result, Step, Table};
use std::fmt;
use std::sync::Arc;

pub(crate) const CONNECTOR: Connector = Connector {
    name: "blackhole",
    check: |_, options| {
        options.finish()?;
        Ok(Capabilities {
            sink: Some(Changes::All),
            ..Capabilities::default()
        })
    },
    source: |table, _, _| Err(cannot_read(table)),
    sink: open,
};

fn open(_: &Table, options: Options) -> Result<Arc<dyn Sink>> {
    options.finish()?;
    Ok(Arc::new(Blackhole))
}

/// Where rows vanish.
#[derive(Clone, Copy, Debug)]
struct Blackhole;

impl fmt::Display for Blackhole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blackhole")
    }
}

impl Sink for Blackhole {
    fn changes(&self) -> Changes {
        Changes::All
    }

    fn open(&self) -> Result<Box<dyn Writer>> {
        Ok(Box::new(*self))
    }
}

impl Writer for Blackhole {
    fn write(&mut self, _: Step, _: &Delta) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        Ok(())
    }
}
