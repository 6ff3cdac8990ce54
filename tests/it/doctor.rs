//! `doctor` as an operator runs it: on an installation in which one thing at a time is wrong.

mod postgres;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use sqlx::Connection as _;
use strongroom::demo::{Site, SiteOptions};

const BINARY: &str = env!("CARGO_BIN_EXE_strongroom");

/// A provider that gives one scripted answer to everything.
struct Provider {
    address: String,
    answer: Arc<Mutex<String>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer: Arc<Mutex<String>> = Arc::default();
        let script = Arc::clone(&answer);
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                // The body of /app ends the request.
                while !request.ends_with(b"}") {
                    match stream.read(&mut buffer) {
                        Ok(read) if read > 0 => request.extend_from_slice(&buffer[..read]),
                        _ => break,
                    }
                }
                // A client that hangs up has seen enough.
                let _gone = stream.write_all(script.lock().unwrap().as_bytes());
            }
        });
        Self { address, answer }
    }

    fn answers(&self, status: u16, date: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status} x\r\ndate: {date}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        *self.answer.lock().unwrap() = answer;
    }
}

/// The files of a deployment that has started once, and its provider.
struct Installation {
    dir: tempfile::TempDir,
    client_id: String,
    provider: Provider,
}

impl Installation {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::open(SiteOptions::new(dir.path().join("site")), None).await.unwrap();
        let client_id = site.dev().sandbox.client_id.clone();
        site.close().await;
        let installation = Self { dir, client_id, provider: Provider::start() };
        installation.provider_is_fine();
        installation
    }

    /// A copy of the files for one case, with its configuration.
    fn copy(&self) -> Case<'_> {
        let dir = tempfile::tempdir().unwrap();
        copy(&self.dir.path().join("site/product"), dir.path());
        let case = Case { of: self, dir, variables: Vec::new() };
        case.write_config(&self.client_id, &format!("http://{}/v2", self.provider.address));
        case
    }

    fn provider_is_fine(&self) {
        let body = json!({"client_id": self.client_id.parse::<u64>().unwrap(), "state": "active"});
        self.provider.answers(200, &now(), &body.to_string());
    }
}

struct Case<'a> {
    of: &'a Installation,
    dir: tempfile::TempDir,
    /// Which win over the file.
    variables: Vec<(&'static str, String)>,
}

impl Case<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_config(&self, client_id: &str, api: &str) {
        let path = |name: &str| format!("{:?}", self.path(name).to_str().unwrap());
        let (cert, key) = (path("tls/server.pem"), path("tls/server.key"));
        let config = format!(
            "environment = \"stage\"\nclient_id = \"{client_id}\"\nclient_secret_file = {}\nkeyring_file = {}\n\
             policy_file = {}\ntrust_domains = [\"dev.strongroom\"]\n[provider]\napi = \"{api}\"\nui = \"{api}\"\n\
             [database]\nurl = \"sqlite://{}\"\n[grpc]\nlisten = \"127.0.0.1:7443\"\ncert_file = {cert}\n\
             key_file = {key}\nclient_ca_file = {}\n[public]\nlisten = \"127.0.0.1:8443\"\n\
             base_url = \"https://localhost:8443\"\ncert_file = {cert}\nkey_file = {key}\n\
             platform_name = \"Example Shops\"\nreturn_urls = []\n[ops]\nlisten = \"127.0.0.1:9100\"\n",
            path("client_secret"),
            path("keyring.json"),
            path("grants.toml"),
            self.path("strongroom.db").display(),
            path("tls/ca.pem"),
        );
        fs::write(self.path("strongroom.toml"), config).unwrap();
    }

    fn run(&self, further: &[&str]) -> Output {
        let config = self.path("strongroom.toml");
        let mut command = Command::new(BINARY);
        command.args(["doctor", "--config", config.to_str().unwrap()]).args(further).envs(self.variables.clone());
        let output = command.stdin(Stdio::null()).output().unwrap();
        self.assert_no_secret(&output);
        output
    }

    fn examine(&self) -> (Option<i32>, Value) {
        let output = self.run(&["--json"]);
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Exactly one check ends so; the exit code follows.
    fn expect(&self, check: &str, verdict: &str, words: &str) {
        let (code, found) = self.examine();
        let findings = found["findings"].as_array().unwrap();
        let hit = findings.iter().any(|finding| {
            finding["check"] == check
                && finding["verdict"] == verdict
                && finding["what"].as_str().unwrap().contains(words)
                && (verdict == "ok" || !finding["mend"].as_str().unwrap().is_empty())
        });
        assert!(hit, "no {verdict} of {check} with {words:?} in {found:#}");
        let failed = findings.iter().filter(|finding| finding["verdict"] == "fail").collect::<Vec<_>>();
        assert!(failed.iter().all(|finding| finding["check"] == check), "{found:#}");
        assert_eq!(code, Some(i32::from(!failed.is_empty())), "{found:#}");
        assert_eq!(found["failed"], failed.len());
    }

    fn assert_no_secret(&self, output: &Output) {
        let printed = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
        let site = self.of.dir.path().join("site/product");
        for (file, longer_than) in [("client_secret", 4), ("keyring.json", 40), ("tls/server.key", 60)] {
            let text = fs::read_to_string(site.join(file)).unwrap();
            for word in text.split(['"', '\n']).filter(|word| word.len() > longer_than) {
                assert!(!printed.contains(word), "{file} in {printed}");
            }
        }
    }

    /// A certificate for these hosts, valid from and until so many days from now, with its key.
    fn certify(&self, host: &str, days: (i64, i64)) {
        let at = |days| rcgen_time(days);
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (at(days.0), at(days.1));
        let key = KeyPair::generate().unwrap();
        fs::write(self.path("tls/server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(self.path("tls/server.key"), key.serialize_pem()).unwrap();
    }

    async fn sql(&self, statement: &'static str) {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path("strongroom.db"));
        let mut conn = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(statement).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_sound_installation_passes_and_is_left_as_it_was() {
    let installation = Installation::new().await;
    let case = installation.copy();
    let before = contents(case.dir.path());
    let (code, found) = case.examine();
    assert_eq!(code, Some(0), "{found:#}");
    let verdicts = found["findings"].as_array().unwrap().iter().map(|finding| {
        (finding["check"].as_str().unwrap().to_owned(), finding["verdict"].as_str().unwrap().to_owned())
    });
    let expected = [
        ("configuration", "ok"),
        ("configuration", "warn"),
        ("secret files", "ok"),
        ("keyring", "ok"),
        ("grants", "ok"),
        ("certificate of grpc", "ok"),
        ("authorities of callers", "ok"),
        ("certificate of public", "ok"),
        ("database", "ok"),
        ("provider", "ok"),
        ("clock", "ok"),
    ];
    assert_eq!(verdicts.collect::<Vec<_>>(), expected.map(|(check, verdict)| (check.to_owned(), verdict.to_owned())));
    assert_eq!(contents(case.dir.path()), before, "not a byte and not a file is new");

    let text = String::from_utf8(case.run(&[]).stdout).unwrap();
    assert_eq!(text.lines().count(), 12, "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("warn  configuration"), "{text}");
    assert!(text.ends_with("11 checks, 0 failed, 1 to look at\n"), "{text}");
    let help = Command::new(BINARY).args(["doctor", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit codes:"));
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_named_with_its_check() {
    let installation = Installation::new().await;
    let chmod = |path: PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();

    let case = installation.copy();
    fs::write(case.path("strongroom.toml"), "environment = \"moon\"\nodd = 1\n").unwrap();
    case.expect("configuration", "fail", "environment (line 1)");
    case.expect("configuration", "fail", "odd");
    case.expect("configuration", "fail", "keyring_file: is missing");
    fs::remove_file(case.path("strongroom.toml")).unwrap();
    case.expect("configuration", "fail", "cannot be read");

    let case = installation.copy();
    chmod(case.path("client_secret"), 0o644);
    case.expect("configuration", "fail", "client_secret_file");
    chmod(case.path("client_secret"), 0o600);
    for bad in ["", "two words", "a\nb"] {
        fs::write(case.path("client_secret"), bad).unwrap();
        case.expect("secret files", "fail", "not one word");
    }

    let case = installation.copy();
    chmod(case.dir.path().to_owned(), 0o770);
    case.expect("secret files", "warn", "may replace files");

    let case = installation.copy();
    fs::write(case.path("keyring.json"), "{\"format\":").unwrap();
    case.expect("keyring", "fail", "damaged");

    let case = installation.copy();
    fs::write(case.path("grants.toml"), "[[grant]]\nid = 1\n").unwrap();
    case.expect("grants", "fail", "grants.toml");
}

#[tokio::test]
async fn what_is_wrong_with_the_certificates_is_named_with_its_check() {
    let installation = Installation::new().await;
    let case = installation.copy();
    for (host, days, verdict, words) in [
        ("localhost", (-9, -1), "fail", "has been invalid since"),
        ("localhost", (1, 9), "fail", "is not valid before"),
        ("localhost", (-1, 9), "warn", "only"),
        ("localhost", (-1, 99), "ok", "valid until"),
    ] {
        case.certify(host, days);
        let (_, found) = case.examine();
        for check in ["certificate of grpc", "certificate of public"] {
            let finding =
                found["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == check).unwrap();
            assert_eq!(finding["verdict"], verdict, "{finding}");
            assert!(finding["what"].as_str().unwrap().contains(words), "{finding}");
        }
    }
    for host in ["shop.example", "*.localhost"] {
        case.certify(host, (-1, 99));
        case.expect("certificate of public", "fail", "is not for localhost");
    }

    let case = installation.copy();
    fs::copy(case.path("tls/payments.key"), case.path("tls/server.key")).unwrap();
    let (code, found) = case.examine();
    assert_eq!((code, &found["failed"]), (Some(1), &json!(2)), "key of another certificate: {found:#}");

    let case = installation.copy();
    fs::write(case.path("tls/ca.pem"), "none").unwrap();
    case.expect("authorities of callers", "fail", "no certificate");
    let old = CertificateParams::new(vec!["old".to_owned()]).map(|mut params| {
        (params.not_before, params.not_after) = (rcgen_time(-9), rcgen_time(-1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    });
    fs::write(case.path("tls/ca.pem"), old.unwrap()).unwrap();
    case.expect("authorities of callers", "fail", "has been invalid since");
}

#[tokio::test]
async fn what_is_wrong_with_the_database_is_named_with_its_check() {
    let installation = Installation::new().await;
    let api = format!("http://{}/v2", installation.provider.address);

    let case = installation.copy();
    fs::remove_file(case.path("strongroom.db")).unwrap();
    case.expect("database", "ok", "not there yet");
    assert!(!case.path("strongroom.db").exists());
    fs::write(case.path("strongroom.db"), "").unwrap();
    fs::set_permissions(case.path("strongroom.db"), fs::Permissions::from_mode(0o600)).unwrap();
    case.expect("database", "ok", "schema version 0 and belongs to no app yet");
    fs::write(case.path("strongroom.db"), "x".repeat(8192)).unwrap();
    case.expect("database", "fail", "damaged");

    let case = installation.copy();
    fs::set_permissions(case.path("strongroom.db"), fs::Permissions::from_mode(0o644)).unwrap();
    case.expect("database", "warn", "open to others");

    let case = installation.copy();
    fs::remove_file(case.path("keyring.json")).unwrap();
    let made = Command::new(BINARY).args(["key", "create", "--file"]).arg(case.path("keyring.json")).status().unwrap();
    assert!(made.success());
    case.expect("database", "fail", "another keyring");

    let case = installation.copy();
    installation.provider.answers(200, &now(), r#"{"client_id":7,"state":"active"}"#);
    case.write_config("7", &api);
    case.expect("database", "fail", "belongs to wepay/stage/");
    installation.provider_is_fine();

    let case = installation.copy();
    case.sql("UPDATE schema_compatibility SET works_from = 9999").await;
    case.expect("database", "fail", "newer than");
}

#[tokio::test]
async fn a_database_that_a_process_has_is_in_use_and_one_that_a_crash_left_is_read_with_its_log() {
    let installation = Installation::new().await;
    let case = installation.copy();
    let lock = fs::File::create(case.path("strongroom.db.lock")).unwrap();
    lock.lock().unwrap();
    case.expect("database", "ok", "in use by a running process");
    lock.unlock().unwrap();

    // The stamp is in the write-ahead log alone, as after a crash.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(case.path("strongroom.db"));
    let mut conn = sqlx::SqliteConnection::connect_with(&options.pragma("wal_autocheckpoint", "0")).await.unwrap();
    sqlx::query("UPDATE apps SET client_id = '42'").execute(&mut conn).await.unwrap();
    let crashed = installation.copy();
    for name in ["strongroom.db", "strongroom.db-wal"] {
        fs::copy(case.path(name), crashed.path(name)).unwrap();
    }
    conn.close().await.unwrap();
    let before = fs::read(crashed.path("strongroom.db")).unwrap();
    crashed.expect("database", "fail", "belongs to wepay/stage/42");
    assert_eq!(fs::read(crashed.path("strongroom.db")).unwrap(), before);
}

#[tokio::test]
async fn what_is_wrong_with_the_provider_or_the_clock_is_named_with_its_check() {
    let installation = Installation::new().await;
    let case = installation.copy();
    let provider = &installation.provider;
    let active = json!({"client_id": installation.client_id.parse::<u64>().unwrap(), "state": "active"}).to_string();
    for (status, body, verdict, words) in [
        (200, active.replace("active", "disabled"), "fail", "as disabled"),
        (401, r#"{"error":"invalid_client","error_description":"no"}"#.to_owned(), "fail", "invalid_client"),
        (400, r#"{"error":"throttle_exceeded","error_code":1007}"#.to_owned(), "warn", "1007"),
        (200, "<html>".to_owned(), "fail", "malformed"),
        (502, "<html>".to_owned(), "fail", "server error"),
    ] {
        provider.answers(status, &now(), &body);
        case.expect("provider", verdict, words);
    }
    provider.answers(200, "Sun, 06 Nov 1994 08:49:37 GMT", &active);
    case.expect("clock", "warn", "ahead of the provider's");
    provider.answers(200, "Thu, 01 Jan 2099 00:00:00 GMT", &active);
    case.expect("clock", "warn", "behind the provider's");
    provider.answers(200, "yesterday", &active);
    case.expect("clock", "warn", "told no time");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    case.write_config(&installation.client_id, &format!("http://{free}/v2"));
    case.expect("provider", "fail", "no connection");
}

/// The present time as HTTP writes it.
fn now() -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    wall().format(&format).unwrap()
}

fn rcgen_time(days: i64) -> time::OffsetDateTime {
    wall() + time::Duration::days(days)
}

fn wall() -> time::OffsetDateTime {
    use strongroom::domain::ambient::{Clock as _, SystemClock};
    time::OffsetDateTime::from_unix_timestamp(SystemClock.now().as_unix_seconds()).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a directory, with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    found
}
