//! Whose connection serves whom: confirmation, decisions about held links, and the requests that ask for them.

use strongroom::domain::trail::EventKind;
use strongroom::v1::{LinkDecision, LinkState, StartAuthorizationRequest};
use tonic::Code;
use url::Url;

use super::stage::{Ended, Person, RETURN_URL, Stage, reason};

/// A consent whose link is held.
async fn held(stage: &Stage, external_id: &str, person: &Person) -> (String, Ended) {
    let invited = stage.start(stage.order(external_id, RETURN_URL)).await.unwrap();
    let browser = stage.browser();
    let link = Url::parse(&invited.url).unwrap();
    let ended = stage.while_time_passes(browser.go_through(&link, person)).await;
    assert_eq!(ended.outcome, "held");
    (invited.merchant_id, ended)
}

#[tokio::test]
async fn a_confirmation_is_good_once_for_its_merchant_and_its_request_can_be_repeated() {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    let (first, of_first) = held(&stage, "shop-1", &ann).await;
    let (second, of_second) = held(&stage, "shop-2", &bob).await;
    let invalid = (Code::FailedPrecondition, "CONFIRMATION_INVALID".to_owned());
    for wrong in [of_second.confirmation.as_str(), "", "wrong", &of_first.confirmation[1..]] {
        let (code, why) = reason(stage.confirm(&first, wrong).await);
        assert_eq!(why, "CONFIRMATION_INVALID", "{wrong:?} {code:?}");
    }
    assert_eq!(reason(stage.read("shop-1").await).1, "LINK_HELD");
    let link = stage.confirm_as("confirm-1", &first, &of_first.confirmation).await.unwrap();
    assert_eq!(link.state(), LinkState::Active);
    assert_eq!(stage.confirm_as("confirm-1", &first, &of_first.confirmation).await.unwrap(), link);
    let reused = stage.confirm_as("confirm-1", &second, &of_second.confirmation).await;
    assert_eq!(reason(reused), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    let twice = reason(stage.confirm(&first, &of_first.confirmation).await);
    assert_eq!(twice.1, invalid.1, "one-time");
    assert!(stage.works_there(&stage.read("shop-1").await.unwrap().access_token).await);
    assert_eq!(reason(stage.read("shop-2").await).1, "LINK_HELD", "nobody confirmed the other one");
    assert_eq!(stage.reasons(EventKind::LinkChanged).await, ["active"]);
}

#[tokio::test]
async fn another_user_waits_beside_the_old_one_until_a_person_decides() {
    let stage = Stage::new().await;
    let (ann, bob) = (stage.person("ann").await, stage.person("bob").await);
    stage.connect_and_die("shop-1", &ann).await;
    held(&stage, "shop-1", &bob).await;
    assert_eq!(reason(stage.read("shop-1").await).1, "TOKEN_DEAD", "the old link still leads");
    let links = stage.merchant("shop-1").await.links;
    let states = |links: &[strongroom::v1::Link]| links.iter().map(|link| link.state()).collect::<Vec<_>>();
    assert_eq!(states(&links), [LinkState::Held, LinkState::Active]);

    let activated = stage.resolve("resolve-1", &links[0], LinkDecision::Activate).await.unwrap();
    assert_eq!((activated.state(), activated.subject), (LinkState::Active, bob.id.to_string()));
    let links = stage.merchant("shop-1").await.links;
    assert_eq!(states(&links), [LinkState::Active, LinkState::Closed]);
    let head = stage.read("shop-1").await.unwrap();
    assert_eq!(head.subject, bob.id.to_string());
    assert!(stage.works_there(&head.access_token).await);

    assert_eq!(stage.resolve("resolve-1", &links[0], LinkDecision::Activate).await.unwrap().state(), LinkState::Active);
    let other = stage.resolve("resolve-1", &links[0], LinkDecision::Close).await;
    assert_eq!(reason(other), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    for link in &links {
        assert_eq!(reason(stage.resolve(&stage.next_request(), link, LinkDecision::Close).await).1, "LINK_NOT_HELD");
    }
    assert_eq!(stage.reasons(EventKind::LinkChanged).await, ["active", "closed", "active"]);
}

#[tokio::test]
async fn a_held_link_that_is_closed_never_serves() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let (merchant, ended) = held(&stage, "shop-1", &ann).await;
    let link = stage.merchant("shop-1").await.links.remove(0);
    let closed = stage.resolve("resolve-1", &link, LinkDecision::Close).await.unwrap();
    assert_eq!(closed.state(), LinkState::Closed);
    assert_eq!(reason(stage.confirm(&merchant, &ended.confirmation).await).1, "CONFIRMATION_INVALID");
    assert_eq!(reason(stage.read("shop-1").await).1, "NOT_CONNECTED");
    assert_eq!(stage.reasons(EventKind::LinkChanged).await, ["closed"]);
}

#[tokio::test]
async fn a_consent_by_another_merchants_user_harms_nobody() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let before = stage.connect("shop-1", &ann).await;
    let (merchant, ended) = held(&stage, "shop-2", &ann).await;
    // The mint revoked the first merchant's token, and its readers have the new one.
    assert_eq!(stage.live_there(&ann).await, [false, true]);
    let after = stage.read("shop-1").await.unwrap();
    assert_ne!(after.access_token, before.access_token);
    assert_eq!(after.version.unwrap().version, 2);
    assert!(stage.works_there(&after.access_token).await);
    assert_eq!(reason(stage.read("shop-2").await).1, "LINK_HELD");
    assert_eq!(reason(stage.confirm(&merchant, &ended.confirmation).await).1, "LINK_HELD", "only a person may");
    assert!(stage.merchant("shop-2").await.links[0].shared);
    stage.verified().await;
}

#[tokio::test]
async fn the_newest_consent_is_the_one_that_is_confirmed() {
    let stage = Stage::new().await;
    let ann = stage.person("ann").await;
    let (merchant, first) = held(&stage, "shop-1", &ann).await;
    stage.wait_for_identity_check("shop-1").await;
    stage.revoke(&ann).await;
    let version = stage.versions("shop-1").await[0].r#ref.clone().unwrap();
    stage.report(&version, "1011").await;
    let (_, second) = held(&stage, "shop-1", &ann).await;
    assert_ne!(first.confirmation, second.confirmation);
    assert_eq!(stage.merchant("shop-1").await.links.len(), 1, "the same user, the same link");
    assert_eq!(reason(stage.confirm(&merchant, &first.confirmation).await).1, "CONFIRMATION_INVALID");
    let link = stage.confirm(&merchant, &second.confirmation).await.unwrap();
    assert_eq!(link.state(), LinkState::Active);
    assert!(stage.works_there(&stage.read("shop-1").await.unwrap().access_token).await);
    assert_eq!(stage.reasons(EventKind::LinkChanged).await, ["held", "active"]);
}

#[tokio::test]
async fn an_order_can_be_repeated_and_its_id_serves_no_other() {
    let stage = Stage::new().await;
    let order = StartAuthorizationRequest {
        display_name: "Blue Bakery".to_owned(),
        labels: vec!["region:eu".to_owned()],
        ..stage.order("shop-1", RETURN_URL)
    };
    let first = stage.start(order.clone()).await.unwrap();
    assert_eq!(stage.start(order.clone()).await.unwrap(), first);
    for other in [
        StartAuthorizationRequest { external_id: "shop-2".to_owned(), ..order.clone() },
        StartAuthorizationRequest { display_name: "Red Bakery".to_owned(), ..order.clone() },
        StartAuthorizationRequest { return_url: String::new(), ..order.clone() },
        StartAuthorizationRequest { expected_email: "a@b.example".to_owned(), ..order.clone() },
        StartAuthorizationRequest { user_name: "Ann".to_owned(), ..order.clone() },
    ] {
        assert_eq!(reason(stage.start(other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    }
    // Labels are taken when the merchant is made; later they are left out or repeated.
    let later = |labels: &[&str]| StartAuthorizationRequest {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        ..stage.order("shop-1", "")
    };
    for labels in [&["region:us"][..], &["region:eu", "tier:gold"]] {
        assert_eq!(reason(stage.start(later(labels)).await), (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned()));
    }
    for labels in [&[][..], &["region:eu"]] {
        assert_eq!(stage.start(later(labels)).await.unwrap().merchant_id, first.merchant_id);
    }
    assert_eq!(stage.merchant("shop-1").await.labels, ["region:eu"]);
    assert_eq!(stage.reasons(EventKind::MerchantCreated).await.len(), 1);
    assert_eq!(stage.reasons(EventKind::AuthorizationStarted).await.len(), 3);
}

#[tokio::test]
async fn a_return_url_is_below_an_allowed_origin_or_refused() {
    let stage = Stage::new().await;
    for bad in [
        "https://platform.test.evil.example/",
        "https://evil.example/https://platform.test/",
        "https://platform.test@evil.example/",
        "https://user@platform.test/",
        "https://user:secret@platform.test/",
        "https://platform.test/#fragment",
        "https://platform.test:444/",
        "http://platform.test/",
        "ftp://platform.test/",
        "//platform.test/",
        "/connected",
        "javascript:alert(1)//https://platform.test/",
        "https://evil.example\\@platform.test/",
        "https://platform.test%2eevil.example/",
        "https://xplatform.test/",
        "https://platform.tes\u{74}.example/",
        " ",
    ] {
        let refused = reason(stage.start(stage.order("shop-1", bad)).await);
        assert_eq!(refused, (Code::InvalidArgument, "RETURN_URL_NOT_ALLOWED".to_owned()), "{bad}");
    }
    assert_eq!(stage.reasons(EventKind::MerchantCreated).await.len(), 0, "a refused order makes no merchant");
    // The last one leads to platform.test in every browser, and is stored as it will be used.
    let odd = "https://platform.test\\@evil.example/";
    for good in ["https://platform.test/", "https://platform.test", "https://PLATFORM.test/a/../b?c=d", RETURN_URL, odd]
    {
        stage.start(stage.order("shop-1", good)).await.unwrap();
    }
}
