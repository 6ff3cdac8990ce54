//! The app owner: the provider user to whom our app belongs. Its token, from the provider's dashboard, is imported and never minted; it
//! is the control of probes, so that with one merchant only an outage does not look like a dead token.

use std::time::Duration;

use tracing::{error, info, warn};

use super::Services;
use super::budget::Patience;
use super::error::{Error, Kind, Result};
use crate::domain::attempt::AttemptState;
use crate::domain::id::{AttemptId, ConnectionId};
use crate::domain::merchant::Role;
use crate::domain::name::ProviderAccountId;
use crate::domain::provider_call::About;
use crate::domain::secret::AccessToken;
use crate::domain::trail::Act;
use crate::provider::{CallError, CallKind, IssuedToken, Signal, User};
use crate::store::{Attempt, EarlierTokens, NewToken};

/// First wait before an import that could not be made is tried again…
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// …and the longest.
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// How often the token is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// What an operator brings of the app owner.
pub struct AppOwner {
    /// The token, as the provider's dashboard shows it.
    pub token: AccessToken,
    /// The owner's own payment account, if it has one.
    pub account: Option<ProviderAccountId>,
}

impl Services {
    /// Imports the app owner's token and account, and tries again until that is done or the provider says that it does not take the
    /// token. Start and service never wait for it.
    pub async fn adopt_app_owner(&self, owner: &AppOwner) -> Option<ConnectionId> {
        let mut wait = RETRY_FIRST;
        loop {
            match self.import_app_owner(owner).await {
                Ok(connection) => return Some(connection),
                Err(refused) if refused.kind() == Kind::ProviderRefused => {
                    error!("the app owner's token or account cannot be used, probes do without: {refused}");
                    return None;
                }
                Err(failed) => warn!("app owner not imported yet: {failed}"),
            }
            self.parts.clock.sleep(wait).await;
            wait = wait.saturating_mul(2).min(RETRY_LONGEST);
        }
    }

    /// Resolves when the app owner's token is known, whoever imported it: for a process that leaves that to another.
    pub async fn app_owner_known(&self, owner: &AppOwner) {
        let fingerprint = self.parts.vault.fingerprint(&owner.token);
        loop {
            match self.parts.store.version_with(&fingerprint).await {
                Ok(Some(_)) => return,
                Ok(None) => {}
                Err(failed) => warn!("app owner's token not looked for: {failed}"),
            }
            self.parts.clock.sleep(RETRY_FIRST).await;
        }
    }

    /// Looks at the app owner's token now and then, for ever: while it is called live its word decides whether others are dead.
    pub async fn keep_looking_at_owner(&self, connection: ConnectionId) {
        loop {
            self.parts.clock.sleep(LOOK_EVERY).await;
            if let Err(failed) = self.probe(connection, Patience::sweep(), &Act::system()).await {
                warn!("app owner's token not looked at: {failed}");
            }
        }
    }

    async fn import_app_owner(&self, owner: &AppOwner) -> Result<ConnectionId> {
        let act = Act::system();
        let fingerprint = self.parts.vault.fingerprint(&owner.token);
        let connection = match self.parts.store.version_with(&fingerprint).await? {
            Some(known) => {
                // It may have been revoked since.
                self.probe(known.connection, Patience::sweep(), &act).await?;
                known.connection
            }
            None => self.import_token(&owner.token, &act).await?,
        };
        if let Some(account) = &owner.account {
            self.import_account(connection, &owner.token, account, &act).await?;
        }
        Ok(connection)
    }

    /// Stores a token that the provider accepts as a version of its user's connection. Nothing is minted and nothing revoked.
    async fn import_token(&self, token: &AccessToken, act: &Act) -> Result<ConnectionId> {
        let permit = self.budget.permit(Patience::sweep()).await?;
        let user = self
            .parts
            .provider
            .by(permit, About::default())
            .user(token)
            .await
            .map_err(|failed| not_imported(&failed))?;
        let known = self.parts.store.connection_of(self.parts.app.id, &user.subject).await?;
        if known.is_some_and(|known| known.role != Role::AppOwner) {
            // Its readers have the token that the merchant consented to.
            return Err(Error::new(Kind::ProviderRefused).because("the app owner is a merchant's user"));
        }
        let (services, act) = (self.clone(), act.clone());
        let token = AccessToken::new(token.expose().to_owned());
        // In a task: who stops leading between claim and commit would leave an attempt that nobody carries out.
        let stored = self.tasks.spawn(async move { services.claim_and_store(&token, user, &act).await });
        stored.await.map_err(|ended| Error::internal(format!("importing ended badly: {ended}")))?
    }

    async fn claim_and_store(&self, token: &AccessToken, user: User, act: &Act) -> Result<ConnectionId> {
        let id = AttemptId::generate(&*self.parts.clock, &*self.parts.entropy);
        self.parts.store.claim_import(self.parts.app.id, id, act).await?;
        match self.store_owners(token, user, id, act).await {
            Ok(connection) => Ok(connection),
            Err(failed) => {
                self.leave_to_judgement(id, act).await;
                Err(failed)
            }
        }
    }

    async fn store_owners(&self, token: &AccessToken, user: User, id: AttemptId, act: &Act) -> Result<ConnectionId> {
        let attempt = self.parts.store.attempt(id).await?;
        let attempt = attempt.ok_or_else(|| Error::internal("an attempt that was just claimed is gone"))?;
        if !self.parts.store.arm(&attempt, &[], None, act).await? {
            return Err(Error::internal("an import that stands in nobody's way was not armed"));
        }
        let armed = Attempt { state: AttemptState::Armed, ..attempt };
        // Whoever names this address registers nobody: that could revoke this token.
        let email_index = user.email.as_ref().map(|email| self.email_index(email));
        let issued = IssuedToken {
            subject: user.subject,
            access_token: AccessToken::new(token.expose().to_owned()),
            expires_in: None,
        };
        let new = NewToken { email_index, ..self.seal_issued(&armed, &issued, Role::AppOwner, EarlierTokens::Kept)? };
        let stored = self.parts.store.commit_token(&new, act).await?;
        info!(connection.id = %stored.connection.id, version = %stored.version, "app owner's token imported");
        Ok(stored.connection.id)
    }

    async fn import_account(
        &self,
        connection: ConnectionId,
        token: &AccessToken,
        account: &ProviderAccountId,
        act: &Act,
    ) -> Result<()> {
        if self.parts.store.account_at_provider(self.parts.app.id, account.as_str()).await?.is_some() {
            return Ok(());
        }
        let about = About { connection: Some(connection), ..About::default() };
        let permit = self.budget.permit(Patience::sweep()).await?;
        let said = self.parts.provider.by(permit, about).account(token, account.as_str()).await;
        let said = said.map_err(|failed| not_imported(&failed))?;
        Ok(self.parts.store.adopt_account(self.parts.app.id, connection, &said, act).await?)
    }
}

/// Why nothing was imported: for good, or for now.
fn not_imported(failed: &CallError) -> Error {
    let for_good = matches!(failed, CallError::Refused(_))
        && !matches!(failed.signal(CallKind::User), Signal::Throttled | Signal::Transient);
    Error::new(if for_good { Kind::ProviderRefused } else { Kind::ProviderUnavailable }).because(failed.to_string())
}
