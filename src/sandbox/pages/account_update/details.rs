//! What the update page asks for, and whether an answer will do.
//!
//! The real page asks for real people's data; this one asks for invented data, and refuses what could be a real bank account or
//! employer's number. Which fields there are is inferred from what the law asks of a payment provider.

use super::prefill;
use crate::domain::ambient::Timestamp;
use crate::sandbox::pages::visit::Form;
use crate::sandbox::protocol::TEXT_MAX;
use crate::sandbox::state::{Account, AccountState, DisabledReason, KycState};

/// Digits of an American routing number.
const ROUTING_DIGITS: usize = 9;

/// Routing numbers that pass the check digit and are nevertheless no bank's: all zeros, and the one that payment providers
/// give out for tests.
const ROUTING_INVENTED: [&str; 2] = ["000000000", "110000000"];

/// Something that an account waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Who the owner is.
    Identity,
    /// Where the money goes.
    Bank,
}

impl Need {
    /// What this account waits for.
    pub(super) fn of(account: &Account) -> Vec<Self> {
        let standing = &account.standing;
        let is_mendable = match account.state {
            AccountState::ActionRequired => true,
            AccountState::Disabled => account.disabled_reason() == Some(DisabledReason::NoSettlementPath),
            AccountState::Pending | AccountState::Active | AccountState::Deleted => false,
        };
        let identity = (standing.kyc != KycState::Verified).then_some(Self::Identity);
        let bank = standing.bank.is_none().then_some(Self::Bank);
        identity.into_iter().chain(bank).filter(|_| is_mendable).collect()
    }

    /// What the person is asked for.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Identity => "Who owns it",
            Self::Bank => "A bank account for the payouts",
        }
    }
}

/// Fields that belong together.
pub(super) struct Group {
    pub(super) legend: &'static str,
    pub(super) fields: Vec<Field>,
}

impl Group {
    /// Whether something in it is wrong.
    pub(super) fn has_problem(&self) -> bool {
        self.fields.iter().any(|field| !field.problem.is_empty())
    }
}

/// A field with what was typed.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    /// Its type in HTML.
    pub(super) kind: &'static str,
    pub(super) autocomplete: &'static str,
    pub(super) is_number: bool,
    /// Shares its line with another.
    pub(super) is_half: bool,
    pub(super) value: String,
    pub(super) problem: &'static str,
}

impl Field {
    /// The ids of what explains it.
    pub(super) fn described_by(&self) -> String {
        let of = |text: &str, what: &str| (!text.is_empty()).then(|| format!("update-{}-{what}", self.name));
        let ids = [of(self.hint, "hint"), of(self.problem, "problem")];
        ids.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

/// How a field is made and checked.
struct Rule {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: &'static str,
    autocomplete: &'static str,
    is_number: bool,
    is_half: bool,
    /// What is wrong with a value that is there; empty for nothing.
    check: fn(&str, Timestamp) -> &'static str,
}

impl Rule {
    const fn text(name: &'static str, label: &'static str, autocomplete: &'static str) -> Self {
        Self { name, label, hint: "", kind: "text", autocomplete, is_number: false, is_half: false, check: |_, _| "" }
    }

    const fn number(
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        check: fn(&str, Timestamp) -> &'static str,
    ) -> Self {
        Self { name, label, hint, kind: "text", autocomplete: "off", is_number: true, is_half: false, check }
    }

    fn field(&self, account: &Account, now: Timestamp, form: Option<&Form>) -> Field {
        let value = match form {
            Some(form) => form.field(self.name).trim().to_owned(),
            None => prefill::value(account, self.name),
        };
        let problem = match form {
            None => "",
            Some(_) if value.is_empty() => "This is needed.",
            Some(_) if value.chars().count() > TEXT_MAX => "That is too long.",
            Some(_) => (self.check)(&value, now),
        };
        let Self { name, label, hint, kind, autocomplete, is_number, is_half, .. } = *self;
        Field { name, label, hint, kind, autocomplete, is_number, is_half, value, problem }
    }
}

/// Digits of an account number that its masked name shows (WePay API docs, account page: `WellsFargo XXXXX3102`).
const SHOWN_DIGITS: usize = 4;

/// A bank account as the account's look-up names it.
pub(super) fn masked(bank_name: &str, account_number: &str) -> String {
    let number = account_number.trim();
    let hidden = number.chars().count().saturating_sub(SHOWN_DIGITS);
    format!("{} XXXXX{}", bank_name.trim(), number.chars().skip(hidden).collect::<String>())
}

/// The fields for what an account needs, with what the app told of its owner; with a form, filled in and checked.
pub(super) fn groups(account: &Account, needs: &[Need], now: Timestamp, form: Option<&Form>) -> Vec<Group> {
    let of = |need: &Need| {
        let (legend, rules) = match need {
            Need::Identity => identity(&account.kind),
            Need::Bank => ("Bank account", bank(&account.country)),
        };
        Group { legend, fields: rules.iter().map(|rule| rule.field(account, now, form)).collect() }
    };
    needs.iter().map(of).collect()
}

/// Who the owner is: a person, or an organisation.
fn identity(kind: &str) -> (&'static str, Vec<Rule>) {
    let born = Rule {
        kind: "date",
        hint: "Any day in the past.",
        check: date_of_birth,
        ..Rule::text("date_of_birth", "Date of birth", "bday")
    };
    let ein =
        Rule::number("ein", "Employer identification number (EIN)", "Two zeros, then seven digits: 00-1234567.", ein);
    let (legend, first, second) = match kind {
        "personal" => ("About you", Rule::text("legal_name", "Legal name", "name"), born),
        _ => {
            ("About the organization", Rule::text("legal_name", "Legal name of the organization", "organization"), ein)
        }
    };
    let address = [
        Rule::text("address", "Street and number", "street-address"),
        Rule::text("city", "City", "address-level2"),
        Rule { is_half: true, ..Rule::text("region", "State or region", "address-level1") },
        Rule { is_half: true, ..Rule::text("postal_code", "Postal code", "postal-code") },
    ];
    (legend, [first, second].into_iter().chain(address).collect())
}

/// Where the money goes, as the account's country writes it.
fn bank(country: &str) -> Vec<Rule> {
    let routing = match country {
        "CA" => {
            Rule::number("routing_number", "Transit and institution number", "Eight digits, invented.", |value, _| {
                if is_digits(value, 8, 8) { "" } else { "Eight digits are needed." }
            })
        }
        "GB" => Rule::number("routing_number", "Sort code", "Six digits, invented.", |value, _| {
            if is_digits(value, 6, 6) { "" } else { "Six digits are needed." }
        }),
        _ => Rule::number(
            "routing_number",
            "Routing number",
            "Nine digits: 000000000, or any that no bank can have.",
            routing_number,
        ),
    };
    let account = Rule::number("account_number", "Account number", "4 to 17 digits, invented.", |value, _| {
        if is_digits(value, 4, 17) { "" } else { "4 to 17 digits are needed." }
    });
    vec![Rule::text("bank_name", "Name of the bank", "off"), routing, account]
}

fn is_digits(text: &str, from: usize, to: usize) -> bool {
    (from..=to).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A day that has been.
fn date_of_birth(value: &str, now: Timestamp) -> &'static str {
    match Timestamp::parse_rfc3339(&format!("{value}T00:00:00Z")) {
        Some(born) if born < now => "",
        Some(_) => "That day has not been yet.",
        None => "A date such as 1980-12-31 is needed.",
    }
}

/// No employer has a number that begins with two zeros (IRS, list of valid EIN prefixes).
fn ein(value: &str, _: Timestamp) -> &'static str {
    let digits = value.replace('-', "");
    match is_digits(&digits, 9, 9) {
        true if digits.starts_with("00") => "",
        true => "That could be a real one. Begin with two zeros.",
        false => "Nine digits are needed, such as 00-1234567.",
    }
}

/// A routing number that passes the check digit could be a real bank's (American Bankers Association: weights 3, 7, 1).
fn routing_number(value: &str, _: Timestamp) -> &'static str {
    if !is_digits(value, ROUTING_DIGITS, ROUTING_DIGITS) {
        return "Nine digits are needed.";
    }
    let weighted = value.bytes().zip([3_u32, 7, 1].into_iter().cycle());
    let sum: u32 = weighted.map(|(digit, weight)| u32::from(digit.saturating_sub(b'0')) * weight).sum();
    if sum.is_multiple_of(10) && !ROUTING_INVENTED.contains(&value) {
        return "That could be a real bank's. Take 000000000.";
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_700_000_000);

    #[test]
    fn what_could_be_a_real_bank_or_employer_is_refused() {
        for invented in ["000000000", "110000000", "123456789"] {
            assert_eq!(routing_number(invented, NOW), "", "{invented}");
        }
        for bad in ["021000021", "12345678", "1234567890", "12345678x", "٠٠٠٠٠٠٠٠٠"] {
            assert_ne!(routing_number(bad, NOW), "", "{bad}");
        }
        assert_eq!((ein("00-1234567", NOW), ein("001234567", NOW)), ("", ""));
        for bad in ["12-3456789", "00-123456", "", "00-12345x7"] {
            assert_ne!(ein(bad, NOW), "", "{bad}");
        }
    }

    #[test]
    fn a_date_of_birth_is_a_day_in_the_past() {
        assert_eq!((date_of_birth("1980-02-29", NOW), date_of_birth("1901-01-01", NOW)), ("", ""));
        for bad in ["2100-01-01", "1980-02-30", "yesterday", "1980-1-1", "31.12.1980"] {
            assert_ne!(date_of_birth(bad, NOW), "", "{bad}");
        }
    }

    #[test]
    fn each_kind_and_country_has_its_own_fields() {
        let names = |rules: Vec<Rule>| rules.iter().map(|rule| rule.name).collect::<Vec<_>>();
        assert!(names(identity("personal").1).contains(&"date_of_birth"));
        for kind in ["business", "nonprofit"] {
            assert!(names(identity(kind).1).contains(&"ein"), "{kind}");
        }
        for (country, routing) in [("US", "000000000"), ("CA", "00000000"), ("GB", "000000")] {
            let rule = bank(country).into_iter().find(|rule| rule.name == "routing_number").unwrap();
            assert_eq!((rule.check)(routing, NOW), "", "{country}");
            assert_ne!((rule.check)("1", NOW), "", "{country}");
        }
    }
}
