//! The report of a verification, online words and offline files.

use super::super::verify::tests::{CHANGE, READ, export as pieces, key, verify};
use super::*;

const KEY: &str = "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c";

fn command(file: &Path, public_key: Option<String>) -> Verify {
    Verify { file: Some(file.to_owned()), public_key, save: None }
}

fn saved(dir: &Path, pieces: &[v1::ExportTrailResponse]) -> PathBuf {
    let path = dir.join("trails");
    let mut writer = Writer::create(&path).unwrap();
    pieces.iter().for_each(|piece| writer.push(piece).unwrap());
    writer.keep().unwrap();
    path
}

#[test]
fn a_report_states_integrity_and_completeness_apart() {
    let whole = verify(pieces(), Some(key()));
    let answer = verdict(&whole);
    let heads: Vec<_> = whole.trails.iter().map(|trail| view::hash(&trail.result.unwrap().head.hash)).collect();
    assert_eq!(
        answer.text,
        format!(
            "integrity     HOLDS: 2 trails, 7 records, 7 events; every hash and signature is right\n\
             completeness  HOLDS: 1 token versions and 1 links have their records, no trail is missing\n\
             public key    {KEY} (given by you)\n\
             \n\
             TRAIL                                 KIND    RECORDS  EVENTS  FIRST                 LAST                  HEAD\n\
             {CHANGE}  change  5        5       2027-01-15T08:00:01Z  2027-01-15T08:00:05Z  {}\n\
             {READ}  read    2        2       2027-01-15T08:00:01Z  2027-01-15T08:00:02Z  {}\n",
            heads[0], heads[1]
        )
    );
    assert!(answer.holds && answer.warning.is_none());
    assert_eq!(answer.value["public_key"], json!({"key": KEY, "trust": "given"}));
    assert_eq!((&answer.value["holds"], &answer.value["trails"][1]["head"]), (&json!(true), &json!(heads[1])));
}

#[test]
fn a_key_of_the_servers_own_word_is_loud() {
    let answer = verdict(&verify(pieces(), None));
    assert!(answer.warning.unwrap().contains("trust on first use"));
    assert!(answer.text.contains("(the server's own word)"));
    assert_eq!(answer.value["public_key"]["trust"], "servers_word");
    let shown = public_key(&key());
    assert_eq!((shown.text.as_str(), shown.warning.as_deref()), (KEY, Some(TRUST_WARNING)));
}

#[test]
fn what_does_not_hold_is_listed_and_ends_with_an_error() {
    let mut altered = pieces();
    altered.remove(8);
    let answer = verdict(&verify(altered, Some(key())));
    assert!(!answer.holds);
    let fault = format!("trail {READ}: expected record 1, found record 2");
    let expected =
        format!("integrity     DOES NOT HOLD\n  - {fault}\ncompleteness  NOT JUDGED: it stands on integrity\n");
    assert!(answer.text.starts_with(&expected), "{}", answer.text);
    assert!(answer.text.contains("FAULTY"));
    assert_eq!(answer.value["integrity"], json!({"holds": false, "problems": [fault], "further_problems": 0}));
    assert_eq!(answer.value["completeness"]["result"], "not_judged");

    let mut lost = pieces();
    lost.drain(7..10);
    let answer = verdict(&verify(lost, Some(key())));
    assert!(!answer.holds);
    assert!(answer.text.starts_with("integrity     HOLDS"));
    assert!(answer.text.contains(&format!("completeness  DOES NOT HOLD\n  - read trail {READ} is missing\n")));
    assert_eq!(answer.value["completeness"]["missing"], json!([format!("read trail {READ} is missing")]));
}

#[tokio::test]
async fn a_saved_export_is_verified_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = saved(dir.path(), &pieces());
    // No server is named and none is there.
    let nowhere = Global { dev: Some(dir.path().to_owned()), ..Global::default() };
    let answer = command(&file, Some(KEY.to_owned())).run(&nowhere).await.unwrap_or_else(|failed| panic!("{failed}"));
    assert!(answer.holds);

    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert!(!command(&file, Some(KEY.to_owned())).run(&nowhere).await.is_ok_and(|answer| answer.holds));
    fs::write(&file, &bytes[..middle]).unwrap();
    assert!(!command(&file, Some(KEY.to_owned())).run(&nowhere).await.is_ok_and(|answer| answer.holds));
}

#[test]
fn a_key_is_given_as_digits_or_as_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let name = path.to_str().unwrap();
    assert_eq!(parse_key(KEY).unwrap(), key());
    assert_eq!(parse_key(&KEY.to_uppercase()).unwrap(), key());
    for content in [KEY.as_bytes(), format!("{KEY}\n").as_bytes(), &key().0] {
        fs::write(&path, content).unwrap();
        assert_eq!(parse_key(name).unwrap(), key());
    }
    for content in [&b""[..], &KEY.as_bytes()[1..], &[b'x'; 64], &[0; 2000]] {
        fs::write(&path, content).unwrap();
        assert!(matches!(parse_key(name), Err(Failure::Usage(_))), "{content:?}");
    }
    assert!(matches!(parse_key("no-such-file"), Err(Failure::File { .. })));
}
