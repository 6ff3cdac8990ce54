//! TokenService: convert, call, convert.

use tonic::{Request, Response, Status};

use super::{Desk, convert};
use crate::domain::attempt::AttemptKind;
use crate::domain::id::ConnectionId;
use crate::domain::name::{FieldError, ProviderAccountId, RequestId, Subject};
use crate::service::{
    AccountKey, AttemptFilter, Error, ListedAttempt, Owner, ProviderReport, ReleasedToken, ReportResult,
};
use crate::v1;
use crate::v1::token_service_server::TokenService;

/// Longest description of a provider's error: recorded ones are under 150 characters.
const DESCRIPTION_CHARS_MAX: usize = 500;
/// Longest error code.
const CODE_BYTES_MAX: usize = 16;

pub(super) struct Tokens(pub(super) Desk);

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn get_access_token(
        &self,
        request: Request<v1::GetAccessTokenRequest>,
    ) -> Result<Response<v1::GetAccessTokenResponse>, Status> {
        use v1::get_access_token_request::Owner as Wanted;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let owner = match &request.owner {
                Some(Wanted::MerchantId(id)) => Owner::Merchant(convert::merchant_key(Some(id), None)?),
                Some(Wanted::ExternalId(id)) => Owner::Merchant(convert::merchant_key(None, Some(id))?),
                Some(Wanted::Subject(subject)) => Owner::Subject(Subject::parse(subject)?),
                Some(Wanted::AccountId(id)) => Owner::Account(AccountKey::Id(convert::id("account_id", id)?)),
                Some(Wanted::ProviderAccountId(id)) => {
                    Owner::Account(AccountKey::Provider(ProviderAccountId::parse(id)?))
                }
                None => return Err(FieldError::new("owner", "name a merchant, a subject or an account").into()),
            };
            let min = request.min_version.as_ref().map(|min| convert::version_ref("min_version", min)).transpose()?;
            self.0.services.read_token(&call, &owner, min).await
        };
        let released = self.0.read(&call, work).await?;
        Ok(Response::new(into_reply(released)))
    }

    async fn report_provider_error(
        &self,
        request: Request<v1::ReportProviderErrorRequest>,
    ) -> Result<Response<v1::ReportProviderErrorResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async { self.0.services.report_provider_error(&call, &report(request)?).await };
        let reported = self.0.run(&call, work).await?;
        Ok(Response::new(v1::ReportProviderErrorResponse {
            result: match reported.result {
                ReportResult::NewerVersion => v1::ReportResult::NewerVersion,
                ReportResult::NotAboutToken => v1::ReportResult::NotAboutToken,
                ReportResult::Probed => v1::ReportResult::Probed,
            }
            .into(),
            head: Some(convert::version(&reported.head, true)),
            finding: convert::finding(reported.finding).into(),
        }))
    }

    async fn verify_token(
        &self,
        request: Request<v1::VerifyTokenRequest>,
    ) -> Result<Response<v1::VerifyTokenResponse>, Status> {
        use v1::verify_token_request::Merchant;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let id = RequestId::parse(&request.request_id)?;
            let key = convert::named!(Merchant, &request.merchant)?;
            self.0.services.verify_token(&call, &id, &key).await
        };
        let (head, finding) = self.0.run(&call, work).await?;
        Ok(Response::new(v1::VerifyTokenResponse {
            head: Some(convert::version(&head, true)),
            finding: convert::finding(Some(finding)).into(),
        }))
    }

    async fn list_token_versions(
        &self,
        request: Request<v1::ListTokenVersionsRequest>,
    ) -> Result<Response<v1::ListTokenVersionsResponse>, Status> {
        use v1::list_token_versions_request::Merchant;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let key = convert::named!(Merchant, &request.merchant)?;
            let size = convert::page_size(request.page_size)?;
            let after = after(&request.page_token)?;
            let versions = self.0.services.token_versions(&call, &key).await?;
            let skip = match after {
                None => 0,
                Some(last) => versions
                    .iter()
                    .position(|(version, _)| (version.connection, version.number.0) == last)
                    .map(|place| place.saturating_add(1))
                    .ok_or_else(convert::bad_page_token)?,
            };
            Ok((versions, size, skip))
        };
        let (versions, size, skip) = self.0.read(&call, work).await?;
        let mut versions: Vec<_> = versions
            .iter()
            .skip(skip)
            .take(size.saturating_add(1))
            .map(|(version, head)| convert::version(version, *head))
            .collect();
        let more = versions.len() > size;
        versions.truncate(size);
        let last = versions.last().filter(|_| more).and_then(|version| version.r#ref.as_ref());
        let next_page_token = last.map(|last| format!("{}:{}", last.connection_id, last.version)).unwrap_or_default();
        Ok(Response::new(v1::ListTokenVersionsResponse { versions, next_page_token }))
    }

    async fn list_attempts(
        &self,
        request: Request<v1::ListAttemptsRequest>,
    ) -> Result<Response<v1::ListAttemptsResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let below = convert::optional(&request.page_token, |token| {
                token.parse().map_err(|_| convert::bad_page_token().into())
            })?;
            let size = convert::page_size(request.page_size)?;
            self.0.services.attempts(&call, &attempt_filter(&request)?, below, size).await
        };
        let page = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ListAttemptsResponse {
            attempts: page.attempts.iter().map(attempt).collect(),
            next_page_token: page.next.map(|last| last.to_string()).unwrap_or_default(),
        }))
    }
}

fn attempt_filter(request: &v1::ListAttemptsRequest) -> Result<AttemptFilter, Error> {
    use v1::list_attempts_request::Merchant;
    let merchant = match &request.merchant {
        None => None,
        named => Some(convert::named!(Merchant, named)?),
    };
    let kind = match v1::AttemptKind::try_from(request.kind) {
        Ok(v1::AttemptKind::Unspecified) => None,
        Ok(wanted) => AttemptKind::ALL.into_iter().find(|kind| attempt_kind(*kind) == wanted),
        Err(_) => return Err(FieldError::new("kind", "must be a value of the enum").into()),
    };
    Ok(AttemptFilter { merchant, state: convert::wanted_state(request.state)?, kind, open: request.open })
}

const fn attempt_kind(kind: AttemptKind) -> v1::AttemptKind {
    match kind {
        AttemptKind::Exchange => v1::AttemptKind::Exchange,
        AttemptKind::Register => v1::AttemptKind::Register,
        AttemptKind::Import => v1::AttemptKind::Import,
    }
}

fn attempt(listed: &ListedAttempt) -> v1::Attempt {
    let attempt = &listed.attempt;
    v1::Attempt {
        attempt_id: attempt.id.to_string(),
        kind: attempt_kind(attempt.kind).into(),
        state: convert::attempt_state(attempt.state).into(),
        reason: attempt.reason.clone().unwrap_or_default(),
        merchant_id: convert::text(attempt.merchant),
        connection_id: convert::text(attempt.connection),
        flow_id: convert::text(attempt.flow),
        receive_time: Some(convert::time(attempt.received_at)),
        arm_time: attempt.armed_at.map(convert::time),
        change_time: Some(convert::time(attempt.changed_at)),
        judge_time: attempt.judge_at.map(convert::time),
        version: listed.version.map(|(connection, number)| v1::TokenVersionRef {
            connection_id: connection.to_string(),
            version: number.0,
        }),
    }
}

/// The only call of `expose` outside vault and provider: the token enters the one message that may carry it.
fn into_reply(released: ReleasedToken) -> v1::GetAccessTokenResponse {
    v1::GetAccessTokenResponse {
        access_token: released.token.expose().to_owned(),
        version: Some(convert::reference(&released.version)),
        liveness: convert::liveness(released.version.liveness).into(),
        evidence_time: Some(convert::time(released.version.evidence_at)),
        cache_until_time: released.cache_until.map(convert::time),
        expire_time: released.version.expires_at.map(convert::time),
        merchant_id: released.merchant.to_string(),
        subject: released.subject.to_string(),
    }
}

fn report(request: v1::ReportProviderErrorRequest) -> Result<ProviderReport, Error> {
    let version = request.version.as_ref().ok_or_else(|| FieldError::new("version", "must be given"))?;
    let code = request.error_code.as_str();
    if code.len() > CODE_BYTES_MAX || !code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Err(FieldError::new("error_code", "must be at most 16 letters, digits or underscores").into());
    }
    if request.error_description.chars().count() > DESCRIPTION_CHARS_MAX {
        return Err(FieldError::new("error_description", "must be at most 500 characters").into());
    }
    let status = match request.http_status {
        0 => None,
        status @ 100..=599 => u16::try_from(status).ok(),
        _ => return Err(FieldError::new("http_status", "must be an HTTP status or 0").into()),
    };
    Ok(ProviderReport {
        request_id: RequestId::parse(&request.request_id)?,
        version: convert::version_ref("version", version)?,
        code: (!code.is_empty()).then(|| code.to_owned()),
        description: request.error_description,
        status,
    })
}

fn after(page_token: &str) -> Result<Option<(ConnectionId, u32)>, Error> {
    if page_token.is_empty() {
        return Ok(None);
    }
    let (connection, number) = page_token.split_once(':').ok_or_else(convert::bad_page_token)?;
    let connection = connection.parse().map_err(|_| convert::bad_page_token())?;
    Ok(Some((connection, number.parse().map_err(|_| convert::bad_page_token())?)))
}
