//! How answers about access look.

use super::*;

fn line(id: &str, allows: bool, obstacle: &str) -> v1::GrantLine {
    v1::GrantLine {
        grant_id: id.into(),
        caller: "spiffe://p/payments".into(),
        actions: vec!["token.read".into(), "token.report".into()],
        merchants: "label eu".into(),
        purpose: "payouts".into(),
        not_before_time: None,
        not_after_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        allows,
        obstacle: obstacle.into(),
    }
}

#[test]
fn an_answer_says_why_and_why_not() {
    let grants = vec![line("read", true, ""), line("old", false, "not_after")];
    let answer = explained(&v1::ExplainAccessResponse { allowed: Some(true), grants, policy_hash: "ab".into() });
    assert_eq!(
        answer.text,
        "Allowed.\n\n\
         GRANT  ALLOWS         CALLER               ACTIONS                  MERCHANTS  PURPOSE  FROM  UNTIL\n\
         read   yes            spiffe://p/payments  token.read token.report  label eu   payouts  —     2027-01-15T08:00:00Z\n\
         old    no: not_after  spiffe://p/payments  token.read token.report  label eu   payouts  —     2027-01-15T08:00:00Z\n\
         \n\
         Policy ab\n"
    );
    assert_eq!(answer.value["grants"][1]["obstacle"], "not_after");
    assert_eq!(answer.value["grants"][0]["obstacle"], serde_json::Value::Null);
    assert_eq!(answer.value["allowed"], true);
}

#[test]
fn no_grant_means_no() {
    let answer = explained(&v1::ExplainAccessResponse { allowed: Some(false), ..Default::default() });
    assert_eq!(
        answer.text,
        "Not allowed.\n\nNo grant bears on the question: what no grant allows is denied.\n\nPolicy —\n"
    );
    assert!(answer.holds, "the question was answered");
    assert!(explained(&v1::ExplainAccessResponse::default()).text.starts_with("No grant"));
}
