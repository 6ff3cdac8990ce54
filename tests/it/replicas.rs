//! Several `serve` processes on one PostgreSQL: each sees what another did, and goes on when another ends, dies or stands still.

use strongroom::v1::StartAuthorizationRequest;
use strongroom::v1::get_merchant_request::Merchant as Key;
use strongroom::v1::{GetMerchantRequest, Merchant};

use crate::support::database::Engine;
use crate::support::installation::Setting;
use crate::support::replica::Replica;
use crate::support::replicas::Replicas;

/// Why nothing here is for SQLite.
const SEVERAL: &str = "its database belongs to one process";

/// Makes a merchant at this replica.
async fn begin(replica: &Replica, external_id: &str) {
    let request = StartAuthorizationRequest {
        request_id: format!("begin-{external_id}"),
        external_id: external_id.to_owned(),
        display_name: "Corner Shop".to_owned(),
        return_url: "https://platform.test/connected".to_owned(),
        ..Default::default()
    };
    replica.caller("onboarding").onboarding().start_authorization(request).await.unwrap();
}

/// The merchant as this replica shows it.
async fn seen(replica: &Replica, external_id: &str) -> Merchant {
    let request = GetMerchantRequest { merchant: Some(Key::ExternalId(external_id.to_owned())) };
    let answer = replica.caller("onboarding").onboarding().get_merchant(request).await;
    answer.unwrap().into_inner().merchant.unwrap()
}

#[tokio::test]
async fn replicas_share_one_state_and_outlive_each_other() {
    if !Engine::Postgres.is_for_this_run(SEVERAL) {
        return;
    }
    let mut replicas = Replicas::start(3, Setting::default()).await.unwrap();
    begin(replicas.at(0), "shop-1").await;
    for replica in replicas.all() {
        assert_eq!(seen(replica, "shop-1").await.external_id, "shop-1", "{}", replica.name());
    }
    // One ends in order, one dies, and one stands still with all that it holds: the third goes on.
    replicas.at(0).terminate().await;
    begin(replicas.at(1), "shop-2").await;
    replicas.at(1).kill();
    replicas.at(0).started().await;
    replicas.at(0).pause();
    begin(replicas.at(2), "shop-3").await;
    replicas.at(0).resume();
    replicas.at(1).started().await;
    for replica in replicas.all() {
        assert_eq!(seen(replica, "shop-3").await.external_id, "shop-3", "{}", replica.name());
    }
    let verified = replicas.at(2).call("auditor", &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    for at in 0..3 {
        replicas.at(at).terminate().await;
    }
}
