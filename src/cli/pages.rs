//! Lists that come in pages: how many to fetch, and how they are shown.

use serde_json::Value;

use super::answer::Answer;
use super::text::ABSENT;

/// Largest page that the server gives.
const PAGE_MAX: u32 = 100;
/// Most rows of one list: more is a report, not a look.
const LIST_MAX: i64 = 10_000;
/// What of an id a table shows at its end: enough to tell ids of one list apart.
const SHORT_DIGITS: usize = 8;

/// How much of a list, and how wide.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Extent {
    /// At most so many, the newest.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=LIST_MAX))]
    limit: u32,
    /// Shows ids and names in full, and everything else there is.
    #[arg(long)]
    pub(crate) wide: bool,
}

/// What was fetched of a list so far.
pub(crate) struct Fetched<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) page_token: String,
    limit: usize,
    is_over: bool,
}

impl Extent {
    /// What to ask for in one page.
    pub(crate) fn page_size(&self) -> i32 {
        i32::try_from(self.limit.min(PAGE_MAX)).unwrap_or(0)
    }

    /// Nothing fetched yet.
    pub(crate) fn begin<T>(&self) -> Fetched<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        Fetched { rows: Vec::new(), page_token: String::new(), limit, is_over: false }
    }

    /// An id in a table: in full, or its kind and its end.
    pub(crate) fn id(&self, id: &str) -> String {
        if id.is_empty() {
            return ABSENT.to_owned();
        }
        let end = id.len().checked_sub(SHORT_DIGITS).and_then(|from| id.get(from..));
        match (id.split_once('_'), end) {
            (Some((prefix, digits)), Some(end)) if !self.wide && digits.len() > SHORT_DIGITS => {
                format!("{prefix}_…{end}")
            }
            _ => id.to_owned(),
        }
    }

    /// A caller in a table: in full, or without scheme and trust domain.
    pub(crate) fn actor(&self, actor: &str) -> String {
        let short = actor.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')).map(|(_, path)| path);
        short.filter(|_| !self.wide).unwrap_or(actor).to_owned()
    }
}

impl<T> Fetched<T> {
    /// Takes a page. Pages may be short, even empty, before the end.
    pub(crate) fn push(&mut self, rows: Vec<T>, next_page_token: String) {
        self.rows.extend(rows);
        self.is_over = next_page_token.is_empty();
        self.page_token = next_page_token;
    }

    /// Whether there is nothing more to fetch.
    pub(crate) fn is_done(&self) -> bool {
        self.is_over || self.rows.len() >= self.limit
    }

    /// The answer: a table for people, one JSON value a row for programs.
    pub(crate) fn answer(
        mut self,
        none: &str,
        table: impl FnOnce(&[T]) -> String,
        json: impl Fn(&T) -> Value,
    ) -> Answer {
        let more = self.rows.len() > self.limit || !self.is_over;
        self.rows.truncate(self.limit);
        let text = if self.rows.is_empty() { none.to_owned() } else { table(&self.rows) };
        let warning = more.then(|| "there may be more: raise --limit, or narrow the filters".to_owned());
        Answer { warning, ..Answer::rows(self.rows.iter().map(json).collect(), text) }
    }
}
