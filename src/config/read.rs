//! From a TOML text and a source of variables to values by key, and the faults on the way.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest configuration file; the example has 3 KiB.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// Where variables come from.
pub trait Source {
    /// The variable with this name, if it is set.
    fn value(&self, name: &str) -> Option<String>;
}

/// The environment of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessEnvironment;

impl Source for ProcessEnvironment {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    fn value(&self, name: &str) -> Option<String> {
        // What is not Unicode becomes something no check accepts, rather than being overlooked.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

impl Source for &[(&str, &str)] {
    fn value(&self, name: &str) -> Option<String> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }
}

/// One thing that is wrong. Never quotes the value: it could be a secret in the wrong place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The key, as `grpc.listen`; `file` for the file as a whole.
    pub key: String,
    /// Where it stands: `line 7` or the name of a variable; nothing for what is missing.
    pub place: Option<String>,
    /// What is wrong.
    pub rule: String,
    /// How to mend it.
    pub mend: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, place, rule, mend } = self;
        match place {
            Some(place) => write!(f, "{key} ({place}): {rule}; {mend}"),
            None => write!(f, "{key}: {rule}; {mend}"),
        }
    }
}

/// Everything that is wrong with a configuration; never empty. Its text has a fault a line.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(Vec<Fault>);

impl ConfigErrors {
    /// The faults, by key.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }
}

/// What a check says of a value it refuses: what is wrong, and how to mend it.
pub(super) type Complaint = (String, String);

/// A value as it was written.
#[derive(Clone, PartialEq, Eq)]
enum Raw {
    Text(String),
    Texts(Vec<String>),
    /// A decimal number; the checks take it as its digits.
    Integer(String),
    /// Anything else.
    Other,
}

/// Values by key. Collects faults.
pub(super) struct Reader<'s> {
    source: &'s dyn Source,
    file: BTreeMap<String, (Raw, usize)>,
    faults: Vec<Fault>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s dyn Source, text: &str, keys: &[&str]) -> Result<Self, ConfigErrors> {
        let mut reader = Self { source, file: BTreeMap::new(), faults: Vec::new() };
        if text.len() > FILE_BYTES_MAX {
            reader.push("file", None, &format!("is longer than {FILE_BYTES_MAX} bytes"), "give the right file");
            return Err(ConfigErrors(reader.faults));
        }
        let (document, syntax) = DeTable::parse_recoverable(text);
        for error in &syntax {
            let line = line_of(text, error.span().unwrap_or_default().start);
            reader.push("file", Some(format!("line {line}")), error.message(), "write valid TOML");
        }
        if !syntax.is_empty() {
            return Err(ConfigErrors(reader.faults));
        }
        reader.flatten(text, "", document.get_ref(), keys);
        Ok(reader)
    }

    /// The faults, or the value that was read without any.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigErrors> {
        self.faults.sort_by(|one, other| one.key.cmp(&other.key));
        match value {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(ConfigErrors(self.faults)),
        }
    }

    /// Reports a fault of a key.
    pub(super) fn fault(&mut self, key: &str, rule: &str, mend: &str) {
        let place = self.place(key);
        self.push(key, place, rule, mend);
    }

    /// Whether the key is set at all, rightly or not.
    pub(super) fn has(&self, key: &str) -> bool {
        self.place(key).is_some()
    }

    /// A value that must be there; `None` when it is not or is refused.
    pub(super) fn required<T>(&mut self, key: &str, check: impl FnOnce(&str) -> Result<T, Complaint>) -> Option<T> {
        match self.optional(key, check) {
            Some(None) => {
                let mend = format!("set it in the file or as {}", variable(key));
                self.push(key, None, "is missing", &mend);
                None
            }
            found => found.flatten(),
        }
    }

    /// A value that may be absent, then `Some(None)`; `None` when it is refused.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        check: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<Option<T>> {
        let text = match (self.source.value(&variable(key)), self.file.get(key)) {
            (Some(text), _) => text,
            (None, Some((Raw::Text(text) | Raw::Integer(text), _))) => text.clone(),
            (None, None) => return Some(None),
            (None, Some(_)) => {
                self.fault(key, "must be text", "write it in quotes");
                return None;
            }
        };
        match check(&text) {
            Ok(value) => Some(Some(value)),
            Err((rule, mend)) => {
                self.fault(key, &rule, &mend);
                None
            }
        }
    }

    /// A list of different values, empty when absent; `None` when any of them is refused.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &str,
        most: usize,
        check: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let texts: Vec<String> = match (self.source.value(&variable(key)), self.file.get(key)) {
            (Some(text), _) => text.split(',').map(|item| item.trim().to_owned()).collect(),
            (None, None) => Vec::new(),
            (None, Some((Raw::Texts(texts), _))) => texts.clone(),
            (None, Some(_)) => {
                self.fault(key, "must be a list of texts", "write [\"…\", \"…\"]");
                return None;
            }
        };
        if texts.len() > most {
            self.fault(key, &format!("has more than {most} entries"), "shorten it");
            return None;
        }
        let mut values = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match check(text) {
                Ok(value) if values.contains(&value) => self.fault(key, "has an entry twice", "remove one of them"),
                Ok(value) => values.push(value),
                Err((rule, mend)) => self.fault(key, &format!("entry {}: {rule}", index.saturating_add(1)), &mend),
            }
        }
        (values.len() == texts.len()).then_some(values)
    }

    /// Whether this key has another value than for the other reader: neither is looked at where a variable wins.
    pub(super) fn differs(&self, other: &Self, key: &str) -> bool {
        let raw = |reader: &'_ Self| reader.file.get(key).map(|(raw, _)| raw.clone());
        self.source.value(&variable(key)).is_none() && raw(self) != raw(other)
    }

    fn push(&mut self, key: &str, place: Option<String>, rule: &str, mend: &str) {
        self.faults.push(Fault { key: key.to_owned(), place, rule: rule.to_owned(), mend: mend.to_owned() });
    }

    fn place(&self, key: &str) -> Option<String> {
        let variable = variable(key);
        if self.source.value(&variable).is_some() {
            return Some(variable);
        }
        self.file.get(key).map(|(_, line)| format!("line {line}"))
    }

    /// Enters the values of a table by their full key; a key that is neither known nor on the way to a known one is a
    /// fault.
    fn flatten(&mut self, text: &str, above: &str, table: &DeTable<'_>, keys: &[&str]) {
        for (name, value) in table {
            let key = format!("{above}{}", name.get_ref());
            let line = line_of(text, name.span().start);
            let below = format!("{key}.");
            if keys.contains(&key.as_str()) {
                self.file.insert(key, (raw(value), line));
            } else if let Some(inner) = value.get_ref().as_table()
                && keys.iter().any(|known| known.starts_with(&below))
            {
                self.flatten(text, &below, inner, keys);
            } else {
                let file_key = format!("{key}_file");
                let mend = if keys.contains(&file_key.as_str()) {
                    format!("secrets stand in files: use {file_key}")
                } else {
                    "remove it or correct its spelling".to_owned()
                };
                self.push(&key, Some(format!("line {line}")), "unknown key", &mend);
            }
        }
    }
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Integer(integer) if integer.radix() == 10 => Raw::Integer(integer.as_str().to_owned()),
        DeValue::Array(items) => {
            let texts: Vec<String> =
                items.iter().filter_map(|item| item.get_ref().as_str().map(str::to_owned)).collect();
            if texts.len() == items.len() { Raw::Texts(texts) } else { Raw::Other }
        }
        _ => Raw::Other,
    }
}

fn variable(key: &str) -> String {
    format!("STRONGROOM_{}", key.to_ascii_uppercase().replace('.', "_"))
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count().saturating_add(1)
}
