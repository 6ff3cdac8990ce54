//! The actions that grants name, as text in the file and as types in the code.

use std::fmt;

/// A type that stands for one action. Sealed: the list of actions is this file's.
pub trait Action: sealed::Sealed + 'static {
    /// The action, as grants name it.
    const NAME: ActionName;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident, $marker:ident = $text:literal;)*) => {
        /// What can be granted. The text form stands in policy files and in the audit: existing ones never change.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum ActionName { $($(#[$doc])* $variant,)* }

        impl ActionName {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text form.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The action with this text form.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $marker;

            impl sealed::Sealed for $marker {}

            impl Action for $marker {
                const NAME: ActionName = ActionName::$variant;
            }
        )*
    };
}

actions! {
    /// Start a merchant's onboarding: register, send an invitation.
    MerchantOnboard, OnboardMerchant = "merchant.onboard";
    /// Confirm that a connection is the merchant's own.
    MerchantConfirm, ConfirmMerchant = "merchant.confirm";
    /// Look at a merchant; on the deployment, list them.
    MerchantRead, ReadMerchant = "merchant.read";
    /// Link a further merchant to an existing connection, without a mint. Needed for every merchant that the connection serves.
    MerchantLink, LinkMerchant = "merchant.link";
    /// Have payment accounts made, and names for them judged.
    AccountCreate, CreateAccount = "account.create";
    /// Change payment accounts.
    AccountUpdate, UpdateAccount = "account.update";
    /// Look at payment accounts; on the deployment, list them.
    AccountRead, ReadAccount = "account.read";
    /// Decide a held link without the merchant's one-time value.
    LinkResolve, ResolveLink = "link.resolve";
    /// Fetch the access token.
    TokenRead, ReadToken = "token.read";
    /// Report what the provider answered to a token.
    TokenReport, ReportToken = "token.report";
    /// Have a token probed now.
    TokenVerify, VerifyToken = "token.verify";
    /// List token versions and attempts, never the token.
    TokenHistory, ReadHistory = "token.history";
    /// Read, follow and export the audit.
    AuditRead, ReadAudit = "audit.read";
    /// Ask who may do what.
    AccessExplain, ExplainAccess = "access.explain";
}

impl ActionName {
    /// Whether it is always about the deployment as a whole: only a grant for all merchants can permit it.
    pub const fn is_of_deployment(self) -> bool {
        matches!(self, Self::AuditRead | Self::AccessExplain)
    }
}

impl fmt::Display for ActionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
