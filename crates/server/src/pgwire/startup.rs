//! The first messages of a connection, up to the first ReadyForQuery.
//!
//! ```text
//! client                      server
//!   SSLRequest, GSSENCRequest -> 'N'          (there is no TLS yet: the port is for loopback)
//!   CancelRequest             -> closed
//!   StartupMessage            -> AuthenticationOk, ParameterStatus..., BackendKeyData, ReadyForQuery
//! ```

use bytes::{Buf, Bytes};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::response::{ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};
use std::sync::Arc;

use super::cancel::{Cancels, Registration};
use super::error::SqlError;
use super::session::Session;
use super::wire::{Failure, Input, Output};

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
const PROTOCOL_3_0: i32 = 3 << 16;

/// Greets a client. `None`: it only came to cancel.
pub(crate) async fn greet(
    input: &mut Input,
    output: &mut Output,
    cancels: &Arc<Cancels>,
) -> Result<Option<(Session, Registration)>, Failure> {
    // A client may ask for each encryption once.
    for _ in 0..4 {
        let mut packet = input.startup_packet().await?;
        match packet.get_u32() {
            SSL_REQUEST | GSS_REQUEST => output.raw(b"N").await?,
            CANCEL_REQUEST => {
                if packet.len() == 8 {
                    cancels.cancel(packet.get_i32(), packet.get_i32());
                }
                return Ok(None);
            }
            version if version >> 16 == 3 => {
                let session = session(&packet, version & 0xffff, output)?;
                let registration = cancels.register();
                welcome(&session, &registration, output);
                output.flush().await?;
                return Ok(Some((session, registration)));
            }
            version => {
                let message = format!(
                    "unsupported frontend protocol {}.{}: server supports 3.0",
                    version >> 16,
                    version & 0xffff
                );
                return Err(SqlError::fatal("0A000", message).into());
            }
        }
    }
    Err(SqlError::fatal("08P01", "too many encryption requests").into())
}

/// The session that a startup message asks for.
fn session(packet: &Bytes, minor: u32, output: &mut Output) -> Result<Session, SqlError> {
    let parameters = parameters(packet)?;
    let unknown: Vec<String> = parameters
        .iter()
        .filter(|(name, _)| name.starts_with("_pq_."))
        .map(|(name, _)| name.clone())
        .collect();
    if minor > 0 || !unknown.is_empty() {
        output.put(&Message::NegotiateProtocolVersion(
            NegotiateProtocolVersion::new(PROTOCOL_3_0, unknown),
        ));
    }
    let find = |wanted: &str| {
        parameters
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.clone())
    };
    let user = find("user")
        .filter(|user| !user.is_empty())
        .ok_or_else(|| {
            SqlError::fatal(
                "28000",
                "no PostgreSQL user name specified in startup packet",
            )
        })?;
    if find("replication")
        .is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0"))
    {
        return Err(SqlError::fatal(
            "0A000",
            "replication connections are not supported",
        ));
    }
    // There is one database: whichever is asked for is that one.
    let mut session = Session::new(user);
    for (name, value) in &parameters {
        match name.as_str() {
            "user" | "database" | "replication" => {}
            "options" => options(&mut session, value)?,
            name if name.starts_with("_pq_.") => {}
            name => drop(session.settings.set(name, Some(value)).map_err(fatal)?),
        }
    }
    session.starts_with();
    Ok(session)
}

fn fatal(error: SqlError) -> SqlError {
    SqlError {
        fatal: true,
        ..error
    }
}

fn parameters(packet: &Bytes) -> Result<Vec<(String, String)>, SqlError> {
    let malformed = || {
        SqlError::fatal(
            "08P01",
            "invalid startup packet layout: expected terminator as last byte",
        )
    };
    let texts = packet.strip_suffix(b"\0").ok_or_else(malformed)?;
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let texts = texts.strip_suffix(b"\0").ok_or_else(malformed)?;
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|_| SqlError::fatal("22021", "invalid byte sequence for encoding \"UTF8\""))
    };
    let texts = texts
        .split(|byte| *byte == 0)
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    if !texts.len().is_multiple_of(2) {
        return Err(malformed());
    }
    Ok(texts
        .chunks(2)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect())
}

/// `-c name=value` and `--name=value`, as PGOPTIONS gives them.
fn options(session: &mut Session, text: &str) -> Result<(), SqlError> {
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let pair = match word
            .strip_prefix("--")
            .or_else(|| word.strip_prefix("-c").filter(|rest| !rest.is_empty()))
        {
            Some(pair) => pair,
            None if word == "-c" => words.next().unwrap_or_default(),
            None => {
                return Err(SqlError::fatal(
                    "42601",
                    format!("invalid command-line argument for server process: {word}"),
                ));
            }
        };
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| SqlError::fatal("42601", format!("-c {pair} requires a value")))?;
        session
            .settings
            .set(&name.replace('-', "_"), Some(&value.replace('\\', "")))
            .map_err(fatal)?;
    }
    Ok(())
}

fn welcome(session: &Session, registration: &Registration, output: &mut Output) {
    output.put(&Message::Authentication(Authentication::Ok));
    for (name, value) in session.settings.reported() {
        output.put(&Message::ParameterStatus(ParameterStatus::new(
            name.to_owned(),
            value,
        )));
    }
    output.put(&Message::ParameterStatus(ParameterStatus::new(
        "session_authorization".to_owned(),
        session.user.clone(),
    )));
    output.put(&Message::BackendKeyData(BackendKeyData::new(
        registration.pid,
        SecretKey::I32(registration.secret),
    )));
    output.put(&Message::ReadyForQuery(ReadyForQuery::new(
        TransactionStatus::Idle,
    )));
}
