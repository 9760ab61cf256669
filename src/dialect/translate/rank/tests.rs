//! Rankings without a network.

use serde_json::{Value as Json, json};

use super::*;
use crate::error::Kind;
use crate::wire::frame::Framing;

fn request(pair: RankPair, body: &Json) -> Result<(Json, String), Error> {
    let out = pair.request(body.to_string().as_bytes(), "m", LossPolicy::Lenient)?;
    Ok((serde_json::from_slice(&out.body).expect("JSON"), out.dropped.header_value()))
}

fn answer(pair: RankPair, asked: &Json, theirs: &Json) -> Result<Json, Error> {
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
fn from_jina_to_cohere_and_back() {
    let pair = RankPair { client: RankFormat::Jina, upstream: RankFormat::Cohere };
    let asked = json!({"model": "a", "query": "q", "documents": ["x", {"text": "y"}], "top_n": 1,
        "truncate_prompt_tokens": 5});
    let (body, dropped) = request(pair, &asked).expect("translates");
    assert_eq!(body, json!({"model": "m", "query": "q", "documents": ["x", "y"], "top_n": 1}));
    assert_eq!(dropped, "truncate_prompt_tokens");
    let theirs = json!({"id": "1", "results": [{"index": 1, "relevance_score": 0.25}],
        "meta": {"billed_units": {"search_units": 1}}});
    let ours = answer(pair, &asked, &theirs).expect("ours");
    assert_eq!(
        ours,
        json!({"model": "m", "results": [{"index": 1, "relevance_score": 0.25, "document": {"text": "y"}}]})
    );
    let mut asked = asked;
    asked["return_documents"] = json!(false);
    let ours = answer(pair, &asked, &theirs).expect("ours");
    assert_eq!(ours["results"], json!([{"index": 1, "relevance_score": 0.25}]));
}

#[test]
fn from_either_cohere_to_jina_and_back() {
    let asked = json!({"model": "a", "query": "q", "documents": ["x"], "return_documents": true});
    let theirs = json!({"model": "n", "usage": {"total_tokens": 9},
        "results": [{"index": 0, "relevance_score": 1}]});
    for (client, document) in
        [(RankFormat::Cohere, Json::Null), (RankFormat::CohereV1, json!({"text": "x"}))]
    {
        let pair = RankPair { client, upstream: RankFormat::Jina };
        let (body, dropped) = request(pair, &asked).expect("translates");
        assert_eq!((body["return_documents"].as_bool(), &*dropped), (Some(false), ""));
        let ours = answer(pair, &asked, &theirs).expect("ours");
        assert_eq!((&ours["id"], &ours["results"][0]["document"]), (&json!("req_1"), &document));
        assert_eq!(ours["meta"]["billed_units"]["input_tokens"], 9);
    }
    let pair = RankPair { client: RankFormat::CohereV1, upstream: RankFormat::Jina };
    let fields = json!({"query": "q", "documents": ["x"], "rank_fields": ["title"]});
    let error = request(pair, &fields).expect_err("refused");
    assert_eq!(error.kind, Kind::NotExpressible);
    for theirs in [json!({}), json!({"results": [{"index": 0}]})] {
        let error = answer(pair, &asked, &theirs).expect_err("malformed");
        assert_eq!(error.kind, Kind::UpstreamProtocol, "{theirs}");
    }
}
