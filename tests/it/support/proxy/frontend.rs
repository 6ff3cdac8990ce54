//! What a client says to PostgreSQL: its messages (PostgreSQL's documentation, "Message Formats"), and the statement that each executes.

use std::collections::HashMap;

/// Asks for TLS instead of beginning.
const SSL_REQUEST: u32 = 80_877_103;
/// A message without its tag: the length, which counts itself.
const LENGTH_BYTES: usize = 4;

/// The messages of one connection.
#[derive(Default)]
pub(super) struct Frontend {
    buffer: Vec<u8>,
    has_begun: bool,
    statements: HashMap<String, String>,
    portals: HashMap<String, String>,
}

impl Frontend {
    /// Takes in what has arrived.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole message, and the statement that it executes.
    pub(super) fn next(&mut self) -> Option<(Vec<u8>, Option<String>)> {
        // The first message of a connection has no tag.
        let tag_bytes = usize::from(self.has_begun);
        let length = self.buffer.get(tag_bytes..tag_bytes + LENGTH_BYTES)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
        if self.buffer.len() < tag_bytes + length {
            return None;
        }
        let rest = self.buffer.split_off(tag_bytes + length);
        let message = std::mem::replace(&mut self.buffer, rest);
        let body = &message[tag_bytes + LENGTH_BYTES..];
        if !self.has_begun {
            let is_ssl = body.starts_with(&SSL_REQUEST.to_be_bytes());
            assert!(!is_ssl, "the proxy reads along in clear only: connect without TLS");
            self.has_begun = true;
            return Some((message, None));
        }
        let statement = self.executed(message[0], body);
        Some((message, statement))
    }

    fn executed(&mut self, tag: u8, body: &[u8]) -> Option<String> {
        let mut texts = body.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned());
        let mut text = || texts.next().unwrap_or_default();
        match tag {
            b'Q' => Some(text()),
            b'P' => {
                let (name, statement) = (text(), text());
                self.statements.insert(name, statement);
                None
            }
            b'B' => {
                let (portal, name) = (text(), text());
                let statement = self.statements.get(&name).cloned().unwrap_or_default();
                self.portals.insert(portal, statement);
                None
            }
            b'E' => self.portals.get(&text()).cloned(),
            _ => None,
        }
    }
}
