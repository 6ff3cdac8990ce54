//! Reads the body of a request: whole, bounded in size and time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};

use crate::domain::ambient::{Clock as _, SystemClock};

/// How long a client has for a whole body: nginx's default `client_body_timeout`, which counts from read to read.
pub(super) const BODY_TIME_MAX: Duration = Duration::from_secs(60);

/// Why there is no body to work on.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Unread {
    /// It has more bytes than are taken.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// The connection ended in the middle of it, or it is no HTTP.
    Broken,
}

/// The body, with at most `limit` bytes, read within `patience`.
pub(super) async fn read_body(
    body: impl HttpBody<Data = Bytes> + Unpin,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Unread> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    // As announced; a client that waits to be asked for its body (`Expect: 100-continue`) is then not asked.
    if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
        return Err(Unread::TooLarge);
    }
    let mut reading = pin!(collect(body, limit));
    // Mostly all of it has come with the head, and needs no timer.
    if let Poll::Ready(read) = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        return read;
    }
    tokio::select! {
        biased;
        read = reading => read,
        () = SystemClock.sleep(patience) => Err(Unread::TooSlow),
    }
}

async fn collect(mut body: impl HttpBody<Data = Bytes> + Unpin, limit: usize) -> Result<Bytes, Unread> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio_stream::StreamExt as _;

    use super::*;

    /// A body that comes in these pieces; `None` is the connection's end.
    fn pieces(pieces: &[Option<&'static str>]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.ok_or(std::io::Error::other("gone"))).collect();
        Body::from_stream(tokio_stream::iter(pieces))
    }

    async fn read(body: Body, limit: usize) -> Result<Bytes, Unread> {
        read_body(body, limit, BODY_TIME_MAX).await
    }

    #[tokio::test]
    async fn a_body_is_read_whole_in_however_many_pieces_and_up_to_its_limit() {
        for whole in [&[Some("ab"), Some("cd"), Some(""), Some("e")][..], &[Some("abcde")], &[Some(""), Some("abcde")]]
        {
            assert_eq!(read(pieces(whole), 5).await, Ok(Bytes::from_static(b"abcde")));
            assert_eq!(read(pieces(whole), 4).await, Err(Unread::TooLarge));
        }
        assert_eq!(read(Body::empty(), 0).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn a_body_that_ends_early_or_never_is_none() {
        assert_eq!(read(pieces(&[Some("ab"), None]), 5).await, Err(Unread::Broken));
        let endless = tokio_stream::once(Ok::<_, std::io::Error>("ab")).chain(tokio_stream::pending());
        let slow = read_body(Body::from_stream(endless), 5, Duration::from_millis(1)).await;
        assert_eq!(slow, Err(Unread::TooSlow));
    }
}
