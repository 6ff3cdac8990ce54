//! Scripted faults: what goes wrong with the next calls of a path. Not durable: a restart clears them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::parameters::plain_path;
use super::protocol::ApiError;

/// Longest scripted delay: ten minutes, longer than any deadline a client has.
const DELAY_MS_MAX: u64 = 600_000;

/// A fault as the control API takes it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// Path of the call, with or without `/v2`; `*` means every call.
    pub(super) path: String,
    /// What goes wrong.
    pub(super) kind: Kind,
    /// Only calls with a token of this user; without, any call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<u64>,
    /// How many calls it hits.
    #[serde(default = "once")]
    pub(super) times: u64,
    /// For the delays: real milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delay_ms: Option<u64>,
    /// For the statuses: HTTP status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// For the statuses: with a code the answer is an error body, without one an HTML page as a proxy sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error_code: Option<u32>,
    /// For the statuses: text of the error body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error_description: Option<String>,
}

const fn once() -> u64 {
    1
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// The connection drops; nothing happened.
    LoseBefore,
    /// The change happens, then the connection drops.
    LoseAfter,
    /// Waits, then processes.
    DelayBefore,
    /// Processes, then waits before the answer.
    DelayAfter,
    /// Answers this status; nothing happened.
    Status,
    /// The change happens, then this status is answered.
    StatusAfter,
    /// The change happens, then half of the answer's text is sent.
    Malformed,
    /// The token used or issued is revoked right after.
    RevokeAfter,
}

/// What a fault does to one call.
#[derive(Clone)]
pub(super) enum Effect {
    /// See [`Kind::LoseBefore`].
    LoseBefore,
    /// See [`Kind::LoseAfter`].
    LoseAfter,
    /// See [`Kind::DelayBefore`].
    DelayBefore(Duration),
    /// See [`Kind::DelayAfter`].
    DelayAfter(Duration),
    /// See [`Kind::Status`].
    Status(Failure),
    /// See [`Kind::StatusAfter`].
    StatusAfter(Failure),
    /// See [`Kind::Malformed`].
    Malformed,
    /// See [`Kind::RevokeAfter`].
    RevokeAfter,
}

/// A scripted answer.
#[derive(Clone)]
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

/// A fault with its count.
#[derive(Clone, Serialize)]
pub(super) struct Fault {
    id: u64,
    #[serde(flatten)]
    plan: Plan,
    fired: u64,
    #[serde(skip)]
    effect: Option<Effect>,
}

/// All scripted faults, oldest first.
#[derive(Default)]
pub(super) struct Faults {
    by_id: BTreeMap<u64, Fault>,
    last_id: u64,
}

impl Faults {
    /// Takes a plan; its id, or what is wrong with it.
    pub(super) fn add(&mut self, mut plan: Plan) -> Result<u64, &'static str> {
        let effect = effect_of(&plan)?;
        if plan.times == 0 {
            return Err("times must be at least 1");
        }
        plan.path = call_name(&plan.path);
        self.last_id = self.last_id.saturating_add(1);
        let id = self.last_id;
        self.by_id.insert(id, Fault { id, plan, fired: 0, effect: Some(effect) });
        Ok(id)
    }

    /// The oldest fault with something left for this call, made with a token of this user; counts it.
    pub(super) fn take(&mut self, call: &str, user_id: Option<u64>) -> Option<Effect> {
        let is_due = |fault: &&mut Fault| {
            (fault.plan.path == call || fault.plan.path == "*")
                && (fault.plan.user_id.is_none() || fault.plan.user_id == user_id)
                && fault.fired < fault.plan.times
        };
        let fault = self.by_id.values_mut().find(is_due)?;
        fault.fired = fault.fired.saturating_add(1);
        fault.effect.clone()
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

fn effect_of(plan: &Plan) -> Result<Effect, &'static str> {
    let delay = || match plan.delay_ms {
        Some(ms) if ms <= DELAY_MS_MAX => Ok(Duration::from_millis(ms)),
        Some(_) => Err("delay_ms is longer than ten minutes"),
        None => Err("delay_ms is required for this kind"),
    };
    let failure = || match (plan.status, plan.error_code) {
        (Some(status @ 200..=599), Some(code)) => {
            Ok(Failure::Api(ApiError::scripted(status, code, plan.error_description.clone())))
        }
        (Some(status @ 200..=599), None) => Ok(Failure::Page(status)),
        (Some(_), _) => Err("status must be between 200 and 599"),
        (None, _) => Err("status is required for this kind"),
    };
    let is_delay = matches!(plan.kind, Kind::DelayBefore | Kind::DelayAfter);
    let is_status = matches!(plan.kind, Kind::Status | Kind::StatusAfter);
    if !is_delay && plan.delay_ms.is_some() {
        return Err("delay_ms has no meaning for this kind");
    }
    if !is_status && (plan.status.is_some() || plan.error_code.is_some() || plan.error_description.is_some()) {
        return Err("status, error_code and error_description have no meaning for this kind");
    }
    Ok(match plan.kind {
        Kind::LoseBefore => Effect::LoseBefore,
        Kind::LoseAfter => Effect::LoseAfter,
        Kind::DelayBefore => Effect::DelayBefore(delay()?),
        Kind::DelayAfter => Effect::DelayAfter(delay()?),
        Kind::Status => Effect::Status(failure()?),
        Kind::StatusAfter => Effect::StatusAfter(failure()?),
        Kind::Malformed => Effect::Malformed,
        Kind::RevokeAfter => Effect::RevokeAfter,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_fault_of_one_user_spares_the_others() {
        let mut faults = Faults::default();
        faults.add(plan(r#"{"path": "/user", "kind": "lose_after", "user_id": 7}"#)).unwrap();
        assert!(faults.take("/user", None).is_none());
        assert!(faults.take("/user", Some(8)).is_none());
        assert!(matches!(faults.take("/user", Some(7)), Some(Effect::LoseAfter)));
    }

    #[test]
    fn a_fault_fires_as_often_as_it_says_and_only_on_its_path() {
        let mut faults = Faults::default();
        faults.add(plan(r#"{"path": "/v2/oauth2/token/", "kind": "lose_after", "times": 2}"#)).unwrap();
        assert!(faults.take("/user", None).is_none());
        assert!(matches!(faults.take("/oauth2/token", None), Some(Effect::LoseAfter)));
        assert!(matches!(faults.take("/oauth2/token", None), Some(Effect::LoseAfter)));
        assert!(faults.take("/oauth2/token", None).is_none());
        assert_eq!(serde_json::to_value(faults.list()).unwrap()[0]["fired"], 2);
        assert_eq!((faults.clear(), faults.list().len()), (1, 0));
    }

    #[test]
    fn an_incomplete_plan_is_refused() {
        let mut faults = Faults::default();
        for text in [
            r#"{"path": "/user", "kind": "delay_after"}"#,
            r#"{"path": "/user", "kind": "status"}"#,
            r#"{"path": "/user", "kind": "status", "status": 99}"#,
            r#"{"path": "/user", "kind": "lose_after", "delay_ms": 5}"#,
            r#"{"path": "/user", "kind": "lose_after", "status": 500}"#,
            r#"{"path": "/user", "kind": "lose_after", "times": 0}"#,
        ] {
            assert!(faults.add(plan(text)).is_err(), "{text}");
        }
    }
}
