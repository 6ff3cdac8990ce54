//! Settles what a crash or a lost answer left open: by waiting until nothing more can happen, and then by looking (M4).

use std::time::Duration;

use tracing::{info, warn};

use super::Services;
use super::budget::Patience;
use super::error::{Kind, Result};
use crate::domain::attempt::{AttemptKind, AttemptState};
use crate::domain::id::MerchantId;
use crate::domain::token::{END_MARGIN, Finding};
use crate::domain::trail::Act;
use crate::store::{self, Attempt, FlowOutcome, TemporaryDue};

/// The reason of attempts whose owner is gone.
const OWNER_DIED: &str = "owner_died";
/// Most heads of a kind that are looked at in one round: each may take a probe with confirmation.
const HEADS_AT_ONCE_MAX: u32 = 10;
/// After this many answers that say nothing a round is given up.
const SILENT_MAX: u32 = 3;
/// A temporary head is looked at once a day, since nobody tells us that its person has confirmed…
const LOOK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// …and in its last hour once more, so that a confirmed one is not called expired.
const NEAR_THE_END: Duration = Duration::from_secs(60 * 60);

impl Services {
    /// Settles what the process before this one left open. The lock on the database proves that it is gone. Only for who has the
    /// database for itself; where several processes share one, [`Services::keep_judging`] settles what those left that are taken for
    /// dead.
    ///
    /// # Errors
    /// As every use of the database.
    pub async fn adopt_open_attempts(&self) -> Result<()> {
        self.settle_orphans().await?;
        self.adopt_accounts().await
    }

    /// Settles what processes left open that are taken for dead: what they had only received was never sent and never will be, since
    /// they can arm it no more; what they had armed is in doubt until its code can do nothing more. Should one live after all, its answer
    /// comes late and is kept. Read trails are closed where they end. What is settled by somebody else at the same time is settled.
    ///
    /// # Errors
    /// As every use of the database; [`super::Kind::DataCorrupt`] when what an attempt needs or a read trail is damaged, after all the
    /// rest was done.
    pub async fn settle_orphans(&self) -> Result<()> {
        let act = Act::system();
        let mut unsettled = None;
        for attempt in self.parts.store.orphaned_attempts().await? {
            let (to, judge_at, outcome) = match attempt.state {
                AttemptState::Received => (AttemptState::NotSent, None, Some(FlowOutcome::NotSent)),
                AttemptState::Armed => (AttemptState::InDoubt, Some(self.judge_at(&attempt)), None),
                _ => continue,
            };
            match self.parts.store.settle(&attempt, to, OWNER_DIED, judge_at, outcome, &act).await {
                Ok(()) => warn!(attempt.id = %attempt.id, "its owner died: {}", to.as_str()),
                Err(store::Error::Conflict(_)) => {}
                // A damaged one holds up no other.
                Err(damaged @ store::Error::Corrupt(_)) => {
                    warn!(attempt.id = %attempt.id, "its owner died, and it cannot be settled: {damaged}");
                    unsettled = Some(damaged);
                }
                Err(failed) => return Err(failed.into()),
            }
        }
        self.parts.store.close_orphaned_trails().await?;
        unsettled.map_or(Ok(()), |damaged| Err(damaged.into()))
    }

    /// Settles what dead processes left, judges attempts in doubt whose time has come, looks for accounts in doubt and at heads, for ever.
    /// For one process at a time; two do no harm, and ask the provider twice.
    pub async fn keep_judging(&self) {
        loop {
            if let Err(failed) = self.settle_orphans().await {
                warn!("what dead processes left open not settled yet: {failed}");
            }
            if let Err(failed) = self.judge_due().await {
                warn!("attempts in doubt not judged yet: {failed}");
            }
            if let Err(failed) = self.settle_accounts().await {
                warn!("accounts in doubt not looked for yet: {failed}");
            }
            if let Err(failed) = self.look_at_heads().await {
                warn!("heads that may have been outlived not looked at yet: {failed}");
            }
            self.parts.clock.sleep(self.parts.timing.recovery_interval).await;
        }
    }

    /// Judges attempts in doubt whose time has come, once. One that cannot be judged stays in doubt and holds up no other.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn judge_due(&self) -> Result<()> {
        let now = self.now();
        let open = self.parts.store.open_attempts().await?;
        for attempt in open.into_iter().filter(|attempt| attempt.state == AttemptState::InDoubt) {
            if attempt.judge_at.is_none_or(|judge_at| judge_at <= now)
                && let Err(failed) = self.judge(&attempt).await
            {
                warn!(attempt.id = %attempt.id, "attempt not judged yet: {failed}");
            }
        }
        Ok(())
    }

    /// Judges tokens that wait beside a head, and looks whether temporary heads were confirmed, or outlived their end. One that cannot
    /// be told waits on.
    ///
    /// # Errors
    /// As every read of the database.
    pub async fn look_at_heads(&self) -> Result<()> {
        let act = Act::system();
        let mut after = None;
        loop {
            let page = self.parts.store.connections_with_candidates(after, HEADS_AT_ONCE_MAX).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            for connection in page {
                match self.judge_candidate(connection, Patience::sweep(), &act).await {
                    Ok(()) => {}
                    // The budget goes to others: the next round looks again.
                    Err(failed) if failed.kind() == Kind::ProviderBusy => return Ok(()),
                    Err(failed) => warn!(connection.id = %connection, "candidate not judged yet: {failed}"),
                }
            }
        }
        let now = self.now();
        let due = TemporaryDue {
            ended: now.minus(END_MARGIN),
            unseen: now.minus(LOOK_EVERY),
            ending: now.plus(NEAR_THE_END),
            near_unseen: now.minus(NEAR_THE_END / 2),
        };
        let mut silent = 0;
        for connection in self.parts.store.temporary_heads(&due, HEADS_AT_ONCE_MAX).await? {
            match self.probe(connection, Patience::sweep(), &act).await {
                Ok(probed) if probed.finding == Finding::Unknown => silent += 1,
                Ok(_) => {}
                Err(failed) if failed.kind() == Kind::ProviderBusy => break,
                Err(failed) => warn!(connection.id = %connection, "temporary head not looked at yet: {failed}"),
            }
            if silent == SILENT_MAX {
                // Most likely an outage: that many questions a round are enough.
                break;
            }
        }
        Ok(())
    }

    async fn judge(&self, attempt: &Attempt) -> Result<()> {
        let act = Act::system();
        if attempt.kind == AttemptKind::Register {
            // The provider cannot be asked what became of it: the way on is a consent, or another registration. Heads that were
            // made suspect are looked at all the same.
            if let Some(merchant) = attempt.merchant {
                self.look(merchant, &act).await?;
            }
            info!(attempt.id = %attempt.id, "registration judged lost");
            return Ok(self
                .parts
                .store
                .settle(attempt, AttemptState::Lost, "cannot_be_found", None, None, &act)
                .await?);
        }
        let finding = match attempt.merchant {
            Some(merchant) => self.look(merchant, &act).await?,
            None => None,
        };
        let (to, outcome) = match finding {
            Some(Finding::Alive | Finding::InsufficientScope) => {
                (AttemptState::NotApplied, FlowOutcome::AlreadyConnected)
            }
            // What it may have brought cannot be found: the way on is another consent.
            Some(Finding::Dead) | None => (AttemptState::Lost, FlowOutcome::Lost),
            Some(Finding::Unknown) => return Ok(()),
        };
        info!(attempt.id = %attempt.id, "judged {}", to.as_str());
        Ok(self.parts.store.settle(attempt, to, "judged_by_probe", None, Some(outcome), &act).await?)
    }

    /// Probes every head the merchant is linked to, since each was made suspect; what counts are those that could be the
    /// merchant's own. Alive if one is; unknown if one is and none is alive; `None` if there is none.
    async fn look(&self, merchant: MerchantId, act: &Act) -> Result<Option<Finding>> {
        let own = self.own_connections(merchant).await?;
        let (mut is_alive, mut worst) = (false, None);
        for seen in self.parts.store.seen_heads(merchant).await? {
            if seen.head_version == 0 {
                continue;
            }
            let finding = self.probe(seen.connection, Patience::sweep(), act).await?.finding;
            if !own.contains(&seen.connection) {
                continue;
            }
            match finding {
                Finding::Alive | Finding::InsufficientScope => is_alive = true,
                Finding::Unknown => worst = Some(Finding::Unknown),
                Finding::Dead => worst = worst.or(Some(Finding::Dead)),
            }
        }
        Ok(if is_alive { Some(Finding::Alive) } else { worst })
    }
}
