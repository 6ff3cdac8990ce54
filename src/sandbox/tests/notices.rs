//! Notices: what causes them, what is on the wire, when they come again, and what a test can do to them.

mod causes;
mod failures;
mod orders;
mod restarts;

use serde_json::{Value, json};

use super::support::{World, until};

impl World {
    /// A person whom the app registered, with a `callback_uri`; the user and the token.
    async fn register_with(&self, email: &str, callback_uri: &str) -> (u64, String) {
        let mut body = self.register_body(email);
        body["callback_uri"] = json!(callback_uri);
        let issued = self.send(self.post("/user/register", &body)).await.json();
        (issued["user_id"].as_u64().unwrap(), issued["access_token"].as_str().unwrap().to_owned())
    }

    /// An account with a `callback_uri`.
    async fn account_with(&self, token: &str, callback_uri: &str) -> u64 {
        let body = json!({"name": "Ada's Shop", "description": "Bread", "callback_uri": callback_uri});
        self.ok(token, "/account/create", body).await["account_id"].as_u64().unwrap()
    }

    /// Somebody's account with a `callback_uri`.
    async fn some_account(&self, callback_uri: &str) -> u64 {
        let (_, token) = self.register("ada@shop.example").await;
        self.account_with(&token, callback_uri).await
    }

    async fn force_state(&self, account_id: u64, state: &str) {
        self.control("POST", &format!("/accounts/{account_id}/state"), json!({"state": state})).await;
    }

    /// Queues a notice about an account; its id.
    async fn fire(&self, account_id: u64) -> u64 {
        let queued = self.control("POST", "/notices", json!({"account_id": account_id})).await;
        queued["notices"].as_array().unwrap().last().unwrap()["notice_id"].as_u64().unwrap()
    }

    async fn notices(&self, filter: &str) -> Vec<Value> {
        let answer = self.control("GET", &format!("/notices{filter}"), Value::Null).await;
        answer["notices"].as_array().unwrap().clone()
    }

    async fn notice(&self, notice_id: u64) -> Value {
        self.control("GET", &format!("/notices/{notice_id}"), Value::Null).await
    }

    /// Waits until a notice was tried so often, and shows it.
    async fn tried(&self, notice_id: u64, times: usize) -> Value {
        let tries = async || self.notice(notice_id).await["tries"].as_array().unwrap().len();
        until("the tries were made", async || tries().await >= times).await;
        let notice = self.notice(notice_id).await;
        assert_eq!(notice["tries"].as_array().unwrap().len(), times, "{notice}");
        notice
    }

    async fn set(&self, settings: Value) {
        self.control("POST", "/settings", settings).await;
    }

    /// What a refused control call answers.
    async fn refused(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        let url = format!("{}{path}", self.sandbox.endpoints().control);
        let answer = self.send(self.client.request(method.parse().unwrap(), url).body(body.to_string())).await;
        (answer.status, answer.json()["error"].as_str().unwrap().to_owned())
    }
}
