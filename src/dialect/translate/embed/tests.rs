//! Embeddings without a network.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Kind;
use crate::wire::frame::Framing;

fn pair(client: EmbedFormat, upstream: EmbedFormat) -> EmbedPair {
    EmbedPair { client, upstream }
}

fn request(pair: EmbedPair, body: &Json, model: &str) -> Result<(Json, String), Error> {
    let out = pair.request(body.to_string().as_bytes(), model, LossPolicy::Lenient)?;
    Ok((serde_json::from_slice(&out.body).expect("JSON"), out.dropped.header_value()))
}

fn answer(pair: EmbedPair, asked: &Json, theirs: &Json) -> Result<Json, Error> {
    let asked = asked.to_string();
    let client = Client {
        request_id: "req_1",
        model: "m",
        unix_s: 1_700_000_000,
        stream_usage: false,
        answer_by_call: false,
        kept: None,
        request: asked.as_bytes(),
        framing: Framing::Sse,
    };
    let (ours, _) = pair.answer(theirs.to_string().as_bytes(), client)?;
    Ok(serde_json::from_slice(&ours).expect("JSON"))
}

#[test]
fn a_request_in_every_format() {
    let asked = json!({"model": "a", "input": ["x", "y\n"], "encoding_format": "base64",
        "dimensions": 8, "user": "ann", "input_type": "query"});
    let to = |upstream, model| request(pair(EmbedFormat::OpenAi, upstream), &asked, model);
    let (gemini, dropped) = to(EmbedFormat::Gemini, "g").expect("translates");
    let one = |text| json!({"model": "models/g", "content": {"parts": [{"text": text}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 8});
    assert_eq!(gemini, json!({"requests": [one("x"), one("y\n")]}));
    assert_eq!(dropped, "user");
    let (cohere, dropped) = to(EmbedFormat::Cohere, "c").expect("translates");
    assert_eq!(
        cohere,
        json!({"model": "c", "texts": ["x", "y\n"], "input_type": "search_query",
            "embedding_types": ["base64"], "output_dimension": 8})
    );
    assert_eq!(dropped, "user");
    let (invoke, _) = to(EmbedFormat::Bedrock, "eu.cohere.embed-v4:0").expect("translates");
    assert_eq!(
        invoke,
        json!({"texts": ["x", "y\n"], "input_type": "search_query",
            "embedding_types": ["float"], "output_dimension": 8})
    );
    let error = to(EmbedFormat::Bedrock, "amazon.titan-embed-text-v2:0").expect_err("two texts");
    assert_eq!((error.kind, error.param.as_deref()), (Kind::NotExpressible, Some("input")));
    let asked = json!({"model": "a", "input": "x", "dimensions": 256});
    let titan = pair(EmbedFormat::OpenAi, EmbedFormat::Bedrock);
    let (titan, dropped) = request(titan, &asked, "amazon.titan-embed-text-v2:0").expect("one");
    assert_eq!((titan, &*dropped), (json!({"inputText": "x", "dimensions": 256}), ""));
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let cases = [
        (EmbedFormat::OpenAi, EmbedFormat::Cohere, json!({"input": [1, 2]}), "input"),
        (EmbedFormat::OpenAi, EmbedFormat::Gemini, json!({"input": [[1], [2]]}), "input"),
        (
            EmbedFormat::Cohere,
            EmbedFormat::OpenAi,
            json!({"texts": ["x"], "embedding_types": ["int8"]}),
            "embedding_types",
        ),
        (EmbedFormat::Cohere, EmbedFormat::Gemini, json!({"images": ["data:,"]}), "images"),
        (
            EmbedFormat::Cohere,
            EmbedFormat::OpenAi,
            json!({"inputs": [{"content": [{"type": "image_url"}]}]}),
            "inputs[0]",
        ),
        (
            EmbedFormat::GeminiOne,
            EmbedFormat::OpenAi,
            json!({"content": {"parts": [{"inlineData": {}}]}}),
            "content.parts",
        ),
        (
            EmbedFormat::Gemini,
            EmbedFormat::OpenAi,
            json!({"requests": [{"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 8},
                {"content": {"parts": [{"text": "y"}]}}]}),
            "requests[].taskType",
        ),
        (EmbedFormat::Bedrock, EmbedFormat::OpenAi, json!({"prompt": "x"}), "body"),
    ];
    for (client, upstream, body, param) in cases {
        let error = request(pair(client, upstream), &body, "m").expect_err(param);
        assert_eq!(
            (error.kind, error.param.as_deref()),
            (Kind::NotExpressible, Some(param)),
            "{body}"
        );
    }
}

#[test]
fn members_of_one_kind_of_body_stay_between_its_two_homes() {
    let asked = json!({"texts": ["x"], "input_type": "classification", "truncate": "END"});
    let home = pair(EmbedFormat::Cohere, EmbedFormat::Bedrock);
    let (body, dropped) = request(home, &asked, "cohere.embed-v4").expect("translates");
    assert_eq!((body["truncate"].as_str(), &*dropped), (Some("END"), ""));
    let abroad = pair(EmbedFormat::Cohere, EmbedFormat::Gemini);
    let (_, dropped) = request(abroad, &asked, "g").expect("translates");
    assert_eq!(dropped, "truncate");
}

#[test]
fn an_answer_in_every_format() {
    let theirs = [
        (
            EmbedFormat::OpenAi,
            json!({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": "AACAPw=="}],
                "usage": {"prompt_tokens": 5, "total_tokens": 5}}),
        ),
        (
            EmbedFormat::Gemini,
            json!({"embeddings": [{"values": [1.0]}, {"values": [2.0]}],
                "usageMetadata": {"promptTokenCount": 5}}),
        ),
        (
            EmbedFormat::Cohere,
            json!({"embeddings": {"float": [[1.0], [2.0]]},
                "meta": {"billed_units": {"input_tokens": 5}}}),
        ),
    ];
    for (upstream, theirs) in theirs {
        let asked = json!({"input": ["x", "y"], "encoding_format": "base64"});
        let ours = answer(pair(EmbedFormat::OpenAi, upstream), &asked, &theirs).expect("ours");
        assert_eq!(ours["data"][0]["embedding"], "AACAPw==", "{upstream:?}");
        assert_eq!(ours["data"][1]["index"], 1);
        assert_eq!(ours["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
        let asked = json!({"requests": [{"content": {"parts": [{"text": "x"}]}},
            {"content": {"parts": [{"text": "y"}]}}]});
        let ours = answer(pair(EmbedFormat::Gemini, upstream), &asked, &theirs).expect("ours");
        let second: f64 = ours["embeddings"][1]["values"][0].as_f64().expect("a number");
        assert!((second - 2.0).abs() < 1e-9);
        assert_eq!(ours["usageMetadata"]["promptTokenCount"], 5);
        let asked = json!({"texts": ["x", "y"], "embedding_types": ["float", "base64"]});
        let ours = answer(pair(EmbedFormat::Cohere, upstream), &asked, &theirs).expect("ours");
        assert_eq!(ours["embeddings"]["base64"], json!(["AACAPw==", "AAAAQA=="]));
        assert_eq!(ours["embeddings"]["float"].as_array().map(Vec::len), Some(2));
        assert_eq!(ours["meta"]["billed_units"]["input_tokens"], 5);
        let asked = json!({"texts": ["x", "y"]});
        let ours = answer(pair(EmbedFormat::Bedrock, upstream), &asked, &theirs).expect("ours");
        assert_eq!(ours["embeddings"]["float"].as_array().map(Vec::len), Some(2));
    }
    let titan = json!({"embedding": [1.0], "inputTextTokenCount": 3});
    let asked = json!({"input": "x"});
    let ours = answer(pair(EmbedFormat::OpenAi, EmbedFormat::Bedrock), &asked, &titan);
    assert_eq!(ours.expect("ours")["usage"]["prompt_tokens"], 3);
    let asked = json!({"inputText": "x"});
    let theirs = json!({"data": [{"embedding": [1.5]}], "usage": {"prompt_tokens": 3}});
    let ours = answer(pair(EmbedFormat::Bedrock, EmbedFormat::OpenAi), &asked, &theirs);
    assert_eq!(
        ours.expect("ours"),
        json!({"embedding": [1.5], "embeddingsByType": {"float": [1.5]}, "inputTextTokenCount": 3})
    );
}

#[test]
fn an_answer_that_is_none_is_the_upstreams_fault() {
    let asked = json!({"input": ["x", "y"]});
    for theirs in [
        json!({}),
        json!({"embeddings": 7}),
        json!({"embeddings": {"float": [[1.0]]}}),
        json!({"embeddings": {"base64": ["AAAA", "!"]}}),
    ] {
        let pair = pair(EmbedFormat::OpenAi, EmbedFormat::Cohere);
        let error = answer(pair, &asked, &theirs).expect_err("malformed");
        assert_eq!(error.kind, Kind::UpstreamProtocol, "{theirs}");
    }
}
