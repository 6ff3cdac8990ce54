//! Request ids: what makes repeating a call safe.

use crate::domain::ambient::{SystemEntropy, random};

/// The request id of a call that changes something.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RequestId {
    /// Id of this request; drawn if you give none. The same id with the same arguments gives the same answer, so a call that broke
    /// can be repeated.
    #[arg(long = "request-id", value_name = "ID")]
    id: Option<String>,
}

impl RequestId {
    /// The one given, or a fresh one.
    pub(crate) fn choose(&self) -> String {
        self.id.clone().unwrap_or_else(|| {
            let drawn: [u8; 16] = random(&SystemEntropy);
            format!("cli-{}", drawn.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        })
    }
}
