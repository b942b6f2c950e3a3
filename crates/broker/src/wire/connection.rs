//! One connection: frames in, answers out, in order, one at a time (as Kafka does it).

use std::{net::SocketAddr, sync::Arc};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    error::ResponseError,
    messages::{ApiKey, RequestKind, ResponseHeader, ResponseKind},
    protocol::{Encodable, decode_request_header_from_buffer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{refuse, shape, versions};
use crate::{
    api::{self, Call},
    broker::Shared,
    faults::{Action, Seen},
};

/// The largest request, as in Kafka's `socket.request.max.bytes`.
const FRAME_MAX: usize = 100 << 20;
const READ_BYTES: usize = 64 << 10;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the client closed it")]
    ByClient,
    #[error("a fault closes it")]
    ByFault,
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the client sent something that is no request: {0}")]
    Malformed(String),
    #[error("the answer could not be encoded: {0}")]
    Answer(String),
}

/// Serves a connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    match run(shared, stream, peer).await {
        Err(Ended::ByClient) | Ok(()) => {}
        Err(Ended::Answer(what)) => tracing::error!(%peer, what, "closed a connection"),
        Err(why) => tracing::debug!(%peer, %why, "closed a connection"),
    }
}

async fn run(shared: Arc<Shared>, mut stream: TcpStream, peer: SocketAddr) -> Result<(), Ended> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        let frame = next_frame(&mut stream, &mut buffer).await?;
        if let Some(answer) = Box::pin(serve_frame(&shared, frame, peer)).await? {
            stream.write_all(&answer).await?;
        }
    }
}

async fn next_frame(stream: &mut TcpStream, buffer: &mut BytesMut) -> Result<Bytes, Ended> {
    loop {
        if let Some(length) = buffer.first_chunk::<4>() {
            let length = i32::from_be_bytes(*length);
            let size = usize::try_from(length)
                .ok()
                .filter(|size| *size <= FRAME_MAX)
                .ok_or_else(|| Ended::Malformed(format!("a frame of {length} bytes")))?;
            if buffer.len() >= size + 4 {
                buffer.advance(4);
                return Ok(buffer.split_to(size).freeze());
            }
            buffer.reserve(size + 4 - buffer.len());
        }
        buffer.reserve(READ_BYTES);
        if stream.read_buf(buffer).await? == 0 {
            return Err(Ended::ByClient);
        }
    }
}

/// Serves one request; gives the answer's frame, when there is to be one.
async fn serve_frame(
    shared: &Shared,
    mut frame: Bytes,
    peer: SocketAddr,
) -> Result<Option<BytesMut>, Ended> {
    let head = frame
        .first_chunk::<8>()
        .copied()
        .ok_or_else(|| Ended::Malformed("a frame without a header".into()))?;
    let (key, version) = (
        i16::from_be_bytes([head[0], head[1]]),
        i16::from_be_bytes([head[2], head[3]]),
    );
    let correlation_id = i32::from_be_bytes([head[4], head[5], head[6], head[7]]);
    let api = ApiKey::try_from(key).map_err(|()| Ended::Malformed(format!("unknown API {key}")))?;
    if !versions::is_spoken(api, version) {
        if api == ApiKey::ApiVersions {
            let told = versions::tell().with_error_code(ResponseError::UnsupportedVersion.code());
            return encode(api, 0, correlation_id, &ResponseKind::ApiVersions(told)).map(Some);
        }
        return Err(Ended::Malformed(format!(
            "{api:?} version {version} is not spoken"
        )));
    }
    let (client_id, request) = decode(api, version, &mut frame)?;
    let call = Call {
        version,
        client_id,
        peer,
    };
    let answer = answer(shared, api, &call, request).await?;
    answer
        .map(|answer| encode(api, version, correlation_id, &answer))
        .transpose()
}

/// The decoder may panic on nonsense; that is the client's error, not ours.
fn decode(api: ApiKey, version: i16, frame: &mut Bytes) -> Result<(String, RequestKind), Ended> {
    let decoded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let header = decode_request_header_from_buffer(frame).map_err(|error| error.to_string())?;
        let client_id = header
            .client_id
            .map(|id| id.as_str().to_owned())
            .unwrap_or_default();
        if !shape::fits(api, version, frame) {
            return Err("it claims to hold more than it does".to_owned());
        }
        let request =
            RequestKind::decode(api, frame, version).map_err(|error| error.to_string())?;
        Ok((client_id, request))
    }));
    match decoded {
        Ok(Ok(decoded)) => Ok(decoded),
        Ok(Err(error)) => Err(Ended::Malformed(format!(
            "{api:?} version {version}: {error}"
        ))),
        Err(_) => Err(Ended::Malformed(format!(
            "{api:?} version {version} cannot be decoded"
        ))),
    }
}

async fn answer(
    shared: &Shared,
    api: ApiKey,
    call: &Call,
    request: RequestKind,
) -> Result<Option<ResponseKind>, Ended> {
    tracing::trace!(version = call.version, client_id = call.client_id, ?request);
    match strike(shared, api, call, &request) {
        None => Ok(api::answer(shared, call, request).await),
        Some(Action::Close) => Err(Ended::ByFault),
        Some(Action::Error(error)) => match refuse::refuse(&request, error) {
            Some(refused) => Ok(Some(refused)),
            None => Err(Ended::ByFault),
        },
        Some(Action::Delay(delay)) => {
            wait(delay).await;
            Ok(api::answer(shared, call, request).await)
        }
        Some(Action::DropAnswer) => {
            api::answer(shared, call, request).await;
            Err(Ended::ByFault)
        }
        Some(Action::Silence) => {
            api::answer(shared, call, request).await;
            Ok(None)
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "the delay is the fault that was asked for"
)]
async fn wait(delay: std::time::Duration) {
    tokio::time::sleep(delay).await;
}

fn strike(shared: &Shared, api: ApiKey, call: &Call, request: &RequestKind) -> Option<Action> {
    if !shared.faults.any() {
        return None;
    }
    let topics = api::topics_of(shared, request);
    let seen = Seen {
        api,
        version: call.version,
        client_id: &call.client_id,
        topics: &topics,
        request,
    };
    shared.faults.strike(&seen)
}

fn encode(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    answer: &ResponseKind,
) -> Result<BytesMut, Ended> {
    let failed = |error: &dyn std::fmt::Display| {
        Ended::Answer(format!("{api:?} version {version}: {error}"))
    };
    let mut out = BytesMut::with_capacity(256);
    out.put_i32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header
        .encode(&mut out, api.response_header_version(version))
        .map_err(|error| failed(&error))?;
    answer
        .encode(&mut out, version)
        .map_err(|error| failed(&error))?;
    let size =
        i32::try_from(out.len() - 4).map_err(|_| Ended::Answer(format!("{api:?}: too large")))?;
    out[..4].copy_from_slice(&size.to_be_bytes());
    Ok(out)
}
