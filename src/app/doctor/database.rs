//! The database: is it sound, does its schema fit this build, and does it belong to this app and keyring.

mod postgres;
mod sqlite;

use std::sync::Arc;

use crate::app::{self, PROVIDER};
use crate::config::Config;
use crate::domain::ambient::Clock;
use crate::domain::app::App;
use crate::domain::finding::Finding;
use crate::store::Location;

const CHECK: &str = "database";

/// `check_value`: of the keyring, if there is one.
pub(super) async fn examine(config: &Config, check_value: Option<[u8; 16]>, clock: &Arc<dyn Clock>) -> Vec<Finding> {
    match app::location(&config.database) {
        Ok(Location::Sqlite(path)) => vec![sqlite::examine(config, &path, check_value).await],
        Ok(Location::Postgres(server)) => postgres::examine(config, &server, check_value, &**clock).await,
        Err(error) => {
            vec![Finding::fail(CHECK, error.to_string(), "make the file readable to the user that the service runs as")]
        }
    }
}

/// The finding when the database belongs to another app than the configured one.
fn belongs_elsewhere(config: &Config, shown: &str, app: Option<&App>) -> Option<Finding> {
    let app = app?;
    let (stamped, ours) = ((app.environment, app.client_id.as_str()), (config.environment, &*config.client_id));
    if app.provider == PROVIDER && stamped == ours {
        return None;
    }
    let what = format!("{shown} belongs to {}/{}/{}", app.provider, app.environment, app.client_id);
    Some(Finding::fail(CHECK, what, "name that app in the configuration, or another database"))
}

fn whose(app: Option<&App>) -> &'static str {
    if app.is_some() { "belongs to this app and keyring" } else { "belongs to no app yet" }
}
