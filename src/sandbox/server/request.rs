//! Reads the body of a request: whole, bounded in size and time.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};

use crate::domain::ambient::{Clock as _, SystemClock};

/// How long a client has for a whole body: nginx's default `client_body_timeout`, which counts from read to read.
const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Why there is no body to work on.
pub(super) enum Unread {
    /// It has more bytes than are taken.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The connection ended in the middle of it, or it is no HTTP.
    Broken,
}

/// The body, with at most `limit` bytes.
pub(super) async fn read_body(body: impl HttpBody<Data = Bytes> + Unpin, limit: usize) -> Result<Bytes, Unread> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    tokio::select! {
        biased;
        read = collect(body, limit) => read,
        () = SystemClock.sleep(BODY_TIME_MAX) => Err(Unread::TooSlow),
    }
}

async fn collect(mut body: impl HttpBody<Data = Bytes> + Unpin, limit: usize) -> Result<Bytes, Unread> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(frame) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        // Trailers mean nothing.
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
        if first.len().saturating_add(all.len()).saturating_add(data.len()) > limit {
            return Err(Unread::TooLarge);
        }
        if first.is_empty() && all.is_empty() {
            // Mostly all there is, and then not copied.
            first = data;
            continue;
        }
        if all.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}
