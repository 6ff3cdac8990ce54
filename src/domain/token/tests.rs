use proptest::prelude::*;

use super::*;

const CAN: Capabilities = Capabilities {
    mint_revokes: true,
    registration_may_revoke: true,
    unconfirmed_payments: Duration::from_secs(14),
    unconfirmed_life: Duration::from_secs(30),
    refresh: Refresh::None,
    code_life: Duration::from_secs(600),
    longest_call: Duration::from_secs(60),
    mandatory_scopes: &["a", "b"],
};
const FRESH: Duration = Duration::from_secs(60);
const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);
const CONNECTION: ConnectionId = ConnectionId::from_bytes([1; 16]);

fn head(liveness: Liveness, age_s: u64) -> HeadFacts {
    HeadFacts {
        connection: CONNECTION,
        version: TokenVersion(3),
        liveness,
        evidence_at: NOW.minus(Duration::from_secs(age_s)),
        permanent: true,
    }
}

fn facts(head: Option<HeadFacts>, finding: Option<Finding>) -> MintFacts {
    MintFacts { head, other_attempt_open: false, finding, leave: None }
}

fn ask(facts: MintFacts, wish: Wish) -> Decision {
    decide(&CAN, &facts, wish, FRESH, NOW)
}

#[test]
fn every_branch_of_the_guard() {
    use Decision::{Go, Probe, Refuse};
    use Finding as F;
    use Liveness as L;
    use Wish::{Authorize, Exchange};
    let live = Refuse(Refusal::StillLive);
    let unknown = Refuse(Refusal::LivenessUnknown);
    // liveness, age of the evidence in s, finding, wish → decision
    let table = [
        (L::Live, 0, None, Authorize, live),
        (L::Live, 60, None, Authorize, live),
        (L::Live, 61, None, Authorize, Probe),
        (L::Live, 0, None, Exchange, Probe),
        (L::Suspect, 0, None, Authorize, Probe),
        (L::Suspect, 0, None, Exchange, Probe),
        (L::Dead, 0, None, Authorize, Go),
        (L::Dead, 0, None, Exchange, Probe),
        (L::Expired, 0, None, Authorize, Go),
        (L::Expired, 0, None, Exchange, Probe),
        (L::InsufficientScope, 0, None, Authorize, Probe),
        (L::InsufficientScope, 0, None, Exchange, Probe),
        (L::Live, 61, Some(F::Alive), Authorize, live),
        (L::Live, 61, Some(F::Dead), Authorize, Go),
        (L::Live, 61, Some(F::Unknown), Authorize, unknown),
        (L::Live, 0, Some(F::Alive), Exchange, live),
        (L::Live, 0, Some(F::Dead), Exchange, Go),
        (L::Live, 0, Some(F::Unknown), Exchange, unknown),
        (L::Suspect, 0, Some(F::Alive), Exchange, live),
        (L::Suspect, 0, Some(F::Dead), Exchange, Go),
        (L::Suspect, 0, Some(F::Unknown), Exchange, unknown),
        (L::Dead, 0, Some(F::Alive), Exchange, live),
        (L::Dead, 0, Some(F::Dead), Exchange, Go),
        (L::Dead, 0, Some(F::Unknown), Exchange, unknown),
        (L::Expired, 0, Some(F::Alive), Exchange, live),
        (L::Expired, 0, Some(F::Dead), Exchange, Go),
        (L::Expired, 0, Some(F::Unknown), Exchange, unknown),
        (L::InsufficientScope, 0, Some(F::InsufficientScope), Exchange, live),
    ];
    for (liveness, age_s, finding, wish, expected) in table {
        assert_eq!(
            ask(facts(Some(head(liveness, age_s)), finding), wish),
            expected,
            "{liveness:?} {age_s}s {finding:?} {wish:?}"
        );
        if wish == Exchange {
            let registering = ask(facts(Some(head(liveness, age_s)), finding), Wish::Register);
            assert_eq!(registering, expected, "a registration is decided like an exchange: {liveness:?} {finding:?}");
        }
    }
}

#[test]
fn without_a_head_there_is_nothing_to_lose() {
    for wish in [Wish::Authorize, Wish::Exchange, Wish::Register] {
        assert_eq!(ask(facts(None, None), wish), Decision::Go);
    }
}

#[test]
fn an_open_attempt_stops_everything() {
    for wish in [Wish::Authorize, Wish::Exchange, Wish::Register] {
        for head in [None, Some(head(Liveness::Dead, 0))] {
            let facts = MintFacts { other_attempt_open: true, ..facts(head, Some(Finding::Dead)) };
            assert_eq!(ask(facts, wish), Decision::Refuse(Refusal::AttemptUnresolved));
        }
    }
}

#[test]
fn a_provider_whose_mints_harm_nothing_needs_no_guard() {
    let can = Capabilities { mint_revokes: false, ..CAN };
    let facts = facts(Some(head(Liveness::Live, 0)), None);
    assert_eq!(decide(&can, &facts, Wish::Exchange, FRESH, NOW), Decision::Go);
    assert_eq!(decide(&can, &facts, Wish::Register, FRESH, NOW), Decision::Probe);
    let can = Capabilities { registration_may_revoke: false, ..CAN };
    assert_eq!(decide(&can, &facts, Wish::Register, FRESH, NOW), Decision::Go);
}

#[test]
fn a_leave_is_good_for_one_head_only() {
    let leave = |kind, version| Leave { kind, connection: CONNECTION, version: TokenVersion(version) };
    let temporary = HeadFacts { permanent: false, ..head(Liveness::Live, 0) };
    let permanent = head(Liveness::Live, 0);
    let cases = [
        (permanent, leave(LeaveKind::Replacement, 3), true),
        (permanent, leave(LeaveKind::Replacement, 2), false),
        (temporary, leave(LeaveKind::UpgradeTemporary, 3), true),
        (temporary, leave(LeaveKind::UpgradeTemporary, 4), false),
        (permanent, leave(LeaveKind::UpgradeTemporary, 3), false),
        (permanent, Leave { connection: ConnectionId::from_bytes([2; 16]), ..leave(LeaveKind::Replacement, 3) }, false),
    ];
    for (head, leave, lets_through) in cases {
        let facts = MintFacts { leave: Some(leave), ..facts(Some(head), Some(Finding::Alive)) };
        assert_eq!(ask(facts, Wish::Exchange) == Decision::Go, lets_through, "{leave:?}");
    }
}

#[test]
fn an_upgrade_is_let_through_only_where_a_probe_has_just_shown_the_token_to_be_temporary_still() {
    let leave = Leave { kind: LeaveKind::UpgradeTemporary, connection: CONNECTION, version: TokenVersion(3) };
    let temporary = HeadFacts { permanent: false, ..head(Liveness::Live, 0) };
    let with = |head, finding| MintFacts { leave: Some(leave), ..facts(Some(head), finding) };
    assert_eq!(ask(with(temporary, None), Wish::Authorize), Decision::Go);
    assert_eq!(ask(with(temporary, None), Wish::Exchange), Decision::Probe);
    assert_eq!(ask(with(temporary, Some(Finding::Alive)), Wish::Exchange), Decision::Go);
    assert_eq!(ask(with(temporary, Some(Finding::Dead)), Wish::Exchange), Decision::Go);
    let unknown = Decision::Refuse(Refusal::LivenessUnknown);
    assert_eq!(ask(with(temporary, Some(Finding::Unknown)), Wish::Exchange), unknown);
    let confirmed_since = head(Liveness::Live, 0);
    assert_eq!(ask(with(confirmed_since, Some(Finding::Alive)), Wish::Exchange), Decision::Refuse(Refusal::StillLive));
}

#[test]
fn a_token_expires_by_the_clock_unless_it_is_dead() {
    let end = Some(NOW);
    assert_eq!(Liveness::Live.at(end, NOW), Liveness::Expired);
    assert_eq!(Liveness::Live.at(end, NOW.minus(Duration::from_secs(1))), Liveness::Live);
    assert_eq!(Liveness::Dead.at(end, NOW), Liveness::Dead);
    assert_eq!(Liveness::Suspect.at(None, NOW), Liveness::Suspect);
}

proptest! {
    /// M1: whatever the guard is told, an exchange goes on against a head that may live only with a leave or proof of death.
    #[test]
    fn an_exchange_never_goes_on_while_the_head_may_live(
        liveness in prop::sample::select(Liveness::ALL.to_vec()),
        age_s in 0u64..1_000_000,
        finding in prop::sample::select(vec![None, Some(Finding::Alive), Some(Finding::Dead), Some(Finding::InsufficientScope), Some(Finding::Unknown)]),
        other_attempt_open: bool,
    ) {
        let facts = MintFacts { head: Some(head(liveness, age_s)), other_attempt_open, finding, leave: None };
        if ask(facts, Wish::Exchange) == Decision::Go {
            prop_assert_eq!(finding, Some(Finding::Dead));
            prop_assert!(!other_attempt_open);
        }
    }
}

#[test]
fn a_temporary_token_became_permanent_only_where_something_shows_it() {
    let issued = |seen_pending| Version {
        connection: CONNECTION,
        number: TokenVersion(1),
        issued_kind: IssuedKind::Temporary,
        cause: "register".to_owned(),
        attempt: AttemptId::from_bytes([3; 16]),
        fingerprint: [0; 16],
        stored_at: NOW,
        permanent: false,
        seen_pending,
        candidate: false,
        expires_at: Some(NOW.plus(Duration::from_secs(90))),
        liveness: Liveness::Live,
        evidence: "issued".to_owned(),
        evidence_at: NOW,
    };
    let (before, at, after) = (NOW.plus(FRESH), NOW.plus(Duration::from_secs(150)), NOW.plus(Duration::from_secs(151)));
    // Seen pending, standing, may have signed up elsewhere, accepted at → by what it shows.
    let table = [
        (true, UserStanding::Pending, false, before, None),
        (true, UserStanding::Registered, false, before, Some("user_confirmed")),
        (true, UserStanding::Registered, true, before, None),
        (true, UserStanding::Registered, true, after, Some("outlived_its_end")),
        (true, UserStanding::Other, false, before, None),
        (false, UserStanding::Registered, false, before, None),
        (false, UserStanding::Registered, false, at, None),
        (false, UserStanding::Registered, false, after, Some("outlived_its_end")),
        (false, UserStanding::Other, false, after, Some("outlived_its_end")),
    ];
    for (seen_pending, standing, signed_up, accepted_at, expected) in table {
        let shown = is_confirmed(&issued(seen_pending), standing, signed_up, accepted_at);
        assert_eq!(shown, expected, "{seen_pending} {standing:?} {signed_up}");
    }
}
