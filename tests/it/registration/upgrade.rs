//! A merchant's own temporary token given up for a permanent one, by a consent: for exactly the token that was the head when the link
//! was asked for, and only while it is temporary.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use strongroom::v1::{ConfirmationResult, Liveness, NextAction, StartAuthorizationRequest};
use url::Url;

use super::{STILL_LIVE, address, head_of, link_of, shown};
use crate::support::app::{Shop, TOKEN, TestApp, outcome_of};

impl TestApp {
    /// A merchant whose person has an account at the provider, registered by the platform, with a link that may cost it its temporary
    /// token.
    async fn to_upgrade(&self, external_id: &str) -> Shop {
        let mut shop = self.known_there(external_id).await;
        self.registered(external_id).await;
        self.ask_to_upgrade(&mut shop).await.unwrap();
        shop
    }

    /// A merchant whose person has an account at the provider already.
    pub(super) async fn known_there(&self, external_id: &str) -> Shop {
        let mut shop = self.shop(external_id);
        let person = &mut shop.person;
        let user = json!({
            "email": person.email, "password": person.password, "first_name": person.first_name,
            "last_name": person.last_name,
        });
        person.is_registered = true;
        self.control(Method::POST, "/users", Some(user)).await;
        shop
    }

    /// A merchant that the platform registered; its person signs up on the authorize page, and is gone again before the callback.
    async fn signed_up_and_gone(&self, external_id: &str) -> Shop {
        self.registered(external_id).await;
        let mut shop = self.shop(external_id);
        self.ask_to_upgrade(&mut shop).await.unwrap();
        shop.press().await;
        shop.grant_and_stop().await;
        shop.person.is_registered = true;
        shop
    }

    pub(super) async fn ask_to_upgrade(&self, shop: &mut Shop) -> Result<(), tonic::Status> {
        let order = StartAuthorizationRequest { upgrade_temporary: true, ..self.authorization(shop) };
        let mut onboarding = self.caller("onboarding").onboarding();
        let invited = self.while_time_passes(onboarding.start_authorization(order)).await?.into_inner();
        shop.merchant_id = invited.merchant_id;
        shop.link = Some(Url::parse(&invited.url).unwrap());
        Ok(())
    }
}

#[tokio::test]
async fn a_temporary_token_is_given_up_for_a_permanent_one_only_where_that_was_asked_for() {
    let app = TestApp::start().await;
    let mut shop = app.to_upgrade("ada").await;
    let first = app.token(&shop).await;
    assert_eq!(outcome_of(&app.invite(&mut app.shop("ada")).await), STILL_LIVE);
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected");
    let second = app.token(&shop).await;
    assert_eq!(second.version.as_ref().unwrap().version, 2);
    assert_eq!((&second.subject, second.expire_time), (&first.subject, None));
    let merchant = app.merchant("ada").await.unwrap();
    assert_eq!((head_of(&merchant).permanent, merchant.next_action()), (true, NextAction::None));
    assert_eq!(app.live_there().await[&second.subject], [shown(&second.access_token)], "one token lives there: ours");
    let versions = app.versions("ada").await;
    assert_eq!((versions[1].liveness(), versions[1].evidence.as_str()), (Liveness::Dead, "superseded"));
    assert_eq!(app.calls(TOKEN).await, 1);
    // It is permanent now: nobody gets leave again.
    assert_eq!(outcome_of(&app.ask_to_upgrade(&mut shop).await), STILL_LIVE);
    // The link was good for that one token: it leads nowhere any more.
    shop.press_in_vain().await;
    assert_eq!(app.calls(TOKEN).await, 1);
    app.close().await;
}

#[tokio::test]
async fn a_token_that_became_permanent_is_not_given_up() {
    let app = TestApp::start().await;
    // Confirmed before the button is pressed, while the provider's page is shown, and seen or unseen by us.
    for (name, while_shown, is_seen) in
        [("ada", false, false), ("bob", false, true), ("eve", true, false), ("ian", true, true)]
    {
        app.registered(name).await;
        let mut shop = app.shop(name);
        app.ask_to_upgrade(&mut shop).await.unwrap();
        let held = app.token(&shop).await;
        if while_shown {
            shop.press().await;
        }
        app.confirm_by_mail(name, &shop.person.password).await;
        shop.person.is_registered = true;
        if is_seen {
            // Somebody was sent to the authorize page: that the person is registered proves nothing any more.
            assert_eq!(app.verify(name).await.head.unwrap().permanent, !while_shown, "{name}");
        }
        if !while_shown {
            shop.press_in_vain().await;
        } else {
            let arrival = shop.grant().await;
            assert_eq!(app.while_time_passes(shop.home(arrival)).await, "already_connected", "{name}");
        }
        let kept = app.token(&shop).await;
        assert_eq!((kept.access_token, kept.version), (held.access_token, held.version), "{name}");
        assert_eq!(app.calls(TOKEN).await, 0, "{name}: no mint");
        // Where nobody saw it in time, the provider's answer to another mail tells.
        assert_eq!(app.send(&app.mail(name)).await.unwrap().result(), ConfirmationResult::AlreadyConfirmed, "{name}");
        assert!(head_of(&app.merchant(name).await.unwrap()).permanent, "{name}");
    }
    app.close().await;
}

#[tokio::test]
async fn leave_is_bound_to_the_token_it_was_given_for() {
    let app = TestApp::start().await;
    let mut shop = app.to_upgrade("ada").await;
    let merchant = app.merchant("ada").await.unwrap();
    let subject = link_of(&merchant).subject.clone();
    // The token dies and the platform registers the merchant again: another temporary token is the head.
    app.revoke(&subject).await;
    assert_eq!(app.verify("ada").await.head.unwrap().liveness(), Liveness::Dead);
    app.forget_address(&subject).await;
    let again = app.registration("ada", &address("ada"));
    let made = app.while_time_passes(app.register(&again)).await.unwrap();
    assert_eq!(head_of(&made).r#ref.as_ref().unwrap().version, 2);
    let held = app.token(&shop).await;
    // The old link was not asked to cost that one: however old the evidence, it leads nowhere.
    shop.press_in_vain().await;
    app.advance(Duration::from_secs(120)).await;
    shop.press_in_vain().await;
    let kept = app.token(&shop).await;
    assert_eq!((kept.access_token.clone(), kept.version), (held.access_token, held.version));
    assert!(app.works_there(&kept.access_token).await);
    assert_eq!(app.calls(TOKEN).await, 0);
    // A link that is asked for now is good for it.
    app.ask_to_upgrade(&mut shop).await.unwrap();
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected");
    assert_eq!(app.token(&shop).await.version.unwrap().version, 3);
    app.close().await;
}

/// A person who was never asked to confirm signs up on the authorize page: that cannot have confirmed the token, so leave stays good.
#[tokio::test]
async fn a_person_who_signs_up_on_the_way_gets_a_permanent_token() {
    let app = TestApp::start().await;
    app.registered("ada").await;
    let mut shop = app.shop("ada");
    app.ask_to_upgrade(&mut shop).await.unwrap();
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected");
    let merchant = app.merchant("ada").await.unwrap();
    let head = head_of(&merchant);
    assert_eq!((head.r#ref.as_ref().unwrap().version, head.permanent), (2, true));
    assert_eq!(merchant.next_action(), NextAction::None);
    let kept = app.token(&shop).await;
    assert_eq!(app.live_there().await[&kept.subject], [shown(&kept.access_token)], "one token lives there: ours");
    assert_eq!(app.calls(TOKEN).await, 1);
    app.close().await;
}

/// Signed up on the authorize page, and gone again without granting: registered from then on, and the token is as temporary as before.
#[tokio::test]
async fn signing_up_elsewhere_confirms_no_token() {
    let app = TestApp::start().await;
    let mut shop = app.signed_up_and_gone("ada").await;
    assert!(!app.verify("ada").await.head.unwrap().permanent);
    let merchant = app.merchant("ada").await.unwrap();
    assert_eq!(merchant.next_action(), NextAction::GetConfirmed);
    assert!(link_of(&merchant).temporary.unwrap().expire_time.is_some());
    // Once a mail is out, nobody can tell any more: what may be permanent is not given up. The mail settles it.
    app.send(&app.mail("ada")).await.unwrap();
    assert_eq!(outcome_of(&app.ask_to_upgrade(&mut shop).await), STILL_LIVE);
    shop.press_in_vain().await;
    app.confirm_by_mail("ada", &shop.person.password).await;
    let told = app.send(&app.mail("ada")).await.unwrap();
    assert_eq!(told.result(), ConfirmationResult::AlreadyConfirmed);
    assert!(head_of(&told.merchant.unwrap()).permanent);
    assert_eq!(app.calls(TOKEN).await, 0);
    app.close().await;
}

#[tokio::test]
async fn a_token_that_was_not_confirmed_ends_also_when_its_person_signed_up_elsewhere() {
    let app = TestApp::start().await;
    app.signed_up_and_gone("ada").await;
    app.advance(Duration::from_secs(91 * 24 * 60 * 60)).await;
    assert_ne!(
        outcome_of(&app.caller("payments").read("ada").await),
        "OK",
        "what is dead there is not handed out as live"
    );
    assert_eq!(app.merchant("ada").await.unwrap().next_action(), NextAction::Reconnect);
    app.close().await;
}

#[tokio::test]
async fn a_dead_temporary_token_needs_no_leave() {
    let app = TestApp::start().await;
    let merchant = app.registered("ada").await;
    app.revoke(&link_of(&merchant).subject).await;
    let mut shop = app.shop("ada");
    // A probe finds it dead, and that is that.
    app.ask_to_upgrade(&mut shop).await.unwrap();
    assert_eq!(app.while_time_passes(shop.travel()).await, "connected");
    assert_eq!(app.token(&shop).await.version.unwrap().version, 2);
    app.close().await;
}
