use crate::testing::{b, d, error, eval, i, l, list, null, t};

#[test]
fn case_follows_unicode() {
    assert_eq!(eval("upper", &[t("  café crème ")]), "  CAFÉ CRÈME ");
    assert_eq!(eval("lower", &[t("MiXeD ÜÉ")]), "mixed üé");
    assert_eq!(eval("initcap", &[t("xx-100")]), "Xx-100");
    assert_eq!(eval("initcap", &[t("0x-77-a")]), "0x-77-A");
    assert_eq!(eval("initcap", &[t("-lead-")]), "-Lead-");
    assert_eq!(eval("initcap", &[t("the QUICK fOX")]), "The Quick Fox");
    assert_eq!(eval("upper", &[null()]), "\\N");
}

#[test]
fn concat_and_null() {
    assert_eq!(eval("concat", &[t("AA"), t("BB"), t("CC")]), "AABBCC");
    assert_eq!(eval("concat", &[t("AA"), null()]), "\\N");
    assert_eq!(
        eval("concat", &[t("n="), i(5), t(" "), b(true), d(1e10)]),
        "n=5 TRUE1.0E10"
    );
    assert_eq!(
        eval(
            "concat_ws",
            &[t("~"), t("AA"), null(), t("BB"), t(""), t("CC")]
        ),
        "AA~BB~~CC"
    );
    assert_eq!(eval("concat_ws", &[null(), t("AA")]), "\\N");
    assert_eq!(eval("concat_ws", &[t("|"), null(), null()]), "");
}

#[test]
fn trims_spaces_or_a_set() {
    assert_eq!(eval("trim", &[t("  café crème ")]), "café crème");
    assert_eq!(eval("ltrim", &[t("xx-100"), t("x")]), "-100");
    assert_eq!(eval("rtrim", &[t("x00"), t("0")]), "x");
    assert_eq!(eval("btrim", &[t("éaxé"), t("éa")]), "x");
    assert_eq!(eval("ltrim", &[t("\t x")]), "\t x");
    assert_eq!(eval("trim", &[t("x"), null()]), "\\N");
}

#[test]
fn substrings_count_characters() {
    assert_eq!(eval("substring", &[t("Tea pot"), i(2), i(3)]), "ea ");
    assert_eq!(eval("substring", &[t("日本茶"), i(2), i(3)]), "本茶");
    assert_eq!(eval("substring", &[t("  café crème "), i(-3)]), "me ");
    assert_eq!(eval("substring", &[t("a"), i(-3)]), "");
    assert_eq!(eval("substr", &[t("Tea pot"), i(0), i(2)]), "Te");
    assert_eq!(eval("substring", &[t("xx-100"), i(100)]), "");
    assert_eq!(eval("substring", &[t("abc"), i(2), i(-1)]), "\\N");
    assert_eq!(eval("substring", &[t("abc"), l(i64::MIN), l(i64::MAX)]), "");
    assert_eq!(eval("substring", &[t("日本茶"), i(2), i(0)]), "");
    assert_eq!(eval("left", &[t("emoji 🛒 cart"), i(7)]), "emoji 🛒");
    assert_eq!(eval("right", &[t("emoji 🛒 cart"), i(6)]), "🛒 cart");
    assert_eq!(eval("left", &[t("abc"), i(-1)]), "");
    assert_eq!(eval("right", &[t("abc"), i(0)]), "");
}

#[test]
fn overlay_replaces_a_range() {
    assert_eq!(
        eval("overlay", &[t("xx-100"), t("ZZ"), i(2), i(1)]),
        "xZZ-100"
    );
    assert_eq!(
        eval("overlay", &[t("xxxxxtest"), t("xxxx"), i(6)]),
        "xxxxxxxxx"
    );
    assert_eq!(
        eval("overlay", &[t("xxxxxtest"), t("xxxx"), i(6), i(2)]),
        "xxxxxxxxxst"
    );
    assert_eq!(eval("overlay", &[t("c"), t("ZZ"), i(2), i(1)]), "c");
    assert_eq!(eval("overlay", &[t(""), t("ZZ"), i(2), i(1)]), "");
}

#[test]
fn positions_count_from_one() {
    assert_eq!(eval("position", &[t("e"), t("  café crème ")]), "12");
    assert_eq!(eval("locate", &[t("a"), t("Banana"), i(3)]), "4");
    assert_eq!(eval("locate", &[t("a"), t("")]), "0");
    assert_eq!(eval("instr", &[t("naïve, \"quoted\""), t("o")]), "11");
    assert_eq!(eval("instr", &[t("abcabc"), t("b"), i(1), i(2)]), "5");
    assert_eq!(eval("instr", &[t("abcabc"), t("b"), i(-1), i(2)]), "2");
    assert_eq!(eval("locate", &[t("a"), t("abca"), l(i64::MIN)]), "1");
}

#[test]
fn padding_cuts_and_repeats() {
    assert_eq!(eval("lpad", &[t("hi"), i(5), t("?!")]), "?!?hi");
    assert_eq!(eval("lpad", &[t("hi"), i(1), t("??")]), "h");
    assert_eq!(eval("rpad", &[t("c"), i(3), t("#")]), "c##");
    assert_eq!(eval("rpad", &[t("日本茶"), i(2), t("#")]), "日本");
    assert_eq!(eval("lpad", &[t("hi"), i(-1), t("?")]), "\\N");
    assert_eq!(eval("lpad", &[t("hi"), i(4), t("")]), "\\N");
    assert!(error("rpad", &[t("hi"), i(i32::MAX), t("?")]).contains("256 MiB"));
    assert_eq!(eval("repeat", &[t("ab"), i(2)]), "abab");
    assert_eq!(eval("repeat", &[t("ab"), i(-2)]), "");
    assert!(error("repeat", &[t("ab"), l(i64::MAX)]).contains("256 MiB"));
    assert_eq!(eval("reverse", &[t("a 🛒")]), "🛒 a");
}

#[test]
fn codes_and_lengths() {
    assert_eq!(eval("char_length", &[t("emoji 🛒 cart")]), "12");
    assert_eq!(eval("octet_length", &[t("é")]), "2");
    assert_eq!(eval("ascii", &[t("xx")]), "120");
    assert_eq!(eval("ascii", &[t("")]), "0");
    assert_eq!(eval("chr", &[i(97)]), "a");
    assert_eq!(eval("chr", &[i(353)]), "a");
    assert_eq!(eval("chr", &[i(-5)]), "");
}

#[test]
fn replaces_texts_and_characters() {
    assert_eq!(
        eval("replace", &[t("hello world"), t("world"), t("flink")]),
        "hello flink"
    );
    assert_eq!(eval("replace", &[t("ababab"), t("abab"), t("z")]), "zab");
    assert_eq!(eval("replace", &[t("abc"), t(""), t("x")]), "xaxbxcx");
    assert_eq!(
        eval(
            "translate",
            &[t("www.apache.org"), t("wapcheorg"), t(" APCHEcom")]
        ),
        "   .APACHE.com"
    );
    assert_eq!(eval("translate", &[t("abc"), t("aab"), t("xyz")]), "xzc");
    assert_eq!(eval("translate", &[t("abc"), t("ab"), t("x")]), "xc");
}

#[test]
fn splits() {
    assert_eq!(
        eval("split_index", &[t("https://a/b/c"), t("/"), i(3)]),
        "b"
    );
    assert_eq!(eval("split_index", &[t("AQIDBA=="), t("I"), i(0)]), "AQ");
    assert_eq!(eval("split_index", &[t("a--b--"), t("--"), i(2)]), "");
    assert_eq!(eval("split_index", &[t("a,b"), i(44), i(1)]), "b");
    assert_eq!(eval("split_index", &[t("a,b"), t(","), i(2)]), "\\N");
    assert_eq!(eval("split_index", &[t("a,b"), t(","), i(-1)]), "\\N");
    assert_eq!(eval("split_index", &[t(""), t(","), i(0)]), "\\N");
    assert_eq!(eval("split", &[t("a,b,,c"), t(",")]), "[a, b, , c]");
    assert_eq!(eval("split", &[t("añb"), t("")]), "[a, ñ, b]");
    assert_eq!(eval("split", &[t(""), t(",")]), "[]");
    assert_eq!(eval("elt", &[i(2), t("a"), t("b")]), "b");
    assert_eq!(eval("elt", &[i(0), t("a"), t("b")]), "\\N");
}

#[test]
fn prefixes_and_kinds() {
    assert_eq!(eval("startswith", &[t("flink"), t("fl")]), "TRUE");
    assert_eq!(eval("endswith", &[t("flink"), t("")]), "TRUE");
    assert_eq!(eval("endswith", &[t("flink"), null()]), "\\N");
    assert_eq!(eval("is_alpha", &[t("abcé")]), "TRUE");
    assert_eq!(eval("is_alpha", &[t("a1")]), "FALSE");
    assert_eq!(eval("is_digit", &[t("12")]), "TRUE");
    assert_eq!(eval("is_digit", &[i(12)]), "TRUE");
    assert_eq!(eval("is_decimal", &[t("1.5e3")]), "TRUE");
    assert_eq!(eval("is_decimal", &[t("x")]), "FALSE");
    assert_eq!(eval("is_decimal", &[null()]), "FALSE");
}

#[test]
fn digests_are_lower_case() {
    assert_eq!(eval("md5", &[t("")]), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(
        eval("sha1", &[t("abc")]),
        "a9993e364706816aba3e25717850c26c9cd0d89d"
    );
    assert_eq!(
        eval("sha2", &[t("abc"), i(256)]),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(
        eval("sha256", &[t("abc")]),
        eval("sha2", &[t("abc"), i(256)])
    );
    assert!(error("sha2", &[t("abc"), i(100)]).contains("224, 256"));
}

#[test]
fn codecs() {
    assert_eq!(eval("to_base64", &[t("hello world")]), "aGVsbG8gd29ybGQ=");
    assert_eq!(eval("from_base64", &[t("aGVsbG8gd29ybGQ=")]), "hello world");
    assert!(error("from_base64", &[t("a_b")]).contains("'a_b'"));
    assert_eq!(eval("hex", &[i(20)]), "14");
    assert_eq!(eval("hex", &[i(-1)]), "FFFFFFFFFFFFFFFF");
    assert_eq!(eval("hex", &[t("hello,world")]), "68656C6C6F2C776F726C64");
    assert_eq!(eval("unhex", &[t("466C696E6B")]), "Flink");
    assert_eq!(eval("unhex", &[t("xy")]), "\\N");
    assert_eq!(
        eval(
            "hex",
            &[crate::testing::of(
                "F",
                &arrow::datatypes::DataType::BinaryView
            )]
        ),
        "46"
    );
    assert_eq!(eval("bin", &[i(12)]), "1100");
    assert_eq!(eval("bin", &[l(-1)]), "1".repeat(64));
    assert_eq!(eval("decode", &[t("é"), t("ISO-8859-1")]), "Ã©");
    assert_eq!(eval("encode", &[t("é"), t("UTF-8")]), "é");
    assert!(error("encode", &[t("é"), t("EBCDIC")]).contains("EBCDIC"));
}

#[test]
fn regular_expressions_are_those_of_java() {
    assert_eq!(
        eval(
            "regexp_extract",
            &[t("foothebar"), t("foo(.*?)(bar)"), i(2)]
        ),
        "bar"
    );
    assert_eq!(
        eval("regexp_extract", &[t("foothebar"), t("foo(.*?)(bar)")]),
        "foothebar"
    );
    assert_eq!(
        eval(
            "regexp_extract",
            &[t("foothebar"), t("foo(.*?)(bar)"), i(3)]
        ),
        "\\N"
    );
    assert_eq!(eval("regexp_extract", &[t("x"), t("y")]), "\\N");
    assert_eq!(
        eval(
            "regexp_extract",
            &[t("&channel_id=5&"), t("(&|^)channel_id=([^&]*)"), i(2)]
        ),
        "5"
    );
    assert_eq!(
        eval("regexp_replace", &[t("foobar"), t("oo|ar"), t("")]),
        "fb"
    );
    assert_eq!(
        eval("regexp_replace", &[t("a1b22"), t("\\d+"), t("$0")]),
        "a$0b$0"
    );
    assert_eq!(eval("regexp", &[t("abc"), t("")]), "FALSE");
    assert_eq!(eval("regexp", &[t("٣"), t("\\d")]), "FALSE");
    assert_eq!(eval("regexp", &[t("a-b_9"), t("^[\\w-]+$")]), "TRUE");
    assert_eq!(eval("regexp", &[t("a.b"), t("\\Qa.b\\E")]), "TRUE");
    assert_eq!(
        eval(
            "regexp_count",
            &[t("hello world! Hello everyone!"), t("Hello")]
        ),
        "1"
    );
    assert_eq!(eval("regexp_instr", &[t("hällo"), t("l+")]), "3");
    assert_eq!(eval("regexp_substr", &[t("ab12cd"), t("\\d+")]), "12");
    assert_eq!(
        eval("regexp_extract_all", &[t("a1b2"), t("([a-z])(\\d)"), i(2)]),
        "[1, 2]"
    );
    assert_eq!(
        eval("regexp_extract_all", &[t("a1"), t("([a-z])"), i(2)]),
        "\\N"
    );
    assert!(error("regexp", &[t("a"), t("a(?=b)")]).contains("a(?=b)"));
    assert!(error("regexp", &[t("a"), t("(")]).contains("regular expression"));
}

#[test]
fn like_has_no_escape_of_its_own() {
    for (text, pattern, expected) in [
        ("abc", "a%", "TRUE"),
        ("abc", "%c", "TRUE"),
        ("abc", "%b%", "TRUE"),
        ("abc", "a_c", "TRUE"),
        ("aéc", "a_c", "TRUE"),
        ("abc", "a_", "FALSE"),
        ("a\nc", "a%c", "TRUE"),
        ("a.c", "a.c", "TRUE"),
        ("abc", "%.%_", "FALSE"),
        ("a\\b", "a\\b", "TRUE"),
        ("", "%", "TRUE"),
        ("%", "%%", "TRUE"),
    ] {
        assert_eq!(
            eval("like", &[t(text), t(pattern)]),
            expected,
            "{text} LIKE {pattern}"
        );
    }
    assert_eq!(eval("like", &[t("10%"), t("10#%"), t("#")]), "TRUE");
    assert_eq!(eval("like", &[t("100"), t("10#%"), t("#")]), "FALSE");
    assert!(error("like", &[t("a"), t("a"), t("ab")]).contains("one character"));
    assert_eq!(eval("similar_to", &[t("abc"), t("(a|x)b[c-d]")]), "TRUE");
    assert_eq!(eval("similar_to", &[t("a.c"), t("a.c")]), "TRUE");
    assert_eq!(eval("similar_to", &[t("abc"), t("a.c")]), "FALSE");
    assert_eq!(eval("similar_to", &[t("aaab"), t("a+%")]), "TRUE");
}

#[test]
fn maps_from_text() {
    assert_eq!(
        eval("str_to_map", &[t("k1=v1,k2=v2,k1=v3,x")]),
        "{k1=v3, k2=v2, x=NULL}"
    );
    assert_eq!(
        eval("str_to_map", &[t("k1:v1;k2:v2;"), t(";"), t(":")]),
        "{k1=v1, k2=v2}"
    );
    assert_eq!(
        eval("str_to_map", &[t("k1$$v1|k2"), t("\\|"), t("\\$\\$")]),
        "{k1=v1, k2=NULL}"
    );
    assert_eq!(eval("str_to_map", &[t("")]), "{}");
    assert_eq!(eval("str_to_map", &[null()]), "\\N");
}

#[test]
fn urls() {
    let url = t("http://user:pass@facebook.com:80/path1/p.php?k1=v1&k2=v2#Ref1");
    for (part, expected) in [
        ("HOST", "facebook.com"),
        ("PATH", "/path1/p.php"),
        ("QUERY", "k1=v1&k2=v2"),
        ("REF", "Ref1"),
        ("PROTOCOL", "http"),
        ("FILE", "/path1/p.php?k1=v1&k2=v2"),
        ("AUTHORITY", "user:pass@facebook.com:80"),
        ("USERINFO", "user:pass"),
        ("PORT", "\\N"),
    ] {
        assert_eq!(eval("parse_url", &[url.clone(), t(part)]), expected);
    }
    assert_eq!(eval("parse_url", &[url.clone(), t("QUERY"), t("k1")]), "v1");
    assert_eq!(eval("parse_url", &[url.clone(), t("QUERY"), t("k")]), "\\N");
    assert_eq!(eval("parse_url", &[url, t("HOST"), t("k1")]), "\\N");
    assert_eq!(eval("parse_url", &[t("no url"), t("HOST")]), "\\N");
    assert_eq!(eval("parse_url", &[t("foo://a/b"), t("HOST")]), "\\N");
    assert_eq!(
        eval("parse_url", &[t("HTTPS://a?x=1"), t("PROTOCOL")]),
        "https"
    );
    assert_eq!(
        eval("parse_url", &[t("HTTPS://a?x=1"), t("QUERY"), t("x")]),
        "1"
    );
    assert_eq!(eval("url_encode", &[t("a b/ü~*")]), "a+b%2F%C3%BC%7E*");
    assert_eq!(eval("url_decode", &[t("a+b%2F%C3%BC")]), "a b/ü");
    assert_eq!(eval("url_decode", &[t("%zz")]), "\\N");
    assert_eq!(
        eval("url_decode_recursive", &[t("Hello%252520World"), i(2)]),
        "Hello%20World"
    );
    assert_eq!(
        eval("url_decode_recursive", &[t("Hello%252520World")]),
        "Hello World"
    );
    assert_eq!(eval("url_decode_recursive", &[t("%zz")]), "\\N");
}

#[test]
fn printf_formats() {
    assert_eq!(
        eval(
            "printf",
            &[t("%s has %d (%5.2f%%)"), t("a"), i(3), d(12.345)]
        ),
        "a has 3 (12.35%)"
    );
    assert_eq!(
        eval(
            "printf",
            &[t("%05d|%-4s|%,d|%x"), i(42), t("x"), i(1_234_567), i(255)]
        ),
        "00042|x   |1,234,567|ff"
    );
    assert_eq!(
        eval("printf", &[t("%2$s %1$s %S"), t("a"), t("b")]),
        "b a A"
    );
    assert_eq!(eval("printf", &[t("%s %b"), null(), b(true)]), "null true");
    assert_eq!(eval("printf", &[t("%e"), d(12345.678)]), "1.234568e+04");
    assert_eq!(eval("printf", &[t("%d"), t("x")]), "\\N");
    assert_eq!(eval("printf", &[t("%.99999f"), d(1.0)]), "\\N");
    assert_eq!(eval("printf", &[t("%s %s"), t("x")]), "\\N");
    assert_eq!(eval("printf", &[null(), t("x")]), "\\N");
}

#[test]
fn wrong_arguments_are_named() {
    assert!(error("upper", &[]).contains("UPPER takes 1 arguments, not 0"));
    assert!(error("repeat", &[t("a"), b(true)]).contains("argument 2 of REPEAT cannot be BOOLEAN"));
    assert!(error("startswith", &[list(&[i(1)]), t("a")]).contains("ARRAY<INT>"));
}

#[test]
fn addresses_are_numbers() {
    assert_eq!(eval("inet_aton", &[t("127.0.0.1")]), "2130706433");
    assert_eq!(eval("inet_aton", &[t("256.0.0.1")]), "\\N");
    assert_eq!(eval("inet_ntoa", &[l(2_130_706_433)]), "127.0.0.1");
    assert_eq!(eval("inet_ntoa", &[l(-1)]), "\\N");
}
