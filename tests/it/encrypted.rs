//! The way to PostgreSQL, encrypted: the server's certificate must come from the authority we were told of, and bear the server's name;
//! and ours is shown where the server wants one.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use strongroom::app::location;
use strongroom::config::{Database, PostgresConfig};
use strongroom::domain::ambient::{Clock as _, SystemClock, SystemEntropy};
use strongroom::store::{Error, Migrations, Store, StoreKeys};
use strongroom::vault::{Keyring, Vault};

use crate::support::postgres::{APP, Schema};
use crate::support::proxy::Proxy;

/// Who must bring a certificate as well as the password.
const CERTIFIED: &str = "test_certified";

/// What the service is told: who it is, by which name it reaches the server, and further keys.
fn database(schema: &Schema, role: &str, host: &str, change: impl FnOnce(&mut PostgresConfig)) -> Database {
    database_at(schema, role, host, schema.server().address(), change)
}

fn database_at(
    schema: &Schema,
    role: &str,
    host: &str,
    address: SocketAddr,
    change: impl FnOnce(&mut PostgresConfig),
) -> Database {
    let Database::Postgres(mut config) = schema.config_for(role, address) else { unreachable!() };
    config.url = config.url.replace(&address.ip().to_string(), host);
    change(&mut config);
    Database::Postgres(config)
}

async fn opened(database: &Database) -> Result<(), Error> {
    let vault = Arc::new(Vault::new(Keyring::generate(&SystemEntropy, SystemClock.now())));
    let keys = StoreKeys { signer: vault.clone(), mac: vault.clone(), check_value: vault.check_value() };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let store = Store::open_with(&location(database).unwrap(), Migrations::Refuse, keys, clock, entropy).await?;
    store.health().await?;
    store.close().await;
    Ok(())
}

async fn assert_refused(what: &str, database: &Database) {
    let outcome = opened(database).await;
    assert!(matches!(outcome, Err(Error::Unavailable { .. })), "{what}: {outcome:?}");
}

#[tokio::test]
async fn the_servers_certificate_is_of_the_authority_and_bears_its_name() {
    let Some(schema) = Schema::migrated().await else { return };
    let authority = Some(schema.server().authority());
    for host in ["localhost", "127.0.0.1"] {
        let database = database(&schema, APP, host, |config| config.ca_file.clone_from(&authority));
        opened(&database).await.unwrap();
    }

    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("foreign.pem");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    std::fs::write(&foreign, certificate.pem()).unwrap();
    let other = database(&schema, APP, "localhost", |config| config.ca_file = Some(foreign));
    assert_refused("another authority's", &other).await;

    // The same server by a name that is not in its certificate: all of 127.0.0.0/8 is this machine.
    let proxy = Proxy::start_on("127.0.0.2".parse().unwrap(), schema.server().address()).await;
    let change = |config: &mut PostgresConfig| config.ca_file.clone_from(&authority);
    let misnamed = database_at(&schema, APP, "127.0.0.2", proxy.address(), change);
    assert_refused("a certificate for another name", &misnamed).await;
    assert!(proxy.accepted() > 0, "it was asked");
    let misnamed = database_at(&schema, APP, "127.0.0.2", proxy.address(), |_| {});
    opened(&misnamed).await.unwrap();
}

#[tokio::test]
async fn our_certificate_is_shown_where_the_server_wants_one() {
    let Some(schema) = Schema::migrated().await else { return };
    let authority = schema.server().authority();
    let beside = |name: &str| Some(authority.with_file_name(name));
    let with = database(&schema, CERTIFIED, "localhost", |config| {
        config.ca_file = Some(authority.clone());
        (config.cert_file, config.key_file) = (beside("client.pem"), beside("client.key"));
    });
    opened(&with).await.unwrap();
    let without = database(&schema, CERTIFIED, "localhost", |config| config.ca_file = Some(authority.clone()));
    let outcome = opened(&without).await;
    assert!(outcome.is_err(), "without a certificate");
    let in_clear = database(&schema, CERTIFIED, "127.0.0.1", |_| {});
    assert!(opened(&in_clear).await.is_err(), "in clear");
}
