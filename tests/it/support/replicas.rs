//! Several `strongroom serve` processes on one PostgreSQL, with one sandbox.

use strongroom::config::Database;

use super::installation::{Installation, Setting};
use super::postgres::Schema;
use super::replica::Replica;

/// Connections of each process: several of them share a server with other tests.
const CONNECTIONS: u32 = 5;

/// The processes, and all they need; ended and gone when dropped.
pub(crate) struct Replicas {
    // Dropped in this order: who uses something, before it.
    replicas: Vec<Replica>,
    installation: Installation,
    _schema: Schema,
}

impl Replicas {
    /// So many, ready; none, with a word about it, where there is no server.
    pub(crate) async fn start(count: usize, setting: Setting) -> Option<Self> {
        let mut replicas = Self::configure(count, setting).await?;
        for at in 0..count {
            replicas.at(at).started().await;
        }
        Some(replicas)
    }

    /// As [`Replicas::start`], and starts none.
    pub(crate) async fn configure(count: usize, setting: Setting) -> Option<Self> {
        let schema = Schema::migrated().await?;
        let mut database = schema.config();
        if let Database::Postgres(server) = &mut database {
            server.connections = CONNECTIONS;
        }
        let database = Some(setting.database.clone().unwrap_or(database));
        let installation = Installation::new(Setting { database, ..setting }).await;
        let replicas = (1..=count).map(|number| installation.replica(&format!("replica-{number}"))).collect();
        Some(Self { replicas, installation, _schema: schema })
    }

    /// One of them.
    pub(crate) fn at(&mut self, at: usize) -> &mut Replica {
        &mut self.replicas[at]
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Replica] {
        &self.replicas
    }

    /// What they share.
    pub(crate) const fn installation(&self) -> &Installation {
        &self.installation
    }
}
