//! The `strongroom` binary: arguments to subcommands, exit codes.

#[cfg(feature = "sandbox")]
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use strongroom::app::{self, ConfigFile, Listeners, Surroundings};
use strongroom::config::{Config, LogFormat, ProcessEnvironment};
#[cfg(feature = "sandbox")]
use strongroom::demo::{self, Site, SiteOptions};
#[cfg(feature = "sandbox")]
use strongroom::sandbox::{Environment, Options, Sandbox, Throttle};
use strongroom::{cli, telemetry};
use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(feature = "sandbox")]
/// What `dev` and `sandbox` log.
const FILTER: &str = "info";
#[cfg(feature = "sandbox")]
/// What the demo logs into memory and searches for secrets: all of ours.
const DEMO_FILTER: &str = "info,strongroom=trace";

/// Merchant onboarding and OAuth2 token vault.
#[derive(Parser)]
#[command(version, about, propagate_version = true, arg_required_else_help = true, after_help = cli::help::BEGIN)]
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
    Local(LocalCommand),
    /// Run the service from a configuration file
    #[command(after_help = cli::help::SERVE)]
    Serve {
        /// The configuration; `strongroom serve --example` prints a commented one
        #[arg(long, value_name = "FILE", required_unless_present = "example")]
        config: Option<PathBuf>,
        /// Print a commented example configuration and exit
        #[arg(long)]
        example: bool,
    },
    /// Keys of this deployment
    #[command(subcommand)]
    Key(KeyCommand),
    /// Bring the database's schema up to date
    #[command(after_help = cli::help::MIGRATE)]
    Migrate {
        /// The configuration that names the database
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say what is wrong with this installation, and how to mend it
    #[command(after_help = cli::doctor::HELP)]
    Doctor(cli::doctor::Doctor),
    #[command(flatten)]
    Client(Box<cli::Command>),
}

#[cfg(feature = "sandbox")]
/// The commands that stand on the sandbox.
#[derive(Subcommand)]
enum LocalCommand {
    /// Watch merchants come in, and the token go to the one service that may have it
    #[command(after_help = cli::help::DEMO)]
    Demo {
        /// Other grants than the development ones (to see the demo notice)
        #[arg(long, value_name = "FILE", hide = true)]
        grants: Option<PathBuf>,
        /// A sandbox that does not revoke earlier tokens (to see the demo notice)
        #[arg(long, hide = true)]
        sandbox_keeps_tokens: bool,
        /// A sandbox whose /user/register revokes earlier tokens (to see the demo hold all the same)
        #[arg(long, hide = true)]
        sandbox_register_revokes: bool,
        /// What goes wrong at the sandbox, as JSON (to see the demo notice)
        #[arg(long, value_name = "JSON", hide = true, value_parser = parse_json)]
        sandbox_fault: Vec<serde_json::Value>,
        /// A product that takes mints for harmless (to see the demo notice)
        #[arg(long, hide = true)]
        mints_are_harmless: bool,
    },
    /// Run everything on embedded parts and keep it running; state stays in DIR
    #[command(after_help = cli::help::DEV)]
    Dev {
        /// Where state, keys and certificates lie
        #[arg(long, value_name = "DIR", default_value = ".strongroom")]
        dir: PathBuf,
    },
    /// Run the WePay v2 sandbox alone; prints its addresses as one line of JSON
    #[command(after_help = cli::help::SANDBOX)]
    Sandbox {
        /// Loopback address to listen on
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Keep state in this directory; without, it is gone at the end
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Answer over TLS, with cert.pem and key.pem of this directory; made there when missing
        #[arg(long, value_name = "DIR")]
        tls_dir: Option<PathBuf>,
        /// Divide every duration by this
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        time_scale: u32,
        /// Begin with this setting of the control API (docs/sandbox.md); repeatable
        #[arg(long, value_name = "NAME=JSON", value_parser = parse_setting)]
        setting: Vec<(String, serde_json::Value)>,
        /// An authority (PEM) that receivers of notices may have their certificates from; repeatable
        #[arg(long, value_name = "FILE")]
        notice_ca: Vec<PathBuf>,
        /// Which of the provider's environments to play, stage or production; a state directory keeps its own
        #[arg(long, value_name = "NAME", default_value = "stage", value_parser = parse_name::<Environment>)]
        environment: Environment,
        /// How calls are limited, 30 in 10 seconds for each app: off, sliding or fixed
        #[arg(long, value_name = "SHAPE", default_value = "sliding", value_parser = parse_name::<Throttle>)]
        throttle: Throttle,
    },
}

#[derive(Subcommand)]
enum KeyCommand {
    /// Make a keyring file with fresh keys: mode 0600, never over an existing one
    #[command(after_help = cli::help::KEY_CREATE)]
    Create {
        /// The new file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
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
            Command::Local(command) => return run_local(command).await,
            Command::Client(command) => return cli::run(*command, &arguments.global).await,
            Command::Doctor(doctor) => return examine(&doctor.config, &arguments.global).await,
            Command::Serve { example: true, .. } => say(Config::example()),
            Command::Serve { config: Some(path), .. } => serve(&path).await,
            Command::Serve { config: None, .. } => Err("serve needs --config FILE".into()),
            Command::Key(KeyCommand::Create { file }) => {
                app::create_keyring(&file, &Surroundings::of_this_machine()).map_err(Failure::from)
            }
            Command::Migrate { config } => migrate(&config).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(&why),
        }
    })
}

/// The configuration, and the text of the file that it came from.
fn read_config(path: &Path) -> Result<(Config, String), Failure> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok((Config::load(&ProcessEnvironment, Some(&text))?, text))
}

async fn serve(path: &Path) -> Result<(), Failure> {
    let (config, text) = read_config(path)?;
    let format = match config.log.format {
        LogFormat::Json => telemetry::Format::Json,
        LogFormat::Text => telemetry::Format::Text,
    };
    let filter = telemetry::init(format, &config.log.filter)?;
    let running = app::start(&config, &Surroundings::of_this_machine(), Listeners::bind(&config).await?).await?;
    running.follow(ConfigFile::new(path, text, ProcessEnvironment, &config, filter)).await;
    let mut signals = Signals::new()?;
    let told = loop {
        tokio::select! {
            told = signals.next() => match told {
                Told::End => break true,
                Told::Reload => running.reload().await,
            },
            () = running.ended() => break false,
        }
    };
    running.stop().await;
    if told { Ok(()) } else { Err("a server ended; see the log".into()) }
}

async fn examine(config: &Path, global: &cli::Global) -> ExitCode {
    let clock = Surroundings::of_this_machine().clock;
    let findings = app::doctor::examine(config, &ProcessEnvironment, &clock).await;
    cli::doctor::print(&findings, global)
}

async fn migrate(path: &Path) -> Result<(), Failure> {
    let (config, _) = read_config(path)?;
    let (from, to) = app::migrate(&config).await?;
    say(&format!("schema version {from} -> {to}\n"))
}

/// What the process was told.
enum Told {
    End,
    Reload,
}

/// What the process may be told; made once, so that nothing told meanwhile is lost.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Resolves with the next thing the process is told.
    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
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

#[cfg(feature = "sandbox")]
async fn run_local(command: LocalCommand) -> ExitCode {
    let done = match command {
        LocalCommand::Demo {
            grants,
            sandbox_keeps_tokens,
            sandbox_register_revokes,
            sandbox_fault,
            mints_are_harmless,
        } => {
            let change = |options: SiteOptions| SiteOptions {
                token_revokes: !sandbox_keeps_tokens,
                register_revokes: sandbox_register_revokes,
                mint_revokes: !mints_are_harmless,
                faults: sandbox_fault,
                ..options
            };
            show(grants, change).await
        }
        LocalCommand::Dev { dir } => develop(dir).await,
        LocalCommand::Sandbox { listen, dir, tls_dir, time_scale, setting, notice_ca, environment, throttle } => {
            let settings = setting.into_iter().collect();
            let alone = Options::alone(listen, dir, time_scale);
            sandbox(Options { tls_dir, environment, throttle, settings, ..alone }, &notice_ca).await
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => failed(&why),
    }
}

/// Without it clap would take any text for a JSON string.
#[cfg(feature = "sandbox")]
fn parse_json(text: &str) -> Result<serde_json::Value, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(feature = "sandbox")]
/// One of the names that a type has in the sandbox's control API.
fn parse_name<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|why| why.to_string())
}

/// A setting of the sandbox: its name, and its value as JSON.
#[cfg(feature = "sandbox")]
fn parse_setting(text: &str) -> Result<(String, serde_json::Value), Failure> {
    let (name, value) = text.split_once('=').ok_or("a setting is NAME=JSON")?;
    let value = parse_json(value).map_err(|why| format!("{value} is no JSON (a text needs quotes): {why}"))?;
    Ok((name.to_owned(), value))
}

#[cfg(feature = "sandbox")]
async fn show(grants: Option<PathBuf>, change: impl FnOnce(SiteOptions) -> SiteOptions) -> Result<(), Failure> {
    let log = telemetry::capture(DEMO_FILTER)?;
    let grants = grants.map(std::fs::read_to_string).transpose()?;
    let dir = tempfile::Builder::new().prefix("strongroom-demo-").tempdir()?;
    let options = change(SiteOptions { grants, ..SiteOptions::new(dir.path().to_owned()) });
    let site = Site::open(options, Some(log)).await?;
    let told = demo::tell(&site, &mut std::io::stdout()).await;
    site.close().await;
    dir.close()?;
    Ok(told?)
}

#[cfg(feature = "sandbox")]
async fn develop(dir: PathBuf) -> Result<(), Failure> {
    telemetry::init(telemetry::Format::Text, FILTER)?;
    let site = Site::open(SiteOptions::new(dir), None).await?;
    let dev = site.dev();
    say(&format!(
        "ready: gRPC at {}, pages at {}, sandbox at {}; see dev.json\n",
        dev.grpc.address, dev.public_http, dev.sandbox.ui
    ))?;
    let mut signals = Signals::new()?;
    while let Told::Reload = signals.next().await {
        site.reload().await;
    }
    site.close().await;
    Ok(())
}

#[cfg(feature = "sandbox")]
async fn sandbox(mut options: Options, notice_cas: &[PathBuf]) -> Result<(), Failure> {
    telemetry::init(telemetry::Format::Text, FILTER)?;
    for file in notice_cas {
        options.notice_roots.push(std::fs::read(file).map_err(|why| format!("{}: {why}", file.display()))?);
    }
    let sandbox = Sandbox::start(options).await?;
    say(&format!("{}\n", serde_json::to_string(sandbox.endpoints())?))?;
    let mut signals = Signals::new()?;
    while let Told::Reload = signals.next().await {}
    sandbox.stop().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _, Parser as _};

    use super::Arguments;

    /// What clap wraps help at, however wide the terminal is.
    const HELP_COLUMNS_MAX: usize = 100;

    #[cfg(feature = "sandbox")]
    #[test]
    fn a_setting_of_the_sandbox_is_a_name_and_json() {
        let parsed = super::parse_setting("throttle=\"fixed\"").unwrap();
        assert_eq!(parsed, ("throttle".to_owned(), serde_json::json!("fixed")));
        for wrong in ["throttle", "throttle=fixed", "codes={"] {
            assert!(super::parse_setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_whole_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    /// Every command that is no group of others, by its whole name, with the end of its help.
    fn commands() -> Vec<(String, String)> {
        fn below(command: &Command, name: &str, found: &mut Vec<(String, String)>) {
            for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
                let name = format!("{name} {}", inner.get_name());
                if !inner.has_subcommands() {
                    let help = inner.get_after_help().map(ToString::to_string).unwrap_or_default();
                    found.push((name.clone(), help));
                }
                below(inner, &name, found);
            }
        }
        let (mut root, mut found) = (Arguments::command(), Vec::new());
        root.build();
        below(&root, "strongroom", &mut found);
        found.push(("strongroom".to_owned(), strongroom::cli::help::BEGIN.to_owned()));
        found
    }

    /// The examples of a help text: the words that the binary would get of each.
    fn examples(help: &str) -> Vec<Vec<String>> {
        let text = help.split("\\\n").map(str::trim_start).collect::<Vec<_>>().join("");
        // Not in the middle of an explanation: at the beginning, behind a pipe, or in a substitution.
        let is_command = |before: &str| before.is_empty() || before.ends_with("| ") || before.ends_with("$(");
        text.lines()
            .filter_map(|line| line.trim_start().split_once("strongroom "))
            .filter(|(before, _)| is_command(before))
            .map(|(_, line)| words(line))
            .collect()
    }

    /// Splits as a shell does, up to what is not the command's own: an explanation after two spaces, a pipe, a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        let mut previous = ' ';
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if open == c => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, ' ') if previous == ' ' => break,
                (None, '|' | '>' | ')') => break,
                (None, ' ') => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
            previous = c;
        }
        words.extend(word);
        words
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(words("a 'b  c' \"d'e\" ''  why"), ["a", "b  c", "d'e", ""]);
        assert_eq!(words("a --b c | d"), ["a", "--b", "c"]);
        let help = "E:\n  X=$(strongroom a)\n  strongroom b \\\n      c  # d\nsee strongroom e";
        assert_eq!(examples(help), [vec!["a"], vec!["b", "c"]]);
    }

    #[test]
    fn every_command_teaches_by_examples_that_the_command_line_accepts() {
        for (name, help) in commands() {
            let own = name.trim_start_matches("strongroom").trim_start();
            let examples = examples(&help);
            assert!(examples.iter().any(|words| words.join(" ").starts_with(own)), "{name} has no example: {help}");
            for words in examples {
                let line = std::iter::once("strongroom".to_owned()).chain(words.clone());
                if let Err(refused) = Arguments::try_parse_from(line) {
                    panic!("{name}: {words:?}: {refused}");
                }
            }
        }
    }

    #[test]
    fn no_line_of_the_help_is_broken_by_the_terminal() {
        for (name, help) in commands() {
            for line in help.lines() {
                assert!(line.chars().count() <= HELP_COLUMNS_MAX, "{name}: {line}");
            }
        }
    }
}
