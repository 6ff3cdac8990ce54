//! A page as browsers and screen readers need it: whole, labelled, and without anything that is loaded or runs.

use std::collections::BTreeSet;

/// Elements that have no end tag.
const VOID: [&str; 6] = ["meta", "link", "input", "br", "img", "hr"];

struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    /// Everything between its tags.
    inner: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The elements of a page; panics where a tag is not closed, not opened, or written badly.
fn elements(html: &str) -> Vec<Element> {
    let mut found: Vec<Element> = Vec::new();
    // Index of an open element, and where its content begins.
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut at = html.strip_prefix("<!DOCTYPE html>").map(|rest| html.len() - rest.len()).expect("a doctype");
    while let Some(next) = html[at..].find('<') {
        let start = at + next;
        let end = start + tag_length(&html[start..]);
        let tag = html[start + 1..end - 1].trim();
        at = end;
        if let Some(name) = tag.strip_prefix('/') {
            let (index, from) = open.pop().unwrap_or_else(|| panic!("</{name}> closes nothing"));
            assert_eq!(found[index].name, name, "closed in the wrong order");
            found[index].inner = html[from..start].to_owned();
            continue;
        }
        let is_closed = tag.ends_with('/');
        let element = element(tag.trim_end_matches('/'));
        let (name, is_void) = (element.name.clone(), VOID.contains(&element.name.as_str()));
        found.push(element);
        if name == "style" {
            let length = html[at..].find("</style>").expect("the end of the style");
            found.last_mut().unwrap().inner = html[at..at + length].to_owned();
            at += length + "</style>".len();
        } else if !is_void && !is_closed {
            open.push((found.len() - 1, at));
        }
    }
    assert!(open.is_empty(), "not closed: {:?}", open.iter().map(|(index, _)| &found[*index].name).collect::<Vec<_>>());
    found
}

/// Length of a tag; a `>` within quotes does not end it.
fn tag_length(html: &str) -> usize {
    let mut is_quoted = false;
    for (at, character) in html.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '>' if !is_quoted => return at + 1,
            _ => {}
        }
    }
    panic!("a tag has no end: {html:.60}")
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "element {name:?}");
    let mut attributes: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        rest = &rest[end..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix('=') {
            let inner = quoted.strip_prefix('"').unwrap_or_else(|| panic!("{key} of {name} is not quoted"));
            let (text, after) = inner.split_once('"').expect("the end of a value");
            assert!(!text.contains('<'), "{key} of {name} is not escaped");
            (value, rest) = (text.to_owned(), after);
        }
        assert!(attributes.iter().all(|(known, _)| *known != key), "{key} twice in {name}");
        attributes.push((key, value));
    }
    Element { name: name.to_owned(), attributes, inner: String::new() }
}

/// The words of some HTML.
fn words(html: &str) -> String {
    let mut words = String::new();
    for part in html.split('<') {
        words.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    words.trim().to_owned()
}

/// Panics unless the page is whole and everybody can use it.
pub(super) fn check(what: &str, html: &str) {
    let elements = elements(html);
    let all = |name: &str| elements.iter().filter(|element| element.name == name).collect::<Vec<_>>();
    let one = |name: &str| {
        let found = all(name);
        assert_eq!(found.len(), 1, "{what}: <{name}>");
        found[0]
    };
    assert_eq!(one("html").attribute("lang"), Some("en"), "{what}");
    for name in ["head", "body", "header", "main", "footer", "style"] {
        one(name);
    }
    for name in ["title", "h1"] {
        assert!(!words(&one(name).inner).is_empty(), "{what}: <{name}> is empty");
    }
    assert!(
        one("title").inner.contains("sandbox") && words(&one("header").inner).contains("This is a sandbox"),
        "{what}"
    );
    assert!(one("main").inner.contains("<h1>"), "{what}: the heading stands in the landmark");
    for name in ["script", "link", "img", "iframe", "object", "embed", "base"] {
        assert!(all(name).is_empty(), "{what}: <{name}>");
    }
    for loading in ["url(", "@import", "javascript:", "http-equiv"] {
        assert!(!html.contains(loading), "{what}: {loading}");
    }
    let mut ids = BTreeSet::new();
    for element in &elements {
        for (key, _) in &element.attributes {
            assert!(
                !key.starts_with("on") && !["src", "style", "autofocus", "tabindex"].contains(&key.as_str()),
                "{what}: {key}"
            );
        }
        if let Some(id) = element.attribute("id") {
            assert!(!id.is_empty() && ids.insert(id), "{what}: the id {id:?} twice");
        }
    }
    for element in &elements {
        for key in ["aria-describedby", "aria-labelledby", "for"] {
            for id in element.attribute(key).unwrap_or_default().split_whitespace() {
                assert!(ids.contains(id), "{what}: {key} names {id}, which is not there");
            }
        }
    }
    check_forms(what, &elements);
}

/// Each field has its label and each form what it needs.
fn check_forms(what: &str, elements: &[Element]) {
    let labels: Vec<&Element> = elements.iter().filter(|element| element.name == "label").collect();
    for field in elements.iter().filter(|element| ["input", "select", "textarea"].contains(&element.name.as_str())) {
        if field.attribute("type") == Some("hidden") {
            continue;
        }
        let id = field.attribute("id").unwrap_or_else(|| panic!("{what}: a field without an id"));
        let label = labels.iter().find(|label| label.attribute("for") == Some(id));
        let label = label.unwrap_or_else(|| panic!("{what}: {id} has no label"));
        assert!(!words(&label.inner).is_empty(), "{what}: the label of {id} is empty");
        assert!(
            field.attribute("autocomplete").is_some() || field.attribute("type") == Some("checkbox"),
            "{what}: {id}"
        );
    }
    for button in elements.iter().filter(|element| element.name == "button") {
        assert!(button.attribute("type") == Some("submit") && !words(&button.inner).is_empty(), "{what}: a button");
    }
    for link in elements.iter().filter(|element| element.name == "a") {
        assert!(
            link.attribute("href").is_some_and(|href| !href.is_empty()) && !words(&link.inner).is_empty(),
            "{what}"
        );
        let opens_window = link.attribute("target") == Some("_blank");
        assert!(!opens_window || link.attribute("rel") == Some("noopener"), "{what}: a link into a new window");
    }
    for form in elements.iter().filter(|element| element.name == "form") {
        assert_eq!(form.attribute("method"), Some("post"), "{what}");
        assert!(
            form.attribute("action").is_some_and(|action| action.starts_with('/') && !action.starts_with("//")),
            "{what}"
        );
        for needed in ["name=\"form\"", "name=\"csrf\"", "type=\"submit\""] {
            assert!(form.inner.contains(needed), "{what}: a form without {needed}");
        }
    }
}

#[test]
fn the_check_finds_what_is_wrong() {
    let good = "<!DOCTYPE html><html lang=\"en\"><head><title>sandbox</title><style>a{}</style></head><body>\
                <header>This is a sandbox</header><main><h1>Hi</h1><form method=\"post\" action=\"/x\">\
                <input type=\"hidden\" name=\"form\" value=\"a\"><input type=\"hidden\" name=\"csrf\" value=\"b\">\
                <label for=\"e\">Email</label><input id=\"e\" name=\"e\" autocomplete=\"off\">\
                <button type=\"submit\">Go</button></form></main><footer>x</footer></body></html>";
    check("good", good);
    for (from, to) in [
        ("lang=\"en\"", ""),
        ("<h1>Hi</h1>", "<h2>Hi</h2>"),
        ("<h1>Hi</h1>", "<h1>Hi</h1><h1>Ho</h1>"),
        ("for=\"e\"", "for=\"f\""),
        ("<label for=\"e\">Email</label>", ""),
        ("</main>", "<script></script></main>"),
        ("</h1>", "</h1><p>"),
        ("a{}", "a{background:url(x)}"),
        ("action=\"/x\"", "action=\"//x\""),
        ("name=\"csrf\"", "name=\"c\""),
        ("This is a sandbox", "Hello"),
        ("id=\"e\"", "id=\"e\" onclick=\"x\""),
        ("<button type=\"submit\">Go</button>", ""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(std::panic::catch_unwind(|| check("bad", &bad)).is_err(), "{from} -> {to}");
    }
}
