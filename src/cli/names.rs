//! `names …`: the rules for names on card statements, without a server.
//!
//! The rules are pure and stand in [`crate::domain::statement`], so that a platform can try all its names before it opens one account. It
//! prints as it judges: lists are long, and a verdict does not depend on the names around it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Global;
use super::failure::Failure;
use super::text::{ABSENT, or_absent, pairs, table};
use crate::domain::statement::{Judgement, NameReason, Platform, Verdict, judge};
use crate::domain::trail::view;

/// Most names in a file: a million merchants is beyond any platform on one app.
const LINES_MAX: usize = 1_000_000;
/// Longest line of a file: far beyond any name; more is no list of names.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// So many names share one table, so that a long list is printed while it is judged.
const TABLE_ROWS: usize = 500;
/// Some tools begin a UTF-8 file with this; it is no part of the first name.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What `names` says at the end of its help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  every name is accepted, some perhaps with a warning
  1  some name is refused, or the answer could not be written
  2  usage: the command line or the file is wrong";

const CHECK_HELP: &str = "\
A payment appears on the card holder's statement as WPY* and the account's name; banks show 14 to
20 characters of that line. So:

  - the first 14 characters of the name must name the merchant on their own;
  - a name has no ids in it (ORD-2024-00012345, UUIDs, hashes, long numbers);
  - a name is no placeholder (Test Account, Store 1);
  - the provider takes at most 255 characters, no control characters, no emoji, no word wepay.

While a payment is only authorised, and on American Express before the merchant is verified, the
line is WEPAY, INC. whatever the name.

`accept` may be used, `warn` may be used if you know better, `refuse` may not. Nothing is changed
for you: take a suggestion or another name. Every suggestion is accepted by the same rules.

Examples:
  strongroom names check \"Joe's Coffee House\"          one name
  strongroom names check \"MID 4711 Joe's\" --dba \"Joe's Coffee\"
                                                      suggestions may use the business name
  strongroom names check --from names.txt --json      a file, one name per line; JSON lines
  cut -f2 merchants.tsv | strongroom names check --from -
                                                      the same from standard input
  strongroom names check --platform-pattern 'ORD-' --platform-pattern 'T####' \"T4711 Joe's\"
                                                      words that begin like ids of your own
  strongroom names check -- -Fifteen                  a name that begins with a dash

Exit codes:
  0  every name is accepted, some perhaps with a warning
  1  some name is refused, or the answer could not be written
  2  usage: the command line or the file is wrong";

/// The commands about names.
#[derive(Debug, clap::Subcommand)]
pub enum NamesCommand {
    /// Says what card statements will show of a name, and whether it is accepted; without a server.
    #[command(after_help = CHECK_HELP)]
    Check(Check),
}

/// Which names, and what is known about them.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("names").required(true).args(["name", "from"]))]
pub struct Check {
    /// The names, each judged alone.
    #[arg(value_name = "NAME")]
    name: Vec<String>,
    /// A file with one name per line, `-` for standard input; at most 1,000,000.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// The name under which the merchant does business, for suggestions.
    #[arg(long, value_name = "NAME")]
    dba: Option<String>,
    /// Refuses words that begin like this: text, with # for a digit, ? for a character, * for any (repeatable).
    #[arg(long, value_name = "PATTERN")]
    platform_pattern: Vec<String>,
}

/// Judges and prints, and says how it ended: 0, 1 if a name was refused, or a failure.
pub(crate) fn run(command: NamesCommand, global: &Global, out: &mut dyn Write) -> Result<u8, Failure> {
    let NamesCommand::Check(check) = command;
    let platform = Platform::parse(&check.platform_pattern)
        .map_err(|fault| Failure::Usage(format!("--platform-pattern {}", fault.rule)))?;
    let mut report = Report::new(out, global.json);
    let mut add = |name: &str| report.add(name, &judge(name, check.dba.as_deref(), &platform));
    match &check.from {
        None => check.name.iter().try_for_each(|name| add(name))?,
        Some(path) if path == Path::new("-") => read(path, io::stdin().lock(), &mut add)?,
        Some(path) => {
            let file = File::open(path).map_err(|fault| Failure::file(path, fault))?;
            read(path, BufReader::new(file), &mut add)?;
        }
    }
    report.finish()
}

/// Calls for every line. What is not UTF-8 reaches the rules as U+FFFD, which they refuse: one broken name does not cost the others.
fn read(path: &Path, mut lines: impl BufRead, add: &mut dyn FnMut(&str) -> Result<(), Failure>) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1_usize.. {
        line.clear();
        let limit = u64::try_from(LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let mut head = io::Read::take(&mut lines, limit);
        if head.read_until(b'\n', &mut line).map_err(|fault| Failure::file(path, fault))? == 0 {
            return Ok(());
        }
        let bad = |rule: &str| Failure::Usage(format!("{}, line {number}: {rule}", path.display()));
        if number > LINES_MAX {
            return Err(bad("more than 1,000,000 names; split the file"));
        }
        let text = match line.strip_suffix(b"\n") {
            Some(text) => text.strip_suffix(b"\r").unwrap_or(text),
            None if line.len() == LINE_BYTES_MAX => return Err(bad("longer than 64 KiB; this is no list of names")),
            None => &line,
        };
        let text = if number == 1 { text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text) } else { text };
        add(&String::from_utf8_lossy(text))?;
    }
    Ok(())
}

/// Prints verdicts as they come: lines of JSON, or tables of [`TABLE_ROWS`] and the meaning of the reasons at the end.
struct Report<'a> {
    out: &'a mut dyn Write,
    json: bool,
    /// Nobody reads any more (`… | head`): judging goes on for the exit code.
    closed: bool,
    rows: Vec<[String; 5]>,
    reasons: BTreeSet<NameReason>,
    refused: bool,
}

impl<'a> Report<'a> {
    fn new(out: &'a mut dyn Write, json: bool) -> Self {
        Self { out, json, closed: false, rows: Vec::new(), reasons: BTreeSet::new(), refused: false }
    }

    fn add(&mut self, name: &str, judgement: &Judgement) -> Result<(), Failure> {
        self.refused |= judgement.verdict == Verdict::Refuse;
        if self.json {
            return self.print(&format!("{}\n", view::to_line(&to_json(name, judgement))));
        }
        self.reasons.extend(&judgement.reasons);
        self.rows.push(to_row(name, judgement));
        if self.rows.len() < TABLE_ROWS { Ok(()) } else { self.print_table() }
    }

    fn finish(mut self) -> Result<u8, Failure> {
        if !self.rows.is_empty() {
            self.print_table()?;
        }
        if !self.reasons.is_empty() {
            let meanings: Vec<_> =
                self.reasons.iter().map(|reason| (reason.code().to_owned(), reason.text().to_owned())).collect();
            self.print(&format!("\n{}", pairs("  ", &meanings)))?;
        }
        if !self.closed {
            self.out.flush().or_else(|fault| self.failed(fault))?;
        }
        Ok(u8::from(self.refused))
    }

    fn print_table(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        self.print(&table(["VERDICT", "NAME", "STATEMENT", "REASONS", "SUGGESTION"], rows))
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        self.out.write_all(text.as_bytes()).or_else(|fault| self.failed(fault))
    }

    fn failed(&mut self, fault: io::Error) -> Result<(), Failure> {
        self.closed = true;
        if fault.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(Failure::Output(fault)) }
    }
}

/// `preview` is the line with the 14 characters of the name that card networks carry; `previews` has it as banks cut it.
fn to_json(name: &str, judgement: &Judgement) -> Value {
    let preview = &judgement.preview;
    json!({
        "name": name,
        "verdict": judgement.verdict.as_str(),
        "reasons": codes(judgement),
        "preview": preview.at_18,
        "previews": { "14": preview.at_14, "18": preview.at_18, "20": preview.at_20 },
        "suggestions": judgement.suggestions,
    })
}

fn to_row(name: &str, judgement: &Judgement) -> [String; 5] {
    [
        judgement.verdict.as_str().to_owned(),
        name.to_owned(),
        judgement.preview.at_18.clone(),
        or_absent(&codes(judgement).join(", ")),
        judgement.suggestions.first().cloned().unwrap_or_else(|| ABSENT.to_owned()),
    ]
}

fn codes(judgement: &Judgement) -> Vec<&'static str> {
    judgement.reasons.iter().map(|reason| reason.code()).collect()
}

#[cfg(test)]
mod tests;
