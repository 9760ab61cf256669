use super::*;

fn raws(frames: &[u8]) -> Vec<&[u8]> {
    elements(frames).map(|element| element.raw).collect()
}

#[test]
fn elements_of_first_middle_and_last_runs() {
    assert_eq!(raws(b"[{\"a\":[1]}"), [b"{\"a\":[1]}"]);
    assert_eq!(raws(b",\r\n{}\n,{}"), [b"{}", b"{}"]);
    assert_eq!(raws(b"\n]\n"), [b""; 0]);
    assert_eq!(raws(b",[1],2"), [&b"[1]"[..], b"2"]);
    assert_eq!(raws(b"[[1],[2]]"), [b"[1]", b"[2]"]);
    assert_eq!(raws(b" {\"error\":{}} "), [b"{\"error\":{}}"]);
}

#[test]
fn spans_point_into_the_run() {
    let frames = b"[ {\"a\":1} , 7 ]";
    for element in elements(frames) {
        assert_eq!(&frames[element.span], element.raw);
    }
}

#[test]
fn garbage_ends_the_iteration() {
    for garbage in [&b""[..], b"[", b"{\"", b"]]]", b",,,", b":", b"\"\\"] {
        assert_eq!(elements(garbage).count(), 0, "{garbage:?}");
    }
}
