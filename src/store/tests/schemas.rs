//! The schema itself: the same on both engines, usable by the build before, and open to each role as far as it needs.

use std::collections::BTreeSet;

use super::business::{Bench, store_suite};
use super::ground::as_intruder;
use super::*;
use crate::store::schema::Step;

store_suite! {
    super::Bench,
    a_build_works_before_and_after_a_schema_that_only_expanded,
}

/// A migration of a release to come.
const EXPANSION: &str = "ALTER TABLE merchants ADD COLUMN tier TEXT; \
     CREATE TABLE tiers (name TEXT NOT NULL PRIMARY KEY); \
     CREATE INDEX merchants_tier ON merchants (tier)";

async fn expand(bench: &Bench) -> MigrateReport {
    const STEP: Step = (2, "tiers", EXPANSION);
    match bench.ground.migrator() {
        Location::Sqlite(_) => {
            // A file has one owner, who does not let go for this.
            let Pools::Sqlite { write, .. } = &bench.store.pools else { unreachable!("a file") };
            let mut conn = write.acquire().await.unwrap();
            schema::sqlite::apply(&mut conn, &[schema::sqlite::STEPS, &[STEP]].concat()).await.unwrap()
        }
        Location::Postgres(server) => {
            let mut conn = super::super::postgres::connect(&server).await.unwrap();
            loop {
                match schema::postgres::apply(&mut conn, &[schema::postgres::STEPS, &[STEP]].concat()).await {
                    // Not our turn yet.
                    Err(Error::Busy) => {}
                    applied => return applied.unwrap(),
                }
            }
        }
    }
}

async fn a_build_works_before_and_after_a_schema_that_only_expanded(bench: Bench) {
    let before = bench.connect(&bench.shop("before").await, "100").await;
    bench.activate(&before).await;
    // Others are at work meanwhile.
    let stop = tokio_util::sync::CancellationToken::new();
    let busy = {
        let (store, stop) = (Arc::clone(&bench.store), stop.clone());
        tokio::spawn(async move {
            let mut changes = 0_u32;
            while !stop.is_cancelled() {
                append(&store, event(EventKind::MerchantCreated)).await.unwrap();
                changes += 1;
            }
            changes
        })
    };
    assert_eq!(expand(&bench).await, MigrateReport { from: 1, to: 2 });
    let report = match bench.ground.location() {
        Location::Sqlite(_) => MigrateReport { from: 2, to: 2 },
        Location::Postgres(_) => migrate(&bench.ground).await.unwrap(),
    };
    assert_eq!(report, MigrateReport { from: 2, to: 2 }, "the older build has nothing to add, and says so");
    let after = bench.connect(&bench.shop("after").await, "200").await;
    bench.activate(&after).await;
    stop.cancel();
    assert!(busy.await.unwrap() > 0);

    // And one that is started only now, beside the other where the engine allows it.
    let (store, trail, keys_of) = (bench.store, before.connection.id, [1; 16]);
    if let Ground::File(_) = bench.ground {
        crash(Arc::into_inner(store).unwrap()).await;
    }
    let place = bench.ground.location();
    let later = Store::open(&place, keys(keys_of), Arc::new(SystemClock), Arc::new(SystemEntropy));
    let later = later.await.unwrap();
    assert!(later.head(trail).await.unwrap().is_some());
    append(&later, event(EventKind::MerchantCreated)).await.unwrap();
    verified(&later, later.change_trail()).await;
}

/// Tables with their columns and whether each may be null; indexes with their columns, uniqueness and whether they are partial.
async fn shape(ground: &Ground) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut intruder = ground.intruder().await;
    let (columns, indexes) = match ground {
        Ground::File(_) => (
            "SELECT t.name || '.' || c.name || ' ' || c.type || ' ' || (c.\"notnull\" = 1) FROM sqlite_schema t, \
             pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE '\\_%' ESCAPE '\\' \
             AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
            "SELECT t.name || ' (' || (SELECT group_concat(name, ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY \
             seqno)) || ') ' || i.\"unique\" || ' ' || i.partial FROM sqlite_schema t, pragma_index_list(t.name) i \
             WHERE t.type = 'table' AND t.name NOT LIKE '\\_%' ESCAPE '\\'",
        ),
        Ground::Schema(_) => (
            "SELECT c.table_name || '.' || c.column_name || ' ' || (CASE c.data_type WHEN 'bytea' THEN 'BLOB' WHEN 'bigint' THEN \
             'INTEGER' ELSE upper(c.data_type) END) || ' ' || (CASE c.is_nullable WHEN 'NO' THEN 1 ELSE 0 END) \
             FROM information_schema.columns c WHERE c.table_schema = current_schema() AND c.table_name NOT LIKE '\\_%'",
            "SELECT t.relname || ' (' || (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY \
             k (attnum, n) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) || ') ' || i.indisunique::INT || ' ' \
             || (i.indpred IS NOT NULL)::INT FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
             JOIN pg_namespace n ON n.oid = t.relnamespace WHERE n.nspname = current_schema() AND t.relname NOT LIKE '\\_%'",
        ),
    };
    let columns = intruder.texts(columns).await.into_iter().collect();
    (columns, intruder.texts(indexes).await.into_iter().collect())
}

fn expect_same(sqlite: &BTreeSet<String>, postgres: &BTreeSet<String>) {
    let only = |these: &BTreeSet<String>, those| these.difference(those).cloned().collect::<Vec<_>>();
    assert_eq!((only(sqlite, postgres), only(postgres, sqlite)), (Vec::new(), Vec::new()), "on one engine only");
}

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_and_indexes() {
    let Some(schema) = Ground::schema().await else { return };
    let file = Ground::file();
    for ground in [&file, &schema] {
        crash(try_open(ground, [1; 16]).await.unwrap()).await;
    }
    let ((columns, mut indexes), (theirs, their_indexes)) = (shape(&file).await, shape(&schema).await);
    assert!(columns.len() > 150 && indexes.len() > 30, "{} columns, {} indexes", columns.len(), indexes.len());
    expect_same(&columns, &theirs);
    // A whole number that is the key needs no index of its own on SQLite.
    for key in ["schema_compatibility (singleton) 1 0", "deployment (singleton) 1 0", "change_trail (seq) 1 0"] {
        assert!(indexes.insert(key.to_owned()), "{key}");
    }
    expect_same(&indexes, &their_indexes);
}

#[tokio::test]
async fn both_trees_have_the_same_migrations() {
    let names = |steps: &[Step]| steps.iter().map(|(number, name, _)| (*number, *name)).collect::<Vec<_>>();
    assert_eq!(names(schema::sqlite::STEPS), names(schema::postgres::STEPS));
    assert_eq!(schema::sqlite::STEPS.last().unwrap().0, SCHEMA_NEWEST);
}

#[tokio::test]
async fn each_role_may_do_what_it_needs_and_no_more() {
    let Some(ground) = Ground::schema().await else { return };
    crash(stamped(&ground).await).await;
    let mut intruder = ground.intruder().await;
    let may = "SELECT r.rolname || ' ' || c.relname || ' ' || string_agg(p.privilege, ',' ORDER BY p.privilege) \
         FROM (VALUES ('strongroom_app'), ('strongroom_auditor')) r (rolname), \
         (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) p (privilege), pg_class c \
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' \
         AND has_table_privilege(r.rolname, c.oid, p.privilege) GROUP BY r.rolname, c.relname";
    let mut may = intruder.texts(may).await;
    may.sort();
    let golden = include_str!("../../../tests/golden/postgres_grants.txt");
    assert_eq!(may.join("\n") + "\n", golden);
}

#[tokio::test]
async fn neither_the_service_nor_an_auditor_can_alter_a_trail() {
    let Some(ground) = Ground::schema().await else { return };
    crash(stamped(&ground).await).await;
    for role in ["strongroom_app", "strongroom_auditor"] {
        let mut intruder = ground.intruder().await;
        let assume = format!("SET ROLE {role}");
        intruder.run(&assume).await.unwrap();
        for statement in [
            "UPDATE change_trail SET kind = 'other'",
            "DELETE FROM change_trail",
            "TRUNCATE change_trail",
            "DELETE FROM read_records",
            "DROP TABLE change_trail",
            "ALTER TABLE change_trail DISABLE TRIGGER ALL",
            "SET session_replication_role = replica",
        ] {
            // insufficient_privilege.
            assert_eq!(intruder.run(statement).await, Err("42501".to_owned()), "{role}: {statement}");
        }
    }
    // Nor is a number skipped by whoever makes a trail of its own beside ours.
    let mut shadow = ground.intruder().await;
    let schema = shadow.texts("SELECT current_schema()::TEXT").await.remove(0);
    shadow.run("SET ROLE strongroom_app").await.unwrap();
    shadow.run("CREATE TEMPORARY TABLE change_trail AS SELECT seq + 4 AS seq FROM change_trail LIMIT 1").await.unwrap();
    let skip = format!(
        "INSERT INTO {schema}.change_trail SELECT seq + 5, tag, time_us, kind, merchant_id, connection_id, record, hash, signature \
         FROM {schema}.change_trail WHERE seq = 1"
    );
    assert_eq!(shadow.run(&skip).await, Err("P0001".to_owned()));
    let mut auditor = ground.intruder().await;
    auditor.run("SET ROLE strongroom_auditor").await.unwrap();
    assert!(auditor.number("SELECT COUNT(*) FROM change_trail").await > 0);
    for secret in ["token_secrets", "merchant_private", "salvage"] {
        let text = AssertSqlSafe(format!("SELECT * FROM {secret}")).into_sql_str();
        let read = as_intruder!(auditor, conn => sqlx::raw_sql(text).execute(conn).await.is_err());
        assert!(read, "{secret}");
    }
}
