//! `weir count`.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

use super::{CountArgs, fail};
use crate::meter::{CountReport, count_chat, count_text};

/// The largest text that is read.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// Prints the number of tokens on standard output, and what it stands on on standard error.
pub(super) fn count(args: &CountArgs) -> ExitCode {
    let text = match read(args.file.as_deref()) {
        Ok(text) => text,
        Err(message) => return fail(message),
    };
    let (report, what) = counted(&args.model, &text);
    println!("{}", report.tokens);
    let exact = if report.exact { "exact" } else { "an approximation for this model" };
    eprintln!("{what}, {}, {exact}", report.vocabulary.as_str());
    ExitCode::SUCCESS
}

/// A JSON object with a prompt in it is a chat request; anything else is a text.
fn counted(model: &str, text: &str) -> (CountReport, &'static str) {
    if text.trim_start().starts_with('{')
        && let Ok(report) = count_chat(model, text)
    {
        return (report, "prompt of a request");
    }
    (count_text(model, text), "text")
}

fn read(file: Option<&Path>) -> Result<String, String> {
    let (name, bytes) = match file {
        Some(path) if path != Path::new("-") => {
            let name = path.display().to_string();
            let bytes = File::open(path).and_then(bounded);
            (name, bytes)
        }
        _ => {
            if io::stdin().is_terminal() {
                eprintln!("Type or paste the text, then press Ctrl-D:");
            }
            ("standard input".into(), bounded(io::stdin().lock()))
        }
    };
    let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
    String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8 text"))
}

fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {} MiB", TEXT_BYTES_MAX >> 20)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_chat_request_is_told_from_a_text() {
        let request = r#"{"messages": [{"role": "user", "content": "Hello"}]}"#;
        assert_eq!(counted("gpt-4o", request).1, "prompt of a request");
        assert_eq!(counted("gpt-4o", "{ not json").1, "text");
        assert_eq!(counted("gpt-4o", r#"{"a": 1}"#).1, "text");
        let (report, what) = counted("gpt-4o", "Hello world");
        assert_eq!((report.tokens, report.exact, what), (2, true, "text"));
    }
}
