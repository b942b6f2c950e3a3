//! What a writer writes to: one sink, or a system whose transactions span sinks and hold the records of the steps.
//!
//! Whatever fails can be asked for again: what was taken is held until it is written for good.

use millstream_dataflow::sink::{Sink, System, Transactions, Writer as SinkWriter};
use millstream_dataflow::{Delta, Error, Result, Step};
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) trait Target: Send {
    /// Connects, if that has not been done. Gives the records of steps that were committed, the first time.
    fn open(&mut self) -> Result<Option<Vec<Vec<u8>>>>;

    /// A sink to write to; the first has number 0.
    fn join(&mut self, sink: Arc<dyn Sink>);

    /// Takes the changes of a step, to be written by `flush`.
    fn take(&mut self, step: Step, sink: usize, delta: Delta);

    /// Takes the record of a step.
    fn record(&mut self, step: Step, record: Vec<u8>);

    /// Writes what was taken.
    fn flush(&mut self) -> Result<()>;

    /// Whether what was taken can be committed now: whole steps, with their records if it takes them.
    fn is_whole(&self) -> bool;

    /// Makes all that was taken durable and visible.
    fn commit(&mut self, step: Step) -> Result<()>;

    /// Makes all that was taken safe for a checkpoint.
    fn prepare(&mut self, step: Step) -> Result<Vec<u8>>;

    /// A checkpoint is complete.
    fn complete(&mut self, step: Step, prepared: &[u8]) -> Result<()>;

    /// The input of a sink has ended. Gives whether it was the last.
    fn finish(&mut self, step: Step) -> Result<bool>;
}

/// How a sink of its own begins when the job goes on from a checkpoint.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// As one that has never been.
    Fresh,
    /// From what it prepared for the checkpoint.
    Recovered(Option<Vec<u8>>),
}

/// One sink.
pub(crate) struct Single {
    sink: Arc<dyn Sink>,
    start: Start,
    writer: Option<Box<dyn SinkWriter>>,
    held: Option<(Step, Delta)>,
}

impl Single {
    pub(crate) fn new(sink: Arc<dyn Sink>, start: Start) -> Self {
        Self {
            sink,
            start,
            writer: None,
            held: None,
        }
    }

    fn writer(&mut self) -> Result<&mut dyn SinkWriter> {
        match &mut self.writer {
            Some(writer) => Ok(writer.as_mut()),
            None => Err(Error::internal("a sink is written before it was opened")),
        }
    }
}

impl Target for Single {
    fn open(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        if self.writer.is_some() {
            return Ok(None);
        }
        let mut writer = self.sink.open()?;
        if let Start::Recovered(prepared) = &self.start {
            writer.recover(prepared.as_deref())?;
        }
        self.writer = Some(writer);
        Ok(Some(Vec::new()))
    }

    fn join(&mut self, _: Arc<dyn Sink>) {}

    fn take(&mut self, step: Step, _: usize, delta: Delta) {
        self.held = Some((step, delta));
    }

    fn record(&mut self, _: Step, _: Vec<u8>) {}

    fn flush(&mut self) -> Result<()> {
        if let Some((step, delta)) = self.held.take()
            && let Err(error) = self.writer()?.write(step, &delta)
        {
            self.held = Some((step, delta));
            return Err(error);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn commit(&mut self, step: Step) -> Result<()> {
        self.flush()?;
        self.writer()?.commit(step)
    }

    fn prepare(&mut self, step: Step) -> Result<Vec<u8>> {
        self.flush()?;
        self.writer()?.prepare(step)
    }

    fn complete(&mut self, _: Step, prepared: &[u8]) -> Result<()> {
        self.writer()?.publish(prepared)
    }

    fn finish(&mut self, step: Step) -> Result<bool> {
        self.flush()?;
        self.writer()?.finish(step).map(|()| true)
    }
}

/// The sinks of a system that commit together.
pub(crate) struct Together {
    system: Arc<dyn System>,
    job: String,
    transactions: Option<Box<dyn Transactions>>,
    sinks: Vec<Arc<dyn Sink>>,
    /// The system's own numbers of the sinks.
    numbers: Vec<usize>,
    finished: usize,
    /// Whether rows were taken of a step whose record has not come yet.
    partial: bool,
    /// The rows of the open transaction, to be written again if it is aborted.
    rows: Vec<(usize, Delta)>,
    /// How many of them have been written to it.
    sent: usize,
    /// The records of steps that no transaction holds yet.
    records: VecDeque<(Step, Vec<u8>)>,
    /// The steps of all records that the system holds, the first `forgotten` of them left out.
    committed: VecDeque<Step>,
    forgotten: u64,
}

impl Together {
    pub(crate) fn new(system: Arc<dyn System>, job: String) -> Self {
        Self {
            system,
            job,
            transactions: None,
            sinks: Vec::new(),
            numbers: Vec::new(),
            finished: 0,
            partial: false,
            rows: Vec::new(),
            sent: 0,
            records: VecDeque::new(),
            committed: VecDeque::new(),
            forgotten: 0,
        }
    }

    fn transactions(&mut self) -> Result<&mut dyn Transactions> {
        match &mut self.transactions {
            Some(transactions) => Ok(transactions.as_mut()),
            None => Err(Error::internal("a system is written before it was opened")),
        }
    }
}

impl Target for Together {
    fn open(&mut self) -> Result<Option<Vec<Vec<u8>>>> {
        if self.transactions.is_some() {
            return Ok(None);
        }
        let mut transactions = self.system.open(&self.job)?;
        let records = transactions.records()?;
        for record in &records {
            let step = crate::record::StepRecord::decode(record)?.step;
            self.committed.push_back(step);
        }
        self.transactions = Some(transactions);
        Ok(Some(records))
    }

    fn join(&mut self, sink: Arc<dyn Sink>) {
        self.sinks.push(sink);
    }

    fn take(&mut self, _: Step, sink: usize, delta: Delta) {
        self.rows.push((sink, delta));
        self.partial = true;
    }

    fn record(&mut self, step: Step, record: Vec<u8>) {
        self.partial = false;
        self.records.push_back((step, record));
    }

    fn flush(&mut self) -> Result<()> {
        while self.numbers.len() < self.sinks.len() {
            let sink = Arc::clone(&self.sinks[self.numbers.len()]);
            let number = self.transactions()?.add(&sink)?;
            self.numbers.push(number);
        }
        while self.sent < self.rows.len() {
            let (sink, delta) = self.rows[self.sent].clone();
            let number = self.numbers[sink];
            if let Err(error) = self.transactions()?.write(number, &delta) {
                // The transaction is aborted: all of it is to be written again.
                self.sent = 0;
                return Err(error);
            }
            self.sent += 1;
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        !self.partial
    }

    fn commit(&mut self, _: Step) -> Result<()> {
        self.flush()?;
        if self.rows.is_empty() {
            return Ok(());
        }
        let records: Vec<Vec<u8>> = self
            .records
            .iter()
            .map(|(_, bytes)| bytes.clone())
            .collect();
        if let Err(error) = self.transactions()?.commit(&records) {
            self.sent = 0;
            return Err(error);
        }
        self.rows.clear();
        self.sent = 0;
        self.committed
            .extend(self.records.drain(..).map(|(step, _)| step));
        Ok(())
    }

    fn prepare(&mut self, step: Step) -> Result<Vec<u8>> {
        self.commit(step).map(|()| Vec::new())
    }

    fn complete(&mut self, step: Step, _: &[u8]) -> Result<()> {
        self.records.retain(|(recorded, _)| *recorded > step);
        let unneeded = self.committed.iter().take_while(|held| **held <= step);
        let unneeded = unneeded.count();
        if unneeded > 0 {
            let count = self.forgotten + unneeded as u64;
            self.transactions()?.forget(count)?;
            self.forgotten = count;
            self.committed.drain(..unneeded);
        }
        Ok(())
    }

    fn finish(&mut self, step: Step) -> Result<bool> {
        self.commit(step)?;
        self.finished += 1;
        Ok(self.finished == self.sinks.len())
    }
}
