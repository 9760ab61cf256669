//! From what the operator wrote to a table that is fast to read.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::HeaderName;

use super::endpoints::Set;
use super::index::Index;
use super::settings::{Pattern, Settings};
use super::table::{Arm, Destination, Rule, Table};
use crate::config::NamePattern;
use crate::dialect::Endpoint;
use crate::expression::Expression;

/// What is wrong with a setting: its path in the file, and what would be right.
type Mistake = (String, String);

/// Most routes of a table.
const ROUTES_MAX: usize = 100_000;

/// What a route finds under the name of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolRef {
    /// The pool with this index.
    Index(usize),
    /// A pool none of whose targets has a usable key. Routes that lead only there are skipped.
    Empty,
    /// There is no such pool.
    Unknown,
}

/// What routes are compiled against.
struct Compiler<'a> {
    pool: &'a dyn Fn(&str) -> PoolRef,
    mistakes: Vec<Mistake>,
}

impl Table {
    /// Compiles the routes.
    ///
    /// # Errors
    /// Every mistake, each with the path of its setting.
    pub fn compile(
        settings: &[Settings],
        pool: &dyn Fn(&str) -> PoolRef,
    ) -> Result<Self, Vec<Mistake>> {
        let mut compiler = Compiler { pool, mistakes: Vec::new() };
        if settings.len() > ROUTES_MAX {
            compiler.mistake("routes".into(), format!("at most {ROUTES_MAX} routes are supported"));
            return Err(compiler.mistakes);
        }
        let mut names = HashSet::new();
        let mut rules = Vec::with_capacity(settings.len());
        let mut models: Vec<Arc<str>> = Vec::new();
        let mut listed = HashSet::new();
        for (at, route) in settings.iter().enumerate() {
            let name = route.name.clone().unwrap_or_else(|| format!("route-{at}"));
            if name.is_empty() || name.len() > 128 || name.chars().any(char::is_control) {
                compiler.mistake(
                    format!("routes[{at}].name"),
                    "must be 1 to 128 characters that can be printed".into(),
                );
            }
            if !names.insert(name.clone()) {
                compiler.mistake(
                    format!("routes[{at}].name"),
                    format!("another route is named `{name}`: names are unique"),
                );
            }
            let Some(rule) = compiler.rule(at, &name, route) else { continue };
            for model in rule.models.iter().filter_map(NamePattern::exact) {
                if listed.insert(model.to_owned()) {
                    models.push(model.into());
                }
            }
            rules.push(rule);
        }
        if !compiler.mistakes.is_empty() {
            return Err(compiler.mistakes);
        }
        let index = Index::new(&rules);
        Ok(Self { rules: rules.into(), index, models, expression_failures: AtomicU64::new(0) })
    }
}

impl Compiler<'_> {
    fn mistake(&mut self, path: String, message: String) {
        self.mistakes.push((path, message));
    }

    /// None where there are mistakes, or no pool to go to.
    fn rule(&mut self, at: usize, name: &str, route: &Settings) -> Option<Rule> {
        let path = format!("routes[{at}]");
        let models = self.models(&path, route.matches.model.as_ref());
        let endpoints = self.endpoints(&path, route.matches.endpoint.as_ref());
        let headers = self.headers(&path, route);
        let labels = self.labels(&path, route);
        let when = route.matches.when.as_deref().and_then(|source| {
            Expression::condition(source)
                .map_err(|error| self.mistake(format!("{path}.match.when"), error))
                .ok()
        });
        if route.model.as_deref().is_some_and(str::is_empty) {
            self.mistake(
                format!("{path}.model"),
                "the name is empty: write the model to continue with, or leave `model` out".into(),
            );
        }
        let destination = self.destination(&path, route)?;
        Some(Rule {
            name: name.into(),
            models,
            endpoints,
            headers,
            labels,
            when,
            destination,
            model: route.model.as_deref().map(Into::into),
            loss: route.loss,
        })
    }

    fn pattern(&mut self, path: impl FnOnce() -> String, text: &str) -> Option<NamePattern> {
        NamePattern::compile(text).map_err(|error| self.mistake(path(), error)).ok()
    }

    fn models(&mut self, path: &str, pattern: Option<&Pattern>) -> Box<[NamePattern]> {
        let path = format!("{path}.match.model");
        let texts = self.texts(&path, pattern);
        let mut compiled = Vec::with_capacity(texts.len());
        for (path, text) in texts {
            compiled.extend(self.pattern(|| path, text));
        }
        compiled.into()
    }

    /// The texts of a pattern, each with its path.
    fn texts<'p>(&mut self, path: &str, pattern: Option<&'p Pattern>) -> Vec<(String, &'p str)> {
        match pattern {
            None => Vec::new(),
            Some(Pattern::One(text)) => vec![(path.to_owned(), text)],
            Some(Pattern::Any(texts)) => {
                if texts.is_empty() {
                    self.mistake(
                        path.to_owned(),
                        "an empty list matches nothing: leave it out to match everything".into(),
                    );
                }
                let texts = texts.iter().enumerate();
                texts.map(|(at, text)| (format!("{path}[{at}]"), text.as_str())).collect()
            }
        }
    }

    fn endpoints(&mut self, path: &str, pattern: Option<&Pattern>) -> Set {
        let path = format!("{path}.match.endpoint");
        let texts = self.texts(&path, pattern);
        if pattern.is_none() {
            return Set::ALL;
        }
        let mut set = Set::NONE;
        for (path, text) in texts {
            let place = path.clone();
            let Some(pattern) = self.pattern(|| place, text) else { continue };
            let mut found = false;
            for endpoint in Endpoint::ALL.into_iter().filter(|each| pattern.matches(each.as_str()))
            {
                set = set.with(endpoint);
                found = true;
            }
            if !found {
                let names = Endpoint::ALL.map(Endpoint::as_str);
                self.mistake(
                    path,
                    format!("no endpoint is called `{text}`; there are: {}", names.join(", ")),
                );
            }
        }
        set
    }

    fn headers(&mut self, path: &str, route: &Settings) -> Box<[(HeaderName, NamePattern)]> {
        let mut compiled = Vec::with_capacity(route.matches.headers.len());
        for (name, text) in &route.matches.headers {
            let path = format!("{path}.match.headers.{name}");
            match HeaderName::try_from(name.as_str()) {
                Ok(name) => compiled.extend(self.pattern(|| path, text).map(|value| (name, value))),
                Err(_) => self.mistake(
                    path,
                    format!("`{name}` is not a header name: letters, digits and `-`, as in x-tier"),
                ),
            }
        }
        compiled.into()
    }

    fn labels(&mut self, path: &str, route: &Settings) -> Box<[(Box<str>, NamePattern)]> {
        let mut compiled = Vec::with_capacity(route.matches.labels.len());
        for (name, text) in &route.matches.labels {
            let path = format!("{path}.match.labels.{name}");
            let pattern = self.pattern(|| path, text);
            compiled.extend(pattern.map(|pattern| (name.as_str().into(), pattern)));
        }
        compiled.into()
    }

    fn destination(&mut self, path: &str, route: &Settings) -> Option<Destination> {
        match (&route.pool, route.split.is_empty()) {
            (Some(name), true) => {
                if route.sticky {
                    self.mistake(
                        format!("{path}.sticky"),
                        "only a `split` can be sticky: remove `sticky`, or write a split".into(),
                    );
                }
                self.pool(format!("{path}.pool"), name).map(Destination::Pool)
            }
            (None, false) => self.split(path, route),
            (Some(_), false) => {
                self.mistake(path.to_owned(), "has both `pool` and `split`: keep one".into());
                None
            }
            (None, true) => {
                self.mistake(
                    path.to_owned(),
                    "leads nowhere: name a `pool`, or write a `split`".into(),
                );
                None
            }
        }
    }

    fn split(&mut self, path: &str, route: &Settings) -> Option<Destination> {
        if route.split.iter().all(|arm| arm.weight == 0) {
            self.mistake(
                format!("{path}.split"),
                "every weight is 0, so nothing goes anywhere: give one arm a weight".into(),
            );
        }
        let mut arms = Vec::with_capacity(route.split.len());
        let mut end = 0;
        for (at, arm) in route.split.iter().enumerate() {
            let Some(pool) = self.pool(format!("{path}.split[{at}].pool"), &arm.pool) else {
                continue;
            };
            if arm.weight > 0 {
                end += u64::from(arm.weight);
                arms.push(Arm { pool, end });
            }
        }
        (!arms.is_empty()).then(|| Destination::Split { arms: arms.into(), sticky: route.sticky })
    }

    /// None where there is no such pool, which is a mistake, or none that has a target.
    fn pool(&mut self, path: String, name: &str) -> Option<usize> {
        match (self.pool)(name) {
            PoolRef::Index(index) => Some(index),
            PoolRef::Empty => None,
            PoolRef::Unknown => {
                self.mistake(path, format!("there is no pool `{name}` under `pools`"));
                None
            }
        }
    }
}
