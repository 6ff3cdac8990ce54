//! Reading the query of a callback: each parameter at most once, each of bounded length.

use url::form_urlencoded;

use crate::domain::secret::AuthorizationCode;
use crate::service::CallbackParams;

/// Most parameters read. The provider sends two; the rest is headroom for ones it may add.
pub(super) const PARAMETERS_MAX: usize = 32;

/// Longest `code`, `state` or `error`: the provider's limit of a code (`docs/provider.md` §4), and far above ours of a state.
pub(super) const VALUE_BYTES_MAX: usize = 255;

/// What a callback brought.
#[derive(Debug)]
pub(super) struct Query {
    /// What the service is asked. Parameters at fault are left out, so that it refuses and records what is left.
    pub(super) params: CallbackParams,
    /// A parameter came twice, is too long, names another issuer, or there are too many: refused, whatever the rest says.
    pub(super) is_at_fault: bool,
}

/// Reads the query. Unknown parameters are ignored (RFC 6749 §4.1.2), an empty one counts as left out (§3.1).
///
/// The provider documents no `iss` (RFC 9207). Should one arrive, it must name `issuer` exactly, else the answer is meant for
/// another authorization server's flow.
pub(super) fn read(query: &str, issuer: &str) -> Query {
    let mut code = Parameter::default();
    let mut state = Parameter::default();
    let mut error = Parameter::default();
    let mut iss = Parameter::default();
    let mut count = 0_usize;
    for (name, value) in form_urlencoded::parse(query.as_bytes()).take(PARAMETERS_MAX.saturating_add(1)) {
        count = count.saturating_add(1);
        match name.as_ref() {
            "code" => code.take(&value),
            "state" => state.take(&value),
            "error" => error.take(&value),
            "iss" => iss.take(&value),
            _ => {}
        }
    }
    let is_foreign = iss.is_at_fault || iss.value.as_deref().is_some_and(|iss| iss != issuer);
    let is_at_fault =
        count > PARAMETERS_MAX || is_foreign || [&code, &state, &error].iter().any(|parameter| parameter.is_at_fault);
    let params = if is_at_fault {
        // The state alone: enough to record whose callback it was, too little to consume anything.
        CallbackParams { state: state.accepted(), code: None, error: None }
    } else {
        CallbackParams { code: code.value.map(AuthorizationCode::new), state: state.value, error: error.value }
    };
    Query { params, is_at_fault }
}

#[derive(Default)]
struct Parameter {
    value: Option<String>,
    is_seen: bool,
    is_at_fault: bool,
}

impl Parameter {
    fn take(&mut self, value: &str) {
        self.is_at_fault |= self.is_seen || value.len() > VALUE_BYTES_MAX;
        self.is_seen = true;
        if !self.is_at_fault && !value.is_empty() {
            self.value = Some(value.to_owned());
        }
    }

    fn accepted(self) -> Option<String> {
        self.value.filter(|_| !self.is_at_fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://provider.example";

    #[test]
    fn each_parameter_is_read_once_and_unknown_ones_are_ignored() {
        let read = read("code=c%20d&state=s&x=1&x=2&iss=https%3A%2F%2Fprovider.example", ISSUER);
        assert!(!read.is_at_fault);
        assert_eq!(read.params.code.as_ref().map(AuthorizationCode::expose), Some("c d"));
        assert_eq!(read.params.state.as_deref(), Some("s"));
        assert_eq!(read.params.error, None);
    }

    #[test]
    fn an_empty_parameter_counts_as_left_out() {
        let read = read("code=&state=&error=&iss=", ISSUER);
        assert!(!read.is_at_fault);
        assert!(read.params.code.is_none() && read.params.state.is_none() && read.params.error.is_none());
    }

    #[test]
    fn a_parameter_at_fault_leaves_nothing_that_could_be_consumed() {
        let long = "a".repeat(VALUE_BYTES_MAX + 1);
        let many = "x=1&".repeat(PARAMETERS_MAX);
        for query in [
            "state=s&code=a&code=a".to_owned(),
            "state=s&code=&code=a".to_owned(),
            "state=s&code=a&cod%65=b".to_owned(),
            "state=s&state=s&code=a".to_owned(),
            "state=s&error=a&error=b".to_owned(),
            "state=s&code=a&iss=https%3A%2F%2Fprovider.example%2F".to_owned(),
            "state=s&code=a&iss=https%3A%2F%2Fprovider.example&iss=https%3A%2F%2Fprovider.example".to_owned(),
            format!("state=s&code={long}"),
            format!("state={long}&code=a"),
            format!("state=s&error={long}"),
            format!("state=s&{many}code=a"),
        ] {
            let read = read(&query, ISSUER);
            assert!(read.is_at_fault, "{query}");
            assert!(read.params.code.is_none() && read.params.error.is_none(), "{query}");
            assert!(read.params.state.as_deref().is_none_or(|state| state == "s"), "{query}");
        }
        assert_eq!(super::read("state=s&state=t", ISSUER).params.state, None);
    }
}
