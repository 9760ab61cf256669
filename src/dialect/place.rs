//! Where a server has the endpoints of its dialect: below one base path, but for those that it has
//! elsewhere.

use percent_encoding::utf8_percent_encode;

use super::Endpoint;
use super::rewrite::SEGMENT;

/// The paths of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Path prefix of its API: empty, or begins with `/` and does not end with one.
    pub base: Box<str>,
    /// Endpoints that are not where the dialect has them, for requests that are not streamed (or
    /// for all of them) and for those that are.
    pub elsewhere: Vec<(Endpoint, bool, Template)>,
}

/// A path below the server's root, with places for the model and for the dialect's own path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Box<[Part]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Model,
    Tail,
}

impl Paths {
    /// Where an endpoint is, if it is elsewhere.
    pub(super) fn template(&self, endpoint: Endpoint, stream: bool) -> Option<&Template> {
        let of = |streamed: bool| {
            let mut known = self.elsewhere.iter();
            known.find(|(known, on, _)| *known == endpoint && *on == streamed)
        };
        let found = if stream { of(true).or_else(|| of(false)) } else { of(false) };
        found.map(|(_, _, template)| template)
    }
}

impl From<&str> for Paths {
    fn from(base: &str) -> Self {
        Self { base: base.into(), elsewhere: Vec::new() }
    }
}

impl Template {
    /// Reads a text with `{model}` and `{tail}` in it, after all other placeholders were filled.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is not a path: begin it with `/`"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            parts.push(Part::Text(rest[..at].into()));
            let (part, length) = match &rest[at..] {
                place if place.starts_with("{model}") => (Part::Model, "{model}".len()),
                place if place.starts_with("{tail}") => (Part::Tail, "{tail}".len()),
                place => {
                    return Err(format!("`{place}` begins with no placeholder that is known"));
                }
            };
            parts.push(part);
            rest = &rest[at + length..];
        }
        parts.push(Part::Text(rest.into()));
        parts.retain(|part| *part != Part::Text("".into()));
        Ok(Self(parts.into()))
    }

    /// The path for a model; `tail` is the dialect's own path.
    pub(super) fn fill(&self, model: &str, tail: &str) -> String {
        let mut path = String::with_capacity(64 + model.len() + tail.len());
        for part in &self.0 {
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Model => path.extend(utf8_percent_encode(model, SEGMENT)),
                Part::Tail => path.push_str(tail),
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled() {
        let template = Template::parse("/d/{model}{tail}?v=1").expect("a template");
        assert_eq!(template.fill("a b", "/chat"), "/d/a%20b/chat?v=1");
        assert!(Template::parse("d").is_err());
        assert!(Template::parse("/{region}").is_err());
    }

    #[test]
    fn a_stream_has_its_own_path_or_the_common_one() {
        let template = |text| Template::parse(text).expect("a template");
        let paths = Paths {
            elsewhere: vec![
                (Endpoint::Messages, false, template("/m")),
                (Endpoint::Messages, true, template("/s")),
                (Endpoint::Completions, false, template("/c")),
            ],
            ..Paths::default()
        };
        let at = |endpoint, stream| {
            paths.template(endpoint, stream).map(|template| template.fill("", ""))
        };
        assert_eq!(at(Endpoint::Messages, false).as_deref(), Some("/m"));
        assert_eq!(at(Endpoint::Messages, true).as_deref(), Some("/s"));
        assert_eq!(at(Endpoint::Completions, true).as_deref(), Some("/c"));
        assert_eq!(at(Endpoint::Models, false), None);
    }
}
