//! After a restart: that everything acknowledged is there, and that every merchant can go on.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use strongroom::cli::verify::Verification;
use strongroom::v1::list_token_versions_request::Merchant as VersionsKey;
use strongroom::v1::{
    AttemptState, ExportTrailRequest, LinkDecision, LinkState, ListTokenVersionsRequest, Liveness, Merchant,
    ResolveHeldLinkRequest, TokenVersion,
};
use tonic_types::StatusExt as _;

use super::shop::{Shop, Standing};
use crate::support::dev::{Dev, until};

/// Past the quiescence of an attempt in doubt, 630 s after its callback.
const PAST_QUIESCENCE_S: u64 = 700;
/// How far the clock is moved between two looks at something that waits on it.
const STEP_S: u64 = 6;
/// How many digits of a token's SHA-256 the sandbox shows.
const SHA256_DIGITS: usize = 16;

/// The reason of a refusal.
pub(super) fn reason(refused: &tonic::Status) -> String {
    refused.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Whether the provider accepts this token.
pub(super) async fn is_live(dev: &Dev, token: &str) -> bool {
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    let shown = digest.get(..SHA256_DIGITS).unwrap();
    let state = dev.ask("/state").await;
    let users = state.get("users").and_then(Value::as_array).unwrap();
    let tokens = users.iter().filter_map(|user| user.get("tokens").and_then(Value::as_array)).flatten();
    let of_ours = |token: &&Value| token.get("token_sha256").and_then(Value::as_str) == Some(shown);
    let found: Vec<&Value> = tokens.filter(of_ours).collect();
    assert_eq!(found.len(), 1, "the provider has not exactly one such token");
    found.first().and_then(|token| token.get("live")).and_then(Value::as_bool).unwrap()
}

/// Everything acknowledged about this merchant is there, and nothing is claimed that is not so.
pub(super) async fn check(dev: &Dev, shop: &Shop) {
    if shop.merchant_id.is_empty() {
        return;
    }
    let name = &shop.external_id;
    let merchant = shop.merchant(dev).await;
    assert_eq!(&merchant.external_id, name);
    if !shop.link_id.is_empty() {
        let links = &merchant.links;
        let link = links.iter().find(|link| link.link_id == shop.link_id);
        assert_eq!(link.map(|link| link.state()), Some(LinkState::Active), "{name}: the confirmed link");
    }
    let versions = versions(dev, shop).await;
    for held in &shop.held {
        assert!(
            versions.iter().any(|version| version.r#ref.as_ref() == Some(&held.version)),
            "{name}: {:?}",
            held.version
        );
    }
    let most = shop.held.len() + usize::from(shop.unsettled);
    assert!(versions.len() <= most, "{name}: {} versions, {} read", versions.len(), shop.held.len());
    let read = shop.read(dev).await;
    if shop.unsettled {
        return check_unsettled(dev, shop, &merchant, read.ok()).await;
    }
    assert!(merchant.open_attempt.is_none(), "{name}: {:?}", merchant.open_attempt);
    match shop.standing {
        Standing::Live => {
            let read = read.unwrap();
            assert!(read.access_token == shop.newest().token, "{name}: another token");
            assert_eq!((read.version.as_ref(), read.liveness()), (Some(&shop.newest().version), Liveness::Live));
            assert!(is_live(dev, &read.access_token).await, "{name}: LIVE is not live");
        }
        Standing::Dead | Standing::Slandered => assert_eq!(reason(&read.unwrap_err()), "TOKEN_DEAD", "{name}"),
        // A report may have been taken, in part or whole, without an answer.
        Standing::Revoked => assert!(
            read.map_or_else(
                |error| reason(&error) == "TOKEN_DEAD",
                |read| { read.access_token == shop.newest().token }
            ),
            "{name}"
        ),
        Standing::Unconnected => assert_eq!(reason(&read.unwrap_err()), "NOT_CONNECTED", "{name}"),
    }
}

/// What was under way is open and in doubt, or it is settled; and no head is called live that may be dead (M4).
async fn check_unsettled(
    dev: &Dev,
    shop: &Shop,
    merchant: &Merchant,
    read: Option<strongroom::v1::GetAccessTokenResponse>,
) {
    let name = &shop.external_id;
    if let Some(open) = &merchant.open_attempt {
        assert_eq!(open.state(), AttemptState::InDoubt, "{name}: an attempt found open");
        let (since, judge) = (open.since_time.unwrap(), open.judge_time.unwrap());
        assert!(judge.seconds > since.seconds, "{name}: judged before it was in doubt");
    }
    let Some(read) = read else { return };
    if read.liveness() == Liveness::Live && shop.standing != Standing::Revoked {
        assert!(merchant.open_attempt.is_none(), "{name}: LIVE while an attempt is in doubt");
        assert!(is_live(dev, &read.access_token).await, "{name}: LIVE is not live");
    }
}

async fn versions(dev: &Dev, shop: &Shop) -> Vec<TokenVersion> {
    let key = Some(VersionsKey::MerchantId(shop.merchant_id.clone()));
    let request = ListTokenVersionsRequest { merchant: key, ..ListTokenVersionsRequest::default() };
    dev.tokens().list_token_versions(request).await.unwrap().into_inner().versions
}

/// Moves the clock past quiescence and waits until the open attempt is judged.
pub(super) async fn settle(dev: &Dev, shop: &Shop) {
    dev.advance(PAST_QUIESCENCE_S).await;
    until("the attempt in doubt to be judged", async || {
        dev.advance(STEP_S).await;
        shop.merchant(dev).await.open_attempt.is_none().then_some(())
    })
    .await;
}

/// Whatever the kill left of this merchant, in the end it has a token that works.
pub(super) async fn bring_home(dev: &Dev, shop: &mut Shop) {
    if !shop.merchant_id.is_empty() {
        let merchant = shop.merchant(dev).await;
        if merchant.open_attempt.is_some() {
            settle(dev, shop).await;
        }
        activate(dev, shop).await;
        let read = shop.read(dev).await.ok().filter(|_| shop.standing == Standing::Revoked);
        if let Some(read) = read
            && !is_live(dev, &read.access_token).await
        {
            shop.report(dev, Standing::Dead).await;
        }
        match shop.read(dev).await {
            Ok(read) if shop.held.last().is_some_and(|held| Some(&held.version) == read.version.as_ref()) => {
                assert!(read.access_token == shop.newest().token, "another token of the same version");
                (shop.standing, shop.unsettled) = (Standing::Live, false);
            }
            Ok(read) => shop.keep(read),
            Err(refused) => {
                let known = ["NOT_CONNECTED", "TOKEN_DEAD"];
                assert!(known.contains(&reason(&refused).as_str()), "{}: {refused}", shop.external_id);
            }
        }
    }
    if shop.standing != Standing::Live {
        shop.connect(dev).await;
    }
    assert!(is_live(dev, &shop.newest().token).await, "{}: the token does not work", shop.external_id);
}

/// A link whose confirmation the kill prevented or swallowed.
async fn activate(dev: &Dev, shop: &mut Shop) {
    let merchant = shop.merchant(dev).await;
    for link in merchant.links {
        if link.state() == LinkState::Held {
            let request = ResolveHeldLinkRequest {
                request_id: format!("resolve-{}", link.link_id),
                link_id: link.link_id.clone(),
                decision: LinkDecision::Activate.into(),
                reason: "the confirmation was cut off".to_owned(),
            };
            let resolved = dev.admin().resolve_held_link(request).await.unwrap().into_inner().link.unwrap();
            assert_eq!(resolved.state(), LinkState::Active);
        }
        if link.state() != LinkState::Closed {
            shop.link_id = link.link_id;
        }
    }
}

/// The trails verify at the client: nothing altered, nothing missing. Says how many records there are.
pub(super) async fn verify(dev: &Dev) -> u64 {
    let mut pieces = dev.audit().export_trail(ExportTrailRequest {}).await.unwrap().into_inner();
    let mut verification = Verification::new(None);
    while let Some(piece) = pieces.message().await.unwrap() {
        verification.push(piece);
    }
    let verdict = verification.finish();
    assert!(verdict.has_integrity(), "{:?}", verdict.integrity);
    assert!(verdict.is_complete(), "{:?}", verdict.completeness);
    verdict.records()
}
