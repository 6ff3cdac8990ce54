//! ListProviderCalls: its filters, its calls, its page tokens.

use super::place;
use crate::domain::ambient::Timestamp;
use crate::domain::id::ProviderCallId;
use crate::domain::name::FieldError;
use crate::domain::provider_call::CallOutcome;
use crate::grpc::convert;
use crate::service::{CallFilter, CallPlace, Error, LoggedCall};
use crate::v1;

/// The letter of this list's page tokens.
const LIST: char = 'c';
/// Time and id.
const PLACE_BYTES: usize = 8 + 16;
/// Longest name of a call and longest error code to look for: the provider's are under 40 characters.
const TEXT_BYTES_MAX: usize = 64;

pub(super) fn filter(request: &v1::ListProviderCallsRequest) -> Result<CallFilter, Error> {
    use v1::list_provider_calls_request::Merchant;
    let merchant = match &request.merchant {
        None => None,
        named => Some(convert::named!(Merchant, named)?),
    };
    Ok(CallFilter {
        call: word("call", &request.call)?,
        attempt: convert::optional(&request.attempt_id, |text| convert::id("attempt_id", text))?,
        merchant,
        connection: convert::optional(&request.connection_id, |text| convert::id("connection_id", text))?,
        outcome: outcome(request.outcome)?,
        code: word("error_code", &request.error_code)?,
        after: request.after_time.as_ref().map(|at| convert::instant("after_time", at)).transpose()?,
        before: request.before_time.as_ref().map(|at| convert::instant("before_time", at)).transpose()?,
    })
}

/// What stands in the audit as it was asked for: no free text.
fn word(field: &str, text: &str) -> Result<Option<String>, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.');
    convert::optional(text, |text| {
        if text.len() <= TEXT_BYTES_MAX && text.bytes().all(is_plain) {
            Ok(text.to_owned())
        } else {
            Err(FieldError::new(field, "must be at most 64 letters, digits, slashes, dots, hyphens or underscores")
                .into())
        }
    })
}

fn outcome(number: i32) -> Result<Option<CallOutcome>, Error> {
    match v1::CallOutcome::try_from(number) {
        Ok(v1::CallOutcome::Unspecified) => Ok(None),
        Ok(wanted) => Ok(CallOutcome::ALL.into_iter().find(|outcome| outcome_word(*outcome) == wanted)),
        Err(_) => Err(FieldError::new("outcome", "must be a value of the enum").into()),
    }
}

const fn outcome_word(outcome: CallOutcome) -> v1::CallOutcome {
    match outcome {
        CallOutcome::Done => v1::CallOutcome::Done,
        CallOutcome::NotSent => v1::CallOutcome::NotSent,
        CallOutcome::Refused => v1::CallOutcome::Refused,
        CallOutcome::Unknown => v1::CallOutcome::Unknown,
    }
}

pub(super) fn call(logged: LoggedCall) -> v1::ProviderCall {
    v1::ProviderCall {
        provider_call_id: logged.id.to_string(),
        begin_time: Some(convert::time(logged.at)),
        call: logged.call,
        request: logged.request,
        outcome: outcome_word(logged.outcome).into(),
        http_status: logged.status.map_or(0, i32::from),
        error_code: logged.code.unwrap_or_default(),
        detail: logged.detail,
        duration: prost_types::Duration::try_from(logged.duration).ok(),
        attempt_id: convert::text(logged.about.attempt),
        merchant_id: convert::text(logged.about.merchant),
        connection_id: convert::text(logged.about.connection),
    }
}

pub(super) fn page_token(at: &CallPlace) -> String {
    place::token(LIST, &[&at.at.as_micros().to_be_bytes(), at.id.as_bytes()])
}

pub(super) fn place(token: &str) -> Result<CallPlace, Error> {
    let bytes: [u8; PLACE_BYTES] = place::parse(LIST, token)?;
    let mut rest = &bytes[..];
    let at = Timestamp::from_micros(i64::from_be_bytes(place::take(&mut rest)?));
    Ok(CallPlace { at, id: ProviderCallId::from_bytes(place::take(&mut rest)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_token_and_no_other_text_is_one() {
        let at = CallPlace { at: Timestamp::from_micros(1), id: ProviderCallId::from_bytes([0xc; 16]) };
        let token = page_token(&at);
        assert_eq!(place(&token).unwrap(), at);
        for bad in ["c", &token[1..], &token[..token.len() - 1], &format!("{token}0"), &token.replacen('c', "e", 1)] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn free_text_is_no_filter() {
        let asked = |call: &str| filter(&v1::ListProviderCallsRequest { call: call.to_owned(), ..Default::default() });
        assert_eq!(asked("/oauth2/token").unwrap().call.as_deref(), Some("/oauth2/token"));
        assert!(asked("").unwrap().call.is_none());
        for bad in ["a@b.example", "two words", &"x".repeat(65)] {
            assert!(asked(bad).is_err(), "{bad:?}");
        }
    }
}
