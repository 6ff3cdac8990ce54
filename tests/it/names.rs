//! `names check` as scripts run it: the real binary, its output and its exit codes, without a server.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn check(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom"));
    command.args(["names", "check"]).args(arguments).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_exit_code_says_whether_a_name_was_refused() {
    for (arguments, code) in [
        (&["Joe's Coffee House"][..], 0),
        (&["3M"], 0),
        (&["Joe's Coffee House", "ORD-2024-00012345"], 1),
        (&[], 2),
        (&["--from", "no/such/file"], 2),
        (&["Joe's Coffee House", "--platform-pattern", "*"], 2),
    ] {
        let ended = check(arguments);
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.stderr.is_empty(), code != 2, "{arguments:?}");
    }
}

#[test]
fn a_file_of_names_becomes_as_many_lines_of_json() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("names.txt");
    std::fs::write(&file, "Café Zoë\n\nMID 00412345 Café Zoë\nCafé Zoë\n").unwrap();
    let ended = check(&["--json", "--from", file.to_str().unwrap()]);
    assert_eq!(ended.status.code(), Some(1));
    let lines: Vec<Value> =
        String::from_utf8(ended.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        lines.iter().map(|line| (line["name"].as_str().unwrap(), line["verdict"].as_str().unwrap())).collect();
    let expected =
        [("Café Zoë", "accept"), ("", "refuse"), ("MID 00412345 Café Zoë", "refuse"), ("Café Zoë", "accept")];
    assert_eq!(told, expected);
    assert_eq!(lines[2]["suggestions"], serde_json::json!(["Café Zoë"]));
    assert_eq!(lines[2]["preview"], "WPY*MID 00412345 C");
}

#[test]
fn the_help_teaches_by_example() {
    let help = String::from_utf8(check(&["--help"]).stdout).unwrap();
    for taught in ["WPY*", "first 14 characters", "WEPAY, INC.", "strongroom names check --from", "Exit codes:"] {
        assert!(help.contains(taught), "{taught}: {help}");
    }
}
