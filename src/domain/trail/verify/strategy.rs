//! Records and signers for property tests.

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use crate::domain::ambient::Timestamp;
use crate::domain::id::{
    AttemptId, CallId, ConnectionId, FlowId, InvitationId, LinkId, MerchantId, TokenVersion, TrailId,
};
use crate::domain::trail::{
    Event, EventKind, GENESIS, Hash, Outcome, PublicKey, Record, SealedRecord, Signature, Signer, cbor,
};

/// A signer that is not the vault: domain tests know no other layer.
pub(in crate::domain::trail) struct TestSigner(SigningKey);

impl Signer for TestSigner {
    fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message).to_bytes())
    }
}

/// The signer of the golden vectors (bytes 0x20 to 0x3f), and its key.
pub(in crate::domain::trail) fn signer() -> (TestSigner, PublicKey) {
    let signer = TestSigner(SigningKey::from_bytes(&std::array::from_fn(|at| 0x20 + u8::try_from(at).unwrap())));
    let key = signer.public_key();
    (signer, key)
}

/// The trail that these events make, a record each, one second apart.
pub(in crate::domain::trail) fn chain(trail: TrailId, events: Vec<Vec<Event>>) -> Vec<SealedRecord> {
    let (signer, _) = signer();
    let mut previous = GENESIS;
    let seal = |(seq, events)| {
        let time = Timestamp::from_unix_seconds(1_800_000_000 + i64::try_from(seq).unwrap());
        let sealed = cbor::seal(&Record { trail, seq, time, previous, events }, &signer).unwrap();
        previous = sealed.hash;
        sealed
    };
    (1..).zip(events).map(seal).collect()
}

/// Any record within limits.
pub(in crate::domain::trail) fn record() -> impl Strategy<Value = Record> {
    let events = prop::collection::vec(event(), 0..4);
    (any::<[u8; 16]>(), any::<u64>(), any::<i64>(), any::<[u8; 32]>(), events).prop_map(
        |(trail, seq, time, previous, events)| Record {
            trail: TrailId::from_bytes(trail),
            seq,
            time: Timestamp::from_micros(time),
            previous: Hash(previous),
            events,
        },
    )
}

/// Any event within limits.
pub(in crate::domain::trail) fn event() -> impl Strategy<Value = Event> {
    let kinds = prop::sample::select(EventKind::ALL);
    let outcomes = prop::sample::select(vec![Outcome::Success, Outcome::Denied, Outcome::Failure]);
    let id = || prop::option::of(any::<[u8; 16]>());
    let text = || prop::option::of("(?s).{0,30}");
    let details = prop::collection::btree_map("(?s).{0,40}", "(?s).{0,30}", 0..6);
    let ids = (id(), id(), id(), id(), id(), id(), id(), id(), id());
    let rest = (prop::option::of(any::<u32>()), text(), text(), text(), prop::option::of(any::<[u8; 32]>()), details);
    (kinds, outcomes, any::<i64>(), "(?s).{0,30}", ids, rest).prop_map(|(kind, outcome, at, actor, ids, rest)| {
        let (call, merchant, connection, link, invitation, flow, attempt, trail, fingerprint) = ids;
        let (version, origin, grant, reason, policy, details) = rest;
        Event {
            kind,
            outcome,
            at: Timestamp::from_micros(at),
            actor,
            origin,
            call: call.map(CallId::from_bytes),
            merchant: merchant.map(MerchantId::from_bytes),
            connection: connection.map(ConnectionId::from_bytes),
            version: version.map(TokenVersion),
            link: link.map(LinkId::from_bytes),
            invitation: invitation.map(InvitationId::from_bytes),
            flow: flow.map(FlowId::from_bytes),
            attempt: attempt.map(AttemptId::from_bytes),
            trail: trail.map(TrailId::from_bytes),
            fingerprint,
            grant,
            policy: policy.map(Hash),
            reason,
            details,
        }
    })
}
