//! Merchants that a request names by the platform's id and makes on first use, and what is known of the person behind one.

use std::collections::BTreeMap;

use super::error::{Error, Kind, Result};
use super::{Call, Services};
use crate::domain::id::MerchantId;
use crate::domain::merchant::Merchant;
use crate::domain::name::{Email, ExternalId, FieldError, Label};
use crate::domain::trail::{Act, EventKind};
use crate::policy::{Action, ReadMerchant, Resource};
use crate::store::{MerchantKey, Private};
use crate::vault::{Place, PrivatePlaintext};

/// Every field of a merchant's personal data.
pub(super) const PRIVATE_FIELDS: [&str; 8] =
    ["display_name", "email", "user_name", "first_name", "last_name", "ip", "device", "terms_time"];

/// A merchant that the caller may do something to, known or to be made.
pub(super) struct Named {
    pub(super) merchant: Merchant,
    /// Whether it is still to be made.
    pub(super) is_new: bool,
    pub(super) act: Act,
}

impl Named {
    /// Its id, if it is known already.
    pub(super) fn known(&self) -> Option<MerchantId> {
        (!self.is_new).then_some(self.merchant.id)
    }

    /// Labels decide who may do what, so that a request cannot change those of a known merchant.
    pub(super) fn check_labels(&self, wanted: &[Label]) -> Result<()> {
        if self.is_new || wanted.is_empty() || wanted == self.merchant.labels {
            return Ok(());
        }
        Err(FieldError::new("labels", "must be left out or equal to the merchant's").into())
    }
}

impl Services {
    /// Makes the grant for a merchant that may have to be made.
    pub(super) async fn permit_named<A: Action>(
        &self,
        call: &Call,
        kind: EventKind,
        external_id: &ExternalId,
        labels: &[Label],
    ) -> Result<Named> {
        self.expect_any_grant::<A>(call, kind).await?;
        let known = self.parts.store.merchant(&MerchantKey::External(external_id.clone())).await?;
        let id = known.as_ref().map(|merchant| merchant.id);
        let resource =
            Resource::Merchant { id, labels: known.as_ref().map_or(labels, |merchant| merchant.labels.as_slice()) };
        let policy = self.policy();
        let Ok(grant) = policy.authorize::<A>(&call.caller, &resource, self.now()) else {
            // The same answer whether it exists or not, unless the caller may know.
            let may_know =
                known.is_some() && policy.authorize::<ReadMerchant>(&call.caller, &resource, self.now()).is_ok();
            let error = if may_know { Kind::PermissionDenied } else { Kind::NotFound };
            return Err(self.deny(call, kind, id, error).await);
        };
        let act = call.act_by(&grant);
        let is_new = known.is_none();
        let merchant = known.unwrap_or_else(|| Merchant {
            id: MerchantId::generate(&*self.parts.clock, &*self.parts.entropy),
            external_id: external_id.clone(),
            labels: labels.to_vec(),
            created_at: self.now(),
        });
        Ok(Named { merchant, is_new, act })
    }

    /// A request that was carried out before belongs to the merchant that it named. Where the merchant was not known when it was looked
    /// up and is now, the first one got through in between: that is no contradiction, and the caller asks again.
    pub(super) async fn expect_not_overtaken(&self, named: &Named) -> Result<()> {
        if !named.is_new {
            return Ok(());
        }
        let key = MerchantKey::External(named.merchant.external_id.clone());
        match self.parts.store.merchant(&key).await? {
            Some(_) => Err(Error::new(Kind::Conflict)),
            None => Ok(()),
        }
    }

    /// Merges what a request brings with what is known, and seals it; `None` when nothing changes.
    pub(super) async fn personal_data(
        &self,
        merchant: MerchantId,
        brought: &[(&'static str, Option<&str>)],
    ) -> Result<Option<Private>> {
        let known = self.private(merchant).await?;
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        for name in PRIVATE_FIELDS {
            if let Some(value) = known.as_ref().and_then(|known| known.expose(name)) {
                fields.insert(name.to_owned(), value.to_owned());
            }
        }
        let before = fields.clone();
        for (name, value) in brought {
            if let Some(value) = value {
                fields.insert((*name).to_owned(), (*value).to_owned());
            }
        }
        if fields == before {
            return Ok(None);
        }
        let email = fields.get("email").and_then(|text| Email::parse("email", text).ok());
        let email_index = email.map(|email| self.email_index(&email));
        let app = &self.parts.app;
        let place = Place::private(app.environment, &app.client_id, merchant);
        let sealed = self
            .parts
            .vault
            .seal(&place, &PrivatePlaintext::new(fields).encode(), &*self.parts.entropy)
            .map_err(|refused| Error::internal(refused.to_string()))?;
        Ok(Some(Private { sealed, email_index }))
    }

    /// The merchant's personal data, opened.
    pub(super) async fn private(&self, merchant: MerchantId) -> Result<Option<PrivatePlaintext>> {
        let Some(sealed) = self.parts.store.private(merchant).await? else { return Ok(None) };
        let app = &self.parts.app;
        let place = Place::private(app.environment, &app.client_id, merchant);
        let corrupt = || Error::new(Kind::DataCorrupt).because("sealed personal data does not open in its place");
        let plaintext = self.parts.vault.open(&place, &sealed).map_err(|_| corrupt())?;
        PrivatePlaintext::decode(&plaintext).map(Some).map_err(|_| corrupt())
    }
}
