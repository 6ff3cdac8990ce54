//! Whether a registration revokes the user's earlier tokens is not known, so both are played: whatever the answer's user has with us,
//! no live token of the merchant is lost.
//!
//! The address alone would refuse most of these registrations. So that they are carried out, we are made to forget it (see
//! [`TestApp::forget_address`]): what is left is a user of whom we learn only by the answer.

use reqwest::Method;
use serde_json::{Value, json};
use strongroom::domain::trail::EventKind;
use strongroom::v1::{
    LinkDecision, LinkState, Liveness, Merchant, NextAction, RegisterMerchantRequest, ResolveHeldLinkRequest,
};

use super::{REGISTER, STILL_LIVE, address, shown};
use crate::support::app::{Shop, TOKEN, TestApp, outcome_of};

const LIVENESS_UNKNOWN: &str = "FAILED_PRECONDITION:LIVENESS_UNKNOWN";

/// What the answer's user has with us, or the merchant itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Before {
    /// Nobody has heard of them.
    Nobody,
    /// They have an account at the provider, and nothing with us.
    UserThere,
    /// They serve another merchant, with a permanent token that lives…
    OtherPermanent,
    /// …with a temporary one that lives…
    OtherTemporary,
    /// …with one that is dead…
    OtherDead,
    /// …with one of which the provider does not say whether it lives, until later.
    OtherUnknown,
    /// They serve this very merchant, with a permanent token that lives; it is registered under another address…
    OwnPermanent,
    /// …with a temporary one that lives…
    OwnTemporary,
    /// …with one that is dead…
    OwnDead,
    /// …with one of which the provider does not say whether it lives.
    OwnUnknown,
    /// This merchant has the dead token of another user.
    OwnOtherUserDead,
    /// They consented for this merchant, and nobody has confirmed that yet.
    HeldAlone,
    /// The same, and the token is dead.
    HeldAloneDead,
    /// They consented for this merchant and serve another one: that has to be decided by a person.
    HeldShared,
}

/// What must come of it.
struct Row {
    before: Before,
    /// What the caller is told.
    outcome: &'static str,
    /// The newest link of the merchant.
    link: LinkState,
    /// What its newest link hands out; where the registration revokes, the second.
    head: [u32; 2],
    /// What was decided about a token that waited beside the head; where the registration revokes, the second.
    judged: [Option<&'static str>; 2],
    next: NextAction,
}

const fn stored(before: Before, link: LinkState, head: u32, next: NextAction) -> Row {
    Row { before, outcome: "OK", link, head: [head, head], judged: [None, None], next }
}

/// A token that waited beside a head.
const fn judged(before: Before, head: u32) -> Row {
    let (head, judged) = ([head, head + 1], [Some("passed"), Some("promoted")]);
    Row { before, outcome: "OK", link: LinkState::Held, head, judged, next: NextAction::Confirm }
}

const fn refused(before: Before, outcome: &'static str, link: LinkState, next: NextAction) -> Row {
    Row { before, outcome, link, head: [1, 1], judged: [None, None], next }
}

const TABLE: [Row; 14] = [
    stored(Before::Nobody, LinkState::Active, 1, NextAction::GetConfirmed),
    stored(Before::UserThere, LinkState::Active, 1, NextAction::GetConfirmed),
    judged(Before::OtherPermanent, 1),
    judged(Before::OtherTemporary, 1),
    stored(Before::OtherDead, LinkState::Held, 2, NextAction::Confirm),
    judged(Before::OtherUnknown, 1),
    refused(Before::OwnPermanent, STILL_LIVE, LinkState::Active, NextAction::None),
    refused(Before::OwnTemporary, STILL_LIVE, LinkState::Active, NextAction::GetConfirmed),
    stored(Before::OwnDead, LinkState::Active, 2, NextAction::GetConfirmed),
    refused(Before::OwnUnknown, LIVENESS_UNKNOWN, LinkState::Active, NextAction::None),
    stored(Before::OwnOtherUserDead, LinkState::Held, 1, NextAction::Confirm),
    refused(Before::HeldAlone, STILL_LIVE, LinkState::Held, NextAction::Confirm),
    stored(Before::HeldAloneDead, LinkState::Held, 2, NextAction::Confirm),
    judged(Before::HeldShared, 2),
];

/// A row as it is played.
struct Scene {
    /// Who is registered.
    merchant: String,
    /// Under which address.
    email: String,
    /// Who is served by the same user.
    other: Option<String>,
    /// The user, where we know one whose address we are to forget.
    subject: Option<String>,
}

impl TestApp {
    /// A merchant that consented, with the token it has.
    async fn consented(&self, name: &str) -> (Shop, String) {
        let shop = self.connected(name).await;
        let subject = self.token(&shop).await.subject;
        (shop, subject)
    }

    /// This merchant's person consents for that other merchant: the link to it is held.
    async fn consent_for(&self, person_of: &Shop, external_id: &str) {
        let mut shop = self.shop(external_id);
        (shop.person, shop.browser) = (person_of.person.clone(), self.browser());
        self.invite(&mut shop).await.unwrap();
        assert_eq!(shop.travel().await, "held");
    }

    async fn scene(&self, before: Before) -> Scene {
        let (merchant, other) = (format!("{before:?}"), format!("{before:?}-other"));
        let of = |email: &str, with_other: bool, subject: Option<String>| Scene {
            merchant: merchant.clone(),
            email: address(email),
            other: with_other.then(|| other.clone()),
            subject,
        };
        match before {
            Before::Nobody => of(&merchant, false, None),
            Before::UserThere => {
                let user = json!({
                    "email": address(&merchant), "password": "a password", "first_name": "Ada", "last_name": "Example",
                });
                self.control(Method::POST, "/users", Some(user)).await;
                of(&merchant, false, None)
            }
            Before::OtherPermanent | Before::OtherUnknown => {
                let (_, subject) = self.consented(&other).await;
                of(&other, true, Some(subject))
            }
            Before::OtherTemporary => {
                let subject = self.registered(&other).await.links[0].subject.clone();
                of(&other, true, Some(subject))
            }
            Before::OtherDead => {
                let (shop, subject) = self.consented(&other).await;
                self.kill(&shop).await;
                Scene { other: None, ..of(&other, true, Some(subject)) }
            }
            Before::OwnPermanent | Before::OwnUnknown => {
                self.consented(&merchant).await;
                of("somebody-else", false, None)
            }
            Before::OwnTemporary => {
                self.registered(&merchant).await;
                of("somebody-else", false, None)
            }
            Before::OwnDead => {
                let (shop, subject) = self.consented(&merchant).await;
                self.kill(&shop).await;
                of(&merchant, false, Some(subject))
            }
            Before::OwnOtherUserDead => {
                let (shop, _) = self.consented(&merchant).await;
                self.kill(&shop).await;
                of("OwnOtherUserDead-new", false, None)
            }
            Before::HeldAlone | Before::HeldAloneDead => {
                self.held(&merchant).await;
                let subject = self.merchant(&merchant).await.unwrap().links[0].subject.clone();
                if before == Before::HeldAloneDead {
                    self.revoke(&subject).await;
                }
                of(&merchant, false, Some(subject))
            }
            Before::HeldShared => {
                let (shop, subject) = self.consented(&other).await;
                // Behind the page that tells of the held link, the user is looked at: so late that the address is
                // forgotten before.
                self.fault(json!({ "path": "/user", "kind": "delay_before", "delay_ms": 100, "times": 1 })).await;
                self.consent_for(&shop, &merchant).await;
                of(&other, true, Some(subject))
            }
        }
    }

    /// What this merchant is handed out works at the provider, and is among the tokens that live there.
    async fn assert_served(&self, external_id: &str, what: &str) -> strongroom::v1::GetAccessTokenResponse {
        let token = self.caller("payments").read(external_id).await.unwrap();
        let there = self.live_there().await;
        assert!(
            there[&token.subject].contains(&shown(&token.access_token)),
            "{what}: lost; {external_id} has a dead token"
        );
        assert!(self.works_there(&token.access_token).await, "{what}: what {external_id} is handed out works");
        token
    }

    async fn register_anew(&self, scene: &Scene) -> String {
        let order: RegisterMerchantRequest = self.registration(&scene.merchant, &scene.email);
        outcome_of(&self.while_time_passes(self.register(&order)).await)
    }

    /// A person decides that the merchant's held link is right.
    async fn activate(&self, merchant: &Merchant) {
        let request = ResolveHeldLinkRequest {
            request_id: self.request_id(),
            link_id: merchant.links[0].link_id.clone(),
            decision: LinkDecision::Activate.into(),
            reason: "they told us so".to_owned(),
        };
        self.caller("admin").onboarding().resolve_held_link(request).await.unwrap();
    }

    async fn play(&self, row: &Row, revokes: bool) {
        let what = format!("{:?}, register revokes: {revokes}", row.before);
        let scene = self.scene(row.before).await;
        if let Some(subject) = &scene.subject {
            self.forget_address(subject).await;
        }
        if row.before == Before::HeldShared {
            let is_late = |call: &Value| call["fault"] == "delay_before";
            let calls = async || self.control(Method::GET, "/calls?path=/user", None).await;
            self.until("the late look", async || calls().await["calls"].as_array().unwrap().iter().any(is_late)).await;
        }
        let (registrations, mints) = (self.calls(REGISTER).await, self.calls(TOKEN).await);
        let judgements = self.reasons_of(EventKind::CandidateJudged).await.len();
        let is_unknown = matches!(row.before, Before::OtherUnknown | Before::OwnUnknown);
        if is_unknown {
            self.fault(json!({ "path": "/user", "kind": "status", "status": 503, "times": 1_000 })).await;
        }
        assert_eq!(self.register_anew(&scene).await, row.outcome, "{what}");
        if row.before == Before::OtherUnknown {
            // Nothing is decided: the token waits, and readers of the other merchant are told of the doubt.
            let versions = self.versions(&scene.merchant).await;
            assert_eq!(
                versions.iter().map(|version| (version.candidate, version.head)).collect::<Vec<_>>(),
                [(true, false), (false, true)]
            );
            let read = self.caller("payments").read(scene.other.as_ref().unwrap()).await.unwrap();
            assert_eq!(read.liveness(), Liveness::Suspect, "{what}");
        }
        if is_unknown {
            self.no_faults().await;
            let judged = self.until("every candidate judged", async || {
                let waiting: Vec<(i64,)> = self.rows("SELECT count(*) FROM token_versions WHERE candidate = 1").await;
                waiting[0].0 == 0
            });
            self.while_time_passes(judged).await;
        }

        let sent = usize::from(row.outcome == "OK");
        assert_eq!((self.calls(REGISTER).await - registrations, self.calls(TOKEN).await - mints), (sent, 0), "{what}");
        let merchant = self.merchant(&scene.merchant).await.unwrap();
        assert!(merchant.open_attempt.is_none(), "{what}: settled");
        let newest = &merchant.links[0];
        assert_eq!((newest.state(), merchant.next_action()), (row.link, row.next), "{what}: {merchant:?}");
        let head = newest.head.as_ref().unwrap();
        assert_eq!(head.r#ref.as_ref().unwrap().version, row.head[usize::from(revokes)], "{what}: {head:?}");
        let judged = self.reasons_of(EventKind::CandidateJudged).await;
        let expected: Vec<&str> = row.judged[usize::from(revokes)].into_iter().collect();
        assert_eq!(&judged[judgements..], expected, "{what}");
        assert!(self.versions(&scene.merchant).await.iter().all(|version| !version.candidate), "{what}");

        // Nothing that lives is lost: neither of who was served before, nor of who was registered.
        if let Some(other) = &scene.other {
            self.assert_served(other, &what).await;
        }
        if merchant.links[0].state() == LinkState::Held {
            self.activate(&merchant).await;
        }
        let token = self.assert_served(&scene.merchant, &what).await;
        assert_eq!(token.liveness(), Liveness::Live, "{what}");
    }
}

async fn play_all(revokes: bool) {
    let app = TestApp::start().await;
    app.control(Method::POST, "/settings", Some(json!({ "register_revokes": revokes }))).await;
    for row in &TABLE {
        app.play(row, revokes).await;
    }
    app.close().await;
}

#[tokio::test]
async fn no_live_token_is_lost_where_a_registration_revokes() {
    play_all(true).await;
}

#[tokio::test]
async fn no_live_token_is_lost_where_a_registration_leaves_earlier_tokens_alone() {
    play_all(false).await;
}

#[tokio::test]
async fn a_registration_leaves_the_value_good_that_a_held_link_waits_for() {
    let app = TestApp::start().await;
    let shop = app.held("ada").await;
    let subject = app.merchant("ada").await.unwrap().links[0].subject.clone();
    app.revoke(&subject).await;
    app.forget_address(&subject).await;
    let order = app.registration("ada", &address("ada"));
    let made = app.while_time_passes(app.register(&order)).await.unwrap();
    assert_eq!(made.links[0].state(), LinkState::Held);
    assert_eq!(app.confirm(&shop).await.unwrap().state(), LinkState::Active);
    app.assert_served("ada", "confirmed after a registration").await;
    app.close().await;
}

/// Two merchants are registered under the address of a third one's user while the provider does not say whether anything lives.
async fn two_wait(app: &TestApp, revokes: bool) -> Vec<&'static str> {
    app.control(Method::POST, "/settings", Some(json!({ "register_revokes": revokes }))).await;
    let (_, subject) = app.consented("ada").await;
    app.fault(json!({ "path": "/user", "kind": "lose_before", "times": 1_000 })).await;
    for name in ["bob", "eve"] {
        app.forget_address(&subject).await;
        let made = app.register(&app.registration(name, &address("ada"))).await.unwrap();
        assert_eq!((made.links[0].state(), &made.links[0].subject), (LinkState::Held, &subject), "{name}");
    }
    let waiting: Vec<bool> = app.versions("ada").await.iter().map(|version| version.candidate).collect();
    assert_eq!(waiting, [true, true, false]);
    vec!["ada", "bob", "eve"]
}

async fn all_are_served(app: &TestApp, names: &[&str], version: u32) {
    let judged = app
        .until("every candidate judged", async || app.versions("ada").await.iter().all(|version| !version.candidate));
    app.while_time_passes(judged).await;
    for name in names {
        let merchant = app.merchant(name).await.unwrap();
        if merchant.links[0].state() == LinkState::Held {
            app.activate(&merchant).await;
        }
        let token = app.assert_served(name, "of several").await;
        assert_eq!(token.version.unwrap().version, version, "{name}");
    }
}

#[tokio::test]
async fn of_several_tokens_that_wait_the_newest_takes_the_place_of_a_dead_head() {
    let app = TestApp::start().await;
    let names = two_wait(&app, true).await;
    app.no_faults().await;
    all_are_served(&app, &names, 3).await;
    // The newest to be stored is not always the newest to be issued: the other one waits until the new head was seen to live.
    assert_eq!(app.reasons_of(EventKind::CandidateJudged).await, ["promoted", "passed"]);
    app.close().await;
}

#[tokio::test]
async fn several_tokens_that_wait_are_passed_over_while_the_head_lives() {
    let app = TestApp::start().await;
    let names = two_wait(&app, false).await;
    app.no_faults().await;
    all_are_served(&app, &names, 1).await;
    assert_eq!(app.reasons_of(EventKind::CandidateJudged).await, ["passed"]);
    app.close().await;
}

#[tokio::test]
async fn a_token_that_waits_outlives_a_restart() {
    let app = TestApp::start().await;
    let names = two_wait(&app, true).await;
    // A start forgets the faults: the provider speaks again.
    let app = app.restart().await;
    all_are_served(&app, &names, 3).await;
    app.close().await;
}
