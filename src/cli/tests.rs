//! The command line as a whole: what parses and what does not, how answers and failures are printed.

use std::collections::HashMap;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

/// The way main mounts the commands.
#[derive(Debug, Parser)]
#[command(name = "strongroom")]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

fn parse(line: &str) -> Result<Line, clap::Error> {
    Line::try_parse_from(std::iter::once("strongroom").chain(line.split(' ').filter(|word| !word.is_empty())))
}

const MER: &str = "mer_0190f3c7111172228333444455556666";
const CON: &str = "con_0190f3c7111172228333444455556666";
const ACC: &str = "acc_0190f3c7111172228333444455556666";
const LNK: &str = "lnk_0190f3c7111172228333444455556666";

#[test]
fn the_command_line_is_consistent() {
    Line::command().debug_assert();
}

#[test]
fn good_command_lines_parse() {
    for line in [
        "merchant list",
        "merchant list --label eu --held --next-action reconnect --limit 10000 --json",
        "merchant show shop-17 --dev state --as admin",
        &format!("merchant show {MER}"),
        "merchant show external:mer_shop",
        "merchant connect shop-17",
        "merchant connect shop-17 --name Ada --email a@b.example --user-name Ada --label eu --label vip --return-url https://p/x --request-id r1",
        &format!("merchant confirm {MER} value"),
        &format!("merchant confirm {MER} -"),
        &format!("merchant resolve {LNK} --activate --reason why"),
        &format!("merchant resolve {LNK} --reason why --close --request-id r1"),
        "token get shop-17",
        "token get shop-17 --show",
        &format!("token get --subject 4711 --min-version {CON}:3 --out token"),
        "token versions shop-17",
        &format!("token get --account {ACC}"),
        "token get --account 1723052 --show",
        "account create shop-17 Ada --description books",
        "account create shop-17 Ada --description books --kind business --country CA --wait 0 --request-id r1 --json",
        &format!("account update {ACC} --name Ada"),
        &format!("account update {ACC} --name Ada --description books --request-id r1"),
        "account list",
        "account list shop-17 --limit 10000",
        &format!("account get {ACC} --refresh"),
        "account get 1723052",
        "account check-name Ada --dba Ada",
        &format!("token report {CON}:3 --code 1011"),
        &format!("token report {CON}:3 --code 1011 --status 401 --description revoked --request-id r1"),
        "token verify shop-17 --request-id r1",
        "access explain --caller spiffe://p.example/payments",
        "access explain --merchant shop-17 --action token.read",
        "audit verify",
        "audit verify --file x --public-key y",
        "audit verify --save x",
        "audit public-key",
        "names check Bakery --json",
        "names check --from names.txt --dba Bakery --platform-pattern ORD- --platform-pattern T##",
        "--address h:1 --ca a --cert b --key c --server-name s audit public-key",
        "audit --json public-key",
    ] {
        if let Err(refused) = parse(line) {
            panic!("{line}: {refused}");
        }
    }
}

#[test]
fn bad_command_lines_are_refused() {
    for line in [
        "",
        "merchant",
        "merchant list --limit 0",
        "merchant list --limit 10001",
        "merchant list --next-action dance",
        "merchant show",
        "merchant show mer_17",
        "merchant show external:",
        "merchant connect",
        "merchant confirm shop-17 value",
        &format!("merchant confirm {MER}"),
        &format!("merchant resolve {LNK} --reason why"),
        &format!("merchant resolve {LNK} --activate --close --reason why"),
        &format!("merchant resolve {LNK} --activate"),
        &format!("merchant resolve {MER} --activate --reason why"),
        "token get",
        "token get shop-17 --subject 4711",
        "token get shop-17 --account 17",
        "account create shop-17 Ada",
        "account create shop-17 Ada --description books --country GB",
        "account create shop-17 Ada --description books --wait 601",
        &format!("account update {ACC}"),
        "account update 1723052 --name Ada",
        "account get acc_17",
        "account list --limit 0",
        "account check-name",
        "token get shop-17 --show --out file",
        &format!("token get shop-17 --min-version {CON}"),
        &format!("token get shop-17 --min-version {CON}:0"),
        &format!("token get shop-17 --min-version {CON}:-1"),
        &format!("token get shop-17 --min-version {MER}:1"),
        &format!("token report {CON}:3"),
        &format!("token report {CON}:3 --code 1011 --status 99"),
        "access explain",
        "access explain --action token.read",
        "audit verify --file x --save y",
        "audit",
        "names",
        "names check",
        "names check Bakery --from names.txt",
    ] {
        let code = parse(line).err().map(|refused| refused.exit_code());
        assert_eq!(code, Some(2), "{line}");
    }
}

#[test]
fn flags_of_the_connection_do_not_swallow_flags_of_commands() {
    let line = parse("access explain --caller spiffe://p.example/x --as admin").unwrap();
    assert_eq!(line.global.as_name.as_deref(), Some("admin"));
    let line = parse("audit verify --public-key abc").unwrap();
    assert_eq!(line.global.key, None);
}

#[test]
fn every_command_says_what_it_does() {
    let mut root = Line::command();
    root.build();
    for group in root.get_subcommands().filter(|group| group.get_name() != "help") {
        assert!(group.get_about().is_some(), "{}", group.get_name());
        assert!(group.get_after_help().is_some_and(|help| help.to_string().contains("Exit codes")));
        for command in group.get_subcommands().filter(|command| command.get_name() != "help") {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 20, "{} {}: {about}", group.get_name(), command.get_name());
            // A flattened group of arguments must not speak for the command.
            assert!(
                !about.contains("request id") && !about.starts_with("Which ") && !about.starts_with("What to "),
                "{about}"
            );
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }
}

fn refusal() -> Status {
    let metadata =
        HashMap::from([("seen".to_owned(), "2026-01-02T03:04:05Z".to_owned()), ("by".to_owned(), "probe".to_owned())]);
    let mut details = ErrorDetails::new();
    details.set_error_info("TOKEN_STILL_LIVE", "strongroom", metadata);
    details.set_retry_info(Some(Duration::from_millis(2_500)));
    details.add_bad_request_violation("external_id", "too long");
    Status::with_error_details(Code::FailedPrecondition, "a live token exists", details)
}

#[test]
fn a_refusal_is_printed_with_everything_it_carries() {
    let failure = Failure::mutating(refusal(), "r1");
    assert_eq!(failure.exit_code(), 5);
    assert_eq!(
        failure.print(false),
        "error: a live token exists\n  \
         code               FAILED_PRECONDITION\n  \
         reason             TOKEN_STILL_LIVE\n  \
         by                 probe\n  \
         seen               2026-01-02T03:04:05Z\n  \
         field external_id  too long\n  \
         retry after        3 s"
    );
    assert_eq!(
        serde_json::from_str::<Value>(&failure.print(true)).unwrap(),
        json!({"error": {
            "code": "FAILED_PRECONDITION", "reason": "TOKEN_STILL_LIVE", "message": "a live token exists",
            "metadata": {"seen": "2026-01-02T03:04:05Z", "by": "probe"}, "retry_after_s": 3,
            "field_violations": [{"field": "external_id", "description": "too long"}], "cause": null, "request_id": "r1",
        }})
    );
}

#[test]
fn a_broken_call_that_changes_something_says_how_to_repeat_it() {
    let printed = Failure::mutating(Status::unavailable("gone"), "r1").print(false);
    assert!(printed.contains("repeat with  --request-id r1"), "{printed}");
    for reason in ["ACCOUNT_UNRESOLVED", "ATTEMPT_UNRESOLVED"] {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "strongroom", HashMap::new());
        let unresolved = Status::with_error_details(Code::FailedPrecondition, "not known yet", details);
        let printed = Failure::mutating(unresolved, "r1").print(false);
        assert!(printed.contains("--request-id r1"), "{printed}");
    }
    assert!(!Failure::mutating(refusal(), "r1").print(false).contains("repeat"));
    assert!(!Failure::mutating(Status::not_found("no"), "r1").print(false).contains("repeat"));
}

#[test]
fn each_class_of_error_has_its_exit_code() {
    for (code, expected) in [
        (Code::InvalidArgument, 2),
        (Code::Unauthenticated, 3),
        (Code::PermissionDenied, 3),
        (Code::NotFound, 4),
        (Code::FailedPrecondition, 5),
        (Code::Unavailable, 6),
        (Code::ResourceExhausted, 6),
        (Code::DeadlineExceeded, 6),
        (Code::AlreadyExists, 1),
        (Code::Aborted, 1),
        (Code::DataLoss, 1),
        (Code::Internal, 1),
        (Code::Unknown, 1),
    ] {
        assert_eq!(Failure::from(Status::new(code, "x")).exit_code(), expected, "{code:?}");
    }
    assert_eq!(Failure::Usage(String::new()).exit_code(), 2);
    assert_eq!(Failure::Connect { address: String::new(), fault: String::new() }.exit_code(), 6);
}

#[test]
fn no_text_of_the_server_reaches_the_terminal_unescaped() {
    let hostile = "a\nb\u{1b}[2J\u{9b}\u{202e}";
    for json in [false, true] {
        let printed = Failure::from(Status::internal(hostile)).print(json);
        assert!(!printed.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{printed:?}");
    }
    assert_eq!(text::plain(hostile), "a\\u{a}b\\u{1b}[2J\\u{9b}\\u{202e}");
    assert_eq!(text::plain("Äda 😀"), "Äda 😀");
}

/// A writer that fails with this.
struct Failing(io::ErrorKind);

impl Write for Failing {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn answer(holds: bool) -> Answer {
    Answer { holds, warning: Some("careful".to_owned()), ..Answer::new(json!({"a": "é"}), "text\n".to_owned()) }
}

#[test]
fn answers_go_to_standard_output_and_warnings_to_standard_error() {
    for (json, expected) in [(false, "text\n"), (true, "{\"a\":\"\\u00e9\"}\n")] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(report(&Ok(answer(true)), json, &mut out, &mut err), 0);
        assert_eq!((String::from_utf8(out).unwrap().as_str(), err.as_slice()), (expected, &b"WARNING: careful\n"[..]));
    }
    assert_eq!(report(&Ok(answer(false)), false, &mut Vec::new(), &mut Vec::new()), 1);
}

#[test]
fn a_reader_who_went_away_changes_nothing_and_a_full_disk_does() {
    let pipe = || Failing(io::ErrorKind::BrokenPipe);
    let mut err = Vec::new();
    assert_eq!(report(&Ok(answer(true)), false, &mut pipe(), &mut Vec::new()), 0);
    assert_eq!(report(&Ok(answer(false)), false, &mut pipe(), &mut Vec::new()), 1);
    assert_eq!(report(&Err(Status::not_found("x").into()), false, &mut Vec::new(), &mut pipe()), 4);
    assert_eq!(report(&Ok(answer(true)), false, &mut Failing(io::ErrorKind::StorageFull), &mut err), 1);
    assert!(String::from_utf8(err).unwrap().contains("cannot write the answer"));
}

#[test]
fn merchants_are_named_by_either_id() {
    use owner::{MerchantName, parse_merchant};
    assert_eq!(parse_merchant(MER), Ok(MerchantName::Id(MER.parse().unwrap())));
    assert_eq!(parse_merchant("shop-17"), Ok(MerchantName::External("shop-17".to_owned())));
    assert_eq!(parse_merchant("external:mer_x"), Ok(MerchantName::External("mer_x".to_owned())));
    assert!(parse_merchant("mer_x").unwrap_err().contains("external:mer_x"));
}

#[test]
fn request_ids_are_drawn_unless_given() {
    let drawn = request::RequestId::default();
    assert_ne!(drawn.choose(), drawn.choose());
    assert!(drawn.choose().len() <= 64, "the API's limit");
}
