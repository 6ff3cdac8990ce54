//! The proxy itself, on a server that echoes, and on PostgreSQL.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::proxy::{End, Flow, Proxy, Verdict, at_each_commit};
use crate::support::postgres::Server;

/// Longer than anything here takes.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// So long nothing comes before it counts as not coming.
const SILENCE: Duration = Duration::from_millis(200);

/// Sends back what it is sent, and ends when its client does.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                drop(tokio::io::copy(&mut from, &mut to).await);
            });
        }
    });
    address
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn says(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
}

/// What comes next: a text, nothing at the end, an error, or none in time.
async fn hears(client: &mut TcpStream, within: Duration) -> Option<Result<String, ErrorKind>> {
    let mut piece = [0; 64];
    let read = tokio::time::timeout(within, client.read(&mut piece)).await.ok()?;
    Some(read.map(|length| String::from_utf8_lossy(&piece[..length]).into_owned()).map_err(|why| why.kind()))
}

#[tokio::test]
async fn passes_both_ways_and_ends_when_both_sides_did() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = connect(&proxy).await;
    says(&mut client, "hello").await;
    assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Ok("hello".to_owned())));
    client.shutdown().await.unwrap();
    assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Ok(String::new())), "the echo's end comes through");
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn holds_each_direction_on_its_own_and_loses_nothing() {
    let proxy = Proxy::start(echo().await).await;
    for direction in [Proxy::flow_to_server, Proxy::flow_to_client] {
        let mut client = connect(&proxy).await;
        direction(&proxy, Flow::Hold);
        says(&mut client, "held").await;
        assert_eq!(hears(&mut client, SILENCE).await, None);
        direction(&proxy, Flow::Pass);
        assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Ok("held".to_owned())));
    }
}

#[tokio::test]
async fn delays_both_directions() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = connect(&proxy).await;
    proxy.flow(Flow::Delay(SILENCE));
    let began = tokio::time::Instant::now();
    says(&mut client, "late").await;
    assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Ok("late".to_owned())));
    assert!(began.elapsed() >= SILENCE * 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn half_open_takes_everything_and_says_nothing_until_it_is_cut() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    says(&mut old, "before").await;
    assert_eq!(hears(&mut old, WAIT_MAX).await, Some(Ok("before".to_owned())));
    proxy.flow(Flow::Swallow);
    let mut new = connect(&proxy).await;
    for client in [&mut old, &mut new] {
        says(client, "is anybody there").await;
        assert_eq!(hears(client, SILENCE).await, None);
    }
    proxy.cut(End::Close).await;
    assert_eq!(hears(&mut old, WAIT_MAX).await, Some(Ok(String::new())));
    assert_eq!(hears(&mut new, WAIT_MAX).await, Some(Ok(String::new())));
}

#[tokio::test]
async fn a_reset_is_seen_as_one() {
    let proxy = Proxy::start(echo().await).await;
    let mut client = connect(&proxy).await;
    says(&mut client, "hello").await;
    assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Ok("hello".to_owned())));
    proxy.cut(End::Reset).await;
    assert_eq!(hears(&mut client, WAIT_MAX).await, Some(Err(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn refuses_new_connections_alone_and_takes_them_again() {
    let proxy = Proxy::start(echo().await).await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await;
    assert_eq!(hears(&mut old, WAIT_MAX).await, Some(Ok("hello".to_owned())));
    proxy.refuse(true).await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    says(&mut old, "still here").await;
    assert_eq!(hears(&mut old, WAIT_MAX).await, Some(Ok("still here".to_owned())));
    proxy.refuse(false).await;
    let mut new = connect(&proxy).await;
    says(&mut new, "again").await;
    assert_eq!(hears(&mut new, WAIT_MAX).await, Some(Ok("again".to_owned())));
}

/// What a verdict at a COMMIT comes to: whether the client was told that it is done, and whether it is.
async fn committed(server: &Server, verdict: Verdict) -> (bool, bool) {
    let proxy = Proxy::postgres(server.address()).await;
    let options = server.superuser().host("127.0.0.1").port(proxy.address().port());
    let options = options.ssl_mode(sqlx::postgres::PgSslMode::Disable);
    let mut client = PgConnection::connect_with(&options).await.unwrap();
    proxy.watch(at_each_commit(1, verdict));
    let mut tx = client.begin().await.unwrap();
    let id: i64 = sqlx::query_scalar("SELECT txid_current()::BIGINT").fetch_one(&mut *tx).await.unwrap();
    let is_told = tx.commit().await.is_ok();
    assert_eq!(proxy.struck(), usize::from(verdict != Verdict::Pass));
    let mut looking = PgConnection::connect_with(&server.superuser()).await.unwrap();
    // The server notices a lost client when it next speaks to it.
    loop {
        let status: String =
            sqlx::query_scalar("SELECT txid_status($1)").bind(id).fetch_one(&mut looking).await.unwrap();
        if status != "in progress" {
            return (is_told, status == "committed");
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn ends_a_connection_before_a_commit_after_it_or_when_it_is_done() {
    let Some(server) = Server::prepared() else { return };
    assert_eq!(committed(&server, Verdict::Pass).await, (true, true));
    assert_eq!(committed(&server, Verdict::CutBefore).await, (false, false));
    assert_eq!(committed(&server, Verdict::LoseAnswer).await, (false, true));
    let (is_told, _) = committed(&server, Verdict::CutAfter).await;
    assert!(!is_told);
}
