//! The `millstream` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    millstream_server::command()
}
