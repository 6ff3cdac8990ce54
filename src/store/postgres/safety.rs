//! What a PostgreSQL server must be like before anything is entrusted to it: a commit that is acknowledged lasts, and whoever breaks into
//! this process cannot rewrite the trails.

use std::net::IpAddr;

use sqlx::postgres::PgConnection;

use crate::store::error::Error;
use crate::store::location::Postgres;

/// What `synchronous_commit` may be: every other value acknowledges commits that a crash can take back.
const DURABLE: [&str; 2] = ["on", "remote_apply"];

const SETTINGS: &str = "SELECT current_setting('synchronous_commit') AS synchronous_commit, current_setting('fsync') = 'on' AS fsync, \
     current_setting('full_page_writes') = 'on' AS full_page_writes, current_setting('statement_timeout') <> '0' AS bounded";
/// A superuser and an owner may do everything, whatever was granted; an owner is whoever can become one.
const RIGHTS: &str = "SELECT r.rolsuper AS superuser, COALESCE(bool_or(pg_has_role(current_user, c.relowner, 'MEMBER')), FALSE) AS owner, \
     COALESCE(bool_or(has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER') \
         OR has_any_column_privilege(c.oid, 'UPDATE')), FALSE) AS alters \
     FROM pg_catalog.pg_roles r LEFT JOIN pg_catalog.pg_class c \
         ON c.oid IN (to_regclass('change_trail')::oid, to_regclass('read_records')::oid) \
     WHERE r.rolname = current_user GROUP BY r.rolsuper";

/// Every statement of this file, for the test that prepares them.
#[cfg(test)]
pub(in crate::store) const STATEMENTS: &[&str] = &[SETTINGS, RIGHTS];

/// How lasting commits are, and whether the server does as our connection asked.
#[derive(Clone, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct Durability {
    /// What a commit waits for.
    pub synchronous_commit: String,
    /// Whether what is written reaches the disk.
    pub fsync: bool,
    /// Whether a page that was torn by a crash can be mended.
    pub full_page_writes: bool,
    /// Whether the limit of a statement, with which the connection began, is in force.
    pub bounded: bool,
}

/// What the role may do to the trails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, sqlx::FromRow)]
pub struct Rights {
    /// It may do everything.
    pub superuser: bool,
    /// It owns the trails, or may become who does.
    pub owner: bool,
    /// It was granted to change or remove what is in them.
    pub alters: bool,
}

/// Why nothing should be entrusted to this server, or not by this role.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Danger {
    /// An acknowledged commit may be lost.
    WeakCommit,
    /// Nothing need ever reach the disk.
    NoFsync,
    /// What the connection began with did not arrive.
    Unbounded,
    /// The role may do everything.
    Superuser,
    /// The role owns the trails.
    Owner,
    /// The role may change the trails.
    Alters,
}

impl Danger {
    /// What is so, for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::WeakCommit => "synchronous_commit is weaker than on: an acknowledged commit may be lost",
            Self::NoFsync => "fsync is off: a crash of the server may lose everything",
            Self::Unbounded => {
                "our timeouts did not arrive: something on the way, such as a pooler, drops what a connection begins with"
            }
            Self::Superuser => "the role is a superuser: it may rewrite the trails",
            Self::Owner => "the role owns the trails, or may become their owner: it may rewrite them",
            Self::Alters => "the role may change or remove what is in the trails",
        }
    }
}

impl Durability {
    pub(in crate::store) async fn of(conn: &mut PgConnection) -> Result<Self, Error> {
        Ok(sqlx::query_as(SETTINGS).fetch_one(conn).await?)
    }

    /// What is dangerous about it.
    pub fn dangers(&self) -> Vec<Danger> {
        let weak = !DURABLE.contains(&self.synchronous_commit.as_str());
        let unbounded = (!self.bounded, Danger::Unbounded);
        [(weak, Danger::WeakCommit), (!self.fsync, Danger::NoFsync), unbounded].into_iter().filter_map(named).collect()
    }
}

impl Rights {
    pub(in crate::store) async fn of(conn: &mut PgConnection) -> Result<Self, Error> {
        Ok(sqlx::query_as(RIGHTS).fetch_one(conn).await?)
    }

    /// What is dangerous about them: the strongest alone, since it has the others.
    pub fn danger(&self) -> Option<Danger> {
        let strongest_first =
            [(self.superuser, Danger::Superuser), (self.owner, Danger::Owner), (self.alters, Danger::Alters)];
        strongest_first.into_iter().find_map(named)
    }
}

fn named((holds, danger): (bool, Danger)) -> Option<Danger> {
    holds.then_some(danger)
}

/// Refuses a server that may forget commits, and a role that may alter the trails; that one is borne at a loopback address, where
/// somebody tries things out alone.
pub(in crate::store) async fn refuse_unsafe(conn: &mut PgConnection, server: &Postgres) -> Result<(), Error> {
    let mut dangers = Durability::of(conn).await?.dangers();
    if !server.is_loopback() {
        dangers.extend(Rights::of(conn).await?.danger());
    }
    if dangers.is_empty() { Ok(()) } else { Err(Error::Unsafe(dangers)) }
}

impl Postgres {
    /// Whether the server is at a literal loopback address.
    pub fn is_loopback(&self) -> bool {
        self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Location;

    #[test]
    fn only_what_lasts_is_taken_for_durable() {
        let durability = |commit: &str, fsync| Durability {
            synchronous_commit: commit.to_owned(),
            fsync,
            full_page_writes: false,
            bounded: true,
        };
        for commit in ["on", "remote_apply"] {
            assert_eq!(durability(commit, true).dangers(), []);
        }
        for commit in ["off", "local", "remote_write", ""] {
            assert_eq!(durability(commit, true).dangers(), [Danger::WeakCommit]);
        }
        assert_eq!(durability("off", false).dangers(), [Danger::WeakCommit, Danger::NoFsync]);
        let pooled = Durability { bounded: false, ..durability("on", true) };
        assert_eq!(pooled.dangers(), [Danger::Unbounded]);
    }

    #[test]
    fn of_the_rights_the_strongest_is_told() {
        let danger = |superuser, owner, alters| Rights { superuser, owner, alters }.danger();
        assert_eq!(danger(false, false, false), None);
        assert_eq!(danger(false, false, true), Some(Danger::Alters));
        assert_eq!(danger(false, true, true), Some(Danger::Owner));
        assert_eq!(danger(true, true, true), Some(Danger::Superuser));
    }

    #[test]
    fn a_name_is_no_loopback_address() {
        for (url, is) in [
            ("postgres://u@127.0.0.1/d", true),
            ("postgres://u@[::1]:5433/d", true),
            ("postgres://u@localhost/d", false),
            ("postgres://u@10.0.0.1/d", false),
        ] {
            let Ok(Location::Postgres(server)) = Location::parse(url) else { unreachable!("{url}") };
            assert_eq!(server.is_loopback(), is, "{url}");
        }
    }
}
