//! What is inside sealed bytes: deterministic CBOR (RFC 8949 §4.2.1) with a version, one reading for each content.
//!
//! Decoding is strict: what does not re-encode to the same bytes is refused. Buffers are wiped; errors never quote content.

use std::collections::BTreeMap;
use std::convert::Infallible;

use minicbor::{Decoder, Encoder, decode, encode};
use zeroize::Zeroizing;

use crate::domain::ambient::Timestamp;
use crate::domain::secret::{AccessToken, Secret};

/// The version of both maps that this build writes.
const VERSION: u8 = 1;

/// Most scopes of a token; the provider has five (`wepay-v2.md` §4).
const SCOPES_MAX: u64 = 64;

/// Most fields of a merchant's personal data; we keep under ten.
const FIELDS_MAX: u64 = 64;

/// Room for one CBOR head: the initial byte and an argument of up to eight.
const HEAD_BYTES: usize = 9;

type Encoded = Result<(), encode::Error<Infallible>>;

/// Opened bytes that are no plaintext of the expected kind and version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPlaintext {
    /// Written by a build that knows another version.
    #[error("sealed content has a version this build does not read")]
    UnknownVersion,
    /// Not the one encoding of a content.
    #[error("sealed content is malformed")]
    Malformed,
}

impl From<decode::Error> for BadPlaintext {
    fn from(_: decode::Error) -> Self {
        Self::Malformed // the source's text may quote content
    }
}

/// What the provider answered to a mint: keys 0 version, 1 subject, 2 access token, 3 refresh token, 4 expiry in µs, 5 scopes.
#[derive(Debug, PartialEq, Eq)]
pub struct TokenPlaintext {
    /// The provider's id of the user whose token it is.
    pub subject: String,
    /// The token.
    pub access_token: AccessToken,
    /// The refresh token, where the provider gives one.
    pub refresh_token: Option<Secret<String>>,
    /// When the token ends, where the provider says so.
    pub expires_at: Option<Timestamp>,
    /// What it permits, in the provider's order, where the provider says so; at most 64.
    pub scopes: Option<Vec<String>>,
}

impl TokenPlaintext {
    /// The one encoding of this content, in a buffer that is wiped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let scopes = self.scopes.iter().flatten().map(String::as_str);
        let texts = [self.subject.as_str(), self.access_token.expose()].into_iter();
        let refresh = self.refresh_token.iter().map(|token| token.expose().as_str());
        wiped(texts.chain(refresh).chain(scopes), |e| self.write(e))
    }

    /// Reads what [`TokenPlaintext::encode`] made.
    ///
    /// # Errors
    /// [`BadPlaintext`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPlaintext> {
        let mut d = Decoder::new(bytes);
        let entries = definite(d.map()?)?;
        version(&mut d)?;
        let (mut subject, mut access, mut refresh_token, mut expires_at, mut scopes) = (None, None, None, None, None);
        for _ in 1..entries {
            match d.u8()? {
                1 => subject = Some(d.str()?.to_owned()),
                2 => access = Some(AccessToken::new(d.str()?.to_owned())),
                3 => refresh_token = Some(Secret::new(d.str()?.to_owned())),
                4 => expires_at = Some(Timestamp::from_micros(d.i64()?)),
                5 => scopes = Some(read_scopes(&mut d)?),
                _ => return Err(BadPlaintext::Malformed),
            }
        }
        let subject = subject.ok_or(BadPlaintext::Malformed)?;
        let access_token = access.ok_or(BadPlaintext::Malformed)?;
        let plaintext = Self { subject, access_token, refresh_token, expires_at, scopes };
        canonical(&plaintext.encode(), bytes)?;
        Ok(plaintext)
    }

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Encoded {
        let optional = [self.refresh_token.is_some(), self.expires_at.is_some(), self.scopes.is_some()].map(u64::from);
        e.map(optional.iter().sum::<u64>().saturating_add(3))?;
        e.u8(0)?.u8(VERSION)?.u8(1)?.str(&self.subject)?.u8(2)?.str(self.access_token.expose())?;
        if let Some(token) = &self.refresh_token {
            e.u8(3)?.str(token.expose())?;
        }
        if let Some(at) = self.expires_at {
            e.u8(4)?.i64(at.as_micros())?;
        }
        if let Some(scopes) = &self.scopes {
            e.u8(5)?.array(length(scopes.len()))?;
            for scope in scopes {
                e.str(scope)?;
            }
        }
        Ok(())
    }
}

/// Personal data of a merchant by field name: keys 0 version, 1 a map of text to text.
#[derive(PartialEq, Eq)]
pub struct PrivatePlaintext(BTreeMap<String, Zeroizing<String>>);

impl PrivatePlaintext {
    /// Takes the fields (`display_name`, `email`, `user_name`, …; at most 64) into custody.
    pub fn new(fields: BTreeMap<String, String>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    /// The field of this name. Every call of this is a place to review.
    pub fn expose(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    /// The names of the fields that are there.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The one encoding of this content, in a buffer that is wiped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut fields: Vec<(&str, &str)> =
            self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // RFC 8949 §4.2.1 sorts by encoded key, and an encoded text begins with its length.
        fields.sort_by_key(|(name, _)| (name.len(), *name));
        wiped(fields.iter().flat_map(|(name, value)| [*name, *value]), |e| {
            e.map(2)?.u8(0)?.u8(VERSION)?.u8(1)?.map(length(fields.len()))?;
            fields.iter().try_for_each(|(name, value)| e.str(name)?.str(value)?.ok())
        })
    }

    /// Reads what [`PrivatePlaintext::encode`] made.
    ///
    /// # Errors
    /// [`BadPlaintext`] for everything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadPlaintext> {
        let mut d = Decoder::new(bytes);
        definite(d.map()?)?;
        version(&mut d)?;
        if d.u8()? != 1 {
            return Err(BadPlaintext::Malformed);
        }
        let fields = definite(d.map()?)?;
        if fields > FIELDS_MAX {
            return Err(BadPlaintext::Malformed);
        }
        let mut map = BTreeMap::new();
        for _ in 0..fields {
            map.insert(d.str()?.to_owned(), Zeroizing::new(d.str()?.to_owned()));
        }
        let plaintext = Self(map);
        canonical(&plaintext.encode(), bytes)?;
        Ok(plaintext)
    }
}

impl std::fmt::Debug for PrivatePlaintext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivatePlaintext(..)")
    }
}

fn read_scopes(d: &mut Decoder<'_>) -> Result<Vec<String>, BadPlaintext> {
    let count = definite(d.array()?)?;
    if count > SCOPES_MAX {
        return Err(BadPlaintext::Malformed);
    }
    (0..count).map(|_| Ok(d.str()?.to_owned())).collect()
}

fn version(d: &mut Decoder<'_>) -> Result<(), BadPlaintext> {
    if d.u8()? != 0 {
        return Err(BadPlaintext::Malformed);
    }
    if d.u64()? == u64::from(VERSION) { Ok(()) } else { Err(BadPlaintext::UnknownVersion) }
}

fn definite(length: Option<u64>) -> Result<u64, BadPlaintext> {
    length.ok_or(BadPlaintext::Malformed)
}

fn canonical(encoded: &[u8], bytes: &[u8]) -> Result<(), BadPlaintext> {
    if encoded == bytes { Ok(()) } else { Err(BadPlaintext::Malformed) }
}

fn length(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Encodes into a buffer that is large enough from the start: one that grew would leave copies behind.
#[expect(clippy::expect_used, reason = "a vector takes every byte: the writer's error is uninhabited")]
fn wiped<'a>(
    texts: impl Iterator<Item = &'a str>,
    write: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> Encoded,
) -> Zeroizing<Vec<u8>> {
    let room: usize = texts.map(|text| text.len().saturating_add(HEAD_BYTES)).sum();
    let mut buffer = Zeroizing::new(Vec::with_capacity(room.saturating_add(8 * HEAD_BYTES)));
    write(&mut Encoder::new(&mut *buffer)).expect("a vector takes every byte");
    buffer
}
