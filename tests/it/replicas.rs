//! Several `serve` processes on one PostgreSQL: each sees what another did, and goes on when another ends, dies or stands still.

use strongroom::domain::ambient::{Clock as _, SystemClock};
use strongroom::v1::StartAuthorizationRequest;
use strongroom::v1::get_merchant_request::Merchant as Key;
use strongroom::v1::{GetMerchantRequest, Merchant};

use crate::support::app::{LOOK_EVERY, LOOKS_MAX};
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

/// What a process says that leads from its start on.
const LEADS: &str = "\"leads\":true";

/// The first of these replicas that says this in its log, beyond what it said before.
async fn first_to_say(replicas: &Replicas, among: &[usize], what: &str) -> usize {
    let said = |at: usize| replicas.all()[at].log().matches(what).count();
    let before: Vec<usize> = among.iter().map(|at| said(*at)).collect();
    for _ in 0..LOOKS_MAX {
        if let Some((at, _)) = among.iter().zip(&before).find(|(at, before)| said(**at) > **before) {
            return *at;
        }
        SystemClock.sleep(LOOK_EVERY).await;
    }
    unreachable!("nobody said {what:?}");
}

#[tokio::test]
async fn one_leads_after_another_and_who_stood_still_comes_back_as_another_run() {
    if !Engine::Postgres.is_for_this_run(SEVERAL) {
        return;
    }
    let setting = Setting { time_scale: 10, ..Setting::default() };
    let mut replicas = Replicas::start(3, setting).await.unwrap();
    replicas.at(0).logged(LEADS, 1).await;
    assert_eq!(replicas.all().iter().map(|one| one.log().matches(LEADS).count()).sum::<usize>(), 1);

    // The leader dies: another takes over, takes it for dead, and closes the trail that it left.
    replicas.at(0).kill();
    let leader = first_to_say(&replicas, &[1, 2], "this process leads").await;
    let other = 3 - leader;
    replicas.at(leader).logged("not seen for a lease, taken for dead", 1).await;
    replicas.at(leader).logged("closed a trail of a process that died", 1).await;

    // The next one only stands still, and is taken for dead as well.
    replicas.at(leader).pause();
    assert_eq!(first_to_say(&replicas, &[other], "this process leads").await, other);
    replicas.at(other).logged("not seen for a lease, taken for dead", 1).await;
    replicas.at(other).logged("closed a trail of a process that died", 1).await;
    replicas.at(leader).resume();
    replicas.at(leader).logged("going on as another run", 1).await;
    begin(replicas.at(leader), "shop-1").await;
    for at in [other, leader] {
        assert_eq!(seen(replicas.at(at), "shop-1").await.external_id, "shop-1", "{at}");
    }
    replicas.at(leader).logged("opened another", 1).await;
    let verified = replicas.at(leader).call("auditor", &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    for at in [leader, other] {
        replicas.at(at).terminate().await;
    }
}
