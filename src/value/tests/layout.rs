//! The durable layout. These are compatibility-sensitive: a failure means that old stores would be misread.

use super::*;

fn bytes_of(text: &str) -> Vec<u8> {
    Encoded::from_json(text).unwrap().archive().as_bytes().to_vec()
}

#[test]
fn the_bytes_of_each_kind_are_as_documented() {
    assert_eq!(bytes_of("null"), [0; 9]);
    assert_eq!(bytes_of("false"), [1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes_of("true"), [2, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes_of("-2"), [3, 0xfe, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(bytes_of("18446744073709551615"), [4, 255, 255, 255, 255, 255, 255, 255, 255]);
    assert_eq!(bytes_of("1.5"), [5, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
    assert_eq!(bytes_of("1e999"), [6, b'1', b'e', b'9', b'9', b'9', 255, 255, 255]);
    assert_eq!(bytes_of("\"é\""), [7, 0xc3, 0xa9, 255, 255, 255, 255, 255, 255]);
    assert_eq!(bytes_of("\"123456789\""), [&b"123456789"[..], &[7, 9 | 0x80, 0, 0, 0, 0xf6, 255, 255, 255]].concat());
    assert_eq!(bytes_of("[]"), [8, 0xff, 255, 255, 255, 0, 0, 0, 0]);
    assert_eq!(bytes_of("[true]"), [[2, 0, 0, 0, 0, 0, 0, 0, 0], [8, 0xf6, 255, 255, 255, 1, 0, 0, 0]].concat());
    assert_eq!(bytes_of("[0,255]"), [&[0, 255][..], &[10, 0xfd, 255, 255, 255, 2, 0, 0, 0]].concat());
    let words = [&[0xff; 8][..], &[1, 1, 0, 0, 0, 0, 0, 0], &[11, 0xef, 255, 255, 255, 2, 0, 0, 0]].concat();
    assert_eq!(bytes_of("[-1,257]"), words);
    assert_eq!(bytes_of("[1.5]"), [&[0, 0, 0, 0, 0, 0, 0xf8, 0x3f][..], &[12, 0xf7, 255, 255, 255, 1, 0, 0, 0]].concat());
    let object = [&b"ab\xff\xff\xff\xff\xff\xff"[..], &[0; 9], &[9, 0xee, 255, 255, 255, 1, 0, 0, 0]].concat();
    assert_eq!(bytes_of("{\"ab\":null}"), object);
}

#[test]
fn text_and_vectors_are_laid_out_as_rkyv_does() {
    let position_after_a_tag = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap()) - 1;
    for length in [9, 63, 64, 65, 300, 70_000] {
        let text = "x".repeat(length);
        let ours = bytes_of(&format!("\"{text}\""));
        let theirs = rkyv::to_bytes::<rkyv::rancor::Error>(&text).unwrap();
        assert_eq!(ours[length + 1..length + 5], theirs[length..length + 4], "{length}");
        assert_eq!(ours[length + 5..], position_after_a_tag(&theirs[length + 4..]).to_le_bytes(), "{length}");
    }
    let short = rkyv::to_bytes::<rkyv::rancor::Error>(&"abc".to_owned()).unwrap();
    assert_eq!(bytes_of("\"abc\"")[1..], short[..]);
    // Three elements of nine bytes.
    let ours = bytes_of("[1,2,null]");
    let theirs = rkyv::to_bytes::<rkyv::rancor::Error>(&vec![[0_u8; 9]; 3]).unwrap();
    assert_eq!(ours[28..32], position_after_a_tag(&theirs[27..31]).to_le_bytes());
    assert_eq!(ours[32..], theirs[31..]);
}

#[test]
fn the_usual_task_is_small() {
    let task = r#"{"_tries":0,"_done":false,"_aborted":false,"url":"https://example.com/some/path/to/a/page/of/the/site/1"}"#;
    assert_eq!(bytes_of(task).len(), 53 + 4 * 17 + 9);
}

#[test]
fn an_archive_may_stand_anywhere() {
    let mut out = b"something before".to_vec();
    let start = out.len();
    encode_json(r#"{"a long enough key":["a long enough text",{"b":[1,2.5]}]}"#, &mut out).unwrap();
    let moved = [b"xyz", &out[start..]].concat();
    assert_eq!(json(Archive::checked(&moved[3..]).unwrap().node()), r#"{"a long enough key":["a long enough text",{"b":[1,2.5]}]}"#);
}

#[test]
fn a_failed_encoding_leaves_nothing_behind() {
    let mut out = b"before".to_vec();
    assert!(encode_json("[1,\"a long enough text\",", &mut out).is_err());
    assert!(encode(&("a long enough text", f64::NAN), &mut out).is_err());
    assert_eq!(out, b"before");
}
