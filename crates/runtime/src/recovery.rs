//! Going on after a crash: the state of the newest checkpoint, then the steps since, as they were.
//!
//! ```text
//! systems are opened (whoever wrote before is fenced)  ->  their records  ->  steps after the checkpoint run again,
//! cut and timed as recorded; what was committed is not written again  ->  live
//! ```

use crate::driver::Driver;
use crate::error::{Failure, guarded};
use crate::failpoint;
use crate::intake::Gathered;
use crate::outlet::Outlet;
use crate::plan::name;
use crate::record::StepRecord;
use crate::saved::About;
use crate::step::{Part, Piece, StepInput};
use crate::writer::Writer;
use millstream_dataflow as dataflow;
use millstream_dataflow::graph::{NodeId, NodeKind, SourceNode};
use millstream_dataflow::operator::Checkpointed;
use millstream_dataflow::{Error, Kind, Output, Result, Step, StepTime, Watermark};
use millstream_state::checkpoint::{Manifest, Store, TableId};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What a job keeps its checkpoints in, and goes on from.
pub struct Durability {
    /// Where checkpoints are kept.
    pub store: Store,
    /// The checkpoint to go on from; `None`: the job begins.
    pub manifest: Option<Manifest>,
    /// The name of a job that begins, in the systems that it writes to. One that goes on keeps its own.
    pub job: String,
    /// What the job is made from, in its owner's words: [`Origin`](crate::Origin) gives it back.
    pub catalog: serde_json::Value,
    /// How often a checkpoint is made.
    pub interval: Duration,
}

impl std::fmt::Debug for Durability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durability")
            .field("job", &self.job)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

/// A recovery that goes on.
pub(crate) struct Recovery {
    saved: Option<About>,
    /// The writers whose systems hold records of steps, until those are known.
    opening: Vec<Arc<Writer>>,
    found: Vec<(Arc<Writer>, Vec<StepRecord>)>,
    records: VecDeque<StepRecord>,
    replaying: bool,
    began: Duration,
    steps: u64,
}

impl Recovery {
    pub(crate) fn new(saved: Option<About>, opening: Vec<Arc<Writer>>, began: Duration) -> Self {
        Self {
            saved,
            opening,
            found: Vec::new(),
            records: VecDeque::new(),
            replaying: false,
            began,
            steps: 0,
        }
    }
}

/// Fills freshly built parts from a checkpoint.
///
/// # Errors
/// `BadData` when the checkpoint is damaged: the one before may be whole.
pub(crate) fn restore(
    parts: &mut [Part],
    store: &Store,
    manifest: &Manifest,
    about: &About,
    threads: usize,
) -> Result<()> {
    let mut times = BTreeMap::new();
    for part in &mut *parts {
        let id = part.node.id;
        let time = about.time(id);
        times.insert(id, time);
        let saved = about.nodes.iter().find(|node| node.node == id.0);
        let failure = saved.and_then(|node| node.failure.clone());
        let failure =
            failure.map(|said| Failure::new(id, name(&part.node), Error::new(Kind::BadData, said)));
        part.restore(time, failure);
    }
    let pieces: VecDeque<(NodeId, usize, Piece<'_>)> =
        parts.iter_mut().flat_map(Part::pieces).collect();
    let waiting = Mutex::new(pieces);
    let run = || -> Result<()> {
        loop {
            let Some((id, worker, piece)) = waiting.lock().pop_front() else {
                return Ok(());
            };
            let time = StepTime {
                step: Step(about.step),
                watermark: times.get(&id).map_or(Watermark::MIN, |time| time.watermark),
                now_ms: about.now_ms,
            };
            guarded(|| restore_piece(id, worker, piece, time, store, manifest))
                .map_err(|error| error.context(format!("the state of node {}", id.0)))?;
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mut outcome = run();
        for other in others {
            let joined = other.join();
            let ended = joined.unwrap_or_else(|panic| Err(crate::error::of_panic(panic.as_ref())));
            outcome = outcome.and(ended);
        }
        outcome
    })
}

fn restore_piece(
    id: NodeId,
    worker: usize,
    piece: Piece<'_>,
    time: StepTime,
    store: &Store,
    manifest: &Manifest,
) -> Result<()> {
    let read = |table: &mut dyn Checkpointed| {
        let place = table_id(id, worker, table);
        store.read(manifest, &place, &mut |delta| table.restore(&delta))?;
        table.track()
    };
    match piece {
        Piece::View(view) => read(view),
        Piece::Operator(operator) => {
            operator.tables().into_iter().try_for_each(read)?;
            // Operators judge rows by the time that they were told last.
            let mut out = Output::default();
            operator.advance(time, &mut out)?;
            if out.take().is_empty() {
                Ok(())
            } else {
                Err(Error::internal("a restored operator is not where it was"))
            }
        }
    }
}

pub(crate) fn table_id(node: NodeId, worker: usize, table: &dyn Checkpointed) -> TableId {
    TableId {
        node: node.0,
        worker: worker as u32,
        table: table.name().to_owned(),
    }
}

impl Driver {
    /// Goes on with the recovery. Says whether anything moved.
    pub(crate) fn recover(&mut self) -> Result<bool> {
        let Some(mut recovery) = self.recovery.take() else {
            return Ok(false);
        };
        let moved = self.recover_by(&mut recovery);
        match moved {
            Ok(_) if recovery.replaying && recovery.records.is_empty() => {
                failpoint::pass("recovery.done");
                self.recovered(&recovery);
                Ok(true)
            }
            moved => {
                self.recovery = Some(recovery);
                moved
            }
        }
    }

    fn recover_by(&mut self, recovery: &mut Recovery) -> Result<bool> {
        if recovery.replaying {
            return self.replay_step(recovery);
        }
        let mut moved = false;
        let mut still = Vec::new();
        for writer in std::mem::take(&mut recovery.opening) {
            if let Some(records) = writer.take_opened() {
                let records = records.iter().map(|record| StepRecord::decode(record));
                let records = records.collect::<Result<Vec<_>>>()?;
                recovery.found.push((writer, records));
                moved = true;
            } else if let Some(Err(error)) = writer.ended() {
                return Err(error);
            } else {
                still.push(writer);
            }
        }
        recovery.opening = still;
        if !recovery.opening.is_empty() {
            return Ok(moved);
        }
        self.plan_replay(recovery)?;
        self.restore_sources(recovery)?;
        recovery.replaying = true;
        failpoint::pass("recovery.restored");
        Ok(true)
    }

    /// Finds out which steps are to be run again, and what of them was written.
    fn plan_replay(&mut self, recovery: &mut Recovery) -> Result<()> {
        let restored = recovery.saved.as_ref().map_or(0, |saved| saved.step);
        let mut steps: BTreeMap<u64, StepRecord> = BTreeMap::new();
        for (writer, records) in std::mem::take(&mut recovery.found) {
            let last = records.last().map_or(0, |record| record.step.0);
            let written = Step(last.max(restored));
            writer.set_recorded(written);
            self.flow.each_sink(|sink| {
                if Arc::ptr_eq(&sink.writer, &writer) {
                    sink.written_to = written;
                }
            });
            let after = records
                .into_iter()
                .filter(|record| record.step.0 > restored);
            steps.extend(after.map(|record| (record.step.0, record)));
        }
        let gap = (restored + 1..)
            .zip(steps.keys())
            .find(|(want, has)| want != *has);
        if let Some((want, has)) = gap {
            return Err(Error::user(format!(
                "output up to step {has} was committed, but step {want} is not recorded and the checkpoint is of step {restored}"
            ))
            .hint("the state folder is not the newest of this job; give it the newest, or start with an empty one under another 'pipeline.name'"));
        }
        recovery.steps = steps.len() as u64;
        recovery.records = steps.into_values().collect();
        Ok(())
    }

    fn restore_sources(&mut self, recovery: &Recovery) -> Result<()> {
        let Some(saved) = &recovery.saved else {
            return Ok(());
        };
        let now_ms = self.now_ms();
        let sources: Vec<(NodeId, SourceNode)> = self
            .flow
            .nodes()
            .iter()
            .filter_map(|node| match &node.kind {
                NodeKind::Source(source) => Some((node.id, source.clone())),
                NodeKind::Operator(_)
                | NodeKind::View(_)
                | NodeKind::Sink(_)
                | NodeKind::DeadLetters(_) => None,
            })
            .collect();
        for (id, source) in sources {
            let state = saved.sources.iter().find(|state| state.node == id.0);
            let Some(state) = state.filter(|state| state.discovered) else {
                let opening = vec![(id, source, None)];
                self.begin_sources(opening).map_err(dataflow::Error::from)?;
                continue;
            };
            if !source.source.bounded() {
                self.discovery.watch(id, Arc::clone(&source.source));
            }
            self.intake.add_source(id, source);
            let (standing, time) = (state.standing(), state.time());
            self.intake
                .restore(id, standing, time, &recovery.records, now_ms)?;
        }
        self.refresh_meters();
        Ok(())
    }

    /// Runs the next recorded step again, if all that it took has been read.
    fn replay_step(&mut self, recovery: &mut Recovery) -> Result<bool> {
        let Some(record) = recovery.records.front() else {
            return Ok(true);
        };
        if self.flow.is_backed_up() || self.intake.gather_again(record)? == Gathered::Waiting {
            return Ok(false);
        }
        let Some(record) = recovery.records.pop_front() else {
            return Ok(true);
        };
        for failed in &record.failed {
            self.write_again(*failed, record.step);
        }
        let input = StepInput {
            step: record.step,
            ..self.intake.finish_again(&record)
        };
        self.set_now_ms(record.now_ms);
        failpoint::pass("recovery.step");
        self.run_step(input, Some(&record))?;
        Ok(true)
    }

    /// The source could not be read from this step on, so nothing that follows from it was written. It is now.
    fn write_again(&mut self, source: NodeId, from: Step) {
        let behind = self.flow.behind(source);
        for id in behind {
            if let Some(Outlet::Sink(sink)) = self.flow.outlet_of(id) {
                sink.written_to = sink.written_to.min(Step(from.0.saturating_sub(1)));
            }
        }
    }

    fn recovered(&mut self, recovery: &Recovery) {
        self.shared.recovered();
        if let Some(saved) = &recovery.saved {
            let took = self.config.clock.elapsed().saturating_sub(recovery.began);
            tracing::info!(
                checkpoint = saved.step,
                replayed = recovery.steps,
                took_ms = took.as_millis() as u64,
                "the job goes on from its last checkpoint"
            );
            self.call_for_checkpoint();
        }
    }
}
