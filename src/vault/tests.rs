//! Golden vectors made by another implementation, Wycheproof, and properties.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use aes_gcm::aead::{Aead, Payload};
use proptest::prelude::*;
use serde::Deserialize;
use wycheproof::TestResult;

use super::*;
use crate::domain::ambient::{SystemEntropy, Timestamp};
use crate::domain::app::Environment;
use crate::domain::id::{AttemptId, MerchantId};
use crate::domain::secret::Secret;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");

/// The salt of the golden vectors.
struct FixedSalt;

impl Entropy for FixedSalt {
    fn fill(&self, buffer: &mut [u8]) {
        buffer.iter_mut().zip(0x80..).for_each(|(to, byte)| *to = byte);
    }
}

#[derive(Deserialize)]
struct SealedVector {
    expect: String,
    place: PlaceVector,
    sealed: String,
    plaintext: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PlaceVector {
    kind: String,
    environment: String,
    client_id: String,
    owner: String,
    subject: Option<String>,
}

impl PlaceVector {
    fn place(&self) -> Place<'_> {
        let kinds = [PlaceKind::Token, PlaceKind::Private, PlaceKind::Salvage];
        Place {
            kind: kinds.into_iter().find(|kind| kind.as_str() == self.kind).unwrap(),
            environment: Environment::parse(&self.environment).unwrap(),
            client_id: &self.client_id,
            owner: unhex(&self.owner).try_into().unwrap(),
            subject: self.subject.as_deref(),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap().try_into().unwrap()).collect();
    digits.chunks_exact(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden(directory: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(Path::new(GOLDEN).join(directory)).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())).collect()
}

fn golden_keyring() -> Keyring {
    Keyring::parse(&golden("keyring")["ok"]).unwrap()
}

fn golden_vault() -> Vault {
    Vault::new(golden_keyring())
}

fn fresh_vault() -> Vault {
    Vault::new(Keyring::generate(&SystemEntropy, Timestamp::default()))
}

fn token_plaintext() -> TokenPlaintext {
    TokenPlaintext {
        subject: "98765".to_owned(),
        access_token: AccessToken::new("STAGE_token".to_owned()),
        refresh_token: None,
        expires_at: Some(Timestamp::from_unix_seconds(1_800_000_000)),
        scopes: Some(vec!["manage_accounts".to_owned(), "view_user".to_owned()]),
    }
}

fn private_plaintext() -> PrivatePlaintext {
    let fields = [("display_name", "Ada's"), ("email", "ada@example.com"), ("user_name", "Ada")];
    PrivatePlaintext::new(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

#[test]
fn golden_sealed_bytes_open_or_fail_as_they_say() {
    let vault = golden_vault();
    let vectors = golden("sealed");
    assert_eq!(vectors.len(), 21, "a vector is neither lost nor added unseen");
    for (name, text) in vectors {
        let vector: SealedVector = serde_json::from_slice(&text).unwrap();
        let answer = SealedBytes::parse(&unhex(&vector.sealed))
            .map_err(OpenError::from)
            .and_then(|sealed| vault.open(&vector.place.place(), &sealed));
        match answer {
            Ok(opened) => {
                assert_eq!((vector.expect.as_str(), Some(hex(&opened))), ("ok", vector.plaintext), "{name}");
            }
            Err(error) => assert_eq!(format!("{error:?}"), vector.expect, "{name}"),
        }
    }
}

#[test]
fn sealing_reproduces_the_golden_bytes() {
    let vault = golden_vault();
    let vectors = golden("sealed");
    let owner = [0x11; 16];
    let token = Place::token(Environment::Stage, "1234", AttemptId::from_bytes(owner), "98765");
    let private = Place::private(Environment::Stage, "1234", MerchantId::from_bytes([0x22; 16]));
    let salvage = Place::salvage(Environment::Stage, "1234", AttemptId::from_bytes(owner));
    for (name, place, plaintext) in [
        ("ok", token, token_plaintext().encode()),
        ("ok_private", private, private_plaintext().encode()),
        ("ok_salvage", salvage, Zeroizing::new(b"<html>".to_vec())),
        ("ok_empty", salvage, Zeroizing::default()),
    ] {
        let vector: SealedVector = serde_json::from_slice(&vectors[name]).unwrap();
        assert_eq!(vector.place.place(), place, "{name}");
        let sealed = vault.seal(&place, &plaintext, &FixedSalt).unwrap();
        assert_eq!(hex(&sealed.encode()), vector.sealed, "{name}");
    }
}

#[test]
fn golden_keyrings_load_or_fail_as_their_name_says() {
    let expected = [
        ("bad_check_value", "CheckValue(\"index_root\")"),
        ("bad_time", "BadTime(1)"),
        ("doubled_field", "Damaged { line: 6, column: 10 }"),
        ("duplicate_epoch", "DuplicateEpoch(1)"),
        ("key_of_wrong_type", "Damaged { line: 4, column: 12 }"),
        ("missing_key", "Damaged { line: 23, column: 1 }"),
        ("no_active_epoch", "NoActiveEpoch"),
        ("not_base64", "BadKey(\"index_root\")"),
        ("short_key", "BadKey(\"epoch/2\")"),
        ("swapped_epochs", "CheckValue(\"epoch/2\")"),
        ("truncated", "Damaged { line: 7, column: 140 }"),
        ("two_active_epochs", "TwoActiveEpochs(2, 1)"),
        ("unknown_field", "UnknownField(\"comment\")"),
        ("unknown_field_of_epoch", "UnknownField(\"comment\")"),
        ("unknown_field_of_key", "UnknownField(\"comment\")"),
        ("unknown_format", "UnknownFormat"),
        ("unknown_state", "BadState(1)"),
    ];
    let mut files = golden("keyring");
    assert!(files.remove("derived").is_some(), "no keyring, but what follows from one");
    assert_eq!(golden_keyring().epochs().map(|(epoch, _)| epoch.id).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(golden_keyring().render().as_slice(), files.remove("ok").unwrap(), "one text for one keyring");
    let found: Vec<(String, String)> =
        files.into_iter().map(|(name, text)| (name, format!("{:?}", Keyring::parse(&text).unwrap_err()))).collect();
    assert_eq!(found, expected.map(|(name, error)| (name.to_owned(), error.to_owned())));
}

#[test]
fn no_keyring_error_repeats_a_key() {
    let text = String::from_utf8(golden("keyring").remove("ok").unwrap()).unwrap();
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    assert!(text.contains(key));
    for broken in [
        text.replace(&format!("\"key\": \"{key}\""), &format!("\"{key}\": \"key\"")),
        text.replace("\"id\": 2", &format!("\"id\": \"{key}\"")),
        text.replace("\"active\"", &format!("\"{key}\"")),
        text.replace("\"2026-01-01T00:00:00Z\"", &format!("\"{key}\"")),
        text.replace("strongroom-keyring/1", key),
        text.replace("\"index_root\": {", &format!("\"{key}\": 1, \"index_root\": {{")),
    ] {
        let error = Keyring::parse(broken.as_bytes()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(key), "{error:?}");
    }
    assert_eq!(format!("{:?}", golden_vault()), "Vault { active: 2, .. }");
    let debug = format!("{:?}", golden_keyring());
    assert!(debug.matches("(..)").count() == 4 && !debug.contains(", 97"), "{debug}");
}

#[test]
fn values_under_the_index_root_are_the_golden_ones() {
    let vault = golden_vault();
    let expected: BTreeMap<String, String> = serde_json::from_slice(&golden("keyring")["derived"]).unwrap();
    let found = [
        ("check_value", hex(&vault.check_value())),
        ("fingerprint", hex(&vault.fingerprint(&AccessToken::new("STAGE_token".to_owned())))),
        ("email", hex(&vault.blind_index(BlindIndex::Email, b"value"))),
        ("state", hex(&vault.blind_index(BlindIndex::State, b"value"))),
        ("code", hex(&vault.blind_index(BlindIndex::Code, b"value"))),
        ("browser", hex(&vault.blind_index(BlindIndex::Browser, b"value"))),
        ("invitation", hex(&vault.capability(Capability::Invitation, &[5; 16]))),
        ("confirmation", hex(&vault.capability(Capability::Confirmation, &[5; 16]))),
        ("notice", hex(&vault.capability(Capability::Notice, &[6; 16]))),
        ("row", hex(&vault.tag(RowKind::Link, &[b"one", b"", b"three"]).0)),
    ];
    assert_eq!(found.len(), LABELS.len(), "every label has a vector");
    assert_eq!(LABELS.iter().map(|(label, _)| label).collect::<BTreeSet<_>>().len(), LABELS.len(), "labels differ");
    assert_eq!(BTreeMap::from(found.map(|(name, value)| (name.to_owned(), value))), expected);
}

#[test]
fn a_row_mac_fits_only_its_own_kind_and_fields() {
    let vault = fresh_vault();
    let tag = vault.tag(RowKind::Link, &[b"ab", b"c"]);
    assert!(vault.matches(RowKind::Link, &[b"ab", b"c"], &tag));
    let others: [&[&[u8]]; 6] =
        [&[b"a", b"bc"], &[b"abc"], &[b"ab", b"c", b""], &[b"", b"ab", b"c"], &[b"c", b"ab"], &[]];
    for fields in others {
        assert!(!vault.matches(RowKind::Link, fields, &tag), "{fields:?}");
    }
    assert!(!vault.matches(RowKind::Merchant, &[b"ab", b"c"], &tag));
    assert!(!fresh_vault().matches(RowKind::Link, &[b"ab", b"c"], &tag), "another keyring");
}

#[test]
fn limits_hold_on_both_sides() {
    let vault = fresh_vault();
    let place = Place::token(Environment::Stage, "1", AttemptId::from_bytes([1; 16]), "2");
    let largest = vec![7; PLAINTEXT_BYTES_MAX];
    let sealed = vault.seal(&place, &largest, &SystemEntropy).unwrap();
    assert_eq!(**vault.open(&place, &SealedBytes::parse(&sealed.encode()).unwrap()).unwrap(), largest);
    assert_eq!(vault.seal(&place, &[7; PLAINTEXT_BYTES_MAX + 1], &SystemEntropy), Err(SealError::TooLong));

    let longer = SealedBytes { ciphertext: vec![0; CIPHERTEXT_BYTES_MAX + 1], ..sealed };
    assert_eq!(vault.open(&place, &longer), Err(OpenError::Malformed(Malformed::TooLong)));
    assert_eq!(SealedBytes::parse(&longer.encode()), Err(Malformed::TooLong));

    let text = "x".repeat(PLACE_TEXT_BYTES_MAX + 1);
    for place in [Place { client_id: &text, ..place }, Place { subject: Some(&text), ..place }] {
        assert_eq!(vault.seal(&place, b"", &SystemEntropy), Err(SealError::PlaceTooLong));
        assert_eq!(vault.open(&place, &vault_sealed(&vault)), Err(OpenError::Failed));
    }
}

fn vault_sealed(vault: &Vault) -> SealedBytes {
    let place = Place::token(Environment::Stage, "1", AttemptId::from_bytes([1; 16]), "2");
    vault.seal(&place, b"", &SystemEntropy).unwrap()
}

#[test]
fn two_sealings_of_one_secret_share_nothing() {
    let vault = fresh_vault();
    let (one, two) = (vault_sealed(&vault), vault_sealed(&vault));
    assert_ne!(one.salt, two.salt);
    assert_ne!(one.ciphertext, two.ciphertext);
}

#[test]
fn plaintexts_have_one_encoding_and_one_reading() {
    let full = TokenPlaintext { refresh_token: Some(Secret::new("refresh".to_owned())), ..token_plaintext() };
    let bare = TokenPlaintext { expires_at: None, scopes: None, ..token_plaintext() };
    for plaintext in [full, bare, token_plaintext()] {
        let bytes = plaintext.encode();
        assert_eq!(TokenPlaintext::decode(&bytes), Ok(plaintext));
        for end in 0..bytes.len() {
            assert!(TokenPlaintext::decode(&bytes[..end]).is_err());
        }
        assert!(TokenPlaintext::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
    let private = private_plaintext();
    assert_eq!(PrivatePlaintext::decode(&private.encode()).unwrap().expose("email"), Some("ada@example.com"));
    assert_eq!(private.names().collect::<Vec<_>>(), ["display_name", "email", "user_name"]);
    assert_eq!(format!("{private:?}"), "PrivatePlaintext(..)");
    assert_eq!(TokenPlaintext::decode(&private.encode()), Err(BadPlaintext::Malformed));
    let many = TokenPlaintext { scopes: Some(vec!["s".to_owned(); 10_000]), ..token_plaintext() };
    assert_eq!(TokenPlaintext::decode(&many.encode()), Ok(many), "whatever can be sealed can be read");
    let mut huge = b"\xa2\x00\x01\x05\x9b".to_vec();
    huge.extend([0xff; 8]);
    assert_eq!(TokenPlaintext::decode(&huge), Err(BadPlaintext::Malformed));
    // {0: 2}: a later version; {0: 1, 2: "", 1: ""}: unsorted; {0: 1, 1: {"a": "", "a": ""}}: doubled
    assert_eq!(TokenPlaintext::decode(b"\xa1\x00\x02"), Err(BadPlaintext::UnknownVersion));
    assert_eq!(TokenPlaintext::decode(b"\xa3\x00\x01\x02\x60\x01\x60"), Err(BadPlaintext::Malformed));
    assert!(TokenPlaintext::decode(b"\xa3\x00\x01\x01\x60\x02\x60").is_ok());
    assert_eq!(PrivatePlaintext::decode(b"\xa2\x00\x01\x01\xa2\x61a\x60\x61a\x60"), Err(BadPlaintext::Malformed));
    assert_eq!(
        PrivatePlaintext::decode(b"\xa2\x00\x01\x01\xbb\xff\xff\xff\xff\xff\xff\xff\xff"),
        Err(BadPlaintext::Malformed)
    );
}

#[test]
fn the_cipher_passes_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let ours =
        |group: &&wycheproof::aead::TestGroup| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128);
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().filter(ours).flat_map(|group| &group.tests) {
        let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
        let nonce: [u8; NONCE_BYTES] = test.nonce.as_slice().try_into().unwrap();
        let sealed = [&test.ct[..], &test.tag[..]].concat();
        let opened = cipher.decrypt(&nonce.into(), Payload { msg: &sealed, aad: &test.aad });
        match test.result {
            TestResult::Valid | TestResult::Acceptable => {
                assert_eq!(opened.as_deref(), Ok(&test.pt[..]), "{}", test.tc_id);
                let again = cipher.encrypt(&nonce.into(), Payload { msg: &test.pt, aad: &test.aad });
                assert_eq!(again, Ok(sealed), "{}", test.tc_id);
                valid += 1;
            }
            TestResult::Invalid => {
                assert!(opened.is_err(), "{}", test.tc_id);
                invalid += 1;
            }
        }
    }
    assert!(valid > 30 && invalid > 20, "{valid} valid and {invalid} invalid vectors");
}

#[test]
fn the_key_derivation_passes_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut output = vec![0; test.size];
        let derived = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut output);
        if test.result.must_fail() {
            assert!(derived.is_err(), "{}", test.tc_id);
            invalid += 1;
        } else {
            assert_eq!((derived.is_ok(), &output[..]), (true, &test.okm[..]), "{}", test.tc_id);
            valid += 1;
        }
    }
    assert!(valid > 50 && invalid > 0, "{valid} valid and {invalid} invalid vectors");
}

fn places() -> impl Strategy<Value = PlaceVector> {
    let kinds = prop::sample::select(vec!["token", "private", "salvage"]);
    let environments = prop::sample::select(vec!["stage", "production"]);
    let texts = (".{0,20}", prop::option::of(".{0,20}"));
    (kinds, environments, texts, any::<[u8; 16]>()).prop_map(|(kind, environment, (client_id, subject), owner)| {
        PlaceVector {
            kind: kind.to_owned(),
            environment: environment.to_owned(),
            client_id,
            owner: hex(&owner),
            subject,
        }
    })
}

proptest! {
    #[test]
    fn what_is_sealed_opens_at_its_place_and_at_no_other(
        here in places(), there in places(), plaintext in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let vault = fresh_vault();
        let sealed = vault.seal(&here.place(), &plaintext, &SystemEntropy).unwrap();
        let parsed = SealedBytes::parse(&sealed.encode()).unwrap();
        prop_assert_eq!(&parsed, &sealed);
        prop_assert_eq!(&**vault.open(&here.place(), &parsed).unwrap(), &plaintext);
        if here.place() != there.place() {
            prop_assert_eq!(vault.open(&there.place(), &parsed), Err(OpenError::Failed));
        }
        prop_assert_eq!(fresh_vault().open(&here.place(), &parsed), Err(OpenError::Failed), "another keyring");
    }

    #[test]
    fn a_change_of_one_field_alone_closes_it(here in places(), other in places(), field in 0..5) {
        let vault = fresh_vault();
        let (from, mut place) = (other.place(), here.place());
        let sealed = vault.seal(&place, b"secret", &SystemEntropy).unwrap();
        match field {
            0 => place.kind = from.kind,
            1 => place.environment = from.environment,
            2 => place.client_id = from.client_id,
            3 => place.owner = from.owner,
            _ => place.subject = from.subject,
        }
        prop_assert_eq!(vault.open(&place, &sealed).is_ok(), place == here.place());
    }

    #[test]
    fn any_flipped_bit_closes_it(bit in 0_usize..(1 + 4 + 32 + 6 + 16) * 8) {
        let vault = fresh_vault();
        let place = Place::token(Environment::Stage, "1", AttemptId::from_bytes([1; 16]), "2");
        let mut bytes = vault.seal(&place, b"secret", &SystemEntropy).unwrap().encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = SealedBytes::parse(&bytes).map_err(OpenError::from).and_then(|sealed| vault.open(&place, &sealed));
        prop_assert!(opened.is_err());
    }

    #[test]
    fn parsing_answers_every_input(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(sealed) = SealedBytes::parse(&bytes) {
            prop_assert_eq!(sealed.encode(), bytes.clone());
        }
        let _ = TokenPlaintext::decode(&bytes);
        let _ = PrivatePlaintext::decode(&bytes);
        prop_assert!(Keyring::parse(&bytes).is_err());
    }

    #[test]
    fn private_fields_survive_in_every_order(fields in prop::collection::btree_map(".{0,9}", ".{0,30}", 0..20)) {
        let plaintext = PrivatePlaintext::new(fields);
        prop_assert_eq!(PrivatePlaintext::decode(&plaintext.encode()), Ok(plaintext));
    }
}
