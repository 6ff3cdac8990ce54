//! The gRPC API from a shell: tables for people, `--json` for programs.
//!
//! An outside user of the API: it knows the messages and the pure rules of [`crate::domain`], nothing of the server. Every command
//! ends as an `answer::Answer` or a `failure::Failure`; one place prints either and chooses the exit code. Only [`names`] prints
//! while it works. It never prints a token that was not asked for.

pub mod access;
pub mod account;
pub mod attempt;
pub mod audit;
pub mod connection;
pub mod doctor;
pub mod help;
pub mod merchant;
pub mod names;
pub mod token;
pub mod verify;

mod answer;
mod export;
mod failure;
mod json;
mod owner;
mod pages;
mod period;
mod private;
mod request;
mod text;

use std::io::{self, Write};
use std::process::ExitCode;

pub use self::connection::Global;

use self::access::AccessCommand;
use self::account::AccountCommand;
use self::answer::Answer;
use self::attempt::AttemptCommand;
use self::audit::AuditCommand;
use self::failure::Failure;
use self::merchant::MerchantCommand;
use self::names::NamesCommand;
use self::token::TokenCommand;

/// What every command says at the end of its help.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  another error; `audit verify`: something does not hold; `account check-name`: refused
  2  usage: the command line, a local file or an argument is wrong
  3  not authenticated, or not permitted by the policy
  4  no such thing, or you may not know of it
  5  refused in the present state: the reason says what to do
  6  unreachable, overloaded or too slow: come back later";

/// The commands that call the API.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Merchants: connect or register them at the provider, see who is connected.
    #[command(subcommand, after_help = EXIT_CODES)]
    Merchant(MerchantCommand),
    /// Accounts: have payment accounts made under names that payers know, look at them.
    #[command(subcommand, after_help = EXIT_CODES)]
    Account(AccountCommand),
    /// Tokens: fetch one, look at its versions, report that it failed.
    #[command(subcommand, after_help = EXIT_CODES)]
    Token(TokenCommand),
    /// Access: who may do what, and why.
    #[command(subcommand, after_help = EXIT_CODES)]
    Access(AccessCommand),
    /// Attempts: what was about to bring a token, and how it ended.
    #[command(subcommand, after_help = EXIT_CODES)]
    Attempt(AttemptCommand),
    /// Audit: who did what, what was sent to the provider; verify the signed trails yourself.
    #[command(subcommand, after_help = EXIT_CODES)]
    Audit(AuditCommand),
    /// Names: what card statements will show, and which names will do.
    #[command(subcommand, after_help = names::EXIT_CODES)]
    Names(NamesCommand),
}

/// Runs the command, prints its answer on standard output or its failure on standard error, and says how it ended.
pub async fn run(command: Command, global: &Global) -> ExitCode {
    let result = match command {
        Command::Merchant(command) => merchant::run(command, global).await,
        Command::Account(command) => account::run(command, global).await,
        Command::Token(command) => token::run(command, global).await,
        Command::Access(command) => access::run(command, global).await,
        Command::Attempt(command) => attempt::run(command, global).await,
        Command::Audit(command) => audit::run(command, global).await,
        Command::Names(command) => return judge_names(command, global),
    };
    ExitCode::from(report(&result, global.json, &mut io::stdout().lock(), &mut io::stderr().lock()))
}

/// The one command that prints while it works: a list of names may be longer than one answer should be.
fn judge_names(command: NamesCommand, global: &Global) -> ExitCode {
    match names::run(command, global, &mut io::BufWriter::new(io::stdout().lock())) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => ExitCode::from(report(&Err(failure), global.json, &mut io::sink(), &mut io::stderr().lock())),
    }
}

/// Prints and chooses the exit code. A reader who has gone away (`… | head`) changes nothing about how the command ended; any other
/// fault of the output is a failure, because whoever reads it has not got it all.
fn report(result: &Result<Answer, Failure>, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let (code, printed) = match result {
        Ok(answer) => (u8::from(!answer.holds), print_answer(answer, json, out, err)),
        Err(failure) => (failure.exit_code(), print(err, &failure.print(json))),
    };
    match printed {
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe && code == 0 => {
            // Nothing is left to tell it to when standard error fails as well.
            let _lost = print(err, &Failure::Output(fault).print(json));
            1
        }
        _ => code,
    }
}

fn print_answer(answer: &Answer, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    if let Some(warning) = &answer.warning {
        // A warning that cannot be shown must not cost the answer.
        let _lost = print(err, &format!("WARNING: {warning}"));
    }
    let text = if json { answer.json_line() } else { answer.text.trim_end_matches('\n').to_owned() };
    // An empty list has no line, not an empty one.
    if text.is_empty() && answer.by_rows { Ok(()) } else { print(out, &text) }
}

fn print(to: &mut dyn Write, text: &str) -> io::Result<()> {
    to.write_all(text.as_bytes())?;
    to.write_all(b"\n")?;
    to.flush()
}

#[cfg(test)]
mod tests;
