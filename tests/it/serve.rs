//! `serve` as an operator runs it: a configuration file, secrets in files, a sandbox of its own process in the provider's place.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use strongroom::demo::{Site, SiteOptions};
use strongroom::domain::ambient::{Clock as _, SystemClock};

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");
/// How often something is looked at before the test gives up, and how long between two looks.
const LOOKS_MAX: u32 = 300;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A child process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

impl Running {
    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

/// Certificates and grants of a development site, and all else that an operator brings.
struct Installation {
    dir: tempfile::TempDir,
    sandbox: Running,
    ports: [u16; 3],
}

impl Installation {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Site::open(SiteOptions::new(dir.path().join("site")), None).await.unwrap().close().await;
        let mut sandbox = Command::new(BINARY)
            .arg("sandbox")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let sandbox = Running(sandbox);
        let endpoints: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |key: &str| endpoints[key].as_str().unwrap().to_owned();
        let installation = Self { dir, sandbox, ports: free_ports() };
        installation.write_secret("client_secret", &text("client_secret"));
        let made = installation.run(&["key", "create", "--file", installation.path("keyring.json").to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        installation.write_config(&text("client_id"), &text("api"), &text("ui"));
        installation
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn product(&self, name: &str) -> PathBuf {
        self.dir.path().join("site/product").join(name)
    }

    fn write_secret(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn write_config(&self, client_id: &str, api: &str, ui: &str) {
        let [grpc, public, ops] = self.ports;
        let path = |path: PathBuf| format!("{:?}", path.to_str().unwrap());
        let (cert, key) = (path(self.product("tls/server.pem")), path(self.product("tls/server.key")));
        let config = format!(
            "environment = \"stage\"\nclient_id = \"{client_id}\"\nclient_secret_file = {secret}\n\
             keyring_file = {keyring}\npolicy_file = {policy}\ntrust_domains = [\"dev.strongroom\"]\n\
             [provider]\napi = \"{api}\"\nui = \"{ui}\"\n\
             [database]\nurl = \"sqlite://{database}\"\n\
             [grpc]\nlisten = \"127.0.0.1:{grpc}\"\ncert_file = {cert}\nkey_file = {key}\nclient_ca_file = {ca}\n\
             [public]\nlisten = \"127.0.0.1:{public}\"\nbase_url = \"https://localhost:{public}\"\ncert_file = {cert}\n\
             key_file = {key}\nplatform_name = \"Example Shops\"\nreturn_urls = [\"https://platform.test/\"]\n\
             [ops]\nlisten = \"127.0.0.1:{ops}\"\n",
            secret = path(self.path("client_secret")),
            keyring = path(self.path("keyring.json")),
            policy = path(self.product("grants.toml")),
            database = self.path("strongroom.db").display(),
            ca = path(self.product("tls/ca.pem")),
        );
        std::fs::write(self.path("strongroom.toml"), config).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn config(&self) -> String {
        self.path("strongroom.toml").to_str().unwrap().to_owned()
    }

    fn serve(&self) -> Running {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let arguments = ["serve", "--config", &self.config()];
        Running(Command::new(BINARY).args(arguments).stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    async fn ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", self.ports[2]);
        for _ in 0..LOOKS_MAX {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        false
    }

    async fn log_says(&self, text: &str) -> bool {
        for _ in 0..LOOKS_MAX {
            if std::fs::read_to_string(self.path("log")).unwrap_or_default().contains(text) {
                return true;
            }
            SystemClock.sleep(LOOK_EVERY).await;
        }
        false
    }

    /// `strongroom …` as a caller of the site, against this server.
    fn call(&self, caller: &str, arguments: &[&str]) -> Output {
        let file = |name: String| self.product(&name).to_str().unwrap().to_owned();
        let address = format!("localhost:{}", self.ports[0]);
        let (ca, cert, key) =
            (file("tls/ca.pem".into()), file(format!("tls/{caller}.pem")), file(format!("tls/{caller}.key")));
        let connection = ["--address", &address, "--ca", &ca, "--cert", &cert, "--key", &key];
        self.run(&[arguments, &connection].concat())
    }
}

/// Ports that were free a moment ago, all different.
fn free_ports() -> [u16; 3] {
    let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    ports.try_into().unwrap()
}

#[tokio::test]
async fn serve_starts_from_a_file_serves_reloads_and_ends_when_told() {
    let installation = Installation::new().await;
    let migrated = installation.run(&["migrate", "--config", &installation.config()]);
    assert!(migrated.status.success(), "{migrated:?}");
    assert!(String::from_utf8_lossy(&migrated.stdout).contains("schema version 0 -> 1"), "{migrated:?}");

    let mut server = installation.serve();
    assert!(installation.ready().await);
    assert!(installation.log_says("a sandbox stands in for the provider").await);
    let connect = installation.call("onboarding", &["merchant", "connect", "corner-shop", "--json"]);
    assert!(connect.status.success(), "{connect:?}");
    let denied = installation.call("stranger", &["token", "get", "external:corner-shop"]);
    assert_eq!(denied.status.code(), Some(3), "{denied:?}");
    let second = installation.run(&["serve", "--config", &installation.config()]);
    assert!(!second.status.success(), "two processes on one database");

    // Grants are replaced all or nothing.
    let grants = installation.product("grants.toml");
    let before = std::fs::read_to_string(&grants).unwrap();
    std::fs::write(&grants, "[[grant]]\nid = 1").unwrap();
    server.signal("-HUP");
    assert!(installation.log_says("policy not reloaded").await);
    assert!(installation.call("onboarding", &["merchant", "list"]).status.success());
    std::fs::write(&grants, before.replace("service/onboarding", "service/nobody")).unwrap();
    server.signal("-HUP");
    assert!(installation.log_says("policy reloaded").await);
    assert_eq!(installation.call("onboarding", &["merchant", "list"]).status.code(), Some(3));

    // Files are looked at without being told, too; what is broken is told of once, and what takes a start is named.
    std::fs::write(&grants, &before).unwrap();
    let config = installation.path("strongroom.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}[log]\nfilter = \"debug\"\n[drain]\nannounce = \"1ms\"\n")).unwrap();
    assert!(installation.log_says("takes effect at the next start: drain.announce").await);
    assert!(installation.log_says("filter of the log reloaded").await);
    assert!(installation.call("onboarding", &["merchant", "list"]).status.success());
    std::fs::write(&config, format!("{text}[log]\nfilter = \" \"\n")).unwrap();
    server.signal("-HUP");
    assert!(installation.log_says("configuration not reloaded").await);
    std::fs::write(&config, text).unwrap();

    let verified = installation.call("auditor", &["audit", "verify", "--json"]);
    assert!(verified.status.success(), "{verified:?}");
    server.signal("-TERM");
    assert!(server.0.wait().unwrap().success());
    assert!(installation.sandbox.0.id() > 0);
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
