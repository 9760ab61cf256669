//! What stands beside the text of an answer: how likely each token was, pictures, pages.

use super::streams::{ends_well, translated};
use super::*;
use crate::wire::sse;

const LIKELY: [Format; 4] = [Format::Chat, Format::Responses, Format::Gemini, Format::Cohere];

/// An answer of two tokens as the documentation of each provider has it, whole and streamed.
fn likely(format: Format) -> (&'static str, &'static str) {
    match format {
        Format::Chat => (
            r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi!","refusal":null},"logprobs":{"content":[{"token":"Hi","logprob":-0.31725305,"bytes":[72,105],"top_logprobs":[{"token":"Hi","logprob":-0.31725305,"bytes":[72,105]}]},{"token":"!","logprob":-0.02380986,"bytes":[33],"top_logprobs":[{"token":"!","logprob":-0.02380986,"bytes":[33]}]}],"refusal":null},"finish_reason":"stop"}]}"#,
            "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"logprobs\":{\"content\":[{\"token\":\"Hi\",\"logprob\":-0.31725305,\"bytes\":[72,105],\"top_logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.31725305,\"bytes\":[72,105]}]}],\"refusal\":null},\"finish_reason\":null}]}\n\n\
             data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"!\"},\"logprobs\":{\"content\":[{\"token\":\"!\",\"logprob\":-0.02380986,\"bytes\":[33],\"top_logprobs\":[{\"token\":\"!\",\"logprob\":-0.02380986,\"bytes\":[33]}]}],\"refusal\":null},\"finish_reason\":null}]}\n\n\
             data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
        Format::Responses => (
            r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{"type":"message","id":"msg_1","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi!","annotations":[],"logprobs":[{"token":"Hi","bytes":[72,105],"logprob":-0.31725305,"top_logprobs":[{"token":"Hi","bytes":[72,105],"logprob":-0.31725305}]},{"token":"!","bytes":[33],"logprob":-0.02380986,"top_logprobs":[{"token":"!","bytes":[33],"logprob":-0.02380986}]}]}]}]}"#,
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hi\",\"logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.31725305,\"top_logprobs\":[{\"token\":\"Hi\",\"logprob\":-0.31725305}]}]}\n\n\
             event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":5,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"!\",\"logprobs\":[{\"token\":\"!\",\"logprob\":-0.02380986,\"top_logprobs\":[{\"token\":\"!\",\"logprob\":-0.02380986}]}]}\n\n\
             event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":6,\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"model\":\"m\"}}\n\n",
        ),
        Format::Gemini => (
            r#"{"candidates":[{"content":{"parts":[{"text":"Hi!"}],"role":"model"},"finishReason":"STOP","avgLogprobs":-0.17,"logprobsResult":{"topCandidates":[{"candidates":[{"token":"Hi","tokenId":18,"logProbability":-0.31725305}]},{"candidates":[{"token":"!","tokenId":19,"logProbability":-0.02380986}]}],"chosenCandidates":[{"token":"Hi","tokenId":18,"logProbability":-0.31725305},{"token":"!","tokenId":19,"logProbability":-0.02380986}]},"index":0}],"modelVersion":"m","responseId":"g"}"#,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}],\"role\":\"model\"},\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":\"Hi\",\"logProbability\":-0.31725305}]}],\"chosenCandidates\":[{\"token\":\"Hi\",\"logProbability\":-0.31725305}]},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"g\"}\r\n\r\n\
             data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"!\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"logprobsResult\":{\"topCandidates\":[{\"candidates\":[{\"token\":\"!\",\"logProbability\":-0.02380986}]}],\"chosenCandidates\":[{\"token\":\"!\",\"logProbability\":-0.02380986}]},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"g\"}\r\n\r\n",
        ),
        Format::Cohere => (
            r#"{"id":"c","finish_reason":"COMPLETE","message":{"role":"assistant","content":[{"type":"text","text":"Hi!"}]},"logprobs":[{"text":"Hi","token_ids":[18],"logprobs":[-0.31725305]},{"text":"!","token_ids":[19],"logprobs":[-0.02380986]}]}"#,
            "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\"c\",\"delta\":{\"message\":{\"role\":\"assistant\"}}}\n\n\
             event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}}\n\n\
             event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hi\"}}},\"logprobs\":{\"text\":\"Hi\",\"token_ids\":[18],\"logprobs\":[-0.31725305]}}\n\n\
             event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"!\"}}},\"logprobs\":{\"text\":\"!\",\"token_ids\":[19],\"logprobs\":[-0.02380986]}}\n\n\
             event: content-end\ndata: {\"type\":\"content-end\",\"index\":0}\n\n\
             event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\"}}\n\n",
        ),
        Format::Anthropic | Format::Bedrock => unreachable!("{format} has no such thing"),
    }
}

/// The tokens of an answer, how likely they were, and how many others were named.
fn tokens(answer: &Answer<'_>) -> Vec<(String, String, usize)> {
    let all = answer.choices[0].logprobs.iter();
    all.map(|it| (it.token.text.to_string(), it.token.logprob.to_string(), it.top.len())).collect()
}

/// The same of a stream in a client's format, and its text.
fn streamed(format: Format, stream: &[u8]) -> (String, Vec<(String, String, usize)>) {
    let mut decoder = stream::decoder(format);
    let (mut text, mut found) = (String::new(), Vec::new());
    for event in sse::events(stream).filter(|event| !event.data.is_empty()) {
        decoder(event.name, &event.data, &mut |event: ir::Event<'_>| match event {
            ir::Event::Piece { text: piece, .. } => text.push_str(&piece),
            ir::Event::Logprobs { tokens, .. } => {
                found.extend(tokens.iter().map(|it| {
                    (it.token.text.to_string(), it.token.logprob.to_string(), it.top.len())
                }));
            }
            _ => {}
        });
    }
    (text, found)
}

#[test]
fn how_likely_each_token_was_is_said_where_both_formats_have_it() {
    let want = |client: Format, upstream: Format| {
        // Cohere has the tokens that were chosen only.
        let top = usize::from(client != Format::Cohere && upstream != Format::Cohere);
        [("Hi", "-0.31725305"), ("!", "-0.02380986")]
            .map(|(text, number)| (text.to_owned(), number.to_owned(), top))
    };
    for upstream in LIKELY {
        let (whole, stream) = likely(upstream);
        for to in LIKELY.into_iter().filter(|to| *to != upstream) {
            let pair = pair(to, upstream);
            let (ours, dropped) = pair.answer(whole.as_bytes(), client(to)).expect("an answer");
            let read = decode_answer(to, &ours).expect("its own");
            assert_eq!(tokens(&read), want(to, upstream), "{pair}");
            assert!(dropped.is_empty(), "{pair}: {dropped:?}");
            let out = translated(pair, std::iter::once(stream.as_bytes()));
            assert!(ends_well(to, &out), "{pair}: {}", String::from_utf8_lossy(&out));
            let (text, found) = streamed(to, &out);
            assert_eq!((&*text, &found[..]), ("Hi!", &want(to, upstream)[..]), "{pair}");
            if to == Format::Responses {
                // The whole at the end has them once more.
                let said = String::from_utf8_lossy(&out);
                let (_, last) = said.split_once("event: response.completed").expect("the end");
                assert!(last.contains("-0.31725305") && last.contains("-0.02380986"), "{last}");
            }
        }
        for to in [Format::Anthropic, Format::Bedrock] {
            let pair = pair(to, upstream);
            let (_, dropped) = pair.answer(whole.as_bytes(), client(to)).expect("an answer");
            assert_eq!(dropped.header_value(), "logprobs", "{pair}");
        }
    }
}

#[test]
fn what_is_no_number_is_not_written_as_one() {
    let chunk = |number: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"a\"}},\"logprobs\":{{\"content\":[{{\"token\":\"a\",\"logprob\":{number},\"bytes\":[1,x]}}]}}}}]}}\n\n\
             data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
        )
    };
    for number in ["-inf", "1.", "-", "01", "1e", "nan", "-1.5x"] {
        let bytes = chunk(number);
        for to in [Format::Responses, Format::Gemini, Format::Cohere] {
            let out = translated(pair(to, Format::Chat), std::iter::once(bytes.as_bytes()));
            let all = sse::events(&out).filter(|event| &*event.data != b"[DONE]");
            for event in all.filter(|event| !event.data.is_empty()) {
                let read = serde_json::from_slice::<serde_json::Value>(&event.data);
                assert!(read.is_ok(), "{number}: {}", String::from_utf8_lossy(&event.data));
            }
        }
    }
}

#[test]
fn pictures_of_an_answer_are_shown_where_both_formats_have_them() {
    let whole = [
        (
            Format::Chat,
            r#"{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"See:","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},"finish_reason":"stop"}]}"#,
        ),
        (
            Format::Responses,
            r#"{"id":"r","status":"completed","model":"m","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"See:","annotations":[]}]},{"type":"image_generation_call","id":"ig_1","status":"completed","output_format":"png","result":"iVBORw0KGgo="}]}"#,
        ),
        (
            Format::Gemini,
            r#"{"candidates":[{"content":{"parts":[{"text":"See:"},{"inlineData":{"mimeType":"image/png","data":"iVBORw0KGgo="}}],"role":"model"},"finishReason":"STOP","index":0}],"modelVersion":"m"}"#,
        ),
        (
            Format::Bedrock,
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"See:"},{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}]}},"stopReason":"end_turn"}"#,
        ),
    ];
    for (upstream, body) in whole {
        for to in Format::ALL.into_iter().filter(|to| *to != upstream) {
            let pair = pair(to, upstream);
            let (ours, dropped) = pair.answer(body.as_bytes(), client(to)).expect("an answer");
            if matches!(to, Format::Anthropic | Format::Cohere) {
                assert_eq!(dropped.header_value(), "content_(media)", "{pair}");
                continue;
            }
            assert!(dropped.is_empty(), "{pair}: {dropped:?}");
            let read = decode_answer(to, &ours).expect("its own");
            let shown = read.choices[0].blocks.iter().any(|block| match &block.content {
                Content::Media(media) => {
                    media.media_type() == "image/png"
                        && media.source == ir::Source::Base64("iVBORw0KGgo=".into())
                }
                _ => false,
            });
            assert!(shown, "{pair}: {}", String::from_utf8_lossy(&ours));
        }
    }
}

#[test]
fn pictures_of_a_stream_are_shown_where_both_formats_have_them() {
    let streams = [
        (
            Format::Chat,
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"See:\"}}]}\n\n\
             data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"images\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}}]}}]}\n\n\
             data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        ),
        (
            Format::Responses,
            "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"See:\"}\n\n\
             data: {\"type\":\"response.output_item.added\",\"output_index\":1,\"item\":{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"status\":\"in_progress\"}}\n\n\
             data: {\"type\":\"response.output_item.done\",\"output_index\":1,\"item\":{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"status\":\"completed\",\"result\":\"iVBORw0KGgo=\"}}\n\n\
             data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\"}}\n\n",
        ),
        (
            Format::Gemini,
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"See:\"}]},\"index\":0}]}\n\n\
             data: {\"candidates\":[{\"content\":{\"parts\":[{\"inlineData\":{\"mimeType\":\"image/png\",\"data\":\"iVBORw0KGgo=\"}}]},\"finishReason\":\"STOP\",\"index\":0}]}\n\n",
        ),
    ];
    for (upstream, stream) in streams {
        for to in [Format::Chat, Format::Responses, Format::Gemini] {
            if to == upstream {
                continue;
            }
            let out = translated(pair(to, upstream), std::iter::once(stream.as_bytes()));
            let text = String::from_utf8_lossy(&out);
            let shown = text.contains("iVBORw0KGgo=") && text.contains("See:");
            assert!(shown && ends_well(to, &out), "{upstream} to {to}: {text}");
        }
    }
}

#[test]
fn pages_that_are_listed_beside_an_answer_are_citations() {
    let body = r#"{"id":"p","model":"sonar","citations":["https://a.example/1","https://b.example/2"],"search_results":[{"title":"One","url":"https://a.example/1","date":null},{"title":"Two","url":"https://b.example/2"}],"choices":[{"index":0,"message":{"role":"assistant","content":"Rain [1][2]."},"finish_reason":"stop"}]}"#;
    let stream = "data: {\"id\":\"p\",\"model\":\"sonar\",\"citations\":[\"https://a.example/1\",\"https://b.example/2\"],\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Rain \"}}]}\n\n\
         data: {\"id\":\"p\",\"model\":\"sonar\",\"citations\":[\"https://a.example/1\",\"https://b.example/2\"],\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[1][2].\"}}]}\n\n\
         data: {\"id\":\"p\",\"model\":\"sonar\",\"citations\":[\"https://a.example/1\",\"https://b.example/2\"],\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for to in Format::ALL.into_iter().filter(|to| *to != Format::Chat) {
        let pair = pair(to, Format::Chat);
        let (ours, _) = pair.answer(body.as_bytes(), client(to)).expect("an answer");
        let out = translated(pair, std::iter::once(stream.as_bytes()));
        for text in [String::from_utf8_lossy(&ours), String::from_utf8_lossy(&out)] {
            for page in ["https://a.example/1", "https://b.example/2"] {
                assert!(text.contains(page), "{pair}: {text}");
            }
        }
        assert!(String::from_utf8_lossy(&ours).contains("Two"), "{pair}");
    }
}
