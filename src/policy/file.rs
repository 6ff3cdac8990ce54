//! The grants file: TOML, parsed and validated as a whole, all faults at once.
//!
//! Unknown keys are faults: a misspelt `not_after` must not make a grant eternal.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ActionName, CallerPattern, GrantLine, MerchantScope, duration};
use crate::domain::ambient::Timestamp;
use crate::domain::id::MerchantId;
use crate::domain::name::{CallerId, Label};

/// Largest policy file: thousands of grants, and still parsed in milliseconds.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most grants in a file: a person still has to review it.
pub const GRANTS_MAX: usize = 4096;
/// Longest id of a grant: it stands in every audit record.
pub const GRANT_ID_BYTES_MAX: usize = 64;
/// Longest purpose: a sentence.
pub const PURPOSE_CHARS_MAX: usize = 200;
/// Most merchants one grant may name; more are better named by a label.
pub const MERCHANTS_PER_GRANT_MAX: usize = 1000;
/// Most labels one grant may name.
pub const LABELS_PER_GRANT_MAX: usize = 64;
/// Longest time a caller may keep a token: a dead token must not be handed on for longer.
pub const CACHE_FOR_MAX: Duration = Duration::from_secs(60 * 60);
/// Most faults reported of one file; who has more mends these first.
pub const FAULTS_MAX: usize = 100;

const GRANT_KEYS: &[&str] =
    &["id", "caller", "actions", "merchants", "purpose", "not_before", "not_after", "cache_for"];

/// One fault of a policy file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Line of the file, from 1, where there is one.
    pub line: Option<usize>,
    /// Id of the grant, where it is known.
    pub grant: Option<String>,
    /// What is wrong.
    pub rule: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if let Some(grant) = &self.grant {
            write!(f, "grant {grant}: ")?;
        }
        f.write_str(&self.rule)
    }
}

/// Everything that is wrong with a policy file; never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("policy file refused: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct PolicyErrors(Vec<Fault>);

impl PolicyErrors {
    /// The faults, in file order.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    /// A single fault of the file as a whole.
    pub(super) fn of_file(rule: String) -> Self {
        Self(vec![Fault { line: None, grant: None, rule }])
    }
}

/// Parses and validates the whole file.
pub(super) fn parse(text: &str) -> Result<Vec<GrantLine>, PolicyErrors> {
    if text.len() > FILE_BYTES_MAX {
        return Err(PolicyErrors::of_file(format!("must be at most {FILE_BYTES_MAX} bytes long")));
    }
    let mut reader = Reader { text, grant: None, faults: Vec::new() };
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        reader.fault(error.span().unwrap_or_default(), error.message().to_owned());
    }
    // What can be read of a file that is no TOML would only add complaints that are not the author's.
    let lines = if syntax.is_empty() { reader.document(document.get_ref()) } else { Vec::new() };
    reader.faults.sort_by_key(|fault| fault.line);
    if reader.faults.is_empty() { Ok(lines) } else { Err(PolicyErrors(reader.faults)) }
}

/// Reads values and collects what is wrong with them.
struct Reader<'t> {
    text: &'t str,
    /// The grant being read, for the faults.
    grant: Option<String>,
    faults: Vec<Fault>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl<'t> Reader<'t> {
    fn fault(&mut self, at: Range<usize>, rule: impl Into<String>) {
        if self.faults.len() < FAULTS_MAX {
            let before = self.text.get(..at.start).unwrap_or(self.text);
            let line = before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
            self.faults.push(Fault { line: Some(line), grant: self.grant.clone(), rule: rule.into() });
        }
    }

    fn document(&mut self, document: &DeTable<'t>) -> Vec<GrantLine> {
        for key in document.keys().filter(|key| key.get_ref() != "grant") {
            self.fault(key.span(), format!("unknown key \"{}\": a policy file has only [[grant]]", key.get_ref()));
        }
        let Some(grants) = document.get("grant") else { return Vec::new() };
        let Some(tables) = grants.get_ref().as_array() else {
            self.fault(grants.span(), "grant must be written [[grant]], in double brackets");
            return Vec::new();
        };
        if tables.len() > GRANTS_MAX {
            self.fault(grants.span(), format!("must have at most {GRANTS_MAX} grants"));
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let lines: Vec<_> = tables.iter().filter_map(|table| self.line(table, &mut seen)).collect();
        self.grant = None;
        lines
    }

    /// Reads one grant; `None` when it has a fault. Every key is read whatever is wrong with the others.
    fn line(&mut self, value: &Value<'t>, seen: &mut HashSet<String>) -> Option<GrantLine> {
        self.grant = None;
        let Some(table) = value.get_ref().as_table() else {
            self.fault(value.span(), "grant must be a table");
            return None;
        };
        let at = value.span();
        let id = self.id(table, &at, seen);
        self.grant = id.clone();
        for key in table.keys().filter(|key| !GRANT_KEYS.contains(&key.get_ref().as_ref())) {
            self.fault(key.span(), format!("unknown key \"{}\"", key.get_ref()));
        }
        let caller = self.required(table, "caller", &at).and_then(|value| self.caller(value));
        let actions = self.required(table, "actions", &at).and_then(|value| self.actions(value));
        let merchants = self.required(table, "merchants", &at).and_then(|value| self.merchants(value));
        let purpose = self.required(table, "purpose", &at).and_then(|value| self.purpose(value));
        let not_before = self.optional(table, "not_before", Self::time);
        let not_after = self.optional(table, "not_after", Self::time);
        let cache_for = self.optional(table, "cache_for", Self::cache_for);
        if let (Some(Some(from)), Some(Some(until))) = (not_before, not_after)
            && from >= until
        {
            self.fault(span_of(table, "not_after"), "not_after must be later than not_before");
        }
        self.agreement(table, actions.as_ref(), merchants.as_ref());
        Some(GrantLine {
            id: id?,
            caller: caller?,
            actions: actions?,
            merchants: merchants?,
            purpose: purpose?,
            not_before: not_before?,
            not_after: not_after?,
            cache_for: cache_for?.unwrap_or_default(),
        })
    }

    /// Rules between keys.
    fn agreement(
        &mut self,
        table: &DeTable<'t>,
        actions: Option<&BTreeSet<ActionName>>,
        scope: Option<&MerchantScope>,
    ) {
        let Some(actions) = actions else { return };
        if table.contains_key("cache_for") && !actions.contains(&ActionName::TokenRead) {
            self.fault(span_of(table, "cache_for"), "cache_for needs the action token.read");
        }
        if scope.is_some_and(|scope| *scope != MerchantScope::All) {
            for action in actions.iter().filter(|action| action.is_of_deployment()) {
                self.fault(span_of(table, "merchants"), format!("{action} needs merchants = \"all\""));
            }
        }
    }

    fn id(&mut self, table: &DeTable<'t>, at: &Range<usize>, seen: &mut HashSet<String>) -> Option<String> {
        let value = self.required(table, "id", at)?;
        let id = self.text_of(value, "id")?;
        let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > GRANT_ID_BYTES_MAX || !id.bytes().all(ok) {
            let rule = format!("id must be 1 to {GRANT_ID_BYTES_MAX} letters, digits, '-', '_' or '.'");
            self.fault(value.span(), rule);
            return None;
        }
        if !seen.insert(id.to_owned()) {
            self.fault(value.span(), format!("id \"{id}\" stands twice"));
        }
        Some(id.to_owned())
    }

    fn caller(&mut self, value: &Value<'t>) -> Option<CallerPattern> {
        let text = self.text_of(value, "caller")?;
        let pattern = match text.strip_suffix("/*") {
            // Any one segment in the place of the star must make a valid id: then the part before it is whole segments.
            Some(prefix) => CallerId::parse(&format!("{prefix}/x")).map(|_| CallerPattern::Below(prefix.to_owned())),
            None => CallerId::parse(text).map(CallerPattern::Exact),
        };
        pattern.map_err(|error| self.fault(value.span(), format!("caller {}", error.rule))).ok()
    }

    fn actions(&mut self, value: &Value<'t>) -> Option<BTreeSet<ActionName>> {
        let items = self.texts(value, "actions", ActionName::ALL.len())?;
        let mut actions = BTreeSet::new();
        for (text, at) in &items {
            match ActionName::parse(text) {
                Some(action) if !actions.insert(action) => {
                    self.fault(at.clone(), format!("action {text} stands twice"))
                }
                Some(_) => {}
                None => self.fault(at.clone(), format!("unknown action \"{text}\"")),
            }
        }
        (actions.len() == items.len()).then_some(actions)
    }

    fn merchants(&mut self, value: &Value<'t>) -> Option<MerchantScope> {
        const RULE: &str = "merchants must be \"all\", { ids = […] } or { labels = […] }";
        if value.get_ref().as_str() == Some("all") {
            return Some(MerchantScope::All);
        }
        let mut entries = value.get_ref().as_table().into_iter().flatten();
        match (entries.next(), entries.next()) {
            (Some((key, list)), None) if key.get_ref() == "ids" => {
                let parse = |text: &str| text.parse::<MerchantId>().map_err(|error| error.to_string());
                self.set(list, "ids", MERCHANTS_PER_GRANT_MAX, parse).map(MerchantScope::Ids)
            }
            (Some((key, list)), None) if key.get_ref() == "labels" => {
                let parse = |text: &str| Label::parse(text).map_err(|error| error.rule);
                self.set(list, "labels", LABELS_PER_GRANT_MAX, parse).map(MerchantScope::Labels)
            }
            _ => {
                self.fault(value.span(), RULE);
                None
            }
        }
    }

    fn purpose(&mut self, value: &Value<'t>) -> Option<String> {
        let text = self.text_of(value, "purpose")?;
        if text.trim().is_empty() || text.chars().count() > PURPOSE_CHARS_MAX || text.chars().any(char::is_control) {
            let rule = format!("purpose must be 1 to {PURPOSE_CHARS_MAX} characters, none of them control characters");
            self.fault(value.span(), rule);
            return None;
        }
        Some(text.to_owned())
    }

    fn time(&mut self, value: &Value<'t>, key: &str) -> Option<Timestamp> {
        let text = self.text_of(value, key)?;
        let time = Timestamp::parse_rfc3339(text);
        if time.is_none() {
            self.fault(value.span(), format!("{key} must be an RFC 3339 time like \"2026-01-01T00:00:00Z\""));
        }
        time
    }

    fn cache_for(&mut self, value: &Value<'t>, key: &str) -> Option<Duration> {
        let text = self.text_of(value, key)?;
        let found = duration::parse(text).filter(|duration| !duration.is_zero() && *duration <= CACHE_FOR_MAX);
        if found.is_none() {
            self.fault(value.span(), format!("{key} must be a duration like \"30s\", above zero and at most \"1h\""));
        }
        found
    }

    fn required<'d>(&mut self, table: &'d DeTable<'t>, key: &str, at: &Range<usize>) -> Option<&'d Value<'t>> {
        let value = table.get(key);
        if value.is_none() {
            self.fault(at.clone(), format!("{key} is missing"));
        }
        value
    }

    /// `Some(None)` when the key is absent, `None` when it has a fault.
    fn optional<T>(
        &mut self,
        table: &DeTable<'t>,
        key: &str,
        read: fn(&mut Self, &Value<'t>, &str) -> Option<T>,
    ) -> Option<Option<T>> {
        match table.get(key) {
            None => Some(None),
            Some(value) => read(self, value, key).map(Some),
        }
    }

    fn text_of<'d>(&mut self, value: &'d Value<'t>, key: &str) -> Option<&'d str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.fault(value.span(), format!("{key} must be text in quotes"));
        }
        text
    }

    /// A list of texts, not empty and not too long, each with its place.
    fn texts<'d>(&mut self, value: &'d Value<'t>, key: &str, most: usize) -> Option<Vec<(&'d str, Range<usize>)>> {
        let items = value.get_ref().as_array();
        let Some(items) = items.filter(|items| !items.is_empty() && items.len() <= most) else {
            self.fault(value.span(), format!("{key} must be a list of 1 to {most} texts"));
            return None;
        };
        let read = |item: &'d Value<'t>| self.text_of(item, key).map(|text| (text, item.span()));
        let texts: Vec<_> = items.iter().filter_map(read).collect();
        (texts.len() == items.len()).then_some(texts)
    }

    fn set<T: Ord>(
        &mut self,
        value: &Value<'t>,
        key: &str,
        most: usize,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<BTreeSet<T>> {
        let items = self.texts(value, key, most)?;
        let mut set = BTreeSet::new();
        for (text, at) in &items {
            match parse(text) {
                Ok(item) => {
                    if !set.insert(item) {
                        self.fault(at.clone(), format!("{key}: \"{text}\" stands twice"));
                    }
                }
                Err(rule) => self.fault(at.clone(), format!("{key}: {rule}")),
            }
        }
        (set.len() == items.len()).then_some(set)
    }
}

fn span_of(table: &DeTable<'_>, key: &str) -> Range<usize> {
    table.get(key).map(Spanned::span).unwrap_or_default()
}
