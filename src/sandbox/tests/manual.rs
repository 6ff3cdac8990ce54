//! The manual as its reader uses it: every curl command of `docs/sandbox.md` is sent, in order, and has to succeed.
//!
//! What the reader of the commands does not understand fails; so a new example is one that runs.

use std::collections::BTreeMap;

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::support::{Browser, PASSWORD, World, parameters};

const MANUAL: &str = "docs/sandbox.md";
/// Commands that are no requests: how it is installed and started, and the means to read a value out of an answer.
const NO_REQUESTS: [&str; 3] = ["strongroom ", "cargo install ", "value() "];
/// Options of curl that take a value, and those that take none.
const OPTIONS: [&str; 3] = ["-X", "-d", "-H"];
const FLAGS: [&str; 1] = ["-s"];
/// The state after the first journey, to which each later block goes back.
const JOURNEY: &str = "/snapshots/journey";

/// The commands of each `sh` block, a line with its continuations as one, under the heading of the second level that it follows.
fn blocks(text: &str) -> Vec<(String, Vec<String>)> {
    let (mut blocks, mut heading, mut is_inside, mut begun) = (Vec::new(), String::new(), false, String::new());
    for line in text.lines() {
        match (is_inside, line) {
            (false, "```sh") => {
                is_inside = true;
                blocks.push((heading.clone(), Vec::new()));
            }
            (true, "```") => is_inside = false,
            (true, line) => match line.strip_suffix('\\') {
                Some(part) => begun.push_str(part),
                None => {
                    let command = std::mem::take(&mut begun) + line;
                    let is_command = !command.is_empty() && !command.starts_with('#');
                    blocks.last_mut().unwrap().1.extend(is_command.then_some(command));
                }
            },
            (false, line) => {
                if let Some(title) = line.strip_prefix("## ") {
                    title.clone_into(&mut heading);
                }
            }
        }
    }
    blocks
}

/// The words of a command as a shell has them, up to a comment; `$name` is looked up but in single quotes.
fn words(command: &str, known: &BTreeMap<&str, String>) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut rest = command.chars().peekable();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (None, ' ') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == next => quote = None,
            (None | Some('"'), '$') => {
                let mut name = String::new();
                while let Some(letter) = rest.next_if(|next| next.is_ascii_lowercase() || *next == '_') {
                    name.push(letter);
                }
                let value = known.get(name.as_str()).unwrap_or_else(|| panic!("{command}: nobody knows {name}"));
                word.get_or_insert_default().push_str(value);
            }
            _ => word.get_or_insert_default().push(next),
        }
    }
    assert_eq!(quote, None, "{command}");
    words.extend(word);
    words
}

/// Sends what a curl command says; the answer, which must be a success.
async fn curl(world: &World, command: &str, words: &[String]) -> Value {
    let (mut method, mut url, mut headers, mut data) = (None, None, Vec::new(), Vec::new());
    let mut rest = words.iter().map(String::as_str);
    while let Some(word) = rest.next() {
        match word {
            ">" => drop(rest.next()),
            flag if FLAGS.contains(&flag) => {}
            option if OPTIONS.contains(&option) => match (option, rest.next().unwrap()) {
                ("-X", name) => method = Some(name),
                ("-d", text) => data.push(text),
                (_, header) => headers.push(header.split_once(": ").unwrap()),
            },
            word => assert!(url.replace(word).is_none() && word.starts_with("http://"), "{command}: {word}"),
        }
    }
    let method = method.unwrap_or(if data.is_empty() { "GET" } else { "POST" });
    let mut request = world.client.request(method.parse().unwrap(), url.unwrap());
    if !data.is_empty() {
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(data.join("&"));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let answer = world.send(request).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text);
    answer.json()
}

/// What a person does in a browser at this address; the code that comes back.
async fn code(world: &World, url: &str) -> String {
    let mut browser = Browser::new(world, url.to_owned());
    let person = [("email", "eve@shop.example"), ("password", PASSWORD), ("first_name", "Eve"), ("last_name", "Low")];
    browser.submit(&[&[("form", "register")], &person[..]].concat()).await;
    let back = browser.submit(&[("form", "consent"), ("decision", "grant")]).await;
    parameters(&back).into_iter().find(|(name, _)| name == "code").unwrap().1
}

#[tokio::test]
async fn every_request_of_the_manual_does_what_it_says() {
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(MANUAL)).unwrap();
    let world = World::start().await;
    let endpoints = world.sandbox.endpoints().clone();
    let mut known = BTreeMap::from([
        ("api", endpoints.api),
        ("control", endpoints.control),
        ("client_id", endpoints.client_id),
        ("client_secret", endpoints.client_secret),
    ]);
    let (mut account, mut granted, mut sent) = (String::new(), String::new(), 0);
    for (heading, commands) in blocks(&text) {
        if heading != "A first journey" && !account.is_empty() {
            world.control("POST", &format!("{JOURNEY}/restore"), Value::Null).await;
        }
        for command in commands {
            if let Some(list) = command.strip_prefix("scope=") {
                known.insert("scope", list.to_owned());
            } else if command.starts_with("curl ") {
                let command = command.replace("/ID/", &format!("/{account}/")).replace("code=CODE", &granted);
                let answer = curl(&world, &command, &words(&command, &known)[1..]).await;
                if command.contains("> ada.json") {
                    known.insert("token", answer["access_token"].as_str().unwrap().to_owned());
                    known.insert("user", answer["user_id"].to_string());
                }
                if command.contains("/account/create") {
                    account = answer["account_id"].to_string();
                }
                if command.contains("/account/find") {
                    assert_eq!(
                        (&answer[0]["state"], answer[0]["account_id"].to_string()),
                        (&json!("action_required"), account.clone())
                    );
                    world.control("POST", JOURNEY, Value::Null).await;
                }
                sent += 1;
            } else if command.starts_with("echo ") {
                granted = format!("code={}", code(&world, &words(&command, &known)[1]).await);
            } else {
                let is_assignment = ["api=", "client_id=", "token="].iter().any(|name| command.starts_with(name));
                assert!(is_assignment || NO_REQUESTS.iter().any(|other| command.starts_with(other)), "{command}");
            }
        }
    }
    assert!(sent > 20 && !granted.is_empty(), "{sent} requests");
}

#[test]
fn commands_are_read_as_a_shell_reads_them() {
    let known = BTreeMap::from([("a", "1 2".to_owned())]);
    for (command, wanted) in [
        ("curl -s $a/b", &["curl", "-s", "1 2/b"][..]),
        ("x 'a $a' \"b $a\" c\"d e\"f '' # g", &["x", "a $a", "b 1 2", "cd ef", ""]),
    ] {
        assert_eq!(words(command, &known), wanted);
    }
    let text = "## H\n```sh\n# a\nb \\\n c\n\nd\n```\ne\n```sh\nf\n```";
    let wanted = [("H", &["b  c", "d"][..]), ("H", &["f"])];
    let wanted =
        wanted.map(|(heading, commands)| (heading.to_owned(), commands.iter().map(|&line| line.into()).collect()));
    assert_eq!(blocks(text), wanted);
}
