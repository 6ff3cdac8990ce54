//! What is asked for, and how attempts look.

use clap::{Parser, ValueEnum as _};

use super::*;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: AttemptCommand,
}

fn list(words: &str) -> List {
    let words = ["attempt", "list"].into_iter().chain(words.split(' ').filter(|word| !word.is_empty()));
    let AttemptCommand::List(list) = Line::try_parse_from(words).unwrap_or_else(|refused| panic!("{refused}")).command;
    list
}

fn attempt() -> v1::Attempt {
    let connection_id = "con_0190f3c7111172228333444455556666".to_owned();
    v1::Attempt {
        attempt_id: "att_0190f3c7111172228333444455557777".into(),
        kind: v1::AttemptKind::Exchange.into(),
        state: v1::AttemptState::Committed.into(),
        merchant_id: "mer_0190f3c7111172228333444455558888".into(),
        receive_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 0 }),
        version: Some(v1::TokenVersionRef { connection_id, version: 2 }),
        ..Default::default()
    }
}

#[test]
fn every_option_becomes_its_filter() {
    let request = list("--merchant shop-17 --state in_doubt --kind register --open --limit 5").request("next".into());
    let expected = v1::ListAttemptsRequest {
        page_size: 5,
        page_token: "next".into(),
        merchant: Some(v1::list_attempts_request::Merchant::ExternalId("shop-17".into())),
        state: v1::AttemptState::InDoubt.into(),
        kind: v1::AttemptKind::Register.into(),
        open: true,
    };
    assert_eq!(request, expected);
    assert_eq!(list("").request(String::new()), v1::ListAttemptsRequest { page_size: 50, ..Default::default() });
}

#[test]
fn a_state_is_called_on_the_command_line_what_it_is_called_in_answers() {
    for state in State::value_variants() {
        let shown = text::attempt_state(v1::AttemptState::from(*state).into());
        assert_eq!(state.to_possible_value().unwrap().get_name(), shown);
    }
}

#[test]
fn an_attempt_is_a_row_and_one_line_for_programs() {
    assert_eq!(
        attempts_table(&list("").extent, &[attempt()]),
        "ATTEMPT        KIND      STATE      REASON  MERCHANT       TOKEN            RECEIVED              JUDGED FROM\n\
         att_…55557777  exchange  committed  —       mer_…55558888  con_…55556666:2  2027-01-15T08:00:00Z  —\n"
    );
    let wide = attempts_table(&list("--wide").extent, &[attempt()]);
    assert!(wide.contains("att_0190f3c7111172228333444455557777"), "{wide}");
    let value = attempt_to_json(&attempt());
    assert_eq!((&value["state"], &value["reason"]), (&json!("committed"), &Value::Null));
    assert_eq!(value["version"], json!({"connection_id": "con_0190f3c7111172228333444455556666", "version": 2}));
}
