//! `doctor`: what was found, as lines for people or as JSON.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use super::answer::Answer;
use super::text::plain;
use super::{Global, report};
use crate::domain::finding::{Finding, Verdict};

/// What the command says at the end of its help.
pub const HELP: &str = "\
Each check is one line: ok, warn or fail, what is so, and after the arrow how to mend it.
  configuration            every key of the file and the environment, all faults at once
  secret files             nobody but the owner can read or swap them
  keyring                  it can be read, whole, by the user that runs this
  grants                   the policy file has no fault
  certificate of …         fits its key, is valid now; public: is for the host of base_url
  authorities of callers   are valid now
  database                 integrity, schema, whose it is; or that a running process has it
                           (PostgreSQL: version, encryption, schema, whose it is)
  durability               PostgreSQL: an acknowledged commit lasts
  database role            PostgreSQL: the service's role cannot rewrite the trails
  database clock           PostgreSQL: agrees with this host's within a second
  processes                PostgreSQL: how many, who leads, whether there are connections for them
  provider                 knows the app by its id and secret, and has it as active
  clock                    agrees with the provider's within two seconds

It changes nothing, prints no secret, and may be run beside a running service, as the same user.
While it looks into a SQLite file that no process has, none can start on it.

Exit codes:
  0  nothing failed, though there may be warnings
  1  at least one check failed
  2  usage: the command line is wrong

Examples:
  strongroom doctor --config /etc/strongroom/strongroom.toml
  strongroom doctor --config strongroom.toml --json | jq '.findings[] | select(.verdict != \"ok\")'";

/// Which installation.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// The configuration of `strongroom serve`
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Prints what was found on standard output; the exit code says whether nothing failed.
pub fn print(findings: &[Finding], global: &Global) -> ExitCode {
    ExitCode::from(report(&Ok(answer(findings)), global.json, &mut io::stdout().lock(), &mut io::stderr().lock()))
}

fn answer(findings: &[Finding]) -> Answer {
    let count = |verdict| findings.iter().filter(|finding| finding.verdict == verdict).count();
    let (failed, warned) = (count(Verdict::Fail), count(Verdict::Warn));
    let value = json!({
        "failed": failed,
        "warned": warned,
        "findings": findings.iter().map(|finding| json!({
            "check": finding.check,
            "verdict": finding.verdict.as_str(),
            "what": finding.what,
            "mend": finding.mend,
        })).collect::<Vec<_>>(),
    });
    let mut text: String = findings.iter().map(line).collect();
    text.push_str(&format!("{} checks, {failed} failed, {warned} to look at\n", findings.len()));
    Answer { holds: failed == 0, ..Answer::new(value, text) }
}

fn line(finding: &Finding) -> String {
    // A fault of a file may have several lines; here each check has one.
    let one_line = |text: &str| plain(&text.lines().map(str::trim).collect::<Vec<_>>().join("; "));
    let mend = if finding.mend.is_empty() { String::new() } else { format!(" -> {}", one_line(&finding.mend)) };
    format!("{:<4}  {:<22}  {}{mend}\n", finding.verdict.as_str(), finding.check, one_line(&finding.what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_and_a_failure_ends_with_one() {
        let fine = [Finding::ok("keyring", "is there"), Finding::warn("clock", "is 5s ahead", "set it")];
        let found = answer(&fine);
        assert!(found.holds);
        assert_eq!(
            found.text,
            "ok    keyring                 is there\nwarn  clock                   is 5s ahead -> set it\n2 checks, 0 failed, 1 to look at\n"
        );
        let bad = answer(&[Finding::fail("grants", "line 1: a\n  line 2: b\u{1b}[2J", "mend both")]);
        assert!(!bad.holds);
        assert!(bad.text.starts_with("fail  grants                  line 1: a; line 2: b\\u{1b}[2J -> mend both\n"));
        assert_eq!(bad.value["findings"][0]["verdict"], "fail");
        assert_eq!((&bad.value["failed"], &bad.value["warned"]), (&1.into(), &0.into()));
    }
}
