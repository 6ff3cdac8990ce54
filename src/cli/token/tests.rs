//! How answers about tokens look, and that the token shows only where it was asked for.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: TokenCommand,
}

const CANARY: &str = "STAGE_canary";

fn parse(words: &str) -> TokenCommand {
    let words = std::iter::once("token").chain(words.split(' '));
    Line::try_parse_from(words).unwrap_or_else(|refused| panic!("{refused}")).command
}

fn get(words: &str) -> Get {
    let TokenCommand::Get(get) = parse(words) else { panic!("not get: {words}") };
    get
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 0 })
}

fn response() -> v1::GetAccessTokenResponse {
    v1::GetAccessTokenResponse {
        version: Some(v1::TokenVersionRef { connection_id: "con_1".into(), version: 3 }),
        liveness: v1::Liveness::Live.into(),
        evidence_time: at(0),
        merchant_id: "mer_1".into(),
        subject: "4711".into(),
        ..v1::GetAccessTokenResponse::default()
    }
}

fn version(number: u32, head: bool) -> v1::TokenVersion {
    v1::TokenVersion {
        r#ref: Some(v1::TokenVersionRef { connection_id: "con_1".into(), version: number }),
        head,
        issued_kind: v1::IssuedKind::Permanent.into(),
        cause: "exchange".into(),
        attempt_id: "att_1".into(),
        store_time: at(0),
        expire_time: None,
        liveness: if head { v1::Liveness::Live } else { v1::Liveness::Dead }.into(),
        evidence_time: at(60),
        evidence: if head { "probe" } else { "revoked_by_mint" }.into(),
        fingerprint: "0a0b".into(),
        permanent: true,
        candidate: false,
    }
}

#[test]
fn without_being_asked_the_token_is_not_shown() {
    for words in ["get shop-17", "get shop-17 --out file"] {
        let answer = get(words).answer(&response(), CANARY);
        assert!(!answer.text.contains("canary") && !answer.json_line().contains("canary"), "{words}");
    }
    assert_eq!(
        get("get shop-17").answer(&response(), CANARY).text,
        "version      con_1:3\n\
         liveness     live\n\
         evidence of  2027-01-15T08:00:00Z\n\
         keep until   —\n\
         expires      —\n\
         merchant     mer_1\n\
         subject      4711\n\
         token        not shown: --show prints it, --out FILE keeps it in a private file\n"
    );
    assert!(get("get shop-17 --out file").answer(&response(), CANARY).text.contains("written to file"));
}

#[test]
fn asked_for_the_token_stands_alone_or_beside_the_rest() {
    let answer = get("get shop-17 --show").answer(&response(), CANARY);
    assert_eq!(answer.text, CANARY);
    assert_eq!((&answer.value["access_token"], &answer.value["liveness"]), (&json!(CANARY), &json!("live")));
}

#[tokio::test]
async fn a_file_is_refused_before_anything_is_asked_and_taken_back_when_nothing_came() {
    let dir = tempfile::tempdir().unwrap();
    let global = Global { dev: Some(dir.path().to_owned()), ..Global::default() };
    let path = dir.path().join("token");
    let words = format!("get shop-17 --out {}", path.display());
    let refused = get(&words).run(&global).await.err().unwrap();
    assert!(refused.to_string().contains("dev.json"), "{refused}");
    assert!(!path.exists(), "no token, no file");

    std::fs::write(&path, "precious").unwrap();
    let refused = get(&words).run(&global).await.err().unwrap();
    assert!(matches!(&refused, Failure::File { path: named, .. } if *named == path), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn reading_asks_for_the_owner_that_was_named() {
    use v1::get_access_token_request::Owner;
    let con = format!("con_{}", "0a".repeat(16));
    let mer = format!("mer_{}", "0a".repeat(16));
    for (words, owner) in [
        ("get shop-17".to_owned(), Owner::ExternalId("shop-17".into())),
        (format!("get {mer}"), Owner::MerchantId(mer)),
        ("get --subject 4711".to_owned(), Owner::Subject("4711".into())),
    ] {
        let request = get(&format!("{words} --min-version {con}:7")).request();
        assert_eq!(request.owner, Some(owner));
        assert_eq!(request.min_version, Some(v1::TokenVersionRef { connection_id: con.clone(), version: 7 }));
    }
}

#[test]
fn reporting_carries_the_providers_words() {
    let con = format!("con_{}", "0a".repeat(16));
    let TokenCommand::Report(report) =
        parse(&format!("report {con}:7 --code 1011 --status 401 --description revoked --request-id r1"))
    else {
        panic!()
    };
    assert_eq!(
        report.request(),
        v1::ReportProviderErrorRequest {
            request_id: "r1".into(),
            version: Some(v1::TokenVersionRef { connection_id: con, version: 7 }),
            error_code: "1011".into(),
            error_description: "revoked".into(),
            http_status: 401,
        }
    );
}

#[test]
fn a_version_says_what_it_has_become() {
    let confirmed = v1::TokenVersion { issued_kind: v1::IssuedKind::Temporary.into(), ..version(1, true) };
    let waiting = v1::TokenVersion { candidate: true, permanent: false, ..confirmed.clone() };
    let waiting = v1::TokenVersion { head: false, ..waiting };
    let text = listed(&[waiting, confirmed]).text;
    let rows: Vec<_> = text.lines().skip(1).collect();
    assert!(rows[0].contains("  candidate  ") && rows[0].contains("  temporary  "), "{text}");
    assert!(rows[1].contains("  head  ") && rows[1].contains("  permanent, was temporary  "), "{text}");
}

#[test]
fn versions_are_a_table() {
    let answer = listed(&[version(2, true), version(1, false)]);
    assert_eq!(
        answer.text,
        "VERSION  HEAD  LIVENESS  EVIDENCE         OF                    KIND       CAUSE     STORED                EXPIRES  FINGERPRINT\n\
         con_1:2  head  live      probe            2027-01-15T08:01:00Z  permanent  exchange  2027-01-15T08:00:00Z  —        0a0b\n\
         con_1:1  —     dead      revoked_by_mint  2027-01-15T08:01:00Z  permanent  exchange  2027-01-15T08:00:00Z  —        0a0b\n"
    );
    assert_eq!(answer.value["versions"][1]["ref"]["version"], 1);
    assert_eq!(listed(&[]).text, "No token has ever been stored for this merchant.");
    assert_eq!(verified(&version(2, true), v1::ProbeFinding::Alive.into()).value["head"]["evidence"], "probe");
    assert!(verified(&version(2, true), v1::ProbeFinding::Alive.into()).text.contains("con_1:2  head  live"));
}

#[test]
fn a_report_says_what_it_led_to() {
    for (result, said) in [
        (v1::ReportResult::NewerVersion, "newer version"),
        (v1::ReportResult::NotAboutToken, "nothing about the token"),
        (v1::ReportResult::Probed, "was probed"),
    ] {
        let answer = reported(&v1::ReportProviderErrorResponse {
            result: result.into(),
            head: Some(version(2, true)),
            finding: v1::ProbeFinding::Alive.into(),
        });
        assert!(answer.text.contains(said) && answer.text.contains("con_1:2"), "{}", answer.text);
    }
    let bare = reported(&v1::ReportProviderErrorResponse {
        result: v1::ReportResult::Probed.into(),
        head: None,
        finding: v1::ProbeFinding::Dead.into(),
    });
    assert_eq!(bare.value, json!({"result": "probed", "finding": "dead", "head": null}));
}
