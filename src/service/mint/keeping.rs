//! What follows a token: sealed and stored, however long that takes; its user looked at; a head that may have been revoked judged.

use tracing::{error, info, warn};

use super::{Means, Mint, RETRY_FIRST};
use crate::domain::budget::Lane;
use crate::domain::id::{ConnectionId, MerchantId};
use crate::domain::merchant::{LinkState, Role};
use crate::domain::name::Email;
use crate::domain::secret::{AccessToken, Secret};
use crate::domain::token::{Finding, IssuedKind};
use crate::domain::trail::Act;
use crate::provider::IssuedToken;
use crate::service::budget::Patience;
use crate::service::error::{Error, Kind, Result};
use crate::service::{Confirmation, Services};
use crate::store::{Attempt, EarlierTokens, NewToken, Resolution, StoredToken};
use crate::vault::{BlindIndex, Place, TokenPlaintext};

impl Services {
    /// Seals the token and stores it, however long that takes: it may be the only live one.
    pub(super) async fn keep(&self, mint: Mint, issued: IssuedToken) -> Result<()> {
        let revokes = self.parts.capabilities.mint_revokes;
        let (earlier, email) = match &mint.by {
            Means::Code { .. } if revokes => (EarlierTokens::Revoked, None),
            Means::Code { .. } => (EarlierTokens::Kept, None),
            Means::Registrant(registrant) => (EarlierTokens::MayBeRevoked, Some(registrant.email())),
        };
        let new = NewToken {
            email_index: email.map(|email| self.email_index(email)),
            ..self.seal_issued(&mint.attempt, &issued, Role::Merchant, earlier)?
        };
        let mut wait = RETRY_FIRST;
        let stored = loop {
            match self.parts.store.commit_token(&new, &mint.act).await {
                Ok(stored) => break stored,
                Err(failed) if self.is_committed(&mint.attempt).await => {
                    // The commit went through and its answer was lost.
                    warn!(attempt.id = %mint.attempt.id, "commit acknowledged late: {failed}");
                    return Ok(());
                }
                Err(failed) => {
                    error!(attempt.id = %mint.attempt.id, "token not stored yet: {failed}");
                    wait = self.pause(wait).await;
                }
            }
        };
        info!(attempt.id = %mint.attempt.id, connection.id = %stored.connection.id, version = %stored.version, "token stored");
        // The token is safe: what is still to be learnt is learnt later if it cannot be now.
        if stored.is_head && matches!(mint.by, Means::Registrant(_)) {
            // A caller waits for the registration, and nobody for this look: it is another call. Which of two tokens is the head is
            // part of the answer.
            let services = self.clone();
            self.tasks.spawn(async move { services.learn(&mint, &stored).await });
        } else {
            self.learn(&mint, &stored).await;
        }
        Ok(())
    }

    async fn learn(&self, mint: &Mint, stored: &StoredToken) {
        let learnt = if stored.is_head {
            self.check_identity(mint, stored).await
        } else {
            self.judge_candidate(stored.connection.id, Patience::until(Lane::Merchant, mint.deadline), &mint.act).await
        };
        if let Err(unlearnt) = learnt {
            warn!(attempt.id = %mint.attempt.id, "token stored, its user not looked at yet: {unlearnt}");
        }
    }

    /// What is stored of a token that the provider issued.
    pub(in crate::service) fn seal_issued(
        &self,
        attempt: &Attempt,
        issued: &IssuedToken,
        role: Role,
        earlier: EarlierTokens,
    ) -> Result<NewToken> {
        let app = &self.parts.app;
        let expires_at = issued.expires_in.map(|life| self.now().plus(life));
        let plaintext = TokenPlaintext {
            subject: issued.subject.as_str().to_owned(),
            access_token: AccessToken::new(issued.access_token.expose().to_owned()),
            refresh_token: None,
            expires_at,
            scopes: None,
        };
        let place = Place::token(app.environment, &app.client_id, attempt.id, issued.subject.as_str());
        let sealed = self
            .parts
            .vault
            .seal(&place, &plaintext.encode(), &*self.parts.entropy)
            .map_err(|refused| Error::internal(refused.to_string()))?;
        Ok(NewToken {
            attempt: attempt.clone(),
            subject: issued.subject.clone(),
            role,
            email_index: None,
            sealed,
            fingerprint: self.parts.vault.fingerprint(&issued.access_token),
            // The provider says how long a temporary token lives, and nothing of one that lives until it is revoked.
            issued_kind: if expires_at.is_some() { IssuedKind::Temporary } else { IssuedKind::Permanent },
            expires_at,
            earlier,
        })
    }

    /// The blind index under which an e-mail address is found again.
    pub(in crate::service) fn email_index(&self, email: &Email) -> [u8; 32] {
        self.parts.vault.blind_index(BlindIndex::Email, email.folded().as_bytes())
    }

    async fn is_committed(&self, attempt: &Attempt) -> bool {
        use crate::domain::attempt::AttemptState;
        let attempt = self.parts.store.attempt(attempt.id).await;
        let is_kept = |attempt: Attempt| matches!(attempt.state, AttemptState::Committed | AttemptState::Late);
        attempt.is_ok_and(|attempt| attempt.is_some_and(is_kept))
    }

    /// The new token must name the user it was stored under. Where configuration allows, the same answer's e-mail address
    /// may confirm the link.
    async fn check_identity(&self, mint: &Mint, stored: &StoredToken) -> Result<()> {
        let email_decides = self.parts.settings.confirmation == Confirmation::EmailMatch && stored.email_may_confirm;
        let patience = match mint.by {
            Means::Code { .. } if email_decides => Patience::until(Lane::Merchant, None),
            _ => Patience::sweep(),
        };
        let probed = self.probe(stored.connection.id, patience, &mint.act).await?;
        let held = stored.link.as_ref().filter(|link| link.state == LinkState::Held);
        let (Some(link), Finding::Alive, Confirmation::EmailMatch, true, Means::Code { .. }) =
            (held, probed.finding, self.parts.settings.confirmation, stored.email_may_confirm, &mint.by)
        else {
            return Ok(());
        };
        let expected = self.expected_email(mint.merchant).await?;
        // An address that nobody has proved is anybody's: the invitation itself prefills the expected one.
        let named = probed.user.filter(|user| user.state == "registered").and_then(|user| user.email);
        if let (Some(expected), Some(named)) = (expected, named)
            && expected.folded() == named.folded()
        {
            self.parts.store.resolve_link(link, Resolution::Activate, None, &mint.act, "email_match").await?;
        }
        Ok(())
    }

    async fn expected_email(&self, merchant: MerchantId) -> Result<Option<Email>> {
        let private = self.private(merchant).await?;
        Ok(private.and_then(|private| private.expose("email").and_then(|text| Email::parse("email", text).ok())))
    }

    /// Judges a token that waits beside a head which may have outlived it: while the head lives it stays the head; once it is dead
    /// the other one takes its place. What cannot be told waits on.
    pub(in crate::service) async fn judge_candidate(
        &self,
        connection: ConnectionId,
        patience: Patience,
        act: &Act,
    ) -> Result<()> {
        let known = self.parts.store.connection(connection).await?;
        let known = known.ok_or_else(|| Error::internal("a candidate without its connection"))?;
        let probed = self.probe(connection, patience, act).await?;
        let promote = match probed.finding {
            Finding::Alive | Finding::InsufficientScope => false,
            Finding::Dead => true,
            Finding::Unknown => return Ok(()),
        };
        if self.parts.store.judge_candidate(&known, probed.version.number, promote, act).await? && promote {
            self.probe(connection, patience, act).await?;
        }
        Ok(())
    }

    /// Seals what came back and could not be read, and keeps it for an operator: it may hold the only live token.
    pub(super) async fn keep_salvage(&self, mint: &Mint, salvage: &Secret<Vec<u8>>) -> Result<()> {
        let app = &self.parts.app;
        let place = Place::salvage(app.environment, &app.client_id, mint.attempt.id);
        let sealed = self
            .parts
            .vault
            .seal(&place, salvage.expose(), &*self.parts.entropy)
            .map_err(|refused| Error::internal(refused.to_string()))?;
        let mut wait = RETRY_FIRST;
        loop {
            match self.parts.store.keep_salvage(&mint.attempt, &sealed, &mint.act).await.map_err(Error::from) {
                Err(failed) if matches!(failed.kind(), Kind::StoreUnavailable | Kind::DeadlinePassed) => {
                    error!(attempt.id = %mint.attempt.id, "unreadable answer not kept yet: {failed}");
                    wait = self.pause(wait).await;
                }
                kept => return kept,
            }
        }
    }
}
