//! The sandbox over TLS, with a certificate of its own making and with a given one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::{Certificate, Client, tls::Version};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::support::{PATIENCE, options};
use crate::sandbox::{Error, Options, Sandbox};

fn client(ca: &Path, version: Version) -> Client {
    let ca = Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
    let builder = Client::builder().no_proxy().tls_certs_only([ca]).tls_version_min(version).tls_version_max(version);
    builder.timeout(PATIENCE).build().unwrap()
}

async fn start(dir: &Path) -> Result<Sandbox, Error> {
    Sandbox::start(Options { tls_dir: Some(dir.to_owned()), ..options(None) }).await
}

#[tokio::test]
async fn api_pages_and_control_answer_over_both_versions_of_tls_and_not_in_clear() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let sandbox = start(&tls).await.unwrap();
    let endpoints = sandbox.endpoints().clone();
    let ca = endpoints.ca.clone().unwrap();
    assert_eq!(ca, tls.join("ca.pem"));
    assert_eq!(serde_json::to_value(&endpoints).unwrap()["ca"], ca.to_str().unwrap());
    let port = sandbox.local_addr().port();
    for version in [Version::TLS_1_2, Version::TLS_1_3] {
        let client = client(&ca, version);
        for base in [&endpoints.api, &format!("https://localhost:{port}/v2")] {
            let answer =
                client.get(format!("{base}/user")).bearer_auth(sandbox.app_owner_token()).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_11));
            assert_eq!(answer.headers()["strict-transport-security"], "max-age=0");
        }
        let page = client.get(format!("{}/oauth2/authorize", endpoints.ui)).send().await.unwrap();
        assert_eq!(page.status(), 400);
        assert_eq!(client.get(format!("{}/state", endpoints.control)).send().await.unwrap().status(), 200);
    }
    let in_clear = format!("http://127.0.0.1:{port}/control/state");
    assert!(Client::builder().no_proxy().tls_certs_only([]).build().unwrap().get(in_clear).send().await.is_err());
}

#[tokio::test]
async fn what_was_made_is_private_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let made = start(&tls).await.unwrap();
    let ca = fs::read(tls.join("ca.pem")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&tls), mode(&tls.join("key.pem"))), (0o700, 0o600));
    made.stop().await;
    let again = start(&tls).await.unwrap();
    assert_eq!(fs::read(tls.join("ca.pem")).unwrap(), ca);
    let url = format!("{}/state", again.endpoints().control);
    assert_eq!(client(&tls.join("ca.pem"), Version::TLS_1_3).get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_given_certificate_is_used_and_half_of_one_or_a_broken_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let given = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    fs::write(&cert, given.cert.pem()).unwrap();
    let refused = async || start(dir.path()).await.err().unwrap().to_string();
    assert!(refused().await.contains("there is no") && !key.exists());
    fs::write(&key, "no key").unwrap();
    assert!(refused().await.contains("cannot be read as PEM"));
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(refused().await.contains("certificate and key cannot be used"));
    fs::write(&key, given.signing_key.serialize_pem()).unwrap();
    let sandbox = start(dir.path()).await.unwrap();
    assert!(sandbox.endpoints().ca.is_none(), "who gave the certificate knows whom to trust");
    let url = format!("https://localhost:{}/control/state", sandbox.local_addr().port());
    assert_eq!(client(&cert, Version::TLS_1_2).get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_blocks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let sandbox = start(dir.path()).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(sandbox.local_addr()).await.unwrap());
    }
    let client = client(&dir.path().join("ca.pem"), Version::TLS_1_3);
    let url = format!("{}/state", sandbox.endpoints().control);
    assert_eq!(client.get(url).send().await.unwrap().status(), 200);
    // Neither does it delay the end, and it never got a byte.
    tokio::time::timeout(PATIENCE, sandbox.stop()).await.unwrap();
    for mut silent in silent {
        let mut answer = Vec::new();
        drop(tokio::time::timeout(PATIENCE, silent.read_to_end(&mut answer)).await.unwrap());
        assert!(answer.is_empty());
    }
}
