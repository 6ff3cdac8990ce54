//! OnboardingService: convert, call, convert.

use std::net::Ipv4Addr;

use tonic::{Request, Response, Status};

use super::{Desk, convert, status};
use crate::domain::ambient::Timestamp;
use crate::domain::id::{LinkId, MerchantId};
use crate::domain::name::{DisplayName, Email, ExternalId, FieldError, Label, Reason, RequestId, device, person_name};
use crate::service::{
    Asked, AuthorizationRequest, Error, LinkRequest, MailTexts, MerchantFilter, Registrant, RegistrationRequest,
    Resolution,
};
use crate::v1;
use crate::v1::onboarding_service_server::OnboardingService;

/// Longest confirmation: ours have 43 characters.
const CONFIRMATION_BYTES_MAX: usize = 64;

pub(super) struct Onboarding(pub(super) Desk);

#[tonic::async_trait]
impl OnboardingService for Onboarding {
    async fn start_authorization(
        &self,
        request: Request<v1::StartAuthorizationRequest>,
    ) -> Result<Response<v1::StartAuthorizationResponse>, Status> {
        let call = self.0.call(&request).await?;
        let wanted = authorization(request.into_inner()).map_err(|error| status::of(&error, call.id))?;
        let invited = self.0.run(&call, self.0.services.start_authorization(&call, &wanted)).await?;
        Ok(Response::new(v1::StartAuthorizationResponse {
            merchant_id: invited.merchant.to_string(),
            invitation_id: invited.invitation.to_string(),
            url: invited.url.into(),
            expire_time: Some(convert::time(invited.expires_at)),
        }))
    }

    async fn register_merchant(
        &self,
        request: Request<v1::RegisterMerchantRequest>,
    ) -> Result<Response<v1::RegisterMerchantResponse>, Status> {
        let call = self.0.mint_call(&request).await?;
        let now = self.0.clock.now();
        let wanted = registration(request.into_inner(), now).map_err(|error| status::of(&error, call.id))?;
        let view = self.0.mint(&call, self.0.services.register_merchant(&call, &wanted)).await?;
        Ok(Response::new(v1::RegisterMerchantResponse { merchant: Some(convert::merchant(&view)) }))
    }

    async fn send_confirmation(
        &self,
        request: Request<v1::SendConfirmationRequest>,
    ) -> Result<Response<v1::SendConfirmationResponse>, Status> {
        use v1::send_confirmation_request::Merchant;
        let call = self.0.mint_call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let id = RequestId::parse(&request.request_id)?;
            let key = convert::named!(Merchant, &request.merchant)?;
            let texts = MailTexts {
                subject: request.email_subject,
                message: request.email_message,
                button_text: request.email_button_text,
            };
            self.0.services.send_confirmation(&call, &id, &key, &texts).await
        };
        let (view, asked) = self.0.mint(&call, work).await?;
        let result = match asked {
            Asked::Sent => v1::ConfirmationResult::Sent,
            Asked::AlreadyConfirmed => v1::ConfirmationResult::AlreadyConfirmed,
        };
        let merchant = Some(convert::merchant(&view));
        Ok(Response::new(v1::SendConfirmationResponse { result: result.into(), merchant }))
    }

    async fn link_merchant(
        &self,
        request: Request<v1::LinkMerchantRequest>,
    ) -> Result<Response<v1::LinkMerchantResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let wanted = LinkRequest {
                request_id: RequestId::parse(&request.request_id)?,
                external_id: ExternalId::parse(&request.external_id)?,
                display_name: given(&request.display_name, DisplayName::parse)?,
                labels: Label::parse_all(&request.labels)?,
                connection: convert::id("connection_id", &request.connection_id)?,
            };
            self.0.services.link_merchant(&call, &wanted).await
        };
        let link = self.0.read(&call, work).await?;
        Ok(Response::new(v1::LinkMerchantResponse { link: Some(convert::link(&link)) }))
    }

    async fn confirm_connection(
        &self,
        request: Request<v1::ConfirmConnectionRequest>,
    ) -> Result<Response<v1::ConfirmConnectionResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let id = RequestId::parse(&request.request_id)?;
            let merchant: MerchantId = convert::id("merchant_id", &request.merchant_id)?;
            if request.confirmation.len() > CONFIRMATION_BYTES_MAX {
                return Err(FieldError::new("confirmation", "must be at most 64 characters").into());
            }
            self.0.services.confirm_connection(&call, &id, merchant, &request.confirmation).await
        };
        let link = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ConfirmConnectionResponse { link: Some(convert::link(&link)) }))
    }

    async fn resolve_held_link(
        &self,
        request: Request<v1::ResolveHeldLinkRequest>,
    ) -> Result<Response<v1::ResolveHeldLinkResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let id = RequestId::parse(&request.request_id)?;
            let link: LinkId = convert::id("link_id", &request.link_id)?;
            let reason = Reason::parse(&request.reason)?;
            let resolution = match request.decision() {
                v1::LinkDecision::Activate => Resolution::Activate,
                v1::LinkDecision::Close => Resolution::Close,
                v1::LinkDecision::Unspecified => {
                    return Err(FieldError::new("decision", "must be ACTIVATE or CLOSE").into());
                }
            };
            self.0.services.resolve_held_link(&call, &id, link, resolution, &reason).await
        };
        let link = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ResolveHeldLinkResponse { link: Some(convert::link(&link)) }))
    }

    async fn get_merchant(
        &self,
        request: Request<v1::GetMerchantRequest>,
    ) -> Result<Response<v1::GetMerchantResponse>, Status> {
        use v1::get_merchant_request::Merchant;
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let key = convert::named!(Merchant, &request.merchant)?;
            self.0.services.merchant(&call, &key).await
        };
        let view = self.0.read(&call, work).await?;
        Ok(Response::new(v1::GetMerchantResponse { merchant: Some(convert::merchant(&view)) }))
    }

    async fn list_merchants(
        &self,
        request: Request<v1::ListMerchantsRequest>,
    ) -> Result<Response<v1::ListMerchantsResponse>, Status> {
        let call = self.0.call(&request).await?;
        let request = request.into_inner();
        let work = async {
            let after = optional(&request.page_token, |text| convert::id("page_token", text))?;
            let filter = MerchantFilter {
                label: optional(&request.label, |text| Ok(Label::parse(text)?))?,
                held: request.held,
                next_action: convert::wanted_action(request.next_action)?,
            };
            let size = convert::page_size(request.page_size)?;
            self.0.services.merchants(&call, &filter, after, size).await
        };
        let page = self.0.read(&call, work).await?;
        Ok(Response::new(v1::ListMerchantsResponse {
            merchants: page.merchants.iter().map(convert::merchant).collect(),
            next_page_token: page.next.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }
}

/// Parses the whole request and names every field that breaks a rule.
fn authorization(request: v1::StartAuthorizationRequest) -> Result<AuthorizationRequest, Error> {
    let mut faults = Vec::new();
    let mut keep = |fault: FieldError| faults.push(fault);
    let request_id = RequestId::parse(&request.request_id).map_err(&mut keep).ok();
    let external_id = ExternalId::parse(&request.external_id).map_err(&mut keep).ok();
    let labels = Label::parse_all(&request.labels).map_err(&mut keep).ok();
    let display_name = given(&request.display_name, DisplayName::parse).map_err(&mut keep).ok();
    let expected_email =
        given(&request.expected_email, |text| Email::parse("expected_email", text)).map_err(&mut keep).ok();
    let user_name = given(&request.user_name, DisplayName::parse)
        .map_err(|fault| keep(FieldError::new("user_name", fault.rule)))
        .ok();
    match (request_id, external_id, labels, display_name, expected_email, user_name) {
        (Some(request_id), Some(external_id), Some(labels), Some(display_name), Some(email), Some(user_name)) => {
            Ok(AuthorizationRequest {
                request_id,
                external_id,
                display_name,
                labels,
                return_url: request.return_url,
                expected_email: email,
                user_name,
                upgrade_temporary: request.upgrade_temporary,
            })
        }
        _ => Err(Error::invalid(faults)),
    }
}

/// Parses the whole request and names every field that breaks a rule.
fn registration(request: v1::RegisterMerchantRequest, now: Timestamp) -> Result<RegistrationRequest, Error> {
    let mut faults = Vec::new();
    let mut keep = |fault: FieldError| faults.push(fault);
    let request_id = RequestId::parse(&request.request_id).map_err(&mut keep).ok();
    let external_id = ExternalId::parse(&request.external_id).map_err(&mut keep).ok();
    let labels = Label::parse_all(&request.labels).map_err(&mut keep).ok();
    let display_name = given(&request.display_name, DisplayName::parse).map_err(&mut keep).ok();
    let email = Email::parse("email", &request.email).map_err(&mut keep).ok();
    let first_name = person_name("first_name", &request.first_name).map_err(&mut keep).ok();
    let last_name = person_name("last_name", &request.last_name).map_err(&mut keep).ok();
    let ip = request.client_ip.parse::<Ipv4Addr>();
    let ip =
        ip.map_err(|_| keep(FieldError::new("client_ip", "must be an IPv4 address: the provider takes no other"))).ok();
    let device = device("client_device", &request.client_device).map_err(&mut keep).ok();
    let terms = request.terms_time.as_ref().ok_or_else(|| FieldError::new("terms_time", "must be given"));
    let terms = terms.and_then(|at| convert::instant("terms_time", at)).and_then(|at| not_after(at, now));
    let terms = terms.map_err(&mut keep).ok();
    let person = (email, first_name, last_name, ip, device, terms);
    match (request_id, external_id, labels, display_name, person) {
        (
            Some(request_id),
            Some(external_id),
            Some(labels),
            Some(display_name),
            (Some(email), Some(first_name), Some(last_name), Some(ip), Some(device), Some(terms_accepted_at)),
        ) => {
            let registrant =
                Registrant { email, first_name, last_name, ip, device, terms_accepted_at, redirect_uri: None };
            let return_url = request.return_url;
            Ok(RegistrationRequest { request_id, external_id, display_name, labels, registrant, return_url })
        }
        _ => Err(Error::invalid(faults)),
    }
}

/// Nobody accepts anything in the future.
fn not_after(at: Timestamp, now: Timestamp) -> Result<Timestamp, FieldError> {
    if at > now { Err(FieldError::new("terms_time", "must not be in the future")) } else { Ok(at) }
}

fn given<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, FieldError>) -> Result<Option<T>, FieldError> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Result<T, Error>) -> Result<Option<T>, Error> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}
