//! `serve` as an operator runs it: a configuration file, secrets in files, a sandbox of its own process in the provider's place.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use strongroom::domain::ambient::{Clock as _, SystemClock};

use crate::support::app::{LOOK_EVERY, LOOKS_MAX};
use crate::support::installation::{Installation, Setting, run};
use crate::support::replica::Replica;

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");

#[tokio::test]
async fn serve_starts_from_a_file_serves_reloads_and_ends_when_told() {
    let installation = Installation::new(Setting::default()).await;
    let mut server = installation.replica("server");
    let migrated = run(&["migrate", "--config", server.config()]);
    assert!(migrated.status.success(), "{migrated:?}");
    assert!(String::from_utf8_lossy(&migrated.stdout).contains("schema version 0 -> 1"), "{migrated:?}");

    server.started().await;
    server.logged("a sandbox stands in for the provider", 1).await;
    let connect = server.call("onboarding", &["merchant", "connect", "corner-shop", "--json"]);
    assert!(connect.status.success(), "{connect:?}");
    let denied = server.call("stranger", &["token", "get", "external:corner-shop"]);
    assert_eq!(denied.status.code(), Some(3), "{denied:?}");
    let second = run(&["serve", "--config", server.config()]);
    assert!(!second.status.success(), "two processes on one database");

    // Grants are replaced all or nothing.
    let grants = installation.product("grants.toml");
    let before = std::fs::read_to_string(&grants).unwrap();
    std::fs::write(&grants, "[[grant]]\nid = 1").unwrap();
    server.signal(Signal::HUP);
    server.logged("policy not reloaded", 1).await;
    assert!(server.call("onboarding", &["merchant", "list"]).status.success());
    std::fs::write(&grants, before.replace("service/onboarding", "service/nobody")).unwrap();
    server.signal(Signal::HUP);
    server.logged("policy reloaded", 1).await;
    assert_eq!(server.call("onboarding", &["merchant", "list"]).status.code(), Some(3));

    // Files are looked at without being told, too; what is broken is told of once, and what takes a start is named.
    std::fs::write(&grants, &before).unwrap();
    let config = server.config();
    let text = std::fs::read_to_string(config).unwrap();
    let changed = "[log]\nfilter = \"debug\"\n[drain]\nannounce = \"1ms\"\n[budget]\nshare = 7\n";
    std::fs::write(config, format!("{text}{changed}")).unwrap();
    server.logged("takes effect at the next start: drain.announce", 1).await;
    server.logged("filter of the log reloaded", 1).await;
    server.logged("budget of calls to the provider adjusted", 1).await;
    assert!(server.call("onboarding", &["merchant", "list"]).status.success());
    std::fs::write(config, format!("{text}[log]\nfilter = \" \"\n")).unwrap();
    server.signal(Signal::HUP);
    server.logged("configuration not reloaded", 1).await;
    std::fs::write(config, text).unwrap();
    certificates_change(&installation, &server).await;

    let verified = server.call("auditor", &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    server.terminate().await;
}

/// Half a certificate leaves the last good one in force; another one is shown from then on.
async fn certificates_change(installation: &Installation, server: &Replica) {
    let shown = || server.call("onboarding", &["merchant", "list"]);
    let files = ["tls/server.pem", "tls/server.key"].map(|file| installation.product(file));
    let good = files.clone().map(|file| std::fs::read(file).unwrap());
    std::fs::write(&files[0], "half of one").unwrap();
    server.signal(Signal::HUP);
    // Both listeners have it.
    server.logged("certificates not reloaded", 2).await;
    assert!(shown().status.success(), "{:?}", shown());

    let of_a_caller = &installation.dev().callers["payments"];
    let wrong = [&of_a_caller.cert, &of_a_caller.key].map(|file| std::fs::read(file).unwrap());
    for (contents, is_ours) in [(wrong, false), (good, true)] {
        for (file, content) in files.iter().zip(contents) {
            std::fs::write(file, content).unwrap();
        }
        server.signal(Signal::HUP);
        let mut looks = 0;
        while shown().status.success() != is_ours {
            looks += 1;
            assert!(looks < LOOKS_MAX, "{:?}\n{}", shown(), server.log());
            SystemClock.sleep(LOOK_EVERY).await;
        }
    }
}

#[test]
fn serve_names_every_fault_of_its_configuration_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.toml");
    std::fs::write(&path, "environment = \"moon\"\nunknown = 1\n[grpc]\nlisten = \"nowhere\"\n").unwrap();
    let output = run_serve(&path);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    for key in ["environment", "unknown", "grpc.listen", "client_id", "keyring_file", "public.platform_name"] {
        assert!(text.contains(key), "{key}: {text}");
    }
}

#[test]
fn the_example_configuration_can_be_printed() {
    let mut text = String::new();
    let mut child =
        Command::new(BINARY).args(["serve", "--example"]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(text.contains("platform_name"));
}

fn run_serve(config: &Path) -> Output {
    Command::new(BINARY).arg("serve").arg("--config").arg(config).stdin(Stdio::null()).output().unwrap()
}
