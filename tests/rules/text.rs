//! The source as text: what is code in it, which words and paths, how deep.

/// A file of src/: its path within it without `.rs`, its text, and that text with comments and the inside of strings blanked
/// out, of the same length.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        Self { path: path.trim_end_matches(".rs").into(), text: text.into(), code: blank(text) }
    }

    pub(crate) fn layer(&self) -> &str {
        self.path.split('/').next().unwrap()
    }

    pub(crate) fn at(&self, offset: usize, message: &str) -> String {
        format!("src/{}.rs:{}: {message}", self.path, self.text[..offset].matches('\n').count() + 1)
    }
}

/// The text with comments and the inside of string and character literals as spaces.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text.as_bytes()[i..];
        let hashes = rest.iter().skip(1).take_while(|b| **b == b'#').count();
        let word_before =
            i > 0 && (bytes[i - 1].is_ascii_alphanumeric() || bytes[i - 1] == b'_') && bytes[i - 1] != b'b';
        let find =
            |from: usize, what: &str| text[i + from..].find(what).map_or(rest.len(), |at| from + at + what.len());
        let (keep, end) = if rest.starts_with(b"//") {
            (0, find(0, "\n"))
        } else if rest.starts_with(b"/*") {
            (0, find(2, "*/"))
        } else if rest[0] == b'r' && !word_before && rest.get(1 + hashes) == Some(&b'"') {
            (2 + hashes, find(2 + hashes, &format!("\"{}", "#".repeat(hashes))))
        } else if rest[0] == b'"' || (rest[0] == b'\'' && (rest.get(1) == Some(&b'\\') || rest.get(2) == Some(&b'\'')))
        {
            let mut end = 1;
            while end < rest.len() && rest[end] != rest[0] {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            (1, (end + 1).min(rest.len()))
        } else {
            (1, 1)
        };
        for at in i + keep..(i + end).saturating_sub(usize::from(keep > 0)) {
            if bytes[at] != b'\n' {
                out[at] = b' ';
            }
        }
        i += end;
    }
    String::from_utf8(out).unwrap()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Offsets at which `word` stands in `code` as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| !code[..*at].ends_with(is_word) && !code[at + word.len()..].starts_with(is_word))
}

/// The paths a use tree opens after a `::`: `a::{b, c::d}` gives `a::b` and `a::c::d`.
pub(crate) fn paths(tree: &str) -> Vec<String> {
    let tree = tree.trim_start();
    if let Some(group) = tree.strip_prefix('{') {
        let (mut depth, mut items, mut start) = (0, Vec::new(), 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    items.extend(paths(&group[start..at]));
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return items;
    }
    let end = tree.find(|c| !is_word(c) && c != '*').unwrap_or(tree.len());
    match (&tree[..end], tree[end..].trim_start().strip_prefix("::")) {
        ("", _) => Vec::new(),
        (head, Some(rest)) if rest.trim_start().starts_with(|c: char| is_word(c) || c == '{' || c == '*') => {
            paths(rest).iter().map(|tail| format!("{head}::{tail}")).collect()
        }
        (head, _) => vec![head.into()],
    }
}

/// How many modules below the crate root the code at this offset stands.
pub(crate) fn depth(source: &Source, at: usize) -> usize {
    let code = &source.code;
    let encloses = |module: &usize| {
        let Some(open) = code[*module..at].find(['{', ';']).filter(|open| code[module + open..].starts_with('{'))
        else {
            return false;
        };
        let within = &code[module + open..at];
        within.matches('{').count() > within.matches('}').count()
    };
    source.path.split('/').count() + words(&code[..at], "mod").filter(encloses).count()
}
