//! Handing out tokens, and what callers report about them.

use super::accounts::{self, AccountKey};
use super::error::{Error, Kind, Result};
use super::{Call, Permitted, Services};
use crate::domain::account::Account;
use crate::domain::ambient::Timestamp;
use crate::domain::budget::Lane;
use crate::domain::id::{AccountId, ConnectionId, MerchantId, TokenVersion};
use crate::domain::merchant::LinkState;
use crate::domain::name::{RequestId, Subject};
use crate::domain::secret::AccessToken;
use crate::domain::token::{Finding, Liveness, Version};
use crate::domain::trail::{Act, Event, EventKind};
use crate::policy::{Action, Grant, ReadHistory, ReadToken, ReportToken, VerifyToken};
use crate::provider::{Signal, reported_signal};
use crate::store::{Earlier, Head, MerchantKey, Observed, Request};

/// Whose token.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A merchant's.
    Merchant(MerchantKey),
    /// A provider user's, for a merchant that its connection serves.
    Subject(Subject),
    /// That of the merchant for whom an account was made.
    Account(AccountKey),
}

/// A token on its way to a caller that may have it; its read is on record.
#[derive(Debug)]
pub struct ReleasedToken {
    /// The token.
    pub token: AccessToken,
    /// Which version it is, and what is known of it.
    pub version: Version,
    /// The merchant it was read for.
    pub merchant: MerchantId,
    /// The provider user it belongs to.
    pub subject: Subject,
    /// Until when the caller may keep it; `None`: not at all.
    pub cache_until: Option<Timestamp>,
}

/// What a caller was told by the provider.
#[derive(Clone, Debug)]
pub struct ProviderReport {
    /// The caller's id of the report.
    pub request_id: RequestId,
    /// The version the call was made with.
    pub version: (ConnectionId, TokenVersion),
    /// The provider's error code, if there was one.
    pub code: Option<String>,
    /// The provider's description; classified, never stored.
    pub description: String,
    /// The HTTP status, if there was one.
    pub status: Option<u16>,
}

/// What came of a report.
#[derive(Clone, Debug)]
pub struct Reported {
    /// What it led to.
    pub result: ReportResult,
    /// The head as it is now.
    pub head: Version,
    /// What the probe found, if one was made.
    pub finding: Option<Finding>,
}

/// What a report led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReportResult {
    /// A newer version is the head.
    NewerVersion,
    /// The error says nothing about the token.
    NotAboutToken,
    /// The head was probed.
    Probed,
}

impl Services {
    /// Reads a token.
    ///
    /// # Errors
    /// Each reason why there is none to be had, see [`Kind`]; each is on record before it is returned.
    pub async fn read_token(
        &self,
        call: &Call,
        owner: &Owner,
        min_version: Option<(ConnectionId, TokenVersion)>,
    ) -> Result<ReleasedToken> {
        const KIND: EventKind = EventKind::TokenRead;
        self.expect_any_grant::<ReadToken>(call, KIND).await?;
        match owner {
            Owner::Merchant(key) => match self.parts.store.head_of_merchant(key).await {
                Ok(Some(head)) => {
                    let (grant, act) = self.grant::<ReadToken>(call, KIND, &head.merchant).await?;
                    self.release(grant, &act, head, None, min_version).await
                }
                Ok(None) => {
                    let permitted = self.permit::<ReadToken>(call, KIND, key).await?;
                    let kind = self.why_no_head(permitted.merchant.id).await?;
                    Err(self.fail(&permitted.act, KIND, Some(permitted.merchant.id), Error::new(kind)).await)
                }
                Err(unreadable) => Err(self.fail(&call.act(), KIND, None, unreadable.into()).await),
            },
            Owner::Subject(subject) => {
                let heads = self.parts.store.heads_of_subject(self.parts.app.id, subject).await?;
                let policy = self.policy();
                let readable = heads.into_iter().find(|head| {
                    let merchant = &head.merchant;
                    let resource =
                        crate::policy::Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels };
                    policy.authorize::<ReadToken>(&call.caller, &resource, self.now()).is_ok()
                });
                let Some(head) = readable else {
                    return Err(self.deny(call, KIND, None, Kind::NotFound).await);
                };
                let (grant, act) = self.grant::<ReadToken>(call, KIND, &head.merchant).await?;
                self.release(grant, &act, head, None, min_version).await
            }
            Owner::Account(key) => self.read_token_of_account(call, key, min_version).await,
        }
    }

    /// The token that an account is used with: its merchant's, and only while that merchant is linked to the connection that owns
    /// the account. An account without a merchant, the app owner's, leads to no token.
    async fn read_token_of_account(
        &self,
        call: &Call,
        key: &AccountKey,
        min_version: Option<(ConnectionId, TokenVersion)>,
    ) -> Result<ReleasedToken> {
        const KIND: EventKind = EventKind::TokenRead;
        let account = match self.find_account(key).await {
            Ok(account) => account,
            Err(unreadable) => return Err(self.fail(&call.act(), KIND, None, unreadable).await),
        };
        let Some((account, merchant)) = account.and_then(|account| account.merchant.map(|of| (account, of))) else {
            return Err(self.deny(call, KIND, None, Kind::NotFound).await);
        };
        let Permitted { merchant, grant, act } =
            self.permit::<ReadToken>(call, KIND, &MerchantKey::Id(merchant)).await?;
        match self.head_at(&account, merchant.id).await {
            Ok(head) => self.release(grant, &act, head, Some(account.id), min_version).await,
            Err(refused) => Err(self.fail(&act, KIND, Some(merchant.id), refused).await),
        }
    }

    /// The merchant's head, if it is of the connection that owns the account. Connected elsewhere, it is the account that cannot be
    /// used: connecting again would not help.
    async fn head_at(&self, account: &Account, merchant: MerchantId) -> Result<Head> {
        if !account.is_open() {
            return Err(accounts::not_open(account));
        }
        match self.parts.store.head_of_merchant(&MerchantKey::Id(merchant)).await? {
            Some(head) if head.connection.id == account.connection => Ok(head),
            Some(_) => Err(accounts::not_open(account)),
            None => Err(Error::new(self.why_no_head(merchant).await?).with("account_id", account.id)),
        }
    }

    /// The only way out for a token: against a grant, and after its read is durable.
    async fn release(
        &self,
        grant: Grant<ReadToken>,
        act: &Act,
        head: Head,
        account: Option<AccountId>,
        min_version: Option<(ConnectionId, TokenVersion)>,
    ) -> Result<ReleasedToken> {
        let merchant = head.merchant.id;
        if grant.merchant() != Some(merchant) {
            return Err(Error::internal("a grant for one merchant was used for another"));
        }
        let now = self.now();
        let token = readable(&head.version, min_version, now)
            .and_then(|()| self.unseal(&head.version, &head.connection.subject, &head.sealed));
        let token = match token {
            Ok(token) => token,
            Err(unreadable) => return Err(self.fail(act, EventKind::TokenRead, Some(merchant), unreadable).await),
        };
        let mut event =
            act.event(EventKind::TokenRead, now).merchant(merchant).version(head.connection.id, head.version.number);
        event.link = Some(head.link.id);
        event.attempt = Some(head.version.attempt);
        event.fingerprint = Some(head.version.fingerprint);
        if let Some(account) = account {
            event = event.detail("account", account);
        }
        self.parts.auditor.record(event.detail("purpose", grant.purpose())).await?;
        let expires_at = head.version.expires_at;
        Ok(ReleasedToken {
            token,
            version: head.version,
            merchant,
            subject: head.connection.subject,
            cache_until: cache_until(&grant, expires_at, now),
        })
    }

    pub(super) async fn why_no_head(&self, merchant: MerchantId) -> Result<Kind> {
        let links = self.parts.store.links(merchant).await?;
        let held = links.iter().any(|link| link.state == LinkState::Held);
        Ok(if held { Kind::LinkHeld } else { Kind::NotConnected })
    }

    /// Takes a caller's word that the provider answered by an error. About an old version nothing is done; about the head it may
    /// start a probe, never a mint.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a connection that serves no merchant the caller may report on.
    pub async fn report_provider_error(&self, call: &Call, report: &ProviderReport) -> Result<Reported> {
        const KIND: EventKind = EventKind::TokenReported;
        self.expect_any_grant::<ReportToken>(call, KIND).await?;
        let (connection, reported) = report.version;
        let (head, act) = self.head_for::<ReportToken>(call, KIND, connection).await?;
        if reported > head.number {
            let error = Error::new(Kind::VersionNotAvailable).with("head_version", head.number);
            return Err(self.fail(&act, KIND, None, error).await);
        }
        let content: [&[u8]; 5] = [
            connection.as_bytes(),
            &reported.0.to_be_bytes(),
            report.code.as_deref().unwrap_or_default().as_bytes(),
            report.description.as_bytes(),
            &report.status.unwrap_or(0).to_be_bytes(),
        ];
        let request = self.request(call, &report.request_id, "ReportProviderError", &content);
        let signal = reported_signal(report.code.as_deref(), &report.description, report.status);
        let result = match signal {
            _ if reported < head.number => ReportResult::NewerVersion,
            Signal::Dead | Signal::Suspect | Signal::InsufficientScope => ReportResult::Probed,
            Signal::Throttled | Signal::Transient | Signal::NotAboutToken => ReportResult::NotAboutToken,
        };
        let event = act
            .event(KIND, self.now())
            .version(connection, reported)
            .reason(match result {
                ReportResult::NewerVersion => "newer_version",
                ReportResult::NotAboutToken => "not_about_token",
                ReportResult::Probed => "probed",
            })
            .detail(
                "code",
                crate::provider::catalogue::entry_of(report.code.as_deref().unwrap_or_default())
                    .map_or("unlisted", |entry| entry.code),
            );
        self.note_once(&request, connection, event, &act).await?;
        if signal == Signal::Throttled {
            // Whoever called, it is the same app that called too often.
            self.budget.throttled();
        }
        match result {
            ReportResult::Probed => {
                if head.liveness == Liveness::Live {
                    let (liveness, at) = (Liveness::Suspect, self.now());
                    let observed = Observed { liveness, evidence: "report", at, user: None };
                    self.parts.store.record_liveness(connection, head.number, observed, &act).await?;
                }
                let probed = self.probe(connection, call.patience(Lane::Merchant), &act).await?;
                Ok(Reported { result, head: self.by_the_clock(probed.version), finding: Some(probed.finding) })
            }
            ReportResult::NewerVersion | ReportResult::NotAboutToken => {
                Ok(Reported { result, head: self.by_the_clock(head), finding: None })
            }
        }
    }

    /// Probes the merchant's head now.
    ///
    /// # Errors
    /// [`Kind::NotConnected`] and [`Kind::LinkHeld`] when there is none.
    pub async fn verify_token(
        &self,
        call: &Call,
        request_id: &RequestId,
        key: &MerchantKey,
    ) -> Result<(Version, Finding)> {
        const KIND: EventKind = EventKind::TokenVerified;
        let Permitted { merchant, act, .. } = self.permit::<VerifyToken>(call, KIND, key).await?;
        let Some(head) = self.parts.store.head_of_merchant(&MerchantKey::Id(merchant.id)).await? else {
            let kind = self.why_no_head(merchant.id).await?;
            return Err(self.fail(&act, KIND, Some(merchant.id), Error::new(kind)).await);
        };
        let event = act.event(KIND, self.now()).merchant(merchant.id).version(head.connection.id, head.version.number);
        let request = self.request(call, request_id, "VerifyToken", &[merchant.id.as_bytes()]);
        self.note_once(&request, head.connection.id, event, &act).await?;
        let probed = self.probe(head.connection.id, call.patience(Lane::Merchant), &act).await?;
        Ok((self.by_the_clock(probed.version), probed.finding))
    }

    /// Notes a request with its event, once: the same request again is carried out again, for a probe is harmless, and its answer
    /// is what is true then.
    async fn note_once(&self, request: &Request, connection: ConnectionId, event: Event, act: &Act) -> Result<()> {
        let kind = event.kind;
        match self.parts.store.earlier(request).await? {
            Earlier::None => Ok(self.parts.store.note_event(request, connection.as_bytes(), event).await?),
            Earlier::Same(_) => self.parts.auditor.record(event).await,
            Earlier::Other => Err(self.fail(act, kind, None, Error::new(Kind::RequestIdReused)).await),
        }
    }

    /// Every version of every connection that the merchant is or was linked to, newest first.
    ///
    /// # Errors
    /// As every look at a merchant.
    pub async fn token_versions(&self, call: &Call, key: &MerchantKey) -> Result<Vec<(Version, bool)>> {
        const KIND: EventKind = EventKind::VersionsListed;
        let Permitted { merchant, act, .. } = self.permit::<ReadHistory>(call, KIND, key).await?;
        let mut versions = Vec::new();
        for link in self.parts.store.links(merchant.id).await? {
            let of_connection = self.parts.store.versions(link.connection).await?;
            let head = self.parts.store.head(link.connection).await?.map(|head| head.number);
            for version in of_connection {
                let is_head = head == Some(version.number);
                let known = versions.iter().any(|(known, _): &(Version, bool)| {
                    (known.connection, known.number) == (version.connection, version.number)
                });
                if !known {
                    versions.push((self.by_the_clock(version), is_head));
                }
            }
        }
        versions.sort_by_key(|(version, _)| std::cmp::Reverse((version.stored_at, version.number)));
        self.parts.auditor.record(act.event(KIND, self.now()).merchant(merchant.id)).await?;
        Ok(versions)
    }

    /// The head of a connection, for a caller that may do `A` to a merchant which it serves or may come to serve.
    async fn head_for<A: Action>(
        &self,
        call: &Call,
        kind: EventKind,
        connection: ConnectionId,
    ) -> Result<(Version, Act)> {
        let policy = self.policy();
        for link in self.parts.store.open_links_of(connection).await? {
            let Some(merchant) = self.parts.store.merchant(&MerchantKey::Id(link.merchant)).await? else { continue };
            let resource = crate::policy::Resource::Merchant { id: Some(merchant.id), labels: &merchant.labels };
            if let Ok(grant) = policy.authorize::<A>(&call.caller, &resource, self.now()) {
                let head = self.parts.store.head(connection).await?;
                let head = head.ok_or_else(|| Error::internal("a linked connection without a head"))?;
                return Ok((head, call.act_by(&grant)));
            }
        }
        Err(self.deny(call, kind, None, Kind::NotFound).await)
    }
}

/// How long a reader may keep the token: as long as its grant says, and never beyond the end of the grant or of the token.
fn cache_until(grant: &Grant<ReadToken>, expires_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let wanted = (!grant.cache_for().is_zero()).then(|| now.plus(grant.cache_for()))?;
    Some([grant.not_after(), expires_at].into_iter().flatten().fold(wanted, Timestamp::min))
}

/// What a reader gets: a live or suspect token, not older than asked for.
pub(super) fn readable(version: &Version, min: Option<(ConnectionId, TokenVersion)>, now: Timestamp) -> Result<()> {
    if let Some((connection, number)) = min
        && (version.connection != connection || version.number < number)
    {
        return Err(Error::new(Kind::VersionNotAvailable)
            .with("head_connection_id", version.connection)
            .with("head_version", version.number));
    }
    let kind = match version.liveness.at(version.expires_at, now) {
        Liveness::Live | Liveness::Suspect => return Ok(()),
        Liveness::Dead => Kind::TokenDead,
        Liveness::Expired => Kind::TokenExpired,
        Liveness::InsufficientScope => Kind::InsufficientScope,
    };
    Err(Error::new(kind)
        .with("connection_id", version.connection)
        .with("version", version.number)
        .with("evidence", &version.evidence)
        .with("evidence_time", version.evidence_at.to_rfc3339()))
}
