//! How likely each token was: the chosen ones and, beside them, the likely ones of each place.

use crate::dialect::ir::{Likely, Logprob, ObjectWriter, Text, number};
use crate::wire::json::Value;

/// Reads the `logprobsResult` of a candidate.
pub(super) fn decode(result: Value<'_>) -> Vec<Logprob<'_>> {
    let list = |key: &str| result.get(key).into_iter().flat_map(|list: Value<'_>| list.items());
    let mut top = list("topCandidates").map(|place| {
        let candidates = place.get("candidates").into_iter().flat_map(|list| list.items());
        candidates.filter_map(likely).collect()
    });
    let chosen = list("chosenCandidates");
    chosen
        .filter_map(|token| {
            let top = top.next().unwrap_or_default();
            Some(Logprob { token: likely(token)?, top })
        })
        .collect()
}

fn likely(item: Value<'_>) -> Option<Likely<'_>> {
    let logprob = Text::Borrowed(number(item.get("logProbability")?)?);
    let text = item.get("token").and_then(|text| text.as_str()).unwrap_or_default();
    Some(Likely { text, logprob, bytes: None })
}

/// Writes them into a candidate, if there are any.
pub(super) fn write(all: &[Logprob<'_>], candidate: &mut ObjectWriter<'_>) {
    if all.is_empty() {
        return;
    }
    candidate.object("logprobsResult", |result| {
        if all.iter().any(|one| !one.top.is_empty()) {
            result.array("topCandidates", |places| {
                for one in all {
                    places.object(|place| {
                        place.array("candidates", |list| {
                            one.top.iter().for_each(|it| list.object(|out| members(it, out)));
                        });
                    });
                }
            });
        }
        result.array("chosenCandidates", |list| {
            for one in all {
                list.object(|out| members(&one.token, out));
            }
        });
    });
}

fn members(likely: &Likely<'_>, out: &mut ObjectWriter<'_>) {
    out.text("token", &likely.text);
    out.raw("logProbability", &likely.logprob);
}
