//! Messages as bytes: four bytes with the length, little-endian, then as many bytes of JSON.

use crate::protocol::MAX_MESSAGE_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind, Read, Write};

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A pipe broke.
    #[error("the pipe broke: {0}")]
    Io(#[from] io::Error),
    /// The other side ended in the middle of a message.
    #[error("the message ended after {read} of {expected} bytes")]
    Truncated {
        /// Bytes that came.
        read: usize,
        /// Bytes that were announced.
        expected: usize,
    },
    /// A message is larger than [`MAX_MESSAGE_BYTES`].
    #[error("a message of {0} bytes; {MAX_MESSAGE_BYTES} are allowed")]
    TooLong(usize),
    /// A message is no JSON, or none that belongs here.
    #[error("not a message: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The bytes of a message.
///
/// # Errors
/// [`WireError::TooLong`].
pub fn encode(message: &impl Serialize) -> Result<Vec<u8>, WireError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - 4;
    match u32::try_from(length) {
        Ok(prefix) if length <= MAX_MESSAGE_BYTES => bytes[..4].copy_from_slice(&prefix.to_le_bytes()),
        _ => return Err(WireError::TooLong(length)),
    }
    Ok(bytes)
}

/// Writes a message and flushes.
///
/// # Errors
/// [`WireError::TooLong`], before anything is written; [`WireError::Io`].
pub fn write(to: &mut impl Write, message: &impl Serialize) -> Result<(), WireError> {
    to.write_all(&encode(message)?)?;
    Ok(to.flush()?)
}

/// Reads the next message; `None` when the other side has ended between two messages. No more memory is taken than bytes
/// have come.
///
/// # Errors
/// [`WireError`].
pub fn read<M: DeserializeOwned>(from: &mut impl Read) -> Result<Option<M>, WireError> {
    let mut prefix = [0; 4];
    match fill(from, &mut prefix)? {
        0 => return Ok(None),
        4 => {}
        read => return Err(WireError::Truncated { read, expected: 4 }),
    }
    let length = u32::from_le_bytes(prefix) as usize;
    if length > MAX_MESSAGE_BYTES {
        return Err(WireError::TooLong(length));
    }
    let mut bytes = Vec::new();
    let read = from.take(length as u64).read_to_end(&mut bytes)?;
    if read < length {
        return Err(WireError::Truncated { read, expected: length });
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Reads until `buffer` is full or the stream ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GuestMessage, HostMessage};
    use proptest::prelude::*;

    #[test]
    fn messages_follow_each_other_and_the_end_is_seen() {
        let mut bytes = Vec::new();
        write(&mut bytes, &HostMessage::Taken { slot: 3 }).unwrap();
        write(&mut bytes, &HostMessage::Bye).unwrap();
        let mut from = bytes.as_slice();
        assert_eq!(read::<HostMessage>(&mut from).unwrap(), Some(HostMessage::Taken { slot: 3 }));
        assert_eq!(read::<HostMessage>(&mut from).unwrap(), Some(HostMessage::Bye));
        assert_eq!(read::<HostMessage>(&mut from).unwrap(), None);
    }

    #[test]
    fn every_truncation_is_an_error_that_says_so() {
        let whole = encode(&GuestMessage::Progress { text: "Reading weights…".into() }).unwrap();
        for end in 1..whole.len() {
            let error = read::<GuestMessage>(&mut &whole[..end]).unwrap_err();
            assert!(matches!(error, WireError::Truncated { .. }), "{end}: {error}");
        }
    }

    #[test]
    fn an_announced_giant_is_refused_before_it_is_read() {
        let bytes = [0xff; 4];
        assert!(matches!(read::<GuestMessage>(&mut bytes.as_slice()), Err(WireError::TooLong(_))));
        let long = GuestMessage::Progress { text: "x".repeat(MAX_MESSAGE_BYTES) };
        assert!(matches!(encode(&long), Err(WireError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut from = bytes.as_slice();
            while let Ok(Some(_)) = read::<GuestMessage>(&mut from) {}
        }
    }
}
