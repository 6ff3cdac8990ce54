//! The source as text: which items and tests there are.

use std::fs;
use std::path::{Path, PathBuf};

/// What may stand before an item's name.
const KEYWORDS: [&str; 10] =
    ["fn", "mod", "const", "static", "struct", "enum", "type", "trait", "async fn", "const fn"];

pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn of_this_crate() -> Self {
        Self { root: Path::new(env!("CARGO_MANIFEST_DIR")).to_owned() }
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }

    /// The sources directly in a directory below `src/sandbox`, by path below it.
    pub(super) fn sources(&self, dir: &str) -> Vec<(String, String)> {
        let entries = fs::read_dir(self.root.join("src/sandbox").join(dir)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut paths: Vec<_> =
            names.filter(|name| name.ends_with(".rs")).map(|name| format!("{dir}/{name}")).collect();
        paths.sort_unstable();
        let read = |path: String| {
            let text = self.text(&format!("src/sandbox/{path}")).unwrap();
            (path, text)
        };
        paths.into_iter().map(read).collect()
    }

    /// Whether `path::item` is an item, a variant or a field in a file below `src/sandbox`.
    pub(super) fn has_item(&self, place: &str) -> bool {
        let Some((path, item)) = place.split_once("::") else { return false };
        let Some(text) = self.text(&format!("src/sandbox/{path}")) else { return false };
        let item = item.rsplit("::").next().unwrap_or(item);
        code(&text).lines().any(|line| defines(line, item))
    }

    /// Whether `module::test` is a test that the compiler sees: in a module that its parents declare.
    pub(super) fn has_test(&self, test: &str) -> bool {
        let Some((modules, name)) = test.rsplit_once("::") else { return false };
        let (mut file, mut dir, modules) = match modules.strip_prefix("it::") {
            Some(modules) => ("tests/it/main.rs".to_owned(), "tests/it".to_owned(), modules),
            None => ("src/sandbox.rs".to_owned(), "src/sandbox".to_owned(), modules),
        };
        let mut inline = String::new();
        for module in modules.split("::") {
            let Some(text) = self.text(&file) else { return false };
            if text.lines().any(|line| line.trim_start_matches("pub(super) ").trim() == format!("mod {module};")) {
                file = format!("{dir}/{module}.rs");
            } else if text.lines().any(|line| line.trim() == format!("mod {module} {{")) {
                inline = format!("mod {module} {{");
            } else {
                return false;
            }
            dir = format!("{dir}/{module}");
        }
        let Some(text) = self.text(&file) else { return false };
        let text = text.split_once(&inline).map_or("", |(_, inside)| inside);
        is_test(text, name)
    }
}

/// The text without the module of tests at its end.
fn code(text: &str) -> &str {
    text.split_once("\n#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code)
}

/// Whether a line begins the definition of an item, a variant or a field.
fn defines(line: &str, item: &str) -> bool {
    let line = line.trim();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or("", |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let begins = |text: &str| {
        let rest = text.strip_prefix(item);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let is_item = KEYWORDS
        .iter()
        .any(|keyword| line.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' ')).is_some_and(begins));
    let rest = line.strip_prefix(item).unwrap_or("-");
    is_item
        || line == item
        || rest == ","
        || rest.starts_with(": ")
        || [" {", "(", " = "].iter().any(|next| item.starts_with(char::is_uppercase) && rest.starts_with(next))
}

/// Whether the text has a function of this name right behind the attribute of a test.
fn is_test(text: &str, name: &str) -> bool {
    let mut is_marked = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_marked = true;
        } else if line.starts_with("#[ignore") {
            is_marked = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            let function = line.trim_start_matches("async ").strip_prefix("fn ");
            if is_marked
                && function.and_then(|function| function.split_once('(')).is_some_and(|(found, _)| found == name)
            {
                return true;
            }
            is_marked = false;
        }
    }
    false
}

#[test]
fn definitions_are_told_from_uses() {
    for line in [
        "fn a(",
        "pub(super) fn a<T>(",
        "pub async fn a(",
        "const a: u8 = 1;",
        "a: u32,",
        "pub(in crate::x) a: u32,",
        "struct a;",
    ] {
        assert!(defines(line, "a"), "{line}");
    }
    for line in ["a();", "let a = 1;", "fn ab(", "b.a(", "// fn a", "a.b()", "a::b()"] {
        assert!(!defines(line, "a"), "{line}");
    }
    assert!(defines("Lost,", "Lost") && defines("Lost {", "Lost") && defines("Lost(u8),", "Lost"));
}

#[test]
fn a_test_is_what_runs() {
    assert!(is_test("#[test]\nfn a() {", "a") && is_test("#[tokio::test]\n// why\nasync fn a() {", "a"));
    for text in
        ["fn a() {", "#[test]\nfn b() {}\nfn a() {", "// #[test]\nfn a() {", "#[test]\n#[ignore = \"x\"]\nfn a() {"]
    {
        assert!(!is_test(text, "a"), "{text}");
    }
}
