//! `weir keys`.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use super::fail;
use crate::tenant::hash_form;

/// The longest key that is read.
const KEY_BYTES_MAX: u64 = 4096;

/// Reads a key from standard input and prints its hash.
pub(super) fn hash() -> ExitCode {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Type the key, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    match stdin.lock().take(KEY_BYTES_MAX + 1).read_to_string(&mut text) {
        Err(error) => return fail(format_args!("the key cannot be read: {error}")),
        Ok(bytes) if bytes as u64 > KEY_BYTES_MAX => {
            return fail(format_args!("a key has at most {KEY_BYTES_MAX} bytes"));
        }
        Ok(_) => {}
    }
    let key = text.trim_end_matches(['\n', '\r']);
    if key.is_empty() {
        return fail("no key on standard input: weir keys hash < key.txt");
    }
    if key.contains(char::is_whitespace) {
        return fail("the key has white space in it: one key at a time, on one line");
    }
    println!("{}", hash_form(key));
    ExitCode::SUCCESS
}
