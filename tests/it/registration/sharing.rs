//! Further merchants of a connection, without a mint.

use std::time::Duration;

use strongroom::domain::ambient::Clock as _;
use strongroom::v1::{Link, LinkMerchantRequest, LinkState, Liveness, NextAction};
use tonic::Status;

use super::{REGISTER, STILL_LIVE, address, link_of, metadata};
use crate::support::app::{Caller, TOKEN, TestApp, outcome_of};

const ALREADY_LINKED: &str = "FAILED_PRECONDITION:ALREADY_LINKED";

impl TestApp {
    fn further(&self, external_id: &str, connection_id: &str) -> LinkMerchantRequest {
        LinkMerchantRequest {
            request_id: self.request_id(),
            external_id: external_id.to_owned(),
            connection_id: connection_id.to_owned(),
            ..Default::default()
        }
    }

    /// A caller who may act only for merchants with the label `elsewhere`.
    fn label_linker(&self) -> Caller {
        let until = self.site().clock().now().plus(Duration::from_secs(3_600));
        self.authority().caller(self.dev(), "label-linker", until)
    }
}

async fn link(caller: &Caller, order: &LinkMerchantRequest) -> Result<Link, Status> {
    let answer = caller.onboarding().link_merchant(order.clone()).await;
    answer.map(|answer| answer.into_inner().link.unwrap())
}

#[tokio::test]
async fn a_further_merchant_is_served_by_the_same_token_without_a_mint() {
    let app = TestApp::start().await;
    let onboarding = app.caller("onboarding").clone();
    let ada = app.registered("ada").await;
    let connection = link_of(&ada).connection_id.clone();
    // The way that the refusal of a known address points out.
    let refused = app.register(&app.registration("ada-two", &address("ada"))).await.unwrap_err();
    assert_eq!(
        (metadata(&refused, "connection_id"), metadata(&refused, "way_out").as_str()),
        (connection.clone(), "link_merchant")
    );
    let order = LinkMerchantRequest { labels: vec!["second".to_owned()], ..app.further("ada-two", &connection) };
    let made = link(&onboarding, &order).await.unwrap();
    assert_eq!(
        (made.state(), made.shared, made.connection_id.as_str()),
        (LinkState::Active, true, connection.as_str())
    );
    let (first, second) =
        (app.caller("payments").read("ada").await.unwrap(), app.caller("payments").read("ada-two").await.unwrap());
    assert_eq!((&first.access_token, first.version), (&second.access_token, second.version));
    let merchant = app.merchant("ada-two").await.unwrap();
    assert_eq!(
        (merchant.labels.as_slice(), merchant.next_action()),
        (&["second".to_owned()][..], NextAction::GetConfirmed)
    );

    // The same request gets the same link; other content under its id is refused, and so is a second link.
    assert_eq!(link(&onboarding, &order).await.unwrap().link_id, made.link_id);
    let other = LinkMerchantRequest { display_name: "Ada's second".to_owned(), ..order.clone() };
    assert_eq!(outcome_of(&link(&onboarding, &other).await), "ALREADY_EXISTS:REQUEST_ID_REUSED");
    let again = link(&onboarding, &app.further("ada-two", &connection)).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(again.clone())), ALREADY_LINKED);
    assert_eq!(metadata(&again, "connection_id"), connection);
    assert_eq!(outcome_of(&app.register(&app.registration("ada-two", &address("new"))).await), STILL_LIVE);
    assert_eq!((app.calls(REGISTER).await, app.calls(TOKEN).await), (1, 0));

    // What becomes of the token becomes of it for both.
    app.send(&app.mail("ada")).await.unwrap();
    app.confirm_there(&first.subject).await;
    assert!(app.verify("ada").await.head.unwrap().permanent);
    assert_eq!(app.merchant("ada-two").await.unwrap().next_action(), NextAction::None);
    app.close().await;
}

#[tokio::test]
async fn a_merchant_with_another_user_keeps_it() {
    let app = TestApp::start().await;
    let onboarding = app.caller("onboarding").clone();
    let (ada, bob) = (app.registered("ada").await, app.registered("bob").await);
    let refused = link(&onboarding, &app.further("bob", &link_of(&ada).connection_id)).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), ALREADY_LINKED);
    assert_eq!(metadata(&refused, "connection_id"), link_of(&bob).connection_id);
    assert_eq!(app.merchant("bob").await.unwrap().links, bob.links);
    app.close().await;
}

#[tokio::test]
async fn a_caller_links_only_where_it_may_act_for_every_merchant_of_the_connection() {
    let app = TestApp::start().await;
    let linker = app.label_linker();
    let elsewhere = |order: LinkMerchantRequest| LinkMerchantRequest { labels: vec!["elsewhere".to_owned()], ..order };
    let ada = app.registered("ada").await;
    let mut order = app.registration("eve", &address("eve"));
    order.labels = vec!["elsewhere".to_owned()];
    let eve = app.register(&order).await.unwrap();
    let (of_ada, of_eve) = (&link_of(&ada).connection_id, &link_of(&eve).connection_id);

    // Not its merchant, not its connection, no connection at all: the same answer.
    let nowhere = "con_00000000000000000000000000000000";
    for order in [
        app.further("eve-two", of_eve),
        app.further("ada", of_eve),
        elsewhere(app.further("eve-two", of_ada)),
        elsewhere(app.further("eve-two", nowhere)),
    ] {
        assert_eq!(outcome_of(&link(&linker, &order).await), "NOT_FOUND", "{order:?}");
    }
    assert_eq!(outcome_of(&app.merchant("eve-two").await), "NOT_FOUND", "nothing was made");
    assert_eq!(outcome_of(&link(&linker, &elsewhere(app.further("eve-two", of_eve))).await), "OK");
    // Once the connection serves somebody else too, also merely waits to, it is out of reach.
    link(app.caller("onboarding"), &app.further("bob", of_eve)).await.unwrap();
    let refused = link(&linker, &elsewhere(app.further("eve-three", of_eve))).await;
    assert_eq!(outcome_of(&refused), "NOT_FOUND");
    // The app owner's connection serves no merchant, so it is nobody's to share.
    let owner: Vec<(Vec<u8>,)> = app.rows("SELECT id FROM connections WHERE role = 'app_owner'").await;
    for (id,) in owner {
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let refused = link(app.caller("onboarding"), &app.further("bob-two", &format!("con_{id}"))).await;
        assert_eq!(outcome_of(&refused), "NOT_FOUND");
    }
    // Who may register may not therefore link.
    let payments = link(app.caller("payments"), &app.further("bob-two", of_eve)).await;
    assert_eq!(outcome_of(&payments), "PERMISSION_DENIED");
    app.close().await;
}

#[tokio::test]
async fn a_link_that_waits_for_a_decision_is_decided_and_not_doubled() {
    let app = TestApp::start().await;
    let onboarding = app.caller("onboarding").clone();
    app.held("ada").await;
    let held = link_of(&app.merchant("ada").await.unwrap()).clone();
    let refused = link(&onboarding, &app.further("ada", &held.connection_id)).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "FAILED_PRECONDITION:LINK_HELD");
    assert_eq!(metadata(&refused, "link_id"), held.link_id);
    assert_eq!(link_of(&app.merchant("ada").await.unwrap()).state(), LinkState::Held);
    app.close().await;
}

#[tokio::test]
async fn a_connection_without_a_token_that_works_serves_nobody_else() {
    let app = TestApp::start().await;
    let onboarding = app.caller("onboarding").clone();
    let ada = app.registered("ada").await;
    let connection = &link_of(&ada).connection_id;
    app.advance(Duration::from_secs(90 * 24 * 60 * 60)).await;
    let refused = link(&onboarding, &app.further("bob", connection)).await.unwrap_err();
    assert_eq!(outcome_of::<()>(&Err(refused.clone())), "FAILED_PRECONDITION:TOKEN_EXPIRED");
    assert_eq!(&metadata(&refused, "connection_id"), connection);
    app.revoke(&link_of(&ada).subject).await;
    assert_eq!(app.verify("ada").await.head.unwrap().liveness(), Liveness::Dead);
    let refused = link(&onboarding, &app.further("bob", connection)).await;
    assert_eq!(outcome_of(&refused), "FAILED_PRECONDITION:TOKEN_DEAD");
    assert_eq!(outcome_of(&app.merchant("bob").await), "NOT_FOUND", "nothing was made");
    app.close().await;
}

#[tokio::test]
async fn of_many_links_for_one_merchant_at_once_one_is_made() {
    let app = TestApp::start().await;
    let onboarding = app.caller("onboarding").clone();
    let (ada, eve) = (app.registered("ada").await, app.registered("eve").await);
    let orders = [&ada, &eve, &ada].map(|merchant| app.further("bob", &link_of(merchant).connection_id));
    let (one, two, three) =
        tokio::join!(link(&onboarding, &orders[0]), link(&onboarding, &orders[1]), link(&onboarding, &orders[2]));
    let outcomes = [one, two, three].map(|answer| outcome_of(&answer));
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "OK").count(), 1, "{outcomes:?}");
    let stands_back = |outcome: &&String| ["ABORTED:CONFLICT", ALREADY_LINKED].contains(&outcome.as_str());
    assert_eq!(outcomes.iter().filter(stands_back).count(), 2, "{outcomes:?}");
    assert_eq!(app.merchant("bob").await.unwrap().links.len(), 1);
    app.close().await;
}
