use std::io::Write as _;

use super::*;
use crate::wire::fields::Fields;

#[test]
fn moments_are_read() {
    for (text, want) in [
        ("1970-01-01T00:00:00Z", Some(0)),
        ("2000-02-29T12:00:00Z", Some(951_825_600)),
        ("2026-11-21T23:59:59Z", Some(1_795_305_599)),
        ("2026-11-21T23:59:59.123Z", Some(1_795_305_599)),
        ("2026-13-01T00:00:00Z", None),
        ("2026-11-21T23:59:59+01:00", None),
        ("1969-12-31T23:59:59Z", None),
        ("", None),
        ("é026-11-21T23:59:59Z", None),
    ] {
        assert_eq!(aws::unix_s(text), want, "{text}");
    }
}

/// The example of AWS's own documentation for the crate's suite, through our own request.
#[test]
fn a_signature_covers_the_body_in_pieces_and_the_encoded_path() {
    let keys = || Credentials::new("AKIDEXAMPLE", "secret", Some("session".into()), None, "test");
    let at = std::time::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let signed = |target: &str, body: &[&'static [u8]]| {
        let body: Vec<Bytes> = body.iter().map(|part| Bytes::from_static(part)).collect();
        let mut request = Request {
            method: http::Method::POST,
            target: target.to_owned(),
            headers: Fields::from_iter([
                ("host", "bedrock-runtime.us-east-1.amazonaws.com"),
                ("user-agent", "anything"),
                ("content-type", "application/json"),
            ]),
        };
        sign::sign(&mut request, &body, keys(), "us-east-1", at).expect("signed");
        let header = |name: &str| request.headers.text(name).expect("the header").to_owned();
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        assert_eq!(header("x-amz-security-token"), "session");
        header("authorization")
    };
    let whole = signed("/model/a%3A0/converse", &[b"{\"a\":1}"]);
    assert!(
        whole.starts_with(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/bedrock/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature="
        ),
        "{whole}"
    );
    assert_eq!(whole, signed("/model/a%3A0/converse", &[b"{\"a\"", b":1}"]));
    assert_ne!(whole, signed("/model/a%3A0/converse", &[b"{\"a\":2}"]));
    assert_ne!(whole, signed("/model/a:0/converse", &[b"{\"a\":1}"]));
}

#[test]
fn a_profile_is_found_among_others() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(
        b"[default]\naws_access_key_id = A\naws_secret_access_key=B\n# c\n[ other ]\n\
          aws_access_key_id=C\naws_secret_access_key = D=\naws_session_token = E\nregion = x\n",
    )
    .expect("written");
    let source = |profile: &str| {
        aws::Source::of(&AwsSettings {
            source: AwsSource::Profile,
            profile: Some(profile.into()),
            credentials_file: Some(file.path().to_owned()),
            ..AwsSettings::default()
        })
    };
    let keys = |profile: &str| match source(profile).expect("there").at_once().expect("keys").value
    {
        Value::Aws(keys) => keys,
        Value::Bearer(_) => panic!("a token"),
    };
    assert_eq!(keys("default").access_key_id(), "A");
    assert_eq!(
        (keys("other").secret_access_key(), keys("other").session_token()),
        ("D=", Some("E"))
    );
    let (_, why) = source("none").expect_err("no such profile");
    assert!(why.contains("no keys in a profile `none`"), "{why}");
    assert!(!format!("{:?}", source("default").expect("there").at_once()).contains("secret: B"));
}

#[test]
fn a_token_answer_is_read_and_never_repeated() {
    let issued = bearer(br#"{"access_token":"t","expires_in":"60","token_type":"Bearer"}"#);
    let issued = issued.expect("a token");
    assert!(!format!("{issued:?}").contains("Bearer t"), "{issued:?}");
    assert!(issued.until.is_some_and(|until| until > clock::now()));
    for wrong in [&b"{}"[..], b"<html>", br#"{"access_token":"a\nb","expires_in":1}"#] {
        let why = bearer(wrong).expect_err("no token");
        assert!(!why.contains("a\nb"));
    }
}
