//! `merchant register`, `send-confirmation`, `link`: the other ways in.

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::transport::Channel;

use super::{links_table, shown};
use crate::cli::answer::Answer;
use crate::cli::failure::Failure;
use crate::cli::json;
use crate::cli::owner::{MerchantName, parse_merchant};
use crate::cli::request::RequestId;
use crate::domain::ambient::{Clock as _, SystemClock};
use crate::domain::id::ConnectionId;
use crate::v1;
use crate::v1::onboarding_service_client::OnboardingServiceClient;

pub(super) const REGISTER_HELP: &str = "\
Example:
  strongroom merchant register shop-17 --email ada@shop.example --first-name Ada --last-name Byron \\
      --ip 203.0.113.7 --device 'Mozilla/5.0 (X11; Linux x86_64)' --name 'Ada Shop'

The token works at once and is temporary: it ends after some 90 days unless the person confirms.
`merchant send-confirmation` has the provider mail the person. An e-mail address that a connection
has is refused (CONNECTION_EXISTS): `merchant link` lets that connection serve this merchant too.
If the outcome is not known yet, repeat the command with the same --request-id.";
pub(super) const SEND_HELP: &str = "\
Examples:
  strongroom merchant send-confirmation shop-17
  strongroom merchant send-confirmation shop-17 --subject 'One more click' \\
      --message 'Confirm that you take payments with us.'

Every call is another mail, but for the repetition of a --request-id. When the person has confirmed,
`token verify` sees it; the token's version stays the same.";
pub(super) const LINK_HELP: &str = "\
Example:
  strongroom merchant link shop-18 --connection con_0190f3c7111172228333444455556666

For a person who owns several shops. No token is minted: the further merchant is served from the
connection's own. You must be allowed to for every merchant that the connection serves.";

/// Whom to register.
#[derive(Debug, clap::Args)]
pub struct Register {
    /// The platform's own id of the merchant.
    #[arg(value_name = "EXTERNAL_ID")]
    external_id: String,
    /// The person's e-mail address.
    #[arg(long, value_name = "ADDRESS")]
    email: String,
    /// The person's first name.
    #[arg(long, value_name = "NAME")]
    first_name: String,
    /// The person's last name.
    #[arg(long, value_name = "NAME")]
    last_name: String,
    /// The IPv4 address from which the person accepted the provider's terms.
    #[arg(long, value_name = "ADDRESS")]
    ip: String,
    /// The device with which: the browser's User-Agent.
    #[arg(long, value_name = "TEXT")]
    device: String,
    /// When (RFC 3339); now if you give none.
    #[arg(long, value_name = "TIME")]
    terms_time: Option<String>,
    /// What the merchant is called on our pages.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A label that grants may name; may be repeated.
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    /// Where the person lands after confirming; must be on the server's allow-list.
    #[arg(long, value_name = "URL")]
    return_url: Option<String>,
    #[command(flatten)]
    request: RequestId,
}

/// Whom to ask for confirmation.
#[derive(Debug, clap::Args)]
pub struct SendConfirmation {
    /// The merchant: mer_… or the platform's own id.
    #[arg(value_name = "MERCHANT", value_parser = parse_merchant)]
    merchant: MerchantName,
    /// Subject of the mail, in place of the provider's.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Text of the mail, in place of the provider's.
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Text of the button, in place of the provider's.
    #[arg(long, value_name = "TEXT")]
    button: Option<String>,
    #[command(flatten)]
    request: RequestId,
}

/// What to link.
#[derive(Debug, clap::Args)]
pub struct Link {
    /// The platform's own id of the further merchant.
    #[arg(value_name = "EXTERNAL_ID")]
    external_id: String,
    /// The connection that is to serve it too.
    #[arg(long, value_name = "CONNECTION_ID")]
    connection: ConnectionId,
    /// What the merchant is called on our pages.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// A label that grants may name; may be repeated.
    #[arg(long, value_name = "LABEL")]
    label: Vec<String>,
    #[command(flatten)]
    request: RequestId,
}

type Client = OnboardingServiceClient<Channel>;

pub(super) async fn register(client: &mut Client, register: Register) -> Result<Answer, Failure> {
    let request = register.request()?;
    let id = request.request_id.clone();
    let response = client.register_merchant(request).await;
    let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
    Ok(shown(&response.merchant.ok_or(Failure::Answer("merchant"))?))
}

pub(super) async fn send_confirmation(client: &mut Client, send: SendConfirmation) -> Result<Answer, Failure> {
    let id = send.request.choose();
    let request = v1::SendConfirmationRequest {
        request_id: id.clone(),
        merchant: Some(send.merchant.into()),
        email_subject: send.subject.unwrap_or_default(),
        email_message: send.message.unwrap_or_default(),
        email_button_text: send.button.unwrap_or_default(),
    };
    let response = client.send_confirmation(request).await;
    let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
    let (result, told) = match response.result() {
        v1::ConfirmationResult::Sent => (
            "sent",
            "The provider sends the mail. The token becomes permanent when the person confirms: `token verify` sees it.",
        ),
        v1::ConfirmationResult::AlreadyConfirmed => {
            ("already_confirmed", "The person has confirmed: the token is permanent.")
        }
        v1::ConfirmationResult::Unspecified => return Err(Failure::Answer("result")),
    };
    let merchant = response.merchant.ok_or(Failure::Answer("merchant"))?;
    Ok(Answer::new(json!({ "result": result, "merchant": json::merchant(&merchant) }), format!("{told}\n")))
}

pub(super) async fn link(client: &mut Client, link: Link) -> Result<Answer, Failure> {
    let id = link.request.choose();
    let request = v1::LinkMerchantRequest {
        request_id: id.clone(),
        external_id: link.external_id,
        display_name: link.name.unwrap_or_default(),
        labels: link.label,
        connection_id: link.connection.to_string(),
    };
    let response = client.link_merchant(request).await;
    let response = response.map_err(|status| Failure::mutating(status, &id))?.into_inner();
    let link = response.link.ok_or(Failure::Answer("link"))?;
    Ok(Answer::new(json!({ "link": json::link(&link) }), links_table(std::slice::from_ref(&link))))
}

impl Register {
    fn request(self) -> Result<v1::RegisterMerchantRequest, Failure> {
        let terms = match &self.terms_time {
            None => SystemClock.now().as_unix_seconds(),
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| Failure::Usage("--terms-time: expected a time like 2026-01-31T12:00:00Z".to_owned()))?
                .unix_timestamp(),
        };
        Ok(v1::RegisterMerchantRequest {
            request_id: self.request.choose(),
            external_id: self.external_id,
            display_name: self.name.unwrap_or_default(),
            labels: self.label,
            email: self.email,
            first_name: self.first_name,
            last_name: self.last_name,
            client_ip: self.ip,
            client_device: self.device,
            terms_time: Some(prost_types::Timestamp { seconds: terms, nanos: 0 }),
            return_url: self.return_url.unwrap_or_default(),
        })
    }
}
