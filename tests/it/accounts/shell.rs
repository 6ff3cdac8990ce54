//! The same from a shell: what people read, what programs read, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};

use super::CREATE;
use crate::support::app::TestApp;
use crate::support::process::{Ended, Process};

/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(60);

async fn account(app: &TestApp, words: &[&str]) -> Ended {
    // Where the site keeps what its callers need.
    let dir = app.files().parent().unwrap().to_str().unwrap();
    let words: Vec<&str> = ["account", "--dev", dir].into_iter().chain(words.iter().copied()).collect();
    Process::strongroom(&words, app.files()).ended(COMMAND_MAX).await
}

fn read(ended: &Ended) -> Value {
    assert!(ended.is_success, "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

#[tokio::test]
async fn an_account_is_made_shown_changed_and_listed_from_a_shell() {
    let app = TestApp::start().await;
    app.connected("ada-books").await;
    app.fault(json!({ "path": "/account/create", "kind": "lose_after" })).await;
    let order = ["create", "ada-books", "Ada Books", "--description", "books", "--request-id", "r1", "--json"];
    let made = read(&account(&app, &order).await);
    assert_eq!((&made["opening"], &made["next_action"]), (&json!("open"), &json!("provide_information")));
    assert_eq!(read(&account(&app, &order).await), made, "the same request, the same account");
    assert_eq!(app.calls(CREATE).await, 1);

    let id = made["account_id"].as_str().unwrap();
    let changed = account(&app, &["update", id, "--name", "Ada Rare Books"]).await;
    assert!(changed.is_success && changed.stdout.contains("Ada Rare Books"), "{}{}", changed.stdout, changed.stderr);
    let shown = account(&app, &["get", made["provider_account_id"].as_str().unwrap(), "--refresh"]).await;
    assert!(shown.stdout.contains("kyc, bank_account") && shown.stdout.contains(id), "{}", shown.stdout);
    let listed = account(&app, &["list", "ada-books"]).await;
    assert!(
        listed.stdout.lines().any(|line| line.starts_with(id) && line.contains("action_required")),
        "{}",
        listed.stdout
    );

    let order = ["create", "ada-books", "ORD-2024-00012345", "--description", "books", "--dba", "Ada Books"];
    let refused = account(&app, &order).await;
    assert!(!refused.is_success);
    for text in ["NAME_REFUSED", "reasons", "suggestion", "field name"] {
        assert!(refused.stderr.contains(text), "{text} in {}", refused.stderr);
    }
    assert!(!account(&app, &["check-name", "ORD-2024-00012345"]).await.is_success);
    let judged = read(&account(&app, &["check-name", "Ada Books", "--json"]).await);
    assert_eq!(judged["verdict"], "accept");

    // Without patience it says how to go on.
    app.fault(json!({ "path": "/account/create", "kind": "lose_before" })).await;
    let order = ["create", "ada-books", "Ada Toys", "--description", "toys", "--wait", "0"];
    let unresolved = account(&app, &order).await;
    for text in ["ACCOUNT_UNRESOLVED", "retry after", "repeat with", "--request-id cli-"] {
        assert!(unresolved.stderr.contains(text), "{text} in {}", unresolved.stderr);
    }
    app.close().await;
}
