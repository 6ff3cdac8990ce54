//! Rows that somebody else wrote: every column that a decision stands on is covered by its row's MAC.

use super::business::{Bench, store_suite};
use super::*;
use crate::domain::name::{ExternalId, Subject};

/// Statements as an intruder would write them; SQL stays a constant here, too.
macro_rules! alterations {
    ($($table:literal $column:literal = $value:literal,)*) => {
        &[$(($table, concat!("UPDATE ", $table, " SET ", $column, " = ", $value)),)*]
    };
}

macro_rules! kept {
    ($($table:literal)*) => {
        &[$((
            $table,
            concat!("CREATE TABLE kept_", $table, " AS SELECT * FROM ", $table),
            concat!("DELETE FROM ", $table, "; INSERT INTO ", $table, " SELECT * FROM kept_", $table),
        ),)*]
    };
}

/// Table, a statement that keeps a copy, and one that brings it back.
const TABLES: &[(&str, &str, &str)] =
    kept! { "merchants" "connections" "token_versions" "links" "invitations" "flows" "accounts" };

/// Table, and a statement that alters one of its columns.
const ALTERATIONS: &[(&str, &str)] = alterations! {
    "merchants" "external_id" = "external_id || 'x'",
    "merchants" "labels" = "'region:us'",
    "merchants" "labels" = "''",
    "merchants" "mac" = "zeroblob(32)",
    "connections" "app_id" = "zeroblob(16)",
    "connections" "subject" = "'200'",
    "connections" "role" = "'app_owner'",
    "connections" "mac" = "zeroblob(32)",
    "token_versions" "issued_kind" = "'temporary'",
    "token_versions" "cause" = "'import'",
    "token_versions" "attempt_id" = "zeroblob(16)",
    "token_versions" "fingerprint" = "zeroblob(16)",
    "token_versions" "mac" = "zeroblob(32)",
    "links" "app_id" = "zeroblob(16)",
    "links" "merchant_id" = "zeroblob(16)",
    "links" "connection_id" = "zeroblob(16)",
    "links" "state" = "'held'",
    "links" "state" = "'closed'",
    "links" "flow_id" = "zeroblob(16)",
    "links" "flow_id" = "NULL",
    "links" "row_version" = "row_version + 1",
    "links" "mac" = "zeroblob(32)",
    "invitations" "app_id" = "zeroblob(16)",
    "invitations" "merchant_id" = "zeroblob(16)",
    "invitations" "return_url" = "'https://evil.example/'",
    "invitations" "requested_by" = "'somebody'",
    "invitations" "leave" = "'replacement', leave_connection = zeroblob(16), leave_version = 1",
    "invitations" "expires_at_us" = "expires_at_us + 1",
    "invitations" "mac" = "zeroblob(32)",
    "flows" "app_id" = "zeroblob(16)",
    "flows" "invitation_id" = "zeroblob(16)",
    "flows" "state_hash" = "zeroblob(32)",
    "flows" "browser_hash" = "zeroblob(32)",
    "flows" "expires_at_us" = "expires_at_us + 1",
    "flows" "mac" = "zeroblob(32)",
    "accounts" "app_id" = "zeroblob(16)",
    "accounts" "connection_id" = "zeroblob(16)",
    "accounts" "merchant_id" = "zeroblob(16)",
    "accounts" "merchant_id" = "NULL",
    "accounts" "reference_id" = "'acc_x'",
    "accounts" "reference_id" = "NULL",
    "accounts" "provider_id" = "'1'",
    "accounts" "mac" = "zeroblob(32)",
};

store_suite! {
    super::Bench,
    a_row_that_somebody_else_altered_is_refused_column_by_column,
    a_token_cannot_be_moved_to_another_reader_by_writing_the_database,
}

async fn a_row_that_somebody_else_altered_is_refused_column_by_column(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let stored = bench.connect(&shop, "100").await;
    bench.activate(&stored).await;
    let (merchant, connection) = (shop.merchant.id, stored.connection.id);
    let link = stored.link.as_ref().unwrap();
    let account = super::openings::open(&bench, &shop, connection, "4711").await.id;
    let store = &bench.store;
    let read = async |table: &str| match table {
        "merchants" => store.merchant(&MerchantKey::Id(merchant)).await.map(drop),
        "connections" => store.connection(connection).await.map(drop),
        "token_versions" => store.head(connection).await.map(drop),
        "links" => store.link(link.id).await.map(drop),
        "accounts" => store.account(account).await.map(drop),
        "invitations" => store.invitation(shop.invitation.id).await.map(drop),
        _ => store.flow(link.flow.unwrap()).await.map(drop),
    };
    let by_id = MerchantKey::Id(merchant);
    let mut intruder = bench.ground.intruder().await;
    intruder.unbind().await;
    for (_, keep, _) in TABLES {
        intruder.run(keep).await.unwrap();
    }
    for (table, statement) in ALTERATIONS {
        read(table).await.unwrap();
        intruder.run(statement).await.unwrap();
        let refused = read(table).await;
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{statement}: {refused:?}");
        // And no token leaves by way of it: the head is refused, or the row does not lead anywhere any more.
        if !matches!(*table, "invitations" | "flows" | "accounts") {
            let head = store.head_of_merchant(&by_id).await;
            assert!(matches!(head, Err(Error::Corrupt(_)) | Ok(None)), "{statement}: {head:?}");
        }
        let (_, _, bring_back) = TABLES.iter().find(|(name, ..)| name == table).unwrap();
        intruder.run(bring_back).await.unwrap();
    }
    store.head_of_merchant(&by_id).await.unwrap().unwrap();
}

async fn a_token_cannot_be_moved_to_another_reader_by_writing_the_database(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let (mine, theirs) = (bench.connect(&shop, "100").await, bench.connect(&other, "200").await);
    bench.activate(&mine).await;
    bench.activate(&theirs).await;
    let mut intruder = bench.ground.intruder().await;
    // The second merchant's link is made to lead to the first one's connection, in every way that keeps the keys unique.
    for statement in [
        "UPDATE links SET connection_id = (SELECT id FROM connections WHERE subject = '100') \
         WHERE connection_id = (SELECT id FROM connections WHERE subject = '200')",
        "UPDATE connections SET subject = subject || 'x'",
        "UPDATE merchants SET external_id = external_id || 'x'",
    ] {
        intruder.run(statement).await.unwrap();
    }
    for key in [MerchantKey::Id(other.merchant.id), MerchantKey::External(ExternalId::parse("shop-2x").unwrap())] {
        let refused = bench.store.head_of_merchant(&key).await;
        assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
    }
    let app = theirs.connection.app;
    let refused = bench.store.heads_of_subject(app, &Subject::parse("100x").unwrap()).await;
    assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
}
