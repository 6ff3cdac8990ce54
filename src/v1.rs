//! The API of package `strongroom.v1`: messages, clients and servers generated from `proto/`.
//!
//! Written by hand is only the `Debug` of messages that carry a secret. It prints every field but the secret, and takes
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
}
