//! The story: a merchant connects, another is registered and gets accounts, one service gets their tokens and no other, and what
//! could go wrong does.
//!
//! Each step has a stable name, under which the demo fails when what the step claims does not hold. What a step says was read
//! from an answer of the API, from a page, or from the sandbox's call log, never from the product's own state.

mod accounts;
mod callers;
mod connect;
mod journey;
mod proof;
mod provider;
mod refuse;
mod register;
mod renew;

use std::io::{self, Write};

use self::callers::Callers;
use self::journey::Shop;
use self::proof::Evidence;
use self::provider::Provider;
use super::Site;
use crate::v1::Account;

/// The first step that did not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("step {step} does not hold: expected {expected}; saw {seen}")]
pub struct Failure {
    /// The step's stable name.
    pub step: &'static str,
    /// What was expected.
    pub expected: String,
    /// What was seen. No secret.
    pub seen: String,
}

/// What did not hold, before it is known in which step. No secret.
#[derive(Debug)]
struct Unmet {
    expected: String,
    seen: String,
}

type Checked<T> = Result<T, Unmet>;

impl Unmet {
    fn new(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { expected: expected.into(), seen: seen.into() }
    }
}

/// Goes on only if it holds.
fn ensure(holds: bool, expected: &str, seen: impl FnOnce() -> String) -> Checked<()> {
    if holds { Ok(()) } else { Err(Unmet::new(expected, seen())) }
}

/// Tells the story from beginning to end.
///
/// # Errors
/// The first step that does not hold, or [`Failure`] with step `output` when `out` cannot be written.
pub async fn tell(site: &Site, out: &mut dyn Write) -> Result<(), Failure> {
    let mut teller = Teller { out, number: 0 };
    teller.line("Strongroom: merchants come in at a payment provider, and one service gets their tokens.")?;
    teller.line(
        "Everything below runs in this process: the product, a sandbox as the provider, and a browser as the merchant.",
    )?;
    teller.line("")?;
    let mut story = teller.step("start", Story::begin(site).await)?;
    teller.step("connect", story.connect().await)?;
    teller.step("held-until-confirmed", story.held_until_confirmed().await)?;
    teller.step("payments-reads", story.payments_reads().await)?;
    teller.step("stranger-refused", story.others_are_refused().await)?;
    teller.step("second-authorization-refused", story.second_authorization_is_refused().await)?;
    teller.step("callback-bound-and-single-use", story.callback_is_bound_and_single_use().await)?;
    teller.step("revoked-is-dead", story.revoked_is_dead().await)?;
    teller.step("reauthorized", story.reauthorized().await)?;
    teller.step("wrong-user-consent", story.wrong_user_consent().await)?;
    teller.step("registered", story.registered().await)?;
    teller.step("known-email-linked", story.known_email_is_linked().await)?;
    teller.step("confirmed-without-loss", story.confirmed_without_loss().await)?;
    teller.step("bad-name-refused", story.bad_name_is_refused().await)?;
    teller.step("second-account-no-new-token", story.second_account_needs_no_new_token().await)?;
    teller.step("read-by-account", story.read_by_account().await)?;
    teller.step("lost-answer-found-once", story.lost_answer_is_found_once().await)?;
    teller.step("trails-verify", story.trails_verify().await)?;
    teller.step("nothing-in-clear", story.nothing_in_clear())?;
    teller.line("")?;
    teller.line(
        "All steps held. The same calls are open to you: see `strongroom dev` and the file dev.json that it writes.",
    )
}

/// Everything the story remembers from step to step.
struct Story<'a> {
    site: &'a Site,
    callers: Callers,
    provider: Provider,
    bakery: Shop,
    books: Shop,
    stall: Shop,
    /// Accounts of the stall, oldest first.
    accounts: Vec<Account>,
    evidence: Evidence,
}

impl<'a> Story<'a> {
    async fn begin(site: &'a Site) -> Checked<Self> {
        let dev = site.dev();
        let provider = Provider::new(dev).await?;
        for fault in site.faults() {
            provider.script(fault.clone()).await?;
        }
        Ok(Self {
            site,
            callers: Callers::new(dev)?,
            provider,
            bakery: Shop::bakery(dev)?,
            books: Shop::books(dev)?,
            stall: Shop::stall(dev)?,
            accounts: Vec::new(),
            evidence: Evidence::default(),
        })
    }
}

/// What a step did and proved, in a line each.
struct Told {
    did: String,
    proved: String,
}

impl Told {
    fn new(did: impl Into<String>, proved: impl Into<String>) -> Self {
        Self { did: did.into(), proved: proved.into() }
    }
}

/// What a step leaves behind for the reader.
trait Tellable {
    fn told(&self) -> Option<&Told>;
}

impl Tellable for Told {
    fn told(&self) -> Option<&Told> {
        Some(self)
    }
}

impl Tellable for Story<'_> {
    fn told(&self) -> Option<&Told> {
        None
    }
}

struct Teller<'a> {
    out: &'a mut dyn Write,
    number: u32,
}

impl Teller<'_> {
    fn step<T: Tellable>(&mut self, step: &'static str, result: Checked<T>) -> Result<T, Failure> {
        let done = result.map_err(|Unmet { expected, seen }| Failure { step, expected, seen })?;
        if let Some(told) = done.told() {
            self.number += 1;
            self.line(&format!("{:>2}. {}", self.number, told.did))?;
            self.line(&format!("    {}", told.proved))?;
        }
        Ok(done)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        let written = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
        written.map_err(|error: io::Error| Failure {
            step: "output",
            expected: "a place to tell the story".to_owned(),
            seen: error.to_string(),
        })
    }
}
