//! A PostgreSQL server: each thing that can be wrong with it on its own is a check of its own.

use std::time::Duration;

use super::{CHECK, belongs_elsewhere, whose};
use crate::app;
use crate::config::Config;
use crate::domain::ambient::Clock;
use crate::domain::finding::Finding;
use crate::store::{Content, Error, Postgres, SCHEMA_NEWEST, SCHEMA_OLDEST, ServerFacts, Store};

const DURABILITY: &str = "durability";
const ROLE: &str = "database role";
const CLOCK: &str = "database clock";
const PROCESSES: &str = "processes";
/// The oldest server that is tested against and still maintained by its makers (<https://www.postgresql.org/support/versioning/>).
const VERSION_LEAST: i64 = 14_00_00;
/// How far the clocks may be apart: more, and no process with this clock is ready.
const APART_MAX: Duration = Duration::from_secs(1);
/// From here on somebody should look at the time service.
const APART_NOTED: Duration = Duration::from_millis(250);

pub(super) async fn examine(
    config: &Config,
    server: &Postgres,
    check_value: Option<[u8; 16]>,
    clock: &dyn Clock,
) -> Vec<Finding> {
    let shown = app::database_url(&config.database);
    let facts = match Store::inspect_server(server, check_value, clock).await {
        Ok(facts) => facts,
        Err(error) => return vec![Finding::fail(CHECK, format!("{shown}: {error}"), mend(&error))],
    };
    let mut findings = vec![
        database(config, &shown, &facts),
        durability(&facts),
        role(&facts, server.is_loopback()),
        clocks(&facts, clock.ahead()),
    ];
    findings.extend(
        facts
            .content
            .as_ref()
            .filter(|content| content.serves)
            .map(|content| processes(content, facts.connections, server.connections)),
    );
    findings
}

fn database(config: &Config, shown: &str, facts: &ServerFacts) -> Finding {
    let ServerFacts { schema, version_text, .. } = facts;
    if facts.version < VERSION_LEAST {
        let what = format!("{shown} is PostgreSQL {version_text}; 14 is the oldest that will do");
        return Finding::fail(CHECK, what, "move the database to a newer server");
    }
    if facts.standby {
        let what = format!("{shown} only follows another server, and takes no writes");
        return Finding::fail(CHECK, what, "name the primary, or an address that leads to whoever is");
    }
    if let Some(finding) =
        belongs_elsewhere(config, shown, facts.content.as_ref().and_then(|content| content.app.as_ref()))
    {
        return finding;
    }
    if *schema < SCHEMA_OLDEST {
        let what = match schema {
            0 => format!("{shown} has no tables yet in the configured schema, or this role may not look at it"),
            _ => format!("{shown} has schema version {schema}, and this build needs {SCHEMA_OLDEST}"),
        };
        return Finding::fail(
            CHECK,
            what,
            "run `strongroom migrate` as the role that owns the tables; a start does not do it",
        );
    }
    let privacy =
        if facts.encrypted { "encrypted, the server's name checked" } else { "not encrypted: a loopback address" };
    let whose = whose(facts.content.as_ref().and_then(|content| content.app.as_ref()));
    let what = format!("{shown} is PostgreSQL {version_text} ({privacy}), has schema version {schema} and {whose}");
    if *schema < SCHEMA_NEWEST {
        return Finding::warn(
            CHECK,
            format!("{what}; this build has {SCHEMA_NEWEST}"),
            "back it up and run `strongroom migrate`",
        );
    }
    Finding::ok(CHECK, what)
}

fn durability(facts: &ServerFacts) -> Finding {
    let dangers = facts.durability.dangers();
    if !dangers.is_empty() {
        let what = dangers.into_iter().map(|danger| danger.text()).collect::<Vec<_>>().join("; ");
        return Finding::fail(
            DURABILITY,
            what,
            "set synchronous_commit = on and fsync = on, for this role and database too; connect without a pooler",
        );
    }
    if !facts.durability.full_page_writes {
        let what = "full_page_writes is off: a crash may tear a page for good";
        return Finding::warn(DURABILITY, what, "set full_page_writes = on, unless the file system never tears a page");
    }
    let commit = &facts.durability.synchronous_commit;
    if facts.replicated {
        Finding::ok(DURABILITY, format!("synchronous_commit is {commit}, and a standby is waited for"))
    } else {
        Finding::ok(
            DURABILITY,
            format!("synchronous_commit is {commit}; no standby is waited for: a failover may lose what was answered"),
        )
    }
}

fn role(facts: &ServerFacts, loopback: bool) -> Finding {
    let mend =
        "log in as a member of strongroom_app that owns nothing and is granted nothing else (docs/operations.md)";
    match facts.rights.danger() {
        Some(danger) if loopback => Finding::warn(ROLE, danger.text(), mend),
        Some(danger) => Finding::fail(ROLE, danger.text(), mend),
        None if facts.content.as_ref().is_some_and(|content| !content.serves) => {
            Finding::fail(ROLE, "the role lacks rights that the service needs", "GRANT strongroom_app to it")
        }
        None => Finding::ok(ROLE, "may append to the trails and do nothing else to them"),
    }
}

/// `ahead`: how far our clock was moved on purpose.
fn clocks(facts: &ServerFacts, ahead: Duration) -> Finding {
    let least = facts.clock.without(ahead).at_least();
    let side = if facts.clock.without(ahead).ahead_us < 0 { "behind" } else { "ahead of" };
    let what = format!("this host's clock is {:.1} s {side} the database's", least.as_secs_f64());
    let mend = "synchronise both (chrony, systemd-timesyncd); a process with such a clock is not ready";
    if least > APART_MAX {
        Finding::fail(CLOCK, what, mend)
    } else if least > APART_NOTED {
        Finding::warn(CLOCK, what, mend)
    } else {
        Finding::ok(CLOCK, "agrees with the database's within a quarter of a second")
    }
}

/// `given`: how many connections the server has for all; `each`: how many a process may take.
fn processes(content: &Content, given: i64, each: u32) -> Finding {
    let leader = content.leader.as_deref().map_or_else(|| "none leads".to_owned(), |name| format!("{name} leads"));
    let what = format!("{} at work or not yet missed; {leader}", content.runs);
    // One more: while one is replaced, both are there.
    let wanted = content.runs.saturating_add(1).saturating_mul(i64::from(each));
    if wanted > given {
        let what = format!(
            "{what}; with another one they may want {wanted} connections, and the server has {given} for everybody"
        );
        return Finding::warn(PROCESSES, what, "lower database.connections, or raise the server's max_connections");
    }
    Finding::ok(PROCESSES, what)
}

fn mend(error: &Error) -> String {
    match error {
        Error::KeyringDiffers => {
            "give the keyring that it was first started with: no other opens its tokens".to_owned()
        }
        Error::SchemaTooNew { .. } => "use the build that migrated it, or a newer one".to_owned(),
        Error::Corrupt(_) => "stop here and restore it from a backup".to_owned(),
        Error::Unavailable { code } if code == "tls" => {
            "compare database.ca_file with the authority of the server's certificate, which must bear the host's name"
                .to_owned()
        }
        Error::Unavailable { .. } => {
            "check host and port, and whether the server runs and lets this host in".to_owned()
        }
        Error::Refused { code } => refused(code).to_owned(),
        _ => "try again; if it stays, look at the server's log".to_owned(),
    }
}

/// By SQLSTATE.
fn refused(code: &str) -> &'static str {
    match code {
        "28P01" | "28000" => "check user and database.password_file, and the server's pg_hba.conf",
        "3D000" => "make the database, or name another one",
        "42501" => "GRANT strongroom_app to the role, and run `strongroom migrate` as the owner of the tables",
        _ => "look at the server's log",
    }
}
