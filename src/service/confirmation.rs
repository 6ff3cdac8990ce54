//! Having the provider ask a registered merchant to confirm, which makes its temporary token permanent.

use tracing::warn;

use super::budget::Patience;
use super::error::{Error, Kind, Result};
use super::registration::refused_by_provider;
use super::tokens::readable;
use super::{Call, MerchantView, Permitted, Services};
use crate::domain::budget::{Lane, Permit};
use crate::domain::name::{FieldError, RequestId};
use crate::domain::provider_call::About;
use crate::domain::token::Version;
use crate::domain::trail::{Act, EventKind};
use crate::policy::OnboardMerchant;
use crate::provider::{CallError, CallKind, ConfirmationMail, MintVerdict, Signal, already_confirmed, mint_verdict};
use crate::store::{Earlier, Head, MerchantKey, Observed, Request};

/// Longest subject and button text: the provider's limit of ordinary strings (`docs/provider.md` §3).
const SHORT_TEXT_CHARS_MAX: usize = 255;
/// Longest message: far below the provider's 65,535, and more than anybody reads.
const MESSAGE_CHARS_MAX: usize = 8_192;

/// The evidence of a token that was stored and not looked at since.
const ISSUED: &str = "issued";

/// What the mail says, where the provider's own words will not do. Empty: the provider's own.
#[derive(Clone, Default)]
pub struct MailTexts {
    /// The subject line.
    pub subject: String,
    /// The text above the button.
    pub message: String,
    /// The text on the button.
    pub button_text: String,
}

/// What came of asking.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// The provider sends the mail.
    Sent,
    /// The person confirmed before; the token is permanent.
    AlreadyConfirmed,
}

impl MailTexts {
    fn check(&self) -> Result<()> {
        let texts = [
            ("email_subject", &self.subject, SHORT_TEXT_CHARS_MAX),
            ("email_button_text", &self.button_text, SHORT_TEXT_CHARS_MAX),
            ("email_message", &self.message, MESSAGE_CHARS_MAX),
        ];
        let faults: Vec<_> = texts
            .into_iter()
            .filter(|(_, text, max)| {
                text.chars().count() > *max || text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
            })
            .map(|(field, _, max)| FieldError::new(field, format!("must be at most {max} characters of plain text")))
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::invalid(faults)) }
    }

    fn mail(&self) -> ConfirmationMail<'_> {
        fn given(text: &str) -> Option<&str> {
            (!text.is_empty()).then_some(text)
        }
        ConfirmationMail {
            subject: given(&self.subject),
            message: given(&self.message),
            button_text: given(&self.button_text),
        }
    }
}

impl Services {
    /// Has the provider mail the person behind a temporary token. One mail for one request id, whatever happens in between.
    ///
    /// # Errors
    /// [`Kind::NotConnected`] and its like when there is no token; [`Kind::ProviderRefused`], [`Kind::ProviderUnavailable`],
    /// [`Kind::ProviderBusy`];
    /// [`Kind::ProviderOutcomeUnknown`] when a mail may have gone out.
    pub async fn send_confirmation(
        &self,
        call: &Call,
        request_id: &RequestId,
        key: &MerchantKey,
        texts: &MailTexts,
    ) -> Result<(MerchantView, Asked)> {
        const KIND: EventKind = EventKind::ConfirmationRequested;
        let Permitted { merchant, act, .. } = self.permit::<OnboardMerchant>(call, KIND, key).await?;
        let content = [
            merchant.id.as_bytes().as_slice(),
            texts.subject.as_bytes(),
            texts.message.as_bytes(),
            texts.button_text.as_bytes(),
        ];
        let request = self.request(call, request_id, "SendConfirmation", &content);
        let id = merchant.id;
        match self.ask_to_confirm(&MerchantKey::Id(id), request, texts, call.patience(Lane::Merchant), &act).await {
            Ok(asked) => Ok((self.view_merchant(merchant).await?, asked)),
            Err(refused) => Err(self.fail(&act, KIND, Some(id), refused).await),
        }
    }

    async fn ask_to_confirm(
        &self,
        key: &MerchantKey,
        request: Request,
        texts: &MailTexts,
        patience: Patience,
        act: &Act,
    ) -> Result<Asked> {
        texts.check()?;
        let Some(head) = self.parts.store.head_of_merchant(key).await? else {
            let MerchantKey::Id(id) = key else { return Err(Error::internal("a merchant without its id")) };
            return Err(Error::new(self.why_no_head(*id).await?));
        };
        readable(&head.version, None, self.now())?;
        let event = act
            .event(EventKind::ConfirmationRequested, self.now())
            .merchant(head.merchant.id)
            .version(head.connection.id, head.version.number);
        match self.parts.store.earlier(&request).await? {
            Earlier::Same(_) if !head.version.permanent && !self.parts.store.is_settled(&request).await? => {
                return Err(Error::new(Kind::ProviderOutcomeUnknown).because("asked for before"));
            }
            Earlier::Same(_) if !head.version.permanent => {
                self.parts.auditor.record(event.reason("repeated")).await?;
                return Ok(Asked::Sent);
            }
            Earlier::Other => return Err(Error::new(Kind::RequestIdReused)),
            Earlier::Same(_) | Earlier::None => {}
        }
        if head.version.permanent {
            self.parts.auditor.record(event.reason("already_confirmed")).await?;
            return Ok(Asked::AlreadyConfirmed);
        }
        let (services, texts, act) = (self.clone(), texts.clone(), act.clone());
        let work = self.tasks.spawn(async move {
            if head.version.evidence == ISSUED {
                // Nobody has looked at its user yet, and only one who was pending before the mail can be seen to confirm.
                let probed = services.probe(head.connection.id, patience, &act).await?;
                readable(&probed.version, None, services.now())?;
            }
            let permit = services.budget.permit(patience).await?;
            // Noted before it is sent: whoever repeats the request does not send a second mail.
            services.parts.store.note_intent(&request, head.connection.id.as_bytes(), event).await?;
            services.mail(head, permit, &request, &texts, &act).await
        });
        work.await.map_err(|ended| Error::internal(format!("asking for confirmation ended badly: {ended}")))?
    }

    async fn mail(&self, head: Head, permit: Permit, request: &Request, texts: &MailTexts, act: &Act) -> Result<Asked> {
        let token = self.unseal(&head.version, &head.connection.subject, &head.sealed)?;
        let about =
            About { merchant: Some(head.merchant.id), connection: Some(head.connection.id), ..About::default() };
        let asked_at = self.now();
        match self.parts.provider.by(permit, about).send_confirmation(&token, &texts.mail()).await {
            Ok(user) => {
                let observed = Observed {
                    liveness: crate::domain::token::Liveness::Live,
                    evidence: "confirmation",
                    at: asked_at,
                    user: Some(self.seen(&user)),
                };
                let event = act
                    .event(EventKind::ConfirmationRequested, self.now())
                    .merchant(head.merchant.id)
                    .version(head.connection.id, head.version.number);
                self.parts.store.settle_request(request, event.reason("sent")).await?;
                self.parts.store.record_liveness(head.connection.id, head.version.number, observed, act).await?;
                Ok(Asked::Sent)
            }
            Err(failed) if already_confirmed(&failed) => {
                self.parts.store.record_confirmed(&head.version, "already_approved", act).await?;
                Ok(Asked::AlreadyConfirmed)
            }
            Err(failed) => Err(self.not_mailed(&head.version, request, failed, act).await?),
        }
    }

    async fn not_mailed(&self, head: &Version, request: &Request, failed: CallError, act: &Act) -> Result<Error> {
        let verdict = mint_verdict(&failed);
        let nothing_left = match verdict {
            MintVerdict::NotSent => Some("not_sent"),
            MintVerdict::Rejected => Some("rejected"),
            MintVerdict::InDoubt => None,
        };
        if let Some(why) = nothing_left {
            // No mail went out: the same request may try again, and must not be answered as if one had.
            let event = act.event(EventKind::ConfirmationRequested, self.now());
            let event = event.connection(head.connection).reason(why);
            self.parts.store.forget_request(request, head.connection.as_bytes(), event).await?;
        }
        // Behind that: there may be no leave to look.
        if matches!(failed.signal(CallKind::OtherWithToken), Signal::Dead | Signal::Suspect)
            && let Err(unseen) = self.probe(head.connection, Patience::until(Lane::Merchant, None), act).await
        {
            warn!(connection.id = %head.connection, "token not looked at after a mail was refused: {unseen}");
        }
        Ok(match (verdict, failed) {
            (MintVerdict::NotSent, _) => Error::new(Kind::ProviderUnavailable),
            (MintVerdict::Rejected, CallError::Refused(refusal)) => refused_by_provider(&refusal),
            (_, failed) => Error::new(Kind::ProviderOutcomeUnknown).because(failed.to_string()),
        })
    }
}
