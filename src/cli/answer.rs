//! What a command found out, once for programs and once for people.

use serde_json::Value;

use crate::domain::trail::view;

/// The answer of a command. No `Debug`: the answer of `token get --show` carries a token.
pub(crate) struct Answer {
    /// For programs.
    pub(crate) value: Value,
    /// Whether the value is a list whose rows are printed one a line.
    pub(crate) by_rows: bool,
    /// For people; may end with a newline or not.
    pub(crate) text: String,
    /// Goes to standard error, in both forms.
    pub(crate) warning: Option<String>,
    /// Whether what was to be proved holds; false ends with exit code 1.
    pub(crate) holds: bool,
}

impl Answer {
    /// An answer that proves nothing and warns of nothing.
    pub(crate) fn new(value: Value, text: String) -> Self {
        Self { value, by_rows: false, text, warning: None, holds: true }
    }

    /// A list: for programs each row is a line of its own, so that long lists can be read as they come.
    pub(crate) fn rows(rows: Vec<Value>, text: String) -> Self {
        Self { by_rows: true, ..Self::new(Value::Array(rows), text) }
    }

    /// One line of ASCII: safe to show in a terminal and to split at line ends. Of a list one for each row, and none of an empty one.
    pub(crate) fn json_line(&self) -> String {
        match &self.value {
            Value::Array(rows) if self.by_rows => rows.iter().map(view::to_line).collect::<Vec<_>>().join("\n"),
            value => view::to_line(value),
        }
    }
}
