//! What requests may look like.

use serde_json::{Value, json};

use super::support::{Answer, World};

/// Sends a request as bytes on a connection of its own; status and body of the answer.
async fn raw(world: &World, request: &str) -> (u16, Value) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(world.sandbox.local_addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap())
}

async fn world_with_token() -> (World, u64, String) {
    let world = World::start().await;
    let ada = world.make_user("ada@shop.example").await;
    let token = world.token("ada@shop.example").await;
    (world, ada, token)
}

async fn get(world: &World, path: &str, token: &str) -> Answer {
    world.send(world.client.get(world.url(path)).header("authorization", format!("Bearer {token}"))).await
}

#[tokio::test]
async fn a_path_may_be_encoded_and_end_in_slashes_but_keeps_its_case() {
    let (world, ada, token) = world_with_token().await;
    for path in ["/user", "/user/", "/user//", "//user", "/%75ser", "/user?", "/user/?"] {
        let answer = get(&world, path, &token).await;
        assert_eq!((answer.status, answer.json()["user_id"].as_u64()), (200, Some(ada)), "{path}");
    }
    for path in ["/User", "/user/x", "/user%3F", "/%ff", "/user.json", "/"] {
        assert_eq!(get(&world, path, &token).await.refusal(), (501, "invalid_request".to_owned(), 1001), "{path}");
    }
    let logged = world.calls("/user").await;
    assert_eq!(logged.iter().filter(|call| call["path"] == "/v2/user").count(), 7);
}

#[tokio::test]
async fn a_call_is_a_get_or_a_post() {
    let (world, _, token) = world_with_token().await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = world.client.request(method.parse().unwrap(), world.url("/user"));
        let answer = world.send(request.header("authorization", format!("Bearer {token}"))).await;
        assert_eq!(answer.refusal().2, 1001, "{method}");
    }
}

#[tokio::test]
async fn the_bearer_is_read_as_laxly_as_shipped_clients_write_it() {
    let (world, _, token) = world_with_token().await;
    for scheme in ["Bearer ", "Bearer: ", "BEARER ", "bearer   ", "Bearer:  "] {
        let request = world.post("/user", &json!({})).header("authorization", format!("{scheme}{token}"));
        assert_eq!(world.send(request).await.status, 200, "{scheme:?}");
    }
    for (value, code) in [
        ("", 1002),
        ("Bearer", 1002),
        ("Bearer ", 1002),
        ("Basic abc", 1002),
        (token.as_str(), 1002),
        ("Bearer None", 1006),
    ] {
        let request = world.post("/user", &json!({})).header("authorization", value);
        assert_eq!(world.send(request).await.refusal().2, code, "{value:?}");
        let endpoints = world.sandbox.endpoints();
        let body = json!({"client_id": endpoints.client_id, "client_secret": endpoints.client_secret});
        let request = world.post("/app", &body).header("authorization", value);
        assert_eq!(world.send(request).await.status, 200, "{value:?} means nothing where the client secret counts");
    }
}

#[tokio::test]
async fn parameters_of_a_get_stand_in_its_query_and_those_of_a_post_in_its_body_alone() {
    let (world, _, token) = world_with_token().await;
    let shop = json!({"name": "Über & Söhne", "description": "x", "reference_id": "a+b c"});
    let account = world.ok(&token, "/account/create", shop).await;
    let found = get(&world, "/account/find?reference_id=a%2Bb+c&name=%C3%9Cber%20%26%20S%C3%B6hne", &token).await;
    assert_eq!(found.json()[0]["account_id"], account["account_id"]);
    assert_eq!(get(&world, "/account/find?reference_id=%ff", &token).await.refusal().2, 1005);
    assert_eq!(get(&world, "/user?cvv=1", &token).await.refusal().2, 1003);
    let post = world.client.post(world.url("/account?account_id=1")).header("authorization", format!("Bearer {token}"));
    assert_eq!(world.send(post).await.json()["error_description"], "account_id parameter is required");
}

#[tokio::test]
async fn bodies_come_in_every_shape_that_clients_send() {
    let (world, _, token) = world_with_token().await;
    let url = "http://127.0.0.1:9/n?a=b";
    let json = json!({ "callback_uri": url }).to_string();
    let form = "callback_uri=http%3A%2F%2F127.0.0.1%3A9%2Fn%3Fa%3Db";
    for (media, body) in [
        (Some("application/json"), json.clone()),
        (Some("application/json; charset=ISO-8859-1"), json.clone()),
        (Some("text/plain"), json.clone()),
        (Some("application/x-www-form-urlencoded"), json.clone()),
        (None, json.clone()),
        (None, format!("\u{feff} {json}\r\n")),
        (Some("application/x-www-form-urlencoded"), form.to_owned()),
        (Some("APPLICATION/x-www-form-urlencoded;charset=UTF-8"), format!("callback_uri=x&{form}")),
        (Some("application/json"), format!(r#"{{"callback_uri": "x", "callback_uri": "{url}", "cvv": null}}"#)),
    ] {
        let mut request =
            world.client.post(world.url("/user/modify")).header("authorization", format!("Bearer {token}"));
        if let Some(media) = media {
            request = request.header("content-type", media);
        }
        let answer = world.send(request.body(body.clone())).await;
        assert_eq!(answer.status, 200, "{media:?} {body}: {}", answer.text);
        assert_eq!(answer.json()["callback_uri"], url, "{media:?} {body}");
    }
}

#[tokio::test]
async fn a_body_may_come_in_chunks_and_may_be_missing() {
    let (world, ada, token) = world_with_token().await;
    let head = format!("POST /v2/user/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n");
    for tail in [
        "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\n\r\n",
        "Content-Type: application/json\r\n\r\n",
        "Content-Length: 4\r\n\r\n \r\n ",
    ] {
        let (status, user) = raw(&world, &format!("{head}{tail}")).await;
        assert_eq!((status, user["user_id"].as_u64()), (200, Some(ada)), "{tail:?}");
    }
}

#[tokio::test]
async fn values_of_the_wrong_type_are_named_and_never_taken_for_something_else() {
    let (world, _, token) = world_with_token().await;
    let account = world.ok(&token, "/account/create", json!({"name": "A", "description": "B"})).await;
    let id = account["account_id"].as_u64().unwrap();
    for good in [format!("{id}"), format!("\"{id}\""), format!("{id}.0")] {
        let body: Value = serde_json::from_str(&format!(r#"{{"account_id": {good}}}"#)).unwrap();
        assert_eq!(world.ok(&token, "/account", body).await["account_id"], id, "{good}");
    }
    for bad in ["true", "[1]", "{}", "1.5", "-1", "\"abc\"", "\"1.0\"", "1e30", "99999999999999999999", "\" 1\""] {
        let body: Value = serde_json::from_str(&format!(r#"{{"account_id": {bad}}}"#)).unwrap();
        let answer = world.call(&token, "/account", body).await;
        assert_eq!(answer.refusal(), (400, "invalid_request".to_owned(), 1003), "{bad}: {}", answer.text);
    }
    for bad in [json!(true), json!(["x"]), json!({"x": 1})] {
        let answer = world.call(&token, "/user/modify", json!({"callback_uri": bad})).await;
        assert_eq!(answer.json()["error_description"], "Parameter 'callback_uri' expected string");
    }
    let absent = world.call(&token, "/account", json!({"account_id": null})).await;
    assert_eq!(absent.json()["error_description"], "account_id parameter is required");
    let deep = format!(r#"{{"rbits": {}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let request = world.client.post(world.url("/user/modify")).header("authorization", format!("Bearer {token}"));
    assert_eq!(world.send(request.body(deep)).await.refusal(), (400, "invalid_request".to_owned(), 1005));
}
