//! Work that goes on when nobody waits for it any more.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::Response;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::sandbox::faults::play::Dropped;

/// Where work goes on that its connection left behind, until the server stops.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

/// A request being answered.
type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What comes of it.
type Answer = Result<Response<Body>, Dropped>;

/// A future that, dropped before its end, continues as a task. Costs nothing while somebody waits: no task, no queue.
pub(super) struct Lasting {
    work: Option<Work>,
    rest: Rest,
}

impl Lasting {
    pub(super) const fn new(work: Work, rest: Rest) -> Self {
        Self { work: Some(work), rest }
    }
}

impl Future for Lasting {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        // Taken out, so that work that panics is not polled again.
        let Some(mut work) = self.work.take() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl Drop for Lasting {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        let Rest { stop, tasks } = self.rest.clone();
        // Without a runtime everything ends.
        if let (false, Ok(runtime)) = (stop.is_cancelled(), Handle::try_current()) {
            tasks.spawn_on(stop.run_until_cancelled_owned(work), &runtime);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn rest() -> Rest {
        Rest { stop: CancellationToken::new(), tasks: TaskTracker::new() }
    }

    #[tokio::test]
    async fn work_that_is_left_behind_goes_on_to_its_end() {
        for is_begun in [false, true] {
            let (go, gone) = oneshot::channel();
            let (told, heard) = oneshot::channel();
            let work = Box::pin(async move {
                let () = gone.await.unwrap();
                told.send(7).unwrap();
                Err(Dropped)
            });
            let mut lasting = Lasting::new(work, rest());
            if is_begun {
                assert!(
                    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut lasting).poll(context).is_pending()))
                        .await
                );
            }
            drop(lasting);
            go.send(()).unwrap();
            assert_eq!(heard.await, Ok(7));
        }
    }

    #[tokio::test]
    async fn a_stopped_server_ends_it() {
        let rest = rest();
        let (told, heard) = oneshot::channel::<()>();
        let lasting = Lasting::new(
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(told);
                Err(Dropped)
            }),
            rest.clone(),
        );
        drop(lasting);
        assert_eq!(rest.tasks.len(), 1);
        rest.stop.cancel();
        rest.tasks.close();
        rest.tasks.wait().await;
        assert!(heard.await.is_err());
    }
}
