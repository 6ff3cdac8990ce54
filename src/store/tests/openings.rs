//! Conformance of accounts and notices: one owner for each step, one row for each request.

use super::business::{Bench, Shop, request, store_suite};
use super::*;
use crate::domain::account::opening::STEPS;
use crate::domain::account::{Account, AccountKind, AccountRefusal, AccountState, OpeningState, ProviderAccount};
use crate::domain::id::{AccountId, ConnectionId};
use crate::domain::notice::{Notice, NoticeAbout, NoticeKind};
use crate::domain::trail::Act;

fn wanted(bench: &Bench, shop: &Shop, connection: ConnectionId) -> Account {
    let id = AccountId::generate(&SystemClock, &SystemEntropy);
    let now = SystemClock.now();
    Account {
        id,
        app: bench.app,
        connection,
        merchant: Some(shop.merchant.id),
        reference_id: Some(id.to_string()),
        provider_id: None,
        opening: OpeningState::Requested,
        name: "Ada Books".to_owned(),
        description: "books".to_owned(),
        kind: Some(AccountKind::Business),
        country: "US".to_owned(),
        currency: "USD".to_owned(),
        seen: None,
        refusal: None,
        sends: 0,
        sent_at: None,
        created_at: now,
        changed_at: now,
    }
}

fn said(account: &Account, provider_id: &str) -> ProviderAccount {
    ProviderAccount {
        id: provider_id.to_owned(),
        name: account.name.clone(),
        description: account.description.clone(),
        reference_id: account.reference_id.clone(),
        owner: None,
        state: Some(AccountState::ActionRequired),
        action_reasons: vec!["kyc".to_owned(), "two words".to_owned()],
        disabled_reasons: Vec::new(),
        kind: account.kind,
        country: account.country.clone(),
        currency: account.currency.clone(),
        created_at: Some(account.created_at),
        disablement_at: None,
    }
}

async fn requested(bench: &Bench, shop: &Shop, connection: ConnectionId) -> Account {
    let account = wanted(bench, shop, connection);
    let request = request(&account.id.to_string(), 1);
    bench.store.request_account(&account, &request, &Act::system()).await.unwrap();
    bench.store.account(account.id).await.unwrap().unwrap()
}

/// An open account.
pub(super) async fn open(bench: &Bench, shop: &Shop, connection: ConnectionId, provider_id: &str) -> Account {
    let account = requested(bench, shop, connection).await;
    let sent = bench.store.step_account(&account, &OpeningStep::Send, &Act::system()).await.unwrap();
    let act = Act::system();
    bench.store.see_account(&sent, &said(&account, provider_id), None, None, &act).await.unwrap()
}

/// Takes a step towards a state, whatever step that is.
async fn go(bench: &Bench, account: &Account, to: OpeningState) -> Result<Account> {
    let act = Act::system();
    let refusal = AccountRefusal {
        error: "invalid_request".to_owned(),
        code: Some("1003".to_owned()),
        description: "no".to_owned(),
    };
    let step = match to {
        OpeningState::Open => {
            let id = account.id.to_string();
            return bench.store.see_account(account, &said(account, &id), None, None, &act).await;
        }
        OpeningState::Requested => OpeningStep::NotSent("why".to_owned()),
        OpeningState::Sent => OpeningStep::Send,
        OpeningState::Refused => OpeningStep::Refuse(refusal),
        OpeningState::InDoubt => OpeningStep::Doubt("why".to_owned()),
        OpeningState::Absent => OpeningStep::Absent,
    };
    bench.store.step_account(account, &step, &act).await
}

async fn standing(bench: &Bench, shop: &Shop, connection: ConnectionId, at: OpeningState) -> Account {
    use OpeningState::{Absent, InDoubt, Open, Refused, Requested, Sent};
    let way: &[OpeningState] = match at {
        Requested => &[],
        Sent => &[Sent],
        Open => &[Sent, Open],
        Refused => &[Sent, Refused],
        InDoubt => &[Sent, InDoubt],
        Absent => &[Sent, InDoubt, Absent],
    };
    let mut account = requested(bench, shop, connection).await;
    for to in way {
        account = go(bench, &account, *to).await.unwrap();
        assert_eq!(bench.store.account(account.id).await.unwrap().as_ref(), Some(&account), "read as written");
    }
    account
}

store_suite! {
    super::Bench,
    only_the_steps_of_the_table_are_taken_and_only_by_who_knows_where_it_stands,
    a_step_of_an_earlier_try_does_not_fit,
    a_request_and_its_account_are_noted_together_or_not_at_all,
    an_account_is_found_by_every_name_and_belongs_to_one_row,
    notices_of_one_object_are_one_row_and_an_address_has_few_objects,
    a_notice_that_is_repeated_within_a_minute_adds_nothing_to_the_change_trail,
}

async fn only_the_steps_of_the_table_are_taken_and_only_by_who_knows_where_it_stands(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let connection = bench.connect(&shop, "100").await.connection.id;
    for from in OpeningState::ALL {
        for to in OpeningState::ALL {
            let account = standing(&bench, &shop, connection, from).await;
            let moved = go(&bench, &account, to).await;
            // Seeing an open account again is no step of its opening.
            let is_seen_again = (from, to) == (OpeningState::Open, OpeningState::Open);
            assert_eq!(moved.is_ok(), STEPS.contains(&(from, to)) || is_seen_again, "{from:?} → {to:?}: {moved:?}");
            if moved.is_ok() && !is_seen_again {
                let again = go(&bench, &account, to).await;
                assert!(matches!(again, Err(Error::Conflict(_))), "{from:?} → {to:?} twice: {again:?}");
            }
        }
    }
    let unsettled = bench.store.unsettled_accounts_after(None, 1_000).await.unwrap();
    assert!(!unsettled.is_empty() && unsettled.iter().all(|account| account.opening.is_unsettled()));
}

async fn a_step_of_an_earlier_try_does_not_fit(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let connection = bench.connect(&shop, "100").await.connection.id;
    let first = standing(&bench, &shop, connection, OpeningState::Sent).await;
    let back = go(&bench, &first, OpeningState::Requested).await.unwrap();
    let second = go(&bench, &back, OpeningState::Sent).await.unwrap();
    assert_eq!((first.sends, second.sends), (1, 2));
    for to in [OpeningState::InDoubt, OpeningState::Refused, OpeningState::Open] {
        assert!(matches!(go(&bench, &first, to).await, Err(Error::Conflict(_))), "{to:?}");
    }
    go(&bench, &second, OpeningState::Open).await.unwrap();
}

async fn a_request_and_its_account_are_noted_together_or_not_at_all(bench: Bench) {
    let shop = bench.shop("shop-1").await;
    let connection = bench.connect(&shop, "100").await.connection.id;
    let (one, twin) = (wanted(&bench, &shop, connection), wanted(&bench, &shop, connection));
    let request = request("r1", 1);
    bench.store.request_account(&one, &request, &Act::system()).await.unwrap();
    let refused = bench.store.request_account(&twin, &request, &Act::system()).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(bench.store.account(twin.id).await.unwrap(), None);
    assert_eq!(bench.store.earlier(&request).await.unwrap(), Earlier::Same(*one.id.as_bytes()));
}

async fn an_account_is_found_by_every_name_and_belongs_to_one_row(bench: Bench) {
    let (shop, other) = (bench.shop("shop-1").await, bench.shop("shop-2").await);
    let connection = bench.connect(&shop, "100").await.connection.id;
    let account = open(&bench, &shop, connection, "4711").await;
    let store = &bench.store;
    assert_eq!(store.account(account.id).await.unwrap().as_ref(), Some(&account));
    assert_eq!(store.account_at_provider(bench.app, "4711").await.unwrap().as_ref(), Some(&account));
    assert_eq!(store.account_at_provider(bench.app, "4712").await.unwrap(), None);
    assert_eq!(store.accounts_of(shop.merchant.id, None, 9).await.unwrap(), std::slice::from_ref(&account));
    assert_eq!(store.accounts_of(shop.merchant.id, Some(account.id), 9).await.unwrap(), []);
    assert_eq!(store.accounts_of(other.merchant.id, None, 9).await.unwrap(), []);
    assert_eq!(store.accounts_after(None, 9).await.unwrap(), std::slice::from_ref(&account));
    assert_eq!(account.seen.as_ref().unwrap().action_reasons, ["kyc", "two_words"], "a word has no space");
    // Another account cannot take its place at the provider, and what is seen of it is seen of it alone.
    let second = standing(&bench, &shop, connection, OpeningState::Sent).await;
    let taken = store.see_account(&second, &said(&second, "4711"), None, None, &Act::system()).await;
    assert!(matches!(taken, Err(Error::Conflict(_))), "{taken:?}");
    let moved = store.see_account(&account, &said(&account, "4712"), None, None, &Act::system()).await;
    assert!(matches!(moved, Err(Error::Conflict(_))), "{moved:?}");
}

async fn notices_of_one_object_are_one_row_and_an_address_has_few_objects(bench: Bench) {
    let about = NoticeAbout::new(NoticeKind::Account, [7; 16]);
    let notice = |object: u32| Notice { about, object_id: object.to_string(), reference_id: None };
    let keep = async |object| bench.store.keep_notice(bench.app, &notice(object), &Act::system()).await;
    for _ in 0..3 {
        keep(1).await.unwrap();
    }
    for object in 2..=8 {
        keep(object).await.unwrap();
    }
    assert!(matches!(keep(9).await, Err(Error::Conflict(_))));
    keep(1).await.unwrap();
    let user = Notice { about: NoticeAbout::new(NoticeKind::User, [7; 16]), ..notice(9) };
    bench.store.keep_notice(bench.app, &user, &Act::system()).await.unwrap();
    let mut reader = bench.ground.intruder().await;
    let rows = "SELECT kind || ' ' || object_id || ' ' || times FROM notices ORDER BY kind, CAST(object_id AS INTEGER)";
    let rows = reader.texts(rows).await;
    assert_eq!(rows.len(), 9);
    assert_eq!((rows[0].as_str(), rows[8].as_str()), ("account 1 4", "user 9 1"));
}

async fn a_notice_that_is_repeated_within_a_minute_adds_nothing_to_the_change_trail(bench: Bench) {
    let about = NoticeAbout::new(NoticeKind::Account, [7; 16]);
    let notice = Notice { about, object_id: "1".to_owned(), reference_id: None };
    let keep = async || bench.store.keep_notice(bench.app, &notice, &Act::system()).await.unwrap();
    let mut reader = bench.ground.intruder().await;
    let mut standing = async || {
        let records = reader.number("SELECT COUNT(*) FROM change_trail").await;
        (records, reader.number("SELECT times FROM notices").await)
    };
    keep().await;
    let (records, _) = standing().await;
    for _ in 0..20 {
        keep().await;
    }
    assert_eq!(standing().await, (records, 21));
    // As if all that had been a minute ago.
    let mut intruder = bench.ground.intruder().await;
    let earlier = "UPDATE notices SET first_at_us = first_at_us - 60000000, last_at_us = last_at_us - 60000000";
    intruder.run(earlier).await.unwrap();
    keep().await;
    keep().await;
    assert_eq!(standing().await, (records + 1, 23));
}
