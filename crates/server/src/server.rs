//! The ports of a process: Postgres and the status page, each on threads that nothing else waits for.
//!
//! Two runtimes: one for connections, one for planning and running queries, so that a heavy query slows other queries and not the
//! sockets. All their threads have large stacks: what walks a deep plan recurses, and an overflow would end the process.

use millstream_engine::Engine;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};

use crate::http::Pages;
use crate::pgwire::{PgLimits, Port};
use crate::query::{Queries, QueryLimits};

/// Address space, not memory: pages are taken as they are touched.
const STACK_BYTES: usize = 64 << 20;

/// How long running queries may hold up the end of a server.
const STOP_WAIT: Duration = Duration::from_millis(500);

/// What to serve.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The Postgres port; `None`: none. Port 0 takes any free one.
    pub pg: Option<SocketAddr>,
    /// The status page; `None`: none.
    pub http: Option<SocketAddr>,
    /// When an address is taken: how many of the next ones are tried.
    pub tries: u16,
    /// Bounds of the Postgres port.
    pub pg_limits: PgLimits,
    /// Bounds of queries.
    pub query_limits: QueryLimits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        let loopback = |port| Some(SocketAddr::from(([127, 0, 0, 1], port)));
        Self {
            pg: loopback(0),
            http: loopback(0),
            tries: 0,
            pg_limits: PgLimits::default(),
            query_limits: QueryLimits::default(),
        }
    }
}

/// Where a server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The Postgres port.
    pub pg: Option<SocketAddr>,
    /// The status page.
    pub http: Option<SocketAddr>,
}

/// Serves an engine until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    /// Dropped without waiting: a query that does not yield must not hold the process.
    runtimes: Vec<Runtime>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// When an address can't be listened on: which one, and why.
    pub fn start(engine: &Engine, config: &ServerConfig) -> Result<Self, String> {
        let runtime = |name: &str, threads: usize| {
            let built = Builder::new_multi_thread()
                .worker_threads(threads)
                .thread_stack_size(STACK_BYTES)
                .thread_name(name)
                .enable_all()
                .build();
            built.map_err(|error| format!("can't start threads: {error}"))
        };
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let (connections, queries) = (
            runtime("connections", cores.clamp(2, 8))?,
            runtime("queries", cores.max(2))?,
        );
        let pg = config
            .pg
            .map(|address| listen(&connections, address, config.tries, "Postgres port"))
            .transpose()?;
        let http = config
            .http
            .map(|address| listen(&connections, address, config.tries, "status page"))
            .transpose()?;
        let addresses = Addresses {
            pg: pg.as_ref().and_then(address),
            http: http.as_ref().and_then(address),
        };
        let bounded = Queries::new(
            engine.clone(),
            config.query_limits,
            queries.handle().clone(),
        );
        let port = Arc::new(Port::new(
            Arc::new(bounded.map_err(|error| error.message)?),
            config.pg_limits,
        ));
        if let Some(listener) = pg {
            connections.spawn(Arc::clone(&port).listen(listener));
        }
        if let Some(listener) = http {
            let pages = Pages {
                engine: engine.clone(),
                port: Some(port),
            };
            connections.spawn(pages.listen(listener));
        }
        Ok(Self {
            addresses,
            runtimes: vec![connections, queries],
        })
    }

    /// Ends all connections and queries, and waits a moment for what can't be interrupted. Not from within a runtime.
    pub fn stop(mut self) {
        self.runtimes
            .drain(..)
            .for_each(|runtime| runtime.shutdown_timeout(STOP_WAIT));
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.runtimes
            .drain(..)
            .for_each(Runtime::shutdown_background);
    }
}

fn address(listener: &TcpListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}

fn listen(
    runtime: &Runtime,
    address: SocketAddr,
    tries: u16,
    what: &str,
) -> Result<TcpListener, String> {
    let mut next = address;
    loop {
        match bind(runtime, next) {
            Ok(listener) => return Ok(listener),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && next.port() < address.port().saturating_add(tries) =>
            {
                next.set_port(next.port() + 1);
            }
            Err(error) => return Err(format!("can't listen on {next} for the {what}: {error}")),
        }
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4_096;

fn bind(runtime: &Runtime, address: SocketAddr) -> io::Result<TcpListener> {
    let _context = runtime.enter();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Lets the process hold as many connections as the system allows, not as many as a shell does.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    ) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
