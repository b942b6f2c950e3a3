//! The broker as a whole: opens the folder, listens, serves, ticks, stops.
//!
//! It runs on threads and a runtime of its own, so that it can be started from any program: from within another
//! runtime, from a test that blocks its only thread in a client, or from no runtime at all.

use std::{
    fmt,
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Runtime;

use crate::{
    clock::now_ms,
    config::Config,
    error::{At, Error, Result},
    faults::Faults,
    groups::{coordinator::Groups, offsets::Offsets},
    topics::Topics,
    transactions::coordinator::Transactions,
    wire::connection,
};

/// The one node's id.
pub(crate) const NODE_ID: i32 = 1;
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// Where clients are told to connect to.
#[derive(Clone, Debug)]
pub(crate) struct Advertised {
    pub(crate) host: String,
    pub(crate) port: i32,
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) advertised: Advertised,
    pub(crate) cluster_id: String,
    pub(crate) dir: PathBuf,
    pub(crate) auto_create_topics: bool,
    pub(crate) default_partitions: i32,
    pub(crate) topics: Arc<Topics>,
    pub(crate) offsets: Arc<Offsets>,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) faults: Faults,
    /// Held while the broker lives.
    _lock: File,
    _temporary: Option<tempfile::TempDir>,
}

/// A running broker. [`Broker::shutdown`] stops it; so does dropping it, which blocks for the moment that it takes.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    advertised: Advertised,
    faults: Faults,
    start_line: String,
    runtime: Option<Runtime>,
}

impl Broker {
    /// Starts a broker and gives it when it accepts connections. Opening a large folder takes a while, so that it is
    /// done on a thread of its own.
    ///
    /// # Errors
    /// When the address is taken, the folder is in use, or its files cannot be read.
    pub async fn start(config: Config) -> Result<Broker> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("broker-start".into())
            .spawn(move || {
                // Whoever asked may have gone; the broker then stops by being dropped.
                drop(sender.send(Broker::start_blocking(config)));
            })
            .map_err(Error::Threads)?;
        receiver.await.map_err(|_| Error::Stopped)?
    }

    /// As [`Broker::start`], for a caller without a runtime.
    ///
    /// # Errors
    /// As [`Broker::start`].
    pub fn start_blocking(config: Config) -> Result<Broker> {
        let listen_error = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(listen_error)?;
        listener.set_nonblocking(true).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let advertised = advertise(&config, address);
        let threads = config.threads.max(1);
        let (tick, retention) = (config.tick, config.retention_interval);
        let shared = Arc::new(open(config, advertised.clone())?);
        // What was decided before a kill is finished before anyone can ask.
        shared.transactions.tick(now_ms())?;
        let start_line = format!(
            "millstream broker on {advertised} for development and tests (one node, no replication; production is Apache Kafka), log in {}",
            shared.dir.display()
        );
        tracing::info!("{start_line}");
        let faults = shared.faults.clone();
        // Last, because a runtime must not be dropped within another one, as a failure after this would do.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("broker")
            .enable_all()
            .build()
            .map_err(Error::Threads)?;
        runtime.spawn(keep_time(Arc::clone(&shared), tick, retention));
        runtime.spawn(accept(shared, listener));
        Ok(Broker {
            address,
            advertised,
            faults,
            start_line,
            runtime: Some(runtime),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to give a client as `bootstrap.servers`.
    pub fn bootstrap_servers(&self) -> String {
        self.advertised.to_string()
    }

    /// The faults that this broker shows.
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// One line for people: where it listens, where its log is, and that it is for development.
    pub fn start_line(&self) -> &str {
        &self.start_line
    }

    /// Stops: closes the connections, ends the threads, lets go of the folder.
    pub async fn shutdown(mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // The receiver may have been dropped with the future that awaited it.
        let stopped = move || {
            sender.send(()).ok();
        };
        if stop(runtime, stopped).is_ok() {
            drop(receiver.await);
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Waiting takes a moment and is worth it: the folder can be opened again, or is gone if it was temporary.
        if let Some(runtime) = self.runtime.take()
            && let Ok(stopping) = stop(runtime, || ())
        {
            drop(stopping.join());
        }
    }
}

/// Ends a runtime on a thread of its own, because a runtime must not be ended within another one.
fn stop(
    runtime: Runtime,
    stopped: impl FnOnce() + Send + 'static,
) -> io::Result<std::thread::JoinHandle<()>> {
    let stop = move || {
        runtime.shutdown_timeout(SHUTDOWN_WAIT);
        stopped();
    };
    std::thread::Builder::new()
        .name("broker-stop".into())
        .spawn(stop)
}

/// Clients cannot connect to "any address", but to this machine.
fn advertise(config: &Config, address: SocketAddr) -> Advertised {
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.to_string(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.to_string(),
    };
    Advertised {
        host: config.advertised_host.clone().unwrap_or(host),
        port: i32::from(config.advertised_port.unwrap_or(address.port())),
    }
}

fn open(config: Config, advertised: Advertised) -> Result<Shared> {
    let temporary = match &config.dir {
        Some(_) => None,
        None => Some(
            tempfile::Builder::new()
                .prefix("millstream-broker-")
                .tempdir()
                .at("create", &std::env::temp_dir())?,
        ),
    };
    let dir = match (&config.dir, &temporary) {
        (Some(dir), _) => dir.clone(),
        (None, temporary) => temporary
            .as_ref()
            .map(|dir| dir.path().to_path_buf())
            .unwrap_or_default(),
    };
    fs::create_dir_all(&dir).at("create", &dir)?;
    let lock = lock(&dir)?;
    let topics = Arc::new(Topics::open(&dir, config.topic_defaults)?);
    let offsets = Arc::new(Offsets::open(&dir.join("groups"))?);
    let timeout_max_ms =
        i64::try_from(config.transaction_timeout_max.as_millis()).unwrap_or(i64::MAX);
    let transactions = Transactions::open(
        &dir.join("transactions"),
        Arc::clone(&topics),
        Arc::clone(&offsets),
        timeout_max_ms,
    )?;
    Ok(Shared {
        advertised,
        cluster_id: cluster_id(&dir)?,
        auto_create_topics: config.auto_create_topics,
        default_partitions: config.default_partitions.max(1),
        topics,
        offsets,
        groups: Groups::new(
            i64::try_from(config.group_initial_delay.as_millis()).unwrap_or(i64::MAX),
        ),
        transactions,
        faults: Faults::default(),
        dir,
        _lock: lock,
        _temporary: temporary,
    })
}

/// What the connections would share, without any.
#[cfg(test)]
pub(crate) fn open_for_test(config: Config) -> Shared {
    let address = config.listen;
    let advertised = advertise(&config, address);
    open(config, advertised).unwrap()
}

fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let file = File::create(&path).at("create", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::InUse(dir.to_path_buf())),
        Err(fs::TryLockError::Error(error)) => Err(error).at("lock", &path),
    }
}

/// The cluster's id: made once, kept in the folder.
fn cluster_id(dir: &Path) -> Result<String> {
    let path = dir.join("cluster");
    match fs::read_to_string(&path) {
        Ok(id) => Ok(id.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let id = uuid::Uuid::new_v4().simple().to_string();
            fs::write(&path, &id).at("write", &path)?;
            Ok(id)
        }
        Err(error) => Err(error).at("read", &path),
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "cannot accept connections");
            return;
        }
    };
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                tokio::spawn(connection::serve(Arc::clone(&shared), stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                wait_for_others_to_close().await;
            }
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "too many files are open, most likely, and nothing tells when one is free again"
)]
async fn wait_for_others_to_close() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// What has to happen by the clock: timeouts at each tick, retention now and then.
async fn keep_time(shared: Arc<Shared>, tick: Duration, retention: Duration) {
    let mut ticks = tokio::time::interval(tick.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retained_at = tokio::time::Instant::now();
    loop {
        let at = ticks.tick().await;
        shared.groups.tick(now_ms());
        if let Err(error) = shared.transactions.tick(now_ms()) {
            tracing::error!(%error, "cannot end a transaction");
        }
        if at.duration_since(retained_at) >= retention {
            retained_at = at;
            retain(&shared);
        }
    }
}

fn retain(shared: &Shared) {
    for topic in shared.topics.list() {
        let config = topic.config();
        for partition in topic.partitions() {
            if let Err(error) = partition.retain(&config) {
                tracing::error!(topic = topic.name, partition = partition.index, %error, "retention");
            }
        }
    }
}
