//! What the YAML parser found, in words that say what to do.

use serde_saphyr::Error;

use super::read::position;
use super::{Position, Report};

/// Reports lines that are indented with tabs. The parser stops at the first; all of them matter to
/// whoever has to repair the file.
pub fn tabs(text: &str, report: &mut Report) -> bool {
    let before = report.len();
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if indent == line.len() {
            continue;
        }
        if let Some(column) = line[..indent].find('\t') {
            report.add(
                Position::new(index as u32 + 1, column as u32 + 1),
                "a tab in the indentation: YAML allows spaces only; use two spaces a level",
            );
        }
    }
    report.len() > before
}

/// The place and the message for an error of the parser.
pub fn explain(text: &str, error: &Error) -> (Position, String) {
    let at = error.location().map_or(Position::FILE, position);
    let raw = error.to_string();
    let said = raw.rsplit_once(" at line ").map_or(raw.as_str(), |(said, _)| said);
    if let Some((opened, quote)) =
        unclosed_quote(text, at).filter(|_| said.contains("quoted scalar"))
    {
        return (opened, format!("this {quote} is never closed: add the closing {quote}"));
    }
    if let Some((opened, bracket)) = unclosed_bracket(text, at).filter(|_| is_about_flow(said)) {
        let (close, part) = if bracket == '[' { (']', "items") } else { ('}', "entries") };
        return (
            opened,
            format!("this `{bracket}` is not closed: add `{close}`, or a `,` between its {part}"),
        );
    }
    (at, advice(said, line(text, at), at).unwrap_or_else(|| said.to_owned()))
}

/// Advice for what people get wrong. The parser's own words are the key; what is not here is
/// shown as the parser says it.
fn advice(said: &str, line: &str, at: Position) -> Option<String> {
    let character = line.chars().nth((at.column as usize).saturating_sub(1));
    let has = |part: &str| said.contains(part);
    Some(match () {
        () if has("multiple YAML documents") => {
            "a second document begins here: a configuration is one document; remove the `---`"
                .into()
        }
        () if has("mapping values are not allowed") => {
            "a `:` where no key can be: put the value between quotes if the `:` belongs to it, or \
             move the key to a line of its own"
                .into()
        }
        () if has("did not find expected key") && line.trim_start().starts_with("- ") => {
            "a list item among keys: remove the `- `, or put it under the key it belongs to".into()
        }
        () if has("did not find expected key") => {
            "this line's indentation fits no level above it: align it with its neighbours".into()
        }
        () if has("did not find expected '-'") => {
            "a key in the middle of a list: indent it as part of the item above, or begin it with \
             `- `"
                .into()
        }
        () if has("implicit flow mapping") || has("unexpected EOF") => {
            "an item between two commas is missing".into()
        }
        () if has("budget breached") || has("limit exceeded") => {
            "the file is nested too deeply, or is too large".into()
        }
        () if has("misplaced bracket") => {
            "a closing bracket without its opening one: remove it".into()
        }
        () if has("unexpected character") => {
            let shown = character.unwrap_or('?');
            format!("a value cannot begin with `{shown}`: put it between quotes")
        }
        () if has("unknown anchor") => {
            "an alias of an anchor that is not defined above: if the `*` belongs to the text, put \
             it between quotes"
                .into()
        }
        () if has("anchor or alias") => {
            "a `*` or `&` without a name: put the value between quotes, such as \"*\"".into()
        }
        () if has("unknown escape") => {
            "an escape that YAML does not know: double the `\\`, or use single quotes".into()
        }
        () if has("simple key") => "a line that is neither `key: value` nor `- item`: add a `:` \
             and a value, or indent it as part of the value above"
            .into(),
        () if has("invalid trailing content") => {
            "something follows the closing quote: put all of it between the quotes".into()
        }
        () if has("expected string scalar") => {
            "a key must be a word, not a list or a mapping".into()
        }
        () if has("non-finite float") => "a number must be finite".into(),
        () => return None,
    })
}

fn line(text: &str, at: Position) -> &str {
    text.lines().nth((at.line as usize).saturating_sub(1)).unwrap_or("")
}

/// Whether the parser stopped inside `[…]` or `{…}`.
fn is_about_flow(said: &str) -> bool {
    ["expected ',' or", "illegal placement of ':'", "flow", "EOF"]
        .iter()
        .any(|part| said.contains(part))
}

/// The innermost bracket that is open at `at` and never closed.
fn unclosed_bracket(text: &str, at: Position) -> Option<(Position, char)> {
    let innermost = open_brackets(text, at).pop()?;
    let never = open_brackets(text, Position::new(u32::MAX, 0));
    never.contains(&innermost).then_some(innermost)
}

/// The brackets that are open at `until`, the innermost last.
fn open_brackets(text: &str, until: Position) -> Vec<(Position, char)> {
    let mut open: Vec<(Position, char)> = Vec::new();
    for (row, line) in (1..).zip(text.lines()) {
        if row > until.line {
            break;
        }
        let mut quote = None;
        let mut before = ' ';
        for (column, c) in (1..).zip(line.chars()) {
            let here = Position::new(row, column);
            if here >= until {
                break;
            }
            match (quote, c) {
                (Some(q), _) if q == c => quote = None,
                (None, '"' | '\'') if opens_quote(before) => quote = Some(c),
                (None, '#') if before == ' ' => break,
                (None, '[' | '{') => open.push((here, c)),
                (None, ']' | '}') => drop(open.pop()),
                _ => {}
            }
            before = c;
        }
    }
    open
}

/// A quote opens a text where a value can begin.
fn opens_quote(before: char) -> bool {
    matches!(before, ' ' | '[' | '{' | ',' | ':')
}

/// The last quote before `at` that opens a value and has no partner on its line.
fn unclosed_quote(text: &str, at: Position) -> Option<(Position, char)> {
    text.lines()
        .take(at.line as usize)
        .enumerate()
        .filter_map(|(index, line)| {
            let (column, quote) = open_quote(line)?;
            Some((Position::new(index as u32 + 1, column as u32 + 1), quote))
        })
        .last()
}

/// The character column (from 0) of a quote that this line opens and does not close.
fn open_quote(line: &str) -> Option<(usize, char)> {
    let mut open: Option<(usize, char)> = None;
    let mut before = ' ';
    let mut escaped = false;
    for (column, c) in line.chars().enumerate() {
        match open {
            Some((_, '"')) if escaped => escaped = false,
            Some((_, '"')) if c == '\\' => escaped = true,
            Some((_, quote)) if c == quote => open = None,
            None if c == '#' && before == ' ' => return None,
            None if matches!(c, '"' | '\'') && opens_quote(before) => {
                open = Some((column, c));
            }
            Some(_) | None => {}
        }
        before = c;
    }
    open
}
