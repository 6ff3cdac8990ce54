//! Where the server is and as whom to call it: `dev.json`, or explicit flags.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::failure::{Failure, chain};

/// Where `strongroom dev` keeps its state unless it is told otherwise.
const DEV_DIR: &str = ".strongroom";
/// Handshake included; the server is near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until an answer begins: longer than a probe at the provider with its own deadline of 30 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a server that owes us something must show that it lives: an export may take long, silence may not.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);
/// Largest dev.json or PEM file read: each has a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
const HEADING: &str = "Connection";

/// Where the server is, as whom to call it, and how to print: flags of every command.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Global {
    /// Directory of a running `strongroom dev`: reads DIR/dev.json [default: .strongroom].
    #[arg(long, global = true, value_name = "DIR", help_heading = HEADING)]
    pub dev: Option<PathBuf>,
    /// Which caller of dev.json to be [default: payments for token, onboarding for merchant and account, auditor for audit and
    /// attempt, admin for access and `merchant resolve`].
    #[arg(long = "as", global = true, value_name = "NAME", help_heading = HEADING)]
    pub as_name: Option<String>,
    /// Server, host:port, instead of --dev; needs --ca, --cert and --key as well.
    #[arg(long, global = true, value_name = "HOST:PORT", help_heading = HEADING)]
    pub address: Option<String>,
    /// Name in the server's certificate [default: the host of --address].
    #[arg(long, global = true, value_name = "NAME", help_heading = HEADING)]
    pub server_name: Option<String>,
    /// Certificates (PEM) that the server's is checked against.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub ca: Option<PathBuf>,
    /// Your certificate (PEM), with the chain if there is one.
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub cert: Option<PathBuf>,
    /// Your private key (PEM).
    #[arg(long, global = true, value_name = "FILE", help_heading = HEADING)]
    pub key: Option<PathBuf>,
    /// Prints JSON instead of tables, in one line or one for each entry; errors too, on standard error.
    #[arg(long, global = true)]
    pub json: bool,
}

/// A server and an identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// host:port.
    pub address: String,
    /// Name that the server's certificate must have.
    pub server_name: String,
    /// PEM file of its certificate authorities.
    pub ca: PathBuf,
    /// PEM file of our certificate.
    pub cert: PathBuf,
    /// PEM file of our private key.
    pub key: PathBuf,
}

/// The part of `dev.json` that a client needs. Whatever else stands there is ignored: the file only grows.
#[derive(Deserialize)]
struct DevFile {
    grpc: DevServer,
    callers: BTreeMap<String, DevCaller>,
}

#[derive(Deserialize)]
struct DevServer {
    address: String,
    ca: PathBuf,
    server_name: String,
}

#[derive(Deserialize)]
struct DevCaller {
    cert: PathBuf,
    key: PathBuf,
}

impl Global {
    /// Connects as the caller that was asked for, or else as `default_caller`.
    pub(crate) async fn connect(&self, default_caller: &str) -> Result<Channel, Failure> {
        connect(&self.target(default_caller)?).await
    }

    fn target(&self, default_caller: &str) -> Result<Target, Failure> {
        let Self { address, server_name, ca, cert, key, .. } = self;
        let explicit = address.is_some() || server_name.is_some() || ca.is_some() || cert.is_some() || key.is_some();
        if !explicit {
            let dir = self.dev.as_deref().unwrap_or(Path::new(DEV_DIR));
            return dev_target(dir, self.as_name.as_deref().unwrap_or(default_caller));
        }
        if self.dev.is_some() || self.as_name.is_some() {
            let both = "either --dev and --as, or --address, --server-name, --ca, --cert and --key";
            return Err(Failure::Usage(both.to_owned()));
        }
        let (Some(address), Some(ca), Some(cert), Some(key)) = (address, ca, cert, key) else {
            return Err(Failure::Usage("--address, --ca, --cert and --key belong together".to_owned()));
        };
        let (host, _port) = address
            .rsplit_once(':')
            .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            .ok_or_else(|| Failure::Usage(format!("--address {address}: expected host:port")))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Target {
            address: address.clone(),
            server_name: server_name.clone().unwrap_or_else(|| host.to_owned()),
            ca: ca.clone(),
            cert: cert.clone(),
            key: key.clone(),
        })
    }
}

/// Connects over TLS with a client certificate.
pub(crate) async fn connect(target: &Target) -> Result<Channel, Failure> {
    let unreachable =
        |fault: tonic::transport::Error| Failure::Connect { address: target.address.clone(), fault: chain(&fault) };
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&target.ca)?))
        .identity(Identity::from_pem(read(&target.cert)?, read(&target.key)?))
        .domain_name(&target.server_name);
    let unusable = |what: String| move |fault| Failure::Usage(format!("{what}: {}", chain(&fault)));
    let endpoint = Endpoint::from_shared(format!("https://{}", target.address));
    let endpoint = endpoint.map_err(unusable(format!("address {}", target.address)))?;
    let files = [&target.ca, &target.cert, &target.key].map(|path| path.display().to_string()).join(", ");
    let endpoint = endpoint.tls_config(tls).map_err(unusable(files))?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT);
    let endpoint = endpoint.http2_keep_alive_interval(SIGN_OF_LIFE).keep_alive_timeout(SIGN_OF_LIFE);
    endpoint.connect().await.map_err(unreachable)
}

fn dev_target(dir: &Path, caller: &str) -> Result<Target, Failure> {
    let path = dir.join("dev.json");
    let bytes = match read(&path) {
        Err(Failure::File { fault, .. }) if fault.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::Usage(format!(
                "{} is not there: start `strongroom dev`, name its directory with --dev, or a server with --address",
                path.display()
            )));
        }
        other => other?,
    };
    parse_dev_file(&bytes, caller).map_err(|said| Failure::Usage(format!("{}: {said}", path.display())))
}

fn parse_dev_file(bytes: &[u8], caller: &str) -> Result<Target, String> {
    let mut file: DevFile = serde_json::from_slice(bytes).map_err(|fault| fault.to_string())?;
    let Some(DevCaller { cert, key }) = file.callers.remove(caller) else {
        let known: Vec<_> = file.callers.into_keys().collect();
        return Err(format!("no caller {caller}; there are: {}", known.join(", ")));
    };
    let DevServer { address, ca, server_name } = file.grpc;
    Ok(Target { address, server_name, ca, cert, key })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let fault = |fault| Failure::file(path, fault);
    let size = fs::metadata(path).map_err(fault)?.len();
    if size > FILE_BYTES_MAX {
        return Err(Failure::Usage(format!("{}: longer than {FILE_BYTES_MAX} bytes", path.display())));
    }
    fs::read(path).map_err(fault)
}

#[cfg(test)]
mod tests;
