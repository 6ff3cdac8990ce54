//! As much HTML as forms and links need: tags with their attributes, in order.

/// A form as it stands in the page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Form {
    /// Whether it posts.
    pub is_post: bool,
    /// Where it goes, as written.
    pub action: String,
    /// Fields with what stands in them.
    pub fields: Vec<(String, String)>,
    /// Boxes that nobody has ticked: what each sends when somebody does.
    boxes: Vec<(String, String)>,
    /// Its buttons.
    buttons: Vec<Button>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Button {
    name: String,
    value: String,
}

impl Form {
    /// What the field holds before anybody types.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// What is sent when this was typed and the button with this value pressed (the first one when empty); else what is missing.
    /// Typing the value of a box ticks it.
    pub(super) fn filled_in(&self, typed: &[(&str, &str)], button: &str) -> Result<Vec<(String, String)>, String> {
        let mut fields = self.fields.clone();
        for (name, value) in typed {
            match fields.iter_mut().find(|(field, _)| field == name) {
                Some((_, current)) => (*value).clone_into(current),
                None => {
                    let ticked = self.boxes.iter().find(|(field, ticked)| field == name && ticked == value);
                    fields.push(ticked.cloned().ok_or_else(|| format!("field \"{name}\""))?);
                }
            }
        }
        let pressed = self.buttons.iter().find(|candidate| button.is_empty() || candidate.value == button);
        let pressed = pressed.ok_or_else(|| format!("button \"{button}\""))?;
        if !pressed.name.is_empty() {
            fields.push((pressed.name.clone(), pressed.value.clone()));
        }
        Ok(fields)
    }
}

/// The forms of a page.
pub(super) fn forms(html: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut open: Option<Form> = None;
    for tag in tags(html) {
        let value = |name| tag.attribute(name).unwrap_or_default().to_owned();
        match (tag.name.as_str(), &mut open) {
            ("form", _) => {
                forms.extend(open.take());
                let is_post = value("method").eq_ignore_ascii_case("post");
                open = Some(Form {
                    is_post,
                    action: value("action"),
                    fields: Vec::new(),
                    boxes: Vec::new(),
                    buttons: Vec::new(),
                });
            }
            ("/form", _) => forms.extend(open.take()),
            ("button", Some(form)) => {
                let kind = value("type");
                if kind.is_empty() || kind.eq_ignore_ascii_case("submit") {
                    form.buttons.push(Button { name: value("name"), value: value("value") });
                }
            }
            ("input", Some(form)) => match value("type").to_ascii_lowercase().as_str() {
                "submit" => form.buttons.push(Button { name: value("name"), value: value("value") }),
                "checkbox" | "radio" if tag.attribute("checked").is_none() => {
                    form.boxes.push((value("name"), value("value")));
                }
                _ if value("name").is_empty() => {}
                _ => form.fields.push((value("name"), value("value"))),
            },
            _ => {}
        }
    }
    forms.extend(open);
    forms
}

/// Where the links of a page lead, as written.
pub(super) fn links(html: &str) -> Vec<String> {
    let anchors = tags(html).into_iter().filter(|tag| tag.name == "a");
    anchors.filter_map(|tag| tag.attribute("href").map(str::to_owned)).collect()
}

/// The content of the page's `http-equiv="refresh"`.
pub(super) fn meta_refresh(html: &str) -> Option<String> {
    let is_refresh = |tag: &Tag| tag.attribute("http-equiv").is_some_and(|value| value.eq_ignore_ascii_case("refresh"));
    let metas = tags(html).into_iter().filter(|tag| tag.name == "meta");
    metas.filter(is_refresh).find_map(|tag| tag.attribute("content").map(str::to_owned))
}

/// The address in a refresh such as `1; url=/next`; none when it reloads the page itself.
pub(super) fn refresh_target(value: &str) -> Option<String> {
    let (_, rest) = value.split_once([';', ','])?;
    let rest = rest.trim();
    let is_named = rest.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("url="));
    let target = if is_named { rest.get(4..)? } else { rest };
    Some(target.trim_matches(['"', '\'', ' ']).to_owned()).filter(|target| !target.is_empty())
}

/// The title of a page, else its beginning.
pub(super) fn title(html: &str) -> String {
    let from = html.find("<title>").and_then(|at| html.get(at..)).and_then(|rest| rest.strip_prefix("<title>"));
    let title = from.and_then(|rest| rest.split('<').next());
    title.map_or_else(|| html.chars().take(60).collect(), |title| unescape(title.trim()))
}

struct Tag {
    /// In lower case; of an end tag with its slash.
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The tags of a page. What stands in comments, scripts and styles is none.
fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once('<') {
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let (tag, after) = read_tag(after);
        rest = match tag.name.as_str() {
            "script" | "style" => skip_raw(after, &tag.name),
            _ => after,
        };
        tags.push(tag);
    }
    tags
}

/// What follows the end of an element whose content is no HTML.
fn skip_raw<'a>(html: &'a str, name: &str) -> &'a str {
    let end = format!("</{name}");
    html.to_ascii_lowercase().find(&end).and_then(|at| html.get(at..)).unwrap_or_default()
}

fn read_tag(html: &str) -> (Tag, &str) {
    let end = html.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(html.len());
    let (name, mut rest) = html.split_at(end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            rest = after;
            break;
        }
        if rest.is_empty() {
            break;
        }
        // The first character belongs to the name even if it is an equals sign, so that each turn gets on.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let tail = rest.get(first..).unwrap_or_default();
        let end = tail.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(tail.len());
        let (key, after) = rest.split_at(first + end);
        let (value, after) = match after.trim_start().strip_prefix('=') {
            Some(after) => read_value(after.trim_start()),
            None => ("", after),
        };
        attributes.push((key.to_ascii_lowercase(), unescape(value)));
        rest = after;
    }
    let name = name.trim_end_matches('/').to_ascii_lowercase();
    (Tag { name, attributes }, rest)
}

fn read_value(html: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = html.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    html.split_at(html.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(html.len()))
}

/// Resolves the character references that templates write: the five named ones and numbers.
fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let reference = after.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        match reference {
            Some((character, after)) => {
                plain.push(character);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            code.ok().and_then(char::from_u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!DOCTYPE html><title>Sign &amp; go</title><style>a > b { } <form></style>
<!-- <form action="/no"><input name=x></form> --><script>"<form action='/no'>"</script>
<input name="outside"><FORM METHOD=Post action="/v2/authorize?a=1&amp;b=&#x27;2&#39;">
<input type="hidden" name="csrf" value="&lt;&quot;&gt;">
<input name=email value='ada@shop' required><input type=checkbox name=off value=1>
<input type="checkbox" name="on" value="1" checked /><input value="nameless"><br/>
<button type="button" name="no" value="no">No</button>
<button type="submit" name="decision" value="grant">Grant</button><button name="decision" value="deny">Deny</button>
</FORM><form><input type=submit></form><a class="x" href="/next?a=1&amp;b=2">on</a>"#;

    fn pairs(fields: &[(String, String)]) -> Vec<(&str, &str)> {
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn forms_are_read_with_their_fields_and_buttons() {
        let forms = forms(PAGE);
        assert_eq!(forms.len(), 2);
        let form = &forms[0];
        assert!(form.is_post && !forms[1].is_post);
        assert_eq!(form.action, "/v2/authorize?a=1&b='2'");
        assert_eq!(pairs(&form.fields), [("csrf", "<\">"), ("email", "ada@shop"), ("on", "1")]);
        assert_eq!(form.field("email"), Some("ada@shop"));
        assert_eq!(title(PAGE), "Sign & go");
        assert_eq!(links(PAGE), ["/next?a=1&b=2"]);
    }

    #[test]
    fn filling_in_sends_what_was_typed_and_the_button_that_was_pressed() {
        let form = forms(PAGE).remove(0);
        let sent = form.filled_in(&[("email", "eve@shop")], "deny").unwrap();
        assert_eq!(pairs(&sent), [("csrf", "<\">"), ("email", "eve@shop"), ("on", "1"), ("decision", "deny")]);
        let first = form.filled_in(&[], "").unwrap();
        assert_eq!(pairs(&first).last(), Some(&("decision", "grant")));
        let ticked = form.filled_in(&[("off", "1")], "").unwrap();
        assert!(pairs(&ticked).contains(&("off", "1")) && !pairs(&first).contains(&("off", "1")));
        assert_eq!(form.filled_in(&[("off", "2")], ""), Err("field \"off\"".to_owned()));
    }

    #[test]
    fn a_field_or_button_that_is_not_there_cannot_be_used() {
        let form = forms(PAGE).remove(0);
        assert_eq!(form.filled_in(&[("password", "x")], ""), Err("field \"password\"".to_owned()));
        assert_eq!(form.filled_in(&[], "no"), Err("button \"no\"".to_owned()));
    }

    #[test]
    fn a_refresh_is_read() {
        assert_eq!(meta_refresh(r#"<meta http-equiv="Refresh" content="2; url=/x">"#).as_deref(), Some("2; url=/x"));
        assert_eq!(meta_refresh("<meta charset=utf-8>"), None);
        for (value, target) in [("2", None), ("0;url=/x", Some("/x")), ("1; URL='/y'", Some("/y")), ("3; ", None)] {
            assert_eq!(refresh_target(value).as_deref(), target, "{value}");
        }
    }

    #[test]
    fn broken_html_ends() {
        for html in ["<", "<a", "<a href", "<a =", "<a href=\"x", "<!--", "<script>", "a & b &#; &x;", "<form><input"] {
            let _all = (forms(html), links(html), title(html), unescape(html));
        }
        assert_eq!(unescape("a & b &nope; &#x41;"), "a & b &nope; A");
    }
}
