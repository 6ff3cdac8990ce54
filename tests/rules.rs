//! The rules that the compiler cannot hold: who may name whom, which crate belongs where, what stands nowhere.
//!
//! Reads the source as text. Comments and the inside of strings do not count, except where a rule is about them. A second
//! test feeds bad samples, one per rule at least, so that no rule is only decoration.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support")]

#[path = "rules/text.rs"]
mod text;

use std::fs;
use std::path::Path;

use text::{Source, is_word, paths, words};

/// Layer, and what it may name in this crate. `a::b` permits that module of `a` alone.
const LAYERS: &[(&str, &str)] = &[
    ("domain", ""),
    ("policy", "domain"),
    ("vault", "domain"),
    ("provider", "domain"),
    ("store", "domain"),
    ("service", "domain policy vault provider store"),
    ("v1", ""),
    ("grpc", "domain service v1"),
    ("http", "domain service"),
    ("config", "domain"),
    ("telemetry", ""),
    ("app", "domain policy vault provider store service v1 grpc http config telemetry"),
    ("cli", "domain v1"),
    ("sandbox", "domain::ambient"),
    // A composition root of its own: it makes up what an operator would configure.
    ("demo", "app cli config telemetry v1 sandbox domain"),
    ("main", "app cli demo sandbox config telemetry"),
    ("lib", ""),
];

/// Every dependency, and the layers or modules that may name it: `*` is all, `+` all but domain. A new one needs a place here.
const CRATES: &[(&str, &str)] = &[
    ("base64 minicbor sha2 subtle thiserror time uuid zeroize", "*"),
    ("arc_swap bytes serde tokio_stream tokio_util tracing url", "+"),
    ("unicode_normalization unicode_properties", "domain/statement"),
    ("getrandom", "domain/ambient"),
    ("rustix", "+ domain/ambient"),
    ("tokio", "+ domain/ambient"),
    ("serde_json", "+ domain/trail/view domain/trail/verify/tests domain/trail/cbor/tests"),
    ("ed25519_dalek", "domain vault"),
    ("aes_gcm hkdf hmac", "vault"),
    ("sqlx", "store"),
    ("oauth2", "provider"),
    ("reqwest", "provider sandbox demo"),
    ("hyper hyper_util", "provider grpc http sandbox demo"),
    ("askama", "http sandbox"),
    ("axum", "http sandbox app"),
    ("tonic tonic_prost prost prost_types tonic_types", "v1 grpc cli demo"),
    ("tonic_health tonic_reflection", "grpc"),
    ("tower", "grpc http cli sandbox demo"),
    ("tokio_rustls", "grpc http cli sandbox demo"),
    ("x509_parser", "grpc"),
    ("rcgen", "grpc sandbox demo"),
    ("tempfile", "+"),
    ("toml", "config policy"),
    ("clap", "cli main"),
    ("comfy_table", "cli"),
    ("tracing_subscriber", "telemetry"),
];

/// Where tokens are used and never made: what mints has no name there. The provider revokes a token by making the next one, so
/// that no way may lead from an account, or a notice, to it.
const MINTLESS: &[&str] = &["service/accounts", "service/notices"];
const MINTS: &[&str] = &[
    "exchange",
    "exchange_code",
    "register",
    "registration",
    "Mint",
    "mint",
    "spawn_mint",
    "commit_token",
    "arm",
    "claim_exchange",
];

/// What stands nowhere in code, and why.
const BANNED: &[(&str, &str)] = &[
    ("dbg!", "left over"),
    ("todo!", "left over"),
    ("unimplemented!", "left over"),
    ("Status::from_error", "sends the error's text to the caller; use grpc::status"),
    ("#[allow", "use #[expect(…, reason = …)]"),
    ("#![allow", "use #![expect(…, reason = …)]"),
    ("#[ignore", "a test that does not run holds nothing"),
];

/// What stands nowhere at all, comments and strings included, in parts so that this file may be read by its own rule.
const BANNED_TEXT: &[(&str, &str)] =
    &[("FIX", "ME"), ("/ro", "ot/"), ("/ho", "me/"), ("/Us", "ers/"), (env!("CARGO_MANIFEST_DIR"), "/")];

/// Where a call to the provider may be made outside the budget: by a person at a shell, where there may be no database.
const BY_HAND: &[&str] = &["domain/budget", "app/doctor/remote"];

const SQL_WRITES: &[&str] = &["INSERT", "UPDATE", "DELETE"];
const SQL_VERBS: &[&str] =
    &["INSERT", "UPDATE", "DELETE", "SELECT", "WITH", "CREATE", "ALTER", "DROP", "PRAGMA", "BEGIN"];
const SQL_PREPARED: &[&str] = &["INSERT", "UPDATE", "DELETE", "SELECT", "WITH", "PRAGMA"];
/// Where `every_statement_prepares` has its statements from.
const SQL_LISTS: &[&str] = &["STATEMENTS", "DIALECTS"];

fn check_layer(source: &Source, faults: &mut Vec<String>) {
    let Some((layer, may_name)) = LAYERS.iter().find(|(layer, _)| *layer == source.layer()) else {
        faults.push(source.at(0, "belongs to no layer"));
        return;
    };
    // The binary names the library by its name; enough `super` are the crate, too.
    for root in ["crate", "strongroom", "super"] {
        for at in words(&source.code, root) {
            let Some(tree) = source.code[at + root.len()..].trim_start().strip_prefix("::") else { continue };
            for path in paths(tree) {
                let inner = path.trim_start_matches("super::");
                let climbs = 1 + (path.len() - inner.len()) / "super::".len();
                let first = inner.split("::").next().unwrap();
                let stays =
                    root == "super" && (text::depth(source, at) != climbs || source.code[..at].ends_with("super::"));
                let allowed = first == *layer
                    || may_name.split(' ').any(|name| inner == name || inner.starts_with(&format!("{name}::")));
                if !stays && !allowed {
                    faults.push(source.at(at, &format!("{layer} may not name {root}::{path}")));
                }
            }
        }
    }
}

fn check_crates(source: &Source, sources: &[Source], faults: &mut Vec<String>) {
    for (names, places) in CRATES {
        let permitted = places.split(' ').any(|place| match place {
            "*" => true,
            "+" => source.layer() != "domain",
            _ => source.path == place || source.path.starts_with(&format!("{place}/")),
        });
        for name in names.split(' ').filter(|_| !permitted) {
            // A module of the layer with the same name is not the crate.
            let own = |other: &Source| other.layer() == source.layer() && other.path.ends_with(&format!("/{name}"));
            for at in words(&source.code, name).filter(|_| !sources.iter().any(own)) {
                let inner = source.code[..at].strip_suffix("::").is_some_and(|head| head.ends_with(is_word));
                let path = source.code[at + name.len()..].starts_with("::") && !inner;
                if path || source.code[..at].ends_with("use ") {
                    faults.push(source.at(at, &format!("{name} is not for {}", source.layer())));
                }
            }
        }
    }
}

fn starts_with_any(sql: &str, verbs: &[&str]) -> bool {
    let sql = sql.trim_start_matches(|c: char| c.is_whitespace() || "\\r#\"".contains(c));
    verbs.iter().any(|verb| sql.split(|c| !is_word(c)).next() == Some(verb))
}

/// The literals that begin within a range.
fn has_literal(source: &Source, from: usize, to: usize, verbs: &[&str]) -> bool {
    source.code[from..to].match_indices('"').any(|(at, _)| starts_with_any(&source.text[from + at + 1..], verbs))
}

/// Constants of the store whose SQL writes.
fn write_constants(sources: &[Source]) -> Vec<String> {
    let mut names = Vec::new();
    for source in sources.iter().filter(|source| source.layer() == "store" && !is_test(source)) {
        for at in words(&source.code, "const") {
            let end = source.code[at..].find(';').map_or(source.code.len(), |end| at + end);
            if has_literal(source, at, end, SQL_WRITES) {
                names.extend(paths(&source.code[at + "const".len()..]));
            }
        }
    }
    names
}

/// Tests are not the product: they make schemas and tamper with rows.
fn is_test(source: &Source) -> bool {
    source.path.contains("/tests")
}

fn check_sql(source: &Source, writes: &[String], faults: &mut Vec<String>) {
    if is_test(source) {
        return;
    }
    let code = &source.code;
    faults.extend(words(code, "AssertSqlSafe").map(|at| source.at(at, "AssertSqlSafe: SQL is a constant")));
    for (at, call) in code.match_indices("format!(").chain(code.match_indices("format!{")) {
        let from = at + call.len();
        let end = code[from..].match_indices('"').nth(1).map_or(code.len(), |(end, _)| from + end);
        if code[from..].trim_start().starts_with(['"', 'r']) && has_literal(source, from, end, SQL_VERBS) {
            faults.push(source.at(at, "SQL is a constant, not made by format!"));
        }
    }
    // sqlx returns after the first row and drops the error of an autocommit: a full disk would acknowledge what is not there.
    for (at, call) in code.match_indices(".fetch_one(").chain(code.match_indices(".fetch_optional(")) {
        let from = code[..at].rfind("query").unwrap_or(at);
        let argument = &code[at + call.len()..];
        let argument = &argument[..argument.find(')').unwrap_or(argument.len())];
        // `on_tx!(tx, conn => …)` has its connection from a transaction.
        let head = code[..from].rfind([';', '{', '}']).map_or(&code[..from], |start| &code[start..from]);
        let in_tx = head.contains("on_tx!(") || words(argument, "tx").next().is_some();
        let named = writes.iter().any(|name| words(&code[from..at], name).next().is_some());
        if !in_tx && (named || has_literal(source, from, at, SQL_WRITES)) {
            faults
                .push(source.at(at, "a write that returns rows runs in a transaction (`tx`) whose commit is checked"));
        }
    }
}

/// Every constant with SQL stands in its file's list of those that are prepared on each engine. What controls a transaction cannot be.
fn check_statements(source: &Source, faults: &mut Vec<String>) {
    if source.layer() != "store" || is_test(source) {
        return;
    }
    let code = &source.code;
    let end_of = |at: usize| code[at..].find(';').map_or(code.len(), |end| at + end);
    let constants = || words(code, "const").filter_map(|at| Some((at, paths(&code[at + "const".len()..]).pop()?)));
    let lists = constants().filter(|(_, name)| SQL_LISTS.contains(&name.as_str()));
    let listed: String = lists.map(|(at, _)| &code[at..end_of(at)]).collect();
    for (at, name) in constants() {
        // What is put together may begin with a macro.
        let is_sql = has_literal(source, at, end_of(at), SQL_PREPARED) || code[at..end_of(at)].contains("concat!(");
        if is_sql && words(&listed, &name).next().is_none() {
            faults.push(source.at(at, &format!("{name} is missing from STATEMENTS or DIALECTS")));
        }
    }
    for call in ["query", "query_as", "query_scalar", "raw_sql"] {
        for at in words(code, call) {
            // The first argument, after the types.
            let end = code[at..].find([';', ')']).map_or(code.len(), |end| at + end);
            let argument = code[at..end].find('(').map_or("", |open| code[at + open + 1..end].trim_start());
            if argument.starts_with(['"', 'r']) && has_literal(source, at, end, SQL_VERBS) {
                faults.push(source.at(at, "SQL is a constant in STATEMENTS"));
            }
        }
    }
}

fn check_bans(source: &Source, faults: &mut Vec<String>) {
    for (banned, why) in BANNED {
        faults.extend(source.code.match_indices(banned).map(|(at, _)| source.at(at, &format!("{banned}: {why}"))));
    }
    // Tests stand one or two modules deeper than what they test.
    let tests = if is_test(source) { Some(0) } else { source.code.find("#[cfg(test)]") };
    let product = &source.code[..tests.unwrap_or(source.code.len())];
    let climbs = product.match_indices("super::super");
    faults.extend(climbs.map(|(at, _)| source.at(at, "super::super: name it from crate::")));
}

fn check_mints(source: &Source, faults: &mut Vec<String>) {
    let is_in =
        |place: &&str| source.path.strip_prefix(*place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if MINTLESS.iter().any(is_in) {
        for name in MINTS {
            faults.extend(words(&source.code, name).map(|at| source.at(at, &format!("{name} has no place here"))));
        }
    }
}

fn check_permits(source: &Source, faults: &mut Vec<String>) {
    if !BY_HAND.contains(&source.path.as_str()) && !is_test(source) {
        faults.extend(words(&source.code, "by_hand").map(|at| source.at(at, "by_hand: take a permit of the budget")));
    }
}

fn check_text(path: &str, text: &str) -> Vec<String> {
    let banned = BANNED_TEXT.iter().map(|(head, tail)| format!("{head}{tail}"));
    banned.filter(|banned| text.contains(banned)).map(|banned| format!("{path}: {banned} stands nowhere")).collect()
}

fn check(files: &[(String, String)]) -> Vec<String> {
    let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let writes = write_constants(&sources);
    let mut faults = Vec::new();
    for source in &sources {
        check_layer(source, &mut faults);
        check_crates(source, &sources, &mut faults);
        check_sql(source, &writes, &mut faults);
        check_statements(source, &mut faults);
        check_bans(source, &mut faults);
        check_mints(source, &mut faults);
        check_permits(source, &mut faults);
        faults.extend(check_text(&source.path, &source.text));
    }
    faults
}

fn read_tree(root: &Path, below: &Path, files: &mut Vec<(String, String)>) {
    let path = root.join(below);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            read_tree(root, &below.join(entry.unwrap().file_name()), files);
        }
    } else if let Ok(text) = fs::read_to_string(path) {
        files.push((below.to_str().unwrap().into(), text));
    }
}

#[test]
fn the_source_keeps_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    read_tree(&root.join("src"), Path::new(""), &mut files);
    files.retain(|(path, _)| path.ends_with(".rs"));
    assert!(files.len() > 20, "the source was not found");
    let mut faults = check(&files);

    let mut others = Vec::new();
    for part in
        ["tests", "proto", "migrations", "scripts", "docs", "benches", ".ci", "build.rs", "README.md", "Cargo.toml"]
    {
        read_tree(root, Path::new(part), &mut others);
    }
    assert!(others.len() > 10, "the rest of the project was not found");
    faults.extend(others.iter().flat_map(|(path, text)| check_text(path, text)));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_dependency_has_its_place() {
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let mut declared: Vec<_> = dependencies
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split([' ', '=', '.']).next().unwrap().replace('-', "_"))
        .collect();
    let mut placed: Vec<_> = CRATES.iter().flat_map(|(names, _)| names.split(' ')).collect();
    declared.sort();
    placed.sort_unstable();
    assert_eq!(declared, placed);
}

#[test]
fn every_rule_bites() {
    let bad = [
        ("grpc.rs", "use crate::vault::Vault;", "grpc may not name crate::vault"),
        ("grpc/tokens.rs", "use crate::{domain::id, store};", "grpc may not name crate::store"),
        ("policy.rs", "fn f() { super::store::f() }", "policy may not name super::store"),
        (
            "http.rs",
            "mod tests { mod a { fn f() {} } use super::super::vault::f; }",
            "http may not name super::super::vault",
        ),
        ("policy/file.rs", "use super::super::{store};", "policy may not name super::super::store"),
        ("policy/file.rs", "fn f() { super::super::f() }\n#[cfg(test)] mod tests {}", "name it from crate::"),
        ("domain/token.rs", "fn f() { crate::\n    policy::f() }", "domain may not name crate::policy"),
        ("sandbox/users.rs", "use crate::domain::{ambient::Clock, id::MerchantId};", "crate::domain::id::MerchantId"),
        ("sandbox.rs", "use crate::domain;", "sandbox may not name crate::domain"),
        ("service.rs", "use crate::*;", "service may not name crate::*"),
        ("main.rs", "use strongroom::vault;", "main may not name strongroom::vault"),
        ("utils.rs", "", "belongs to no layer"),
        ("service/tokens.rs", "async fn f() -> Result<(), sqlx::Error> {}", "sqlx is not for service"),
        ("service/tokens.rs", "use reqwest as web;", "reqwest is not for service"),
        ("domain/token.rs", "use tokio::sync::watch;", "tokio is not for domain"),
        ("domain/trail/cbor.rs", "use serde_json::Value;", "serde_json is not for domain"),
        ("http.rs", "fn f(s: ::tonic::Status) {}", "tonic is not for http"),
        (
            "store/a.rs",
            "const ADD: &str = r#\"\n  INSERT INTO a\"#; fn f() { query(ADD).fetch_one(pool) }",
            "a transaction",
        ),
        (
            "store/a.rs",
            "fn f() { query_as::<_, R>(\"DELETE FROM a RETURNING b\").bind(1).fetch_optional(&self.write) }",
            "`tx`",
        ),
        ("store/a.rs", "fn f() { query(AssertSqlSafe(text)) }", "SQL is a constant"),
        ("store/a.rs", "fn f() { query(&format!(\"SELECT {c}\")) }", "not made by format!"),
        (
            "store/a.rs",
            "const A: &str = \"SELECT 1\"; const B: &str = \"SELECT 2\"; const STATEMENTS: &[&str] = &[A];",
            "B is missing from STATEMENTS",
        ),
        ("store/a.rs", "const A: Dialect = Dialect { sqlite: \"SELECT 1\", postgres: \"SELECT 2\" };", "A is missing"),
        ("store/a.rs", "fn f() { sqlx::query_scalar::<_, i64>(\"SELECT 1\").fetch_one(tx) }", "constant in STATEMENTS"),
        ("service/accounts.rs", "use super::exchange::Mint;", "exchange has no place here"),
        ("service/accounts/opening.rs", "fn f() { client.register(x) }", "register has no place here"),
        ("service/probe.rs", "fn f() { client.by(Permit::by_hand(), about) }", "take a permit of the budget"),
        ("app.rs", "// FIX\x4dE later", "stands nowhere"),
        ("app.rs", "const KEY: &str = \"/ro\u{6f}t/key\";", "stands nowhere"),
    ];
    let banned = BANNED.iter().map(|(banned, why)| ("app.rs", *banned, *why));
    for (path, text, expected) in bad.into_iter().chain(banned) {
        let faults = check(&[(path.into(), text.into())]);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{text:?} in {path} passes: {faults:?}");
    }
    for (path, text) in [
        (
            "grpc.rs",
            "// crate::vault\n/* dbg! */ const A: &str = \"use crate::store \\\" todo!\"; use crate::{v1, grpc::auth};",
        ),
        (
            "grpc.rs",
            "mod tests { use super::tokens; } fn f<'a>(c: char) { c == '\"' || c == '\\''; crate::domain::f() }",
        ),
        ("provider/a.rs", "use super::http; #[cfg(test)] mod tests { use super::super::http; }"),
        ("provider/tests/a.rs", "use super::super::http;"),
        ("store/tests/a.rs", "fn f() { query(AssertSqlSafe(format!(\"DROP SCHEMA {name}\"))).execute(conn) }"),
        (
            "store/a.rs",
            "const ADD: &str = \"INSERT INTO a\"; const STATEMENTS: &[&str] = &[ADD]; fn f() { on_tx!(tx, conn => query_as(ADD).bind(1).fetch_optional(conn)) }",
        ),
        ("sandbox.rs", "use crate::domain::ambient::{Clock, Entropy}; use axum::Router; fn f() { std::time::x() }"),
        (
            "store/a.rs",
            "const ADD: &str = \"INSERT INTO a\"; const GET: &str = \"SELECT 1\"; const STATEMENTS: &[&str] = &[ADD, GET]; fn f() { query(ADD).fetch_one(&mut **tx); query(GET).fetch_one(pool); query(ADD).execute(pool) }",
        ),
    ] {
        assert_eq!(check(&[(path.into(), text.into())]), Vec::<String>::new(), "{text}");
    }
}
