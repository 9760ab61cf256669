use super::*;
use crate::config::{Size, Time};

fn kept(owner: &str, id: &str, previous: Option<&str>, response: &str) -> Kept {
    Kept {
        owner: owner.into(),
        id: id.into(),
        previous: previous.map(Into::into),
        input: Bytes::from(format!("\"{id}\"")),
        response: Bytes::copy_from_slice(response.as_bytes()),
    }
}

fn open(path: Option<&PathBuf>) -> Arc<Store> {
    Store::open(path, Metrics::new()).expect("opens")
}

#[tokio::test]
async fn a_conversation_is_followed_back_and_is_nobody_elses() {
    let store = open(None);
    let settings = Settings::default();
    let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
    assert_eq!(store.response(&ann, "a").await, Ok(None));
    store.keep(kept("ann", "a", None, "{1}"), &settings);
    store.keep(kept("ann", "b", Some("a"), "{2}"), &settings);
    let turns = store.conversation(&ann, "b", 1000).await.expect("asked").expect("there");
    let said: Vec<_> = turns.iter().map(|turn| (&turn.input[..], &turn.response[..])).collect();
    assert_eq!(said, [(&b"\"a\""[..], &b"{1}"[..]), (b"\"b\"", b"{2}")]);
    assert_eq!(store.conversation(&ann, "b", 8).await, Err(StoreError::TooLong));
    assert_eq!(store.conversation(&bob, "b", 1000).await, Ok(None));
    assert_eq!(store.response(&bob, "a").await, Ok(None));
    assert_eq!(store.delete(&bob, "a").await, Ok(false));
    assert_eq!(store.delete(&ann, "a").await, Ok(true));
    // What it goes on from is not there any more.
    assert_eq!(store.conversation(&ann, "b", 1000).await, Ok(None));
    assert!(store.response(&ann, "b").await.is_ok_and(|found| found.is_some()));
}

#[tokio::test]
async fn the_oldest_goes_first_and_everything_expires() {
    let store = open(None);
    let owner: Arc<str> = "ann".into();
    let settings = Settings { size: Size(20), ..Settings::default() };
    store.keep(kept("ann", "a", None, "{123}"), &settings);
    store.keep(kept("ann", "b", None, "{123}"), &settings);
    store.keep(kept("ann", "b", None, "{456}"), &settings);
    store.keep(kept("ann", "c", None, "{123}"), &settings);
    assert_eq!(store.response(&owner, "a").await, Ok(None));
    let b = store.response(&owner, "b").await.expect("asked").expect("there");
    assert_eq!(&b.response[..], b"{456}");
    store.keep(kept("ann", "d", None, "{12345678901234567890}"), &settings);
    assert_eq!(store.response(&owner, "d").await, Ok(None));
    let soon = Settings { expiry: Time::s(0), ..Settings::default() };
    store.keep(kept("ann", "e", None, "{}"), &soon);
    assert_eq!(store.response(&owner, "e").await, Ok(None));
    assert_eq!(store.delete(&owner, "e").await, Ok(false));
}

#[tokio::test]
async fn a_file_outlives_the_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("responses.db");
    let owner: Arc<str> = "ann".into();
    let store = open(Some(&path));
    store.keep(kept("ann", "a", None, "{1}"), &Settings::default());
    assert!(store.response(&owner, "a").await.is_ok_and(|found| found.is_some()));
    // Another process opens it before this one has let go of it.
    let again = open(Some(&path));
    assert!(again.response(&owner, "a").await.is_ok_and(|found| found.is_some()));
    drop(store);
    let nowhere = folder.path().join("no/such/folder");
    let error = Store::open(Some(&nowhere), Metrics::new()).err().expect("no folder");
    assert!(error.contains("responses cannot be kept"), "{error}");
}
