//! How things look to people: tables, times, names of states, and no control character from outside.

use comfy_table::{Table, presets};

use crate::domain::ambient::Timestamp;
use crate::v1;

/// Stands for what is absent.
pub(crate) const ABSENT: &str = "—";

/// A table with a header, columns apart by spaces, nothing at the ends of lines.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = empty_table();
    table.set_header(header);
    for row in rows {
        table.add_row(row.map(|cell| plain(&cell)));
    }
    finish(&mut table)
}

/// Names and values in two columns, indented.
pub(crate) fn pairs(indent: &str, rows: &[(String, String)]) -> String {
    let mut table = empty_table();
    for (name, value) in rows {
        table.add_row([plain(name), plain(value)]);
    }
    finish(&mut table).lines().map(|line| format!("{indent}{line}\n")).collect()
}

/// The text, [`ABSENT`] when it is empty.
pub(crate) fn or_absent(text: &str) -> String {
    if text.is_empty() { ABSENT.to_owned() } else { text.to_owned() }
}

/// The time as RFC 3339 in UTC.
pub(crate) fn time(at: Option<&prost_types::Timestamp>) -> Option<String> {
    at.map(|at| {
        let micros = at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos / 1_000));
        Timestamp::from_micros(micros).to_rfc3339()
    })
}

/// The same, [`ABSENT`] when there is none.
pub(crate) fn time_or_absent(at: Option<&prost_types::Timestamp>) -> String {
    time(at).unwrap_or_else(|| ABSENT.to_owned())
}

/// `con_…:N`, as commands take it.
pub(crate) fn version(version: Option<&v1::TokenVersionRef>) -> String {
    version.map_or_else(|| ABSENT.to_owned(), |version| format!("{}:{}", version.connection_id, version.version))
}

/// The text with everything escaped that could break a line, move a terminal's cursor or turn the reading direction.
pub(crate) fn plain(text: &str) -> String {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if invisible(c) {
            plain.extend(c.escape_unicode())
        } else {
            plain.push(c)
        }
        plain
    })
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident: $kind:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(value: i32) -> String {
            v1::$kind::try_from(value).map_or_else(
                |_| format!("unknown({value})"),
                |value| value.as_str_name().trim_start_matches($prefix).to_ascii_lowercase(),
            )
        }
    )*};
}

words! {
    /// A link state in lower case.
    link_state: LinkState, "LINK_STATE_";
    /// A next action in lower case.
    next_action: NextAction, "NEXT_ACTION_";
    /// An attempt state in lower case.
    attempt_state: AttemptState, "ATTEMPT_STATE_";
    /// A kind of attempt in lower case.
    attempt_kind: AttemptKind, "ATTEMPT_KIND_";
    /// How an event ended, in lower case.
    event_outcome: EventOutcome, "EVENT_OUTCOME_";
    /// How a call to the provider ended, in lower case.
    call_outcome: CallOutcome, "CALL_OUTCOME_";
    /// How far an account's opening is, in lower case.
    account_opening: AccountOpening, "ACCOUNT_OPENING_";
    /// An account's state in lower case.
    account_state: AccountState, "ACCOUNT_STATE_";
    /// An account's kind in lower case.
    account_kind: AccountKind, "ACCOUNT_KIND_";
    /// An account's next action in lower case.
    account_next_action: AccountNextAction, "ACCOUNT_NEXT_ACTION_";
    /// What becomes of a name, in lower case.
    name_verdict: NameVerdict, "NAME_VERDICT_";
    /// A liveness in lower case.
    liveness: Liveness, "LIVENESS_";
    /// A kind of token in lower case.
    issued_kind: IssuedKind, "ISSUED_KIND_";
    /// What a report led to, in lower case.
    report_result: ReportResult, "REPORT_RESULT_";
    /// What a probe found, in lower case.
    finding: ProbeFinding, "PROBE_FINDING_";
}

fn empty_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn finish(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}
