//! Tests of the provider layer against a listener on loopback that answers scripted bytes.

mod accounts;
mod answers;
mod authorize;
mod catalogue;
mod log;
mod registration;
mod stub;
mod transport;

use std::time::Duration;

use url::Url;

use super::*;
use crate::domain::account::ProviderAccount;
use crate::domain::ambient::Timestamp;
use crate::domain::name::Email;
use crate::domain::secret::AuthorizationCode;
use stub::{Script, Stub};

/// What must never be printed, as the provider issues them.
const SECRET: &str = "5ec7e7ca9a";
const CODE: &str = "c0de0123456789abcdef0123456789abcdef0123456789abcd";
const TOKEN: &str = "STAGE_ca9a0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab";
const REDIRECT: &str = "https://pay.example/connect/app_1/callback";

fn timing(deadline: Duration) -> Timing {
    Timing { mint_deadline: deadline, probe_deadline: deadline, ..Timing::default() }
}

fn credentials() -> Credentials {
    Credentials { client_id: "190166".to_owned(), client_secret: ClientSecret::new(SECRET.to_owned()) }
}

fn client_at(address: &str, timing: &Timing) -> Client {
    let base = Url::parse(&format!("http://{address}/v2")).unwrap();
    Client::new(Endpoints::overridden(base.clone(), base).unwrap(), credentials(), timing).unwrap()
}

/// A stub and a client that talks to it, with a deadline that no healthy call reaches.
async fn stage(script: Script) -> (Stub, Client) {
    let stub = Stub::start(script).await;
    let client = client_at(stub.address(), &timing(Duration::from_secs(30)));
    (stub, client)
}

/// Leave for one call.
fn call(client: &Client) -> OneCall {
    client.by(Permit::by_hand(), About::default())
}

async fn exchange(client: &Client) -> Result<IssuedToken, CallError> {
    let code = AuthorizationCode::new(CODE.to_owned());
    let redirect = Url::parse(REDIRECT).unwrap();
    tokio::time::timeout(Duration::from_secs(60), call(client).exchange_code(&code, &redirect, None)).await.unwrap()
}

async fn probe(client: &Client) -> Result<User, CallError> {
    let token = AccessToken::new(TOKEN.to_owned());
    tokio::time::timeout(Duration::from_secs(60), call(client).user(&token)).await.unwrap()
}

fn token_answer() -> String {
    format!(r#"{{"user_id":123456,"access_token":"{TOKEN}","token_type":"BEARER","expires_in":7776000}}"#)
}

/// Head and body of a request.
fn parts(request: &str) -> (String, serde_json::Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}
