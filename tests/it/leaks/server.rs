//! What a PostgreSQL server has of a scenario: the rows of its schema, the files in which they lie, and the log of all that was written
//! meanwhile.

use std::path::PathBuf;

use strongroom::demo::search::files_below;

use super::Place;
use crate::support::database::Intruder;
use crate::support::postgres::Schema;

/// The next byte of the server's log, as a segment's name and the place in it.
const HERE: &str = "SELECT pg_walfile_name(pg_current_wal_insert_lsn()), \
     CAST(mod(pg_current_wal_insert_lsn() - '0/0', pg_size_bytes(current_setting('wal_segment_size'))) AS BIGINT)";
const DATA: &str = "SELECT current_setting('data_directory')";
/// Has everything written into the files of the tables.
const CHECKPOINT: &str = "CHECKPOINT";
/// Every file of the schema's tables and indexes, and of what is stored apart because it is long.
const FILES: &str = "SELECT c.relname::text, pg_relation_filepath(c.oid) FROM pg_class c \
     WHERE pg_relation_filepath(c.oid) IS NOT NULL AND (c.relnamespace = current_schema()::regnamespace \
     OR c.oid IN (SELECT t.reltoastrelid FROM pg_class t WHERE t.relnamespace = current_schema()::regnamespace))";
/// Every row of every table as text, bytes in hexadecimal digits: what a file holds compressed is plain here.
const HEXADECIMAL: &str = "SET xmlbinary = 'hex'";
const ROWS: &str = "SELECT schema_to_xml(current_schema(), false, false, '')::text";

/// A server's log from here on.
pub(super) struct Since {
    segment: String,
    at: usize,
}

impl Since {
    /// From now on.
    pub(super) async fn now(schema: &Schema) -> Self {
        let (segment, at) = here(&mut looking(schema).await).await;
        Self { segment, at }
    }

    /// All places where the server has something of this schema, or of what happened since.
    pub(super) async fn places(&self, schema: &Schema) -> Vec<Place> {
        let mut database = looking(schema).await;
        let data: Vec<(String,)> = database.rows(DATA).await;
        let data = PathBuf::from(&data[0].0);
        let (last, end) = here(&mut database).await;
        let mut places = self.log(&data, &last, end);
        database.execute(CHECKPOINT, &[]).await;
        let files: Vec<(String, String)> = database.rows(FILES).await;
        places.extend(files.into_iter().map(|(name, path)| {
            let bytes = std::fs::read(data.join(&path));
            // A file that cannot be read would be one that is not searched.
            assert!(bytes.is_ok(), "{path} of the server's data directory: {:?}", bytes.err());
            Place { kind: "file", name, bytes: bytes.unwrap() }
        }));
        database.execute(HEXADECIMAL, &[]).await;
        let rows: Vec<(String,)> = database.rows(ROWS).await;
        places.extend(rows.into_iter().map(|(rows,)| Place { kind: "row", name: String::new(), bytes: rows.into() }));
        places
    }

    fn log(&self, data: &std::path::Path, last: &str, end: usize) -> Vec<Place> {
        let dir = data.join("pg_wal");
        let files = files_below(&dir);
        assert!(files.is_ok(), "the server's log: {:?}", files.err());
        // Names of segments are in order, and all of one length.
        let is_between = |name: &str| name.len() == last.len() && *name >= *self.segment && name <= last;
        let mut segments: Vec<Place> = Vec::new();
        for path in files.unwrap() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.parent() == Some(&*dir) && is_between(&name) {
                let mut bytes = std::fs::read(&path).unwrap();
                if name == last {
                    bytes.truncate(end);
                }
                if name == self.segment {
                    bytes.drain(..self.at);
                }
                segments.push(Place { kind: "server log", name, bytes });
            }
        }
        assert!(segments.iter().any(|segment| segment.name == self.segment), "the server reused a part of its log");
        segments
    }
}

async fn looking(schema: &Schema) -> Intruder {
    Intruder::Postgres(schema.intruder().await)
}

async fn here(database: &mut Intruder) -> (String, usize) {
    let here: Vec<(String, i64)> = database.rows(HERE).await;
    (here[0].0.clone(), usize::try_from(here[0].1).unwrap())
}
