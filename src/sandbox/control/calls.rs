//! The call log, as one object or line by line.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::Refusal;
use crate::sandbox::faults::call_name;
use crate::sandbox::state::{Call, CallPath, State};
use crate::sandbox::world::World;

/// The `error_code` of a throttled call.
const THROTTLED: u32 = 1007;

/// Which calls are asked for, and how many at most.
#[derive(Default)]
struct Filter {
    path: Option<CallPath>,
    after: u64,
    /// The inner option is none for calls whose answer was dropped.
    status: Option<Option<u16>>,
    client_id: Option<u64>,
    user_id: Option<u64>,
    limit: Option<usize>,
}

/// The calls that a query asks for, oldest first.
pub(super) fn list(world: &World, query: &str) -> Result<Value, Refusal> {
    let calls: Vec<Value> = Filter::read(query)?.apply(&world.state).collect();
    Ok(json!({ "calls": calls, "dropped": world.state.calls_dropped() }))
}

/// The same, one JSON object a line.
pub(super) fn lines(world: &World, query: &str) -> Result<String, Refusal> {
    Ok(Filter::read(query)?.apply(&world.state).map(|call| format!("{call}\n")).collect())
}

impl Filter {
    fn read(query: &str) -> Result<Self, Refusal> {
        let mut filter = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = |_| (400, format!("{name} must be a number"));
            match name.as_ref() {
                "path" => filter.path = Some(CallPath::of(&call_name(&value))),
                "after" => filter.after = value.parse().map_err(wrong)?,
                "status" if value == "none" => filter.status = Some(None),
                "status" => filter.status = Some(Some(value.parse().map_err(wrong)?)),
                "client_id" => filter.client_id = Some(value.parse().map_err(wrong)?),
                "user_id" => filter.user_id = Some(value.parse().map_err(wrong)?),
                "limit" => filter.limit = Some(value.parse().map_err(wrong)?),
                other => return Err((400, format!("there is no filter {other}"))),
            }
        }
        Ok(filter)
    }

    fn apply<'a>(&'a self, state: &'a State) -> impl Iterator<Item = Value> + 'a {
        let wanted = state.calls().filter(|call| self.wants(call));
        wanted.take(self.limit.unwrap_or(usize::MAX)).map(|call| described(state, call))
    }

    fn wants(&self, call: &Call) -> bool {
        call.seq > self.after
            && self.path.as_ref().is_none_or(|path| *path == call.path)
            && self.status.is_none_or(|status| status == call.status)
            && self.client_id.is_none_or(|client_id| call.client_id == Some(client_id))
            && self.user_id.is_none_or(|user_id| call.user_id == Some(user_id))
    }
}

/// A line of the log: as kept, with what follows from it.
fn described(state: &State, call: &Call) -> Value {
    let mut line = json!(call);
    let app = call.client_id.and_then(|client_id| state.app(client_id));
    let version = call.version.map(|version| version.0).or(app.map(|app| app.api_version.as_str()));
    if let Some(line) = line.as_object_mut() {
        line.insert("version".to_owned(), json!(version));
        line.insert("throttled".to_owned(), json!(call.error_code == Some(THROTTLED)));
    }
    line
}
