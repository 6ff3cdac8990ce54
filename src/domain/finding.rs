//! What a look at an installation found: one line for each check.

/// How a check ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and somebody should look at it.
    Warn,
    /// It does not work.
    Fail,
}

impl Verdict {
    /// The word that people and programs read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// What one check found. Holds no secret: neither text ever quotes what is in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What was checked, such as `keyring`.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What is so.
    pub what: String,
    /// How to mend it; empty when there is nothing to mend.
    pub mend: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), mend: String::new() }
    }

    /// It works, for now.
    pub fn warn(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), mend: mend.into() }
    }

    /// It does not work.
    pub fn fail(check: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), mend: mend.into() }
    }
}
