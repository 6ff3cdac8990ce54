//! AdminService: convert, call, convert.

use tonic::{Request, Response, Status};

use super::{Desk, convert};
use crate::domain::name::{CallerId, FieldError};
use crate::service::{AccessQuestion, AccessReport, ActionName, Error, GrantView};
use crate::v1;
use crate::v1::admin_service_server::AdminService;

pub(super) struct Admin(pub(super) Desk);

#[tonic::async_trait]
impl AdminService for Admin {
    async fn explain_access(
        &self,
        request: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async { self.0.services.explain_access(&call, &question(&request)?).await };
        let report = self.0.read(&call, work).await?;
        Ok(Response::new(reply(report)))
    }
}

fn question(request: &v1::ExplainAccessRequest) -> Result<AccessQuestion, Error> {
    use v1::explain_access_request::Merchant;
    let caller = (!request.caller.is_empty()).then(|| CallerId::parse(&request.caller)).transpose()?;
    let action = match request.action.as_str() {
        "" => None,
        text => Some(ActionName::parse(text).ok_or_else(|| FieldError::new("action", "is no action there is"))?),
    };
    let merchant = match &request.merchant {
        Some(Merchant::MerchantId(id)) => Some(convert::merchant_key(Some(id), None)?),
        Some(Merchant::ExternalId(id)) => Some(convert::merchant_key(None, Some(id))?),
        None => None,
    };
    if caller.is_none() && action.is_none() && merchant.is_none() {
        return Err(FieldError::new("caller", "name a caller, an action or a merchant").into());
    }
    Ok(AccessQuestion { caller, action, merchant })
}

fn reply(report: AccessReport) -> v1::ExplainAccessResponse {
    v1::ExplainAccessResponse {
        allowed: report.allowed,
        grants: report.grants.into_iter().map(line).collect(),
        policy_hash: report.policy.0.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn line(grant: GrantView) -> v1::GrantLine {
    v1::GrantLine {
        grant_id: grant.id,
        caller: grant.caller,
        actions: grant.actions.into_iter().map(str::to_owned).collect(),
        merchants: grant.merchants,
        purpose: grant.purpose,
        not_before_time: grant.not_before.map(convert::time),
        not_after_time: grant.not_after.map(convert::time),
        allows: grant.obstacle.is_none(),
        obstacle: grant.obstacle.unwrap_or_default().to_owned(),
    }
}
