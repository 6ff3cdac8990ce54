//! An export in a file: the pieces as they came, each a protobuf message with its length in front.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use prost::Message;

use super::failure::Failure;
use super::private::PrivateFile;
use crate::domain::trail::cbor::RECORD_BYTES_MAX;
use crate::v1::ExportTrailResponse;

/// Largest piece: the largest record, with room for its signature and the framing.
const PIECE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64 * 1024;
/// A length has at most ten bytes (protobuf encoding, varints).
const LENGTH_BYTES_MAX: u32 = 10;

/// Writes an export into a new private file.
#[derive(Debug)]
pub(crate) struct Writer(PrivateFile);

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        PrivateFile::create(path).map(Self)
    }

    pub(crate) fn push(&mut self, piece: &ExportTrailResponse) -> Result<(), Failure> {
        self.0.write(&piece.encode_length_delimited_to_vec())
    }

    pub(crate) fn keep(self) -> Result<(), Failure> {
        self.0.keep()
    }
}

/// Reads an export piece by piece.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    bytes: R,
    path: PathBuf,
}

impl Reader<BufReader<File>> {
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|fault| Failure::file(path, fault))?;
        Ok(Self { bytes: BufReader::new(file), path: path.to_owned() })
    }
}

impl<R: Read> Reader<R> {
    /// The next piece; none at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<ExportTrailResponse>, Failure> {
        let Some(length) = self.length()? else { return Ok(None) };
        let mut piece = vec![0; length];
        self.bytes.read_exact(&mut piece).map_err(|fault| self.fault(fault))?;
        let piece = ExportTrailResponse::decode(piece.as_slice());
        piece.map(Some).map_err(|_| self.bad("holds something else than an export"))
    }

    fn length(&mut self) -> Result<Option<usize>, Failure> {
        let mut length = 0_u64;
        for place in 0..LENGTH_BYTES_MAX {
            let mut byte = [0];
            match self.bytes.read_exact(&mut byte) {
                Ok(()) => {}
                Err(fault) if fault.kind() == ErrorKind::UnexpectedEof && place == 0 => return Ok(None),
                Err(fault) => return Err(self.fault(fault)),
            }
            let [byte] = byte;
            length |= u64::from(byte & 0x7f).checked_shl(place * 7).unwrap_or(0);
            if byte & 0x80 == 0 {
                let length = usize::try_from(length).ok().filter(|length| *length <= PIECE_BYTES_MAX);
                return length.map(Some).ok_or_else(|| self.bad("holds something else than an export"));
            }
        }
        Err(self.bad("holds something else than an export"))
    }

    fn fault(&self, fault: std::io::Error) -> Failure {
        match fault.kind() {
            ErrorKind::UnexpectedEof => self.bad("ends in the middle of a piece: it is not the whole export"),
            _ => Failure::file(&self.path, fault),
        }
    }

    fn bad(&self, said: &str) -> Failure {
        Failure::Usage(format!("{} {said}", self.path.display()))
    }
}

#[cfg(test)]
mod tests;
