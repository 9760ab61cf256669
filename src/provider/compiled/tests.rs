use super::*;

fn settings(yaml: &str) -> Settings {
    serde_saphyr::from_str(yaml).expect("settings")
}

fn compile(yaml: &str) -> Result<Arc<Provider>, Vec<Mistake>> {
    Provider::compile("p", &settings(yaml), Catalogue::builtin(), None, None)
}

/// A variable that is set wherever tests run.
const KEY: &str = "keys: [{env: PATH}]";

#[test]
fn each_dialect_has_its_own_credential_header() {
    for (dialect, header) in [
        ("openai", "authorization"),
        ("anthropic", "x-api-key"),
        ("gemini", "x-goog-api-key"),
        ("cohere", "authorization"),
        ("bedrock", "authorization"),
    ] {
        let provider = compile(&format!("{{dialect: {dialect}, base_url: 'https://h/v1', {KEY}}}"))
            .expect("compiles");
        let credential = provider.credential(Instant::now(), &mut None);
        let Ok(Credential::Header(name, value)) = credential else { panic!("no header") };
        assert_eq!(name, header);
        assert!(value.is_sensitive());
        assert_eq!(value.as_bytes().starts_with(b"Bearer "), header == "authorization");
        assert!(provider.usable());
    }
}

#[test]
fn a_missing_optional_key_makes_it_unusable_and_a_missing_required_one_is_a_mistake() {
    let base = "dialect: openai, base_url: 'https://h/v1'";
    let missing = "env: WEIR_TEST_NO_SUCH_VARIABLE";
    let left_out =
        compile(&format!("{{{base}, keys: [{{{missing}, optional: true}}]}}")).expect("ok");
    assert!(!left_out.usable());
    assert!(compile(&format!("{{{base}}}")).expect("ok").usable());
    let mistakes = compile(&format!("{{{base}, keys: [{{{missing}}}]}}")).expect_err("missing");
    assert_eq!(mistakes[0].0, "providers.p.keys[0]");
    assert!(mistakes[0].1.contains("WEIR_TEST_NO_SUCH_VARIABLE"));
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let mistakes = compile(
        "{dialect: openai, base_url: 'https://h/v1?x', auth: none, keys: [{env: PATH}], \
         headers: {authorization: x, host: y, 'bad name': z, ok: \"a\\nb\"}, tls: {sni: ''}}",
    )
    .expect_err("mistakes");
    let paths: Vec<&str> = mistakes.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "providers.p.base_url",
            "providers.p.keys",
            "providers.p.headers.authorization",
            "providers.p.headers.bad name",
            "providers.p.headers.host",
            "providers.p.headers.ok",
            "providers.p.tls.sni",
        ]
    );
}

#[test]
fn a_simulated_provider_is_where_it_listens() {
    let simulated = settings("{dialect: openai, simulated: {}}");
    let address = SocketAddr::from(([127, 0, 0, 1], 4711));
    let provider = Provider::compile("p", &simulated, Catalogue::builtin(), Some(address), None)
        .expect("compiles");
    assert_eq!((&*provider.host, provider.port, provider.tls), ("127.0.0.1", 4711, false));
    assert_eq!(&*provider.paths.base, "/v1");
    assert!(provider.usable());
}

#[test]
fn a_kind_says_what_the_provider_does_not() {
    let groq = compile("{kind: groq, keys: [{env: PATH}]}").expect("compiles");
    assert_eq!((&*groq.host, &*groq.paths.base), ("api.groq.com", "/openai/v1"));
    assert!(groq.adaptation.is_some());
    let here = compile("{kind: vllm, base_url: 'http://gpu:8000/v1', formats: [responses]}");
    let here = here.expect("compiles");
    assert_eq!((&*here.host, &*here.formats), ("gpu", &[Format::Responses][..]));
    assert!(here.adaptation.is_none(), "vLLM knows what OpenAI knows");
    let azure = "{kind: azure-deployments, with: {resource: acme}, keys: [{env: PATH}]}";
    let azure = compile(azure).expect("compiles");
    assert_eq!(&*azure.host, "acme.openai.azure.com");
    assert_eq!(azure.auth, AuthScheme::ApiKey);
    assert_eq!(azure.paths.elsewhere.len(), 8);
}

#[test]
fn what_a_kind_wants_and_does_not_get_is_told() {
    for (yaml, path, message) in [
        ("{kind: groc}", "providers.p.kind", "did you mean `groq`?"),
        ("{kind: groq, dialect: openai}", "providers.p.dialect", "remove `dialect`"),
        ("{kind: azure-openai}", "providers.p", "`resource` is missing"),
        (
            "{kind: azure-openai, with: {resource: a, resourc: b}}",
            "providers.p.with.resourc",
            "did you mean `resource`?",
        ),
        ("{kind: groq, with: {region: eu}}", "providers.p.with.region", "it has none"),
        ("{base_url: 'http://h'}", "providers.p", "a `kind` of the catalogue"),
    ] {
        let mistakes = compile(yaml).expect_err(yaml);
        assert_eq!(mistakes.len(), 1, "{yaml}: {mistakes:?}");
        assert_eq!(mistakes[0].0, path);
        assert!(mistakes[0].1.contains(message), "{}", mistakes[0].1);
    }
}

#[test]
fn connections_are_shared_only_where_they_are_alike() {
    let key = |yaml: &str| compile(yaml).expect("compiles").reuse_key;
    let plain = key("{dialect: openai, base_url: 'https://h/v1'}");
    assert_eq!(plain, key("{dialect: anthropic, base_url: 'https://h/other'}"));
    for different in [
        "{dialect: openai, base_url: 'http://h/v1'}",
        "{dialect: openai, base_url: 'https://h:444/v1'}",
        "{dialect: openai, base_url: 'https://h/v1', tls: {verify: false}}",
        "{dialect: openai, base_url: 'https://h/v1', tls: {sni: x}}",
        "{dialect: openai, base_url: 'https://h/v1', tls: {ca: x}}",
        "{dialect: openai, base_url: 'https://h/v1', http: http1}",
    ] {
        assert_ne!(plain, key(different), "{different}");
    }
}
