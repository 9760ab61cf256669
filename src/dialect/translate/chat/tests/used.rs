//! What was used: for every pair, what weir records is what the provider reports, and what the client
//! is told is the same, as far as its format has words for it.

use std::fmt::Write as _;

use super::streams::{framing, translated};
use super::*;
use crate::dialect::{NoText, StreamObserver, Usage, observe_body};
use crate::wire::eventstream;
use crate::wire::frame::Framer;

/// A report as each provider writes it, and what it says in weir's terms: the totals, with the parts
/// that the provider leaves out of its own totals added to them.
fn report(format: Format) -> (&'static str, Usage) {
    let all = Usage {
        input: 1310,
        output: 90,
        cached_input: 1000,
        reasoning: 50,
        audio_input: 8,
        audio_output: 4,
        ..Usage::default()
    };
    let silent = Usage { reasoning: 0, audio_input: 0, audio_output: 0, ..all };
    match format {
        Format::Chat => (
            r#"{"prompt_tokens":1310,"completion_tokens":90,"total_tokens":1400,"prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":300,"audio_tokens":8},"completion_tokens_details":{"reasoning_tokens":50,"audio_tokens":4}}"#,
            Usage { cache_creation_5m: 300, ..all },
        ),
        Format::Responses => (
            r#"{"input_tokens":1310,"input_tokens_details":{"cached_tokens":1000},"output_tokens":90,"output_tokens_details":{"reasoning_tokens":50},"total_tokens":1400}"#,
            Usage { reasoning: 50, ..silent },
        ),
        Format::Anthropic => (
            r#"{"input_tokens":10,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":90,"output_tokens_details":{"thinking_tokens":50}}"#,
            Usage { cache_creation_5m: 100, cache_creation_1h: 200, reasoning: 50, ..silent },
        ),
        Format::Gemini => (
            r#"{"promptTokenCount":1300,"toolUsePromptTokenCount":10,"candidatesTokenCount":40,"thoughtsTokenCount":50,"totalTokenCount":1400,"cachedContentTokenCount":1000,"promptTokensDetails":[{"modality":"TEXT","tokenCount":1292},{"modality":"AUDIO","tokenCount":8}],"candidatesTokensDetails":[{"modality":"TEXT","tokenCount":36},{"modality":"AUDIO","tokenCount":4}]}"#,
            all,
        ),
        Format::Cohere => (
            r#"{"billed_units":{"input_tokens":1310,"output_tokens":90},"tokens":{"input_tokens":1400,"output_tokens":95},"cached_tokens":1000}"#,
            silent,
        ),
        Format::Bedrock => (
            r#"{"inputTokens":10,"outputTokens":90,"totalTokens":1400,"cacheReadInputTokens":1000,"cacheWriteInputTokens":300,"cacheDetails":[{"ttl":"1h","inputTokens":200},{"ttl":"5m","inputTokens":100}]}"#,
            Usage { cache_creation_5m: 100, cache_creation_1h: 200, ..silent },
        ),
    }
}

/// A whole answer with this report.
fn whole(format: Format, usage: &str) -> String {
    match format {
        Format::Chat => format!(
            r#"{{"id":"c","model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"Hi"}},"finish_reason":"stop"}}],"usage":{usage}}}"#
        ),
        Format::Responses => format!(
            r#"{{"id":"r","model":"m","status":"completed","output":[{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"Hi","annotations":[]}}]}}],"usage":{usage}}}"#
        ),
        Format::Anthropic => format!(
            r#"{{"id":"m","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"Hi"}}],"stop_reason":"end_turn","usage":{usage}}}"#
        ),
        Format::Gemini => format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Hi"}}],"role":"model"}},"finishReason":"STOP","index":0}}],"usageMetadata":{usage},"modelVersion":"m"}}"#
        ),
        Format::Cohere => format!(
            r#"{{"id":"c","finish_reason":"COMPLETE","message":{{"role":"assistant","content":[{{"type":"text","text":"Hi"}}]}},"usage":{usage}}}"#
        ),
        Format::Bedrock => format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"Hi"}}]}}}},"stopReason":"end_turn","usage":{usage}}}"#
        ),
    }
}

/// The same as a stream.
fn stream(format: Format, usage: &str) -> Vec<u8> {
    let named = |events: &[(&str, String)]| {
        let mut out = String::new();
        for (name, data) in events {
            let _ = write!(out, "event: {name}\ndata: {data}\n\n");
        }
        out.into_bytes()
    };
    match format {
        Format::Chat => format!(
            "data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"Hi\"}}}}]}}\n\n\
             data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n\
             data: {{\"id\":\"c\",\"model\":\"m\",\"choices\":[],\"usage\":{usage}}}\n\ndata: [DONE]\n\n"
        )
        .into_bytes(),
        Format::Responses => named(&[
            ("response.output_text.delta", r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Hi"}"#.into()),
            ("response.completed", format!(r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","model":"m","usage":{usage}}}}}"#)),
        ]),
        Format::Anthropic => named(&[
            // The counts of the prompt come at the start, those of the answer at the end.
            ("message_start", format!(r#"{{"type":"message_start","message":{{"id":"m","model":"m","usage":{}}}}}"#, usage.replace("\"output_tokens\":90", "\"output_tokens\":1"))),
            ("content_block_start", r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.into()),
            ("content_block_delta", r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#.into()),
            ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#.into()),
            ("message_delta", r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":90}}"#.into()),
            ("message_stop", r#"{"type":"message_stop"}"#.into()),
        ]),
        Format::Gemini => format!(
            "data: {{\"candidates\":[{{\"content\":{{\"parts\":[{{\"text\":\"Hi\"}}]}},\"index\":0}}],\"usageMetadata\":{{\"promptTokenCount\":1300}}}}\r\n\r\n\
             data: {{\"candidates\":[{{\"content\":{{\"parts\":[]}},\"finishReason\":\"STOP\",\"index\":0}}],\"usageMetadata\":{usage},\"modelVersion\":\"m\"}}\r\n\r\n"
        )
        .into_bytes(),
        Format::Cohere => named(&[
            ("message-start", r#"{"type":"message-start","id":"c","delta":{"message":{"role":"assistant"}}}"#.into()),
            ("content-start", r#"{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}"#.into()),
            ("content-delta", r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"Hi"}}}}"#.into()),
            ("content-end", r#"{"type":"content-end","index":0}"#.into()),
            ("message-end", format!(r#"{{"type":"message-end","delta":{{"finish_reason":"COMPLETE","usage":{usage}}}}}"#)),
        ]),
        Format::Bedrock => [
            ("messageStart", r#"{"role":"assistant"}"#.to_owned()),
            ("contentBlockDelta", r#"{"contentBlockIndex":0,"delta":{"text":"Hi"}}"#.to_owned()),
            ("contentBlockStop", r#"{"contentBlockIndex":0}"#.to_owned()),
            ("messageStop", r#"{"stopReason":"end_turn"}"#.to_owned()),
            ("metadata", format!(r#"{{"usage":{usage}}}"#)),
        ]
        .iter()
        .flat_map(|(kind, payload)| {
            let headers = [(":message-type", "event"), (":event-type", *kind)];
            eventstream::encode(&headers, payload.as_bytes())
        })
        .collect(),
    }
}

/// What of it a client's format has words for.
fn told(client: Format, used: Usage) -> Usage {
    let written = used.cache_creation_5m + used.cache_creation_1h;
    let no_audio = Usage { audio_input: 0, audio_output: 0, ..used };
    let nothing_written = |used| Usage { cache_creation_5m: 0, cache_creation_1h: 0, ..used };
    match client {
        // One word for what was written, however long it is kept.
        Format::Chat | Format::Responses => {
            Usage { cache_creation_5m: written, cache_creation_1h: 0, ..used }
        }
        Format::Anthropic => no_audio,
        Format::Gemini => nothing_written(used),
        Format::Cohere => nothing_written(Usage { reasoning: 0, ..no_audio }),
        Format::Bedrock => Usage { reasoning: 0, ..no_audio },
    }
}

fn recorded(format: Format, body: &[u8]) -> Option<Usage> {
    observe_body(format.endpoint(false), format.dialect(), body, &mut NoText).usage
}

fn recorded_of_stream(format: Format, stream: &[u8]) -> Option<Usage> {
    let mut framer = Framer::new(framing(format), 1 << 20);
    let frames = framer.push(stream.to_vec().into()).expect("frames").unwrap_or_default();
    let framing = framing(format);
    let mut observer = StreamObserver::new(format.endpoint(true), format.dialect(), framing, false);
    observer.observe(&frames, &mut NoText);
    observer.usage()
}

#[test]
fn what_is_recorded_and_told_is_what_the_provider_reports() {
    let mut cells = 0;
    for upstream in Format::ALL {
        let (usage, used) = report(upstream);
        let (body, stream) = (whole(upstream, usage), stream(upstream, usage));
        assert_eq!(recorded(upstream, body.as_bytes()), Some(used), "{upstream}");
        assert_eq!(recorded_of_stream(upstream, &stream), Some(used), "{upstream}, streamed");
        // A client of the same format gets the provider's own bytes.
        cells += 2;
        for to in Format::ALL.into_iter().filter(|to| *to != upstream) {
            let pair = pair(to, upstream);
            let want = Some(told(to, used));
            let (ours, _) = pair.answer(body.as_bytes(), client(to)).expect("an answer");
            assert_eq!(recorded(to, &ours), want, "{pair}");
            let ours = translated(pair, std::iter::once(&stream[..]));
            assert_eq!(recorded_of_stream(to, &ours), want, "{pair}, streamed");
            cells += 2;
        }
    }
    assert_eq!(cells, 72);
}
