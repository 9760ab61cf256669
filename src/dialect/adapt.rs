//! What a server wants otherwise than its dialect has it: members that it does not know or knows
//! under another name, members that it wants besides, and a model that does not belong in the body.
//!
//! All of it is data of a provider. A body is adapted by edits of spans, so that whatever is not
//! touched stays as it was, byte for byte; this holds for a client's own body and for one that was
//! translated.

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Dropped, Format, LossPolicy};
use super::{Endpoint, translate};
use crate::config::NamePattern;
use crate::error::{Error, Kind};
use crate::wire::json::{self, Edit, Member, Value, quote, splice};

/// What weir itself adds to a request, so that leaving it out is no loss of the client's.
const ADDED_IN_TRANSLATION: &str = "stream_options";

/// How the requests of one provider depart from its dialect.
#[derive(Clone, Debug, Default)]
pub struct Adaptation {
    /// The first rule whose models match is the one that counts.
    pub rules: Vec<Rule>,
    /// Members with these values (raw JSON) are added where a body has none of the name.
    pub add: Vec<(Box<str>, Box<str>)>,
    /// The model stands in the path alone.
    pub model_in_path_only: bool,
}

/// What a server does with members of requests for some models.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The models; none means all.
    pub models: Vec<NamePattern>,
    /// Members that it does not know: names, with dots for members of members.
    pub drop: Vec<Box<str>>,
    /// Members that it knows under another name.
    pub rename: Vec<(Box<str>, Box<str>)>,
}

/// The edits that adapt one body.
#[derive(Clone, Debug, Default)]
pub struct Adapted {
    pub(super) edits: Vec<Edit>,
    pub(super) cuts_model: bool,
    pub(super) cuts_stream_options: bool,
    dropped: Vec<Cow<'static, str>>,
}

impl Adapted {
    /// What the upstream does not get.
    ///
    /// # Errors
    ///
    /// [`Kind::NotExpressible`] if something is left out and the policy is strict.
    pub fn dropped(&mut self, policy: LossPolicy, provider: &str) -> Result<Dropped, Error> {
        let fields = std::mem::take(&mut self.dropped);
        match (policy, fields.first()) {
            (LossPolicy::Strict, Some(field)) => Err(Error::new(
                Kind::NotExpressible,
                format!("`{field}` is not supported by the upstream ({provider})."),
            )
            .param(field.clone())),
            _ => Ok(Dropped::of(fields)),
        }
    }
}

impl Adaptation {
    /// Whether requests are sent as the dialect has them.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.add.is_empty() && !self.model_in_path_only
    }

    /// How a body is to be changed. `None` where nothing is, and for requests other than chats.
    pub fn of(&self, endpoint: Endpoint, model: &str, body: &[u8]) -> Option<Adapted> {
        Format::of(endpoint)?;
        let root = json::lazy(body);
        let mut adapted = Adapted::default();
        let mut cut: Vec<Box<str>> = Vec::new();
        if let Some(rule) = self.rules.iter().find(|rule| rule.matches(model)) {
            for (path, new) in &rule.rename {
                adapted.rename(root, path, new, &mut cut);
            }
            for path in &rule.drop {
                if root.find(&path.split('.').collect::<Vec<_>>()).is_some() {
                    adapted.cuts_stream_options |= **path == *ADDED_IN_TRANSLATION;
                    adapted.dropped.push(path.to_string().into());
                    cut.push(path.clone());
                }
            }
            // Where the server does not know the option, weir does not ask for it either.
            adapted.cuts_stream_options |=
                rule.drop.iter().any(|path| **path == *ADDED_IN_TRANSLATION);
        }
        if self.model_in_path_only {
            adapted.cuts_model = true;
            cut.push("model".into());
        }
        adapted.cut(root, &mut Vec::new(), &cut);
        self.add_to(root, &cut, &mut adapted);
        (!adapted.edits.is_empty() || adapted.cuts_stream_options).then_some(adapted)
    }

    /// The same for a body that weir wrote, applied to it.
    ///
    /// # Errors
    ///
    /// As [`Adapted::dropped`].
    pub fn apply(
        &self,
        pair: translate::Pair,
        stream: bool,
        model: &str,
        body: Bytes,
        (policy, provider): (LossPolicy, &str),
    ) -> Result<(Bytes, Dropped), Error> {
        let Some(mut adapted) = self.of(pair.endpoint(stream), model, &body) else {
            return Ok((body, Dropped::default()));
        };
        adapted.dropped.retain(|field| *field != ADDED_IN_TRANSLATION);
        let dropped = adapted.dropped(policy, provider)?;
        Ok((adapted.applied(&body), dropped))
    }

    fn add_to(&self, root: Value<'_>, cut: &[Box<str>], adapted: &mut Adapted) {
        let kept = root.members().any(|member| !cut.iter().any(|name| member.is(name)));
        for (at, (name, raw)) in
            self.add.iter().filter(|(name, _)| root.get(name).is_none()).enumerate()
        {
            let mut with = Vec::with_capacity(name.len() + raw.len() + 4);
            if at > 0 && !kept {
                with.push(b',');
            }
            quote(name, &mut with);
            with.push(b':');
            with.extend_from_slice(raw.as_bytes());
            if kept {
                with.push(b',');
            }
            let start = root.span().start + 1;
            adapted.edits.push(Edit { span: start..start, with: Bytes::from(with) });
        }
    }
}

impl Rule {
    fn matches(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }
}

impl Adapted {
    /// The body as it goes out.
    pub(super) fn applied(mut self, body: &Bytes) -> Bytes {
        splice(body, &mut self.edits).into_bytes()
    }

    /// Gives a member its other name. One that is there under both is left out under the first.
    fn rename(&mut self, root: Value<'_>, path: &str, new: &str, cut: &mut Vec<Box<str>>) {
        let (parent, last) = match path.rsplit_once('.') {
            Some((parent, last)) => (root.find(&parent.split('.').collect::<Vec<_>>()), last),
            None => (Some(root), path),
        };
        let Some(parent) = parent else { return };
        if parent.get(last).is_none() {
            return;
        }
        if parent.get(new).is_some() {
            self.dropped.push(path.to_owned().into());
            cut.push(path.into());
            return;
        }
        for member in parent.members().filter(|member| member.is(last)) {
            let mut with = Vec::with_capacity(new.len() + 2);
            quote(new, &mut with);
            let start = member.span().start;
            let span = start..start + member.key.len() + 2;
            self.edits.push(Edit { span, with: Bytes::from(with) });
        }
    }

    /// Cuts members out, each with one comma beside it.
    fn cut<'a>(&mut self, object: Value<'a>, path: &mut Vec<&'a str>, cut: &[Box<str>]) {
        if cut.is_empty() {
            return;
        }
        let members: Vec<Member<'a>> = object.members().collect();
        let mut kept_end = None;
        for (at, member) in members.iter().enumerate() {
            let whole = cut.iter().any(|name| is_at(name, path, member));
            if !whole {
                kept_end = Some(member.span().end);
                let below = |name: &str| name.split('.').nth(path.len() + 1).is_some();
                if let Ok(key) = std::str::from_utf8(member.key)
                    && cut.iter().any(|name| below(name))
                {
                    path.push(key);
                    self.cut(member.value, path, cut);
                    path.pop();
                }
                continue;
            }
            let span = match (members.get(at + 1), kept_end) {
                (Some(next), _) => member.span().start..next.span().start,
                (None, Some(end)) => end..member.span().end,
                (None, None) => member.span(),
            };
            self.edits.push(Edit { span, with: Bytes::new() });
        }
    }
}

/// Whether a member of the object at `path` is the one with this dotted name.
fn is_at(name: &str, path: &[&str], member: &Member<'_>) -> bool {
    let mut steps = name.split('.');
    path.iter().all(|step| steps.next() == Some(step))
        && steps.next().is_some_and(|last| member.is(last))
        && steps.next().is_none()
}

#[cfg(test)]
mod tests;
