//! What the commands print, for people and for programs; none was asked for a token.

use std::fs;
use std::time::Duration;

use super::Secrets;
use super::registered::{STALL, Stall};
use crate::support::app::TestApp;
use crate::support::process::Process;

/// The configuration that `doctor` reads, among the product's files.
pub(super) const CONFIG: &str = "strongroom.toml";
/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// Runs every command that looks or acts, as text and as JSON.
pub(super) async fn look_around(app: &TestApp, stall: &Stall, secrets: &mut Secrets) {
    let site = app.files().parent().unwrap().to_str().unwrap().to_owned();
    let config = app.files().join(CONFIG);
    fs::write(&config, configuration(app)).unwrap();
    let config = config.to_str().unwrap().to_owned();
    let order = &stall.order;
    let person = [
        "--email",
        &order.email,
        "--first-name",
        &order.first_name,
        "--last-name",
        &order.last_name,
        "--ip",
        &order.client_ip,
        "--device",
        &order.client_device,
        "--name",
        &order.display_name,
    ];
    let register = |external_id| [&["merchant", "register", external_id], &person[..]].concat();
    let mails = ["--subject", "Ninety words about your stall", "--message", "Dear Bartholomew, one click is missing."];
    let commands: Vec<(Vec<&str>, bool)> = vec![
        (register(STALL), false),
        (register("leaky-again"), false),
        ([&["merchant", "send-confirmation", STALL], &mails[..]].concat(), true),
        (vec!["merchant", "link", "leaky-market", "--connection", &stall.connection_id], false),
        (vec!["merchant", "show", STALL], true),
        (vec!["merchant", "list"], true),
        (vec!["account", "list", STALL], true),
        (vec!["account", "get", &stall.account_id, "--refresh"], true),
        (vec!["account", "update", &stall.account_id, "--name", "Tulips WePay 4711"], false),
        (vec!["token", "versions", STALL], true),
        (vec!["attempt", "list"], true),
        (vec!["audit", "list"], true),
        (vec!["audit", "calls"], true),
        (vec!["audit", "verify"], true),
    ];
    for (command, succeeds) in &commands {
        for json in [&[][..], &["--json"]] {
            let arguments = [command.as_slice(), &["--dev", &site], json].concat();
            run(&arguments, Some(*succeeds), secrets).await;
        }
    }
    for json in [&[][..], &["--json"]] {
        run(&[&["doctor", "--config", &config], json].concat(), None, secrets).await;
    }
}

async fn run(arguments: &[&str], succeeds: Option<bool>, secrets: &mut Secrets) {
    let tmp = tempfile::tempdir().unwrap();
    let ended = Process::strongroom(arguments, tmp.path()).ended(COMMAND_MAX).await;
    let printed = format!("{}\n{}", ended.stdout, ended.stderr);
    assert!(printed.trim().len() > 2, "{arguments:?} says nothing");
    if let Some(succeeds) = succeeds {
        assert_eq!(ended.is_success, succeeds, "{arguments:?}: {printed}");
    }
    secrets.said.push(("output", arguments[..2].join(" "), printed.into_bytes()));
}

/// The site's, as an operator would write it.
fn configuration(app: &TestApp) -> String {
    let dev = app.dev();
    let file = |name: &str| format!("{:?}", app.files().join(name).to_str().unwrap());
    let (cert, key) = (file("tls/server.pem"), file("tls/server.key"));
    format!(
        "environment = \"stage\"\nclient_id = \"{}\"\nclient_secret_file = {}\nkeyring_file = {}\npolicy_file = {}\n\
         trust_domains = [\"dev.strongroom\"]\n[provider]\napi = \"{}\"\nui = \"{}\"\n[database]\nurl = \"{}\"\n\
         [grpc]\nlisten = \"127.0.0.1:7443\"\ncert_file = {cert}\nkey_file = {key}\nclient_ca_file = {}\n\
         [public]\nlisten = \"127.0.0.1:8443\"\nbase_url = \"https://localhost:8443\"\ncert_file = {cert}\n\
         key_file = {key}\nplatform_name = \"Example Shops\"\nreturn_urls = []\n[ops]\nlisten = \"127.0.0.1:9100\"\n",
        dev.sandbox.client_id,
        file("client_secret"),
        file("keyring.json"),
        file("grants.toml"),
        dev.sandbox.api,
        dev.sandbox.ui,
        dev.database,
        file("tls/ca.pem"),
    )
}
