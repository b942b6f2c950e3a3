//! `generate`: Nexmark events into JSON files, one file a partition.
//!
//! Event `i` is in file `i mod parts`, so each file is in the order of event time and all files advance together. A job
//! must read all of them at once: a reader that takes one after another finds the later ones late.

use crate::{Result, events};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

/// What to write.
#[derive(Debug, clap::Args)]
pub(crate) struct Generate {
    /// Events in all files
    #[arg(long)]
    events: usize,
    /// Files
    #[arg(long, default_value_t = 2)]
    parts: u64,
    /// Events per second of event time
    #[arg(long, default_value_t = 10_000)]
    rate: usize,
    /// The folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Generate {
    pub(crate) fn run(&self) -> Result<()> {
        fs::create_dir_all(&self.out)?;
        let create = |part: u64| {
            let file = File::create(self.out.join(format!("part-{part}.json")))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        };
        let mut files = (0..self.parts)
            .map(create)
            .collect::<Result<Vec<BufWriter<File>>>>()?;
        let mut line = Vec::with_capacity(2048);
        let all = events::generator(self.rate, 0, 1).take(self.events);
        for (at, event) in all.enumerate() {
            line.clear();
            events::write_line(&mut line, &event);
            let part = at % files.len();
            files[part].write_all(&line)?;
        }
        files.iter_mut().try_for_each(Write::flush)?;
        Ok(())
    }
}
