//! AccountService: convert, call, convert.

use tonic::{Request, Response, Status};

use super::{Desk, convert};
use crate::domain::account::{Account, AccountKind, AccountNextAction, AccountState, Country, OpeningState};
use crate::domain::name::{Description, DisplayName, FieldError, ProviderAccountId, RequestId};
use crate::domain::statement::{Judgement, Verdict};
use crate::service::{AccountKey, AccountOrder, AccountPatch, Error};
use crate::v1;
use crate::v1::account_service_server::AccountService;

/// Longest name that is judged at all: four times the provider's limit in bytes.
const NAME_BYTES_MAX: usize = 1024;

pub(super) struct Accounts(pub(super) Desk);

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn check_account_name(
        &self,
        request: Request<v1::CheckAccountNameRequest>,
    ) -> Result<Response<v1::CheckAccountNameResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let name = name(&request.name)?;
            let dba = dba(&request.dba)?;
            self.0.services.check_account_name(&call, name, dba.as_ref().map(DisplayName::as_str)).await
        };
        let judgement = self.0.read(&call, work).await?;
        Ok(Response::new(judged(&judgement)))
    }

    async fn create_account(
        &self,
        request: Request<v1::CreateAccountRequest>,
    ) -> Result<Response<v1::CreateAccountResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async { self.0.services.create_account(&call, &order(&request)?).await };
        let account = self.0.run(&call, work).await?;
        Ok(Response::new(v1::CreateAccountResponse { account: Some(shown(&account)) }))
    }

    async fn update_account(
        &self,
        request: Request<v1::UpdateAccountRequest>,
    ) -> Result<Response<v1::UpdateAccountResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async { self.0.services.update_account(&call, &patch(&request)?).await };
        let account = self.0.run(&call, work).await?;
        Ok(Response::new(v1::UpdateAccountResponse { account: Some(shown(&account)) }))
    }

    async fn get_account(
        &self,
        request: Request<v1::GetAccountRequest>,
    ) -> Result<Response<v1::GetAccountResponse>, Status> {
        use v1::get_account_request::Account;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let key = match &request.account {
                Some(Account::AccountId(id)) => AccountKey::Id(convert::id("account_id", id)?),
                Some(Account::ProviderAccountId(id)) => AccountKey::Provider(ProviderAccountId::parse(id)?),
                None => return Err(FieldError::new("account", "name it by account_id or provider_account_id").into()),
            };
            self.0.services.account(&call, &key, request.refresh).await
        };
        let account = if request.refresh { self.0.run(&call, work).await? } else { self.0.read(&call, work).await? };
        Ok(Response::new(v1::GetAccountResponse { account: Some(shown(&account)) }))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Result<Response<v1::ListAccountsResponse>, Status> {
        use v1::list_accounts_request::Merchant;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let key = match &request.merchant {
                None => None,
                named => Some(convert::named!(Merchant, named)?),
            };
            let after = match request.page_token.as_str() {
                "" => None,
                text => Some(convert::id("page_token", text)?),
            };
            let size = convert::page_size(request.page_size)?;
            self.0.services.accounts(&call, key.as_ref(), after, size).await
        };
        let page = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ListAccountsResponse {
            accounts: page.accounts.iter().map(shown).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }
}

/// Parses the whole request and names every field that breaks a rule.
fn order(request: &v1::CreateAccountRequest) -> Result<AccountOrder, Error> {
    use v1::create_account_request::Merchant;
    let merchant = convert::named!(Merchant, &request.merchant)?;
    let mut faults = Vec::new();
    let mut keep = |fault: FieldError| faults.push(fault);
    let request_id = RequestId::parse(&request.request_id).map_err(&mut keep).ok();
    let name = name(&request.name).map_err(&mut keep).ok();
    let dba = dba(&request.dba).map_err(&mut keep).ok();
    let description = Description::parse(&request.description).map_err(&mut keep).ok();
    let kind = kind(request.kind).map_err(&mut keep).ok();
    let country = country(&request.country).map_err(&mut keep).ok();
    match (request_id, name, dba, description, kind, country) {
        (Some(request_id), Some(name), Some(dba), Some(description), Some(kind), Some(country)) => {
            Ok(AccountOrder { request_id, merchant, name: name.to_owned(), dba, description, kind, country })
        }
        _ => Err(Error::invalid(faults)),
    }
}

fn patch(request: &v1::UpdateAccountRequest) -> Result<AccountPatch, Error> {
    let patch = AccountPatch {
        request_id: RequestId::parse(&request.request_id)?,
        account: convert::id("account_id", &request.account_id)?,
        name: given(&request.name, |text| name(text).map(str::to_owned))?,
        description: given(&request.description, Description::parse)?,
    };
    if patch.name.is_none() && patch.description.is_none() {
        return Err(FieldError::new("name", "name or description must be given").into());
    }
    Ok(patch)
}

fn name(text: &str) -> Result<&str, FieldError> {
    if text.len() > NAME_BYTES_MAX {
        return Err(FieldError::new("name", format!("must be at most {NAME_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn dba(text: &str) -> Result<Option<DisplayName>, FieldError> {
    given(text, DisplayName::parse).map_err(|fault| FieldError::new("dba", fault.rule))
}

fn kind(number: i32) -> Result<AccountKind, FieldError> {
    match v1::AccountKind::try_from(number) {
        Ok(v1::AccountKind::Unspecified | v1::AccountKind::Personal) => Ok(AccountKind::Personal),
        Ok(v1::AccountKind::Business) => Ok(AccountKind::Business),
        Ok(v1::AccountKind::Nonprofit) => Ok(AccountKind::Nonprofit),
        Err(_) => Err(FieldError::new("kind", "must be a value of the enum")),
    }
}

fn country(text: &str) -> Result<Country, FieldError> {
    match text {
        "" => Ok(Country::default()),
        text => Country::parse(text).ok_or_else(|| FieldError::new("country", "must be US or CA")),
    }
}

fn given<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, FieldError>) -> Result<Option<T>, FieldError> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn judged(judgement: &Judgement) -> v1::CheckAccountNameResponse {
    v1::CheckAccountNameResponse {
        verdict: match judgement.verdict {
            Verdict::Accept => v1::NameVerdict::Accept,
            Verdict::Warn => v1::NameVerdict::Warn,
            Verdict::Refuse => v1::NameVerdict::Refuse,
        }
        .into(),
        reasons: judgement
            .reasons
            .iter()
            .map(|reason| v1::NameReason { code: reason.code().to_owned(), text: reason.text().to_owned() })
            .collect(),
        preview: Some(v1::NamePreview {
            at_14: judgement.preview.at_14.clone(),
            at_18: judgement.preview.at_18.clone(),
            at_20: judgement.preview.at_20.clone(),
        }),
        suggestions: judgement.suggestions.clone(),
    }
}

fn shown(account: &Account) -> v1::Account {
    let seen = account.seen.as_ref();
    v1::Account {
        account_id: account.id.to_string(),
        provider_account_id: account.provider_id.clone().unwrap_or_default(),
        merchant_id: account.merchant.map(|id| id.to_string()).unwrap_or_default(),
        connection_id: account.connection.to_string(),
        opening: opening(account.opening).into(),
        name: account.name.clone(),
        description: account.description.clone(),
        kind: account.kind.map_or(v1::AccountKind::Unspecified, shown_kind).into(),
        country: account.country.clone(),
        currency: account.currency.clone(),
        state: seen.and_then(|seen| seen.state).map_or(v1::AccountState::Unspecified, state).into(),
        action_reasons: seen.map(|seen| seen.action_reasons.clone()).unwrap_or_default(),
        disabled_reasons: seen.map(|seen| seen.disabled_reasons.clone()).unwrap_or_default(),
        disablement_time: seen.and_then(|seen| seen.disablement_at).map(convert::time),
        seen_time: seen.map(|seen| convert::time(seen.at)),
        create_time: Some(convert::time(account.created_at)),
        refusal: account.refusal.as_ref().map(|refusal| v1::AccountRefusal {
            error: refusal.error.clone(),
            code: refusal.code.clone().unwrap_or_default(),
            description: refusal.description.clone(),
        }),
        next_action: next_action(account.next_action()).into(),
        next_action_text: account.next_action_text(),
    }
}

const fn opening(opening: OpeningState) -> v1::AccountOpening {
    match opening {
        OpeningState::Requested => v1::AccountOpening::Requested,
        OpeningState::Sent => v1::AccountOpening::Sent,
        OpeningState::Open => v1::AccountOpening::Open,
        OpeningState::Refused => v1::AccountOpening::Refused,
        OpeningState::InDoubt => v1::AccountOpening::InDoubt,
        OpeningState::Absent => v1::AccountOpening::Absent,
    }
}

const fn state(state: AccountState) -> v1::AccountState {
    match state {
        AccountState::Pending => v1::AccountState::Pending,
        AccountState::ActionRequired => v1::AccountState::ActionRequired,
        AccountState::Active => v1::AccountState::Active,
        AccountState::Disabled => v1::AccountState::Disabled,
        AccountState::Deleted => v1::AccountState::Deleted,
    }
}

const fn shown_kind(kind: AccountKind) -> v1::AccountKind {
    match kind {
        AccountKind::Personal => v1::AccountKind::Personal,
        AccountKind::Business => v1::AccountKind::Business,
        AccountKind::Nonprofit => v1::AccountKind::Nonprofit,
    }
}

const fn next_action(action: AccountNextAction) -> v1::AccountNextAction {
    match action {
        AccountNextAction::None => v1::AccountNextAction::None,
        AccountNextAction::Wait => v1::AccountNextAction::Wait,
        AccountNextAction::CreateAgain => v1::AccountNextAction::CreateAgain,
        AccountNextAction::ConfirmEmail => v1::AccountNextAction::ConfirmEmail,
        AccountNextAction::ProvideInformation => v1::AccountNextAction::ProvideInformation,
        AccountNextAction::FixCause => v1::AccountNextAction::FixCause,
        AccountNextAction::LookAtProvider => v1::AccountNextAction::LookAtProvider,
    }
}
