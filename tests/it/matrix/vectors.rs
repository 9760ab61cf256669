//! Embeddings and rankings: every client of every provider that has them.

use serde_json::{Value, json};

use super::{exchange, finished, upstream, weir};

/// The formats of embeddings, with the model to ask a provider of each for. Bedrock has two bodies.
const EMBEDDERS: [(&str, &str); 5] = [
    ("openai", "chat_completions-e"),
    ("gemini", "gemini-e"),
    ("cohere", "cohere-e"),
    ("titan", "bedrock-titan"),
    ("bedrock-cohere", "bedrock-cohere.embed"),
];

const TEXTS: [&str; 2] = ["the weir", "lets the river through"];

/// A request of a client for vectors of eight numbers, for so many texts.
fn embed(client: &str, model: &str, texts: &[&str], base64: bool) -> (String, Value) {
    match client {
        "openai" => {
            let encoding = if base64 { "base64" } else { "float" };
            let body = json!({"model": model, "input": texts, "dimensions": 8, "encoding_format": encoding});
            ("/v1/embeddings".into(), body)
        }
        "gemini" => {
            let one = |text: &&str| {
                json!({"model": format!("models/{model}"), "content": {"parts": [{"text": text}]},
                    "outputDimensionality": 8})
            };
            let all: Vec<Value> = texts.iter().map(one).collect();
            if let [one] = &all[..] {
                return (format!("/v1beta/models/{model}:embedContent"), one.clone());
            }
            (format!("/v1beta/models/{model}:batchEmbedContents"), json!({"requests": all}))
        }
        "cohere" => {
            let types = if base64 { json!(["base64"]) } else { json!(["float"]) };
            let body = json!({"model": model, "texts": texts, "input_type": "search_document",
                "embedding_types": types, "output_dimension": 8});
            ("/v2/embed".into(), body)
        }
        "titan" => {
            (format!("/model/{model}/invoke"), json!({"inputText": texts[0], "dimensions": 8}))
        }
        _ => {
            let body =
                json!({"texts": texts, "input_type": "search_document", "output_dimension": 8});
            (format!("/model/{model}/invoke"), body)
        }
    }
}

/// The vectors of an answer, as the client's own library reads them.
fn vectors(client: &str, body: &Value) -> Vec<Vec<f32>> {
    let list = match client {
        "openai" => {
            body["data"].as_array().expect("data").iter().map(|it| &it["embedding"]).collect()
        }
        "gemini" => match body["embeddings"].as_array() {
            Some(list) => list.iter().map(|it| &it["values"]).collect(),
            None => vec![&body["embedding"]["values"]],
        },
        "titan" => vec![&body["embedding"]],
        _ => {
            let kinds = body["embeddings"].as_object().expect("by type");
            let (_, list) = kinds.iter().next().expect("one type");
            list.as_array().expect("vectors").iter().collect::<Vec<_>>()
        }
    };
    list.into_iter().map(vector).collect()
}

fn vector(value: &Value) -> Vec<f32> {
    use base64::Engine as _;
    if let Some(text) = value.as_str() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).expect("base64");
        return bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
    }
    let numbers = value.as_array().expect("numbers").iter();
    numbers.map(|number| number.as_f64().expect("a number") as f32).collect()
}

/// The tokens that an answer reports, where the client's format has a place for them.
fn tokens(client: &str, body: &Value) -> Option<u64> {
    match client {
        "openai" => body["usage"]["prompt_tokens"].as_u64(),
        "gemini" => body["usageMetadata"]["promptTokenCount"].as_u64(),
        "cohere" => body["meta"]["billed_units"]["input_tokens"].as_u64(),
        "titan" => body["inputTextTokenCount"].as_u64(),
        _ => None,
    }
}

#[test]
fn every_pair_for_embeddings() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for (client, _) in EMBEDDERS {
        for (server, model) in EMBEDDERS {
            for (count, base64) in [(1, false), (1, true), (2, false), (2, true)] {
                let id = format!("{client}-{server}-{count}-{base64}");
                if client == "titan" && (count > 1 || base64) {
                    continue; // Its requests have one text, and its vectors are numbers.
                }
                let (path, body) = embed(client, model, &TEXTS[..count], base64);
                let (status, headers, answer) = exchange(&weir, &path, &id, &body);
                let answer: Value = serde_json::from_slice(&answer).expect("JSON");
                if server == "titan" && count > 1 {
                    // Within Bedrock the body is forwarded as it is, and refused there.
                    assert_eq!(status, 400, "{id}: {answer}");
                    let own = client == "bedrock-cohere";
                    let kind = if own { "upstream_rejected" } else { "not_expressible" };
                    assert_eq!(headers["x-weir-error"], kind, "{id}");
                    continue;
                }
                if (client, server) == ("titan", "bedrock-cohere")
                    || (client, server) == ("bedrock-cohere", "titan")
                {
                    // The same: which body a model takes is between the client and Bedrock.
                    assert_eq!((status, &*headers["x-weir-error"]), (400, "upstream_rejected"));
                    continue;
                }
                assert_eq!(status, 200, "{id}: {answer}");
                let found = vectors(client, &answer);
                assert_eq!(found.len(), count, "{id}: {answer}");
                for vector in &found {
                    let length: f32 = vector.iter().map(|number| number * number).sum();
                    assert!(vector.len() == 8 && (length - 1.0).abs() < 1e-3, "{id}: {vector:?}");
                }
                let theirs = finished(&upstream, &id).prompt_tokens;
                if server != "bedrock-cohere" && client != "bedrock-cohere" {
                    assert_eq!(tokens(client, &answer), Some(theirs), "{id}: {answer}");
                }
            }
        }
    }
}

#[test]
fn rankings_between_cohere_and_jina() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    let documents = ["a town", "a river and a weir", "a river"];
    for (client, path) in [("cohere", "/v2/rerank"), ("jina", "/v1/rerank")] {
        for (server, model) in [("cohere", "cohere-r"), ("jina", "chat_completions-r")] {
            let id = format!("rank-{client}-{server}");
            let body =
                json!({"model": model, "query": "river weir", "documents": documents, "top_n": 2});
            let (status, _, answer) = exchange(&weir, path, &id, &body);
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            assert_eq!(status, 200, "{id}: {answer}");
            let places: Vec<_> = answer["results"]
                .as_array()
                .expect("results")
                .iter()
                .map(|r| &r["index"])
                .collect();
            assert_eq!(places, [1, 2], "{id}: {answer}");
            assert!(answer["results"][0]["relevance_score"].is_number(), "{id}");
            let back = &answer["results"][0]["document"]["text"];
            let want = if client == "jina" { json!(documents[1]) } else { Value::Null };
            assert_eq!(*back, want, "{id}: {answer}");
        }
    }
}

#[test]
fn errors_of_embeddings_are_the_clients_own() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    for (client, _) in EMBEDDERS {
        let server = if client == "openai" { "cohere" } else { "chat_completions" };
        let (path, body) = embed(client, &format!("{server}-e+fault:400"), &TEXTS[..1], false);
        let (status, headers, answer) = exchange(&weir, &path, client, &body);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!((status, &*headers["x-weir-error"]), (400, "upstream_rejected"), "{answer}");
        let format = match client {
            "openai" => "chat_completions",
            "titan" | "bedrock-cohere" => "bedrock",
            other => other,
        };
        assert!(!super::complaint(format, &answer).is_empty(), "{client}");
    }
}

#[test]
fn tokens_are_counted_by_the_provider_or_by_weir() {
    let upstream = upstream();
    let weir = weir(&upstream, "lenient");
    let turn = json!([{"role": "user", "content": "How deep is the river?"}]);
    let anthropic = |server: &str| {
        let body = json!({"model": format!("{server}-gpt-4o"), "messages": turn});
        ("/v1/messages/count_tokens".to_owned(), body)
    };
    let gemini = |server: &str| {
        let contents = json!([{"role": "user", "parts": [{"text": "How deep is the river?"}]}]);
        (
            format!("/v1beta/models/{server}-gpt-4o:countTokens"),
            json!({"generateContentRequest": {"contents": contents}}),
        )
    };
    let responses = |server: &str| {
        let body = json!({"model": format!("{server}-gpt-4o"), "input": turn});
        ("/v1/responses/input_tokens".to_owned(), body)
    };
    for (client, (path, body), source) in [
        ("anthropic", anthropic("anthropic"), "provider"),
        ("anthropic", anthropic("gemini"), "estimated"),
        ("anthropic", anthropic("chat_completions"), "estimated"),
        ("gemini", gemini("gemini"), "provider"),
        ("gemini", gemini("cohere"), "estimated"),
        ("responses", responses("bedrock"), "estimated"),
    ] {
        let (status, headers, answer) = exchange(&weir, &path, client, &body);
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(status, 200, "{answer}");
        assert_eq!(headers["x-weir-token-count"], source, "{path} {body}");
        let tokens = match client {
            "gemini" => &answer["totalTokens"],
            _ => &answer["input_tokens"],
        };
        assert!(tokens.as_u64().is_some_and(|tokens| (6..40).contains(&tokens)), "{answer}");
    }
    let (path, body) = ("/v1/messages/count_tokens", json!({"model": "gemini-x", "system": "s"}));
    let (status, _, answer) = exchange(&weir, path, "none", &body);
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&answer));
}
