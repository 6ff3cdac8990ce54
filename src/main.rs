//! The `strongroom` binary: arguments to subcommands, exit codes.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use strongroom::app::{self, Listeners, Surroundings};
use strongroom::config::{Config, LogFormat, ProcessEnvironment};
use strongroom::{cli, telemetry};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "sandbox")]
mod local;

/// Merchant onboarding and OAuth2 token vault.
#[derive(Parser)]
#[command(version, about, propagate_version = true, arg_required_else_help = true)]
struct Arguments {
    #[command(flatten)]
    global: cli::Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[cfg(feature = "sandbox")]
    #[command(flatten)]
    Local(local::Command),
    /// Run the service from a configuration file
    Serve {
        /// The configuration; `strongroom serve --example` prints a commented one
        #[arg(long, value_name = "FILE", required_unless_present = "example")]
        config: Option<std::path::PathBuf>,
        /// Print a commented example configuration and exit
        #[arg(long)]
        example: bool,
    },
    /// Bring the database's schema up to date
    Migrate {
        /// The configuration that names the database
        #[arg(long, value_name = "FILE")]
        config: std::path::PathBuf,
    },
    #[command(flatten)]
    Client(cli::Command),
}

/// What a command failed with, for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return failed(&why.into()),
    };
    runtime.block_on(async {
        let done = match arguments.command {
            #[cfg(feature = "sandbox")]
            Command::Local(command) => return local::run(command).await,
            Command::Client(command) => return cli::run(command, &arguments.global).await,
            Command::Serve { example: true, .. } => say(Config::example()),
            Command::Serve { config: Some(path), .. } => serve(&path).await,
            Command::Serve { config: None, .. } => Err("serve needs --config FILE".into()),
            Command::Migrate { config } => migrate(&config).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(&why),
        }
    })
}

fn read_config(path: &std::path::Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Config::load(&ProcessEnvironment, Some(&text))?)
}

async fn serve(path: &std::path::Path) -> Result<(), Failure> {
    let config = read_config(path)?;
    let format = match config.log.format {
        LogFormat::Json => telemetry::Format::Json,
        LogFormat::Text => telemetry::Format::Text,
    };
    telemetry::init(format, &config.log.filter)?;
    let running = app::start(&config, &Surroundings::of_this_machine(), Listeners::bind(&config).await?).await?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            asked = asked_to_end() => { asked?; break }
            _ = hangup.recv() => running.reload().await,
        }
    }
    running.stop().await;
    Ok(())
}

async fn migrate(path: &std::path::Path) -> Result<(), Failure> {
    let config = read_config(path)?;
    let (from, to) = app::migrate(&config).await?;
    say(&format!("schema version {from} -> {to}\n"))
}

/// Resolves when the process is told to end.
async fn asked_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

/// Writes to standard output; whoever closed it does not want the rest.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => Err(why.into()),
        _ => Ok(()),
    }
}

fn failed(why: &Failure) -> ExitCode {
    use std::io::Write as _;
    let _closed = writeln!(std::io::stderr().lock(), "strongroom: {why}");
    ExitCode::FAILURE
}
