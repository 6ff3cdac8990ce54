//! Holds `docs/sandbox.md` against the code: no row without a source, an implementation and a test that runs, and nothing
//! that a client or a test can reach without its place in the document.

mod surface;
mod tree;

use serde_json::{Value, json};

use self::tree::Tree;

const DOCUMENT: &str = "docs/sandbox.md";
/// How sure a fact is; the document says what each means.
const CONFIDENCES: [&str; 6] = ["doc", "sdk", "fixture", "mock", "seed", "inferred"];
/// Columns of a table of facts, and of the table of deviations.
const FACTS: [&str; 4] = ["fact", "source", "where", "test"];
const DEVIATIONS: [&str; 4] = ["id", "deviation", "where", "test"];
/// Columns of the tables of reference.
const REQUESTS: [&str; 2] = ["request", "does"];
const SETTINGS: [&str; 3] = ["setting", "default", "meaning"];
const KINDS: [&str; 2] = ["kind", "effect"];

/// A row of a table, with the names of its columns.
#[derive(Clone)]
struct Row {
    columns: Vec<String>,
    cells: Vec<String>,
}

impl Row {
    fn cell(&self, column: &str) -> &str {
        self.columns.iter().position(|name| name == column).map_or("", |index| self.cells[index].as_str())
    }

    /// What stands in backticks in a cell.
    fn spans(&self, column: &str) -> Vec<&str> {
        self.cell(column).split('`').skip(1).step_by(2).collect()
    }

    fn is(&self, columns: &[&str]) -> bool {
        self.columns == columns
    }
}

/// Every row of every table.
fn rows(text: &str) -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let (mut rows, mut columns, mut last) = (Vec::new(), Vec::new(), "");
    for line in text.lines() {
        if line.starts_with("|---") {
            columns = cells(last);
        } else if !line.starts_with('|') {
            columns.clear();
        } else if !columns.is_empty() {
            rows.push(Row { columns: columns.clone(), cells: cells(line) });
        }
        last = line;
    }
    rows
}

/// What is wrong with a row of facts or deviations.
fn faults(row: &Row, tree: &Tree) -> Vec<String> {
    let named = row.cells.first().cloned().unwrap_or_default();
    if row.cells.len() != row.columns.len() {
        return vec![format!("{named}: {} cells", row.cells.len())];
    }
    let mut faults = Vec::new();
    if row.is(&FACTS) && !row.cell("source").split("; ").all(has_confidence) {
        faults.push(format!("source: {}", row.cell("source")));
    }
    let (places, tests) = (row.spans("where"), row.spans("test"));
    faults.extend(places.iter().filter(|place| !tree.has_item(place)).map(|place| format!("no item {place}")));
    faults.extend(tests.iter().filter(|test| !tree.has_test(test)).map(|test| format!("no test {test}")));
    if places.is_empty() || tests.is_empty() || named.is_empty() {
        faults.push("an empty cell".to_owned());
    }
    faults.into_iter().map(|fault| format!("{named}: {fault}")).collect()
}

/// `word: source`; what is inferred needs no more words.
fn has_confidence(source: &str) -> bool {
    let (word, source) = source.split_once(": ").unwrap_or((source, ""));
    CONFIDENCES.contains(&word) && (word == "inferred" || !source.is_empty())
}

#[test]
fn every_row_has_a_source_an_implementation_and_a_test_that_runs() {
    let tree = Tree::of_this_crate();
    let text = tree.text(DOCUMENT).unwrap();
    let rows = rows(&text);
    let facts = rows.iter().filter(|row| row.is(&FACTS)).count();
    let deviations: Vec<_> = rows.iter().filter(|row| row.is(&DEVIATIONS)).collect();
    assert!(facts > 80 && deviations.len() > 5, "{facts} facts, {} deviations", deviations.len());
    for (number, deviation) in deviations.iter().enumerate() {
        assert_eq!(deviation.cell("id"), format!("D{}", number + 1));
    }
    let held = rows.iter().filter(|row| row.is(&FACTS) || row.is(&DEVIATIONS));
    let faults: Vec<_> = held.flat_map(|row| faults(row, &tree)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_can_be_reached_that_the_document_does_not_name() {
    let tree = Tree::of_this_crate();
    let rows = rows(&tree.text(DOCUMENT).unwrap());
    let errors = surface::errors(&tree);
    let (calls, routes) = (surface::calls(), surface::routes(&tree));
    assert!(calls.len() > 10 && routes.len() > 15 && errors.len() > 20, "{calls:?} {routes:?} {errors:?}");
    let facts = |column| rows.iter().filter(|row| row.is(&FACTS)).flat_map(|row| row.spans(column)).collect::<Vec<_>>();
    assert_eq!(missing(&facts("fact"), &calls), Vec::<&String>::new(), "calls without a fact");
    assert_eq!(missing(&facts("where"), &errors), Vec::<&String>::new(), "errors without a fact");
    let requests: Vec<_> = first_cells(&rows, &REQUESTS).into_iter().map(path_of).collect();
    assert_eq!(
        missing(&requests.iter().map(String::as_str).collect::<Vec<_>>(), &routes),
        Vec::<&String>::new(),
        "routes that are not told of"
    );
}

#[test]
fn settings_faults_and_routes_are_told_of_as_they_are() {
    let tree = Tree::of_this_crate();
    let rows = rows(&tree.text(DOCUMENT).unwrap());
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    let told = |columns: &[&str]| sorted(first_cells(&rows, columns).into_iter().map(str::to_owned).collect());
    assert_eq!(told(&SETTINGS), sorted(surface::settings()));
    assert_eq!(told(&KINDS), sorted(surface::kinds()));
}

/// What stands in backticks in the first column of the tables with these columns.
fn first_cells<'a>(rows: &'a [Row], columns: &[&str]) -> Vec<&'a str> {
    rows.iter().filter(|row| row.is(columns)).flat_map(|row| row.spans(&row.columns[0])).collect()
}

/// A request without its query, a name in it as an id.
fn path_of(request: &str) -> String {
    request.split_once('?').map_or(request, |(path, _)| path).replace("/NAME", "/ID")
}

/// What is wanted and nowhere told of; a call may be told of with `/v2` before it and with a method.
fn missing<'a>(told: &[&str], wanted: &'a [String]) -> Vec<&'a String> {
    let is_it = |told: &str, wanted: &str| {
        let call = told.split_once(' ').filter(|_| !wanted.contains(' ')).map_or(told, |(_, call)| call);
        call == wanted || call.strip_prefix("/v2") == Some(wanted)
    };
    wanted.iter().filter(|wanted| !told.iter().any(|told| is_it(told, wanted))).collect()
}

/// A fact belongs to one row: the next one would contradict it one day.
#[test]
fn no_fact_stands_twice() {
    let text = Tree::of_this_crate().text(DOCUMENT).unwrap();
    let mut facts: Vec<_> =
        rows(&text).iter().filter(|row| row.is(&FACTS)).map(|row| row.cell("fact").to_owned()).collect();
    facts.sort_unstable();
    let doubled: Vec<_> = facts.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(doubled.is_empty(), "{doubled:?}");
}

#[test]
fn a_row_that_does_not_hold_is_found() {
    let tree = Tree::of_this_crate();
    let header = "| fact | source | where | test |\n|---|---|---|---|\n";
    let good =
        "| f | doc: a page; inferred | `api/tokens.rs::exchange` | `tests::faithfulness::no_fact_stands_twice` |";
    let faults_of = |line: &str| -> Vec<String> {
        let rows = rows(&format!("{header}{line}\n"));
        assert_eq!(rows.len(), 1, "{line}");
        rows.iter().flat_map(|row| faults(row, &tree)).collect()
    };
    assert_eq!(faults_of(good), Vec::<String>::new());
    for (from, to) in [
        ("doc: a page; inferred", "a page"),
        ("doc: a page; inferred", ""),
        ("doc: a page; inferred", "doc: a page; hearsay: another"),
        ("doc: a page; inferred", "doc"),
        ("tokens.rs", "tokenz.rs"),
        ("::exchange`", "::exchang`"),
        ("::exchange`", "`"),
        ("`api/tokens.rs::exchange`", "api/tokens.rs"),
        ("`tests::faithfulness::no_fact_stands_twice`", "by hand"),
        ("no_fact_stands_twice", "no_fact_stands_thrice"),
        // A function that is no test, and a module that no other declares.
        ("no_fact_stands_twice", "has_confidence"),
        ("tests::faithfulness::no", "tests::faithful::no"),
        ("tests::faithfulness::no", "tests::no"),
        (" | `api", " `api"),
        ("| f |", "|  |"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(!faults_of(&bad).is_empty(), "{bad}");
    }
}

#[test]
fn what_is_not_named_is_missed() {
    let told = ["GET /control/calls", "/v2/user/modify", "GET /v2/app", "protocol.rs::a"].to_vec();
    let wanted = ["GET /control/calls", "/user/modify", "/app", "protocol.rs::a"].map(str::to_owned);
    assert!(missing(&told, &wanted).is_empty());
    let absent = ["POST /control/calls", "GET /control/call", "/user", "/modify", "/control", "protocol.rs::b"]
        .map(str::to_owned);
    assert_eq!(missing(&told, &absent).len(), absent.len());
    assert_eq!(path_of("GET /control/calls/NAME?path=P"), "GET /control/calls/ID");
}

#[test]
fn what_can_be_reached_is_found_in_the_code() {
    let tree = Tree::of_this_crate();
    let has = |found: &[String], wanted: &str| assert!(found.iter().any(|name| name == wanted), "{wanted}: {found:?}");
    for call in ["/account/create", "/oauth2/token", "/user", "/user/register"] {
        has(&surface::calls(), call);
    }
    for route in ["GET /control/calls", "DELETE /control/faults", "POST /control/users/ID/confirm"] {
        has(&surface::routes(&tree), route);
    }
    has(&surface::settings(), "lax_redirects");
    has(&surface::settings(), "codes.reused_code");
    has(&surface::kinds(), "lose_before");
    has(&surface::errors(&tree), "protocol.rs::unknown_call");
    let sample = r#"match x { ("POST", ["a", id, act @ ("b" | "c")]) => 1, ("GET", ["d", _]) => 2 }"#;
    let wanted = ["POST /control/a/ID/b", "POST /control/a/ID/c", "GET /control/d/ID"];
    assert_eq!(surface::routes_in(sample, ""), wanted);
    assert_eq!(surface::routes_in(r#"("GET", "f.jsonl") => 1"#, ""), ["GET /control/f.jsonl"]);
    let sample = r#"match x { ("PUT", "e") => 3, ("GET", []) => 4, ("POST", [name, "restore"]) => 5 }"#;
    let wanted = ["PUT /control/own/ID/e", "GET /control/own", "POST /control/own/ID/restore"];
    assert_eq!(surface::routes_in(sample, "/own"), wanted);
    assert_eq!(surface::keys(&json!({"a": 1, "b": {"c": 2, "d": {}}})), ["a", "b.c", "b.d"]);
    assert_eq!(surface::keys(&Value::Null), Vec::<String>::new());
}
