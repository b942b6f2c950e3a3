//! The `millstream` command: pipeline files run, checked, evaluated and demonstrated; views served to Postgres clients and shown on a
//! status page. The only crate that knows a wire protocol; everything else is in the engine.
//!
//! ```text
//! cli ── run ────┐
//!      ├ demo ───┼─> server ─┬─> pgwire ──> query ──> engine
//!      ├ replay ─┘           └─> http ────────────────^
//!      └ eval, verify, check, explain ────────────────┘
//! ```

mod check;
mod cli;
mod demo;
mod eval;
mod http;
mod kafka;
mod pgwire;
mod plan;
mod print;
mod progress;
mod query;
mod replay;
mod run;
mod server;
mod verify;

use clap::Parser;
use cli::{Cli, Command};
use std::io::Write;
use std::process::ExitCode;

pub use pgwire::PgLimits;
pub use query::QueryLimits;
pub use replay::{Comparison, Replayed, replay};
pub use server::{Addresses, Server, ServerConfig};

/// Runs the command line of this process.
pub fn command() -> ExitCode {
    let cli = Cli::parse();
    let logged = match cli.command {
        // It ends with what has failed.
        Command::Eval(_) | Command::Verify(_) => "warn,millstream_runtime::step=off",
        Command::Run(_) => "warn,millstream_runtime::recovery=info",
        Command::Demo(_)
        | Command::Replay(_)
        | Command::Check(_)
        | Command::Plan(_)
        | Command::Explain(_) => "warn",
    };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| logged.into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let done = match cli.command {
        Command::Run(run) => run::run(&run),
        Command::Demo(demo) => demo::demo(&demo),
        Command::Replay(replay) => replay::command(&replay),
        Command::Eval(eval) => eval::eval(&eval),
        Command::Verify(verify) => return verify::verify(&verify),
        Command::Check(files) => check::check(&files, false),
        Command::Plan(files) => plan::plan(&files),
        Command::Explain(files) => check::check(&files, true),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            let _ = writeln!(
                std::io::stderr(),
                "{}",
                if text.starts_with("error: ") {
                    text
                } else {
                    format!("error: {text}")
                }
            );
            ExitCode::FAILURE
        }
    }
}
