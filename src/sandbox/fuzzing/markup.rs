//! Whether a page is only what its template says: a strict reading of the HTML that our templates are written in, in which
//! a value that was not escaped stands out as a tag or an attribute that no template has.

/// Elements that the templates use.
const TAGS: &str = "!doctype html head meta title style body header main footer section nav form fieldset legend label input button select \
                    option p h1 h2 h3 ul ol li dl dt dd div span strong em small code a table thead tbody tr th td br hr b i svg path link";

/// Attributes that the templates use.
const ATTRIBUTES: &str = "html lang charset name content class id for type value action method autocomplete required checked selected disabled \
                          href rel role tabindex scope placeholder maxlength minlength pattern inputmode autofocus hidden title target novalidate \
                          viewbox width height d fill stroke colspan rowspan multiple readonly min max step cite datetime dir focusable opacity";

/// What is not as a template writes it.
pub(super) fn check(page: &str) -> Result<(), String> {
    let mut rest = page;
    while let Some((text, from)) = rest.split_once('<') {
        if text.contains('>') {
            return Err(format!("a stray > in {text:?}"));
        }
        let (tag, behind) = tag_of(from)?;
        // What stands in a style is not markup; no template puts a value there.
        rest = if tag == "style" { behind.split_once("</style>").ok_or("a style has no end")?.1 } else { behind };
    }
    if rest.contains('>') { Err(format!("a stray > in {rest:?}")) } else { Ok(()) }
}

/// Reads a tag behind its `<`; its name, and what follows it.
fn tag_of(text: &str) -> Result<(&str, &str), String> {
    if let Some(comment) = text.strip_prefix("!--") {
        let (_, behind) = comment.split_once("-->").ok_or("a comment has no end")?;
        return Ok(("", behind));
    }
    let text = text.strip_prefix('/').unwrap_or(text);
    let end = text.find(|c: char| c.is_whitespace() || c == '>' || c == '/').ok_or("a tag has no end")?;
    let (name, mut rest) = text.split_at(end);
    if !is_in(name, TAGS) {
        return Err(format!("no template has <{name}>"));
    }
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix('>').or_else(|| rest.strip_prefix("/>")) {
            return Ok((name, behind));
        }
        rest = attribute(rest)?;
    }
}

/// Reads an attribute; what follows it.
fn attribute(text: &str) -> Result<&str, String> {
    let end = text.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/' | '=')).ok_or("a tag has no end")?;
    let (name, rest) = text.split_at(end);
    if !is_in(name, ATTRIBUTES) && !name.starts_with("aria-") {
        return Err(format!("no template has the attribute {name:?}"));
    }
    let Some(value) = rest.strip_prefix('=') else { return Ok(rest) };
    let value = value.strip_prefix('"').ok_or_else(|| format!("{name} is not quoted"))?;
    let (value, rest) = value.split_once('"').ok_or_else(|| format!("{name} has no end"))?;
    let is_link = matches!(name, "href" | "action");
    if value.contains('<') || is_link && value.trim_start().to_ascii_lowercase().starts_with("javascript:") {
        return Err(format!("{name} is {value:?}"));
    }
    Ok(rest)
}

fn is_in(name: &str, names: &str) -> bool {
    names.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_template_says_is_found() {
        let page = |inside: &str| {
            format!("<!doctype html>\n<html lang=\"en\"><style>a > b {{}}</style><p>{inside}</p></html>")
        };
        for good in
            ["a &lt;b&gt; &#34;", "<input type=\"text\" value=\"&#34;&#39;\" required>", "<br/>", "<!-- note -->"]
        {
            assert_eq!(check(&page(good)), Ok(()), "{good}");
        }
        for bad in [
            "<script>",
            "<xss>",
            "a > b",
            "a < b",
            "<p onclick=\"x\">",
            "<input value=\"\"x=\"\">",
            "<input value=x>",
            "<a href=\"javascript:alert(1)\">",
            "<p title=\"<b>\">",
            "<p",
        ] {
            assert!(check(&page(bad)).is_err(), "{bad}");
        }
    }
}
