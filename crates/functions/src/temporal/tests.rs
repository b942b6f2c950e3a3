use arrow::datatypes::{DataType, TimeUnit};
use datafusion_common::ScalarValue;

use crate::testing::{date, error, eval, eval_in, i, l, null, of, result_type, t, ts};

fn ltz(ms: i64, zone: &str) -> ScalarValue {
    ScalarValue::TimestampMillisecond(Some(ms), Some(zone.into()))
}

#[test]
fn extract_knows_every_unit() {
    let value = ts("2024-02-29 13:04:05.678");
    for (unit, expected) in [
        ("YEAR", "2024"),
        ("QUARTER", "1"),
        ("MONTH", "2"),
        ("WEEK", "9"),
        ("DAY", "29"),
        ("DOW", "5"),
        ("ISODOW", "4"),
        ("DOY", "60"),
        ("HOUR", "13"),
        ("MINUTE", "4"),
        ("SECOND", "5"),
        ("MILLISECOND", "678"),
        ("MICROSECOND", "678000"),
        ("NANOSECOND", "678000000"),
        ("EPOCH", "1709211845"),
        ("DECADE", "202"),
        ("CENTURY", "21"),
        ("MILLENNIUM", "3"),
        ("ISOYEAR", "2024"),
    ] {
        assert_eq!(
            eval("extract", &[t(unit), value.clone()]),
            expected,
            "{unit}"
        );
    }
    assert!(error("extract", &[t("FORTNIGHT"), value]).contains("FORTNIGHT"));
    assert!(error("extract", &[t("YEAR"), i(1)]).contains("INT"));
    assert_eq!(
        eval("extract", &[t("HOUR"), ts("1969-12-31 23:59:59.999")]),
        "23"
    );
    assert_eq!(eval("extract", &[t("DAY"), null()]), "\\N");
}

#[test]
fn parts_have_their_own_names() {
    let value = date("1994-09-27");
    for (name, expected) in [
        ("year", "1994"),
        ("quarter", "3"),
        ("month", "9"),
        ("week", "39"),
        ("dayofyear", "270"),
        ("dayofmonth", "27"),
        ("dayofweek", "3"),
        ("hour", "0"),
    ] {
        assert_eq!(eval(name, std::slice::from_ref(&value)), expected, "{name}");
    }
    assert_eq!(eval("minute", &[ts("1994-09-27 13:14:15")]), "14");
    assert_eq!(eval("second", &[ts("1994-09-27 13:14:15")]), "15");
    assert_eq!(
        eval(
            "hour",
            &[of("13:14:15", &DataType::Time32(TimeUnit::Millisecond))]
        ),
        "13"
    );
    assert_eq!(
        eval_in("America/New_York", "hour", &[ltz(0, "America/New_York")]),
        "19"
    );
    assert_eq!(result_type("year", &[value]), DataType::Int64);
}

#[test]
fn floors_and_ceilings() {
    let value = ts("2024-02-29 13:04:05.678");
    for (unit, floor, ceil) in [
        (
            "SECOND",
            "2024-02-29 13:04:05.000",
            "2024-02-29 13:04:06.000",
        ),
        (
            "MINUTE",
            "2024-02-29 13:04:00.000",
            "2024-02-29 13:05:00.000",
        ),
        ("HOUR", "2024-02-29 13:00:00.000", "2024-02-29 14:00:00.000"),
        ("DAY", "2024-02-29 00:00:00.000", "2024-03-01 00:00:00.000"),
        ("WEEK", "2024-02-25 00:00:00.000", "2024-03-03 00:00:00.000"),
        (
            "MONTH",
            "2024-02-01 00:00:00.000",
            "2024-03-01 00:00:00.000",
        ),
        (
            "QUARTER",
            "2024-01-01 00:00:00.000",
            "2024-04-01 00:00:00.000",
        ),
        ("YEAR", "2024-01-01 00:00:00.000", "2025-01-01 00:00:00.000"),
        (
            "DECADE",
            "2020-01-01 00:00:00.000",
            "2030-01-01 00:00:00.000",
        ),
        (
            "CENTURY",
            "2001-01-01 00:00:00.000",
            "2101-01-01 00:00:00.000",
        ),
    ] {
        assert_eq!(eval("floor_to", &[value.clone(), t(unit)]), floor, "{unit}");
        assert_eq!(eval("ceil_to", &[value.clone(), t(unit)]), ceil, "{unit}");
    }
    let time = of("12:44:31", &DataType::Time32(TimeUnit::Millisecond));
    assert_eq!(eval("floor_to", &[time.clone(), t("MINUTE")]), "12:44:00");
    assert_eq!(eval("ceil_to", &[time, t("MINUTE")]), "12:45:00");
    assert_eq!(
        eval("floor_to", &[date("2024-05-17"), t("MONTH")]),
        "2024-05-01"
    );
    assert_eq!(
        eval("ceil_to", &[ts("2024-03-01 08:00:00"), t("MONTH")]),
        "2024-03-01 00:00:00.000"
    );
    assert_eq!(
        eval("floor_to", &[ts("1969-12-31 23:59:59.999"), t("HOUR")]),
        "1969-12-31 23:00:00.000"
    );
    assert_eq!(
        eval_in(
            "Asia/Kolkata",
            "floor_to",
            &[ltz(0, "Asia/Kolkata"), t("DAY")]
        ),
        "1970-01-01 00:00:00.000"
    );
}

#[test]
fn timestampadd_ends_months_where_they_end() {
    let add = |unit: &str, count, value| eval("timestampadd", &[t(unit), i(count), value]);
    assert_eq!(
        add("MONTH", 1, ts("2024-01-31 10:00:00")),
        "2024-02-29 10:00:00.000"
    );
    assert_eq!(add("WEEK", 1, date("2003-01-02")), "2003-01-09");
    assert_eq!(
        add("HOUR", -1, date("2003-01-02")),
        "2003-01-01 23:00:00.000"
    );
    assert_eq!(add("QUARTER", -1, date("2024-05-31")), "2024-02-29");
    assert_eq!(
        add("SECOND", 90, ts("2024-12-31 23:59:00")),
        "2025-01-01 00:00:30.000"
    );
    assert_eq!(
        add(
            "HOUR",
            2,
            of("23:00:00", &DataType::Time32(TimeUnit::Millisecond))
        ),
        "01:00:00"
    );
    assert_eq!(
        eval(
            "timestampadd",
            &[t("DAY"), l(i64::MAX), ts("2024-01-01 00:00:00")]
        ),
        "\\N"
    );
    assert_eq!(
        eval(
            "timestampadd",
            &[t("YEAR"), l(i64::MAX), ts("2024-01-01 00:00:00")]
        ),
        "\\N"
    );
}

#[test]
fn timestampdiff_counts_whole_units() {
    let diff =
        |unit: &str, from: &str, to: &str| eval("timestampdiff", &[t(unit), ts(from), ts(to)]);
    assert_eq!(
        diff("SECOND", "2024-03-01 08:00:00", "2024-03-01 08:01:30.9"),
        "90"
    );
    assert_eq!(
        diff("DAY", "2003-01-02 10:00:00", "2003-01-03 10:00:00"),
        "1"
    );
    assert_eq!(
        diff("HOUR", "2003-01-02 10:00:00", "2003-01-02 08:30:00"),
        "-1"
    );
    assert_eq!(
        diff("MONTH", "2024-01-31 00:00:00", "2024-02-29 00:00:00"),
        "1"
    );
    assert_eq!(
        diff("MONTH", "2024-01-15 10:00:00", "2024-02-15 09:00:00"),
        "0"
    );
    assert_eq!(
        diff("MONTH", "2024-02-15 09:00:00", "2024-02-15 08:00:00"),
        "0"
    );
    assert_eq!(
        diff("YEAR", "2020-02-29 00:00:00", "2019-03-01 00:00:00"),
        "0"
    );
    assert_eq!(
        diff("QUARTER", "2024-01-01 00:00:00", "2024-07-01 00:00:00"),
        "2"
    );
    assert_eq!(
        eval(
            "timestampdiff",
            &[t("DAY"), date("2024-02-28"), ts("2024-03-01 00:00:00")]
        ),
        "2"
    );
    assert_eq!(
        eval("timestampdiff", &[t("DAY"), null(), date("2024-02-28")]),
        "\\N"
    );
    let far = error(
        "timestampdiff",
        &[
            t("SECOND"),
            ts("0001-01-01 00:00:00"),
            ts("9999-01-01 00:00:00"),
        ],
    );
    assert!(far.contains("does not fit"), "{far}");
}

#[test]
fn date_format_follows_the_pattern() {
    let value = ts("2024-02-29 13:04:05.678");
    assert_eq!(
        eval("date_format", &[value.clone(), t("yyyy-MM-dd")]),
        "2024-02-29"
    );
    assert_eq!(eval("date_format", &[value.clone(), t("HH:mm")]), "13:04");
    assert_eq!(
        eval("date_format", &[date("2024-02-29"), t("dd/MM/yyyy")]),
        "29/02/2024"
    );
    assert_eq!(
        eval("date_format", &[t("2024-02-29 13:04:05"), t("yyyyMMdd HH")]),
        "20240229 13"
    );
    assert_eq!(eval("date_format", &[value.clone(), null()]), "\\N");
    assert!(error("date_format", &[value, t("yyyy-bb")]).contains("DATE_FORMAT"));
    assert_eq!(
        eval_in(
            "America/New_York",
            "date_format",
            &[ltz(0, "America/New_York"), t("yyyy-MM-dd HH XXX")]
        ),
        "1969-12-31 19 -05:00"
    );
}

#[test]
fn unix_times() {
    assert_eq!(eval("from_unixtime", &[l(44)]), "1970-01-01 00:00:44");
    assert_eq!(
        eval_in("Asia/Tokyo", "from_unixtime", &[l(44)]),
        "1970-01-01 09:00:44"
    );
    assert_eq!(
        eval("from_unixtime", &[l(86_400), t("dd/MM/yyyy")]),
        "02/01/1970"
    );
    assert_eq!(
        eval("unix_timestamp", &[t("2011-02-16 19:26:16")]),
        "1297884376"
    );
    assert_eq!(
        eval_in(
            "Europe/Berlin",
            "unix_timestamp",
            &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS")]
        ),
        "25201"
    );
    assert_eq!(
        eval_in(
            "Europe/Berlin",
            "unix_timestamp",
            &[
                t("1970-01-01 08:00:01.001 +0800"),
                t("yyyy-MM-dd HH:mm:ss.SSS X")
            ]
        ),
        "1"
    );
    assert_eq!(
        eval_in(
            "Europe/Berlin",
            "unix_timestamp",
            &[
                t("1970-01-01 08:00:01.001 +0800"),
                t("yyyy-MM-dd HH:mm:ss.SSS")
            ]
        ),
        "25201"
    );
    assert_eq!(
        eval(
            "unix_timestamp",
            &[t("1970-01-01 08:00:01.001"), t("yyyy-MM-dd HH:mm:ss.SSS X")]
        ),
        "-9223372036854775808"
    );
    assert_eq!(eval("from_unixtime", &[l(i64::MAX)]), "\\N");
}

#[test]
fn texts_become_times() {
    for (text, expected) in [
        ("2024-03-10 02:30:00", "2024-03-10 02:30:00.000"),
        ("2024-03-10 02:30:00.5", "2024-03-10 02:30:00.500"),
        ("2024-03-01", "2024-03-01 00:00:00.000"),
        ("bad", "\\N"),
        ("2024-13-01 00:00:00", "\\N"),
        ("2023-02-29", "\\N"),
    ] {
        assert_eq!(eval("to_timestamp", &[t(text)]), expected, "{text}");
    }
    assert_eq!(
        eval(
            "to_timestamp",
            &[t("05.03.2024 14:30"), t("dd.MM.yyyy HH:mm")]
        ),
        "2024-03-05 14:30:00.000"
    );
    assert_eq!(eval("to_date", &[t("2024-03-10 02:30:00")]), "2024-03-10");
    assert_eq!(
        eval("to_date", &[t("10/03/2024"), t("dd/MM/yyyy")]),
        "2024-03-10"
    );
    assert_eq!(eval("to_date", &[t("x")]), "\\N");
    assert_eq!(
        result_type("to_timestamp", &[t("x")]),
        DataType::Timestamp(TimeUnit::Millisecond, None)
    );
}

#[test]
fn instants_from_numbers_and_texts() {
    assert_eq!(
        eval("to_timestamp_ltz", &[l(86_400), i(0)]),
        "1970-01-02 00:00:00.000"
    );
    assert_eq!(
        eval("to_timestamp_ltz", &[l(86_400_123), i(3)]),
        "1970-01-02 00:00:00.123"
    );
    assert_eq!(
        eval("to_timestamp_ltz", &[l(86_400_123)]),
        "1970-01-02 00:00:00.123"
    );
    assert_eq!(
        eval("to_timestamp_ltz", &[crate::testing::d(1.5), i(0)]),
        "1970-01-01 00:00:01.500"
    );
    assert_eq!(
        eval(
            "to_timestamp_ltz",
            &[crate::testing::dec("2.9", 5, 1), i(0)]
        ),
        "1970-01-01 00:00:02.000"
    );
    assert_eq!(eval("to_timestamp_ltz", &[l(i64::MAX), i(0)]), "\\N");
    assert!(error("to_timestamp_ltz", &[l(0), i(1)]).contains("precision"));
    let in_zone = eval_in(
        "Asia/Tokyo",
        "to_timestamp_ltz",
        &[
            t("2024-01-01 00:00:00"),
            t("yyyy-MM-dd HH:mm:ss"),
            t("Asia/Tokyo"),
        ],
    );
    assert_eq!(in_zone, "2024-01-01 00:00:00.000");
    assert_eq!(eval("to_timestamp_ltz", &[null(), i(3)]), "\\N");
}

#[test]
fn zones_convert() {
    let convert = |text: &str, from: &str, to: &str| eval("convert_tz", &[t(text), t(from), t(to)]);
    assert_eq!(
        convert("1970-01-01 00:00:00", "UTC", "America/Los_Angeles"),
        "1969-12-31 16:00:00"
    );
    assert_eq!(
        convert("2024-03-10 12:00:00", "UTC", "America/New_York"),
        "2024-03-10 08:00:00"
    );
    assert_eq!(
        convert("2024-07-01 00:00:00", "GMT+02:00", "PST"),
        "2024-06-30 15:00:00"
    );
    assert_eq!(convert("bad", "UTC", "UTC"), "\\N");
    assert!(
        error(
            "convert_tz",
            &[t("1970-01-01 00:00:00"), t("UTC"), t("Mars")]
        )
        .contains("'Mars'")
    );
}

#[test]
fn intervals_multiply() {
    let minutes = ScalarValue::new_interval_mdn(0, 0, 600_000_000_000);
    assert_eq!(
        eval("interval_multiply", &[minutes.clone(), l(3)]),
        "+0 00:30:00.000"
    );
    assert_eq!(
        eval(
            "interval_multiply",
            &[ScalarValue::new_interval_ym(1, 2), l(-2)]
        ),
        "-2-04"
    );
    assert_eq!(eval("interval_multiply", &[minutes, l(i64::MAX)]), "\\N");
}

#[test]
fn periods_overlap() {
    let overlaps = |ends: [&str; 4]| eval("overlaps", &ends.map(ts));
    let at = [
        "2024-01-01 09:00:00",
        "2024-01-01 10:00:00",
        "2024-01-01 10:15:00",
        "2024-01-01 13:00:00",
    ];
    assert_eq!(overlaps(at), "FALSE");
    assert_eq!(overlaps([at[0], at[2], at[3], at[1]]), "TRUE");
    assert_eq!(overlaps([at[0], at[1], at[1], at[2]]), "TRUE");
    assert_eq!(
        eval("overlaps", &[ts(at[0]), null(), ts(at[0]), ts(at[1])]),
        "\\N"
    );
}
