//! The transactions of a job in a cluster: one producer, one transaction after the other.
//!
//! ```text
//! open     make the progress topic   init_transactions (who wrote before is fenced, what it left open is aborted)
//!          { opening }
//! write    { rows rows rows ...
//! commit                        ... progress }   EndTxn
//!                                              \_ no answer: new producer { mark }, read: is the progress there?
//! error    new producer { mark }, read: has another instance opened since?  yes: fenced   no: write all again
//! ```
//!
//! Invariant: after any error the producer is thrown away. The next one's `init_transactions` aborts what was open and
//! shuts out what is still on its way, so what the caller writes again is written once. The brokers' words for "fenced" are
//! not believed: they are also said to a producer that was stopped for longer than its transaction may take, or whose own
//! request was repeated. Another instance says so itself, by its opening.

use super::client::{code_error, unreachable};
use super::drain::drain;
use super::producer::{self, Deliveries, Outlet, code, enqueue};
use super::progress::{Ledger, Message, Note, Successor, notes};
use super::progress_topic::Until;
use super::sink::KafkaSink;
use super::system::{self, Place};
use crate::clock;
use chrono::DateTime;
use millstream_dataflow::sink::{Sink, Transactions};
use millstream_dataflow::{Delta, Error, Kind, Result};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};
use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Progress is written in messages of at most so many bytes.
const PART_MAX: usize = 256 << 10;

/// How long the first producers may take to begin. librdkafka asks only each half second whether what an earlier producer left
/// open has been aborted, or a coordinator was found; a new producer asks at once.
const FIRST_WAITS: [Duration; 5] = [
    Duration::from_millis(80),
    Duration::from_millis(120),
    Duration::from_millis(200),
    Duration::from_millis(300),
    Duration::from_millis(400),
];

/// How long a commit whose answer was lost waits before it asks again for what became of it.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How long a failed transaction may take to say why.
const CAUSE_WAIT: Duration = Duration::from_millis(200);

/// How long a transaction that is given up at the end may take to be aborted.
const ABORT_WAIT: Duration = Duration::from_secs(2);

/// A job's transactions in a cluster.
pub(super) struct KafkaTransactions {
    place: Place,
    /// None after an error, until the next one is made.
    producer: Option<BaseProducer<Deliveries>>,
    outlets: Vec<Outlet>,
    /// Whether a transaction is open.
    begun: bool,
    /// The number of the last message to the progress topic.
    number: u64,
    /// What removes progress that is not needed.
    forgetting: Option<JoinHandle<()>>,
}

/// Why a transaction did not end well.
enum Ending {
    /// It cannot have been committed.
    Aborted(Error),
    /// It may have been.
    Unknown(Error),
}

impl KafkaTransactions {
    /// Takes the job's place.
    pub(super) fn open(place: Place) -> Result<Self> {
        let mut this = Self {
            place,
            producer: None,
            outlets: Vec::new(),
            begun: false,
            number: 0,
            forgetting: None,
        };
        this.connect()?;
        let opening = Note::Opening {
            process: system::process(),
            who: who(),
        };
        this.tell(opening)?;
        Ok(this)
    }

    fn timeout(&self) -> Duration {
        self.place.topic.properties.timeout
    }

    /// Makes a producer that no other can commit beside.
    fn connect(&mut self) -> Result<()> {
        let fixed = [("transactional.id", self.place.transactional_id.as_str())];
        let mut waits = FIRST_WAITS.into_iter();
        loop {
            let (wait, last) = match waits.next() {
                Some(wait) => (wait, false),
                None => (self.timeout(), true),
            };
            let producer = producer::make(&self.place.topic.properties, &[], &fixed)?;
            match producer.init_transactions(wait) {
                Ok(()) => {
                    self.producer = Some(producer);
                    return Ok(());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !last => {}
                Err(error) => return Err(self.error("the job's transactions cannot begin", &error)),
            }
        }
    }

    /// The producer; a new one after an error.
    fn ready(&mut self) -> Result<()> {
        match self.producer {
            Some(_) => Ok(()),
            None => self.reconnect(),
        }
    }

    /// Makes a new producer, and makes sure that this instance still has the job's place.
    fn reconnect(&mut self) -> Result<()> {
        self.producer = None;
        self.begun = false;
        // One that has lost its place does not disturb its successor.
        self.look(Until::End)?;
        self.connect()?;
        self.number += 1;
        let looked = self
            .tell(Note::Mark)
            .and_then(|()| self.look(Until::Own(self.number)));
        if looked.is_err() {
            self.producer = None;
        }
        looked
    }

    /// Reads what has been committed, and fails when that was by a successor.
    fn look(&self, until: Until) -> Result<()> {
        let mut ledger = ledger(&self.place);
        self.place.topic.read(&mut ledger, until)?;
        match ledger.successor() {
            None => Ok(()),
            Some(successor) => Err(self.fenced(successor)),
        }
    }

    /// Commits a note alone.
    fn tell(&mut self, note: Note) -> Result<()> {
        let told = self.begin().and_then(|()| {
            self.note(vec![note])
                .and_then(|()| self.end())
                .map_err(|ending| match ending {
                    Ending::Aborted(error) | Ending::Unknown(error) => error,
                })
        });
        self.begun = false;
        if told.is_err() {
            self.producer = None;
        }
        told
    }

    fn begin(&mut self) -> Result<()> {
        if self.begun {
            return Ok(());
        }
        let begun = self.producer()?.begin_transaction();
        begun.map_err(|error| self.error("a transaction cannot begin", &error))?;
        self.begun = true;
        Ok(())
    }

    fn producer(&self) -> Result<&BaseProducer<Deliveries>> {
        let none = || Error::internal("a transaction without a producer");
        self.producer.as_ref().ok_or_else(none)
    }

    /// Puts notes into the transaction.
    fn note(&self, notes: Vec<Note>) -> Result<(), Ending> {
        let producer = self.producer().map_err(Ending::Aborted)?;
        for note in notes {
            let message = Message {
                instance: self.place.instance,
                number: self.number,
                note,
            };
            let bytes = message.encode();
            let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&self.place.topic.name);
            record.payload = Some(&bytes);
            record.partition = Some(0);
            enqueue(producer, record).map_err(|error| {
                Ending::Aborted(self.error("the job's progress cannot be written", &error))
            })?;
        }
        Ok(())
    }

    /// Ends the transaction well, if all of it arrives.
    fn end(&self) -> Result<(), Ending> {
        let producer = self.producer().map_err(Ending::Aborted)?;
        let drained = drain(producer, self.timeout());
        self.undelivered().map_err(Ending::Aborted)?;
        if !drained {
            let reason = format!(
                "{} records are not acknowledged",
                producer.in_flight_count()
            );
            let servers = self.place.topic.properties.servers();
            return Err(Ending::Aborted(unreachable(servers, &reason)));
        }
        let began = clock::now();
        loop {
            let left = self.timeout().saturating_sub(began.elapsed());
            match producer.commit_transaction(left) {
                Ok(()) => return Ok(()),
                // It goes on, and is asked about again.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !left.is_zero() => {}
                Err(error) => {
                    let error = self.error("a transaction cannot be committed", &error);
                    return Err(Ending::Unknown(error));
                }
            }
        }
    }

    /// Fails if records were given up.
    fn undelivered(&self) -> Result<()> {
        match self.producer()?.context().take_failed() {
            None => Ok(()),
            Some(failed) => {
                let count = failed.count;
                let what = format!("{count} records of a transaction could not be written");
                Err(self.cause(&what, failed.code, &failed.text))
            }
        }
    }

    /// What an error means. When a transaction fails its records are purged or refused, which does not say why it failed;
    /// the wish to commit it is answered with that.
    fn cause(&self, what: &str, code: RDKafkaErrorCode, text: &str) -> Error {
        use RDKafkaErrorCode as C;
        let failed = match code {
            C::PurgeQueue | C::PurgeInflight | C::State | C::Fatal => self
                .producer()
                .ok()
                .and_then(|producer| producer.commit_transaction(CAUSE_WAIT).err()),
            _ => None,
        };
        match failed {
            Some(error @ KafkaError::Transaction(_)) => self.error(what, &error),
            Some(_) | None => code_error(what, code, text),
        }
    }

    /// Gives up what was written since the last commit, and makes ready to write it again.
    fn give_up(&mut self, error: Error) -> Error {
        tracing::warn!(job = self.place.job, %error, "a transaction is aborted");
        match self.reconnect() {
            Err(fenced) if fenced.kind == Kind::Fenced => fenced,
            Err(other) => {
                tracing::warn!(job = self.place.job, error = %other, "a new producer cannot be made yet");
                error
            }
            Ok(()) => error,
        }
    }

    /// Finds out what became of a commit: there is no going on before that is known.
    fn settle(&mut self, number: u64, lost: &Error) -> Result<()> {
        tracing::warn!(job = self.place.job, error = %lost, "what became of a commit is not known: asking");
        loop {
            match self.reconnect() {
                Ok(()) => break,
                Err(error) if error.kind == Kind::Retryable => {
                    tracing::warn!(job = self.place.job, %error, "what became of a commit is not known yet");
                    std::thread::sleep(ASK_EVERY);
                }
                Err(error) => return Err(error),
            }
        }
        let committed = ledger(&self.place).has_committed(number);
        tracing::warn!(
            job = self.place.job,
            committed,
            "found out what became of a commit"
        );
        match committed {
            true => Ok(()),
            false => {
                Err(Error::retryable("a transaction was not committed").detail(lost.to_string()))
            }
        }
    }

    fn part_max(&self) -> usize {
        let of_messages = self.place.topic.properties.get("message.max.bytes");
        let of_messages = of_messages.and_then(|bytes| bytes.trim().parse::<usize>().ok());
        // Beside the bytes there is the head, and what the protocol puts around it.
        let room = of_messages.map_or(PART_MAX, |bytes| bytes.saturating_sub(512));
        room.clamp(64, PART_MAX)
    }

    fn error(&self, what: &str, error: &KafkaError) -> Error {
        use RDKafkaErrorCode as C;
        match code(error) {
            code @ (C::State | C::Fatal) if matches!(error, KafkaError::MessageProduction(_)) => {
                self.cause(what, code, &error.to_string())
            }
            C::BrokerTransportFailure
            | C::AllBrokersDown
            | C::OperationTimedOut
            | C::QueueFull
            | C::Resolve => {
                let reason = format!("{what}: {error}");
                unreachable(self.place.topic.properties.servers(), &reason)
            }
            code => code_error(what, code, &error.to_string()),
        }
    }

    fn fenced(&self, successor: &Successor) -> Error {
        let Place { job, system, .. } = &self.place;
        let since = successor.at_ms.and_then(DateTime::from_timestamp_millis);
        let since = since.map_or_else(String::new, |time| format!(" since {}", time.to_rfc3339()));
        let error = Error::fenced(format!(
            "another instance of the job '{job}' writes to {system}"
        ))
        .detail(format!("{}{since}", successor.who));
        match successor.process == system::process() {
            true => error.hint("it is of this same process: tables that write to one cluster must name it by the same 'properties.bootstrap.servers' and as the same user, or have a 'sink.transactional-id-prefix' of their own"),
            false => error.hint("this one has stopped and written nothing since. Jobs that are to run beside each other need names of their own"),
        }
    }
}

impl Transactions for KafkaTransactions {
    fn records(&mut self) -> Result<Vec<Vec<u8>>> {
        self.ready()?;
        let mut ledger = ledger(&self.place);
        *ledger = Ledger::new(self.place.instance);
        let until = Until::Own(self.number);
        self.place.topic.read(&mut ledger, until)
    }

    fn add(&mut self, sink: &Arc<dyn Sink>) -> Result<usize> {
        let any: &dyn Any = &**sink;
        let sink: &KafkaSink = any
            .downcast_ref()
            .ok_or_else(|| Error::internal(format!("{sink} does not write to Kafka")))?;
        let differ = self.place.topic.properties.differences(&sink.properties);
        if differ.contains("partitioner") {
            return Err(Error::user(format!(
                "'properties.partitioner' must be the same in all tables that the job writes to on {}: one connection writes its transactions",
                self.place.system
            ))
            .detail(format!("the topic '{}'", sink.topic))
            .hint("set 'sink.delivery-guarantee' to at-least-once, or 'sink.transactional-id-prefix' to something else for this table"));
        }
        if !differ.is_empty() {
            let topic = &sink.topic;
            tracing::warn!(
                job = self.place.job,
                topic,
                ?differ,
                "properties are those of another table: one connection writes the job's transactions"
            );
        }
        self.ready()?;
        let outlet = Outlet::new(sink, self.producer()?)?;
        self.outlets.push(outlet);
        Ok(self.outlets.len() - 1)
    }

    fn write(&mut self, sink: usize, delta: &Delta) -> Result<()> {
        self.ready()?;
        let unknown = || Error::internal(format!("a transaction has no sink {sink}"));
        let records = self
            .outlets
            .get_mut(sink)
            .ok_or_else(unknown)?
            .encode(delta)?;
        if records.count() == 0 {
            return Ok(());
        }
        if let Err(error) = self.begin() {
            return Err(self.give_up(error));
        }
        let producer = self.producer.as_ref().ok_or_else(unknown)?;
        let outlet = self.outlets.get_mut(sink).ok_or_else(unknown)?;
        let sent = outlet.send(producer, &records, &mut 0);
        let what = format!("records cannot be written to '{}'", outlet.topic);
        let written = sent
            .map_err(|error| self.error(&what, &error))
            .and_then(|()| self.undelivered());
        written.map_err(|error| self.give_up(error))
    }

    fn commit(&mut self, records: &[Vec<u8>]) -> Result<()> {
        if records.is_empty() && !self.begun {
            return Ok(());
        }
        self.ready()?;
        if let Err(error) = self.begin() {
            return Err(self.give_up(error));
        }
        self.number += 1;
        let number = self.number;
        let ended = self
            .note(notes(records, self.part_max()))
            .and_then(|()| self.end());
        match ended {
            Ok(()) => {
                self.begun = false;
                Ok(())
            }
            Err(Ending::Aborted(error)) => Err(self.give_up(error)),
            Err(Ending::Unknown(error)) => self.settle(number, &error),
        }
    }

    fn forget(&mut self, count: u64) -> Result<()> {
        if self
            .forgetting
            .as_ref()
            .is_some_and(|forgetting| !forgetting.is_finished())
        {
            // The next checkpoint asks again.
            return Ok(());
        }
        let (place, number) = (self.place.clone(), self.number);
        let forget = move || {
            if let Err(error) = forget(&place, number, count) {
                match place.kept.swap(true, Ordering::Relaxed) {
                    false => {
                        tracing::warn!(job = place.job, %error, "progress that is not needed is kept")
                    }
                    true => {
                        tracing::debug!(job = place.job, %error, "progress that is not needed is kept")
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("kafka-forget".to_owned());
        match thread.spawn(forget) {
            Ok(forgetting) => self.forgetting = Some(forgetting),
            Err(error) => tracing::warn!(%error, "progress that is not needed is kept"),
        }
        Ok(())
    }
}

/// Removes the first `count` records, all of which were committed before the message with this number.
fn forget(place: &Place, number: u64, count: u64) -> Result<()> {
    let needed_from = {
        let mut ledger = ledger(place);
        place.topic.read(&mut ledger, Until::Own(number))?;
        ledger.needed_from(count)
    };
    needed_from.map_or(Ok(()), |offset| place.topic.cut(offset))
}

fn ledger(place: &Place) -> MutexGuard<'_, Ledger> {
    place.ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// This process, for whoever is told of it.
fn who() -> String {
    let process = std::process::id();
    match std::env::var("HOSTNAME") {
        Ok(host) if !host.is_empty() => format!("process {process} on {host}"),
        _ => format!("process {process}"),
    }
}

impl Drop for KafkaTransactions {
    /// What was not committed is aborted now, so that no reader waits for it.
    fn drop(&mut self) {
        let Some(producer) = self.producer.as_ref().filter(|_| self.begun) else {
            return;
        };
        producer.purge(PurgeConfig::default().queue());
        let began = clock::now();
        while began.elapsed() < ABORT_WAIT {
            drain(producer, Duration::from_millis(100));
            match producer.abort_transaction(Duration::from_millis(500)) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => {}
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(job = self.place.job, %error, "a transaction is left to its timeout");
                    return;
                }
            }
        }
    }
}
