//! Tells ids from words: UUIDs, hashes, prefixed and random ids, long numbers.
//!
//! Names of real merchants have digits and strange capitals, too (`1-800-FLOWERS`, `E*TRADE`, `mp3tunes4you`, `AB InBev`): a rule here says
//! what only a machine writes. What is merely unusual is not judged here.

use super::reason::NameReason;

/// The groups of a UUID in hexadecimal digits (RFC 9562 §4).
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
/// As many digits in a row are a record's or a telephone's number: years and house numbers have four, postal codes five or six.
const RUN_DIGITS_MIN: usize = 7;
/// As many digits stand for a record when there is a prefix with them (`INV-84213`, `AB12345`).
const PREFIXED_DIGITS_MIN: usize = 5;
/// As many digits stand for a record when the word before them says so (`Merchant 842`); less may count shops.
pub(super) const LABELLED_DIGITS_MIN: usize = 3;
/// Longest prefix of capitals that counts as one: `AB12345`; longer ones are words.
const CAPITALS_MAX: usize = 4;
/// A random id has at least as many characters as the shortest that providers and link shorteners give out, with some left over.
const RANDOM_CHARS_MIN: usize = 8;
/// From this length on one digit among letters is enough for chance, if their case jumps.
const RANDOM_LONG_CHARS_MIN: usize = 14;
/// From this length on capitals and digits need no jumping case (ULID has 26, many coupon codes 16), and what is odd is an id.
const CODE_CHARS_MIN: usize = 16;
/// Shorter words after a label may be names: `Order 4U`.
const CODE_LABELLED_CHARS_MIN: usize = 5;
/// As many consonants in a row are rare in words, and common in chance.
const CLUSTER_MIN: usize = 4;
/// An abbreviated hash has at least seven digits (the default of Git).
const HASH_CHARS_MIN: usize = 7;

/// Words that say that a number or code follows, and that never are a merchant's name with it.
const LABELS: &[&str] = &[
    "acc",
    "account",
    "acct",
    "cus",
    "cust",
    "customer",
    "id",
    "inv",
    "invoice",
    "mer",
    "merch",
    "merchant",
    "mid",
    "ord",
    "order",
    "payment",
    "pmt",
    "ref",
    "reference",
    "seller",
    "sku",
    "tenant",
    "tid",
    "trx",
    "transaction",
    "txn",
    "uid",
    "usr",
    "user",
    "uuid",
    "vendor",
];
/// Words that are labels with a dash and digits only (`STORE-12`): apart from it, they count shops.
const DASHED_LABELS: &[&str] = &["case", "client", "loc", "location", "po", "req", "shop", "store", "sub", "ticket"];

/// Whether the word announces an id.
pub(super) fn is_label(key: &str) -> bool {
    LABELS.contains(&key)
}

/// What id the word contains, if any. The word is a stretch without spaces.
pub(super) fn find(word: &str) -> Option<NameReason> {
    if has_uuid(word) {
        return Some(NameReason::Uuid);
    }
    let segments: Vec<_> = segments(word).collect();
    if segments.iter().any(|segment| is_hash(segment)) {
        return Some(NameReason::Hash);
    }
    let digits = || segments.iter().filter(|segment| is_digits(segment));
    let letters = segments.iter().any(|segment| segment.chars().any(char::is_alphabetic));
    if letters && (digits().any(|digits| is_record(digits, PREFIXED_DIGITS_MIN)) || is_labelled(&segments)) {
        return Some(NameReason::ReferenceId);
    }
    if word.contains('_') && letters && word.contains(|c: char| c.is_numeric()) {
        return Some(NameReason::ReferenceId);
    }
    if segments.iter().any(|segment| digit_runs(segment).any(|run| is_record(run, RUN_DIGITS_MIN))) {
        return Some(NameReason::DigitRun);
    }
    let joined = segments.concat();
    let random = segments.iter().any(|segment| is_numbered(segment) || is_random(segment)) || is_random(&joined);
    let odd = segments.iter().any(|segment| segment.len() >= CODE_CHARS_MIN && is_odd(segment));
    // What follows a prefix need only look like an id to be one: `acct_HkTIXyEGVHisbKpE`.
    let prefixed = word.contains('_') && segments.iter().skip(1).any(|segment| is_odd(segment));
    (random || odd || prefixed || is_grouped(&segments) || is_padded(word)).then_some(NameReason::ReferenceId)
}

/// Whether the word looks like an id, although it may be a name.
pub(super) fn is_doubtful(word: &str) -> bool {
    let segments: Vec<_> = segments(word).collect();
    let coded = segments.windows(2).any(|pair| {
        let [prefix, number] = pair else { return false };
        let capitals = (2..=CAPITALS_MAX).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_uppercase());
        capitals && number.len() > LABELLED_DIGITS_MIN && is_digits(number)
    });
    coded || segments.iter().any(|segment| is_odd(segment))
}

/// Whether the word is an id if a label stands before it: `REF NPYNEQW2`.
pub(super) fn is_code(word: &str) -> bool {
    let digits = word.bytes().any(|b| b.is_ascii_digit());
    let one_case = !word.bytes().any(|b| b.is_ascii_lowercase()) || !word.bytes().any(|b| b.is_ascii_uppercase());
    word.len() >= CODE_LABELLED_CHARS_MIN
        && digits
        && one_case
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// How many digits stand in a row at most.
pub(super) fn longest_run(word: &str) -> usize {
    segments(word).flat_map(digit_runs).map(|run| run.chars().count()).max().unwrap_or_default()
}

fn segments(word: &str) -> impl Iterator<Item = &str> {
    word.split(|c: char| !c.is_alphanumeric()).filter(|segment| !segment.is_empty())
}

fn digit_runs(segment: &str) -> impl Iterator<Item = &str> {
    segment.split(|c: char| !c.is_numeric()).filter(|run| !run.is_empty())
}

fn is_digits(segment: &str) -> bool {
    segment.chars().all(char::is_numeric)
}

/// Long, or with leading zeros: those stand in databases only, but for short ones (`007`, `0711 Club`).
fn is_record(digits: &str, digits_min: usize) -> bool {
    let count = digits.chars().count();
    count >= digits_min || (count >= PREFIXED_DIGITS_MIN && digits.starts_with('0'))
}

/// In any spelling: with dashes, in braces, after a prefix.
fn has_uuid(word: &str) -> bool {
    let hex = |segment: &&str, chars: usize| segment.len() == chars && segment.bytes().all(|b| b.is_ascii_hexdigit());
    let segments: Vec<_> = segments(word).collect();
    let dashed =
        segments.windows(UUID_GROUPS.len()).any(|groups| groups.iter().zip(UUID_GROUPS).all(|(g, n)| hex(g, n)));
    dashed
        || segments
            .iter()
            .any(|segment| hex(segment, UUID_GROUPS.iter().sum()) && segment.contains(|c: char| c.is_ascii_digit()))
}

/// Hexadecimal digits in one case, numerals and letters mixed as words with a number (`Facade24`) never are.
fn is_hash(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let lower = segment.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let upper = segment.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F'));
    let chars = segment.len();
    if !(lower || upper) || chars < HASH_CHARS_MIN || digits == chars {
        return false;
    }
    let changes = pairs(segment).filter(|(a, b)| a.is_ascii_digit() != b.is_ascii_digit()).count();
    match chars {
        HASH_CHARS_MIN => digits >= 2 && changes + digits >= 5 && changes >= 2,
        8..12 => digits >= 3 && changes >= 2,
        12..20 => digits >= 2,
        _ => true,
    }
}

/// `merchant-42`, `PO/84`, `user:7`: a label, a sign, digits.
fn is_labelled(segments: &[&str]) -> bool {
    segments.windows(2).any(|pair| {
        let [label, number] = pair else { return false };
        let label = label.to_lowercase();
        is_digits(number) && (is_label(&label) || DASHED_LABELS.contains(&label.as_str()))
    })
}

/// `AB12345`, `merchant842`: letters that name no one, and digits.
fn is_numbered(segment: &str) -> bool {
    let letters = segment.trim_end_matches(char::is_numeric);
    let digits = segment.strip_prefix(letters).map_or(0, |digits| digits.chars().count());
    if letters.is_empty() || !letters.chars().all(char::is_alphabetic) {
        return false;
    }
    let capitals = letters.chars().count() <= CAPITALS_MAX && letters.chars().all(char::is_uppercase);
    (capitals && digits >= PREFIXED_DIGITS_MIN) || (is_label(&letters.to_lowercase()) && digits >= LABELLED_DIGITS_MIN)
}

/// The padding of Base64.
fn is_padded(word: &str) -> bool {
    let body = word.trim_end_matches('=');
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_');
    body.len() < word.len() && body.len() >= RANDOM_CHARS_MIN && body.bytes().all(base64)
}

/// Letters and digits as chance mixes them: many changes, short stretches of letters, capitals in the middle.
fn is_random(segment: &str) -> bool {
    let chars = segment.len();
    if !segment.bytes().all(|b| b.is_ascii_alphanumeric()) || chars < RANDOM_CHARS_MIN || is_leet(segment) {
        return false;
    }
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let letters = chars - digits;
    let kind = |c: char| (c.is_ascii_digit(), c.is_ascii_uppercase());
    // A capital before small letters begins a word, and is no change.
    let changes =
        pairs(segment).filter(|(a, b)| kind(*a) != kind(*b) && !(a.is_ascii_uppercase() && b.is_ascii_lowercase()));
    let changes = changes.count();
    let rises = pairs(segment).filter(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase()).count();
    if digits == 0 {
        let vowels = segment.bytes().filter(|b| b"aeiouyAEIOUY".contains(b)).count();
        return chars >= 12 && rises >= 3 && vowels * 5 < letters;
    }
    let enough = digits >= 2 || chars >= RANDOM_LONG_CHARS_MIN;
    let short = letters * 2 <= 5 * stretches(segment);
    (enough && short && changes >= 4 && changes * 4 >= chars)
        || (chars >= CODE_CHARS_MIN && digits >= 3 && changes >= 4)
}

/// `HXAT-1OD9-VLTL-UDKW`: groups of one length, in capitals and digits.
fn is_grouped(segments: &[&str]) -> bool {
    let chars = segments.first().map_or(0, |first| first.len());
    let code = |segment: &&str| {
        segment.len() == chars && segment.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let digits = segments.iter().any(|segment| segment.bytes().any(|b| b.is_ascii_digit()));
    segments.len() >= 3 && chars >= 4 && digits && segments.iter().all(code)
}

/// Long, and mixed in a way that hardly any name is: digits inside that are no words, beside letters that nobody can say; capitals
/// that come and go; hexadecimal digits that happen to be letters.
fn is_odd(segment: &str) -> bool {
    if segment.len() < RANDOM_CHARS_MIN || !segment.bytes().all(|b| b.is_ascii_alphanumeric()) || is_leet(segment) {
        return false;
    }
    let inner = segment.trim_matches(|c: char| c.is_ascii_digit());
    let mixed = inner.contains(|c: char| c.is_ascii_digit());
    let unsayable = segment.split(|c: char| c.is_ascii_digit()).any(|run| longest_cluster(run) >= CLUSTER_MIN);
    let rises = pairs(segment).filter(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase()).count();
    let hex = segment.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (mixed && (unsayable || hex)) || (rises >= 2 && stretches(inner) > rises + 1 && !mixed)
}

/// How many consonants follow each other.
fn longest_cluster(run: &str) -> usize {
    run.split(|c: char| "aeiouyAEIOUY".contains(c)).map(str::len).max().unwrap_or_default()
}

/// How many stretches the letters of the segment form; one that begins with several capitals and goes on in small letters counts twice.
fn stretches(segment: &str) -> usize {
    let runs = segment.split(|c: char| c.is_ascii_digit()).filter(|run| !run.is_empty());
    runs.map(|run| {
        let rises = pairs(run).filter(|(a, b)| a.is_ascii_lowercase() && b.is_ascii_uppercase()).count();
        let odd = run.as_bytes().windows(3).filter(|three| {
            matches!(three, [a, b, c] if a.is_ascii_uppercase() && b.is_ascii_uppercase() && c.is_ascii_lowercase())
        });
        1 + rises + odd.count()
    })
    .sum()
}

/// `4Life2Go4U`: digits that are read as words.
fn is_leet(segment: &str) -> bool {
    let runs: Vec<_> = digit_runs(segment).collect();
    let letters = segment.chars().filter(|c| c.is_alphabetic()).count();
    segment.len() <= 12
        && !runs.is_empty()
        && runs.iter().all(|run| matches!(*run, "2" | "4" | "8"))
        && letters >= 2 * runs.len()
}

fn pairs(text: &str) -> impl Iterator<Item = (char, char)> {
    text.chars().zip(text.chars().skip(1))
}
