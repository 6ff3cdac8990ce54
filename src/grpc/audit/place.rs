//! Page tokens: a place in a list, as text that a client passes back and does not read.
//!
//! Not signed: whoever alters one asks for another page of a list that the caller may see anyway.

use crate::grpc::convert;
use crate::service::Error;

/// The token of a place. The list is told by a letter, so that no list takes another one's tokens.
pub(super) fn token(list: char, parts: &[&[u8]]) -> String {
    let hex = parts.iter().flat_map(|part| part.iter()).map(|byte| format!("{byte:02x}"));
    std::iter::once(list.to_string()).chain(hex).collect()
}

/// The bytes of a token of this list, if it can be one of ours.
pub(super) fn parse<const N: usize>(list: char, token: &str) -> Result<[u8; N], Error> {
    let digits = token.strip_prefix(list).ok_or_else(convert::bad_page_token)?;
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if Some(digits.len()) != N.checked_mul(2) || !digits.bytes().all(lower) {
        return Err(convert::bad_page_token().into());
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(pair).map_err(|_| convert::bad_page_token())?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| convert::bad_page_token())?;
    }
    Ok(bytes)
}

/// Takes `N` bytes off the front.
pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], Error> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(convert::bad_page_token)?;
    *bytes = rest;
    Ok(*taken)
}
