//! Names of real merchants pass, ids do not, and whatever is suggested is accepted.

use proptest::prelude::*;

use super::*;

fn judged(name: &str) -> Judgement {
    judge(name, None, &Platform::default())
}

/// Names that merchants really have, or could have: none of them may be refused or even doubted.
const REAL: &[&str] = &[
    "7-Eleven",
    "Forever 21",
    "H&M",
    "1-800-FLOWERS",
    "Café Zoë",
    "C&A",
    "E*TRADE",
    "AT&T",
    "Toys \"R\" Us",
    "99 Ranch Market",
    "Studio 54",
    "IKEA",
    "BP",
    "360 Training",
    "Zürich Shoes",
    "McDonald's",
    "McDonald’s",
    "Joe's Coffee House",
    "23andMe",
    "99designs",
    "1800 Contacts",
    "84 Lumber",
    "5.11 Tactical",
    "20th Century Studios",
    "24 Hour Fitness",
    "4imprint",
    "AAA",
    "AAAA Locksmith",
    "B&Q",
    "A & W Restaurants",
    "J. C. Penney",
    "J.Crew",
    "C & A",
    "Yahoo!",
    "P!nk Nails",
    "U-Haul",
    "A.P.C.",
    "U.S. Bank",
    "St. Mary's Bakery",
    "On the Border",
    "The Who",
    "The Body Shop",
    "The Container Store",
    "The Shop Around the Corner",
    "America's Test Kitchen",
    "Test Kitchen",
    "Foo Fighters Store",
    "Sample Sale NYC",
    "Account Ability LLC",
    "Merchant's Grill",
    "Customer Care Plumbing",
    "We Pay Cash For Houses",
    "mp3tunes4you",
    "4Life2Go4U",
    "2Good2Go",
    "iPhone6s4Sale",
    "Catch-22-Cafe",
    "WD-40",
    "F-150 Parts",
    "B-52 Bar",
    "K-9 Training",
    "A-1 Plumbing",
    "Pier 1 Imports",
    "Route 66 Diner",
    "Facade24",
    "Cafe2024",
    "Decade80 Records",
    "DECADE",
    "Deadbeef Records",
    "10,000 Maniacs",
    "007 Spy Shop",
    "0711 Clubhouse",
    "2001 Odyssey Books",
    "Taxi 4040",
    "Chanel No. 5",
    "Starbucks Store 1234",
    "TripAdvisor",
    "LVMH",
    "HSBC",
    "KPMG",
    "joes.com",
    "Müller & Söhne GmbH",
    "Crème Brûlée & Co.",
    "Þór's Víking Gear",
    "Strč Prst Skrz Krk",
    "Łódź Książki",
    "Nguyễn Phở",
    "Joe's Pizza #2",
    "A/C Repair Pros",
    "Smith/Jones Law",
    "Yoga (Downtown)",
    "National Geographic",
    "Universal Studios",
    "El Al",
    "La Croix",
    "Las Vegas Sands",
    "Airbnb",
    "Lululemon Athletica",
    "Rhythm & Blues",
    "OnlyFans",
    "DoorDash",
    "eBay",
    "TJMaxx",
    "LinkedIn",
    "MDRNTY",
    "Spreedly",
    "AG Barr",
    "Sun & Moon Yoga",
];

/// Could be somebody's, and should be looked at.
const DOUBTFUL: &[(&str, NameReason)] = &[
    ("Order of the Phoenix", NameReason::StartsCommon),
    ("Merchant of Tennis", NameReason::StartsCommon),
    ("The Payment Factory", NameReason::StartsCommon),
    ("1933 Group", NameReason::CommonWords),
    ("Company 77", NameReason::CommonWords),
    ("QXD-2982", NameReason::PossibleId),
    ("kdo7bfcvwvxv", NameReason::PossibleId),
    ("PzekOklOEEek", NameReason::PossibleId),
    ("3M", NameReason::SingleLetter),
    ("X5", NameReason::SingleLetter),
    ("O2", NameReason::SingleLetter),
    ("A1", NameReason::SingleLetter),
    ("X", NameReason::SingleLetter),
    ("中国银行", NameReason::NonLatin),
    ("Ресторан Пушкин", NameReason::NonLatin),
    ("חנות ספרים", NameReason::NonLatin),
    ("ร้านอาหารไทย", NameReason::NonLatin),
    ("The Company Store", NameReason::CommonWords),
    ("The Restaurant", NameReason::CommonWords),
    ("The 1975", NameReason::CommonWords),
    ("0711 Club", NameReason::CommonWords),
    ("Market 32", NameReason::CommonWords),
    ("On", NameReason::CommonWords),
    ("University of Texas", NameReason::StartsCommon),
    ("The Original Pancake House", NameReason::StartsCommon),
    ("The Restaurant at Meadowood", NameReason::StartsCommon),
    ("Payment Solutions Northwest", NameReason::StartsCommon),
    ("Customer First Plumbing", NameReason::StartsCommon),
    ("Beverly Hills 90210", NameReason::LongNumber),
    ("Toys™", NameReason::UncommonCharacter),
    ("Ｃａｆｅ Ｌｕｎａ", NameReason::UncommonCharacter),
    ("★ Star Nails", NameReason::UncommonCharacter),
];

/// Names that no card holder knows, and why.
const BAD: &[(&str, &[NameReason])] = {
    use NameReason::*;
    &[
        ("", &[Empty]),
        ("   ", &[Empty]),
        ("ORD-2024-00012345", &[ReferenceId, TooFewLetters]),
        ("550e8400-e29b-41d4-a716-446655440000", &[Uuid]),
        ("{550E8400-E29B-41D4-A716-446655440000}", &[Uuid]),
        ("550e8400e29b41d4a716446655440000", &[Uuid]),
        ("Joe's 550e8400-e29b-41d4-a716-446655440000", &[Uuid]),
        ("mer_0190f3c7111172228333444455556666", &[Uuid]),
        ("acct_1A2b3C4d5E6f", &[ReferenceId]),
        ("9f86d081884c7d65", &[Hash]),
        ("9f86d08", &[Hash]),
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", &[Hash]),
        ("DA39A3EE5E6B4B0D3255BFEF95601890AFD80709", &[Hash]),
        ("0000123456", &[DigitRun, TooFewLetters]),
        ("merchant-84213", &[ReferenceId]),
        ("merchant_84213", &[ReferenceId]),
        ("merchant84213", &[ReferenceId]),
        ("Merchant 84213", &[ReferenceId]),
        ("Merchant #84213", &[ReferenceId]),
        ("merchant-7", &[ReferenceId]),
        ("cus_9s6XKzkNRiz8i3", &[ReferenceId]),
        ("9s6XKzkNRiz8i3", &[ReferenceId]),
        ("MID 00412345", &[ReferenceId, DigitRun]),
        ("MID: 412", &[ReferenceId]),
        ("REF 412", &[ReferenceId]),
        ("Order No. 1234", &[ReferenceId]),
        ("Invoice #4411", &[ReferenceId]),
        ("STORE-12", &[ReferenceId]),
        ("AB12345", &[ReferenceId]),
        ("INV/84213", &[ReferenceId]),
        ("user_42", &[ReferenceId]),
        ("1A2b3C4d5E6f", &[ReferenceId]),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", &[ReferenceId]),
        ("YWJjZGVmZ2hpamts", &[ReferenceId]),
        ("dGVzdC1tZXJjaGFudA==", &[ReferenceId]),
        ("A1B2-C3D4-E5F6", &[ReferenceId]),
        ("HXAT-1OD9-VLTL-UDKW", &[ReferenceId]),
        ("acct_HkTIXyEGVHisbKpE", &[ReferenceId]),
        ("REF NPYNEQW2", &[ReferenceId]),
        ("4111 1111 1111 1111", &[DigitRun, TooFewLetters]),
        ("4111-1111-1111-1111", &[TooFewLetters]),
        ("555-123-4567", &[TooFewLetters]),
        ("4711", &[TooFewLetters]),
        ("00412", &[TooFewLetters]),
        ("٠٠٠٠١٢٣٤٥٦", &[DigitRun, TooFewLetters]),
        ("A1234", &[TooFewLetters]),
        ("!!!", &[TooFewLetters]),
        ("Joe's Pizza 0000123456", &[DigitRun]),
        ("Joe's Pizza 00412", &[DigitRun]),
        ("12345 Joe's Pizza", &[StartsUnrecognisable]),
        ("12345678 Joe's Pizza", &[DigitRun, StartsUnrecognisable]),
        ("ORD-2024-00012345 Joe's Pizza", &[ReferenceId, StartsUnrecognisable]),
        ("Merchant Account for Joe's Pizza", &[StartsUnrecognisable]),
        ("-------------- Joe's", &[StartsUnrecognisable]),
        ("The", &[Generic]),
        ("Inc.", &[Generic]),
        ("Account", &[Generic]),
        ("account", &[Generic]),
        ("My Account", &[Generic]),
        ("Merchant", &[Generic]),
        ("merchant 7", &[Generic]),
        ("Merchant Account", &[Generic]),
        ("Payment Account 2", &[Generic]),
        ("Store", &[Generic]),
        ("The Store", &[Generic]),
        ("Store 1", &[Generic]),
        ("Store1", &[Generic]),
        ("Terminal 9753", &[Generic]),
        ("My Business", &[Generic]),
        ("N/A", &[Generic]),
        ("null", &[Generic]),
        ("Untitled", &[Generic]),
        ("User42", &[Generic]),
        ("test", &[TestName]),
        ("Test Account", &[TestName]),
        ("test-account", &[TestName]),
        ("Test Merchant 2", &[TestName]),
        ("test1234", &[TestName]),
        ("foo bar", &[TestName]),
        ("asdf", &[TestName]),
        ("aaaaaaa", &[TestName]),
        ("Example Inc.", &[TestName]),
        ("Joe's WePay Store", &[ContainsWepay]),
        ("WEPAY", &[ContainsWepay]),
        ("we\u{200b}pay Pizza", &[ContainsWepay, InvisibleCharacter]),
        ("Ｗｅｐａｙ Pizza", &[ContainsWepay]),
        ("wépay", &[ContainsWepay]),
        ("joe@pizza.example", &[EmailAddress]),
        ("Joe's Pizza joe@pizza.example", &[EmailAddress]),
        ("Joe's\tPizza", &[ControlCharacter]),
        ("Joe's\nPizza", &[ControlCharacter]),
        ("Joe's\0", &[ControlCharacter]),
        ("Joe\u{202e}azziP", &[InvisibleCharacter]),
        ("Joe\u{200d}s", &[InvisibleCharacter]),
        ("Joe\u{3164}s", &[InvisibleCharacter]),
        ("Joe\u{e000}s", &[UnprintableCharacter]),
        ("Joe\u{fffd}s", &[UnprintableCharacter]),
        ("Joe\u{378}s", &[UnprintableCharacter]),
        ("Joe's 🍕", &[Emoji]),
        ("🇺🇸 Flags", &[Emoji]),
        ("Cafe\u{301} Luna", &[NotNfc]),
        (" Joe's Pizza", &[SurroundingSpace]),
        ("Joe's Pizza ", &[SurroundingSpace]),
        ("Joe's  Pizza", &[DoubledSpace]),
        ("Joe's\u{a0}Pizza", &[UnusualSpace]),
    ]
};

#[test]
fn names_of_real_merchants_are_accepted() {
    for name in REAL {
        assert_eq!(judged(name).reasons, [], "{name}");
    }
}

#[test]
fn what_could_be_a_name_is_a_warning_at_most() {
    for (name, reason) in DOUBTFUL {
        let judgement = judged(name);
        assert_eq!(judgement.verdict, Verdict::Warn, "{name}: {:?}", judgement.reasons);
        assert!(judgement.reasons.contains(reason), "{name}: {:?}", judgement.reasons);
    }
}

#[test]
fn ids_placeholders_and_broken_text_are_refused_for_what_they_are() {
    for (name, expected) in BAD {
        let judgement = judged(name);
        assert_eq!(judgement.verdict, Verdict::Refuse, "{name:?}: {:?}", judgement.reasons);
        for reason in *expected {
            assert!(judgement.reasons.contains(reason), "{name:?}: {reason:?} is not in {:?}", judgement.reasons);
        }
    }
}

#[test]
fn every_reason_is_shown_by_a_name() {
    let long = "Joe ".repeat(100);
    let platform = Platform::parse(&["tenant #"]).unwrap();
    let mut shown: Vec<_> = BAD.iter().flat_map(|(name, _)| judged(name).reasons).collect();
    shown.extend(DOUBTFUL.iter().flat_map(|(name, _)| judged(name).reasons));
    shown.extend(judged(&long).reasons);
    shown.extend(judge("Tenant 7 Joe's", None, &platform).reasons);
    for reason in NameReason::ALL {
        assert!(shown.contains(reason), "{reason:?}");
        assert_eq!(NameReason::parse(reason.code()), Some(*reason));
    }
}

#[test]
fn names_of_255_characters_pass_and_longer_ones_do_not() {
    let name = format!("Joe's {}", "Pizza ".repeat(42));
    let name: String = name.chars().take(NAME_CHARS_MAX - 1).chain(['s']).collect();
    assert_eq!(judged(&name).reasons, []);
    let judgement = judged(&format!("{name}s"));
    assert_eq!(judgement.reasons, [NameReason::TooLong]);
    assert!(judgement.suggestions[0].starts_with("Joe's Pizza"), "{:?}", judgement.suggestions);
}

#[test]
fn huge_input_is_not_looked_at() {
    let judgement = judge(&"\u{202e}🍕 wepay ".repeat(100_000), Some("Joe's Pizza"), &Platform::default());
    assert_eq!(judgement.reasons, [NameReason::TooLong]);
    assert_eq!(judgement.suggestions, ["Joe's Pizza"]);
}

#[test]
fn suggestions_are_made_of_what_speaks() {
    for (name, expected) in [
        ("MID 00412345 Joe's Pizza", "Joe's Pizza"),
        ("Joe's Pizza (ORD-2024-00012345)", "Joe's Pizza"),
        ("ORD-2024-00012345: Joe's Pizza", "Joe's Pizza"),
        ("Joe's Pizza - merchant-84213", "Joe's Pizza"),
        ("550e8400-e29b-41d4-a716-446655440000 Joe's Pizza", "Joe's Pizza"),
        ("cus 9s6XKzkNRiz8i3 Joe's Pizza", "Joe's Pizza"),
        ("Merchant #84213 Joe's Pizza", "Joe's Pizza"),
        ("12345 Joe's Pizza", "Joe's Pizza"),
        ("Merchant Account: Joe's Pizza", "Joe's Pizza"),
        ("Merchant Account for Joe's Pizza", "Joe's Pizza"),
        ("Joe's WePay Pizza", "Joe's Pizza"),
        ("  Joe's \u{a0} Pizza\t", "Joe's Pizza"),
        ("Joe's Pizza 🍕", "Joe's Pizza"),
        ("Joe's\u{200b} Pizza", "Joe's Pizza"),
        ("Cafe\u{301} Luna", "Café Luna"),
        ("Ｃａｆｅ Ｌｕｎａ", "Cafe Luna"),
        ("Toys™", "Toys"),
        ("★ Star Nails", "Star Nails"),
        ("😀ORD-00012345 Joe's & Sons", "Joe's & Sons"),
        ("Yoga (Downtown) 00412345", "Yoga (Downtown)"),
        ("[Joe's Pizza 00412345]", "Joe's Pizza"),
    ] {
        assert_eq!(judged(name).suggestions.first().map(String::as_str), Some(expected), "{name:?}");
    }
}

#[test]
fn nothing_is_suggested_where_nothing_speaks() {
    let nothing = BAD.iter().filter(|(_, reasons)| {
        use NameReason::{Empty, Generic, TestName, TooFewLetters};
        reasons.iter().any(|reason| matches!(reason, Empty | Generic | TestName | TooFewLetters))
    });
    for (name, _) in nothing.clone() {
        assert_eq!(judged(name).suggestions, [""; 0], "{name:?}");
        assert_eq!(judge(name, Some("Joe's Pizza"), &Platform::default()).suggestions, ["Joe's Pizza"], "{name:?}");
    }
    assert!(nothing.count() > 20);
    for name in [
        "AB 550e8400-e29b-41d4-a716-446655440000",
        "merchant-84213",
        "acct_1A2b3C4d5E6f",
        "University of Texas",
        "The Payment Factory",
    ] {
        assert_eq!(judged(name).suggestions, [""; 0], "{name:?}");
    }
}

#[test]
fn a_business_name_is_suggested_mended_or_not_at_all() {
    let suggested = |dba| judge("ORD-2024-00012345", Some(dba), &Platform::default()).suggestions;
    assert_eq!(suggested("  Café  Luna "), ["Café Luna"]);
    assert_eq!(suggested("MID 00412345 Café Luna"), ["Café Luna"]);
    assert_eq!(suggested("Test Account"), [""; 0]);
    assert_eq!(suggested("中国银行"), [""; 0]);
}

#[test]
fn a_name_is_shown_as_banks_cut_it() {
    let preview = judged("Joe's Coffee House").preview;
    assert_eq!(preview.at_14, "WPY*Joe's Coff");
    assert_eq!(preview.at_18, "WPY*Joe's Coffee H");
    assert_eq!(preview.at_20, "WPY*Joe's Coffee Hou");
    assert_eq!(judged("Café Zoë").preview.at_14, "WPY*Café Zoë");
    assert_eq!(judged("Spreedly").preview.at_20, "WPY*Spreedly");
    assert_eq!(judged("Hair Salon Ann").preview.at_14, "WPY*Hair Salon");
    assert_eq!(judged("Hair Salon Ann").preview.at_14.chars().count(), 14);
}

#[test]
fn patterns_of_the_platform_are_found_at_the_beginnings_of_words() {
    let refused = |patterns: &[&str], name: &str| {
        let judgement = judge(name, None, &Platform::parse(patterns).unwrap());
        judgement.reasons.contains(&NameReason::PlatformPattern).then_some(judgement.suggestions)
    };
    assert_eq!(refused(&["ORD-"], "Ord-abc Joe's Pizza"), Some(vec!["Joe's Pizza".to_owned()]));
    assert_eq!(refused(&["ORD-"], "Joe's Pizza ORD-x"), Some(vec!["Joe's Pizza".to_owned()]));
    assert_eq!(refused(&["ord-"], "Ford-Parts"), None);
    assert_eq!(refused(&["T##"], "Joe's T1"), None);
    assert_eq!(refused(&["T##"], "Joe's Pizza T12"), Some(vec!["Joe's Pizza".to_owned()]));
    assert_eq!(refused(&["tenant #"], "Tenant 7 Joe's Pizza"), Some(vec!["Joe's Pizza".to_owned()]));
    assert_eq!(refused(&["tenant #"], "Tenant Joe"), None);
    assert_eq!(refused(&["x?-*-z"], "Joe's Pizza xa-bcd-z"), Some(vec!["Joe's Pizza".to_owned()]));
    assert_eq!(refused(&["x?-*-z"], "Joe's Pizza xa-bcd"), None);
    assert_eq!(refused(&["Ä"], "ärzte"), Some(Vec::new()));
}

#[test]
fn patterns_that_fit_everything_or_are_too_many_are_refused() {
    for bad in ["", "  ", "*", "?*?", &"x".repeat(PATTERN_CHARS_MAX + 1)] {
        assert!(Platform::parse(&[bad]).is_err(), "{bad:?}");
    }
    assert!(Platform::parse(&["x"; PATTERNS_MAX]).is_ok());
    assert!(Platform::parse(&["x"; PATTERNS_MAX + 1]).is_err());
    assert_eq!(Platform::parse::<&str>(&[]), Ok(Platform::default()));
}

/// Texts near the rules' edges: pieces that they know, glued by chance.
fn names() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        "[a-zA-Z0-9]{1,12}",
        proptest::sample::select(
            [REAL, &["Merchant", "wepay", "#", "-", "_", " ", "  ", "the", "MID", "test", "\u{301}", "\u{200d}"]]
                .concat()
        )
        .prop_map(str::to_owned),
        proptest::sample::select(BAD).prop_map(|(name, _)| name.to_owned()),
    ];
    let glue = proptest::sample::select(vec!["", " ", " ", "-", "_", "/"]);
    prop_oneof![
        any::<String>(),
        proptest::collection::vec((piece, glue), 0..8)
            .prop_map(|pieces| pieces.into_iter().map(|(piece, glue)| piece + glue).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_suggested_is_accepted(name in names(), dba in proptest::option::of(names()), pattern in "[A-C#?*]{0,3}[a-c-]") {
        let platform = Platform::parse(&[pattern]).unwrap();
        let judgement = judge(&name, dba.as_deref(), &platform);
        prop_assert!(judgement.suggestions.len() <= SUGGESTIONS_MAX);
        prop_assert_eq!(judgement.verdict == Verdict::Accept, judgement.reasons.is_empty());
        for suggestion in &judgement.suggestions {
            prop_assert_ne!(suggestion, &name);
            let again = judge(suggestion, dba.as_deref(), &platform);
            prop_assert_eq!(again.verdict, Verdict::Accept, "{}: {:?}", suggestion, again.reasons);
            prop_assert!(again.suggestions.is_empty());
        }
    }

    #[test]
    fn what_is_accepted_is_clean_text_that_the_provider_takes(name in names()) {
        let judgement = judged(&name);
        prop_assert_eq!(&judgement, &judged(&name));
        if judgement.verdict == Verdict::Accept {
            prop_assert_eq!(characters::clean(&name), name.clone());
            prop_assert!(name.chars().count() <= NAME_CHARS_MAX && !name.to_lowercase().contains("wepay"));
            prop_assert!(name.chars().any(char::is_alphabetic));
        }
    }

    #[test]
    fn an_id_alone_is_never_accepted(id in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9]{1,40}|[a-z]{2,5}_[0-9]{1,12}|(ord|inv|ref|mid|order|merchant)[-:#/ ][0-9]{3,12}|[0-9a-f]{40}|[0-9a-f]{64}") {
        prop_assert_eq!(judged(&id).verdict, Verdict::Refuse, "{}", id);
        prop_assert_eq!(judged(&id.to_uppercase()).verdict, Verdict::Refuse, "{}", id);
    }
}
