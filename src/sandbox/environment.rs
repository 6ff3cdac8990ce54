//! Stage and production: two separate providers with the same calls (WePay FAQ). A sandbox plays one of them.

use serde::{Deserialize, Serialize};

/// Which of WePay's two environments a sandbox plays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// WePay's test environment.
    #[default]
    Stage,
    /// The one with real money at the real provider; here as invented as the other.
    Production,
}

impl Environment {
    /// What its access tokens begin with (WePay SDK samples; GitGuardian's detector page).
    pub(super) const fn token_prefix(self) -> &'static str {
        match self {
            Self::Stage => "STAGE_",
            Self::Production => "PRODUCTION_",
        }
    }

    /// The other one, whose tokens are refused here.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Stage => Self::Production,
            Self::Production => Self::Stage,
        }
    }

    /// Its name in WePay's texts.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Stage => "stage",
            Self::Production => "production",
        }
    }
}
