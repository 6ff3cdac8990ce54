//! Whether people who see little can read the pages: contrast as WCAG 2.1 defines it, level AA.

use std::collections::BTreeMap;

const STYLE: &str = include_str!("../../../../templates/sandbox/style.css");

/// Text and what is behind it.
const TEXTS: [(&str, &str); 16] = [
    ("text", "page"),
    ("text", "card"),
    ("text", "wash"),
    ("soft", "page"),
    ("soft", "card"),
    ("accent", "card"),
    ("accent", "page"),
    ("accent", "wash"),
    ("accent-strong", "wash"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("sand-text", "sand"),
    ("alert", "card"),
    ("alert", "alert-wash"),
    ("text", "sand"),
    ("text", "alert-wash"),
];

/// The outline of a control and what is behind it.
const OUTLINES: [(&str, &str); 4] = [("field", "card"), ("accent", "card"), ("focus", "page"), ("focus", "card")];

/// The colours of each scheme by their names: light, then dark.
fn schemes() -> Vec<BTreeMap<String, [f64; 3]>> {
    let blocks = STYLE.split(":root {").skip(1).map(|block| block.split('}').next().unwrap());
    blocks.map(|block| block.split(';').filter_map(color).collect()).collect()
}

fn color(declaration: &str) -> Option<(String, [f64; 3])> {
    let (name, value) = declaration.trim().strip_prefix("--")?.split_once(": #")?;
    let digits: Vec<u32> = value.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    let channel = |at: usize| match digits.len() {
        3 => digits[at] * 17,
        _ => digits[2 * at] * 16 + digits[2 * at + 1],
    };
    Some((name.to_owned(), [0, 1, 2].map(|at| f64::from(channel(at)) / 255.0)))
}

fn luminance(color: [f64; 3]) -> f64 {
    let linear = color.map(|c| if c <= 0.03928 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn everything_stands_out_from_what_is_behind_it_in_light_and_in_dark() {
    assert!((contrast([0.0; 3], [1.0; 3]) - 21.0).abs() < 1e-9);
    let schemes = schemes();
    assert_eq!(schemes.len(), 2);
    for scheme in &schemes {
        for (pairs, least) in [(&TEXTS[..], 4.5), (&OUTLINES[..], 3.0)] {
            for (front, back) in pairs {
                let contrast = contrast(scheme[*front], scheme[*back]);
                assert!(contrast >= least, "{front} on {back}: {contrast:.2}");
            }
        }
    }
}

#[test]
fn both_schemes_have_the_same_colours_and_the_style_uses_no_others() {
    let schemes = schemes();
    let names = |at: usize| schemes[at].keys().collect::<Vec<_>>();
    assert_eq!(names(0), names(1));
    let rules = STYLE.split("* { box-sizing").nth(1).unwrap();
    // Shadows alone have their colour in place.
    let elsewhere: Vec<&str> =
        rules.lines().filter(|line| line.contains(": #") && !line.contains("box-shadow")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    for used in rules.split("var(--").skip(1) {
        let name = used.split(')').next().unwrap();
        assert!(schemes[0].contains_key(name), "{name}");
    }
}
