//! What was written is read back, and nothing else is.

use std::os::unix::fs::PermissionsExt;

use super::super::verify::tests::export;
use super::*;

fn read(bytes: &[u8]) -> Result<Vec<ExportTrailResponse>, Failure> {
    let mut reader = Reader { bytes, path: "x".into() };
    let mut pieces = Vec::new();
    while let Some(piece) = reader.next()? {
        pieces.push(piece);
    }
    Ok(pieces)
}

#[test]
fn a_saved_export_is_private_and_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trails");
    let mut writer = Writer::create(&path).unwrap();
    export().iter().for_each(|piece| writer.push(piece).unwrap());
    writer.keep().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read(&std::fs::read(&path).unwrap()).unwrap(), export());
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.next().unwrap(), export().first().cloned());
    assert!(matches!(Writer::create(&path), Err(Failure::File { .. })), "nothing is written over");
    assert_eq!(read(&std::fs::read(&path).unwrap()).unwrap(), export());
}

#[test]
fn an_export_that_broke_off_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trails");
    let mut writer = Writer::create(&path).unwrap();
    writer.push(&export()[0]).unwrap();
    drop(writer);
    assert!(!path.exists());
}

#[test]
fn a_file_that_ends_within_a_piece_is_refused() {
    let bytes: Vec<u8> = export().iter().flat_map(Message::encode_length_delimited_to_vec).collect();
    let mut whole = 0;
    for end in 0..bytes.len() {
        match read(&bytes[..end]) {
            Ok(_) => whole += 1,
            Err(failure) => assert!(failure.to_string().contains("middle of a piece"), "{end}: {failure}"),
        }
    }
    assert_eq!(whole, export().len(), "only at the ends of pieces");
}

#[test]
fn other_files_are_refused_and_reserve_nothing() {
    for bytes in [&[0xff; 16][..], &[0x80; 11], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[3, 0xff, 0xff, 0xff]] {
        let failure = read(bytes).unwrap_err();
        assert!(failure.to_string().contains("something else"), "{bytes:?}: {failure}");
        assert_eq!(failure.exit_code(), 2);
    }
    assert!(read(&[]).unwrap().is_empty());
}
