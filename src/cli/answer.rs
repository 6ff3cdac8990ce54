//! What a command found out, once for programs and once for people.

use serde_json::Value;

use crate::domain::trail::view;

/// The answer of a command. No `Debug`: the answer of `token get --show` carries a token.
pub(crate) struct Answer {
    /// For programs.
    pub(crate) value: Value,
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
        Self { value, text, warning: None, holds: true }
    }

    /// One line of ASCII: safe to show in a terminal and to split at line ends.
    pub(crate) fn json_line(&self) -> String {
        view::to_line(&self.value)
    }
}
