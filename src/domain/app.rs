//! Our registration at a provider, and where it lives.

use std::fmt;

use super::id::AppId;
use super::name::FieldError;

/// Which of the provider's two worlds: they share no ids, users, apps or tokens (`docs/provider.md` §1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Environment {
    /// For tests; no real money.
    Stage,
    /// Real merchants, real money.
    Production,
}

impl Environment {
    /// The stored form, also part of every AAD.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Production => "production",
        }
    }

    /// The environment with this stored form.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        match text {
            "stage" => Ok(Self::Stage),
            "production" => Ok(Self::Production),
            _ => Err(FieldError::new("environment", "must be \"stage\" or \"production\"")),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Our registration at a provider. A deployment has exactly one, stamped at its first start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct App {
    /// Ours.
    pub id: AppId,
    /// The provider, by name.
    pub provider: String,
    /// Stage or production.
    pub environment: Environment,
    /// The provider's id of the app, as text.
    pub client_id: String,
}
