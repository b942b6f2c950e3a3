//! Nexmark events as JSON lines, in the one-table shape of the suite for Flink SQL: `event_type`, and the rows `person`,
//! `auction` and `bid`, of which one is not null.
//!
//! An event is a pure function of its number and the rate, so the same arguments give the same bytes.

use nexmark::EventGenerator;
use nexmark::config::NexmarkConfig;
use nexmark::event::{Auction, Bid, Event, Person};

/// 2024-01-01 00:00:00 UTC, the time of the first event.
const BASE_MS: u64 = 1_704_067_200_000;

const DAY_MS: u64 = 86_400_000;

/// The events of one partition, in the order of event time: `part`, `part + parts`, ... at `rate` events per second of
/// event time.
pub(crate) fn generator(rate: usize, part: u64, parts: u64) -> EventGenerator {
    let mut config = NexmarkConfig {
        base_time: BASE_MS,
        first_rate: rate,
        next_rate: rate,
        ..NexmarkConfig::default()
    };
    // The suite's queries ask for 'OR', 'ID', 'CA'.
    for state in &mut config.us_states {
        *state = state.to_uppercase();
    }
    EventGenerator::new(config)
        .with_offset(part)
        .with_step(parts)
}

/// Appends an event as one line.
pub(crate) fn write_line(out: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Person(person) => {
            out.extend_from_slice(br#"{"event_type":0,"person":"#);
            write_person(out, person);
            out.extend_from_slice(b",\"auction\":null,\"bid\":null}\n");
        }
        Event::Auction(auction) => {
            out.extend_from_slice(br#"{"event_type":1,"person":null,"auction":"#);
            write_auction(out, auction);
            out.extend_from_slice(b",\"bid\":null}\n");
        }
        Event::Bid(bid) => {
            out.extend_from_slice(br#"{"event_type":2,"person":null,"auction":null,"bid":"#);
            write_bid(out, bid);
            out.extend_from_slice(b"}\n");
        }
    }
}

fn write_person(out: &mut Vec<u8>, person: &Person) {
    number(out, b"{\"id\":", person.id as u64);
    text(out, b",\"name\":", &person.name);
    text(out, b",\"emailAddress\":", &person.email_address);
    text(out, b",\"creditCard\":", &person.credit_card);
    text(out, b",\"city\":", &person.city);
    text(out, b",\"state\":", &person.state);
    time(out, b",\"dateTime\":", person.date_time);
    text(out, b",\"extra\":", &person.extra);
    out.push(b'}');
}

fn write_auction(out: &mut Vec<u8>, auction: &Auction) {
    number(out, b"{\"id\":", auction.id as u64);
    text(out, b",\"itemName\":", &auction.item_name);
    text(out, b",\"description\":", &auction.description);
    number(out, b",\"initialBid\":", auction.initial_bid as u64);
    number(out, b",\"reserve\":", auction.reserve as u64);
    time(out, b",\"dateTime\":", auction.date_time);
    time(out, b",\"expires\":", auction.expires);
    number(out, b",\"seller\":", auction.seller as u64);
    number(out, b",\"category\":", auction.category as u64);
    text(out, b",\"extra\":", &auction.extra);
    out.push(b'}');
}

fn write_bid(out: &mut Vec<u8>, bid: &Bid) {
    number(out, b"{\"auction\":", bid.auction as u64);
    number(out, b",\"bidder\":", bid.bidder as u64);
    number(out, b",\"price\":", bid.price as u64);
    text(out, b",\"channel\":", &bid.channel);
    text(out, b",\"url\":", &bid.url);
    time(out, b",\"dateTime\":", bid.date_time);
    text(out, b",\"extra\":", &bid.extra);
    out.push(b'}');
}

fn number(out: &mut Vec<u8>, key: &[u8], value: u64) {
    out.extend_from_slice(key);
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The generator's texts hold nothing that JSON escapes.
fn text(out: &mut Vec<u8>, key: &[u8], value: &str) {
    debug_assert!(
        value
            .bytes()
            .all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\')
    );
    out.extend_from_slice(key);
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// `"yyyy-MM-dd HH:mm:ss.SSS"`, the SQL style of Flink's json format.
fn time(out: &mut Vec<u8>, key: &[u8], ms: u64) {
    let (year, month, day) = date(ms / DAY_MS);
    let of_day = ms % DAY_MS;
    out.extend_from_slice(key);
    out.push(b'"');
    let parts = [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b' '),
        (of_day / 3_600_000, 2, b':'),
        (of_day / 60_000 % 60, 2, b':'),
        (of_day / 1000 % 60, 2, b'.'),
        (of_day % 1000, 3, b'"'),
    ];
    for (value, width, behind) in parts {
        padded(out, value, width);
        out.push(behind);
    }
}

fn padded(out: &mut Vec<u8>, value: u64, width: u32) {
    let mut unit = 10_u64.pow(width - 1);
    while unit > 0 {
        out.push(b'0' + (value / unit % 10) as u8);
        unit /= 10;
    }
}

/// Year, month and day of a count of days since 1970-01-01. Years begin in March here, so that a leap day is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, part: u64, parts: u64) -> Vec<String> {
        let line = |event: Event| {
            let mut out = Vec::new();
            write_line(&mut out, &event);
            String::from_utf8(out).unwrap()
        };
        generator(10_000, part, parts)
            .take(count)
            .map(line)
            .collect()
    }

    #[test]
    fn a_round_has_one_person_three_auctions_and_bids() {
        let kinds: Vec<char> = lines(50, 0, 1)
            .iter()
            .map(|line| line.chars().nth(14).unwrap())
            .collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == '0').count(), 1);
        assert_eq!(kinds.iter().filter(|kind| **kind == '1').count(), 3);
        assert_eq!(kinds.iter().filter(|kind| **kind == '2').count(), 46);
    }

    #[test]
    fn parts_hold_the_same_events() {
        let whole = lines(40, 0, 1);
        let (even, odd) = (lines(20, 0, 2), lines(20, 1, 2));
        for at in 0..20 {
            assert_eq!(whole[2 * at], even[at]);
            assert_eq!(whole[2 * at + 1], odd[at]);
        }
    }

    #[test]
    fn times_are_written_as_sql_has_them() {
        let written = |ms| {
            let mut out = Vec::new();
            time(&mut out, b"", ms);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(BASE_MS + 5), "\"2024-01-01 00:00:00.005\"");
        let leap_day_ms = BASE_MS + 59 * DAY_MS + 86_399_999;
        assert_eq!(written(leap_day_ms), "\"2024-02-29 23:59:59.999\"");
        assert_eq!(written(leap_day_ms + 1), "\"2024-03-01 00:00:00.000\"");
    }
}
