use proptest::prelude::*;

use super::*;

const CAN: Capabilities = Capabilities {
    mint_revokes: true,
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
        (L::Expired, 0, Some(F::Unknown), Exchange, Go),
        (L::InsufficientScope, 0, Some(F::InsufficientScope), Exchange, live),
    ];
    for (liveness, age_s, finding, wish, expected) in table {
        assert_eq!(
            ask(facts(Some(head(liveness, age_s)), finding), wish),
            expected,
            "{liveness:?} {age_s}s {finding:?} {wish:?}"
        );
    }
}

#[test]
fn without_a_head_there_is_nothing_to_lose() {
    for wish in [Wish::Authorize, Wish::Exchange] {
        assert_eq!(ask(facts(None, None), wish), Decision::Go);
    }
}

#[test]
fn an_open_attempt_stops_everything() {
    for wish in [Wish::Authorize, Wish::Exchange] {
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
            prop_assert!(finding == Some(Finding::Dead) || (finding == Some(Finding::Unknown) && liveness == Liveness::Expired));
            prop_assert!(!other_attempt_open);
        }
    }
}
