//! The addresses that the provider sends its notices to: handed out with every create, checked and kept when one comes. Acting on
//! notices is not done here; one proves nothing, and whoever acts looks for himself.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use tracing::debug;
use url::Url;

use super::Services;
use super::error::{Error, Result};
use crate::domain::id::CallId;
use crate::domain::notice::{Notice, NoticeAbout, NoticeKind};
use crate::domain::trail::{Act, EventKind, Outcome};
use crate::vault::Capability;

/// Bytes of an id…
const ID_BYTES: usize = 16;
/// …and of a tag: the id and its HMAC.
const TAG_BYTES: usize = ID_BYTES + 32;
/// The actor of what a notice brings about: nobody who was identified.
const ACTOR: &str = "provider";

/// What became of a notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Noticed {
    /// It is kept.
    Kept,
    /// We handed out no such address.
    NotOurs,
    /// The address is ours, and what it was sent is no notice.
    Unreadable,
}

impl Services {
    /// The address for notices about this. The provider stores it, so it lives for ever: its form never changes.
    ///
    /// # Errors
    /// None in practice: configuration makes sure that the base is one.
    pub fn notice_url(&self, about: NoticeAbout) -> Result<Url> {
        let mut tag = about.as_bytes().to_vec();
        tag.extend(self.notice_key(about));
        let mut url = self.parts.settings.public_base.clone();
        url.path_segments_mut()
            .map_err(|()| Error::internal("the public base is not a base URL"))?
            .pop_if_empty()
            .push("notices")
            .push(&self.parts.app.id.to_string())
            .push(about.kind().as_str())
            .push(&URL_SAFE_NO_PAD.encode(tag));
        Ok(url)
    }

    /// Takes a notice that was sent to the address with this kind and tag: kept, durably, when this returns.
    ///
    /// # Errors
    /// As every write of the database: then the provider is to try again.
    pub async fn take_notice(
        &self,
        kind: &str,
        tag: &str,
        parameters: &[(String, String)],
        from: Option<IpAddr>,
        call: CallId,
    ) -> Result<Noticed> {
        let act = Act { actor: ACTOR.to_owned(), call: Some(call), ..Act::system() };
        let Some(about) = self.address(kind, tag) else {
            self.refuse_notice(&act, from).await?;
            return Ok(Noticed::NotOurs);
        };
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let Some(notice) = Notice::read(about, parameters) else { return Ok(Noticed::Unreadable) };
        self.parts.store.keep_notice(self.parts.app.id, &notice, &act).await?;
        debug!(notice.kind = kind, "notice kept");
        Ok(Noticed::Kept)
    }

    /// Whether the address with this kind and tag is one that we handed out. Its body need not be read to tell.
    pub fn is_notice_address(&self, kind: &str, tag: &str) -> bool {
        self.address(kind, tag).is_some()
    }

    fn address(&self, kind: &str, tag: &str) -> Option<NoticeAbout> {
        let kind = NoticeKind::parse(kind)?;
        let bytes = URL_SAFE_NO_PAD.decode(tag).ok().filter(|bytes| bytes.len() == TAG_BYTES)?;
        let (id, key) = bytes.split_first_chunk::<ID_BYTES>()?;
        let about = NoticeAbout::new(kind, *id);
        bool::from(self.notice_key(about)[..].ct_eq(key)).then_some(about)
    }

    fn notice_key(&self, about: NoticeAbout) -> [u8; 32] {
        let message = [about.kind().as_str().as_bytes(), about.as_bytes()].concat();
        self.parts.vault.capability(Capability::Notice, &message)
    }

    async fn refuse_notice(&self, act: &Act, from: Option<IpAddr>) -> Result<()> {
        // Anybody can knock here: recorded one by one up to a limit per address, then counted.
        let from = from.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let Some(counted) = self.doorman.admit(from, self.parts.clock.boot()) else { return Ok(()) };
        let event = act.event(EventKind::NoticeRefused, self.now()).outcome(Outcome::Denied).reason("wrong_tag");
        let event = if counted > 0 { event.detail("unrecorded_before", counted) } else { event };
        self.parts.auditor.record(event).await
    }
}
