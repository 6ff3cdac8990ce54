//! Loads what the guard decides on, and probes when it says so.

use super::Services;
use super::budget::Patience;
use super::error::{Error, Kind, Result};
use crate::domain::id::{AttemptId, ConnectionId, MerchantId};
use crate::domain::merchant::LinkState;
use crate::domain::token::{Decision, Finding, HeadFacts, Leave, MintFacts, Refusal, Version, Wish, decide};
use crate::domain::trail::Act;
use crate::store::SeenHead;

/// What the guard said.
pub(super) enum Verdict {
    /// Nothing that works would be lost, as long as these heads are still the merchant's.
    Go(Vec<SeenHead>),
    /// Not now; with the head it is about.
    Refused(Refusal, Option<Box<Version>>),
}

impl Services {
    /// Asks the guard about every connection whose token could be this merchant's. Without `looking` it probes none.
    pub(super) async fn guard(
        &self,
        merchant: MerchantId,
        wish: Wish,
        leave: Option<Leave>,
        own: Option<AttemptId>,
        looking: Option<Patience>,
        act: &Act,
    ) -> Result<Verdict> {
        let store = &self.parts.store;
        if let Some(patience) = looking {
            self.judge_candidates_of(merchant, patience, act).await?;
        }
        let seen = store.seen_heads(merchant).await?;
        let other_attempt_open = store.open_attempt_of(merchant).await?.is_some_and(|open| Some(open.id) != own);
        if other_attempt_open {
            return Ok(Verdict::Refused(Refusal::AttemptUnresolved, None));
        }
        for connection in self.own_connections(merchant).await? {
            let Some(head) = store.head(connection).await? else { continue };
            let waits = seen.iter().any(|seen| seen.connection == connection && seen.candidates > 0);
            if looking.is_some() && waits {
                return Ok(Verdict::Refused(Refusal::LivenessUnknown, Some(Box::new(head))));
            }
            if let Some(refusal) = self.ask(&head, wish, leave, looking, act).await? {
                return Ok(Verdict::Refused(refusal.0, Some(Box::new(refusal.1))));
            }
        }
        Ok(Verdict::Go(seen))
    }

    /// A token that waits beside a head may be the one that lives: a mint decided on the head alone could revoke it.
    async fn judge_candidates_of(&self, merchant: MerchantId, patience: Patience, act: &Act) -> Result<()> {
        for seen in self.parts.store.seen_heads(merchant).await? {
            if seen.candidates > 0 {
                self.judge_candidate(seen.connection, patience, act).await?;
            }
        }
        Ok(())
    }

    /// The connections whose token could be this merchant's: the active one, and held ones that serve nobody else. What a shared
    /// one says is about another merchant.
    pub(super) async fn own_connections(&self, merchant: MerchantId) -> Result<Vec<ConnectionId>> {
        let mut own = Vec::new();
        for link in self.parts.store.links(merchant).await? {
            let theirs = match link.state {
                LinkState::Active => true,
                LinkState::Held => self.parts.store.open_links_of(link.connection).await?.len() == 1,
                LinkState::Closed => false,
            };
            if theirs {
                own.push(link.connection);
            }
        }
        Ok(own)
    }

    /// Asks about one head, probing at most once.
    async fn ask(
        &self,
        head: &Version,
        wish: Wish,
        leave: Option<Leave>,
        looking: Option<Patience>,
        act: &Act,
    ) -> Result<Option<(Refusal, Version)>> {
        let mut head = head.clone();
        let mut finding: Option<Finding> = None;
        let mut permanent = head.permanent;
        loop {
            let now = self.now();
            let facts = MintFacts {
                head: Some(HeadFacts {
                    connection: head.connection,
                    version: head.number,
                    liveness: head.liveness.at(head.expires_at, now),
                    evidence_at: head.evidence_at,
                    permanent,
                }),
                other_attempt_open: false,
                finding,
                leave,
            };
            match decide(&self.parts.capabilities, &facts, wish, self.parts.timing.evidence_fresh, now) {
                Decision::Go => return Ok(None),
                Decision::Refuse(refusal) => return Ok(Some((refusal, head))),
                Decision::Probe => {
                    let Some(patience) = looking else { return Ok(None) };
                    let probed = self.probe(head.connection, patience, act).await?;
                    finding = Some(probed.finding);
                    permanent = self.may_be_permanent(&probed).await?;
                    head = probed.version;
                }
            }
        }
    }

    /// The error of a refusal, with the evidence.
    pub(super) async fn refusal(
        &self,
        merchant: MerchantId,
        refusal: Refusal,
        head: Option<&Version>,
    ) -> Result<Error> {
        let kind = match refusal {
            Refusal::StillLive => Kind::TokenStillLive,
            Refusal::LivenessUnknown => Kind::LivenessUnknown,
            Refusal::AttemptUnresolved => Kind::AttemptUnresolved,
        };
        let mut error = Error::new(kind);
        if let Some(head) = head {
            error = error
                .with("connection_id", head.connection)
                .with("version", head.number)
                .with("liveness", head.liveness.as_str())
                .with("evidence", &head.evidence)
                .with("evidence_time", head.evidence_at.to_rfc3339());
        }
        if refusal == Refusal::AttemptUnresolved
            && let Some(open) = self.parts.store.open_attempt_of(merchant).await?
        {
            error = error.with("attempt_id", open.id).with("attempt_state", open.state.as_str());
            if let Some(judge_at) = open.judge_at {
                error = error.with("judge_time", judge_at.to_rfc3339()).retry_after(judge_at.since(self.now()));
            }
        }
        Ok(error)
    }
}
