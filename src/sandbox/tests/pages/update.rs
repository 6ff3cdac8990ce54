//! What the account update page does, for whom, and where it leads.

use serde_json::json;

use super::{DETAILS, EMAIL, account_state, change_app, merchant, signed_in, sound, update_url};
use crate::sandbox::journal::FILE_NAME;
use crate::sandbox::tests::support::{Browser, PASSWORD, World, options};

const DONE: &str = "?redirect_uri=http%3A%2F%2F127.0.0.1%3A9%2Fdone%3Fa%3Db";

#[tokio::test]
async fn the_owner_completes_the_account_and_goes_back_to_the_app() {
    let world = World::start().await;
    let (ada, token, account_id) = merchant(&world).await;
    let mut browser = signed_in(&world, &update_url(&world, account_id, DONE), EMAIL).await;
    assert_eq!(browser.submit(&DETAILS).await, "http://127.0.0.1:9/done?a=b");
    let account = world.ok(&token, "/account", json!({"account_id": account_id})).await;
    assert_eq!((&account["state"], &account["action_reasons"]), (&json!("active"), &json!([])));
    assert_eq!(account["statuses"][0]["outgoing_payments_status"], "ok");
    let again = sound("again", browser.open().await, 200, "Nothing is missing");
    assert!(again.text.contains("href=\"http://127.0.0.1:9/done?a=b\""), "{}", again.text);
    let calls = world.calls(&format!("/api/account_update/{account_id}")).await;
    assert!(calls.len() >= 4 && calls.iter().all(|call| call["account_id"] == account_id));
    assert!(calls.iter().skip(1).all(|call| call["user_id"] == ada), "{calls:?}");
}

#[tokio::test]
async fn without_an_address_to_go_back_to_the_page_says_thank_you() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    world.control("POST", &format!("/accounts/{account_id}/state"), json!({"state": "disabled"})).await;
    let mut browser = signed_in(&world, &format!("{}/", update_url(&world, account_id, "")), EMAIL).await;
    let page = sound("thanks", browser.send_form(&DETAILS).await, 200, "Thank you").text;
    assert!(page.contains("aria-current=\"step\"><span class=\"dot\" aria-hidden=\"true\">3</span> Done"), "{page}");
    assert_eq!(account_state(&world, account_id).await, "active", "it was disabled for what is there now");
}

#[tokio::test]
async fn each_field_must_be_right_and_nothing_real() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    let mut browser = signed_in(&world, &update_url(&world, account_id, DONE), EMAIL).await;
    let too_long = "x".repeat(256);
    for (name, bad) in [
        ("legal_name", ""),
        ("legal_name", "  "),
        ("legal_name", &too_long),
        ("date_of_birth", "2999-01-01"),
        ("routing_number", "021000021"),
        ("account_number", "12"),
        ("bank_name", ""),
        ("postal_code", ""),
    ] {
        let form: Vec<_> = DETAILS.map(|(key, value)| if key == name { (key, bad) } else { (key, value) }).into();
        let page = sound(name, browser.send_form(&form).await, 200, "Something is not right yet");
        assert_eq!(page.text.matches("aria-invalid=\"true\"").count(), 1, "{name}: {bad:?}");
        assert!(page.text.contains(&format!("update-{name}-problem")));
        assert!(page.text.contains("value=\"Nowhere\""), "what was typed stays");
    }
    assert_eq!(account_state(&world, account_id).await, "action_required");
}

#[tokio::test]
async fn nobody_but_the_owner_sees_or_changes_anything() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    world.make_user("bob@shop.example").await;
    let url = update_url(&world, account_id, "");
    let door = |account_id| {
        let url = update_url(&world, account_id, "");
        async { Browser::new(&world, url).open().await.text }
    };
    let neutral = |text: String, id: u64| {
        let text = text.replace(&id.to_string(), "ID");
        let csrf = text.split("name=\"csrf\" value=\"").nth(1).unwrap()[..64].to_owned();
        text.replace(&csrf, "CSRF")
    };
    let (there, absent) = (neutral(door(account_id).await, account_id), neutral(door(7_777_777).await, 7_777_777));
    assert_eq!(there, absent, "who did not sign in learns nothing");
    assert!(!there.contains("s Shop"));
    let mut bob = signed_in(&world, &url, "bob@shop.example").await;
    let mut browser = Browser::new(&world, url.clone());
    let page = bob.open().await;
    let csrf = page.text.split("name=\"csrf\" value=\"").nth(1).unwrap()[..64].to_owned();
    assert!(page.status == 403 && !page.text.contains("s Shop") && page.text.contains("Sign in as someone else"));
    let sent = bob.send_raw(&[&DETAILS[..], &[("csrf", &csrf)]].concat()).await;
    assert_eq!(sent.status, 403);
    let unsigned = browser.send_form(&DETAILS).await;
    assert_eq!((unsigned.status, unsigned.location.is_some()), (303, true), "back to the door");
    assert_eq!(account_state(&world, account_id).await, "action_required");
    let register = [("form", "register"), ("email", "eve@x.example"), ("password", PASSWORD)];
    assert_eq!(browser.send_form(&register).await.status, 400, "there is nothing to register for");
    bob.send_raw(&[("form", "logout"), ("csrf", &csrf)]).await;
    sound("signed out", bob.open().await, 200, "Sign in to continue");
}

#[tokio::test]
async fn the_page_leads_to_the_apps_domain_alone() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    for bad in ["https://evil.example/", "//evil.example", "javascript:alert(1)", "http://localhost@evil.example/"] {
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("redirect_uri", bad).finish();
        let url = update_url(&world, account_id, &format!("?{query}"));
        let mut browser = signed_in(&world, &url, EMAIL).await;
        let page = sound(bad, browser.open().await, 400, "cannot be used");
        assert!(!page.text.contains(&format!("href=\"{bad}")), "{bad}");
        let csrf = page.text.split("name=\"csrf\" value=\"").nth(1).unwrap()[..64].to_owned();
        let sent = browser.send_raw(&[&DETAILS[..], &[("csrf", &csrf)]].concat()).await;
        assert_eq!((sent.status, sent.location), (400, None), "{bad}");
    }
    assert_eq!(account_state(&world, account_id).await, "action_required");
}

#[tokio::test]
async fn in_frame_mode_the_apps_own_pages_may_show_it_and_no_others() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    let policy = async |url: String| {
        let answer = world.client.get(url).send().await.unwrap();
        answer.headers()["content-security-policy"].to_str().unwrap().to_owned()
    };
    let (framed, bare) = (update_url(&world, account_id, "?iframe=1"), update_url(&world, account_id, ""));
    assert!(policy(bare.clone()).await.ends_with("frame-ancestors 'none'"));
    assert!(policy(framed.clone()).await.contains("frame-ancestors http://localhost:*"));
    assert_eq!(policy(update_url(&world, 1, "?iframe=1")).await, policy(framed.clone()).await);
    world.control("POST", "/settings", json!({"lax_redirects": false})).await;
    change_app(&world, |app| app.registered_domain = Some("own.example".to_owned()));
    let own = "http://own.example:* http://*.own.example:* https://own.example:* https://*.own.example:*";
    assert!(policy(framed.clone()).await.ends_with(&format!("frame-ancestors {own}")));
    change_app(&world, |app| app.registered_domain = Some("*; script-src *".to_owned()));
    assert!(policy(framed.clone()).await.ends_with("frame-ancestors 'none'"));
    let mut browser = Browser::new(&world, framed);
    let door = browser.open().await.text;
    assert!(door.contains("class=\"compact\"") && door.contains("in a window of its own"));
    assert!(!Browser::new(&world, bare).open().await.text.contains("in a window of its own"));
}

#[tokio::test]
async fn the_address_that_the_api_answers_leads_here_and_shows_what_the_app_told() {
    let world = World::start().await;
    let (_, token, account_id) = merchant(&world).await;
    change_app(&world, |app| app.permissions.extend(["prefill_info".to_owned()]));
    let told = json!({
        "name": {"first": "Ada", "middle": "M.", "last": "Low"},
        "date_of_birth": {"year": 1980, "month": 2, "day": 3},
        "address": {"address1": "1 Told Street", "address2": "Flat \"2\"", "city": "Toldtown", "region": "CA"},
        "entity_name": "Not Asked For Inc.",
    });
    let mut order = json!({"account_id": account_id, "mode": "iframe", "redirect_uri": "http://127.0.0.1:9/done?a=b"});
    order["prefill_info"] = told;
    let answer = world.ok(&token, "/account/get_update_uri", order).await;
    let url = answer["uri"].as_str().unwrap();
    assert_eq!(url, update_url(&world, account_id, &DONE.replace('?', "?iframe=1&")));
    let mut browser = signed_in(&world, url, EMAIL).await;
    let page = sound("prefilled", browser.open().await, 200, "class=\"compact\"").text;
    for value in ["Ada M. Low", "1980-02-03", "1 Told Street Flat &#34;2&#34;", "Toldtown"] {
        assert!(page.contains(&format!("value=\"{value}\"")), "{value}: {page}");
    }
    assert!(!page.contains("Not Asked For"));
    assert_eq!(browser.submit(&DETAILS).await, "http://127.0.0.1:9/done?a=b");
    let account = world.ok(&token, "/account", json!({"account_id": account_id})).await;
    assert_eq!(
        (&account["state"], &account["balances"][0]["withdrawal_bank_name"]),
        (&json!("active"), &json!("Invented Bank XXXXX6789"))
    );
}

#[tokio::test]
async fn only_what_is_missing_is_asked_for() {
    let world = World::start().await;
    let (_, _, account_id) = merchant(&world).await;
    world.control("POST", &format!("/accounts/{account_id}/kyc"), json!({"state": "verified"})).await;
    let mut browser = signed_in(&world, &update_url(&world, account_id, ""), EMAIL).await;
    let page = sound("bank alone", browser.open().await, 200, "Bank account").text;
    assert!(!page.contains("legal_name"), "{page}");
    let bank = [("form", "update"), ("bank_name", "B"), ("routing_number", "000000000"), ("account_number", "1234")];
    sound("thanks", browser.send_form(&bank).await, 200, "Thank you");
    assert_eq!(account_state(&world, account_id).await, "active");
}

/// What tells whose identity or bank account it is, is looked at and forgotten: of the number the last four digits stay, as shown.
#[tokio::test]
async fn what_a_person_gives_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::with(options(Some(dir.path()))).await;
    let (_, token, account_id) = merchant(&world).await;
    let mut browser = signed_in(&world, &update_url(&world, account_id, ""), EMAIL).await;
    let secrets = [("date_of_birth", "1971-02-03"), ("account_number", "998877665544"), ("address", "77 Hidden Lane")];
    let form =
        DETAILS.map(|(key, value)| (key, secrets.iter().find(|(name, _)| *name == key).map_or(value, |it| it.1)));
    sound("thanks", browser.send_form(&form).await, 200, "Thank you");
    let shown = [
        world.ok(&token, "/account", json!({"account_id": account_id})).await,
        world.control("GET", "/state", json!(null)).await,
        world.control("GET", "/calls", json!(null)).await,
        world.control("GET", "/snapshot", json!(null)).await,
    ];
    world.sandbox.stop().await;
    let journal = std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap();
    assert!(journal.contains("Invented Bank XXXXX5544"));
    for text in shown.iter().map(ToString::to_string).chain([journal]) {
        for secret in ["1971", "99887766", "Hidden Lane", "Nowhere"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
