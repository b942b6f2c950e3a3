//! What clients send, decoded without ever trusting a length.
//!
//! Messages are framed by [`super::input`]; here a whole body becomes a value. pgwire's own decoders index and split what
//! arrives as its lengths say, and so panic on a body that is cut: these return an error.

use bytes::Bytes;

/// A message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frontend {
    /// Statements as text.
    Query(String),
    /// Prepare a statement.
    Parse {
        /// Its name; empty: the unnamed one.
        name: String,
        /// Its text.
        text: String,
        /// The types of its first parameters; 0: not said.
        types: Vec<u32>,
    },
    /// Give a statement its parameters.
    Bind(Bind),
    /// What a statement or portal gives.
    Describe(Target),
    /// Run a portal.
    Execute {
        /// Its name.
        portal: String,
        /// At most this many rows; 0 or less: all.
        rows_max: i32,
    },
    /// Forget a statement or portal.
    Close(Target),
    /// Send what waits.
    Flush,
    /// The end of a series of messages.
    Sync,
    /// Goodbye.
    Terminate,
    /// Data for COPY, which no statement here asks for.
    Copy,
    /// An answer to a password request that was not made.
    Password,
}

/// A statement or a portal, by name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

/// Parameters for a statement.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bind {
    pub portal: String,
    pub statement: String,
    /// None: all text. One: for all. Otherwise one each.
    pub parameter_formats: Vec<i16>,
    /// `None` is NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// None: all text. One: for all. Otherwise one each.
    pub result_formats: Vec<i16>,
}

/// Why a body is not what its type says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// No such message.
    Type(u8),
    /// The body ends too early, or goes on.
    Length,
    /// Text that is not UTF-8.
    Encoding,
}

impl Frontend {
    /// Decodes a body.
    pub(crate) fn decode(kind: u8, body: Bytes) -> Result<Self, Malformed> {
        let mut body = Body(body);
        let message = match kind {
            b'Q' => Self::Query(body.text()?),
            b'P' => Self::Parse {
                name: body.text()?,
                text: body.text()?,
                types: body.list(4, |body| body.int32().map(|oid| oid as u32))?,
            },
            b'B' => Self::Bind(Bind {
                portal: body.text()?,
                statement: body.text()?,
                parameter_formats: body.list(2, Body::int16)?,
                parameters: body.list(4, Body::value)?,
                result_formats: body.list(2, Body::int16)?,
            }),
            b'D' => Self::Describe(body.target()?),
            b'E' => Self::Execute {
                portal: body.text()?,
                rows_max: body.int32()?,
            },
            b'C' => Self::Close(body.target()?),
            b'H' => Self::Flush,
            b'S' => Self::Sync,
            b'X' => Self::Terminate,
            b'd' | b'c' | b'f' => return Ok(Self::Copy),
            b'p' => return Ok(Self::Password),
            other => return Err(Malformed::Type(other)),
        };
        if body.0.is_empty() {
            Ok(message)
        } else {
            Err(Malformed::Length)
        }
    }
}

/// What is left of a body.
struct Body(Bytes);

impl Body {
    fn take(&mut self, length: usize) -> Result<Bytes, Malformed> {
        if length > self.0.len() {
            return Err(Malformed::Length);
        }
        Ok(self.0.split_to(length))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .ok_or(Malformed::Length)?;
        let text = self.take(end)?;
        self.take(1)?;
        String::from_utf8(text.into()).map_err(|_| Malformed::Encoding)
    }

    fn int16(&mut self) -> Result<i16, Malformed> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn int32(&mut self) -> Result<i32, Malformed> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn value(&mut self) -> Result<Option<Bytes>, Malformed> {
        match self.int32()? {
            -1 => Ok(None),
            length => self
                .take(usize::try_from(length).map_err(|_| Malformed::Length)?)
                .map(Some),
        }
    }

    /// A count (unsigned, as parameters number up to 65,535) and as many items of at least `bytes_min` bytes.
    fn list<T>(
        &mut self,
        bytes_min: usize,
        read: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.int16()? as u16);
        if count * bytes_min > self.0.len() {
            return Err(Malformed::Length);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn target(&mut self) -> Result<Target, Malformed> {
        match self.take(1)?[0] {
            b'S' => self.text().map(Target::Statement),
            b'P' => self.text().map(Target::Portal),
            _ => Err(Malformed::Length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(kind: u8, body: &[u8]) -> Result<Frontend, Malformed> {
        Frontend::decode(kind, Bytes::copy_from_slice(body))
    }

    #[test]
    fn whole_messages() {
        assert_eq!(
            decode(b'Q', b"SELECT 1\0"),
            Ok(Frontend::Query("SELECT 1".to_owned()))
        );
        let bind = decode(
            b'B',
            b"p\0s\0\0\x01\0\x01\0\x02\xff\xff\xff\xff\0\0\0\x01x\0\0",
        )
        .unwrap();
        let Frontend::Bind(bind) = bind else {
            panic!("{bind:?}")
        };
        assert_eq!(
            (bind.parameter_formats, bind.parameters),
            (vec![1], vec![None, Some(Bytes::from_static(b"x"))])
        );
    }

    #[test]
    fn every_cut_and_every_wild_byte_is_an_error_or_a_message() {
        let whole: [(u8, &[u8]); 4] = [
            (b'P', b"n\0SELECT $1\0\0\x01\0\0\0\x17"),
            (b'B', b"\0\0\0\x01\0\x01\0\x01\0\0\0\x04abcd\0\x01\0\x01"),
            (b'E', b"\0\0\0\0\x05"),
            (b'D', b"Sx\0"),
        ];
        for (kind, body) in whole {
            assert!(decode(kind, body).is_ok());
            for end in 0..body.len() {
                assert!(
                    decode(kind, &body[..end]).is_err(),
                    "{} cut at {end}",
                    kind as char
                );
            }
            for at in 0..body.len() {
                let mut wild = body.to_vec();
                wild[at] = 0xff;
                let _ = decode(kind, &wild);
            }
        }
        assert_eq!(decode(b'Q', b"\xff\0"), Err(Malformed::Encoding));
        assert_eq!(decode(b'~', b""), Err(Malformed::Type(b'~')));
    }
}
