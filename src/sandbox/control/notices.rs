//! Notices: looked at, held and released, sent by hand.

use serde::Deserialize;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::{Refusal, internal, read};
use crate::domain::ambient::{Clock as _, Timestamp};
use crate::sandbox::notices::{self, Cause, Kind, Notice, NoticeChange, Standing, Try};
use crate::sandbox::state::Event;
use crate::sandbox::world::{Core, Request, World};

/// Most copies of each released notice: enough to see what duplicates do.
const COPIES_MAX: usize = 100;

/// Most notices that one call releases, copies included: what is in line stands in memory and in one line of the journal.
const RELEASED_MAX: usize = 10_000;

/// Which object a notice is to be sent about: one of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    user_id: Option<u64>,
    account_id: Option<u64>,
}

/// In which order held notices go: by a rule, or these and no other, each as often as it is named.
#[derive(Deserialize)]
#[serde(untagged)]
enum Order {
    Named(Named),
    Ids(Vec<u64>),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Named {
    /// Oldest first.
    AsQueued,
    /// Newest first.
    Reversed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    #[serde(default = "oldest_first")]
    order: Order,
    /// How often each is sent in a row.
    copies: Option<usize>,
}

const fn oldest_first() -> Order {
    Order::Named(Named::AsQueued)
}

/// What a request to `/control/notices…` does; `path` is what follows.
pub(super) fn answer(core: &Core, request: &Request, path: &[&str]) -> Result<Value, Refusal> {
    match (request.method.as_str(), path) {
        ("GET", []) => list(&core.lock(), &request.query),
        ("GET", [id]) => view(&core.lock(), number(id)?),
        ("POST", []) => fire(core, &read(request)?),
        ("POST", ["release"]) => release(core, read(request)?),
        ("POST", [id, "send"]) => send(core, number(id)?),
        (method, _) => Err((404, format!("there is no {method} /control/notices/{}", path.join("/")))),
    }
}

/// The notices, oldest first.
fn list(world: &World, query: &str) -> Result<Value, Refusal> {
    let (mut after, mut object) = (0, None);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let number = value.parse::<u64>().map_err(|_| (400, format!("{name} must be a number")));
        match name.as_ref() {
            "after" => after = number?,
            "user_id" => object = Some((Kind::User, number?)),
            "account_id" => object = Some((Kind::Account, number?)),
            other => return Err((400, format!("there is no filter {other}"))),
        }
    }
    let book = world.state.notices();
    let released = book.released();
    let is_wanted = |notice: &&Notice| object.is_none_or(|object| object == (notice.kind, notice.object_id));
    let notices = book.after(after).filter(is_wanted);
    let notices = notices.map(|notice| described(notice, released.contains(&notice.notice_id)));
    Ok(json!({ "notices": notices.collect::<Vec<Value>>() }))
}

/// One notice.
fn view(world: &World, notice_id: u64) -> Result<Value, Refusal> {
    let notice = known(world, notice_id)?;
    Ok(described(notice, world.state.notices().released().contains(&notice_id)))
}

/// Queues a notice about an object, as if it had changed just now.
fn fire(core: &Core, wish: &Object) -> Result<Value, Refusal> {
    let mut world = core.lock();
    let state = &world.state;
    let causes = match (wish.user_id, wish.account_id) {
        (Some(user_id), None) => Cause::about_user(state, user_id, None),
        (None, Some(account_id)) => Cause::about_account(state, account_id),
        _ => return Err((400, "either user_id or account_id is wanted".to_owned())),
    };
    if causes.is_empty() {
        return Err((404, "there is no such object, or no app gave a callback_uri for it".to_owned()));
    }
    let events = notices::queued(state, &world.settings, core.clock.now(), &causes);
    if events.is_empty() {
        return Err((400, "notices are switched off".to_owned()));
    }
    let first = state.notices().next_id();
    world.commit(events).map_err(|error| internal(&error))?;
    let queued = world.state.notices().after(first.saturating_sub(1));
    Ok(json!({ "notices": queued.map(|notice| described(notice, false)).collect::<Vec<Value>>() }))
}

/// Sends held notices, one after the other.
fn release(core: &Core, wish: Release) -> Result<Value, Refusal> {
    let copies = wish.copies.unwrap_or(1);
    if !(1..=COPIES_MAX).contains(&copies) {
        return Err((400, format!("copies is a number from 1 to {COPIES_MAX}")));
    }
    let mut world = core.lock();
    let mut held = world.state.notices().held();
    let order = match wish.order {
        Order::Named(Named::AsQueued) => held,
        Order::Named(Named::Reversed) => {
            held.reverse();
            held
        }
        Order::Ids(ids) => match ids.iter().find(|id| !held.contains(id)) {
            Some(other) => return Err((400, format!("notice {other} is not held"))),
            None => ids,
        },
    };
    let notice_ids: Vec<u64> = order.into_iter().flat_map(|id| std::iter::repeat_n(id, copies)).collect();
    if notice_ids.len() > RELEASED_MAX {
        return Err((400, format!("at most {RELEASED_MAX} are released at once, copies included")));
    }
    if !notice_ids.is_empty() {
        let released = NoticeChange::Released { notice_ids: notice_ids.clone() };
        world.commit(vec![Event::Notice(released)]).map_err(|error| internal(&error))?;
    }
    Ok(json!({ "released": notice_ids }))
}

/// Sends a notice now, whatever became of it before.
fn send(core: &Core, notice_id: u64) -> Result<Value, Refusal> {
    let mut world = core.lock();
    if let Standing::NotSent { reason } = &known(&world, notice_id)?.standing {
        return Err((400, reason.clone()));
    }
    world.commit(vec![Event::Notice(NoticeChange::Requested { notice_id })]).map_err(|error| internal(&error))?;
    view(&world, notice_id)
}

fn number(id: &str) -> Result<u64, Refusal> {
    id.parse().map_err(|_| (404, format!("there is no notice {id}")))
}

fn known(world: &World, notice_id: u64) -> Result<&Notice, Refusal> {
    world.state.notices().notice(notice_id).ok_or_else(|| (404, format!("there is no notice {notice_id}")))
}

fn described(notice: &Notice, is_released: bool) -> Value {
    let (mut next_try_at, mut reason) = (None, None);
    let state = match &notice.standing {
        Standing::Waiting { is_held: true, .. } if !is_released => "held",
        Standing::Waiting { retry, due_us, is_held } => {
            next_try_at = (!is_held).then_some(*due_us);
            if *retry == 0 { "due" } else { "failed" }
        }
        Standing::Delivered => "delivered",
        Standing::GivenUp => "given_up",
        Standing::NotSent { reason: why } => {
            reason = Some(why);
            "not_sent"
        }
    };
    json!({
        "notice_id": notice.notice_id,
        "client_id": notice.client_id.to_string(),
        "kind": notice.kind,
        "object_id": notice.object_id,
        "callback_uri": notice.uri,
        "body": notice.body,
        "state": state,
        "reason": reason,
        "queued_at": rfc3339(notice.queued_at_us),
        "next_try_at": next_try_at.map(rfc3339),
        "tries": notice.tries.iter().map(described_try).collect::<Vec<Value>>(),
    })
}

fn described_try(attempt: &Try) -> Value {
    json!({
        "at": rfc3339(attempt.at_us),
        "cause": attempt.source,
        "status": attempt.status,
        "error": attempt.error,
    })
}

fn rfc3339(micros: i64) -> String {
    Timestamp::from_micros(micros).to_rfc3339()
}
