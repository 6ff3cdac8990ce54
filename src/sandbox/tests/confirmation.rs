//! From the mail to the permanent token, and what `/user/modify` changes.

use serde_json::{Value, json};

use super::support::{Browser, PASSWORD, SCOPES, World, parameters};

const GRANT: [(&str, &str); 3] = [("form", "confirm"), ("accept", "yes"), ("decision", "grant")];
const DAY_S: u64 = 24 * 60 * 60;

async fn account_state(world: &World, token: &str, account_id: &Value) -> Value {
    world.ok(token, "/account", json!({"account_id": account_id})).await["state"].clone()
}

/// A registration with a place to go afterwards, an account, and the mail.
async fn registered_with_mail(world: &World) -> (u64, String, Value, String) {
    let mut body = world.register_body("ada@shop.example");
    body["redirect_uri"] = json!("http://127.0.0.1:9/welcome?a=b");
    let issued = world.send(world.post("/user/register", &body)).await.json();
    let (user_id, token) = (issued["user_id"].as_u64().unwrap(), issued["access_token"].as_str().unwrap().to_owned());
    let account = world.ok(&token, "/account/create", json!({"name": "Ada's Shop", "description": "Bread"})).await;
    world.ok(&token, "/user/send_confirmation", json!({})).await;
    let link = world.mails(user_id).await[0]["link"].as_str().unwrap().to_owned();
    (user_id, token, account["account_id"].clone(), link)
}

#[tokio::test]
async fn the_mails_page_makes_user_token_and_accounts_whole() {
    let world = World::start().await;
    let (ada, token, account_id, link) = registered_with_mail(&world).await;
    assert!(link.starts_with(&format!("{}/user/confirm?", world.sandbox.endpoints().ui)));
    assert_eq!(account_state(&world, &token, &account_id).await, "pending");
    let mut browser = Browser::new(&world, link);
    let page = browser.open().await;
    for shown in ["WePay sandbox", "Ada Low", "ada@shop.example", "Choose a password", "Grant Access"] {
        assert!(page.text.contains(shown), "{shown}");
    }
    let back = browser.submit(&[&GRANT[..], &[("password", PASSWORD)]].concat()).await;
    assert_eq!(back, "http://127.0.0.1:9/welcome?a=b");
    assert_eq!(world.ok(&token, "/user", json!({})).await["state"], "registered");
    assert_eq!(account_state(&world, &token, &account_id).await, "action_required");
    assert_eq!(world.tokens(ada).await[0]["kind"], "permanent");
    world.advance(91 * DAY_S).await;
    assert_eq!(world.user(&token).await.status, 200);
    let again = world.call(&token, "/user/send_confirmation", json!({})).await;
    assert_eq!(again.refusal(), (400, "invalid_request".to_owned(), 7002));
    assert_eq!(again.json()["error_description"], "This access_token is already approved.");
    assert!(browser.open().await.text.contains("Already confirmed"));
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    browser.log_in("ada@shop.example", PASSWORD).await;
    assert!(browser.open().await.text.contains("Grant access?"), "the password chosen there signs in");
    let calls = world.calls("/user/confirm").await;
    assert!(calls.len() >= 3 && calls.iter().all(|call| call["user_id"] == ada));
}

#[tokio::test]
async fn the_page_needs_consent_password_and_its_own_token() {
    let world = World::start().await;
    let (ada, token, _, link) = registered_with_mail(&world).await;
    let mut browser = Browser::new(&world, link.clone());
    assert_eq!(browser.send_raw(&[&GRANT[..], &[("password", PASSWORD)]].concat()).await.status, 403);
    let without_terms = [("form", "confirm"), ("decision", "grant"), ("password", PASSWORD)];
    assert!(browser.send_form(&without_terms).await.text.contains("must be accepted"));
    assert!(browser.send_form(&GRANT).await.text.contains("A password of"));
    let deny = [("form", "confirm"), ("accept", "yes"), ("decision", "deny"), ("password", PASSWORD)];
    assert_eq!(browser.send_form(&deny).await.status, 400);
    for bad in [link.replace("mail=1", "mail=2"), format!("{link}0"), link.replace("key=", "k=")] {
        let answer = world.send(world.client.get(&bad)).await;
        assert_eq!((answer.status, answer.location), (400, None), "{bad}");
    }
    assert_eq!(world.ok(&token, "/user", json!({})).await["state"], "pending");
    assert_eq!(world.tokens(ada).await[0]["kind"], "temporary");
    world.control("POST", &format!("/users/{ada}/delete"), Value::Null).await;
    assert_eq!(browser.open().await.status, 400);
}

#[tokio::test]
async fn the_mail_carries_what_the_app_wrote_and_the_old_name_still_works() {
    let world = World::start().await;
    let (ada, token) = world.register("ada@shop.example").await;
    let words = json!({"email_message": "Hello", "email_subject": "Confirm", "email_button_text": "Here"});
    assert_eq!(world.ok(&token, "/user/send_confirmation", words).await["state"], "pending");
    world.ok(&token, "/user/resend_confirmation", json!({"email_message": "Again"})).await;
    let mails = world.mails(ada).await;
    let of =
        |mail: &Value| ["to", "subject", "message", "button_text"].map(|name| mail[name].as_str().unwrap().to_owned());
    assert_eq!(of(&mails[0]), ["ada@shop.example", "Confirm", "Hello", "Here"]);
    assert_eq!((of(&mails[1])[2].as_str(), mails.len()), ("Again", 2));
    assert_ne!(mails[0]["link"], mails[1]["link"]);
    for (call, name, length) in [
        ("/user/send_confirmation", "email_subject", 256),
        ("/user/send_confirmation", "email_message", 65_536),
        ("/user/send_confirmation", "subject", 1),
        ("/user/resend_confirmation", "email_subject", 1),
    ] {
        let mut body = json!({});
        body[name] = json!("x".repeat(length));
        assert_eq!(world.call(&token, call, body).await.refusal().2, 1003, "{name}");
    }
    let owner = world.sandbox.app_owner_token().to_owned();
    assert_eq!(world.call(&owner, "/user/send_confirmation", json!({})).await.refusal().2, 7002);
    assert_eq!(world.mails(ada).await.len(), 2, "a refusal sends nothing");
}

#[tokio::test]
async fn what_was_made_with_a_temporary_token_of_a_registered_person_waits_for_the_confirmation_too() {
    let world = World::start().await;
    let order = |name: &str| json!({"name": name, "description": "Bread"});
    for (email, by_mail) in [("ada@shop.example", true), ("bob@shop.example", false)] {
        let user_id = world.make_user(email).await;
        let (_, token) = world.register(email).await;
        let account = world.ok(&token, "/account/create", order("First")).await;
        assert_eq!((&account["state"], &account["action_reasons"]), (&json!("pending"), &json!([])));
        assert_eq!(world.ok(&token, "/user", json!({})).await["state"], "registered");
        // Another person's confirmation is not this one's.
        let (other, _) = world.register(&format!("other-{email}")).await;
        world.control("POST", &format!("/users/{other}/confirm"), Value::Null).await;
        assert_eq!(account_state(&world, &token, &account["account_id"]).await, "pending");
        if by_mail {
            world.ok(&token, "/user/send_confirmation", json!({})).await;
            let link = world.mails(user_id).await[0]["link"].as_str().unwrap().to_owned();
            let mut browser = Browser::new(&world, link);
            browser.open().await;
            assert_eq!(browser.send_form(&GRANT).await.status, 200);
        } else {
            world.control("POST", &format!("/users/{user_id}/confirm"), Value::Null).await;
        }
        assert_eq!(account_state(&world, &token, &account["account_id"]).await, "action_required");
        assert_eq!(world.ok(&token, "/account/create", order("Second")).await["state"], "action_required");
    }
}

#[tokio::test]
async fn a_person_with_a_password_confirms_without_a_new_one_and_lands_on_a_plain_page() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let (_, token) = world.register("ada@shop.example").await;
    assert_eq!(world.ok(&token, "/user/send_confirmation", json!({})).await["state"], "registered");
    let mut browser = Browser::new(&world, world.mails(ada).await[0]["link"].as_str().unwrap().to_owned());
    assert!(!browser.open().await.text.contains("password\" type="));
    let done = browser.send_form(&GRANT).await;
    assert!(done.status == 200 && done.location.is_none() && done.text.contains("is confirmed"), "{}", done.text);
    assert_eq!(world.tokens(ada).await[0]["kind"], "permanent");
}

#[tokio::test]
async fn a_temporary_token_beside_a_consent_that_was_never_exchanged_can_still_be_confirmed() {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let (_, token) = world.register("ada@shop.example").await;
    world.code("ada@shop.example").await;
    assert_eq!(world.tokens(ada).await[0]["kind"], "temporary");
    world.ok(&token, "/user/send_confirmation", json!({})).await;
    let mut browser = Browser::new(&world, world.mails(ada).await[0]["link"].as_str().unwrap().to_owned());
    assert_eq!(browser.send_form(&GRANT).await.status, 200);
    assert_eq!(world.tokens(ada).await[0]["kind"], "permanent");
}

#[tokio::test]
async fn the_control_call_confirms_like_the_page() {
    let world = World::start().await;
    let (ada, token, account_id, link) = registered_with_mail(&world).await;
    let confirmed = world.control("POST", &format!("/users/{ada}/confirm"), Value::Null).await;
    assert_eq!(confirmed["state"], "registered");
    assert_eq!(account_state(&world, &token, &account_id).await, "action_required");
    assert_eq!(world.call(&token, "/user/send_confirmation", json!({})).await.refusal().2, 7002);
    assert!(Browser::new(&world, link).open().await.text.contains("Already confirmed"));
    let answer = world.send(world.post("/user/register", &world.register_body("ada@shop.example"))).await;
    assert_eq!(answer.json()["expires_in"], Value::Null, "the app is approved now");
}

#[tokio::test]
async fn a_pending_person_may_register_at_the_authorize_page_instead() {
    let world = World::start().await;
    let (ada, temporary, account_id, _) = registered_with_mail(&world).await;
    let mut browser = Browser::new(&world, world.authorize_url(SCOPES));
    let person = [("email", "ada@shop.example"), ("password", PASSWORD), ("first_name", "A"), ("last_name", "L")];
    browser.submit(&[&[("form", "register")], &person[..]].concat()).await;
    assert_eq!(account_state(&world, &temporary, &account_id).await, "pending");
    assert_eq!(world.tokens(ada).await[0]["kind"], "temporary", "nothing was granted yet");
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    assert_eq!(account_state(&world, &temporary, &account_id).await, "action_required");
    let issued = world.exchange(&parameters(&back)[0].1).await.json();
    assert_eq!(issued["user_id"], ada);
    assert_eq!(world.user(&temporary).await.refusal().2, 1011, "the exchange revokes the temporary token");
    assert_eq!(world.live(ada).await, [false, true]);
}

#[tokio::test]
async fn modifying_a_user_changes_where_notices_go() {
    let world = World::start().await;
    let (_, token) = world.register("ada@shop.example").await;
    let uri = "http://127.0.0.1:9/notices?a=b";
    assert_eq!(world.ok(&token, "/user", json!({})).await["callback_uri"], "");
    let modified = world.ok(&token, "/user/modify", json!({"callback_uri": uri, "rbits": []})).await;
    assert_eq!(modified["callback_uri"], uri);
    assert_eq!(world.ok(&token, "/user", json!({})).await, modified);
    assert_eq!(world.ok(&token, "/user/modify", json!({})).await, modified, "nothing named, nothing changed");
    for bad in [json!({"callback_uri": "/n"}), json!({"callback_uri": "https://wepay.com/n"}), json!({"email": "x@y"})]
    {
        assert_eq!(world.call(&token, "/user/modify", bad).await.refusal().2, 1003);
    }
    world.control("POST", "/settings", json!({"lax_redirects": false})).await;
    assert_eq!(world.call(&token, "/user/modify", json!({"callback_uri": uri})).await.refusal().2, 1003);
    assert_eq!(world.call("", "/user/modify", json!({})).await.refusal().2, 1002);
}
