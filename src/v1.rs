//! The API of package `strongroom.v1`: messages, clients and servers generated from `proto/`.
//!
//! Written by hand is only the `Debug` of messages that carry a secret or a person's data. It prints every other field, and takes
//! the message apart by name, so that a new field does not compile before somebody has decided about it here.

use std::fmt;

pub use generated::*;

/// The descriptors of all files of the API and their imports, encoded `google.protobuf.FileDescriptorSet`, with the method
/// options of `rules.proto` and the comments: for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("strongroom.v1");

mod generated {
    #![expect(
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::as_conversions,
        reason = "generated code keeps other rules than ours"
    )]

    tonic::include_proto!("strongroom.v1");
}

impl fmt::Debug for GetAccessTokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            access_token: _,
            version,
            liveness: _,
            evidence_time,
            cache_until_time,
            expire_time,
            merchant_id,
            subject,
        } = self;
        f.debug_struct("GetAccessTokenResponse")
            .field("access_token", &format_args!("[redacted]"))
            .field("version", version)
            .field("liveness", &self.liveness())
            .field("evidence_time", evidence_time)
            .field("cache_until_time", cache_until_time)
            .field("expire_time", expire_time)
            .field("merchant_id", merchant_id)
            .field("subject", subject)
            .finish()
    }
}

/// `Debug` of a message with a person's data. Names every field, so that a new one is shown or hidden by decision.
macro_rules! hide_personal_data {
    ($($message:ident shows ($($shown:ident),*) hides ($($hidden:ident),*);)*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let Self { $($shown,)* $($hidden: _,)* } = self;
                f.debug_struct(stringify!($message))
                    $(.field(stringify!($shown), $shown))*
                    $(.field(stringify!($hidden), &format_args!("[redacted]")))*
                    .finish()
            }
        }
    )*};
}

hide_personal_data! {
    RegisterMerchantRequest shows (request_id, external_id, labels, terms_time, return_url)
        hides (display_name, email, first_name, last_name, client_ip, client_device);
    SendConfirmationRequest shows (request_id, merchant) hides (email_subject, email_message, email_button_text);
    LinkMerchantRequest shows (request_id, external_id, labels, connection_id) hides (display_name);
    StartAuthorizationRequest shows (request_id, external_id, labels, return_url, upgrade_temporary)
        hides (display_name, expected_email, user_name);
}

// Left out of the derived ones together with its message.
impl fmt::Debug for send_confirmation_request::Merchant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MerchantId(id) => f.debug_tuple("MerchantId").field(id).finish(),
            Self::ExternalId(id) => f.debug_tuple("ExternalId").field(id).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_a_read_shows_everything_but_the_token() {
        let response = GetAccessTokenResponse {
            access_token: "STAGE_canary".into(),
            version: Some(TokenVersionRef { connection_id: "con_1".into(), version: 7 }),
            liveness: Liveness::Suspect.into(),
            evidence_time: Some(prost_types::Timestamp { seconds: 101, nanos: 0 }),
            cache_until_time: Some(prost_types::Timestamp { seconds: 102, nanos: 0 }),
            expire_time: Some(prost_types::Timestamp { seconds: 103, nanos: 0 }),
            merchant_id: "mer_1".into(),
            subject: "4711".into(),
        };
        for printed in [format!("{response:?}"), format!("{response:#?}")] {
            assert!(!printed.contains("canary"), "{printed}");
            for shown in ["[redacted]", "con_1", "Suspect", "101", "102", "103", "mer_1", "4711"] {
                assert!(printed.contains(shown), "{shown} is missing in {printed}");
            }
        }
    }

    #[test]
    fn printing_a_request_shows_everything_but_the_persons_data() {
        let text = |text: &str| text.to_owned();
        let registration = RegisterMerchantRequest {
            request_id: text("req_1"),
            external_id: text("ada"),
            display_name: text("canary"),
            labels: vec![text("books")],
            email: text("canary@mail.example"),
            first_name: text("canary"),
            last_name: text("canary"),
            client_ip: text("canary"),
            client_device: text("canary"),
            terms_time: Some(prost_types::Timestamp { seconds: 101, nanos: 0 }),
            return_url: text("https://platform.test"),
        };
        let confirmation = SendConfirmationRequest {
            request_id: text("req_2"),
            merchant: Some(send_confirmation_request::Merchant::ExternalId(text("bob"))),
            email_subject: text("canary"),
            email_message: text("canary"),
            email_button_text: text("canary"),
        };
        let link = LinkMerchantRequest {
            request_id: text("req_3"),
            external_id: text("eve"),
            display_name: text("canary"),
            labels: vec![text("toys")],
            connection_id: text("con_1"),
        };
        let authorization = StartAuthorizationRequest {
            request_id: text("req_4"),
            external_id: text("kim"),
            display_name: text("canary"),
            labels: vec![text("bikes")],
            return_url: text("https://platform.test"),
            expected_email: text("canary@mail.example"),
            user_name: text("canary"),
            upgrade_temporary: true,
        };
        for (printed, shown) in [
            (format!("{registration:?}"), &["req_1", "ada", "books", "101", "https://platform.test"][..]),
            (format!("{confirmation:?}"), &["req_2", "ExternalId(\"bob\")"]),
            (format!("{link:?}"), &["req_3", "eve", "toys", "con_1"]),
            (
                format!("{authorization:?}"),
                &["req_4", "kim", "bikes", "https://platform.test", "upgrade_temporary: true"],
            ),
        ] {
            assert!(!printed.contains("canary") && printed.contains("[redacted]"), "{printed}");
            for shown in shown {
                assert!(printed.contains(shown), "{shown} is missing in {printed}");
            }
        }
    }
}
