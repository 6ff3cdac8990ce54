//! All that an operator brings to run `strongroom serve`: certificates, grants, keys, secrets in files, a database, and a sandbox of its
//! own process in the provider's place.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use strongroom::config::{Database, PostgresConfig};
use strongroom::demo::{DevJson, SandboxJson, Site, SiteOptions};
use strongroom::domain::ambient::{Entropy as _, SystemEntropy};
use tempfile::TempDir;

use super::process::Process;
use super::replica::Replica;

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");
/// Longest wait for the sandbox to answer for the first time.
const READY_MAX: Duration = Duration::from_secs(60);
/// Where servers listen: below the ports that the system hands out itself, so that one that is down keeps its own, and below those of
/// the tests' PostgreSQL.
const PORT_FIRST: u16 = 10_000;
const PORT_COUNT: u16 = 10_000;

/// How it is set up.
#[derive(Clone)]
pub(crate) struct Setting {
    /// Where state is; nothing for a SQLite file in the directory.
    pub(crate) database: Option<Database>,
    /// How the sandbox limits calls: `off`, `sliding` or `fixed`.
    pub(crate) throttle: &'static str,
    /// Divides every duration of server and sandbox.
    pub(crate) time_scale: u32,
    /// Tables that are added to the configuration of each server.
    pub(crate) tables: String,
}

impl Default for Setting {
    fn default() -> Self {
        Self { database: None, throttle: "off", time_scale: 1, tables: String::new() }
    }
}

/// A directory with everything, and the sandbox.
pub(crate) struct Installation {
    dir: TempDir,
    setting: Setting,
    /// Callers and the sandbox, as of a development site; where servers listen is each one's own.
    dev: DevJson,
    _sandbox: Process,
}

impl Installation {
    /// Makes everything, and starts the sandbox.
    pub(crate) async fn new(setting: Setting) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(SiteOptions::new(dir.path().join("site")), None).await.unwrap();
        let mut dev = site.dev().clone();
        site.close().await;
        let scale = setting.time_scale.to_string();
        let ca = dev.public_ca.to_str().unwrap().to_owned();
        let arguments = ["sandbox", "--throttle", setting.throttle, "--time-scale", &scale, "--notice-ca", &ca];
        let mut sandbox = Process::strongroom(&arguments, dir.path());
        let line = sandbox.line("{", READY_MAX).await;
        dev.sandbox = serde_json::from_str::<SandboxJson>(&line).unwrap();
        let installation = Self { dir, setting, dev, _sandbox: sandbox };
        installation.write_secret("client_secret", &installation.dev.sandbox.client_secret);
        let keyring = installation.path("keyring.json");
        let made = run(&["key", "create", "--file", keyring.to_str().unwrap()]);
        assert!(made.status.success(), "{made:?}");
        installation
    }

    /// A file of the operator's.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate, or the grants.
    pub(crate) fn product(&self, name: &str) -> PathBuf {
        self.dir.path().join("site/product").join(name)
    }

    /// Callers and the sandbox; the addresses in it are nobody's.
    pub(crate) const fn dev(&self) -> &DevJson {
        &self.dev
    }

    /// Configures one more server, on ports of its own. It is not started.
    pub(crate) fn replica(&self, name: &str) -> Replica {
        let ports = free_ports();
        let config = self.path(&format!("{name}.toml"));
        std::fs::write(&config, self.config(ports)).unwrap();
        let [grpc, public, ops] = ports;
        let mut dev = self.dev.clone();
        dev.grpc.address = format!("127.0.0.1:{grpc}");
        dev.public_http = format!("https://localhost:{public}");
        dev.ops_http = format!("http://127.0.0.1:{ops}");
        dev.database = self.database().0;
        Replica::new(name.to_owned(), config, self.path(&format!("{name}.log")), dev)
    }

    /// Asks or tells the sandbox's control API something.
    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method, format!("{}{path}", self.dev.sandbox.control));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    fn write_secret(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The database's URL, and its further keys.
    fn database(&self) -> (String, String) {
        match &self.setting.database {
            None => (format!("sqlite://{}", self.path("strongroom.db").display()), String::new()),
            Some(Database::Sqlite(path)) => (format!("sqlite://{}", path.display()), String::new()),
            Some(Database::Postgres(server)) => (server.url.clone(), postgres_keys(server)),
        }
    }

    fn config(&self, [grpc, public, ops]: [u16; 3]) -> String {
        let path = |path: PathBuf| quoted(&path);
        let (cert, key) = (path(self.product("tls/server.pem")), path(self.product("tls/server.key")));
        let (url, keys) = self.database();
        format!(
            "environment = \"stage\"\nclient_id = \"{client_id}\"\nclient_secret_file = {secret}\n\
             keyring_file = {keyring}\npolicy_file = {policy}\ntrust_domains = [\"dev.strongroom\"]\ntime_scale = {scale}\n\
             [provider]\napi = \"{api}\"\nui = \"{ui}\"\n\
             [database]\nurl = \"{url}\"\n{keys}\
             [grpc]\nlisten = \"127.0.0.1:{grpc}\"\ncert_file = {cert}\nkey_file = {key}\nclient_ca_file = {ca}\n\
             [public]\nlisten = \"127.0.0.1:{public}\"\nbase_url = \"https://localhost:{public}\"\ncert_file = {cert}\n\
             key_file = {key}\nplatform_name = \"Example Shops\"\nreturn_urls = [\"https://platform.test/\"]\n\
             [ops]\nlisten = \"127.0.0.1:{ops}\"\n{tables}",
            client_id = self.dev.sandbox.client_id,
            api = self.dev.sandbox.api,
            ui = self.dev.sandbox.ui,
            scale = self.setting.time_scale,
            secret = path(self.path("client_secret")),
            keyring = path(self.path("keyring.json")),
            policy = path(self.product("grants.toml")),
            ca = path(self.product("tls/ca.pem")),
            tables = self.setting.tables,
        )
    }
}

/// `strongroom …`, to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn postgres_keys(server: &PostgresConfig) -> String {
    let mut keys = format!("schema = \"{}\"\nconnections = {}\n", server.schema, server.connections);
    let files = [
        ("password_file", &server.password_file),
        ("ca_file", &server.ca_file),
        ("cert_file", &server.cert_file),
        ("key_file", &server.key_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            writeln!(keys, "{key} = {}", quoted(file)).unwrap();
        }
    }
    keys
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

/// Ports that were free a moment ago, all different.
fn free_ports() -> [u16; 3] {
    let mut listeners = Vec::new();
    while listeners.len() < 3 {
        let mut random = [0; 2];
        SystemEntropy.fill(&mut random);
        let port = PORT_FIRST + u16::from_be_bytes(random) % PORT_COUNT;
        listeners.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    ports.try_into().unwrap()
}
