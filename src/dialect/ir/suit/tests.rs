use super::super::{LossPolicy, Message, ModelQuirks, Thought, ToolCall};
use super::*;

const SCHEMA: &str = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;

fn tool(name: &str) -> Tool<'_> {
    Tool::Function {
        name: name.into(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
    }
}

fn asked(
    quirk: ModelQuirk,
    tools: &[&'static str],
    choice: Option<ToolChoice<'static>>,
) -> Request<'static> {
    Request {
        quirks: ModelQuirks::from_iter([quirk]),
        tools: tools.iter().map(|name| tool(name)).collect(),
        tool_choice: choice,
        output: Output::Schema(Schema { schema: SCHEMA.into(), ..Schema::default() }),
        ..Request::default()
    }
}

fn loss() -> Loss {
    Loss::new("anthropic", LossPolicy::Lenient)
}

fn names(request: &Request<'_>) -> Vec<String> {
    let name = |tool: &Tool<'_>| match tool {
        Tool::Function { name, .. } => name.to_string(),
        Tool::Opaque(tool) => tool.kind.to_string(),
    };
    request.tools.iter().map(name).collect()
}

#[test]
fn a_schema_is_asked_for_by_a_call() {
    let function = |name: &'static str| ToolChoice::Function(name.into());
    let among = |names: &[&'static str]| ToolChoice::Among {
        names: names.iter().map(|name| (*name).into()).collect(),
        required: true,
    };
    let some = ToolChoice::Among { names: vec!["t".into()], required: false };
    for (tools, choice, by_call, want) in [
        (&[][..], None, true, function(ANSWER_TOOL)),
        (&["t"][..], None, true, ToolChoice::Required),
        (&["t"][..], Some(ToolChoice::Auto), true, ToolChoice::Required),
        (&["t"][..], Some(ToolChoice::None), true, function(ANSWER_TOOL)),
        (&["t", "u"][..], Some(some), true, among(&["t", ANSWER_TOOL])),
        // The client wants its own tool called: there is no answer yet.
        (&["t"][..], Some(ToolChoice::Required), false, ToolChoice::Required),
        (&["t"][..], Some(function("t")), false, function("t")),
        (&["t"][..], Some(among(&["t"])), false, among(&["t"])),
    ] {
        let mut request = asked(ModelQuirk::SchemaByCall, tools, choice);
        let mut loss = loss();
        assert_eq!(request.suit_model(&mut loss), by_call, "{tools:?}");
        assert_eq!(request.tool_choice, Some(want), "{tools:?}");
        assert_eq!(request.output, Output::Text);
        assert_eq!(names(&request).contains(&ANSWER_TOOL.to_owned()), by_call);
        assert!(loss.into_report().expect("nothing is refused").is_empty());
    }
}

#[test]
fn any_json_is_no_schema() {
    let mut request = asked(ModelQuirk::SchemaByCall, &["t"], None);
    request.output = Output::Json;
    assert!(!request.suit_model(&mut loss()));
    assert_eq!((request.output, request.tool_choice), (Output::Json, None));
    assert_eq!(request.tools.len(), 1);
}

#[test]
fn a_schema_that_no_call_can_follow_is_refused() {
    let mut request = asked(ModelQuirk::SchemaByCall, &[], None);
    let schema = Schema { schema: r#"{"type":"array"}"#.into(), ..Schema::default() };
    request.output = Output::Schema(schema);
    let mut loss = loss();
    request.suit_model(&mut loss);
    let error = loss.into_report().expect_err("refused");
    assert_eq!(error.param.as_deref(), Some("response_format"));
}

#[test]
fn a_model_that_cannot_be_made_to_call_gets_only_what_it_may_call() {
    let only = ToolChoice::Function("u".into());
    let mut request = asked(ModelQuirk::UnforcedTools, &["t", "u"], Some(only));
    let mut loss = loss();
    assert!(!request.suit_model(&mut loss));
    assert_eq!(request.tool_choice, Some(ToolChoice::Auto));
    assert_eq!(names(&request), ["u"]);
    assert_eq!(loss.into_report().expect("lenient").header_value(), "tool_choice");

    // What weir itself would have chosen is no loss.
    let mut request = asked(ModelQuirk::SchemaByCall, &[], None);
    request.quirks = ModelQuirks::ALL;
    let mut loss = self::loss();
    assert!(request.suit_model(&mut loss));
    assert_eq!(request.tool_choice, Some(ToolChoice::Auto));
    assert_eq!(names(&request), [ANSWER_TOOL]);
    assert!(loss.into_report().expect("nothing is refused").is_empty());
}

#[test]
fn one_way_to_sample_is_enough_for_some() {
    let quirks = ModelQuirks::from_iter([ModelQuirk::TemperatureOrTopP]);
    let mut request =
        Request { quirks, temperature: Some("0.5"), top_p: Some("0.9"), ..Request::default() };
    let mut loss = loss();
    request.suit_model(&mut loss);
    assert_eq!((request.temperature, request.top_p), (Some("0.5"), None));
    assert_eq!(loss.into_report().expect("lenient").header_value(), "top_p");
    let mut request = Request { quirks, top_p: Some("0.9"), ..Request::default() };
    request.suit_model(&mut self::loss());
    assert_eq!(request.top_p, Some("0.9"));
}

fn turn(quirk: ModelQuirk, blocks: Vec<Content<'static>>) -> Request<'static> {
    let blocks = blocks.into_iter().map(Block::new).collect();
    Request {
        quirks: ModelQuirks::from_iter([quirk]),
        messages: vec![Message { role: Role::Assistant, blocks }],
        ..Request::default()
    }
}

fn call(seal: Option<Seal<'static>>) -> Content<'static> {
    Content::ToolCall(ToolCall { id: "c".into(), name: "t".into(), arguments: "{}".into(), seal })
}

fn seal(origin: Format, value: &'static str) -> Seal<'static> {
    Seal { origin, id: None, value: value.into() }
}

#[test]
fn calls_of_another_model_are_signed_once_a_turn() {
    let signed = |calls: Vec<Content<'static>>| {
        let mut request = turn(ModelQuirk::SignedCalls, calls);
        let mut loss = loss();
        request.suit_model(&mut loss);
        let dropped = loss.into_report().expect("lenient").header_value();
        let seals: Vec<_> = request.messages[0]
            .blocks
            .iter()
            .map(|block| match &block.content {
                Content::ToolCall(call) => call.seal.as_ref().map(|seal| seal.value.to_string()),
                _ => None,
            })
            .collect();
        (seals, dropped)
    };
    let stands = Some(CALL_OF_ANOTHER_MODEL.to_owned());
    assert_eq!(signed(vec![call(None), call(None)]), (vec![stands.clone(), None], String::new()));
    let own = Some(seal(Format::Gemini, "sig"));
    assert_eq!(signed(vec![call(own), call(None)]).0, [Some("sig".to_owned()), None]);
    let (seals, dropped) = signed(vec![call(Some(seal(Format::Responses, "x")))]);
    assert_eq!((seals, &*dropped), (vec![stands], "messages[].thinking"));
}

#[test]
fn thoughts_are_said_in_plain_words() {
    let thought = |text: &'static str, seal| Content::Thought(Thought { text: text.into(), seal });
    for (blocks, want) in [
        (vec![thought("why", None), call(None)], vec!["why"]),
        (vec![thought("why", Some(seal(Format::Anthropic, "sig"))), call(None)], vec!["why"]),
        // A turn with calls has to have one.
        (vec![call(None)], vec![""]),
        (vec![Content::Text("hello".into())], vec![]),
    ] {
        let mut request = turn(ModelQuirk::PlainThoughts, blocks);
        request.suit_model(&mut loss());
        let plain = request.messages[0].blocks.iter().filter_map(|block| match &block.content {
            Content::Thought(Thought { text, seal: Some(seal) })
                if seal.id.as_deref() == Some(Seal::PLAIN) =>
            {
                Some(&**text)
            }
            _ => None,
        });
        assert_eq!(plain.collect::<Vec<_>>(), want);
    }
}
