//! Searches bytes for secrets, in every form in which they might lie about.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use url::form_urlencoded;

/// Shortest text worth searching for: a shorter one turns up by chance in keys and ciphertexts.
pub const SECRET_BYTES_MIN: usize = 8;

/// One entry for each pair of bytes that a pattern can begin with.
const PAIRS: usize = 1 << 16;

/// A secret to look for. No `Debug`: it carries the secret.
pub struct Needle {
    /// What it is, for people.
    what: String,
    secret: String,
}

impl Needle {
    /// A secret and what to call it; `None` when it is too short to be told from noise.
    pub fn new(what: impl Into<String>, secret: impl Into<String>) -> Option<Self> {
        let (what, secret) = (what.into(), secret.into());
        (secret.len() >= SECRET_BYTES_MIN).then_some(Self { what, secret })
    }

    /// The forms in which it is looked for: name and bytes.
    pub fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let raw = self.secret.as_bytes();
        let mut forms = vec![
            ("raw", raw.to_vec()),
            ("hex", hex(raw).into_bytes()),
            ("HEX", hex(raw).to_uppercase().into_bytes()),
            ("URL-encoded", form_urlencoded::byte_serialize(raw).collect::<String>().into_bytes()),
            ("JSON", serde_json::to_string(&self.secret).unwrap_or_default().trim_matches('"').as_bytes().to_vec()),
            ("UTF-16", self.secret.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ];
        for (lead, name) in ["base64, offset 0", "base64, offset 1", "base64, offset 2"].into_iter().enumerate() {
            forms.push((name, base64_core(&STANDARD_NO_PAD, lead, raw)));
            forms.push((name, base64_core(&URL_SAFE_NO_PAD, lead, raw)));
        }
        // A hexadecimal secret may also lie there as the bytes that it stands for.
        forms.extend(hex_tail(&self.secret).map(|bytes| ("bytes of the hex", bytes)));
        let mut seen = std::collections::BTreeSet::new();
        forms.retain(|(_, bytes)| seen.insert(bytes.clone()));
        forms
    }
}

/// Something that was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hit {
    /// What it is.
    pub what: String,
    /// In which form.
    pub form: &'static str,
}

/// All forms of all needles, searched for in one pass.
pub struct Search {
    patterns: Vec<(Hit, Vec<u8>)>,
    by_pair: Vec<Vec<usize>>,
}

impl Search {
    /// A search for these.
    pub fn new(needles: &[Needle]) -> Self {
        let mut search = Self { patterns: Vec::new(), by_pair: vec![Vec::new(); PAIRS] };
        for needle in needles {
            for (form, bytes) in needle.forms() {
                let first = bytes.first_chunk().map_or(0, |pair| usize::from(u16::from_be_bytes(*pair)));
                if let Some(starting) = search.by_pair.get_mut(first) {
                    starting.push(search.patterns.len());
                }
                search.patterns.push((Hit { what: needle.what.clone(), form }, bytes));
            }
        }
        search
    }

    /// How many patterns that are.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// What is in these bytes, each once.
    pub fn find(&self, bytes: &[u8]) -> Vec<Hit> {
        let mut hits = Vec::new();
        let mut rest = bytes;
        while let Some(pair) = rest.first_chunk::<2>() {
            let starting = self.by_pair.get(usize::from(u16::from_be_bytes(*pair)));
            let patterns = starting.into_iter().flatten().filter_map(|index| self.patterns.get(*index));
            for (hit, pattern) in patterns {
                if rest.starts_with(pattern) && !hits.contains(hit) {
                    hits.push(hit.clone());
                }
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        hits.sort();
        hits
    }
}

/// Every regular file below the directory, in order. Links are not followed.
///
/// # Errors
/// As the file system.
pub fn files_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What every base64 text contains that has the secret `lead` bytes behind a multiple of three: the first and last digits, which
/// also carry bits of the neighbours, are left off.
fn base64_core(engine: &impl Engine, lead: usize, secret: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; lead];
    bytes.extend_from_slice(secret);
    let whole = bytes.len() / 3 * 4;
    let text = engine.encode(&bytes).into_bytes();
    // One byte of a neighbour fills one digit and a part of the next; two fill two and a part.
    let shared = if lead == 0 { 0 } else { lead + 1 };
    text.get(shared..whole).unwrap_or_default().to_vec()
}

/// The bytes of the hexadecimal digits that the text ends in, when they are many.
fn hex_tail(text: &str) -> Option<Vec<u8>> {
    let from = text.rfind(|c: char| !c.is_ascii_hexdigit()).map_or(0, |at| at + 1);
    let digits = text.get(from..)?.as_bytes();
    if digits.len() < 2 * SECRET_BYTES_MIN || digits.len() % 2 != 0 {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "STAGE_00ff7b1c9d2e3f405162738495a6b7c8d9eafb0c";
    const TEXT: &str = "ada+test@quince tree.example";

    fn forms_found(bytes: &[u8], secret: &str) -> Vec<&'static str> {
        let search = Search::new(&[Needle::new("it", secret).unwrap()]);
        search.find(bytes).into_iter().map(|hit| hit.form).collect()
    }

    #[test]
    fn every_form_is_found_between_other_bytes() {
        let percent = "x=ada%2Btest%40quince+tree.example&y".to_owned().into_bytes();
        let utf16: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let cases: [(&str, Vec<u8>); 5] = [
            ("raw", format!("..{TEXT}..").into_bytes()),
            ("hex", format!("0{}0", hex(TEXT.as_bytes())).into_bytes()),
            ("HEX", format!("0{}0", hex(TEXT.as_bytes()).to_uppercase()).into_bytes()),
            ("URL-encoded", percent),
            ("UTF-16", [b"\0\x01", utf16.as_slice(), b"\0"].concat()),
        ];
        for (form, bytes) in cases {
            assert_eq!(forms_found(&bytes, TEXT), [form]);
        }
    }

    #[test]
    fn base64_is_found_at_every_alignment_and_in_both_alphabets() {
        // Bytes whose base64 differs between the alphabets.
        let secret = "~~~???>>>~~~";
        for lead in 0..7 {
            for trail in 0..4 {
                let text = [vec![0xa7; lead], secret.as_bytes().to_vec(), vec![0x5c; trail]].concat();
                for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                    let found = forms_found(encoded.as_bytes(), secret);
                    assert!(found.iter().any(|form| form.starts_with("base64")), "{lead} {trail} {encoded}");
                }
            }
        }
    }

    #[test]
    fn the_bytes_of_a_hexadecimal_token_are_found() {
        let bytes = hex_tail(SECRET).unwrap();
        assert_eq!(forms_found(&bytes, SECRET), ["bytes of the hex"]);
        assert_eq!(hex_tail("STAGE_zz"), None);
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let altered = SECRET.replacen('7', "8", 1);
        assert_eq!(forms_found(altered.as_bytes(), SECRET), Vec::<&str>::new());
        assert_eq!(forms_found(b"", SECRET), Vec::<&str>::new());
        assert_eq!(forms_found(&[0; 4096], SECRET), Vec::<&str>::new());
    }

    #[test]
    fn a_text_too_short_to_be_told_from_noise_is_no_needle() {
        assert!(Needle::new("short", "1234567").is_none());
        assert!(Needle::new("long enough", "12345678").is_some());
    }

    #[test]
    fn files_are_found_in_folders_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(dir.path().join("a/b/deep"), "x").unwrap();
        fs::write(dir.path().join("top"), "x").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("a/link")).unwrap();
        let found = files_below(dir.path()).unwrap();
        assert_eq!(found, [dir.path().join("a/b/deep"), dir.path().join("top")]);
    }
}
