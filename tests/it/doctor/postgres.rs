//! `doctor` on a PostgreSQL server, and what `serve` says of the same.

use std::process::{Command, Output, Stdio};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::{BINARY, Case, Installation};
use crate::support::postgres::{APP, MIGRATOR, Schema};

/// The grants of the service's role, for a role of a test's own.
const MEMBER: &str = "IN ROLE strongroom_app";

impl Case<'_> {
    /// Puts its database on this server, where this role logs in at this host.
    fn on(&mut self, schema: &Schema, role: &str, host: &str) {
        let url = format!("postgres://{role}@{host}:{}/strongroom", schema.server().address().port());
        self.variables = vec![
            ("STRONGROOM_DATABASE_URL", url),
            ("STRONGROOM_DATABASE_PASSWORD_FILE", schema.password_file().to_str().unwrap().to_owned()),
            ("STRONGROOM_DATABASE_SCHEMA", schema.name().to_owned()),
        ];
        if host.parse::<std::net::IpAddr>().is_err() {
            let ca = schema.server().authority().to_str().unwrap().to_owned();
            self.variables.push(("STRONGROOM_DATABASE_CA_FILE", ca));
        }
    }

    fn set(&mut self, variable: &'static str, value: &str) {
        self.variables.retain(|(name, _)| *name != variable);
        self.variables.push((variable, value.to_owned()));
    }

    fn command(&self, name: &str) -> Output {
        let config = self.path("strongroom.toml");
        let mut command = Command::new(BINARY);
        command.args([name, "--config", config.to_str().unwrap()]).envs(self.variables.clone());
        let output = command.stdin(Stdio::null()).output().unwrap();
        self.assert_no_secret(&output);
        output
    }

    /// A start says so and ends.
    fn refuses_to_serve(&self, words: &str) {
        let output = self.command("serve");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}

/// A role with the password that all have, gone when dropped by [`Role::end`].
struct Role {
    name: String,
    conn: PgConnection,
}

impl Role {
    async fn new(schema: &Schema, options: &str) -> Self {
        let name = format!("{}_{}", schema.name(), if options == MEMBER { "m" } else { "o" });
        let mut role = Self { name, conn: schema.intruder().await };
        let password = std::fs::read_to_string(schema.password_file()).unwrap();
        role.sql(&format!("CREATE ROLE {} LOGIN PASSWORD '{password}' {options}", role.name)).await;
        role
    }

    async fn sql(&mut self, statement: &str) {
        self.conn.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    }

    async fn alter(&mut self, what: &str) {
        let statement = format!("ALTER ROLE {} {what}", self.name);
        self.sql(&statement).await;
    }

    async fn end(mut self) {
        let statement = format!("DROP OWNED BY {name}; DROP ROLE {name}", name = self.name);
        self.sql(&statement).await;
    }
}

#[tokio::test]
async fn a_sound_server_passes_encrypted_or_at_a_loopback_address() {
    let Some(schema) = Schema::migrated().await else { return };
    let installation = Installation::new().await;
    let mut case = installation.copy();
    for (host, words) in
        [("127.0.0.1", "not encrypted: a loopback address"), ("localhost", "the server's name checked")]
    {
        case.on(&schema, APP, host);
        case.expect("database", "ok", words);
        case.expect("database", "ok", "belongs to no app yet");
        case.expect("durability", "ok", "synchronous_commit is on");
        case.expect("database role", "ok", "may append to the trails");
        case.expect("database clock", "ok", "agrees");
        case.expect("processes", "ok", "0 at work");
    }
    case.set("STRONGROOM_DATABASE_CONNECTIONS", "100");
    case.expect("processes", "ok", "none leads");
    let mut conn = schema.intruder().await;
    for at in 0_u8..3 {
        sqlx::query("INSERT INTO runs (id, name, started_at_us, seen_at_us) VALUES ($1, $2, 0, 0)")
            .bind(vec![at; 16])
            .bind(format!("host-{at}"))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    case.expect("processes", "warn", "they may want 400 connections");
    sqlx::query("INSERT INTO duties (name, run_id, until_us) VALUES ('background', $1, 9000000000000000)")
        .bind(vec![1_u8; 16])
        .execute(&mut conn)
        .await
        .unwrap();
    case.set("STRONGROOM_DATABASE_CONNECTIONS", "10");
    case.expect("processes", "ok", "3 at work or not yet missed; host-1 leads");
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_named_and_a_start_refuses_what_is_unsafe() {
    let Some(schema) = Schema::migrated().await else { return };
    let installation = Installation::new().await;
    let mut case = installation.copy();

    case.on(&schema, MIGRATOR, "127.0.0.1");
    case.expect("database role", "warn", "owns the trails");
    case.on(&schema, MIGRATOR, "localhost");
    case.expect("database role", "fail", "owns the trails");
    case.refuses_to_serve("database is unsafe: the role owns the trails");
    case.on(&schema, "postgres", "localhost");
    case.expect("database role", "fail", "superuser");
    case.refuses_to_serve("the role is a superuser");

    let mut weak = Role::new(&schema, MEMBER).await;
    case.on(&schema, &weak.name, "localhost");
    case.expect("database role", "ok", "may append");
    weak.alter("SET synchronous_commit = 'local'").await;
    case.expect("durability", "fail", "synchronous_commit is weaker than on");
    case.refuses_to_serve("database is unsafe: synchronous_commit is weaker than on");
    weak.alter("RESET ALL").await;
    let grant = format!("GRANT UPDATE (record) ON change_trail TO {}", weak.name);
    let into = format!("SET search_path TO {}", schema.name());
    weak.sql(&into).await;
    weak.sql(&grant).await;
    case.expect("database role", "fail", "may change or remove");
    case.refuses_to_serve("may change or remove");
    weak.end().await;

    let mut stranger = Role::new(&schema, "").await;
    case.on(&schema, &stranger.name, "127.0.0.1");
    case.expect("database", "fail", "no tables yet in the configured schema, or this role may not look at it");
    let grant = format!("GRANT USAGE ON SCHEMA {} TO {}", schema.name(), stranger.name);
    stranger.sql(&grant).await;
    case.expect("database", "fail", "code 42501");
    stranger.end().await;

    case.on(&schema, "nobody_at_all", "127.0.0.1");
    case.expect("database", "fail", "code 28P01");
    case.on(&schema, APP, "localhost");
    let other = installation.copy();
    other.certify("localhost", (-1, 9));
    case.set("STRONGROOM_DATABASE_CA_FILE", other.path("tls/server.pem").to_str().unwrap());
    case.expect("database", "fail", "code tls");
    case.on(&schema, APP, "127.0.0.1");
    case.set("STRONGROOM_DATABASE_URL", "postgres://strongroom@127.0.0.1:9/strongroom");
    case.expect("database", "fail", "code io");
}

#[tokio::test]
async fn the_roles_of_the_manual_are_what_migrations_and_a_start_need() {
    let Some(schema) = Schema::empty().await else { return };
    let installation = Installation::new().await;
    let (_, block) = include_str!("../../../docs/operations.md").split_once("```sql\n").unwrap();
    let (sql, _) = block.split_once("```").unwrap();
    let own = |name: &str| format!("{}_{name}", schema.name());
    let password = std::fs::read_to_string(schema.password_file()).unwrap();
    let mut conn = schema.intruder().await;
    // The groups are there already, and names of roles are the whole server's.
    for statement in sql.lines().filter(|line| !line.ends_with("NOLOGIN;")) {
        let statement = statement.replace("SCHEMA strongroom", &format!("SCHEMA {}", own("schema")));
        let statement =
            statement.replace("strongroom_migrator", &own("migrator")).replace("strongroom_reader", &own("reader"));
        let statement = statement.replace("ROLE strongroom LOGIN", &format!("ROLE {} LOGIN", own("service")));
        let statement = statement.replace("LOGIN", &format!("LOGIN PASSWORD '{password}'"));
        conn.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    let mut case = installation.copy();
    case.on(&schema, &own("migrator"), "localhost");
    case.set("STRONGROOM_DATABASE_SCHEMA", &own("schema"));
    let migrated = case.command("migrate");
    assert!(migrated.status.success(), "{migrated:?}");
    case.on(&schema, &own("service"), "localhost");
    case.set("STRONGROOM_DATABASE_SCHEMA", &own("schema"));
    for check in ["database", "durability", "database role", "database clock", "processes"] {
        case.expect(check, "ok", "");
    }
    let names = ["migrator", "service", "reader"].map(own);
    for name in &names {
        conn.execute(AssertSqlSafe(format!("DROP OWNED BY {name} CASCADE; DROP ROLE {name}"))).await.unwrap();
    }
}

#[tokio::test]
async fn migrating_is_a_step_of_its_own_with_a_role_of_its_own() {
    let Some(schema) = Schema::empty().await else { return };
    let installation = Installation::new().await;
    let mut case = installation.copy();
    case.on(&schema, APP, "127.0.0.1");
    case.expect("database", "fail", "no tables yet");
    case.refuses_to_serve("run `strongroom migrate`");
    assert!(!case.command("migrate").status.success(), "not by the service's role");
    case.on(&schema, MIGRATOR, "localhost");
    let migrated = case.command("migrate");
    assert!(migrated.status.success(), "{migrated:?}");
    assert!(String::from_utf8_lossy(&migrated.stdout).contains("schema version 0 -> 1"), "{migrated:?}");
    case.on(&schema, APP, "localhost");
    case.expect("database", "ok", "has schema version 1");
}
