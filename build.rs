//! Compiles `proto/` into messages, clients and servers, and keeps the descriptor set for reflection and the tests.
//!
//! The compiler is protox, in Rust: no protoc on the machine. A message with a `debug_redact` field gets no derived
//! `Debug`, so that printing it does not compile until `src/v1.rs` says how.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use prost_reflect::DescriptorPool;

const ROOT: &str = "proto";
const PACKAGE_DIR: &str = "proto/strongroom/v1";

fn main() -> Result<(), Box<dyn Error>> {
    // tonic does not print this when it is given descriptors.
    println!("cargo::rerun-if-changed={ROOT}");

    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_source_info(true).include_imports(true).open_files(proto_files()?)?;

    // The compiler's own encoding: going through `prost_types` drops extensions, and with them the method options.
    let descriptor_set = compiler.encode_file_descriptor_set();
    #[expect(clippy::disallowed_methods, reason = "this is how cargo tells a build script where to write")]
    let out_dir = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    fs::write(Path::new(&out_dir).join("strongroom.v1.bin"), &descriptor_set)?;

    tonic_prost_build::configure()
        .skip_debug(redacted_messages(&DescriptorPool::decode(descriptor_set.as_slice())?))
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The proto files in a fixed order: the descriptor set must not depend on the file system.
fn proto_files() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = fs::read_dir(PACKAGE_DIR)?
        .map(|entry| entry.map(|entry| entry.path()))
        .filter(|path| {
            path.as_ref().map_or(true, |path| path.extension().is_some_and(|extension| extension == "proto"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    files.sort();
    Ok(files)
}

/// The messages with a `debug_redact` field, by full name with a leading dot.
fn redacted_messages(pool: &DescriptorPool) -> Vec<String> {
    pool.all_messages()
        .filter(|message| {
            message.fields().any(|field| {
                let options = field.options();
                options.get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
            })
        })
        .map(|message| format!(".{}", message.full_name()))
        .collect()
}
