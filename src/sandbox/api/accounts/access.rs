//! Who may do what with an account.

use super::{ApiCall, errors};
use crate::sandbox::protocol::{ApiError, SCOPE_MANAGE_ACCOUNTS};
use crate::sandbox::state::{Account, AccountState, Role, Token, User};

/// The account that a call names, and who asks.
pub(super) struct Access<'a> {
    pub(super) account: &'a Account,
    pub(super) token: &'a Token,
    pub(super) user: &'a User,
    /// What the user is to the account; the owner is its admin.
    role: Role,
}

impl<'a> Access<'a> {
    /// The account of a call that has no other parameter; anyone with access to it may ask.
    pub(super) fn of(call: &mut ApiCall<'a>) -> Result<Self, ApiError> {
        Self::with(call, None, |_| Ok(())).map(|(access, ())| access)
    }

    /// Checks the app's permission, reads the other parameters, and then finds `account_id` among the accounts of the user
    /// or those that the user is a member of.
    pub(super) fn with<T>(
        call: &mut ApiCall<'a>,
        permission: Option<&str>,
        read: impl FnOnce(&ApiCall<'a>) -> Result<T, ApiError>,
    ) -> Result<(Self, T), ApiError> {
        let (token, user) = call.authorize(SCOPE_MANAGE_ACCOUNTS)?;
        if let Some(permission) = permission {
            call.require_permission(permission, permission)?;
        }
        let account_id = call.parameters.required_id("account_id")?;
        let wanted = read(call)?;
        Ok((Self::find(call, token, user, account_id)?, wanted))
    }

    /// The account when the parameters were looked at already.
    pub(super) fn find(
        call: &mut ApiCall<'a>,
        token: &'a Token,
        user: &'a User,
        account_id: u64,
    ) -> Result<Self, ApiError> {
        let account = call.context.state.account(account_id).ok_or_else(ApiError::foreign_account)?;
        let role = if account.owner_user_id == user.user_id {
            Role::Admin
        } else {
            // Nobody at the sandbox approves another admin: until then it is a moderator (inferred).
            let role = account.standing.role_of(user.user_id).ok_or_else(ApiError::foreign_account)?;
            role.min(Role::Moderator)
        };
        call.facts.reference_id.clone_from(&account.details.reference_id);
        Ok(Self { account, token, user, role })
    }

    /// The user may change what the account says of itself: owner or moderator, by the app that made it, before it is deleted.
    pub(super) fn by_editor(self) -> Result<Self, ApiError> {
        if self.role < Role::Moderator {
            return Err(ApiError::foreign_account());
        }
        if self.account.client_id != self.token.client_id {
            return Err(ApiError::other_apps_account());
        }
        self.if_there()
    }

    /// The user owns it, and it is not deleted.
    pub(super) fn by_owner(self) -> Result<Self, ApiError> {
        if self.role != Role::Admin {
            return Err(ApiError::foreign_account());
        }
        self.if_there()
    }

    /// The user owns it, said in the words of the membership calls.
    pub(super) fn by_admin(self) -> Result<Self, ApiError> {
        if self.role != Role::Admin {
            return Err(errors::not_the_admin());
        }
        self.if_there()
    }

    /// The owner has confirmed, too.
    pub(super) fn confirmed(self) -> Result<Self, ApiError> {
        if self.account.state == AccountState::Pending { Err(errors::pending()) } else { Ok(self) }
    }

    fn if_there(self) -> Result<Self, ApiError> {
        if self.account.state == AccountState::Deleted { Err(ApiError::deleted_account()) } else { Ok(self) }
    }
}
