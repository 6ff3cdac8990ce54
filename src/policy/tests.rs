use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::domain::ambient::{Clock, SystemClock};

const MER_1: &str = "mer_00000000000000000000000000000001";
const MER_2: &str = "mer_00000000000000000000000000000002";

/// One file with every shape a grant can have.
const FILE: &str = r#"
[[grant]]
id = "payments-read"
caller = "spiffe://dev.strongroom/service/payments"
actions = ["token.read", "token.report", "token.verify", "token.history"]
merchants = "all"
purpose = "charge merchants' customers"
cache_for = "30s"

[[grant]]
id = "onboard"
caller = "spiffe://dev.strongroom/service/onboarding"
actions = ["merchant.onboard", "merchant.confirm", "merchant.read"]
merchants = "all"
purpose = "onboard merchants"

[[grant]]
id = "audit"
caller = "spiffe://dev.strongroom/person/auditor"
actions = ["audit.read"]
merchants = "all"
purpose = "audit"

[[grant]]
id = "jobs-eu"
caller = "spiffe://dev.strongroom/job/*"
actions = ["token.read", "merchant.read", "merchant.onboard"]
merchants = { labels = ["eu", "uk"] }
purpose = "nightly settlement"
not_before = "2026-01-01T00:00:00Z"
not_after = "2027-01-01T00:00:00Z"

[[grant]]
id = "pilot"
caller = "spiffe://dev.strongroom/service/pilot"
actions = ["token.read", "merchant.onboard"]
merchants = { ids = ["mer_00000000000000000000000000000001"] }
purpose = "pilot"

[[grant]]
id = "everything"
caller = "spiffe://ops.strongroom/*"
actions = ["merchant.onboard", "merchant.confirm", "merchant.read", "link.resolve", "token.read", "token.report",
  "token.verify", "token.history", "audit.read", "access.explain"]
merchants = "all"
purpose = "break glass"
"#;

fn caller(text: &str) -> CallerId {
    CallerId::parse(&format!("spiffe://{text}")).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn labels(text: &str) -> Vec<Label> {
    let items: Vec<_> = text.split(',').filter(|item| !item.is_empty()).collect();
    Label::parse_all(&items).unwrap()
}

/// The grant that an evaluation names for an action known only at run time.
fn decide(
    policy: &Policy,
    who: &CallerId,
    action: ActionName,
    resource: &Resource<'_>,
    now: Timestamp,
) -> Option<String> {
    fn name<A: Action>(decision: Result<Grant<A>, Denied>) -> Option<String> {
        decision.ok().map(|grant| grant.id().to_owned())
    }
    match action {
        ActionName::MerchantOnboard => name(policy.authorize::<OnboardMerchant>(who, resource, now)),
        ActionName::MerchantConfirm => name(policy.authorize::<ConfirmMerchant>(who, resource, now)),
        ActionName::MerchantRead => name(policy.authorize::<ReadMerchant>(who, resource, now)),
        ActionName::MerchantLink => name(policy.authorize::<LinkMerchant>(who, resource, now)),
        ActionName::AccountCreate => name(policy.authorize::<CreateAccount>(who, resource, now)),
        ActionName::AccountUpdate => name(policy.authorize::<UpdateAccount>(who, resource, now)),
        ActionName::AccountRead => name(policy.authorize::<ReadAccount>(who, resource, now)),
        ActionName::LinkResolve => name(policy.authorize::<ResolveLink>(who, resource, now)),
        ActionName::TokenRead => name(policy.authorize::<ReadToken>(who, resource, now)),
        ActionName::TokenReport => name(policy.authorize::<ReportToken>(who, resource, now)),
        ActionName::TokenVerify => name(policy.authorize::<VerifyToken>(who, resource, now)),
        ActionName::TokenHistory => name(policy.authorize::<ReadHistory>(who, resource, now)),
        ActionName::AuditRead => name(policy.authorize::<ReadAudit>(who, resource, now)),
        ActionName::AccessExplain => name(policy.authorize::<ExplainAccess>(who, resource, now)),
    }
}

/// caller | action | resource (`1`, `2`, `new`, with labels behind a colon; `-` the deployment) | time | grant, `-` for denied
const DECISIONS: &str = "
dev.strongroom/service/payments   | token.read       | 1     | 2026 | payments-read
dev.strongroom/service/payments   | token.read       | 2:eu  | 2026 | payments-read
dev.strongroom/service/payments   | token.read       | 1     | 2024 | payments-read
dev.strongroom/service/payments   | token.report     | 1     | 2026 | payments-read
dev.strongroom/service/payments   | token.verify     | 1     | 2026 | payments-read
dev.strongroom/service/payments   | token.history    | 1     | 2026 | payments-read
dev.strongroom/service/payments   | merchant.onboard | 1     | 2026 | -
dev.strongroom/service/payments   | merchant.onboard | new   | 2026 | -
dev.strongroom/service/payments   | merchant.confirm | 1     | 2026 | -
dev.strongroom/service/payments   | merchant.read    | 1     | 2026 | -
dev.strongroom/service/payments   | link.resolve     | 1     | 2026 | -
dev.strongroom/service/payments   | audit.read       | -     | 2026 | -
dev.strongroom/service/payments   | access.explain   | -     | 2026 | -
dev.strongroom/service/payment    | token.read       | 1     | 2026 | -
dev.strongroom/service/payments2  | token.read       | 1     | 2026 | -
dev.strongroom/service/payments/x | token.read       | 1     | 2026 | -
dev.strongroom/service/Payments   | token.read       | 1     | 2026 | -
dev.strongroom/service            | token.read       | 1     | 2026 | -
prod.strongroom/service/payments  | token.read       | 1     | 2026 | -
dev.strongroom/service/onboarding | merchant.onboard | new   | 2026 | onboard
dev.strongroom/service/onboarding | merchant.onboard | 1     | 2026 | onboard
dev.strongroom/service/onboarding | merchant.confirm | 1     | 2026 | onboard
dev.strongroom/service/onboarding | merchant.read    | 1     | 2026 | onboard
dev.strongroom/service/onboarding | merchant.read    | -     | 2026 | onboard
dev.strongroom/service/onboarding | token.read       | 1     | 2026 | -
dev.strongroom/service/onboarding | token.read       | 1:eu  | 2026 | -
dev.strongroom/service/onboarding | token.history    | 1     | 2026 | -
dev.strongroom/service/onboarding | token.verify     | 1     | 2026 | -
dev.strongroom/service/onboarding | token.report     | 1     | 2026 | -
dev.strongroom/service/onboarding | link.resolve     | 1     | 2026 | -
dev.strongroom/service/onboarding | audit.read       | -     | 2026 | -
dev.strongroom/person/auditor     | audit.read       | -     | 2026 | audit
dev.strongroom/person/auditor     | token.read       | 1     | 2026 | -
dev.strongroom/person/auditor     | token.history    | 1     | 2026 | -
dev.strongroom/person/auditor     | merchant.read    | 1     | 2026 | -
dev.strongroom/person/auditor     | access.explain   | -     | 2026 | -
dev.strongroom/job/settle         | token.read       | 1:eu  | 2026 | jobs-eu
dev.strongroom/job/settle         | token.read       | 1:uk  | 2026 | jobs-eu
dev.strongroom/job/settle         | token.read       | 1:a,uk,z | 2026 | jobs-eu
dev.strongroom/job/settle/night   | token.read       | 1:eu  | 2026 | jobs-eu
dev.strongroom/job/settle         | merchant.read    | 1:eu  | 2026 | jobs-eu
dev.strongroom/job/settle         | merchant.onboard | new:eu | 2026 | jobs-eu
dev.strongroom/job/settle         | merchant.onboard | new   | 2026 | -
dev.strongroom/job/settle         | merchant.onboard | new:us | 2026 | -
dev.strongroom/job/settle         | token.read       | 1     | 2026 | -
dev.strongroom/job/settle         | token.read       | 1:us  | 2026 | -
dev.strongroom/job/settle         | token.read       | 1:eu1 | 2026 | -
dev.strongroom/job/settle         | merchant.read    | -     | 2026 | -
dev.strongroom/job/settle         | token.report     | 1:eu  | 2026 | -
dev.strongroom/job/settle         | token.read       | 1:eu  | 2025 | -
dev.strongroom/job/settle         | token.read       | 1:eu  | 2027 | -
dev.strongroom/job                | token.read       | 1:eu  | 2026 | -
dev.strongroom/jobs/settle        | token.read       | 1:eu  | 2026 | -
dev.strongroom/x/job/settle       | token.read       | 1:eu  | 2026 | -
ops.strongroom/job/settle         | token.read       | 1:eu  | 2026 | everything
dev.strongroom/service/pilot      | token.read       | 1     | 2026 | pilot
dev.strongroom/service/pilot      | token.read       | 2     | 2026 | -
dev.strongroom/service/pilot      | token.read       | new   | 2026 | -
dev.strongroom/service/pilot      | merchant.onboard | new   | 2026 | -
dev.strongroom/service/pilot      | merchant.onboard | 1     | 2026 | pilot
dev.strongroom/service/pilot      | token.read       | -     | 2026 | -
ops.strongroom/root               | audit.read       | -     | 2026 | everything
ops.strongroom/root               | audit.read       | 1     | 2026 | everything
ops.strongroom/root               | access.explain   | -     | 2026 | everything
ops.strongroom/a/b/c              | link.resolve     | 2     | 2026 | everything
ops.strongroom/root               | merchant.read    | -     | 2026 | everything
ops.strongroom2/root              | audit.read       | -     | 2026 | -
x.ops.strongroom/root             | audit.read       | -     | 2026 | -
dev.strongroom/ops.strongroom/x   | audit.read       | -     | 2026 | -
dev.strongroom/stranger           | token.read       | 1     | 2026 | -
dev.strongroom/stranger           | merchant.read    | -     | 2026 | -
";

#[test]
fn every_row_of_the_decision_table_is_decided_as_written() {
    let policy = Policy::parse(FILE).unwrap();
    let mut rows = 0;
    for row in DECISIONS.lines().filter(|line| !line.is_empty()) {
        let [who, action, resource, year, expected] =
            row.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let (which, names) = resource.split_once(':').unwrap_or((resource, ""));
        let names = labels(names);
        let id = match which {
            "1" => Some(MER_1.parse().unwrap()),
            "2" => Some(MER_2.parse().unwrap()),
            _ => None,
        };
        let resource = if which == "-" { Resource::Deployment } else { Resource::Merchant { id, labels: &names } };
        let (who, now) = (caller(who), at(&format!("{year}-06-01T00:00:00Z")));
        let action = ActionName::parse(action).unwrap();
        let found = decide(&policy, &who, action, &resource, now);
        assert_eq!(found.as_deref().unwrap_or("-"), expected, "{row}");
        // The explanation never says anything else than the evaluation does.
        let explanation = policy.explain(&who, action, &resource, now);
        assert_eq!(explanation.allowed_by.first().map(|line| line.id().to_owned()), found, "{row}");
        let named = policy.who_can(action, &resource, now).iter().any(|line| line.caller().matches(&who));
        assert_eq!(named, found.is_some(), "{row}");
        rows += 1;
    }
    assert!(rows >= 60, "{rows}");
}

#[test]
fn a_grant_holds_from_its_first_moment_to_before_its_last() {
    let policy = Policy::parse(FILE).unwrap();
    let (who, names) = (caller("dev.strongroom/job/x"), labels("eu"));
    let resource = Resource::Merchant { id: None, labels: &names };
    let micro = Duration::from_micros(1);
    for (now, held) in [
        (at("2026-01-01T00:00:00Z").minus(micro), false),
        (at("2026-01-01T00:00:00Z"), true),
        (at("2027-01-01T00:00:00Z").minus(micro), true),
        (at("2027-01-01T00:00:00Z"), false),
    ] {
        assert_eq!(policy.authorize::<ReadToken>(&who, &resource, now).is_ok(), held, "{now:?}");
        assert_eq!(policy.may_ever::<ReadToken>(&who, now), held, "{now:?}");
        assert_eq!(policy.what_can(&who, now).len(), usize::from(held), "{now:?}");
    }
}

#[test]
fn a_grant_carries_what_it_was_decided_by() {
    let policy = Policy::parse(FILE).unwrap();
    let id = Some(MER_2.parse().unwrap());
    let resource = Resource::Merchant { id, labels: &[] };
    let now = at("2026-06-01T00:00:00Z");
    let grant = policy.authorize::<ReadToken>(&caller("dev.strongroom/service/payments"), &resource, now).unwrap();
    assert_eq!(grant.id(), "payments-read");
    assert_eq!(grant.purpose(), "charge merchants' customers");
    assert_eq!(grant.cache_for(), Duration::from_secs(30));
    assert_eq!((grant.scope(), grant.merchant()), (Scope::Merchant(id), id));
    assert_eq!(grant.policy(), Hash(Sha256::digest(FILE).into()));
    let grant = policy.authorize::<ReadAudit>(&caller("ops.strongroom/x"), &Resource::Deployment, now).unwrap();
    assert_eq!((grant.scope(), grant.merchant()), (Scope::Deployment, None));
    assert_eq!(grant.cache_for(), Duration::ZERO);
}

#[test]
fn the_first_matching_grant_in_the_file_decides() {
    let line = |id: &str, caller: &str| {
        format!(
            "[[grant]]\nid = \"{id}\"\ncaller = \"{caller}\"\nactions = [\"token.read\"]\nmerchants = \"all\"\n\
             purpose = \"p\"\n"
        )
    };
    let (wide, exact) = (line("wide", "spiffe://d/*"), line("exact", "spiffe://d/a/b"));
    let (who, now) = (caller("d/a/b"), Timestamp::default());
    for (text, first) in [(format!("{wide}{exact}"), "wide"), (format!("{exact}{wide}"), "exact")] {
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.authorize::<ReadToken>(&who, &Resource::Deployment, now).unwrap().id(), first);
        assert_eq!(policy.explain(&who, ActionName::TokenRead, &Resource::Deployment, now).allowed_by.len(), 2);
    }
}

#[test]
fn a_prefix_never_matches_half_a_segment() {
    let text = FILE.replace("spiffe://dev.strongroom/job/*", "spiffe://dev.strongroom/pay/*");
    let policy = Policy::parse(&text).unwrap();
    let now = at("2026-06-01T00:00:00Z");
    for (who, held) in [
        ("dev.strongroom/pay/x", true),
        ("dev.strongroom/pay/x/y", true),
        ("dev.strongroom/pay", false),
        ("dev.strongroom/payments/x", false),
        ("dev.strongroom/pa/y/x", false),
        ("dev.strongroom/x/pay/x", false),
        ("dev.strongroom.evil/pay/x", false),
    ] {
        assert_eq!(policy.may_ever::<ReadToken>(&caller(who), now), held, "{who}");
    }
}

#[test]
fn an_explanation_says_for_each_near_miss_why_not() {
    let policy = Policy::parse(FILE).unwrap();
    let who = caller("dev.strongroom/job/settle");
    let resource = Resource::Merchant { id: None, labels: &[] };
    let early = at("2025-01-01T00:00:00Z");
    let explanation = policy.explain(&who, ActionName::TokenReport, &resource, early);
    assert!(!explanation.is_allowed());
    let [miss] = explanation.near_misses.as_slice() else { panic!("{explanation:?}") };
    assert_eq!(miss.grant.id(), "jobs-eu");
    assert_eq!(miss.misses, [Miss::Action, Miss::Merchant, Miss::NotYet(at("2026-01-01T00:00:00Z"))]);
    let late = at("2027-01-01T00:00:00Z");
    let explanation = policy.explain(&who, ActionName::TokenRead, &resource, late);
    assert_eq!(explanation.near_misses.first().unwrap().misses, [Miss::Merchant, Miss::Over(late)]);
    // A caller without any grant learns of nobody else's.
    assert_eq!(policy.explain(&caller("d/x"), ActionName::TokenRead, &resource, late), Explanation::default());
}

#[test]
fn action_names_survive_their_text_form() {
    for action in ActionName::ALL {
        assert_eq!(ActionName::parse(action.as_str()), Some(*action));
    }
    assert_eq!(ActionName::parse("token.Read"), None);
}

fn arbitrary_action() -> impl Strategy<Value = ActionName> {
    prop::sample::select(ActionName::ALL)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn an_empty_policy_denies_everything(
        who in "[a-z]{1,8}(/[a-z]{1,8}){1,4}", action in arbitrary_action(), id in any::<Option<[u8; 16]>>(),
        whole in any::<bool>(), micros in any::<i64>(),
    ) {
        let policy = Policy::parse("").unwrap();
        let (who, now) = (caller(&who), Timestamp::from_micros(micros));
        let names = labels("eu");
        let merchant = Resource::Merchant { id: id.map(MerchantId::from_bytes), labels: &names };
        let resource = if whole { Resource::Deployment } else { merchant };
        prop_assert_eq!(decide(&policy, &who, action, &resource, now), None);
        prop_assert!(!policy.may_ever::<ReadToken>(&who, now));
    }

    #[test]
    fn another_grant_never_removes_a_permission(
        kept in prop::collection::vec(any::<bool>(), 6), added in 0_usize..6, job in any::<bool>(),
        who in prop::sample::select(&["service/payments", "service/onboarding", "person/auditor", "job/x", "service/pilot"]),
        action in arbitrary_action(), eu in any::<bool>(), year in 2025_u32..2028,
    ) {
        let grants: Vec<_> = FILE.split("[[grant]]").skip(1).map(|body| format!("[[grant]]{body}")).collect();
        let subset = |keep: &dyn Fn(usize) -> bool| {
            let text: String = grants.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, g)| g.as_str()).collect();
            Policy::parse(&text).unwrap()
        };
        let fewer = subset(&|i| kept[i]);
        let more = subset(&|i| kept[i] || i == added);
        let names = labels(if eu { "eu" } else { "" });
        let merchant = Resource::Merchant { id: Some(MER_1.parse().unwrap()), labels: &names };
        let resource = if job { Resource::Deployment } else { merchant };
        let (who, now) = (caller(&format!("dev.strongroom/{who}")), at(&format!("{year}-06-01T00:00:00Z")));
        if decide(&fewer, &who, action, &resource, now).is_some() {
            prop_assert!(decide(&more, &who, action, &resource, now).is_some());
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>(), cut in 0_usize..FILE.len()) {
        let _ = Policy::parse(&text);
        if let Some(part) = FILE.get(..cut) {
            let _ = Policy::parse(&format!("{part}{text}"));
        }
    }
}

/// A valid grant with one part replaced.
fn broken(part: &str, by: &str) -> String {
    const GOOD: &str = "[[grant]]\nid = \"g\"\ncaller = \"spiffe://d/a\"\nactions = [\"token.read\"]\nmerchants = \"all\"\n\
                        purpose = \"p\"\nnot_before = \"2026-01-01T00:00:00Z\"\nnot_after = \"2027-01-01T00:00:00Z\"\n\
                        cache_for = \"30s\"\n";
    assert!(GOOD.contains(part), "{part}");
    GOOD.replacen(part, by, 1)
}

#[test]
fn every_broken_file_is_refused_with_its_own_faults() {
    assert!(Policy::parse(&broken("[[grant]]", "[[grant]]")).is_ok());
    let id = "line 2: id must be 1 to 64 letters, digits, '-', '_' or '.'";
    let cache = "line 9: grant g: cache_for must be a duration like \"30s\", above zero and at most \"1h\"";
    let merchants = "line 5: grant g: merchants must be \"all\", { ids = […] } or { labels = […] }";
    let segments = "line 3: grant g: caller must have path segments of letters, digits, dots, dashes and underscores";
    let before = "line 7: grant g: not_before must be an RFC 3339 time like \"2026-01-01T00:00:00Z\"";
    let long = "x".repeat(65);
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("x = 1\n".to_owned(), vec!["line 1: unknown key \"x\": a policy file has only [[grant]]"]),
        ("[grant]\nid = \"g\"\n".to_owned(), vec!["line 1: grant must be written [[grant]], in double brackets"]),
        ("grant = [1]\n".to_owned(), vec!["line 1: grant must be a table"]),
        ("grant = \"all\"".to_owned(), vec!["line 1: grant must be written [[grant]], in double brackets"]),
        (broken("id = \"g\"\n", ""), vec!["line 1: id is missing"]),
        (broken("id = \"g\"", "id = 7"), vec!["line 2: id must be text in quotes"]),
        (broken("\"g\"", "\"\""), vec![id]),
        (broken("\"g\"", "\"a b\""), vec![id]),
        (broken("\"g\"", &format!("\"{long}\"")), vec![id]),
        (broken("caller = \"spiffe://d/a\"\n", ""), vec!["line 1: grant g: caller is missing"]),
        (broken("spiffe://d/a", "https://d/a"), vec!["line 3: grant g: caller must begin with spiffe://"]),
        (broken("spiffe://d/a", "spiffe://d"), vec!["line 3: grant g: caller must have a path"]),
        (broken("spiffe://d/a", "*"), vec!["line 3: grant g: caller must begin with spiffe://"]),
        (broken("spiffe://d/a", "spiffe://d/a*"), vec![segments]),
        (broken("spiffe://d/a", "spiffe://d/*/a"), vec![segments]),
        (broken("spiffe://d/a", "spiffe://d/*/*"), vec![segments]),
        (broken("spiffe://d/a", "spiffe://d/a/"), vec![segments]),
        (broken("spiffe://d/a", "spiffe://d//*"), vec![segments]),
        (broken("spiffe://d/a", "spiffe://*"), vec!["line 3: grant g: caller must have a path"]),
        (
            broken("spiffe://d/a", "spiffe:///*"),
            vec![
                "line 3: grant g: caller must name a trust domain of lower-case letters, digits, dots, dashes and \
                 underscores",
            ],
        ),
        (broken("actions = [\"token.read\"]\n", ""), vec!["line 1: grant g: actions is missing"]),
        (broken("[\"token.read\"]", "[]"), vec!["line 4: grant g: actions must be a list of 1 to 14 texts"]),
        (
            broken("[\"token.read\"]", "\"token.read\""),
            vec!["line 4: grant g: actions must be a list of 1 to 14 texts"],
        ),
        (broken("[\"token.read\"]", "[\"token.read\", 1]"), vec!["line 4: grant g: actions must be text in quotes"]),
        (broken("token.read", "token.*"), vec!["line 4: grant g: unknown action \"token.*\""]),
        (broken("token.read", "Token.Read"), vec!["line 4: grant g: unknown action \"Token.Read\""]),
        (
            broken("[\"token.read\"]", "[\"token.read\", \"token.read\"]"),
            vec!["line 4: grant g: action token.read stands twice"],
        ),
        (broken("token.read", "token.verify"), vec!["line 9: grant g: cache_for needs the action token.read"]),
        (broken("merchants = \"all\"\n", ""), vec!["line 1: grant g: merchants is missing"]),
        (broken("\"all\"", "\"All\""), vec![merchants]),
        (broken("\"all\"", "[]"), vec![merchants]),
        (broken("\"all\"", "{}"), vec![merchants]),
        (broken("\"all\"", "{ ids = [], labels = [] }"), vec![merchants]),
        (broken("\"all\"", "{ label = [\"eu\"] }"), vec![merchants]),
        (broken("\"all\"", "{ ids = [] }"), vec!["line 5: grant g: ids must be a list of 1 to 1000 texts"]),
        (
            broken("\"all\"", "{ ids = [\"con_00000000000000000000000000000001\"] }"),
            vec!["line 5: grant g: ids: expected mer_ and 32 lower-case hexadecimal digits"],
        ),
        (
            broken("\"all\"", "{ labels = [\"EU\"] }"),
            vec!["line 5: grant g: labels: must be 1 to 64 lower-case letters, digits, '-', '_', '.' or ':'"],
        ),
        (broken("\"all\"", "{ labels = [\"a\", \"a\"] }"), vec!["line 5: grant g: labels: \"a\" stands twice"]),
        (
            broken(
                "[\"token.read\"]\nmerchants = \"all\"",
                "[\"token.read\", \"audit.read\"]\nmerchants = { labels = [\"a\"] }",
            ),
            vec!["line 5: grant g: audit.read needs merchants = \"all\""],
        ),
        (broken("purpose = \"p\"\n", ""), vec!["line 1: grant g: purpose is missing"]),
        (
            broken("\"p\"", "\" \""),
            vec!["line 6: grant g: purpose must be 1 to 200 characters, none of them control characters"],
        ),
        (broken("2026-01-01T00:00:00Z", "2026-01-01"), vec![before]),
        (broken("2026-01-01T00:00:00Z", "2026-13-01T00:00:00Z"), vec![before]),
        (
            broken("\"2026-01-01T00:00:00Z\"", "2026-01-01T00:00:00Z"),
            vec!["line 7: grant g: not_before must be text in quotes"],
        ),
        (broken("2026-01", "2027-01"), vec!["line 8: grant g: not_after must be later than not_before"]),
        (broken("30s", "0s"), vec![cache]),
        (broken("30s", "61m"), vec![cache]),
        (broken("30s", "30"), vec![cache]),
        (broken("not_after", "not_afer"), vec!["line 8: grant g: unknown key \"not_afer\""]),
        (broken("id = \"g\"", "id = \"g"), vec!["line 2: invalid basic string, expected `\"`"]),
        (broken("purpose = \"p\"", "id = \"h\""), vec!["line 6: duplicate key"]),
        ("x".repeat(FILE_BYTES_MAX + 1), vec!["must be at most 1048576 bytes long"]),
    ];
    assert!(cases.len() >= 30);
    for (text, expected) in cases {
        let errors = Policy::parse(&text).unwrap_err();
        let found: Vec<_> = errors.faults().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{}", text.chars().take(500).collect::<String>());
    }
}

#[test]
fn all_faults_of_a_file_are_reported_at_once() {
    let second = broken("token.read", "nothing").replace("spiffe://d/a", "x").replace("30s", "1d");
    let text = format!("{}{second}other = 1\n", broken("\"p\"", "\"\""));
    let errors = Policy::parse(&text).unwrap_err();
    let lines: Vec<_> = errors.faults().iter().filter_map(|fault| fault.line).collect();
    assert_eq!(lines, [6, 11, 12, 13, 18, 19], "{errors}");
    assert!(errors.to_string().contains("line 11: id \"g\" stands twice; "), "{errors}");
    let many = "[[grant]]\n".repeat(1000);
    assert_eq!(Policy::parse(&many).unwrap_err().faults().len(), FAULTS_MAX);
    let too_many = "[[grant]]\n".repeat(GRANTS_MAX + 1);
    assert_eq!(Policy::parse(&too_many).unwrap_err().faults().len(), 1);
}

#[test]
fn a_reload_is_all_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.toml");
    assert!(SharedPolicy::load(&path).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, FILE).unwrap();
    let shared = SharedPolicy::load(&path).unwrap();
    let first = shared.snapshot();
    assert_eq!((first.len(), first.is_empty()), (6, false));

    std::fs::write(&path, format!("{FILE}\n[[grant]]\n")).unwrap();
    assert!(shared.reload().is_err());
    assert_eq!(shared.snapshot().hash(), first.hash());
    std::fs::remove_file(&path).unwrap();
    assert!(shared.reload().is_err());
    assert_eq!(shared.snapshot().hash(), first.hash());

    std::fs::write(&path, "").unwrap();
    let hash = shared.reload().unwrap();
    assert_ne!(hash, first.hash());
    assert_eq!((shared.snapshot().hash(), shared.snapshot().len()), (hash, 0));
    // Who holds a snapshot decides by it to the end.
    assert!(first.may_ever::<ReadToken>(&caller("dev.strongroom/service/payments"), SystemClock.now()));
}

#[test]
fn an_evaluation_does_not_scan_the_file() {
    let mut text = FILE.to_owned();
    for n in 0..4000 {
        text.push_str(&format!(
            "[[grant]]\nid = \"n{n}\"\ncaller = \"spiffe://d/service/{n}\"\nactions = [\"token.read\"]\n\
             merchants = \"all\"\npurpose = \"p\"\n"
        ));
    }
    let policy = Policy::parse(&text).unwrap();
    let (who, now) = (caller("d/service/3999"), Timestamp::default());
    assert_eq!(policy.about(&who).count(), 1);
    let rounds = 10_000_u32;
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let start = Instant::now();
    for _ in 0..rounds {
        assert!(policy.authorize::<ReadToken>(&who, &Resource::Deployment, now).is_ok());
    }
    let each = start.elapsed() / rounds;
    // About a microsecond in a release build; the bound is for a debug build on a busy machine.
    assert!(each < Duration::from_micros(200), "{each:?}");
}
