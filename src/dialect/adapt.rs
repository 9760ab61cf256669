//! What a server wants otherwise than its dialect has it: members that it does not know or knows
//! under another name, members that it wants besides, and a model that does not belong in the body.
//!
//! All of it is data of a provider. A body is adapted by edits of spans, so that whatever is not
//! touched stays as it was, byte for byte; this holds for a client's own body and for one that was
//! translated.

use std::borrow::Cow;

use bytes::Bytes;

use super::ir::{Dropped, Format, LossPolicy, ModelQuirks};
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
    /// What else the models do otherwise.
    pub quirks: ModelQuirks,
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

    /// What a model does otherwise than others.
    pub fn quirks(&self, model: &str) -> ModelQuirks {
        let rule = self.rules.iter().find(|rule| rule.matches(model));
        rule.map(|rule| rule.quirks).unwrap_or_default()
    }

    /// How a body is to be changed. `None` where nothing is, and for requests other than chats.
    pub fn of(&self, endpoint: Endpoint, model: &str, body: &[u8]) -> Option<Adapted> {
        Format::of(endpoint)?;
        let rule = self.rules.iter().find(|rule| rule.matches(model));
        if rule.is_none() && self.add.is_empty() && !self.model_in_path_only {
            return None;
        }
        let root = json::lazy(body);
        // The one walk over the whole body.
        let members: Vec<Member<'_>> = root.members().collect();
        let mut adapted = Adapted::default();
        let mut cut: Vec<Box<str>> = Vec::new();
        if let Some(rule) = rule {
            for (path, new) in &rule.rename {
                adapted.rename(&members, path, new, &mut cut);
            }
            for path in &rule.drop {
                if at(&members, path).is_some() {
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
        adapted.cut(&members, &mut Vec::new(), &cut);
        self.add_to(root.span().start + 1, &members, &cut, &mut adapted);
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

    /// Adds what is missing at the beginning of the object.
    fn add_to(
        &self,
        start: usize,
        members: &[Member<'_>],
        cut: &[Box<str>],
        adapted: &mut Adapted,
    ) {
        let kept = members.iter().any(|member| !cut.iter().any(|name| member.is(name)));
        let missing = self.add.iter().filter(|(name, _)| at(members, name).is_none());
        for (index, (name, raw)) in missing.enumerate() {
            let mut with = Vec::with_capacity(name.len() + raw.len() + 4);
            if index > 0 && !kept {
                with.push(b',');
            }
            quote(name, &mut with);
            with.push(b':');
            with.extend_from_slice(raw.as_bytes());
            if kept {
                with.push(b',');
            }
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
    fn rename(&mut self, root: &[Member<'_>], path: &str, new: &str, cut: &mut Vec<Box<str>>) {
        let below: Vec<Member<'_>>;
        let (siblings, last) = match path.rsplit_once('.') {
            Some((parent, last)) => {
                let Some(parent) = at(root, parent) else { return };
                below = parent.members().collect();
                (&below[..], last)
            }
            None => (root, path),
        };
        if siblings.iter().any(|member| member.is(last))
            && siblings.iter().any(|member| member.is(new))
        {
            self.dropped.push(path.to_owned().into());
            cut.push(path.into());
            return;
        }
        for member in siblings.iter().filter(|member| member.is(last)) {
            let mut with = Vec::with_capacity(new.len() + 2);
            quote(new, &mut with);
            let start = member.span().start;
            let span = start..start + member.key.len() + 2;
            self.edits.push(Edit { span, with: Bytes::from(with) });
        }
    }

    /// Cuts members of the object at `path` out, each with one comma beside it.
    fn cut<'n>(&mut self, members: &[Member<'_>], path: &mut Vec<&'n str>, cut: &'n [Box<str>]) {
        let mut kept_end = None;
        for (index, member) in members.iter().enumerate().filter(|_| !cut.is_empty()) {
            if !cut.iter().any(|name| is_at(name, path, member)) {
                kept_end = Some(member.span().end);
                let step = cut.iter().find_map(|name| step_into(name, path.len(), member));
                if let Some(step) = step {
                    path.push(step);
                    let below: Vec<Member<'_>> = member.value.members().collect();
                    self.cut(&below, path, cut);
                    path.pop();
                }
                continue;
            }
            let span = match (members.get(index + 1), kept_end) {
                (Some(next), _) => member.span().start..next.span().start,
                (None, Some(end)) => end..member.span().end,
                (None, None) => member.span(),
            };
            self.edits.push(Edit { span, with: Bytes::new() });
        }
    }
}

/// The value at a dotted name.
fn at<'a>(members: &[Member<'a>], path: &str) -> Option<Value<'a>> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(a, b)| (a, Some(b)));
    let found = members.iter().find(|member| member.is(first))?.value;
    rest.map_or(Some(found), |rest| found.find(&rest.split('.').collect::<Vec<_>>()))
}

/// The step of a dotted name that leads into this member, so many steps down.
fn step_into<'n>(name: &'n str, depth: usize, member: &Member<'_>) -> Option<&'n str> {
    let mut steps = name.split('.').skip(depth);
    let step = steps.next().filter(|step| member.is(step))?;
    steps.next().map(|_| step)
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
