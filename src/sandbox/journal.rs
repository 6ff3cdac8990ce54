//! The durable state: one line of JSON per change, written before the change is answered, replayed at start.
//!
//! A line is one whole step (all its events or none). A last line without its end was never answered and is cut off; a
//! broken line anywhere else is an error, never skipped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::state::Event;

/// The journal's name in the sandbox's directory.
pub(super) const FILE_NAME: &str = "journal.jsonl";

/// Format of the lines.
const FORMAT: u32 = 1;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JournalError {
    /// The file system said no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Another sandbox has it open.
    #[error("another sandbox uses this directory")]
    InUse,
    /// A line in the middle cannot be read.
    #[error("line {line} of the journal is broken")]
    Broken { line: u64 },
}

#[derive(Serialize, Deserialize)]
struct Line<E> {
    format: u32,
    position: u64,
    events: E,
}

/// An append-only file of events; without a file, a counter.
pub(super) struct Journal {
    file: Option<File>,
    length: u64,
    position: u64,
    is_closed: bool,
}

impl Journal {
    /// A journal that keeps nothing.
    pub(super) const fn in_memory() -> Self {
        Self { file: None, length: 0, position: 0, is_closed: false }
    }

    /// Opens (or makes) the journal in `dir` and returns it with all its events.
    pub(super) fn open(dir: &Path) -> Result<(Self, Vec<Event>), JournalError> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(FILE_NAME);
        let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (events, position, length) = replay(&bytes)?;
        if length < u64::try_from(bytes.len()).unwrap_or(u64::MAX) {
            file.set_len(length)?;
        }
        file.seek(SeekFrom::End(0))?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok((Self { file: Some(file), length, position, is_closed: false }, events))
    }

    /// Whether a change waits for a disk.
    pub(super) const fn is_durable(&self) -> bool {
        self.file.is_some()
    }

    /// Lines written so far.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// Writes one step; with `durable`, returns only when the disk has it. After an error nothing of the step is kept,
    /// or the journal is closed for good.
    pub(super) fn append(&mut self, events: &[Event], durable: bool) -> io::Result<()> {
        if self.is_closed {
            return Err(io::Error::other("the sandbox is stopped"));
        }
        let position = self.position.saturating_add(1);
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&Line { format: FORMAT, position, events })?;
            line.push(b'\n');
            let written = file.write_all(&line).and_then(|()| if durable { file.sync_data() } else { Ok(()) });
            if let Err(error) = written {
                self.is_closed = file.set_len(self.length).and_then(|()| file.sync_data()).is_err();
                return Err(error);
            }
            self.length = self.length.saturating_add(u64::try_from(line.len()).unwrap_or(0));
        }
        self.position = position;
        Ok(())
    }

    /// Gives up the file; nothing is written any more.
    pub(super) fn close(&mut self) {
        if let Some(file) = self.file.take() {
            // Unsynced lines are call-log lines of calls that changed nothing; losing them loses no state.
            drop(file.sync_data());
        }
        self.is_closed = true;
    }
}

/// All events, the number of whole lines and how many bytes they take.
fn replay(bytes: &[u8]) -> Result<(Vec<Event>, u64, u64), JournalError> {
    let mut events = Vec::new();
    let mut position = 0_u64;
    let mut length = 0_u64;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if !line.ends_with(b"\n") {
            break;
        }
        let expected = position.saturating_add(1);
        let read: Line<Vec<Event>> = match serde_json::from_slice(line) {
            Ok(read) => read,
            Err(_) => return Err(JournalError::Broken { line: expected }),
        };
        if read.format != FORMAT || read.position != expected {
            return Err(JournalError::Broken { line: expected });
        }
        events.extend(read.events);
        position = expected;
        length = length.saturating_add(u64::try_from(line.len()).unwrap_or(0));
    }
    Ok((events, position, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(offset_us: i64) -> Event {
        Event::ClockAdvanced { offset_us }
    }

    fn offsets(events: &[Event]) -> Vec<i64> {
        let offset = |event: &Event| if let Event::ClockAdvanced { offset_us } = event { *offset_us } else { -1 };
        events.iter().map(offset).collect()
    }

    #[test]
    fn what_was_appended_is_replayed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, events) = Journal::open(dir.path()).unwrap();
        assert!(events.is_empty());
        journal.append(&[clock(1), clock(2)], true).unwrap();
        journal.append(&[clock(3)], false).unwrap();
        journal.close();
        assert!(journal.append(&[clock(4)], true).is_err());
        let (journal, events) = Journal::open(dir.path()).unwrap();
        assert_eq!((offsets(&events), journal.position()), (vec![1, 2, 3], 2));
    }

    #[test]
    fn a_torn_last_line_is_cut_and_a_broken_middle_line_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (mut journal, _) = Journal::open(dir.path()).unwrap();
        journal.append(&[clock(1)], true).unwrap();
        journal.append(&[clock(2)], true).unwrap();
        journal.close();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let (mut journal, events) = Journal::open(dir.path()).unwrap();
        assert_eq!(offsets(&events), [1]);
        journal.append(&[clock(7)], true).unwrap();
        journal.close();
        let (mut journal, events) = Journal::open(dir.path()).unwrap();
        assert_eq!(offsets(&events), [1, 7]);
        journal.close();
        let mut broken = whole;
        broken[3] = b'#';
        std::fs::write(&path, &broken).unwrap();
        assert!(matches!(Journal::open(dir.path()), Err(JournalError::Broken { line: 1 })));
    }

    #[test]
    fn two_sandboxes_cannot_share_a_directory_and_the_file_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let _first = Journal::open(dir.path()).unwrap();
        assert!(matches!(Journal::open(dir.path()), Err(JournalError::InUse)));
        let mode = std::fs::metadata(dir.path().join(FILE_NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
