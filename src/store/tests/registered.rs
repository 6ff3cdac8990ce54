//! Conformance of what registrations leave behind: claims, candidates, temporary tokens, further links.

use super::business::{Bench, fresh, probed, request, store_suite};
use super::*;
use crate::domain::attempt::AttemptKind;
use crate::domain::id::{AttemptId, LinkId, MerchantId, TokenVersion};
use crate::domain::merchant::{LinkState, Merchant};
use crate::domain::name::ExternalId;
use crate::domain::secret::SealedBytes;
use crate::domain::token::{IssuedKind, Liveness, UserStanding};
use crate::domain::trail::Act;

store_suite! {
    super::Bench,
    a_registered_token_waits_beside_a_head_that_may_live,
    a_registered_token_takes_the_place_of_a_dead_head_at_once,
    a_mint_that_revokes_ends_candidates_too,
    a_temporary_token_becomes_permanent_when_its_user_was_seen_to_confirm,
    temporary_heads_are_looked_at_when_they_are_due_and_until_something_is_known,
    an_address_is_registered_by_one_attempt_at_a_time_and_never_when_a_connection_has_it,
    a_further_merchant_is_linked_once,
}

fn newcomer(external_id: &str) -> Merchant {
    Merchant {
        id: MerchantId::generate(&SystemClock, &SystemEntropy),
        external_id: ExternalId::parse(external_id).unwrap(),
        labels: Vec::new(),
        created_at: SystemClock.now(),
    }
}

/// A second token of a user whose head may have outlived it waits, and either takes its place or does not.
async fn a_registered_token_waits_beside_a_head_that_may_live(bench: Bench) {
    let act = Act::system();
    for promote in [false, true] {
        let shop = bench.shop(if promote { "shop-1" } else { "shop-2" }).await;
        let subject = if promote { "100" } else { "200" };
        let first = bench.connect(&shop, subject).await;
        let again = NewToken { earlier: EarlierTokens::MayBeRevoked, ..bench.token(bench.armed(&shop).await, subject) };
        let stored = bench.store.commit_token(&again, &act).await.unwrap();
        assert_eq!((stored.version, stored.is_head), (TokenVersion(2), false));
        let head = bench.store.head(first.connection.id).await.unwrap().unwrap();
        let told = (head.number, head.liveness, head.evidence.as_str());
        assert_eq!(told, (TokenVersion(1), Liveness::Suspect, "registered_again"));
        assert_eq!(bench.store.connections_with_candidates(None, 10).await.unwrap(), [first.connection.id]);
        assert!(bench.store.judge_candidate(&first.connection, TokenVersion(1), promote, &act).await.unwrap());
        let head = bench.store.head(first.connection.id).await.unwrap().unwrap();
        assert_eq!(head.number, TokenVersion(if promote { 2 } else { 1 }));
        assert_eq!(bench.store.connections_with_candidates(None, 10).await.unwrap(), []);
        assert!(
            !bench.store.judge_candidate(&first.connection, TokenVersion(1), promote, &act).await.unwrap(),
            "judged once"
        );
    }
    let judged: Vec<_> = bench.events().await.into_iter().filter(|e| e.kind == EventKind::CandidateJudged).collect();
    assert_eq!(judged.iter().map(|e| e.reason.as_deref()).collect::<Vec<_>>(), [Some("passed"), Some("promoted")]);
}

async fn a_registered_token_takes_the_place_of_a_dead_head_at_once(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let first = bench.connect(&shop, "100").await;
    let dead = probed(Liveness::Dead, bench.store.clock.now());
    bench.store.record_liveness(first.connection.id, TokenVersion(1), dead, &act).await.unwrap();
    let again = NewToken { earlier: EarlierTokens::MayBeRevoked, ..bench.token(bench.armed(&shop).await, "100") };
    let stored = bench.store.commit_token(&again, &act).await.unwrap();
    assert_eq!((stored.version, stored.is_head), (TokenVersion(2), true));
    assert_eq!(bench.store.head(first.connection.id).await.unwrap().unwrap().number, TokenVersion(2));
}

async fn a_mint_that_revokes_ends_candidates_too(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let first = bench.connect(&shop, "100").await;
    let again = NewToken { earlier: EarlierTokens::MayBeRevoked, ..bench.token(bench.armed(&shop).await, "100") };
    bench.store.commit_token(&again, &act).await.unwrap();
    bench.connect(&shop, "100").await;
    assert_eq!(bench.store.connections_with_candidates(None, 10).await.unwrap(), []);
    let versions = bench.store.versions(first.connection.id).await.unwrap();
    let dead: Vec<_> = versions.iter().map(|one| (one.number.0, one.liveness == Liveness::Dead)).collect();
    assert_eq!(dead, [(3, false), (2, true), (1, true)]);
}

async fn a_temporary_token_becomes_permanent_when_its_user_was_seen_to_confirm(bench: Bench) {
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let now = bench.store.clock.now();
    let end = now.plus(std::time::Duration::from_secs(90));
    let temporary = NewToken {
        issued_kind: IssuedKind::Temporary,
        expires_at: Some(end),
        ..bench.token(bench.armed(&shop).await, "100")
    };
    let connection = bench.store.commit_token(&temporary, &act).await.unwrap().connection.id;
    let see = async |standing, index| {
        let user = Some(SeenUser { standing, email_index: Some([index; 32]) });
        let observed = Observed { user, ..probed(Liveness::Live, bench.store.clock.now()) };
        bench.store.record_liveness(connection, TokenVersion(1), observed, &act).await.unwrap()
    };
    // Registered before we ever saw it pending: that says nothing of this token.
    let seen = see(UserStanding::Registered, 1).await;
    assert_eq!((seen.permanent, seen.expires_at), (false, Some(end)));
    assert!(see(UserStanding::Pending, 1).await.seen_pending);
    // Registered since, and nobody was asked to confirm: signed up for something else.
    assert!(!see(UserStanding::Registered, 1).await.permanent);
    let asked_at = bench.store.clock.now();
    let asked = Event::new(EventKind::ConfirmationRequested, asked_at, "test").version(connection, TokenVersion(1));
    bench.store.note_intent(&request("mail-1", 1), connection.as_bytes(), asked).await.unwrap();
    let seen = see(UserStanding::Registered, 2).await;
    assert_eq!((seen.permanent, seen.expires_at, seen.number), (true, None, TokenVersion(1)));
    assert_eq!(bench.store.head(connection).await.unwrap().unwrap(), seen);
    let confirmed: Vec<_> = bench.events().await.into_iter().filter(|e| e.kind == EventKind::TokenConfirmed).collect();
    assert_eq!(confirmed.len(), 1);
    assert_eq!(confirmed[0].reason.as_deref(), Some("user_confirmed"));
    // Found again under the newest address the provider named.
    assert_eq!(bench.store.connection_by_email(bench.app, &[1; 32]).await.unwrap(), None);
    assert_eq!(bench.store.connection_by_email(bench.app, &[2; 32]).await.unwrap().unwrap().id, connection);
}

async fn temporary_heads_are_looked_at_when_they_are_due_and_until_something_is_known(bench: Bench) {
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let (act, shop) = (Act::system(), bench.shop("shop-1").await);
    let stored = bench.store.clock.now();
    let end = stored.plus(10 * HOUR);
    let temporary = NewToken {
        issued_kind: IssuedKind::Temporary,
        expires_at: Some(end),
        ..bench.token(bench.armed(&shop).await, "100")
    };
    let connection = bench.store.commit_token(&temporary, &act).await.unwrap().connection.id;
    let long_ago = stored.minus(10 * HOUR);
    let nothing = TemporaryDue { ended: long_ago, unseen: long_ago, ending: long_ago, near_unseen: long_ago };
    let due = async |due: TemporaryDue| bench.store.temporary_heads(&due, 10).await.unwrap();
    assert_eq!(due(nothing).await, []);
    assert_eq!(due(TemporaryDue { ended: end, ..nothing }).await, [connection]);
    assert_eq!(due(TemporaryDue { unseen: end, ..nothing }).await, [connection]);
    assert_eq!(due(TemporaryDue { ending: end, ..nothing }).await, [], "looked at lately");
    assert_eq!(due(TemporaryDue { ending: end, near_unseen: end, ..nothing }).await, [connection]);
    let dead = probed(Liveness::Dead, bench.store.clock.now());
    bench.store.record_liveness(connection, TokenVersion(1), dead, &act).await.unwrap();
    assert_eq!(due(TemporaryDue { ended: end, unseen: end, ..nothing }).await, []);
}

fn registration(bench: &Bench, external_id: &str, email: u8, id: &str) -> RegistrationOrder {
    RegistrationOrder {
        merchant: newcomer(external_id),
        merchant_is_new: true,
        private: Some(Private {
            sealed: SealedBytes { epoch: 3, salt: fresh(), ciphertext: fresh::<48>().to_vec() },
            email_index: Some([email; 32]),
        }),
        app: bench.app,
        attempt: AttemptId::generate(&SystemClock, &SystemEntropy),
        email_index: [email; 32],
        request: request(id, 1),
    }
}

async fn an_address_is_registered_by_one_attempt_at_a_time_and_never_when_a_connection_has_it(bench: Bench) {
    let act = Act::system();
    let order = registration(&bench, "shop-1", 7, "r-1");
    assert_eq!(bench.store.claim_registration(&order, &act).await.unwrap(), RegistrationClaim::Claimed);
    let known = bench.events().await.len();
    let twin = registration(&bench, "shop-2", 7, "r-2");
    assert_eq!(bench.store.claim_registration(&twin, &act).await.unwrap(), RegistrationClaim::Busy);
    let nobody = MerchantKey::External(ExternalId::parse("shop-2").unwrap());
    assert_eq!(bench.store.merchant(&nobody).await.unwrap(), None, "a refused claim makes nothing");
    assert_eq!(bench.events().await.len(), known);

    let attempt = bench.attempt(order.attempt).await;
    assert_eq!((attempt.kind, attempt.merchant), (AttemptKind::Register, Some(order.merchant.id)));
    assert!(bench.store.arm(&attempt, &[], None, &act).await.unwrap());
    let new = NewToken {
        email_index: Some([7; 32]),
        earlier: EarlierTokens::MayBeRevoked,
        ..bench.token(bench.attempt(order.attempt).await, "100")
    };
    let stored = bench.store.commit_token(&new, &act).await.unwrap();
    // The platform named the user itself: nobody else has to confirm.
    assert_eq!((stored.is_head, stored.link.map(|link| link.state)), (true, Some(LinkState::Active)));
    let claim = bench.store.claim_registration(&twin, &act).await.unwrap();
    assert_eq!(claim, RegistrationClaim::Known(stored.connection));
}

async fn a_further_merchant_is_linked_once(bench: Bench) {
    let act = Act::system();
    let stored = bench.connect(&bench.shop("shop-1").await, "100").await;
    bench.activate(&stored).await;
    let order = |external_id, id| LinkOrder {
        link: LinkId::generate(&SystemClock, &SystemEntropy),
        app: bench.app,
        merchant: newcomer(external_id),
        merchant_is_new: true,
        private: None,
        connection: stored.connection.id,
        request: request(id, 1),
    };
    let first = order("shop-2", "r-1");
    let link = bench.store.link_further(&first, &act).await.unwrap();
    assert_eq!((link.state, link.connection), (LinkState::Active, stored.connection.id));
    let twice = LinkOrder { merchant_is_new: false, merchant: first.merchant.clone(), ..order("shop-2", "r-2") };
    let refused = bench.store.link_further(&twice, &act).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(bench.store.open_links_of(stored.connection.id).await.unwrap().len(), 2);
}
