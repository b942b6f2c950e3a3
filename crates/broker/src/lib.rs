//! A small Kafka broker to embed: one node that speaks the Kafka protocol from a segmented log of its own, with true
//! transactions, consumer groups, and faults on demand. It is for development, demos and tests; production is
//! Apache Kafka. It knows nothing of the rest of Millstream.
//!
//! ```no_run
//! # async fn example() -> Result<(), millstream_broker::Error> {
//! use millstream_broker::{Action, ApiKey, Broker, Config, Fault};
//!
//! let broker = Broker::start(Config { default_partitions: 4, ..Config::default() }).await?;
//! let bootstrap_servers = broker.bootstrap_servers();
//! broker.faults().inject(Fault::on(ApiKey::EndTxn, Action::DropAnswer).nth(2));
//! // ... clients connect to `bootstrap_servers` ...
//! broker.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! Inside, from the wire down to the disk:
//!
//! ```text
//! wire/          frames, versions, one task per connection; faults strike here
//! api/           what each request does, one file per family
//! groups/        group (pure state machine), offsets (journal), coordinator
//! transactions/  state (pure state machine), coordinator (journal, markers)
//! topics         which topics there are, one folder each
//! log/           batch, index, segment, producers (pure), partition, recovery, journal
//! ```

mod api;
mod broker;
mod clock;
mod codec;
mod config;
mod error;
mod faults;
mod groups;
mod log;
mod topics;
mod transactions;
mod wire;

pub use broker::Broker;
pub use config::Config;
pub use error::{Error, Result};
pub use faults::{Action, Fault, Faults, Injected, Seen};
pub use kafka_protocol::{
    error::ResponseError as ErrorCode, messages::ApiKey, messages::RequestKind,
};
