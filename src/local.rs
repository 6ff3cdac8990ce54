//! The commands that stand on the sandbox: `demo`, `dev`, `sandbox`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use strongroom::demo::{self, Site, SiteOptions};
use strongroom::sandbox::{Options, Sandbox};
use strongroom::telemetry;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, asked_to_end, failed, say};

/// What `dev` and `sandbox` log.
const FILTER: &str = "info";
/// What the demo logs into memory and searches for secrets: all of ours.
const DEMO_FILTER: &str = "info,strongroom=trace";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Watch a merchant connect, and the token go to the one service that may have it
    Demo {
        /// Other grants than the development ones (to see the demo notice)
        #[arg(long, value_name = "FILE", hide = true)]
        grants: Option<PathBuf>,
        /// A sandbox that does not revoke earlier tokens (to see the demo notice)
        #[arg(long, hide = true)]
        sandbox_keeps_tokens: bool,
        /// A product that takes mints for harmless (to see the demo notice)
        #[arg(long, hide = true)]
        mints_are_harmless: bool,
    },
    /// Run everything on embedded parts and keep it running; state stays in DIR
    Dev {
        /// Where state, keys and certificates lie
        #[arg(long, value_name = "DIR", default_value = ".strongroom")]
        dir: PathBuf,
    },
    /// Run the WePay v2 sandbox alone; prints its addresses as one line of JSON
    Sandbox {
        /// Loopback address to listen on
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Keep state in this directory; without, it is gone at the end
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Divide every duration by this
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        time_scale: u32,
    },
}

pub(super) async fn run(command: Command) -> ExitCode {
    let done = match command {
        Command::Demo { grants, sandbox_keeps_tokens, mints_are_harmless } => {
            show(grants, !sandbox_keeps_tokens, !mints_are_harmless).await
        }
        Command::Dev { dir } => develop(dir).await,
        Command::Sandbox { listen, dir, time_scale } => sandbox(listen, dir, time_scale).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

async fn show(grants: Option<PathBuf>, token_revokes: bool, mint_revokes: bool) -> Result<(), Failure> {
    let log = telemetry::capture(DEMO_FILTER)?;
    let grants = grants.map(std::fs::read_to_string).transpose()?;
    let dir = tempfile::Builder::new().prefix("strongroom-demo-").tempdir()?;
    let options = SiteOptions { grants, token_revokes, mint_revokes, ..SiteOptions::new(dir.path().to_owned()) };
    let site = Site::open(options, Some(log)).await?;
    let told = demo::tell(&site, &mut std::io::stdout()).await;
    site.close().await;
    dir.close()?;
    Ok(told?)
}

async fn develop(dir: PathBuf) -> Result<(), Failure> {
    telemetry::init(telemetry::Format::Text, FILTER)?;
    let site = Site::open(SiteOptions::new(dir), None).await?;
    let dev = site.dev();
    say(&format!(
        "ready: gRPC at {}, pages at {}, sandbox at {}; see dev.json\n",
        dev.grpc.address, dev.public_http, dev.sandbox.ui
    ))?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            asked = asked_to_end() => { asked?; break }
            _ = hangup.recv() => site.reload().await,
        }
    }
    site.close().await;
    Ok(())
}

async fn sandbox(listen: SocketAddr, dir: Option<PathBuf>, time_scale: u32) -> Result<(), Failure> {
    telemetry::init(telemetry::Format::Text, FILTER)?;
    let sandbox = Sandbox::start(Options::alone(listen, dir, time_scale)).await?;
    say(&format!("{}\n", serde_json::to_string(sandbox.endpoints())?))?;
    asked_to_end().await?;
    sandbox.stop().await;
    Ok(())
}
