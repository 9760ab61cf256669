//! Requests and answers of any content, there and back again.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::dialect::ir::{
    At, Block, Choice, Citation, Content, Likely, Logprob, Media, MediaKind, Message, Origin,
    Output, Role, Schema, Seal, Source, Span, Thought, Tool, ToolCall, ToolChoice, ToolResult,
};
use crate::dialect::{Dropped, Usage};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{1,12}", "\\PC{1,12}", "[\"\\\\\\n\\t\u{1F600}]{1,6}"]
}

fn arguments() -> impl Strategy<Value = String> {
    text().prop_map(|text| serde_json::json!({"z": 1.5, "a": [text]}).to_string())
}

fn said(format: Format) -> impl Strategy<Value = Block<'static>> {
    let image = Just(Content::Media(Media {
        kind: MediaKind::Image,
        source: Source::Base64("iVBORw0KGgo=".into()),
        media_type: Some("image/png".into()),
        name: None,
        detail: None,
    }));
    let _ = format;
    prop_oneof![3 => text().prop_map(|text| Content::Text(text.into())), 1 => image]
        .prop_map(Block::new)
}

/// What the model did, and the results of its calls.
fn turn(format: Format) -> impl Strategy<Value = Vec<Message<'static>>> {
    let user = proptest::collection::vec(said(format), 1..3);
    let calls = proptest::collection::vec((arguments(), text()), 0..3);
    (user, proptest::option::of((text(), text())), text(), calls).prop_map(
        move |(user, thought, answer, calls)| {
            let mut blocks = Vec::new();
            // Only formats that sign thoughts take them back.
            let signs = !matches!(format, Format::Chat | Format::Cohere);
            if let Some((text, seal)) = thought.filter(|_| signs) {
                let seal = Some(Seal { origin: format, id: None, value: seal.into() });
                blocks.push(Block::new(Content::Thought(Thought { text: text.into(), seal })));
            }
            blocks.push(Block::text(answer));
            let mut results = Vec::new();
            for (n, (arguments, result)) in calls.into_iter().enumerate() {
                let id = format!("call_{n}");
                let call = ToolCall {
                    id: id.clone().into(),
                    name: format!("tool_{n}").into(),
                    arguments: arguments.into(),
                    seal: None,
                };
                blocks.push(Block::new(Content::ToolCall(call)));
                let result = ToolResult {
                    call_id: id.into(),
                    name: None,
                    blocks: vec![Block::text(result)],
                    is_error: false,
                };
                results.push(Block::new(Content::ToolResult(result)));
            }
            let mut messages = vec![
                Message { role: Role::User, blocks: user },
                Message { role: Role::Assistant, blocks },
            ];
            if !results.is_empty() {
                messages.push(Message { role: Role::User, blocks: results });
            }
            messages
        },
    )
}

fn any_request(format: Format) -> impl Strategy<Value = Request<'static>> {
    let tools = proptest::collection::vec((text(), proptest::option::of(arguments())), 0..3);
    let output = prop_oneof![
        Just(Output::Text),
        arguments().prop_map(|schema| Output::Schema(Schema {
            schema: schema.into(),
            ..Schema::default()
        })),
    ];
    let rest = (
        proptest::option::of(text()),
        tools,
        any::<bool>(),
        output,
        proptest::option::of(1025_u64..100_000),
        proptest::collection::vec(text(), 0..3),
        (proptest::option::of(0_u64..5), any::<bool>()),
    );
    (proptest::collection::vec(turn(format), 1..3), rest).prop_map(
        |(turns, (system, tools, required, output, max_tokens, stop, (logprobs, pictures)))| {
            let system =
                system.map(|text| Message { role: Role::System, blocks: vec![Block::text(text)] });
            let tools: Vec<Tool<'static>> = tools
                .into_iter()
                .enumerate()
                .map(|(n, (description, parameters))| Tool::Function {
                    name: format!("tool_{n}").into(),
                    description: Some(description.into()),
                    parameters: parameters.map(Into::into),
                    strict: None,
                    cache: None,
                })
                .collect();
            let tool_choice = (required && !tools.is_empty()).then_some(ToolChoice::Required);
            Request {
                messages: system.into_iter().chain(turns.into_iter().flatten()).collect(),
                tools,
                tool_choice,
                output,
                max_tokens,
                stop: stop.into_iter().map(Into::into).collect(),
                temperature: Some("0.50"),
                logprobs,
                pictures,
                ..Request::default()
            }
        },
    )
}

fn encoded(format: Format, request: Request<'_>) -> (Vec<u8>, Dropped) {
    let mut loss = Loss::new(format.as_str(), LossPolicy::Lenient);
    let body = encode_request(format, request, "m", &mut loss);
    (body, loss.take())
}

fn any_format() -> impl Strategy<Value = Format> {
    proptest::sample::select(&Format::ALL[..])
}

fn request_and_format() -> impl Strategy<Value = (Format, Request<'static>)> {
    any_format().prop_flat_map(|format| (Just(format), any_request(format)))
}

fn any_answer(format: Format) -> impl Strategy<Value = Answer<'static>> {
    let finish = prop_oneof![Just(Finish::Stop), Just(Finish::Length)];
    let usage = (1_u64..1000, 0_u64..100, 1_u64..1000, 0_u64..100);
    let cited = proptest::collection::vec((0_u64..6, 0_u64..8, text(), any::<bool>()), 0..3);
    let beside = (proptest::collection::vec((text(), text()), 0..3), any::<bool>());
    (turn(format), finish, usage, cited, beside).prop_map(|(turn, finish, used, cited, beside)| {
        let (fresh, cached, said, thought) = used;
        let (likely, picture) = beside;
        let mut blocks = turn[1].blocks.clone();
        if picture {
            let png = Some("image/png".into());
            let media = Media::picture("iVBORw0KGgo=".into(), png);
            blocks.push(Block::new(Content::Media(media)));
        }
        let likely = likely.into_iter().map(|(chosen, other)| Logprob {
            token: likely_token(&chosen, "-0.25"),
            top: vec![likely_token(&chosen, "-0.25"), likely_token(&other, "-1.5e1")],
        });
        let logprobs = likely.collect();
        let block = blocks.iter().position(|block| matches!(block.content, Content::Text(_)));
        let block = block.map(|at| at as u32);
        let citations = cited.into_iter().map(|(start, chars, title, page)| Citation {
            at: At { block, span: Some(Span::Chars(start..start + chars)) },
            origin: if page {
                Origin::Web(format!("https://example.com/{start}").into())
            } else {
                Origin::Named(format!("doc:{start}").into())
            },
            title: Some(title.into()),
            quote: None,
        });
        let calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall(_)));
        let finish = if calls { Finish::ToolCalls } else { finish };
        Answer {
            id: Some("id-1".into()),
            model: Some("m".into()),
            choices: vec![Choice {
                blocks,
                citations: citations.collect(),
                finish: Some(finish),
                stop_sequence: None,
                logprobs,
            }],
            usage: Some(Usage {
                input: fresh + cached,
                output: said + thought,
                cached_input: cached,
                reasoning: thought,
                ..Usage::default()
            }),
            ..Answer::default()
        }
    })
}

fn answer_and_pair() -> impl Strategy<Value = (ChatPair, Answer<'static>)> {
    (any_format(), any_format())
        .prop_filter("another format", |(client, upstream)| client != upstream)
        .prop_flat_map(|(client, upstream)| (Just(pair(client, upstream)), any_answer(upstream)))
}

fn likely_token(text: &str, logprob: &'static str) -> Likely<'static> {
    Likely { text: text.to_owned().into(), logprob: logprob.into(), bytes: None }
}

/// How likely the tokens of an answer were, with the others beside them or without.
fn likely(answer: &Answer<'_>, others: bool) -> Vec<(String, String)> {
    let all = answer.choices[0].logprobs.iter().flat_map(|it| {
        let top = it.top.iter().filter(move |_| others);
        std::iter::once(&it.token).chain(top)
    });
    all.map(|it| (it.text.to_string(), it.logprob.to_string())).collect()
}

/// The pictures of an answer.
fn pictures(answer: &Answer<'_>) -> usize {
    let shown =
        |block: &&Block<'_>| matches!(&block.content, Content::Media(it) if it.is_picture());
    answer.choices[0].blocks.iter().filter(shown).count()
}

/// The texts and calls of an answer.
fn gist(answer: &Answer<'_>) -> (String, Vec<(String, String)>, Option<Finish>) {
    let choice = &answer.choices[0];
    let (mut text, mut calls) = (String::new(), Vec::new());
    for block in &choice.blocks {
        match &block.content {
            Content::Text(said) => text.push_str(said),
            Content::ToolCall(call) => {
                calls.push((call.name.to_string(), call.arguments.to_string()));
            }
            _ => {}
        }
    }
    (text, calls, choice.finish)
}

/// The pages that an answer is drawn from, and what of its text from each.
fn pages(answer: &Answer<'_>) -> Vec<(String, String)> {
    let choice = &answer.choices[0];
    let said = choice.cited_text();
    let cited = choice.citations.iter().filter_map(|citation| said.find(citation));
    let pages = cited.filter_map(|cited| {
        Some((cited.citation.origin.url()?.to_owned(), cited.text().to_owned()))
    });
    pages.collect()
}

/// What a request says, in words that all formats have: who said what, in which order, with which
/// tools, and how the answer is to be.
fn said_by(request: &Request<'_>) -> Vec<String> {
    let mut said = Vec::new();
    let mut turns = String::new();
    // Gemini's calls may have no ids: what counts is which result is whose.
    let mut ids: Vec<&str> = Vec::new();
    for message in &request.messages {
        for block in &message.blocks {
            let what = match &block.content {
                // An empty text says nothing, and some formats refuse one.
                Content::Text(text) if text.trim().is_empty() => continue,
                Content::Text(text) => format!("text {text:?}"),
                Content::Media(media) => format!("media {:?} {:?}", media.kind, media.source),
                Content::ToolCall(call) => {
                    ids.push(&call.id);
                    format!("call {} {} {}", ids.len(), call.name, call.arguments)
                }
                Content::ToolResult(result) => {
                    let text = result.blocks.iter().filter_map(|block| match &block.content {
                        Content::Text(text) => Some(&**text),
                        _ => None,
                    });
                    let of = ids.iter().rposition(|id| *id == result.call_id).map(|at| at + 1);
                    format!("result {of:?} {:?}", text.collect::<String>())
                }
                _ => continue,
            };
            let role = match message.role {
                Role::System | Role::Developer => "instructions",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            let _ = writeln!(turns, "{role}: {what}");
        }
    }
    said.push(turns);
    for tool in &request.tools {
        if let Tool::Function { name, description, parameters, .. } = tool {
            // A tool without parameters has an empty schema where there has to be one.
            let parameters =
                parameters.as_deref().filter(|schema| !schema.contains("\"properties\":{}"));
            said.push(format!("tool {name} {description:?} {parameters:?}"));
        }
    }
    said.push(format!("{:?}", request.tool_choice));
    said.push(match &request.output {
        Output::Schema(schema) => format!("schema {}", schema.schema),
        other => format!("{other:?}"),
    });
    said.push(format!("{:?} {:?}", request.temperature, request.stop));
    said.push(format!("{:?} {}", request.logprobs, request.pictures));
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What a pair can express comes back from it as it went.
    #[test]
    fn there_and_back_again((format, request) in request_and_format(), to in any_format()) {
        prop_assume!(format != to);
        let (body, _) = encoded(format, request);
        let before = decode_request(format, &body).expect("its own");
        let there = pair(format, to).request(&body, false, "m", LossPolicy::Strict);
        if let Ok(there) = there {
            let back = pair(to, format).request(&there.body, false, "m", LossPolicy::Lenient)
                .map_err(|error| TestCaseError::fail(format!("{to} to {format}: {error}")))?;
            let after = decode_request(format, &back.body).map_err(|error| TestCaseError::fail(error.to_string()))?;
            // Anthropic has to be told a bound, where the client has not set one.
            prop_assert_eq!(after.max_tokens.filter(|_| before.max_tokens.is_some()), before.max_tokens);
            prop_assert_eq!(said_by(&before), said_by(&after), "{} by {}\n{}\n{}", format, to,
                String::from_utf8_lossy(&there.body), String::from_utf8_lossy(&back.body));
        }
    }

    /// What is read from what was written is written the same again: nothing gets lost on the way
    /// that was not lost, and reported, the first time.
    #[test]
    fn decode_and_encode_are_inverse((format, request) in request_and_format()) {
        let (once, _) = encoded(format, request);
        let decoded = decode_request(format, &once).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (again, dropped) = encoded(format, decoded);
        prop_assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&once), "{}", format);
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }

    /// A request is valid JSON in every other format, and says the same texts.
    #[test]
    fn requests_keep_their_texts((format, request) in request_and_format(), to in any_format()) {
        prop_assume!(format != to);
        let (body, _) = encoded(format, request);
        if let Ok(out) = pair(format, to).request(&body, false, "m", LossPolicy::Lenient) {
            let before = decode_request(format, &body).expect("its own");
            let after = decode_request(to, &out.body).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let texts = |request: &Request<'_>| -> Vec<String> {
                let blocks = request.messages.iter().flat_map(|message| &message.blocks);
                let mut texts: Vec<String> = blocks.filter_map(|block| match &block.content {
                    Content::Text(text) if !text.trim().is_empty() => Some(text.to_string()),
                    _ => None,
                }).collect();
                // Instructions may have moved to their own place.
                texts.sort();
                texts
            };
            prop_assert_eq!(texts(&before), texts(&after), "{} to {}", format, to);
        }
    }

    /// What is read from an answer that was written is written the same again.
    #[test]
    fn decode_and_encode_of_answers_are_inverse((format, answer) in any_format().prop_flat_map(|format| (Just(format), any_answer(format)))) {
        let write = |answer: &Answer<'_>| {
            let mut loss = Loss::new(format.as_str(), LossPolicy::Lenient);
            let body = encode_answer(format, answer, client(format), &mut loss);
            (String::from_utf8(body).expect("UTF-8"), loss.take())
        };
        let (once, _) = write(&answer);
        let decoded = decode_answer(format, once.as_bytes()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let (again, dropped) = write(&decoded);
        prop_assert_eq!(again, once, "{}", format);
        prop_assert!(dropped.is_empty(), "{:?}", dropped);
    }

    /// An answer says the same in every other format, and has used the same.
    #[test]
    fn answers_keep_what_they_say((pair, answer) in answer_and_pair()) {
        let mut loss = Loss::new(pair.upstream.as_str(), LossPolicy::Lenient);
        let body = encode_answer(pair.upstream, &answer, client(pair.upstream), &mut loss);
        let (ours, _) = pair.answer(&body, client(pair.client)).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let mut read = decode_answer(pair.client, &ours).map_err(|error| TestCaseError::fail(error.to_string()))?;
        settle_finish(&mut read).expect("no failure");
        prop_assert_eq!(gist(&read), gist(&answer), "{}", pair);
        // Of two formats that say of which part of the text a source is, both say the same.
        let whole = |format| matches!(format, Format::Anthropic | Format::Bedrock);
        if !whole(pair.client) && !whole(pair.upstream) {
            prop_assert_eq!(pages(&read), pages(&answer), "{}", pair);
        }
        let silent = |format| matches!(format, Format::Anthropic | Format::Bedrock);
        if !silent(pair.client) && !silent(pair.upstream) {
            let others = pair.client != Format::Cohere && pair.upstream != Format::Cohere;
            prop_assert_eq!(likely(&read, others), likely(&answer, others), "{}", pair);
        }
        let blind = |format| matches!(format, Format::Anthropic | Format::Cohere);
        if !blind(pair.client) && !blind(pair.upstream) {
            prop_assert_eq!(pictures(&read), pictures(&answer), "{}", pair);
        }
        let urls = |answer: &Answer<'_>| {
            let mut urls: Vec<String> = pages(answer).into_iter().map(|(url, _)| url).collect();
            urls.sort();
            urls.dedup();
            urls
        };
        prop_assert_eq!(urls(&read), urls(&answer), "{}", pair);
        let (told, used) = (read.usage.unwrap_or_default(), answer.usage.unwrap_or_default());
        prop_assert_eq!((told.input, told.output, told.cached_input), (used.input, used.output, used.cached_input));
    }
}
