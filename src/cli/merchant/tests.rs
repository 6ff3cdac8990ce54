//! How answers about merchants look, and what is asked.

use clap::Parser;
use serde_json::Value;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: MerchantCommand,
}

fn parse(words: &[&str]) -> MerchantCommand {
    Line::try_parse_from(std::iter::once(&"merchant").chain(words))
        .unwrap_or_else(|refused| panic!("{refused}"))
        .command
}

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: 1_800_000_000 + seconds, nanos: 5_000 })
}

fn link(state: v1::LinkState, head: bool) -> v1::Link {
    let version = v1::TokenVersionRef { connection_id: "con_1".into(), version: 2 };
    let head = head.then(|| v1::TokenVersion {
        r#ref: Some(version),
        liveness: v1::Liveness::Live.into(),
        ..v1::TokenVersion::default()
    });
    v1::Link {
        link_id: "lnk_1".into(),
        merchant_id: "mer_1".into(),
        connection_id: "con_1".into(),
        subject: "4711".into(),
        state: state.into(),
        create_time: at(1),
        head,
        shared: true,
        temporary: None,
    }
}

fn merchant() -> v1::Merchant {
    v1::Merchant {
        merchant_id: "mer_1".into(),
        external_id: "shop-17".into(),
        labels: vec!["eu".into(), "vip".into()],
        create_time: at(0),
        links: vec![link(v1::LinkState::Held, false), link(v1::LinkState::Active, true)],
        open_attempt: Some(v1::OpenAttempt {
            attempt_id: "att_1".into(),
            state: v1::AttemptState::InDoubt.into(),
            since_time: at(2),
            judge_time: None,
        }),
        next_action: v1::NextAction::Confirm.into(),
        next_action_text: "Confirm the held link.".into(),
    }
}

#[test]
fn a_list_shows_what_readers_get() {
    let bare = v1::Merchant {
        merchant_id: "mer_2".into(),
        external_id: "shop\u{1b}[2J".into(),
        next_action: 77,
        ..v1::Merchant::default()
    };
    let answer = listed(&[merchant(), bare], true);
    assert_eq!(
        answer.text,
        "MERCHANT  EXTERNAL ID    LABELS  LINK    HEAD  LIVENESS  NEXT ACTION\n\
         mer_1     shop-17        eu,vip  active  v2    live      confirm\n\
         mer_2     shop\\u{1b}[2J  —       —       —     —         unknown(77)\n\
         \n\
         There are more: raise --limit.\n"
    );
    assert_eq!(answer.value["more"], true);
    assert_eq!(answer.value["merchants"][1]["create_time"], Value::Null);
    assert!(answer.holds && answer.warning.is_none());
    assert_eq!(listed(&[], false).text, "No merchants that you may see.");
    assert_eq!(listed(&[], false).value, json!({"merchants": [], "more": false}));
}

#[test]
fn a_merchant_is_shown_with_its_links_and_the_way_on() {
    let answer = shown(&merchant());
    assert_eq!(
        answer.text,
        "merchant       mer_1\n\
         external id    shop-17\n\
         labels         eu, vip\n\
         created        2027-01-15T08:00:00.000005Z\n\
         next action    confirm\n               Confirm the held link.\n\
         open attempt   att_1 in_doubt\n  \
           since        2027-01-15T08:00:02.000005Z\n  \
           judged from  —\n\
         \n\
         LINK   STATE   SUBJECT  HEAD     LIVENESS  SHARED  CREATED\n\
         lnk_1  held    4711     —        —         yes     2027-01-15T08:00:01.000005Z\n\
         lnk_1  active  4711     con_1:2  live      yes     2027-01-15T08:00:01.000005Z\n"
    );
    assert_eq!(answer.value["open_attempt"]["state"], "in_doubt");
    assert_eq!(answer.value["links"][1]["head"]["ref"], json!({"connection_id": "con_1", "version": 2}));
    assert_eq!(answer.value["links"][0]["head"], Value::Null);
}

#[test]
fn the_link_to_hand_out_stands_alone_on_its_line() {
    let answer = connected(&v1::StartAuthorizationResponse {
        merchant_id: "mer_1".into(),
        invitation_id: "inv_1".into(),
        url: "https://p.example/connect/x".into(),
        expire_time: at(0),
    });
    assert_eq!(
        answer.text,
        "Hand this link to the merchant; it works until 2027-01-15T08:00:00.000005Z:\n\n  \
         https://p.example/connect/x\n\n\
         merchant    mer_1\n\
         invitation  inv_1\n"
    );
    assert_eq!(answer.value["url"], "https://p.example/connect/x");
}

#[test]
fn a_decided_link_is_shown() {
    let answer = decided(&link(v1::LinkState::Closed, false));
    assert!(answer.text.lines().last().unwrap().starts_with("lnk_1  closed"), "{}", answer.text);
    assert_eq!(answer.value["link"]["state"], "closed");
}

#[test]
fn connecting_asks_for_what_was_given() {
    let words = "connect shop-17 --name Ada --email a@b.example --user-name A.L. --label eu --label vip --return-url https://p/x --request-id r1";
    let MerchantCommand::Connect(connect) = parse(&words.split(' ').collect::<Vec<_>>()) else { panic!() };
    assert_eq!(
        connect.request(),
        v1::StartAuthorizationRequest {
            request_id: "r1".into(),
            external_id: "shop-17".into(),
            display_name: "Ada".into(),
            labels: vec!["eu".into(), "vip".into()],
            return_url: "https://p/x".into(),
            expected_email: "a@b.example".into(),
            user_name: "A.L.".into(),
            upgrade_temporary: false,
        }
    );
}

#[test]
fn resolving_asks_for_the_decision_that_was_given() {
    let link = format!("lnk_{}", "0a".repeat(16));
    for (flag, decision) in [("--activate", v1::LinkDecision::Activate), ("--close", v1::LinkDecision::Close)] {
        let MerchantCommand::Resolve(resolve) = parse(&["resolve", &link, flag, "--reason", "why not"]) else {
            panic!()
        };
        let request = resolve.request();
        assert_eq!((request.decision(), request.reason.as_str(), &request.link_id), (decision, "why not", &link));
    }
}

#[test]
fn listing_asks_for_pages_the_server_gives() {
    for (limit, page) in [("7", 7), ("5000", 100)] {
        let MerchantCommand::List(list) = parse(&["list", "--limit", limit, "--held", "--next-action", "wait"]) else {
            panic!()
        };
        let request = list.request("next".into());
        assert_eq!((request.page_size, request.held, request.next_action()), (page, true, v1::NextAction::Wait));
        assert_eq!(request.page_token, "next");
    }
}

#[test]
fn a_confirmation_may_come_from_standard_input() {
    let merchant = format!("mer_{}", "0a".repeat(16));
    for (word, expected) in [("-", "from-input"), ("given", "given")] {
        let MerchantCommand::Confirm(confirm) = parse(&["confirm", &merchant, word]) else { panic!() };
        assert_eq!(confirm.value(&mut &b"from-input\n"[..]).unwrap(), expected);
    }
}
