//! `dev.json`: where a running `dev` or `demo` answers, and who may call it. A contract for scripts and outside tests: it only grows.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Readable and writable by its owner only: it names private keys and carries the sandbox app's secret.
const MODE: u32 = 0o600;

/// The whole file. Paths are absolute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DevJson {
    /// The internal API.
    pub grpc: GrpcJson,
    /// Base URL of the public pages.
    pub public_http: String,
    /// PEM file of the authority behind the public pages' certificate.
    pub public_ca: PathBuf,
    /// Base URL of the listener for operators.
    pub ops_http: String,
    /// The provider's stand-in.
    pub sandbox: SandboxJson,
    /// URL of the database.
    pub database: String,
    /// Callers by name: `payments`, `onboarding`, `auditor`, `admin`, `approver`, `stranger`.
    pub callers: BTreeMap<String, CallerJson>,
}

/// How to reach the internal API.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct GrpcJson {
    /// `HOST:PORT`.
    pub address: String,
    /// PEM file of the authority behind the server's certificate.
    pub ca: PathBuf,
    /// The name in the server's certificate.
    pub server_name: String,
}

/// How to reach the sandbox, and the app that was made in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxJson {
    /// Base URL of its API, ends in `/v2`.
    pub api: String,
    /// Base URL of its pages, ends in `/v2`.
    pub ui: String,
    /// Base URL of its control API, ends in `/control`.
    pub control: String,
    /// The app's id.
    pub client_id: String,
    /// The app's secret.
    pub client_secret: String,
}

/// A caller of the internal API.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CallerJson {
    /// PEM file of its certificate.
    pub cert: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
    /// Its SPIFFE id.
    pub id: String,
}

impl fmt::Debug for SandboxJson {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { api, ui, control, client_id, client_secret: _ } = self;
        let mut shown = formatter.debug_struct("SandboxJson");
        shown.field("api", api).field("ui", ui).field("control", control).field("client_id", client_id);
        shown.finish_non_exhaustive()
    }
}

impl DevJson {
    /// Writes the file with mode 0600, whole or not at all: who reads it while it is written sees the one before.
    ///
    /// # Errors
    /// As the file system.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let unfinished = path.with_extension("json.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        match path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => File::open(dir)?.sync_all(),
            _ => Ok(()),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// As the file system; `InvalidData` when it is not this contract.
    pub fn read(path: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn example() -> DevJson {
        let caller = |name: &str| CallerJson {
            cert: format!("/d/{name}.pem").into(),
            key: format!("/d/{name}.key").into(),
            id: format!("spiffe://dev.strongroom/{name}"),
        };
        let names = ["payments", "onboarding", "auditor", "admin", "approver", "stranger"];
        DevJson {
            grpc: GrpcJson {
                address: "127.0.0.1:1".into(),
                ca: "/d/ca.pem".into(),
                server_name: "strongroom.test".into(),
            },
            public_http: "https://localhost:2".into(),
            public_ca: "/d/public.pem".into(),
            ops_http: "http://127.0.0.1:3".into(),
            sandbox: SandboxJson {
                api: "http://127.0.0.1:4/v2".into(),
                ui: "http://127.0.0.1:4/v2".into(),
                control: "http://127.0.0.1:4/control".into(),
                client_id: "123456".into(),
                client_secret: "canary0123".into(),
            },
            database: "sqlite:///d/strongroom.db".into(),
            callers: names.into_iter().map(|name| (name.to_owned(), caller(name))).collect(),
        }
    }

    #[test]
    fn the_file_survives_a_round_trip_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dev.json");
        fs::write(&path, "the one before").unwrap();
        fs::write(dir.path().join("dev.json.new"), "left over by a crash").unwrap();
        example().write(&path).unwrap();
        assert_eq!(DevJson::read(&path).unwrap(), example());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_names_of_the_contract_do_not_change() {
        let json = serde_json::to_value(example()).unwrap();
        let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&json), ["callers", "database", "grpc", "ops_http", "public_ca", "public_http", "sandbox"]);
        assert_eq!(keys(&json["grpc"]), ["address", "ca", "server_name"]);
        assert_eq!(keys(&json["sandbox"]), ["api", "client_id", "client_secret", "control", "ui"]);
        assert_eq!(keys(&json["callers"]["payments"]), ["cert", "id", "key"]);
    }

    #[test]
    fn printing_it_shows_everything_but_the_apps_secret() {
        let printed = format!("{:?}", example());
        assert!(printed.contains("123456") && !printed.contains("canary"), "{printed}");
    }
}
