//! The API as its callers see it: style, rules stated on every RPC, no secret printed, no change that breaks a caller.
//!
//! Everything is read from the descriptor set that the binary carries.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, ServiceDescriptor,
};
use strongroom::domain::trail::EventKind;
use strongroom::policy::ActionName;
use strongroom::v1;

const PACKAGE: &str = "strongroom.v1";

fn api() -> DescriptorPool {
    DescriptorPool::decode(v1::FILE_DESCRIPTOR_SET).unwrap()
}

fn files(pool: &DescriptorPool) -> impl Iterator<Item = FileDescriptor> + '_ {
    pool.files().filter(|file| !file.package_name().starts_with("google."))
}

fn messages(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> + '_ {
    pool.all_messages().filter(|message| !message.package_name().starts_with("google."))
}

fn enums(pool: &DescriptorPool) -> impl Iterator<Item = EnumDescriptor> + '_ {
    pool.all_enums().filter(|value| !value.package_name().starts_with("google."))
}

fn methods(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

// ---- style ----

/// `GetAccessToken` → `get_access_token`.
fn snake(pascal: &str) -> String {
    let mut snake = String::new();
    for (at, c) in pascal.char_indices() {
        if c.is_ascii_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn is_snake(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !name.contains("__")
        && !name.ends_with('_')
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_timestamp(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Timestamp")
}

/// What of buf's STANDARD (and of ours) the API breaks.
fn style_faults(pool: &DescriptorPool) -> Vec<String> {
    let mut faults = Faults::default();
    for file in files(pool) {
        let directory = Path::new(file.name()).parent().unwrap().to_str().unwrap().replace('/', ".");
        faults.unless(directory == file.package_name(), file.name(), "does not lie in its package's directory");
        let stem = Path::new(file.name()).file_stem().unwrap().to_str().unwrap();
        faults.unless(is_snake(stem), file.name(), "is not lower_snake_case");
        faults.unless(file.services().len() <= 1, file.name(), "has more than one service");
    }
    for message in messages(pool) {
        faults.unless(is_pascal(message.name()), message.full_name(), "is not PascalCase");
        faults.uncommented(&message.parent_file(), message.path(), message.full_name());
        for field in message.fields() {
            let name = field.full_name();
            faults.unless(is_snake(field.name()), name, "is not lower_snake_case");
            faults.unless(
                is_timestamp(&field) == field.name().ends_with("_time"),
                name,
                "_time is what a Timestamp is called",
            );
            faults.uncommented(&field.parent_file(), field.path(), name);
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            faults.unless(is_snake(oneof.name()), oneof.full_name(), "is not lower_snake_case");
            faults.uncommented(&oneof.parent_file(), oneof.path(), oneof.full_name());
        }
    }
    for an_enum in enums(pool) {
        let prefix = snake(an_enum.name()).to_ascii_uppercase() + "_";
        faults.unless(is_pascal(an_enum.name()), an_enum.full_name(), "is not PascalCase");
        faults.uncommented(&an_enum.parent_file(), an_enum.path(), an_enum.full_name());
        for value in an_enum.values() {
            let unspecified = value.name() == format!("{prefix}UNSPECIFIED");
            faults.unless(value.name().starts_with(&prefix), value.full_name(), "lacks its enum's prefix");
            faults.unless(unspecified == (value.number() == 0), value.full_name(), "_UNSPECIFIED is what 0 is called");
            faults.uncommented(&value.parent_file(), value.path(), value.full_name());
        }
    }
    for service in pool.services() {
        check_service(&service, &mut faults);
    }
    faults.0
}

fn check_service(service: &ServiceDescriptor, faults: &mut Faults) {
    let name = service.full_name();
    let file = service.parent_file();
    faults.unless(is_pascal(service.name()) && service.name().ends_with("Service"), name, "does not end in Service");
    faults.unless(
        file.name().ends_with(&format!("/{}.proto", snake(service.name()))),
        name,
        "is not in the file of its name",
    );
    faults.uncommented(&file, service.path(), name);
    for method in service.methods() {
        faults.unless(is_pascal(method.name()), method.full_name(), "is not PascalCase");
        let (input, output) = (method.input(), method.output());
        faults.unless(
            input.name() == format!("{}Request", method.name()),
            method.full_name(),
            "has no request of its own",
        );
        faults.unless(
            output.name() == format!("{}Response", method.name()),
            method.full_name(),
            "has no response of its own",
        );
        faults.uncommented(&file, method.path(), method.full_name());
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn unless(&mut self, holds: bool, name: &str, fault: &str) {
        if !holds {
            self.0.push(format!("{name} {fault}"));
        }
    }

    fn uncommented(&mut self, file: &FileDescriptor, path: &[i32], name: &str) {
        let commented =
            file.file_descriptor_proto().source_code_info.iter().flat_map(|info| &info.location).any(|at| {
                at.path == path && !format!("{}{}", at.leading_comments(), at.trailing_comments()).trim().is_empty()
            });
        self.unless(commented, name, "has no comment");
    }
}

#[test]
fn the_api_keeps_the_style_of_buf_standard_and_is_commented_throughout() {
    let pool = api();
    assert!(files(&pool).count() > 5 && messages(&pool).count() > 20, "the API was not found");
    assert_eq!(style_faults(&pool), Vec::<String>::new());
}

#[test]
fn each_break_of_style_is_found() {
    let text = |text: &str| Some(text.to_owned());
    let field = |name: &str, number, type_name: Option<&str>, oneof_index| FieldDescriptorProto {
        name: text(name),
        number: Some(number),
        r#type: Some(if type_name.is_some() { 11 } else { 9 }),
        type_name: type_name.map(Into::into),
        label: Some(1),
        oneof_index,
        ..Default::default()
    };
    let value = |name: &str, number| EnumValueDescriptorProto { name: text(name), number: Some(number), options: None };
    let method = MethodDescriptorProto {
        name: text("do_it"),
        input_type: text(".bad.v1.thing"),
        output_type: text(".bad.v1.thing"),
        ..Default::default()
    };
    let service = |name: &str| ServiceDescriptorProto { name: text(name), method: vec![method.clone()], options: None };
    let bad = FileDescriptorProto {
        name: text("elsewhere/BadFile.proto"),
        package: text("bad.v1"),
        syntax: text("proto3"),
        dependency: vec!["google/protobuf/timestamp.proto".into()],
        message_type: vec![DescriptorProto {
            name: text("thing"),
            field: vec![
                field("someField", 1, None, Some(0)),
                field("created", 2, Some(".google.protobuf.Timestamp"), None),
                field("read_time", 3, None, None),
            ],
            oneof_decl: vec![OneofDescriptorProto { name: text("Either"), options: None }],
            ..Default::default()
        }],
        enum_type: vec![EnumDescriptorProto {
            name: text("Color"),
            value: vec![value("COLOR_NONE", 0), value("RED", 1)],
            ..Default::default()
        }],
        service: vec![service("Doer"), service("Second")],
        ..Default::default()
    };
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(bad).unwrap();

    let expected = "\
        elsewhere/BadFile.proto does not lie in its package's directory\n\
        elsewhere/BadFile.proto is not lower_snake_case\n\
        elsewhere/BadFile.proto has more than one service\n\
        bad.v1.thing is not PascalCase\n\
        bad.v1.thing has no comment\n\
        bad.v1.thing.someField is not lower_snake_case\n\
        bad.v1.thing.someField has no comment\n\
        bad.v1.thing.created _time is what a Timestamp is called\n\
        bad.v1.thing.created has no comment\n\
        bad.v1.thing.read_time _time is what a Timestamp is called\n\
        bad.v1.thing.read_time has no comment\n\
        bad.v1.thing.Either is not lower_snake_case\n\
        bad.v1.thing.Either has no comment\n\
        bad.v1.Color has no comment\n\
        bad.v1.COLOR_NONE _UNSPECIFIED is what 0 is called\n\
        bad.v1.COLOR_NONE has no comment\n\
        bad.v1.RED lacks its enum's prefix\n\
        bad.v1.RED has no comment\n\
        bad.v1.Doer does not end in Service\n\
        bad.v1.Doer is not in the file of its name\n\
        bad.v1.Doer has no comment\n\
        bad.v1.Doer.do_it is not PascalCase\n\
        bad.v1.Doer.do_it has no request of its own\n\
        bad.v1.Doer.do_it has no response of its own\n\
        bad.v1.Doer.do_it has no comment\n";
    let found = style_faults(&pool).join("\n") + "\n";
    assert!(found.starts_with(expected), "{found}");
}

// ---- what every RPC states ----

/// The value of a method option of `rules.proto`; empty when it is absent.
fn option(method: &MethodDescriptor, name: &str) -> String {
    let extension = method.parent_pool().get_extension_by_name(&format!("{PACKAGE}.{name}")).unwrap();
    method.options().get_extension(&extension).as_str().unwrap().into()
}

fn rule_faults(pool: &DescriptorPool) -> Vec<String> {
    let stated = methods(pool)
        .into_iter()
        .map(|method| (method.full_name().to_owned(), option(&method, "policy_action"), option(&method, "audit_kind")));
    stated.flat_map(|(rpc, action, kind)| rule_faults_of(&rpc, &action, &kind)).collect()
}

fn rule_faults_of(rpc: &str, action: &str, kind: &str) -> Vec<String> {
    let mut faults = Faults::default();
    faults.unless(ActionName::parse(action).is_some(), rpc, &format!("needs the unknown action {action:?}"));
    faults.unless(EventKind::parse(kind).is_some(), rpc, &format!("writes the unknown kind {kind:?}"));
    faults.0
}

#[test]
fn every_rpc_names_the_action_it_needs_and_the_event_it_writes() {
    let pool = api();
    assert!(methods(&pool).len() >= 10, "the API was not found");
    assert_eq!(rule_faults(&pool), Vec::<String>::new());
}

#[test]
fn an_rpc_without_its_rules_is_found() {
    assert_eq!(rule_faults_of("A", "token.read", "token.read"), Vec::<String>::new());
    assert_eq!(rule_faults_of("A", "", "token.read"), ["A needs the unknown action \"\""]);
    assert_eq!(rule_faults_of("A", "token.reed", "token.read"), ["A needs the unknown action \"token.reed\""]);
    assert_eq!(rule_faults_of("A", "token.read", ""), ["A writes the unknown kind \"\""]);
    assert_eq!(rule_faults_of("A", "token.read", "read"), ["A writes the unknown kind \"read\""]);

    // The same API with the options of one method taken away: a round trip through types that do not know them.
    let mut set = FileDescriptorSet::decode(v1::FILE_DESCRIPTOR_SET).unwrap();
    set.file.retain(|file| file.name() == "strongroom/v1/token_service.proto");
    let mut pool = DescriptorPool::new();
    let full = api();
    for file in full.files().filter(|file| file.name() != "strongroom/v1/token_service.proto") {
        pool.decode_file_descriptor_proto(file.encode_to_vec().as_slice()).unwrap();
    }
    pool.add_file_descriptor_set(set).unwrap();
    let faults = rule_faults(&pool);
    assert!(
        faults.contains(&"strongroom.v1.TokenService.GetAccessToken needs the unknown action \"\"".into()),
        "{faults:?}"
    );
    assert!(
        faults.contains(&"strongroom.v1.TokenService.GetAccessToken writes the unknown kind \"\"".into()),
        "{faults:?}"
    );
    assert!(faults.iter().all(|fault| fault.starts_with("strongroom.v1.TokenService.")), "{faults:?}");
}

// ---- secrets ----

fn is_redacted(options: &DynamicMessage) -> bool {
    options.get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

/// Names of fields that hold a person's data, or words for a person.
const PERSONAL: [&str; 11] = [
    "client_device",
    "client_ip",
    "display_name",
    "email",
    "email_button_text",
    "email_message",
    "email_subject",
    "expected_email",
    "first_name",
    "last_name",
    "user_name",
];

#[test]
fn one_field_of_the_whole_api_carries_a_token() {
    let pool = api();
    let fields = messages(&pool).flat_map(|message| message.fields().collect::<Vec<_>>());
    let (redacted, open): (Vec<_>, Vec<_>) = fields.partition(|field| is_redacted(&field.options()));
    let is_personal = |field: &FieldDescriptor| PERSONAL.contains(&field.name());
    let tokens: Vec<_> = redacted.iter().filter(|field| !is_personal(field)).map(FieldDescriptor::full_name).collect();
    assert_eq!(tokens, ["strongroom.v1.GetAccessTokenResponse.access_token"]);
    let named_so = open.iter().filter(|field| field.name().contains("access_token"));
    assert_eq!(named_so.map(FieldDescriptor::full_name).collect::<Vec<_>>(), Vec::<&str>::new());
    // What no answer returns, only requests carry.
    for field in redacted.iter().filter(|field| is_personal(field)) {
        assert!(field.parent_message().name().ends_with("Request"), "{}", field.full_name());
    }
}

#[test]
fn no_personal_data_is_printed_with_a_message() {
    let pool = api();
    let fields = messages(&pool).flat_map(|message| message.fields().collect::<Vec<_>>());
    let (redacted, open): (Vec<_>, Vec<_>) =
        fields.filter(|field| PERSONAL.contains(&field.name())).partition(|field| is_redacted(&field.options()));
    assert_eq!(open.iter().map(FieldDescriptor::full_name).collect::<Vec<_>>(), Vec::<&str>::new());
    let found: BTreeSet<_> = redacted.iter().map(FieldDescriptor::name).collect();
    assert_eq!(found, BTreeSet::from(PERSONAL), "a name that no field has guards nothing");
}

// ---- only additions ----

/// What callers depend on: one line per message field, enum value and RPC, sorted.
fn surface(pool: &DescriptorPool) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for field in messages(pool).flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let label = match (field.cardinality(), field.supports_presence()) {
            (prost_reflect::Cardinality::Repeated, _) => "repeated ",
            (_, true) => "optional ",
            _ => "",
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let oneof = oneof.map(|oneof| format!(" oneof {}", oneof.name())).unwrap_or_default();
        lines.insert(format!("field {} = {} {label}{:?}{oneof}", field.full_name(), field.number(), field.kind()));
    }
    for value in enums(pool).flat_map(|an_enum| an_enum.values().collect::<Vec<_>>()) {
        lines.insert(format!("value {}.{} = {}", value.parent_enum().full_name(), value.name(), value.number()));
    }
    for method in methods(pool) {
        let stream = |streams| if streams { "stream " } else { "" };
        lines.insert(format!(
            "rpc {}({}{}) returns ({}{})",
            method.full_name(),
            stream(method.is_client_streaming()),
            method.input().full_name(),
            stream(method.is_server_streaming()),
            method.output().full_name(),
        ));
    }
    lines
}

const GOLDEN_HEADER: &str = "\
# What callers depend on, from the descriptor set. Lines are added, never changed or removed.
# Before the first release a line may still go. Written by: STRONGROOM_BLESS=1 cargo test --test it proto
";

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/descriptor.txt")
}

/// Lines of the recorded API that are gone, and lines of today's that are not recorded yet.
fn changes(recorded: &BTreeSet<String>, today: &BTreeSet<String>) -> (Vec<String>, Vec<String>) {
    (recorded.difference(today).cloned().collect(), today.difference(recorded).cloned().collect())
}

#[test]
fn the_api_only_grows() {
    let today = surface(&api());
    #[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the tests")]
    let bless = env::var_os("STRONGROOM_BLESS").is_some();
    if bless {
        let lines: String = today.iter().map(|line| format!("{line}\n")).collect();
        fs::write(golden_path(), format!("{GOLDEN_HEADER}{lines}")).unwrap();
    }
    let golden = fs::read_to_string(golden_path()).unwrap();
    let recorded: BTreeSet<_> = golden.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    let (gone, new) = changes(&recorded, &today);
    assert!(gone.is_empty(), "this breaks callers:\n{}", gone.join("\n"));
    assert!(new.is_empty(), "not recorded yet, see the head of tests/golden/descriptor.txt:\n{}", new.join("\n"));
}

#[test]
fn a_field_that_changes_its_type_or_number_breaks_callers() {
    let today = surface(&api());
    let line = today.iter().find(|line| line.contains(".GetAccessTokenResponse.access_token = 1 ")).unwrap();
    for changed in [line.replace("= 1", "= 9"), line.replace("string", "bytes"), line.replace("access_token", "token")]
    {
        let mut after = today.clone();
        after.remove(line);
        after.insert(changed.clone());
        assert_eq!(changes(&today, &after), (vec![line.clone()], vec![changed]));
    }
}
