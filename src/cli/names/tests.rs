//! What `names check` reads, prints and ends with.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: NamesCommand,
}

fn parse(arguments: &[&str]) -> Result<Line, clap::Error> {
    Line::try_parse_from(["names", "check"].iter().chain(arguments))
}

/// Runs the command; how it ended and what it printed.
fn check(arguments: &[&str]) -> (Result<u8, String>, String) {
    let line = parse(arguments).unwrap_or_else(|refused| panic!("{refused}"));
    let mut out = Vec::new();
    let ended = run(line.command, &line.global, &mut out).map_err(|failure| {
        assert_eq!(failure.exit_code(), 2, "{failure}");
        failure.to_string()
    });
    (ended, String::from_utf8(out).unwrap())
}

/// The lines of JSON for a file with these bytes.
fn check_file(bytes: &[u8]) -> (Result<u8, String>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.txt");
    std::fs::write(&path, bytes).unwrap();
    let (ended, printed) = check(&["--json", "--from", path.to_str().unwrap()]);
    (ended, printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["name"].as_str().unwrap()).collect()
}

#[test]
fn names_or_a_file_and_nothing_else_are_judged() {
    for good in [&["Joe's"][..], &["a", "b"], &["--from", "x"], &[""], &["--", "-x"], &["--dba", "d", "n", "--json"]] {
        assert!(parse(good).is_ok(), "{good:?}");
    }
    for bad in [&[][..], &["--dba", "d"], &["Joe's", "--from", "x"], &["--nope", "x"], &["-x"]] {
        assert_eq!(parse(bad).err().map(|refused| refused.exit_code()), Some(2), "{bad:?}");
    }
}

#[test]
fn a_line_of_json_says_everything_about_one_name() {
    let (ended, printed) = check(&["--json", "ORD-2024-00012345 Joe's Coffee House", "--dba", "Joe's"]);
    assert_eq!(ended, Ok(1));
    assert_eq!(
        serde_json::from_str::<Value>(&printed).unwrap(),
        json!({
            "name": "ORD-2024-00012345 Joe's Coffee House",
            "verdict": "refuse",
            "reasons": ["reference_id", "starts_unrecognisable"],
            "preview": "WPY*ORD-2024-00012",
            "previews": {"14": "WPY*ORD-2024-0", "18": "WPY*ORD-2024-00012", "20": "WPY*ORD-2024-0001234"},
            "suggestions": ["Joe's Coffee House", "Joe's"],
        })
    );
}

#[test]
fn only_a_refusal_ends_with_one() {
    assert_eq!(check(&["Joe's Pizza"]).0, Ok(0));
    assert_eq!(check(&["Joe's Pizza", "3M"]).0, Ok(0));
    assert_eq!(check(&["Joe's Pizza", "test", "3M"]).0, Ok(1));
    assert_eq!(check(&["Joe's Pizza", "--platform-pattern", "jo"]).0, Ok(1));
    assert_eq!(check(&["Joe's Pizza", "--platform-pattern", "ord-", "--platform-pattern", "X##"]).0, Ok(0));
    assert!(check(&["Joe's Pizza", "--platform-pattern", "*"]).0.unwrap_err().starts_with("--platform-pattern must"));
}

#[test]
fn people_get_a_table_and_the_meaning_of_each_reason_once() {
    let (ended, printed) = check(&["Joe's Pizza", "test", "3M", "test\n\u{1b}[2J"]);
    assert_eq!(ended, Ok(1));
    assert_eq!(
        printed,
        "VERDICT  NAME                STATEMENT               REASONS            SUGGESTION\n\
         accept   Joe's Pizza         WPY*Joe's Pizza         —                  —\n\
         refuse   test                WPY*test                test_name          —\n\
         warn     3M                  WPY*3M                  single_letter      —\n\
         refuse   test\\u{a}\\u{1b}[2J  WPY*test\\u{a}\\u{1b}[2J  control_character  —\n\
         \n  \
         control_character  contains a control character, such as a tab or a line end\n  \
         test_name          is a placeholder or a name for tests\n  \
         single_letter      has one letter only; make sure that card holders know it\n"
    );
}

#[test]
fn a_file_is_judged_line_by_line_in_order_with_repetitions() {
    let (ended, lines) = check_file(b"\xef\xbb\xbfJoe's\r\nAnn's\n\nJoe's\n Ann's\n\xff\xfeBob's\nlast");
    assert_eq!(ended, Ok(1));
    assert_eq!(names(&lines), ["Joe's", "Ann's", "", "Joe's", " Ann's", "\u{fffd}\u{fffd}Bob's", "last"]);
    let verdicts: Vec<_> = lines.iter().map(|line| line["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["accept", "accept", "refuse", "accept", "refuse", "refuse", "accept"]);
    assert_eq!(check_file(b"").1, [json!(null); 0]);
    assert_eq!(check_file(b"").0, Ok(0));
}

#[test]
fn a_file_that_is_no_list_of_names_is_a_fault_of_usage() {
    let long = [b"Joe's\n".to_vec(), vec![b'x'; LINE_BYTES_MAX]].concat();
    let (ended, lines) = check_file(&long);
    assert!(ended.unwrap_err().ends_with("line 2: longer than 64 KiB; this is no list of names"));
    assert_eq!(names(&lines), ["Joe's"]);
    let fits = [vec![b'x'; LINE_BYTES_MAX - 1], b"\n".to_vec()].concat();
    assert_eq!(check_file(&fits).1[0]["reasons"], json!(["too_long"]));
    assert!(check(&["--from", "no/such/file"]).0.is_err());
}

#[test]
fn a_million_names_are_judged_and_no_more() {
    let mut judged = 0_usize;
    let mut count = |_: &str| {
        judged += 1;
        Ok(())
    };
    let lines = io::Cursor::new("a\n".repeat(LINES_MAX + 1));
    let refused = read(Path::new("f"), lines, &mut count).unwrap_err();
    assert_eq!(refused.to_string(), "f, line 1000001: more than 1,000,000 names; split the file");
    assert_eq!(judged, LINES_MAX);
}

#[test]
fn long_lists_are_printed_in_several_tables_and_lose_no_name() {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out, false);
    for number in 0..=TABLE_ROWS {
        let name = format!("Joe's {number}th");
        report.add(&name, &judge(&name, None, &Platform::default())).unwrap();
    }
    assert_eq!(report.finish().unwrap(), 0);
    let printed = String::from_utf8(out).unwrap();
    assert_eq!(printed.matches("VERDICT").count(), 2);
    assert!((0..=TABLE_ROWS).all(|number| printed.contains(&format!(" Joe's {number}th "))));
}

/// A writer that fails with this.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

#[test]
fn a_reader_who_went_away_changes_nothing_and_a_full_disk_does() {
    for (json, name, expected) in [(true, "test", 1), (false, "test", 1), (true, "Joe's", 0), (false, "Joe's", 0)] {
        let run = |kind: io::ErrorKind| {
            let line = parse(&[name]).unwrap();
            run(line.command, &Global { json, ..line.global }, &mut Failing(kind))
        };
        assert_eq!(run(io::ErrorKind::BrokenPipe).unwrap(), expected);
        assert_eq!(run(io::ErrorKind::StorageFull).unwrap_err().exit_code(), 1);
    }
}

#[test]
fn every_example_in_the_help_is_accepted_by_the_command_line() {
    let examples = CHECK_HELP.lines().filter_map(|line| line.trim_start().split_once("strongroom names check "));
    let mut parsed = 0;
    for (_, arguments) in examples {
        let arguments = arguments.split("  ").next().unwrap();
        let mut words = Vec::new();
        // Quoted words keep their spaces.
        for (at, text) in arguments.split(['"']).enumerate() {
            if at % 2 == 1 {
                words.push(text);
            } else {
                words.extend(text.split_whitespace().map(|word| word.trim_matches('\'')));
            }
        }
        if let Err(refused) = parse(&words) {
            panic!("{arguments}: {refused}");
        }
        parsed += 1;
    }
    assert_eq!(parsed, 6);
}
