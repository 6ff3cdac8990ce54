//! Conformance of the rows that decisions stand on: claims, attempts, versions, links. Written once, run on every engine.

use std::sync::Arc;

use super::*;
use crate::domain::ambient::{Timestamp, random};
use crate::domain::attempt::{AttemptState, TRANSITIONS};
use crate::domain::id::{AttemptId, ConnectionId, FlowId, InvitationId, TokenVersion};
use crate::domain::merchant::{LinkState, Merchant, Role};
use crate::domain::name::{CallerId, ExternalId, Label, RequestId, Subject};
use crate::domain::secret::SealedBytes;
use crate::domain::token::{IssuedKind, Liveness};
use crate::domain::trail::Act;

/// Instantiates every case on every engine.
macro_rules! store_suite {
    ($bench:ty, $($case:ident,)*) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(<$bench>::sqlite().await).await;
            })*
        }

        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(bench) = <$bench>::postgres().await {
                    super::$case(bench).await;
                }
            })*
        }
    };
}
pub(super) use store_suite;

store_suite! {
    super::Bench,
    of_many_claims_for_one_merchant_one_wins,
    a_code_is_claimed_once_and_a_state_is_consumed_once,
    nothing_is_armed_when_what_the_gate_saw_has_changed,
    only_the_steps_of_the_table_are_taken_and_only_from_where_the_attempt_stands,
    versions_have_no_gaps_and_the_newest_is_the_head,
    a_token_is_stored_for_an_armed_attempt_or_not_at_all,
    a_consent_holds_a_new_link_and_keeps_an_active_one,
    activating_a_link_closes_the_one_beside_it,
    a_request_is_remembered_with_its_content,
    what_is_known_of_a_version_is_recorded_and_nothing_else_changes,
    nothing_is_recorded_of_a_version_that_was_superseded,
    a_control_for_probes_is_another_live_head,
    a_head_is_found_by_every_name_of_its_owner,
    every_change_leaves_exactly_its_events,
}

/// A stamped store and what is needed to get it into a state.
pub(super) struct Bench {
    pub(super) store: Arc<Store>,
    pub(super) app: AppId,
    pub(super) ground: Ground,
}

/// A merchant with an invitation.
#[derive(Clone)]
pub(super) struct Shop {
    pub(super) merchant: Merchant,
    pub(super) invitation: Invitation,
}

pub(super) fn fresh<const N: usize>() -> [u8; N] {
    random(&SystemEntropy)
}

pub(super) fn request(id: &str, content: u8) -> Request {
    let caller = CallerId::parse("spiffe://dev.strongroom/service/onboarding").unwrap();
    Request { caller, id: RequestId::parse(id).unwrap(), method: "Test", content_hash: [content; 32] }
}

/// The order that makes a merchant.
pub(super) fn order(app: AppId, external_id: &str, request_id: &str) -> AuthorizationOrder {
    let now = SystemClock.now();
    let merchant = Merchant {
        id: MerchantId::generate(&SystemClock, &SystemEntropy),
        external_id: ExternalId::parse(external_id).unwrap(),
        labels: Label::parse_all(&["region:eu"]).unwrap(),
        created_at: now,
    };
    let invitation = Invitation {
        id: InvitationId::generate(&SystemClock, &SystemEntropy),
        app,
        merchant: merchant.id,
        return_url: "https://platform.test/".to_owned(),
        requested_by: "spiffe://dev.strongroom/service/onboarding".to_owned(),
        leave: None,
        created_at: now,
        expires_at: now.plus(Duration::from_secs(60)),
    };
    let request = request(request_id, 1);
    AuthorizationOrder { merchant, merchant_is_new: true, private: None, invitation, request }
}

impl Bench {
    pub(super) async fn sqlite() -> Self {
        Self::on(Ground::file()).await
    }

    pub(super) async fn postgres() -> Option<Self> {
        Some(Self::on(Ground::schema().await?).await)
    }

    async fn on(ground: Ground) -> Self {
        let store = try_open(&ground, [1; 16]).await.unwrap();
        let app = store.stamp("wepay", Environment::Stage, "4711").await.unwrap().id;
        store.begin_run("test").await.unwrap();
        Self { store: Arc::new(store), app, ground }
    }

    pub(super) fn order(&self, external_id: &str, request_id: &str) -> AuthorizationOrder {
        order(self.app, external_id, request_id)
    }

    pub(super) async fn shop(&self, external_id: &str) -> Shop {
        let order = self.order(external_id, &format!("order-of-{external_id}"));
        self.store.start_authorization(&order, &Act::system()).await.unwrap();
        Shop { merchant: order.merchant, invitation: order.invitation }
    }

    pub(super) async fn flow(&self, shop: &Shop) -> Flow {
        let now = SystemClock.now();
        let flow = Flow {
            id: FlowId::generate(&SystemClock, &SystemEntropy),
            app: self.app,
            invitation: shop.invitation.id,
            state_hash: fresh(),
            browser_hash: fresh(),
            state: FlowState::Pending,
            outcome: None,
            attempt: None,
            link: None,
            started_at: now,
            expires_at: now.plus(Duration::from_secs(60)),
        };
        self.store.start_flow(&flow, shop.merchant.id, &Act::system()).await.unwrap();
        flow
    }

    async fn claim(&self, flow: &Flow, shop: &Shop, code: [u8; 32]) -> (AttemptId, Claim) {
        let id = AttemptId::generate(&SystemClock, &SystemEntropy);
        let merchant = shop.merchant.id;
        let claim = self.store.claim_exchange(flow, merchant, None, id, &code, &Act::system()).await.unwrap();
        (id, claim)
    }

    pub(super) async fn received(&self, shop: &Shop) -> Attempt {
        let flow = self.flow(shop).await;
        let (id, claim) = self.claim(&flow, shop, fresh()).await;
        assert_eq!(claim, Claim::Claimed);
        self.attempt(id).await
    }

    pub(super) async fn attempt(&self, id: AttemptId) -> Attempt {
        self.store.attempt(id).await.unwrap().unwrap()
    }

    pub(super) async fn armed(&self, shop: &Shop) -> Attempt {
        let attempt = self.received(shop).await;
        let seen = self.store.seen_heads(shop.merchant.id).await.unwrap();
        assert!(self.store.arm(&attempt, &seen, None, &Act::system()).await.unwrap());
        self.attempt(attempt.id).await
    }

    pub(super) fn token(&self, attempt: Attempt, subject: &str) -> NewToken {
        NewToken {
            attempt,
            subject: Subject::parse(subject).unwrap(),
            sealed: SealedBytes { epoch: 3, salt: fresh(), ciphertext: fresh::<48>().to_vec() },
            fingerprint: fresh(),
            issued_kind: IssuedKind::Permanent,
            expires_at: None,
            role: Role::Merchant,
            email_index: None,
            earlier: EarlierTokens::Revoked,
        }
    }

    pub(super) async fn connect(&self, shop: &Shop, subject: &str) -> StoredToken {
        let new = self.token(self.armed(shop).await, subject);
        self.store.commit_token(&new, &Act::system()).await.unwrap()
    }

    pub(super) async fn activate(&self, stored: &StoredToken) {
        let link = stored.link.as_ref().unwrap();
        self.store.resolve_link(link, Resolution::Activate, None, &Act::system(), "test").await.unwrap();
    }

    pub(super) async fn settle(&self, attempt: &Attempt, to: AttemptState) -> Result<(), Error> {
        self.store.settle(attempt, to, "test", None, None, &Act::system()).await
    }

    pub(super) async fn events(&self) -> Vec<Event> {
        verified(&self.store, self.store.change_trail()).await
    }

    /// The kinds of the events that came after so many.
    async fn kinds_after(&self, known: usize) -> Vec<EventKind> {
        kinds(&self.events().await[known..])
    }
}

async fn of_many_claims_for_one_merchant_one_wins(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let mut flows = Vec::new();
    for _ in 0..64 {
        flows.push(bench.flow(&shop).await);
    }
    let known = bench.events().await.len();
    let claims = flows.iter().map(|flow| {
        let (store, flow, merchant) = (Arc::clone(&bench.store), flow.clone(), shop.merchant.id);
        tokio::spawn(async move {
            let id = AttemptId::generate(&SystemClock, &SystemEntropy);
            store.claim_exchange(&flow, merchant, None, id, &fresh(), &Act::system()).await.unwrap()
        })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        match claim.await.unwrap() {
            Claim::Claimed => won += 1,
            Claim::Busy => {}
            Claim::AlreadyConsumed => panic!("every flow has a state of its own"),
        }
    }
    assert_eq!(won, 1);
    let mut outcomes = Vec::new();
    for flow in &flows {
        outcomes.push(bench.store.flow(flow.id).await.unwrap().unwrap().outcome);
    }
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Some(FlowOutcome::Busy)).count(), 63);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_none()).count(), 1);
    assert_eq!(bench.store.open_attempts().await.unwrap().len(), 1);
    let told = bench.kinds_after(known).await;
    let count = |kind| told.iter().filter(|one| **one == kind).count();
    assert_eq!((count(EventKind::FlowConsumed), count(EventKind::FlowEnded)), (64, 63));
    assert_eq!((count(EventKind::AttemptReceived), told.len()), (1, 128));
}

async fn a_code_is_claimed_once_and_a_state_is_consumed_once(bench: Bench) {
    let (first, second) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let flow = bench.flow(&first).await;
    let (id, claim) = bench.claim(&flow, &first, [9; 32]).await;
    assert_eq!(claim, Claim::Claimed);
    bench.settle(&bench.attempt(id).await, AttemptState::NotSent).await.unwrap();
    // Also when the first attempt is over, and whoever brings it.
    for shop in [&first, &second] {
        let again = bench.flow(shop).await;
        assert_eq!(bench.claim(&again, shop, [9; 32]).await.1, Claim::Busy);
    }
    let known = bench.events().await.len();
    assert_eq!(bench.claim(&flow, &first, fresh()).await.1, Claim::AlreadyConsumed);
    let ended = bench.store.end_without_code(&flow, first.merchant.id, FlowOutcome::Denied, &Act::system()).await;
    assert!(!ended.unwrap());
    assert_eq!(bench.events().await.len(), known);
    assert_eq!(bench.store.open_attempts().await.unwrap(), []);
}

async fn nothing_is_armed_when_what_the_gate_saw_has_changed(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let stored = bench.connect(&shop, "100").await;
    let merchant = shop.merchant.id;
    let attempt = bench.received(&shop).await;
    let arm = async |seen: &[SeenHead]| {
        let known = bench.events().await.len();
        let armed = bench.store.arm(&attempt, seen, None, &Act::system()).await.unwrap();
        assert_eq!(bench.events().await.len(), known + usize::from(armed), "refused without a trace");
        armed
    };
    let before = bench.store.seen_heads(merchant).await.unwrap();
    assert!(!arm(&[]).await, "a link that the gate did not see");

    bench.activate(&stored).await;
    let activated = bench.store.seen_heads(merchant).await.unwrap();
    assert!(!arm(&before).await, "the link changed");

    bench.connect(&other, "100").await;
    assert!(!arm(&activated).await, "another merchant's consent moved the head");

    let now = bench.store.seen_heads(merchant).await.unwrap();
    assert_eq!((now[0].head_version, bench.attempt(attempt.id).await.state), (2, AttemptState::Received));
    assert!(arm(&now).await);
    let twice = bench.store.arm(&bench.attempt(attempt.id).await, &now, None, &Act::system()).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
    let twice = bench.store.arm(&attempt, &now, None, &Act::system()).await;
    assert!(matches!(twice, Err(Error::Conflict(_))), "{twice:?}");
}

async fn only_the_steps_of_the_table_are_taken_and_only_from_where_the_attempt_stands(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let attempt = bench.received(&shop).await;
    let known = bench.events().await.len();
    for from in AttemptState::ALL {
        for to in AttemptState::ALL {
            let believed = Attempt { state: from, ..attempt.clone() };
            // Not in the table, or in the table and not where the attempt stands.
            if from != AttemptState::Received || !TRANSITIONS.contains(&(from, to)) {
                let refused = bench.settle(&believed, to).await;
                assert!(matches!(refused, Err(Error::Conflict(_))), "{from:?} to {to:?}: {refused:?}");
            }
        }
    }
    assert_eq!((bench.attempt(attempt.id).await, bench.events().await.len()), (attempt.clone(), known));

    bench.settle(&attempt, AttemptState::Refused).await.unwrap();
    let settled = bench.attempt(attempt.id).await;
    assert_eq!((settled.state, settled.reason.as_deref()), (AttemptState::Refused, Some("test")));
    assert_eq!(bench.store.open_attempt_of(shop.merchant.id).await.unwrap(), None);
    // In doubt it stands in the way, with the time it can be judged.
    let armed = bench.armed(&shop).await;
    let judge_at = Some(Timestamp::from_unix_seconds(2_000_000_000));
    let doubt = AttemptState::InDoubt;
    bench.store.settle(&armed, doubt, "lost", judge_at, None, &Act::system()).await.unwrap();
    let open = bench.store.open_attempt_of(shop.merchant.id).await.unwrap().unwrap();
    assert_eq!((open.state, open.judge_at, open.armed_at), (doubt, judge_at, armed.armed_at));
    let flow = bench.flow(&shop).await;
    assert_eq!(bench.claim(&flow, &shop, fresh()).await.1, Claim::Busy);
    bench.settle(&open, AttemptState::Lost).await.unwrap();
    assert_eq!(bench.store.open_attempts().await.unwrap(), []);
}

/// A probe without the user it named.
pub(super) fn probed(liveness: Liveness, at: Timestamp) -> Observed<'static> {
    Observed { liveness, evidence: "probe", at, user: None }
}

async fn versions_have_no_gaps_and_the_newest_is_the_head(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let mut sealed = Vec::new();
    for expected in 1..=4_u32 {
        let mut new = bench.token(bench.armed(&shop).await, "100");
        if expected == 4 {
            new.earlier = EarlierTokens::Kept;
        }
        let stored = bench.store.commit_token(&new, &Act::system()).await.unwrap();
        assert_eq!(stored.version, TokenVersion(expected));
        sealed.push((stored.connection.id, new));
    }
    let connection = sealed[0].0;
    let versions = bench.store.versions(connection).await.unwrap();
    assert_eq!(versions.iter().map(|version| version.number.0).collect::<Vec<_>>(), [4, 3, 2, 1]);
    // The last mint is of a provider that revokes nothing.
    let told: Vec<_> = versions.iter().map(|one| (one.liveness, one.evidence.as_str())).collect();
    let dead = (Liveness::Dead, "superseded");
    assert_eq!(told, [(Liveness::Live, "issued"), (Liveness::Live, "issued"), dead, dead]);
    assert_eq!(bench.store.head(connection).await.unwrap().unwrap(), versions[0]);
    for (version, (_, new)) in versions.iter().rev().zip(&sealed) {
        assert_eq!(bench.store.sealed(connection, version.number).await.unwrap(), new.sealed);
        assert_eq!((version.attempt, version.fingerprint), (new.attempt.id, new.fingerprint));
    }
    let keys = bench.store.version_keys_after(Some((connection, TokenVersion(2))), 10).await.unwrap();
    assert_eq!(keys, [(connection, TokenVersion(3)), (connection, TokenVersion(4))]);
}

async fn a_token_is_stored_for_an_armed_attempt_or_not_at_all(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let received = bench.received(&shop).await;
    let known = bench.events().await.len();
    let pretended = Attempt { state: AttemptState::Armed, ..received.clone() };
    for attempt in [received, pretended] {
        let refused = bench.store.commit_token(&bench.token(attempt, "100"), &Act::system()).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    let subject = Subject::parse("100").unwrap();
    assert_eq!(bench.store.connection_of(bench.app, &subject).await.unwrap(), None);
    assert_eq!(bench.store.version_keys_after(None, 10).await.unwrap(), []);
    assert_eq!(bench.events().await.len(), known);
}

async fn a_consent_holds_a_new_link_and_keeps_an_active_one(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let first = bench.connect(&shop, "100").await;
    let link = first.link.clone().unwrap();
    assert_eq!((link.state, first.email_may_confirm), (LinkState::Held, true));
    // Held still: the same link, now for the newest flow.
    let again = bench.connect(&shop, "100").await.link.unwrap();
    assert_eq!((again.id, again.state, again.row_version), (link.id, LinkState::Held, 2));
    assert_ne!(again.flow, link.flow);
    assert_eq!(bench.store.link(link.id).await.unwrap().unwrap(), again);
    bench.activate(&first).await;
    let active = bench.store.link(link.id).await.unwrap().unwrap();
    assert_eq!(bench.connect(&shop, "100").await.link.unwrap(), active, "left as it is");
    // Another user: held beside, and no e-mail address may confirm it.
    let beside = bench.connect(&shop, "200").await;
    assert_eq!((beside.link.unwrap().state, beside.email_may_confirm), (LinkState::Held, false));
    assert_eq!(bench.store.link(link.id).await.unwrap().unwrap(), active);
    // Another merchant's user: held, and no e-mail address may confirm it.
    let shared = bench.connect(&other, "100").await;
    assert_eq!((shared.link.unwrap().state, shared.email_may_confirm), (LinkState::Held, false));
    assert_eq!(bench.store.open_links_of(first.connection.id).await.unwrap().len(), 2);
    assert_eq!(bench.store.link_ids_after(None, 10).await.unwrap().len(), 3);
}

async fn activating_a_link_closes_the_one_beside_it(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let old = bench.connect(&shop, "100").await;
    bench.activate(&old).await;
    let new = bench.connect(&shop, "200").await;
    let known = bench.events().await.len();
    bench.activate(&new).await;
    assert_eq!(bench.kinds_after(known).await, [EventKind::LinkChanged; 2]);
    let links = bench.store.links(shop.merchant.id).await.unwrap();
    let states: Vec<_> = links.iter().map(|link| (link.connection, link.state)).collect();
    assert_eq!(states, [(new.connection.id, LinkState::Active), (old.connection.id, LinkState::Closed)]);
    for stored in [&old, &new] {
        let link = stored.link.as_ref().unwrap();
        for decision in [Resolution::Activate, Resolution::Close] {
            let refused = bench.store.resolve_link(link, decision, None, &Act::system(), "test").await;
            assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        }
    }
    assert_eq!(bench.events().await.len(), known + 2);
}

async fn a_request_is_remembered_with_its_content(bench: Bench) {
    let order = bench.order("shop-1", "request-1");
    assert_eq!(bench.store.earlier(&order.request).await.unwrap(), Earlier::None);
    bench.store.start_authorization(&order, &Act::system()).await.unwrap();
    assert_eq!(bench.store.earlier(&order.request).await.unwrap(), Earlier::Same(*order.invitation.id.as_bytes()));
    assert_eq!(bench.store.earlier(&request("request-1", 2)).await.unwrap(), Earlier::Other);
    let of_other_method = Request { method: "Other", ..order.request.clone() };
    assert_eq!(bench.store.earlier(&of_other_method).await.unwrap(), Earlier::Other);
    let caller = CallerId::parse("spiffe://dev.strongroom/service/other").unwrap();
    let of_other_caller = Request { caller, ..order.request.clone() };
    assert_eq!(bench.store.earlier(&of_other_caller).await.unwrap(), Earlier::None);
    // The same id again, or the same merchant: a conflict, and nothing of it stands.
    let known = bench.events().await.len();
    for twin in [bench.order("shop-2", "request-1"), bench.order("shop-1", "request-2")] {
        let refused = bench.store.start_authorization(&twin, &Act::system()).await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
        assert_eq!(bench.store.invitation(twin.invitation.id).await.unwrap(), None);
        assert_eq!(bench.store.merchant(&MerchantKey::Id(twin.merchant.id)).await.unwrap(), None);
    }
    assert_eq!(bench.events().await.len(), known);
}

async fn what_is_known_of_a_version_is_recorded_and_nothing_else_changes(bench: Bench) {
    let stored = bench.connect(&bench.shop("shop-1").await, "100").await;
    let connection = stored.connection.id;
    let before = bench.store.head(connection).await.unwrap().unwrap();
    for liveness in Liveness::ALL {
        let known = bench.events().await.len();
        let act = Act::system();
        let after = bench
            .store
            .record_liveness(connection, TokenVersion(1), probed(liveness, bench.store.clock.now()), &act)
            .await
            .unwrap();
        assert_eq!((after.liveness, after.evidence.as_str()), (liveness, "probe"));
        assert_eq!(bench.store.head(connection).await.unwrap().unwrap(), after);
        let unchanged = crate::domain::token::Version {
            liveness: before.liveness,
            evidence: before.evidence.clone(),
            evidence_at: before.evidence_at,
            ..after
        };
        assert_eq!(unchanged, before);
        let events = bench.events().await;
        assert_eq!(kinds(&events[known..]), [EventKind::LivenessChanged]);
        assert_eq!(events[known].reason.as_deref(), Some(liveness.as_str()));
    }
    let now = bench.store.clock.now();
    let record = async |version, liveness, observed_at| {
        let act = Act::system();
        bench.store.record_liveness(connection, TokenVersion(version), probed(liveness, observed_at), &act).await
    };
    let none = record(2, Liveness::Dead, now).await;
    assert!(matches!(none, Err(Error::Corrupt(_))), "{none:?}");

    // A doubt is less than a death; life seen before a doubt is older than it.
    let known = bench.events().await.len();
    let kept = record(1, Liveness::Suspect, now).await.unwrap();
    assert_eq!(kept.liveness, Liveness::InsufficientScope);
    let kept = record(1, Liveness::Live, kept.evidence_at.minus(std::time::Duration::from_secs(1))).await.unwrap();
    assert_eq!(kept.liveness, Liveness::InsufficientScope);
    assert_eq!(bench.events().await.len(), known);
    assert_eq!(record(1, Liveness::Live, now).await.unwrap().liveness, Liveness::Live);
}

async fn nothing_is_recorded_of_a_version_that_was_superseded(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let connection = bench.connect(&shop, "100").await.connection.id;
    bench.connect(&shop, "100").await;
    let now = bench.store.clock.now();
    let act = Act::system();
    let kept =
        bench.store.record_liveness(connection, TokenVersion(1), probed(Liveness::Live, now), &act).await.unwrap();
    assert_eq!((kept.liveness, kept.evidence.as_str()), (Liveness::Dead, "superseded"));
}

async fn a_control_for_probes_is_another_live_head(bench: Bench) {
    let mut connections: Vec<ConnectionId> = Vec::new();
    for subject in ["100", "200", "300"] {
        let shop = bench.shop(&format!("shop-{subject}")).await;
        connections.push(bench.connect(&shop, subject).await.connection.id);
    }
    let [first, second, third] = connections[..] else { panic!("three connections") };
    let control = async || bench.store.live_connections_other_than(first, 1).await.unwrap().first().copied();
    let record = async |connection, liveness| {
        let (now, act) = (bench.store.clock.now(), Act::system());
        bench.store.record_liveness(connection, TokenVersion(1), probed(liveness, now), &act).await.unwrap();
    };
    assert_eq!(control().await, Some(third), "the newest evidence");
    record(second, Liveness::Live).await;
    assert_eq!(control().await, Some(second));
    for dead in [Liveness::Suspect, Liveness::Dead, Liveness::Expired, Liveness::InsufficientScope] {
        record(second, dead).await;
        assert_eq!(control().await, Some(third), "{dead:?}");
    }
    record(third, Liveness::Suspect).await;
    assert_eq!(control().await, None, "never the connection itself");
}

async fn a_head_is_found_by_every_name_of_its_owner(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let by_id = MerchantKey::Id(shop.merchant.id);
    let by_name = MerchantKey::External(shop.merchant.external_id.clone());
    let subject = Subject::parse("100").unwrap();
    let stored = bench.connect(&shop, "100").await;
    for key in [&by_id, &by_name] {
        assert_eq!(bench.store.head_of_merchant(key).await.unwrap(), None, "held links lead nowhere");
    }
    assert_eq!(bench.store.heads_of_subject(bench.app, &subject).await.unwrap(), []);
    bench.activate(&stored).await;
    let head = bench.store.head_of_merchant(&by_id).await.unwrap().unwrap();
    assert_eq!(bench.store.head_of_merchant(&by_name).await.unwrap().unwrap(), head);
    assert_eq!(bench.store.heads_of_subject(bench.app, &subject).await.unwrap(), std::slice::from_ref(&head));
    assert_eq!((head.merchant.clone(), head.connection.clone()), (shop.merchant.clone(), stored.connection.clone()));
    assert_eq!(head.sealed, bench.store.sealed(stored.connection.id, TokenVersion(1)).await.unwrap());
    // A newer version is what the same names lead to.
    bench.connect(&shop, "100").await;
    assert_eq!(bench.store.head_of_merchant(&by_id).await.unwrap().unwrap().version.number, TokenVersion(2));
    let nobody = MerchantKey::External(ExternalId::parse("shop-2").unwrap());
    assert_eq!(bench.store.head_of_merchant(&nobody).await.unwrap(), None);
    assert_eq!(bench.store.heads_of_subject(bench.app, &Subject::parse("200").unwrap()).await.unwrap(), []);
}

async fn every_change_leaves_exactly_its_events(bench: Bench) {
    use EventKind::{
        AttemptArmed, AttemptReceived, AttemptSettled, AuthorizationStarted, ConnectionCreated, FlowConsumed,
        FlowEnded, FlowStarted, LinkChanged, LinkCreated, LivenessChanged, MerchantCreated, TokenStored,
    };
    let mut known = bench.events().await.len();
    let mut expect = async |what: &str, expected: &[EventKind]| {
        let told = bench.kinds_after(known).await;
        assert_eq!(told, expected, "{what}");
        known += told.len();
    };
    let shop = bench.shop("shop-1").await;
    expect("a new merchant", &[MerchantCreated, AuthorizationStarted]).await;
    let order = AuthorizationOrder {
        merchant: shop.merchant.clone(),
        merchant_is_new: false,
        invitation: Invitation { merchant: shop.merchant.id, ..bench.order("shop-1", "again").invitation },
        ..bench.order("shop-1", "again")
    };
    bench.store.start_authorization(&order, &Act::system()).await.unwrap();
    expect("a known merchant", &[AuthorizationStarted]).await;

    let flow = bench.flow(&shop).await;
    bench.store.end_without_code(&flow, shop.merchant.id, FlowOutcome::Denied, &Act::system()).await.unwrap();
    expect("denied", &[FlowStarted, FlowConsumed, FlowEnded]).await;

    let stored = bench.connect(&shop, "100").await;
    let claimed = [FlowStarted, FlowConsumed, AttemptReceived, AttemptArmed];
    let made = [ConnectionCreated, TokenStored, LinkCreated, FlowEnded];
    expect("a first token", &[&claimed[..], &made].concat()).await;
    bench.activate(&stored).await;
    expect("confirmed", &[LinkChanged]).await;
    bench.connect(&shop, "100").await;
    expect("renewed", &[&claimed[..], &[TokenStored, LivenessChanged, FlowEnded]].concat()).await;
    let seen = bench.events().await;
    let superseded = seen.iter().rfind(|event| event.kind == LivenessChanged).unwrap();
    assert_eq!((superseded.version, superseded.reason.as_deref()), (Some(TokenVersion(1)), Some("dead")));

    let armed = bench.armed(&shop).await;
    bench.settle(&armed, AttemptState::InDoubt).await.unwrap();
    expect("in doubt", &[&claimed[..], &[AttemptSettled, LivenessChanged]].concat()).await;
    let open = bench.attempt(armed.id).await;
    let (lost, over) = (AttemptState::Lost, Some(FlowOutcome::Lost));
    bench.store.settle(&open, lost, "judged", None, over, &Act::system()).await.unwrap();
    expect("judged", &[AttemptSettled, FlowEnded]).await;
    bench.store.end_without_code(&flow, shop.merchant.id, FlowOutcome::Denied, &Act::system()).await.unwrap();
    expect("nothing", &[]).await;
}
