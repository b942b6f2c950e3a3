//! One worker's copy of the operators, and what is on its way to them.

use crate::error::of_panic;
use crate::exchange::Splitter;
use crate::meter::add;
use crate::plan::Plan;
use millstream_dataflow::{
    Delta, Error, Operator, Output, Partitioning, Result, Step, StepTime, Watermark,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A worker's operators and queues, by the nodes' places in the plan. Moves between threads as a whole.
pub(crate) struct Worker {
    number: usize,
    operators: Vec<Option<Box<dyn Operator>>>,
    inboxes: Vec<Vec<Inbound>>,
    /// The watermark of each node.
    watermarks: Vec<Watermark>,
    /// Which nodes must be told the time even if no row comes.
    due: Vec<bool>,
    /// Nodes that have failed here or depend on one that has.
    dead: Vec<bool>,
    out: Output,
    splitter: Splitter,
    /// Rows for other workers.
    pub(crate) outbox: Vec<Outbound>,
    /// Rows for views and sinks.
    pub(crate) captured: Vec<(usize, Delta)>,
    /// Nodes that failed in this step.
    pub(crate) failures: Vec<(usize, Error)>,
}

/// Rows that wait for a node. Taken in the order of port, producer and worker, for any number of workers and threads.
struct Inbound {
    port: usize,
    producer: usize,
    worker: usize,
    delta: Delta,
}

/// Rows for another worker.
pub(crate) struct Outbound {
    pub(crate) to: usize,
    node: usize,
    inbound: Inbound,
}

/// The part of a step's time that is the same for all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) step: Step,
    pub(crate) now_ms: i64,
}

impl Worker {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            operators: Vec::new(),
            inboxes: Vec::new(),
            watermarks: Vec::new(),
            due: Vec::new(),
            dead: Vec::new(),
            out: Output::default(),
            splitter: Splitter::default(),
            outbox: Vec::new(),
            captured: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes up operators, one for each node of the plan that computes.
    pub(crate) fn install(&mut self, operators: Vec<Option<Box<dyn Operator>>>) {
        let nodes = operators.len();
        self.operators = operators;
        self.inboxes.resize_with(nodes, Vec::new);
        self.watermarks = vec![Watermark::MIN; nodes];
        self.due = vec![false; nodes];
        self.dead = vec![false; nodes];
    }

    /// The operators that run, by the place of their node.
    pub(crate) fn operators(&mut self) -> impl Iterator<Item = (usize, &mut dyn Operator)> {
        let operators = self.operators.iter_mut().enumerate();
        operators.filter_map(|(idx, operator)| {
            Some((idx, operator.as_deref_mut()? as &mut dyn Operator))
        })
    }

    /// Gives up all operators.
    pub(crate) fn uninstall(&mut self) -> Vec<Option<Box<dyn Operator>>> {
        std::mem::take(&mut self.operators)
    }

    /// The node's watermark is now this, and it must be told.
    pub(crate) fn set_time(&mut self, node: usize, watermark: Watermark) {
        self.watermarks[node] = watermark;
        self.due[node] = true;
    }

    /// The node does no more.
    pub(crate) fn bury(&mut self, node: usize) {
        self.dead[node] = true;
        self.operators[node] = None;
        self.inboxes[node].clear();
    }

    /// Rows of a source.
    pub(crate) fn feed(&mut self, node: usize, delta: Delta) {
        self.inboxes[node].push(Inbound {
            port: 0,
            producer: node,
            worker: self.number,
            delta,
        });
    }

    pub(crate) fn receive(&mut self, outbound: Outbound) {
        self.inboxes[outbound.node].push(outbound.inbound);
    }

    /// Runs its nodes of a stage.
    pub(crate) fn run_stage(&mut self, plan: &Plan, stage: usize, moment: Moment) {
        for node in &plan.stages[stage] {
            self.run(plan, *node, moment);
        }
    }

    /// Runs a node if it has anything to do.
    pub(crate) fn run(&mut self, plan: &Plan, node: usize, moment: Moment) {
        let due = std::mem::take(&mut self.due[node]) || plan.nodes[node].clocked;
        if self.dead[node] {
            self.inboxes[node].clear();
            return;
        }
        if !due && self.inboxes[node].is_empty() {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inboxes[node]);
        if inbox.len() > 1 {
            inbox.sort_by_key(|inbound| (inbound.port, inbound.producer, inbound.worker));
        }
        let rows = inbox.iter().map(|inbound| inbound.delta.rows()).sum();
        add(&plan.nodes[node].meter.rows_in, rows);
        let outcome = match self.operators[node].take() {
            None => inbox
                .drain(..)
                .try_for_each(|inbound| self.emit(plan, node, inbound.delta)),
            Some(mut operator) => {
                let time = StepTime {
                    step: moment.step,
                    watermark: self.watermarks[node],
                    now_ms: moment.now_ms,
                };
                let outcome = self.operate(plan, node, operator.as_mut(), &mut inbox, time);
                self.operators[node] = Some(operator);
                outcome
            }
        };
        inbox.clear();
        self.inboxes[node] = inbox;
        if let Err(error) = outcome {
            self.fail(plan, node, error);
        }
    }

    fn operate(
        &mut self,
        plan: &Plan,
        node: usize,
        operator: &mut dyn Operator,
        inbox: &mut Vec<Inbound>,
        time: StepTime,
    ) -> Result<()> {
        let out = &mut self.out;
        let act = || {
            for inbound in inbox.drain(..) {
                operator.step(inbound.port, inbound.delta, out)?;
            }
            operator.advance(time, out)
        };
        let outcome = catch_unwind(AssertUnwindSafe(act));
        let deltas = self.out.take();
        let late = self.out.take_late();
        outcome.unwrap_or_else(|payload| Err(of_panic(payload.as_ref())))?;
        if late > 0 {
            add(&plan.nodes[node].meter.late_rows, late as usize);
        }
        deltas
            .into_iter()
            .try_for_each(|delta| self.emit(plan, node, delta))
    }

    /// Gives rows to the consumers of a node: here, or on the way to other workers.
    fn emit(&mut self, plan: &Plan, node: usize, delta: Delta) -> Result<()> {
        let planned = &plan.nodes[node];
        add(&planned.meter.rows_out, delta.rows());
        if planned.outlet {
            self.captured.push((node, delta.clone()));
        }
        let Some((last, others)) = planned.consumers.split_last() else {
            return Ok(());
        };
        for consumer in others {
            self.send(plan, node, consumer, delta.clone())?;
        }
        self.send(plan, node, last, delta)
    }

    fn send(
        &mut self,
        plan: &Plan,
        producer: usize,
        consumer: &crate::plan::Consumer,
        delta: Delta,
    ) -> Result<()> {
        let inbound = |delta| Inbound {
            port: consumer.port,
            producer,
            worker: self.number,
            delta,
        };
        let exchange: &Partitioning = match &consumer.exchange {
            None => {
                self.inboxes[consumer.node].push(inbound(delta));
                return Ok(());
            }
            Some(exchange) => exchange,
        };
        let outbox = &mut self.outbox;
        self.splitter
            .split(delta, exchange, plan.workers, |to, share| {
                outbox.push(Outbound {
                    to,
                    node: consumer.node,
                    inbound: inbound(share),
                });
            })
    }

    fn fail(&mut self, plan: &Plan, node: usize, error: Error) {
        self.failures.push((node, error));
        self.bury(node);
        for node in &plan.nodes[node].downstream {
            self.bury(*node);
        }
    }
}
