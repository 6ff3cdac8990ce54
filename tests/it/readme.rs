//! The README as its reader uses it: every command that it shows is run, in order, in one shell's place; every test that it names exists.
//!
//! A command is a line of an `sh` block. `# refused` begins the comment of one that has to fail, in an orderly way; all others have to
//! succeed. What the runner does not understand fails.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::process::Process;

const README: &str = include_str!("../../README.md");
/// Runs this test among all others: looked at and not run.
const SCRIPT: &str = "./scripts/test";
/// What stands for the binary under test.
const CARGO_RUN: &str = "cargo run --release --";
const ALIAS: &str = "alias strongroom=target/release/strongroom";
/// The longest, `demo`, takes under a minute; a loaded machine gets three.
const COMMAND_MAX: Duration = Duration::from_secs(180);
/// The exit codes of an orderly refusal: `EXIT_CODES` of the command line, none of which is a usage error of `clap`'s.
const REFUSALS: [i32; 3] = [1, 3, 5];
/// A name that is refused is an argument that is wrong.
const NAME_REFUSED: (i32, &str) = (2, "NAME_REFUSED");

/// One command of the README.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// `scripts/test`.
    Script,
    /// Gives the binary its short name: the shell here has it already.
    Alias,
    /// Stays, in the background, and says when it is ready.
    Stays(String),
    /// Runs to its end.
    Runs { line: String, is_refused: bool },
}

/// The lines of all `sh` blocks, a line with its continuations as one.
fn commands(text: &str) -> Vec<String> {
    let (mut found, mut in_block, mut begun) = (Vec::new(), false, String::new());
    for line in text.lines() {
        match (in_block, line.trim()) {
            (false, "```sh") => in_block = true,
            (true, "```") => in_block = false,
            (true, line) => match line.strip_suffix('\\') {
                Some(part) => begun.push_str(part),
                None if begun.is_empty() && line.is_empty() => {}
                None => found.push(std::mem::take(&mut begun) + line),
            },
            (false, _) => {}
        }
    }
    assert!(!in_block && begun.is_empty(), "a block does not end");
    found
}

/// Reads one command, or says that it is none that this runner understands.
fn step(command: &str) -> Result<Step, String> {
    let (line, comment) = command.split_once(" #").unwrap_or((command, ""));
    let line = line.trim();
    let is_refused = comment.trim().starts_with("refused");
    let unknown = || Err(format!("not understood: {command}"));
    match line {
        SCRIPT => return Ok(Step::Script),
        ALIAS => return Ok(Step::Alias),
        _ => {}
    }
    let line = line.strip_prefix(CARGO_RUN).map_or_else(|| line.to_owned(), |rest| format!("strongroom{rest}"));
    // One command a line, quoted as a shell reads it; nothing that could do more than the binary does.
    let (line, stays) = line.strip_suffix(" &").map_or((line.as_str(), false), |line| (line, true));
    if !line.starts_with("strongroom ") || line.contains(['&', ';', '|', '$', '`', '<', '#', '…']) {
        return unknown();
    }
    Ok(match (stays, is_refused) {
        (true, false) => Step::Stays(line.to_owned()),
        (true, true) => return unknown(),
        (false, is_refused) => Step::Runs { line: line.to_owned(), is_refused },
    })
}

/// A directory to work in, and a shell in it that knows `strongroom`.
struct Shell {
    home: tempfile::TempDir,
    path: PathBuf,
}

impl Shell {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("bin");
        fs::create_dir(&path).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_strongroom"), path.join("strongroom")).unwrap();
        fs::create_dir(home.path().join("work")).unwrap();
        Self { home, path }
    }

    fn start(&self, line: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("exec {line}")]);
        command.current_dir(self.home.path().join("work")).env("PATH", &self.path).env("TMPDIR", self.home.path());
        Process::start(command)
    }

    /// Runs all of it in order; nothing of it may fail, but for what says so.
    async fn run(&self, steps: &[Step]) -> Result<(), String> {
        let mut stay = Vec::new();
        for step in steps {
            match step {
                Step::Script => {
                    let script = fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join(SCRIPT)).unwrap();
                    if script.permissions().mode() & 0o111 != 0o111 {
                        return Err(format!("{SCRIPT} cannot be executed"));
                    }
                }
                Step::Alias => {}
                Step::Stays(line) => {
                    let mut process = self.start(line);
                    process.line("ready", COMMAND_MAX).await;
                    stay.push(process);
                }
                Step::Runs { line, is_refused } => {
                    let ended = self.start(line).ended(COMMAND_MAX).await;
                    let is_as_told = match (is_refused, ended.code) {
                        (false, code) => code == Some(0),
                        (true, Some(code)) => {
                            let is_bad_name = code == NAME_REFUSED.0 && ended.stderr.contains(NAME_REFUSED.1);
                            REFUSALS.contains(&code) || is_bad_name
                        }
                        (true, None) => false,
                    };
                    if !is_as_told {
                        return Err(format!("{line}\nended with {:?}\n{}{}", ended.code, ended.stdout, ended.stderr));
                    }
                }
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn every_command_of_the_readme_does_what_it_says() {
    let steps: Vec<_> = commands(README).iter().map(|command| step(command).unwrap()).collect();
    let ran = |what: &str| steps.iter().any(|step| matches!(step, Step::Runs { line, .. } if line.contains(what)));
    assert!(steps.contains(&Step::Script) && ran("strongroom demo"), "the two commands");
    for way_in in ["merchant connect", "merchant register"] {
        assert!(ran(way_in), "{way_in}");
    }
    Shell::new().run(&steps).await.unwrap_or_else(|failed| panic!("{failed}"));
}

#[tokio::test]
async fn a_command_that_is_wrong_is_found() {
    let shell = Shell::new();
    for wrong in [
        "strongroom names check ORD-2024-00012345",
        "strongroom names check 'Ada Books'    # refused",
        "strongroom names chekc 'Ada Books'    # refused",
        "strongroom serve --config nothing-there.toml",
        "strongroom merchant list    # without a server",
    ] {
        let step = step(wrong).unwrap();
        assert!(shell.run(std::slice::from_ref(&step)).await.is_err(), "{wrong}");
    }
    let right =
        ["strongroom names check ORD-2024-00012345    # refused", "strongroom names check \"Ada's Books\" > list"];
    shell.run(&right.map(|right| step(right).unwrap())).await.unwrap();
    assert!(fs::read_to_string(shell.home.path().join("work/list")).unwrap().contains("accept"));
}

#[test]
fn a_command_that_the_runner_does_not_understand_is_none() {
    for strange in [
        "curl https://example.test",
        "strongroom token get shop-17; rm -rf .",
        "strongroom audit list | head",
        "strongroom merchant show mer_…",
        "strongroom merchant confirm $MERCHANT -",
        "strongroom dev &    # refused",
        "cargo test",
        "./scripts/tset",
    ] {
        assert!(step(strange).is_err(), "{strange}");
    }
    assert_eq!(commands("```sh\na \\\n    b  # c\n\nd\n```\n```toml\ne\n```\nf"), ["a b  # c", "d"]);
}

/// What stands in the text and not in a block has placeholders: it is not run, but the command line must know it.
#[test]
fn every_command_in_passing_is_one() {
    let known = |command: &str| {
        let words = command.split(' ').skip(1);
        Command::new(env!("CARGO_BIN_EXE_strongroom")).args(words).arg("--help").output().unwrap().status.success()
    };
    let outside: Vec<_> = README.split("\n```").step_by(2).collect();
    let inline = outside.iter().flat_map(|text| text.split('`').skip(1).step_by(2));
    let commands: Vec<_> = inline.filter(|code| code.starts_with("strongroom ")).collect();
    assert!(commands.len() > 5, "{commands:?}");
    for command in commands {
        assert!(known(command), "{command}");
    }
    assert!(!known("strongroom token version shop-17") && !known("strongroom token get --raw"));
}

/// Everything in backticks in the rows of the table under this heading, by row.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = README.split_once(heading).unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    rows.take_while(|line| line.starts_with('|')).map(|row| row.split('`').skip(1).step_by(2).collect()).collect()
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let mut sources = Vec::new();
    for layer in ["src", "tests"] {
        read_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join(layer), &mut sources);
    }
    let rows = table("## What it guarantees");
    assert!(rows.len() > 5);
    for row in rows {
        assert!(!row.is_empty(), "a guarantee without a test");
        for test in row {
            let function = format!("fn {test}(");
            assert!(sources.iter().any(|source| source.contains(&function)), "no test {test}");
        }
    }
}

fn read_below(dir: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_below(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_service_of_the_api_is_told_of() {
    let pool = prost_reflect::DescriptorPool::decode(strongroom::v1::FILE_DESCRIPTOR_SET).unwrap();
    let mut services: Vec<_> = pool.services().map(|service| service.name().to_owned()).collect();
    let mut told: Vec<_> = table("## The API").into_iter().map(|row| row[0].to_owned()).collect();
    services.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, services);
}
