//! Progress of long work on a terminal: rows, rows a second, lag.

use millstream_engine::Engine;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Prints a line about an engine while it lives, if standard error is a terminal.
pub(crate) struct Watcher {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Starts to watch.
    pub(crate) fn start(engine: &Engine) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::io::stderr().is_terminal().then(|| {
            let (engine, ended) = (engine.clone(), Arc::clone(&ended));
            std::thread::spawn(move || watch(&engine, &ended))
        });
        Self { ended, thread }
    }

    /// Stops, and clears the line.
    pub(crate) fn stop(self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread {
            thread.thread().unpark();
            let _ = thread.join();
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn watch(engine: &Engine, ended: &AtomicBool) {
    let mut before = 0;
    loop {
        std::thread::park_timeout(Duration::from_secs(1));
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let Some(progress) = engine.progress() else {
            continue;
        };
        let rows = progress.rows;
        let _ = write!(
            std::io::stderr(),
            "\r\x1b[K{rows} rows, {} rows/s",
            rows - before
        );
        before = rows;
    }
}
