//! Form bodies and queries as PHP reads them, which WePay ran on (slashes escaped in its JSON; inferred): the last of a name
//! wins, and names in brackets nest.

use serde_json::{Map, Value};

/// How many fields are read: PHP's own default (`max_input_vars`). PHP drops the others; half a request is worse than none, so
/// here it is refused.
const FIELDS_MAX: usize = 1000;

/// How deep names may nest: PHP's own default (`max_input_nesting_level`).
const NESTING_MAX: usize = 64;

/// The fields of a form; none when it is not UTF-8, has too many fields or nests too deeply.
pub(super) fn parse(text: &[u8]) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    for (count, pair) in pairs.enumerate() {
        if count >= FIELDS_MAX {
            return None;
        }
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        let name = decode(name, true)?;
        let value = decode(value.get(1..).unwrap_or_default(), true)?;
        let (base, keys) = path(&name);
        if keys.len() > NESTING_MAX {
            return None;
        }
        insert(&mut fields, base, &keys, value);
    }
    Some(fields.into_iter().map(|(name, value)| (name, listed(value))).collect())
}

/// Text without its percent-encoding; none when it is not UTF-8. A percent sign that begins no code stands for itself.
pub(super) fn decode(text: &[u8], is_plus_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (first, after) {
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    rest = behind;
                    high << 4 | low
                }
                _ => b'%',
            },
            (b'+', _) if is_plus_space => b' ',
            (other, _) => *other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// `a[b][]` is the field `a` with the keys `b` and an empty one. Brackets that do not close belong to the name.
fn path(name: &str) -> (&str, Vec<&str>) {
    let (base, mut rest) = match name.find('[') {
        Some(at) if at > 0 => name.split_at(at),
        _ => return (name, Vec::new()),
    };
    let mut keys = Vec::new();
    while let Some((key, behind)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        keys.push(key);
        rest = behind;
    }
    if keys.is_empty() { (name, keys) } else { (base, keys) }
}

/// Puts a value where its keys lead; an empty key is the next number. Whatever else stands in the way is replaced.
fn insert(fields: &mut Map<String, Value>, name: &str, keys: &[&str], value: String) {
    let Some((key, deeper)) = keys.split_first() else {
        fields.insert(name.to_owned(), Value::String(value));
        return;
    };
    let slot = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    if let Value::Object(inner) = slot {
        let next =
            || inner.keys().filter_map(|key| key.parse::<u64>().ok()).max().map_or(0, |last| last.saturating_add(1));
        let key = if key.is_empty() { next().to_string() } else { (*key).to_owned() };
        insert(inner, &key, deeper, value);
    }
}

/// Keys 0, 1, 2 … make a list.
fn listed(value: Value) -> Value {
    let Value::Object(fields) = value else { return value };
    let mut fields: Map<String, Value> = fields.into_iter().map(|(name, value)| (name, listed(value))).collect();
    let is_list = (0..fields.len()).all(|index| fields.contains_key(&index.to_string()));
    if !is_list || fields.is_empty() {
        return Value::Object(fields);
    }
    (0..fields.len()).filter_map(|index| fields.remove(&index.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        Value::Object(parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn fields_are_decoded_and_the_last_of_a_name_wins() {
        assert_eq!(read("a=1&b=x+y%2B%C3%A9&&a=2&c&d="), json!({"a": "2", "b": "x y+é", "c": "", "d": ""}));
        assert_eq!(read("a=50%&b=%zz&c=%4"), json!({"a": "50%", "b": "%zz", "c": "%4"}));
        assert_eq!(read("a=b=c"), json!({"a": "b=c"}));
    }

    #[test]
    fn names_in_brackets_nest_as_in_php() {
        assert_eq!(read("a[b]=c&a[d][e]=f"), json!({"a": {"b": "c", "d": {"e": "f"}}}));
        assert_eq!(read("a[]=x&a%5B%5D=y"), json!({"a": ["x", "y"]}));
        assert_eq!(read("a[1]=y&a[0]=x&a[10]=z"), json!({"a": {"0": "x", "1": "y", "10": "z"}}));
        assert_eq!(read("a[1]=y&a[0]=x&a[]=z"), json!({"a": ["x", "y", "z"]}));
        assert_eq!(
            read("calls[0][call]=/user&calls[1][call]=/app"),
            json!({"calls": [{"call": "/user"}, {"call": "/app"}]})
        );
        assert_eq!(read("a=1&a[b]=2"), json!({"a": {"b": "2"}}));
        assert_eq!(read("[x]=1&b[c=2&d]=3"), json!({"[x]": "1", "b[c": "2", "d]": "3"}));
    }

    #[test]
    fn what_is_not_utf8_or_out_of_all_bounds_is_refused() {
        assert!(parse(b"a=%ff").is_none() && parse(b"a=\xff").is_none() && parse(b"%c3=1").is_none());
        assert!(parse(format!("a{}=1", "[x]".repeat(64)).as_bytes()).is_some());
        assert!(parse(format!("a{}=1", "[x]".repeat(65)).as_bytes()).is_none());
        assert!(parse("a[]=1&".repeat(1000).as_bytes()).is_some());
        assert!(parse("a[]=1&".repeat(1001).as_bytes()).is_none());
    }
}
