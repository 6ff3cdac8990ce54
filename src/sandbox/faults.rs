//! Scripted faults: what goes wrong with the next requests of a path. Not durable: a restart clears them.
//!
//! A fault hits a request as it comes in: a batch is one request, the calls inside it are hit by nothing. Pages can be hit too, by
//! all kinds but `throttle`, which pages never are.

mod plan;
pub(super) mod play;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::hash::{labelled, sha256};
use super::pages;
use super::parameters::{Parameters, bearer, plain_path};
use super::protocol::ApiError;
use super::settings::Settings;
use super::state::State;
use super::world::Request;

pub(super) use plan::{Kind, Plan};

/// Most faults at a time: each request looks through all of them.
const FAULTS_MAX: usize = 1_000;

/// What a fault does to one request; see [`Kind`] for each.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) kind: Kind,
    /// Of the delays and of `drip`.
    delay: Duration,
    /// Of the statuses and of `throttle`.
    failure: Option<Failure>,
}

/// A scripted answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// An error body.
    Api(ApiError),
    /// An HTML page.
    Page(u16),
}

impl Failure {
    /// The HTTP status.
    pub(super) const fn status(&self) -> u16 {
        match self {
            Self::Api(error) => error.status,
            Self::Page(status) => *status,
        }
    }

    /// The `error_code`.
    pub(super) const fn code(&self) -> Option<u32> {
        match self {
            Self::Api(error) => Some(error.code),
            Self::Page(_) => None,
        }
    }
}

/// Who makes a request, as far as it says before it is looked at.
#[derive(Clone, Copy, Default)]
pub(super) struct Who {
    user_id: Option<u64>,
    client_id: Option<u64>,
}

impl Who {
    /// The user and the app of the bearer token; else the app that the parameters name.
    fn read(state: &State, request: &Request) -> Self {
        let token = bearer(&request.headers).map(sha256);
        if let Some(token) = token.and_then(|token| state.token(&token)) {
            return Self { user_id: Some(token.user_id), client_id: Some(token.client_id) };
        }
        let parameters = Parameters::read(&request.method, &request.query, &request.headers, &request.body);
        let named = parameters.ok().and_then(|parameters| parameters.required_id("client_id").ok());
        // A page gets it in the query, a form in the body.
        let in_query = || pages::parameter(&request.query, "client_id")?.parse().ok();
        Self { user_id: None, client_id: named.or_else(in_query) }
    }
}

/// A fault with its counts.
#[derive(Clone, Serialize)]
pub(super) struct Fault {
    id: u64,
    #[serde(flatten)]
    plan: Plan,
    /// Matching calls so far, those that passed too.
    seen: u64,
    /// Calls hit so far.
    fired: u64,
}

impl Fault {
    fn matches(&self, call: &str, who: Who) -> bool {
        let plan = &self.plan;
        let is_path = plan.path == call || (plan.path == "*" && (plan.kind != Kind::Throttle || !pages::is_page(call)));
        is_path
            && (plan.user_id.is_none() || plan.user_id == who.user_id)
            && (plan.client_id.is_none() || plan.client_id == who.client_id)
            && self.fired < plan.times
    }

    /// Counts a matching call; whether it is hit.
    fn draw(&mut self) -> bool {
        self.seen = self.seen.saturating_add(1);
        if self.seen <= self.plan.skip {
            return false;
        }
        let seed = self.plan.seed.unwrap_or(0);
        let is_hit = self.plan.probability_percent.is_none_or(|percent| percent_of(seed, self.seen) < percent);
        self.fired = self.fired.saturating_add(u64::from(is_hit));
        is_hit
    }
}

/// All scripted faults, oldest first.
#[derive(Default)]
pub(super) struct Faults {
    by_id: BTreeMap<u64, Fault>,
    last_id: u64,
}

impl Faults {
    /// Takes a plan; its id, or what is wrong with it.
    pub(super) fn add(&mut self, mut plan: Plan) -> Result<u64, String> {
        plan.path = call_name(&plan.path);
        plan.check()?;
        if self.by_id.len() >= FAULTS_MAX {
            // One that has nothing left makes room.
            let spent = self.by_id.values().find(|fault| fault.fired >= fault.plan.times).map(|fault| fault.id);
            let spent = spent.ok_or_else(|| format!("there are {FAULTS_MAX} faults already"))?;
            self.by_id.remove(&spent);
        }
        self.last_id = self.last_id.saturating_add(1);
        let id = self.last_id;
        self.by_id.insert(id, Fault { id, plan, seen: 0, fired: 0 });
        Ok(id)
    }

    /// What the oldest fault that is due does to this request; counts it.
    pub(super) fn take(&mut self, state: &State, settings: &Settings, request: &Request) -> Option<Effect> {
        if self.by_id.values().all(|fault| fault.fired >= fault.plan.times) {
            return None;
        }
        self.take_for(&request.call, Who::read(state, request), settings)
    }

    /// The same for a call and who makes it. A fault that lets a call pass leaves it to the next one.
    fn take_for(&mut self, call: &str, who: Who, settings: &Settings) -> Option<Effect> {
        let fault =
            self.by_id.values_mut().find_map(|fault| (fault.matches(call, who) && fault.draw()).then_some(fault));
        fault.map(|fault| effect_of(&fault.plan, settings))
    }

    /// Whether there is none, spent ones included.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All faults with their counts.
    pub(super) fn list(&self) -> Vec<&Fault> {
        self.by_id.values().collect()
    }

    /// Forgets all faults; how many there were.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(&mut self.by_id).len()
    }
}

/// The name of a call: its path without `/v2`, percent-encoding and idle slashes.
pub(super) fn call_name(path: &str) -> String {
    let path = plain_path(path);
    match path.strip_prefix("/v2").filter(|rest| rest.starts_with('/')) {
        Some(rest) => rest.to_owned(),
        None => path,
    }
}

/// A number below 100 that follows from the seed and the number of the call alone.
fn percent_of(seed: u64, number: u64) -> u8 {
    let digits = labelled("fault", &[&seed.to_string(), &number.to_string()]);
    let drawn = digits.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    u8::try_from(drawn.unwrap_or(0) % 100).unwrap_or(0)
}

/// What a checked plan does.
fn effect_of(plan: &Plan, settings: &Settings) -> Effect {
    let failure = match (plan.kind, plan.status, plan.error_code) {
        (Kind::Throttle, ..) => {
            let refusal = ApiError::throttled();
            let status = settings.http_status.get(&refusal.code).copied().unwrap_or(refusal.status);
            Some(Failure::Api(ApiError { status, ..refusal }))
        }
        (_, Some(status), Some(code)) => {
            Some(Failure::Api(ApiError::scripted(status, code, plan.error_description.clone())))
        }
        (_, Some(status), None) => Some(Failure::Page(status)),
        (_, None, _) => None,
    };
    Effect { kind: plan.kind, delay: Duration::from_millis(plan.delay_ms.unwrap_or(0)), failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::settings::Throttle;

    fn plan(text: &str) -> Plan {
        serde_json::from_str(text).unwrap()
    }

    fn settings() -> Settings {
        Settings::new(true, false, Throttle::Off)
    }

    fn taken(faults: &mut Faults, call: &str, who: Who) -> Option<Kind> {
        faults.take_for(call, who, &settings()).map(|effect| effect.kind)
    }

    #[test]
    fn a_fault_of_one_user_or_one_app_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(plan(r#"{"path": "/user", "kind": "lose_after", "user_id": 7}"#)).unwrap();
        faults.add(plan(r#"{"path": "/user", "kind": "cut", "client_id": 5}"#)).unwrap();
        let who = |user_id, client_id| Who { user_id, client_id };
        assert_eq!(taken(&mut faults, "/user", who(None, None)), None);
        assert_eq!(taken(&mut faults, "/user", who(Some(8), Some(6))), None);
        assert_eq!(taken(&mut faults, "/user", who(Some(7), Some(6))), Some(Kind::LoseAfter));
        assert_eq!(taken(&mut faults, "/user", who(Some(7), Some(5))), Some(Kind::Cut));
    }

    #[test]
    fn a_fault_fires_as_often_as_it_says_and_only_on_its_path() {
        let mut faults = Faults::default();
        faults.add(plan(r#"{"path": "/v2/oauth2/token/", "kind": "lose_after", "times": 2}"#)).unwrap();
        let mut take = |call| taken(&mut faults, call, Who::default());
        assert_eq!(take("/user"), None);
        assert_eq!((take("/oauth2/token"), take("/oauth2/token")), (Some(Kind::LoseAfter), Some(Kind::LoseAfter)));
        assert_eq!(take("/oauth2/token"), None);
        assert_eq!(serde_json::to_value(faults.list()).unwrap()[0]["fired"], 2);
        assert_eq!((faults.clear(), faults.list().len()), (1, 0));
    }

    #[test]
    fn a_spent_fault_makes_room_for_a_new_one() {
        let mut faults = Faults::default();
        let once = || plan(r#"{"path": "/user", "kind": "lose_after"}"#);
        for _ in 0..FAULTS_MAX {
            faults.add(once()).unwrap();
        }
        assert!(faults.add(once()).is_err());
        assert_eq!(taken(&mut faults, "/user", Who::default()), Some(Kind::LoseAfter));
        let newest = faults.add(once()).unwrap();
        assert!(faults.add(once()).is_err());
        assert_eq!((faults.list().len(), faults.list().last().unwrap().id), (FAULTS_MAX, newest));
    }

    #[test]
    fn calls_that_are_skipped_are_left_to_the_next_fault() {
        let mut faults = Faults::default();
        faults.add(plan(r#"{"path": "*", "kind": "lose_after", "skip": 2}"#)).unwrap();
        faults.add(plan(r#"{"path": "/app", "kind": "empty"}"#)).unwrap();
        let mut take = |call| taken(&mut faults, call, Who::default());
        assert_eq!(
            [take("/app"), take("/user"), take("/user"), take("/user")],
            [Some(Kind::Empty), None, Some(Kind::LoseAfter), None]
        );
    }

    #[test]
    fn a_probable_fault_hits_the_same_calls_for_the_same_seed_and_about_as_many_as_it_says() {
        let hits = |seed: u64| {
            let mut faults = Faults::default();
            let text = format!(
                r#"{{"path": "*", "kind": "empty", "times": 10000, "probability_percent": 25, "seed": {seed}}}"#
            );
            faults.add(plan(&text)).unwrap();
            Vec::from_iter((0..1000).map(|_| taken(&mut faults, "/user", Who::default()).is_some()))
        };
        assert_eq!(hits(1), hits(1));
        assert_ne!(hits(1), hits(2));
        let count = hits(1).into_iter().filter(|hit| *hit).count();
        assert!((200..300).contains(&count), "{count} of 1000");
    }

    #[test]
    fn the_names_of_kinds_are_those_of_plans() {
        for kind in ["lose_before", "malformed", "cut", "drip", "empty", "wrong_media", "revoke_before", "throttle"] {
            let parsed: Kind = serde_json::from_value(kind.into()).unwrap();
            assert_eq!(serde_json::to_value(parsed).unwrap(), kind);
        }
    }

    #[test]
    fn an_incomplete_or_mistyped_plan_is_refused() {
        let mut faults = Faults::default();
        for text in [
            r#"{"path": "/user", "kind": "delay_after"}"#,
            r#"{"path": "/user", "kind": "delay_after", "delay_ms": 600001}"#,
            r#"{"path": "/user", "kind": "drip"}"#,
            r#"{"path": "/user", "kind": "drip", "delay_ms": 1001}"#,
            r#"{"path": "/user", "kind": "status"}"#,
            r#"{"path": "/user", "kind": "status", "status": 99}"#,
            r#"{"path": "/user", "kind": "lose_after", "delay_ms": 5}"#,
            r#"{"path": "/user", "kind": "lose_after", "status": 500}"#,
            r#"{"path": "/user", "kind": "throttle", "status": 429}"#,
            r#"{"path": "/user", "kind": "lose_after", "times": 0}"#,
            r#"{"path": "/user", "kind": "lose_after", "probability_percent": 0}"#,
            r#"{"path": "/user", "kind": "lose_after", "probability_percent": 101}"#,
            r#"{"path": "/user", "kind": "lose_after", "seed": 1}"#,
            r#"{"path": "/usr", "kind": "lose_after"}"#,
            r#"{"path": "/oauth2/authorize", "kind": "throttle"}"#,
        ] {
            assert!(faults.add(plan(text)).is_err(), "{text}");
        }
    }
}
