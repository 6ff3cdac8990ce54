//! Entry points for fuzzing (`fuzz/`) and for the replay of its corpora: one input is a few requests to a small world in
//! memory, whose clock stands and whose randomness repeats, so that an input that broke something breaks it again.
//!
//! The requests go the way that the listener's go, from the parsed head on. What must hold of every answer is judged here,
//! the same for fuzzer and replay. An input is text, so that seeds can be written and findings read by people.

mod judge;
mod markup;
mod stage;

use axum::http::{Method, Uri};

use self::judge::Judge;
use self::stage::{Answer, Asked, Stage};
use super::hash::labelled;

/// Requests that are played of one input; more would only repeat what these find.
const REQUESTS_MAX: usize = 8;

/// Between two requests of an input.
const SEPARATOR: &str = "\n---\n";

/// An answer that is not as documented, or an input's world that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

/// Requests, each as `METHOD TARGET`, header lines, an empty line and the body; `---` on a line of its own stands between
/// two. What cannot be a request is left out, as the HTTP layer would refuse it.
///
/// # Errors
/// What an answer breaks.
pub fn request(input: &[u8]) -> Result<(), Broken> {
    let stage = Stage::new()?;
    let mut judge = Judge::new(&stage)?;
    for part in split(input, SEPARATOR.as_bytes()).into_iter().take(REQUESTS_MAX) {
        let Some(asked) = Asked::read(part).filter(Asked::is_playable) else { continue };
        let answer = stage.answer(&asked)?;
        judge.answered(&stage, &asked, answer.as_ref())?;
    }
    Ok(())
}

/// A query of the authorize page on the first line, on each further line a form that a browser sends there: its cookie, and
/// the page's `csrf` unless the form has one, are added.
///
/// # Errors
/// What an answer breaks.
pub fn authorize(input: &[u8]) -> Result<(), Broken> {
    let stage = Stage::new()?;
    let mut judge = Judge::new(&stage)?;
    let mut lines = split(input, b"\n").into_iter();
    let target = [b"/v2/oauth2/authorize?", lines.next().unwrap_or_default()].concat();
    let Ok(target) = Uri::try_from(target) else { return Ok(()) };
    let mut cookie = String::new();
    let forms = lines.take(REQUESTS_MAX).map(Some);
    for form in std::iter::once(None).chain(forms) {
        let asked = visit(&target, &cookie, form);
        let answer = stage.answer(&asked)?;
        judge.answered(&stage, &asked, answer.as_ref())?;
        if let Some(set) = answer.as_ref().and_then(Answer::cookie) {
            cookie = set;
        }
    }
    Ok(())
}

/// What a browser with this cookie (`name=value`, or empty) sends: a form, or none for the page itself.
fn visit(target: &Uri, cookie: &str, form: Option<&[u8]>) -> Asked {
    let mut asked = Asked::new(if form.is_some() { Method::POST } else { Method::GET }, target.clone());
    if !cookie.is_empty() {
        asked.header("cookie", cookie.as_bytes());
    }
    if let Some(form) = form {
        asked.header("content-type", b"application/x-www-form-urlencoded");
        asked.body = form.to_vec();
        if !contains(form, b"csrf=") {
            let value = cookie.split_once('=').map_or("", |(_, value)| value);
            asked.body.extend_from_slice(format!("&csrf={}", labelled("csrf", &[value])).as_bytes());
        }
    }
    asked
}

/// The parts of bytes between separators.
fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), bytes);
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        let (part, behind) = rest.split_at(at);
        parts.push(part);
        rest = behind.get(separator.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_split_at_its_separators() {
        assert_eq!(split(b"a\n---\nb\n---\n", SEPARATOR.as_bytes()), [&b"a"[..], b"b", b""]);
        assert_eq!(split(b"", b"\n"), [&b""[..]]);
    }

    #[test]
    fn any_bytes_are_an_input() {
        for input in
            [&b""[..], b"\n", b"\xff\xfe", b"GET", b"GET /v2/user\n\xff: \xff\n\n\xff", b"x y z\n---\n\n\n---\n"]
        {
            request(input).unwrap();
            authorize(input).unwrap();
        }
    }
}
