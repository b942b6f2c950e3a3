//! Kills at every point, and going on.

use super::faulty::Fault;
use super::*;
use millstream_dataflow::sink::Delivery;
use millstream_dataflow::{Kind, Result};

#[test]
fn rows_are_visible_when_their_checkpoint_is_complete() {
    for (what, sales) in tables() {
        assert!(matches!(sales.sink().delivery(), Delivery::Checkpoint));
        let mut writer = sales.open();
        write(&mut *writer, 0..10);
        let first = writer.prepare(Step(1)).unwrap();
        write(&mut *writer, 10..20);
        sales.assert_holds(0..0, &what);
        writer.publish(&first).unwrap();
        sales.assert_holds(0..10, &what);
        writer.publish(&first).unwrap();
        sales.assert_holds(0..10, &what);
        let second = writer.prepare(Step(2)).unwrap();
        writer.publish(&second).unwrap();
        sales.assert_holds(0..20, &what);
        // A checkpoint without rows commits nothing.
        let commits = log_of(&sales).len();
        let third = writer.prepare(Step(3)).unwrap();
        writer.publish(&third).unwrap();
        assert_eq!(log_of(&sales).len(), commits);
        assert_eq!(sales.staged(), 0, "{what}");
    }
}

#[test]
fn a_job_that_is_killed_goes_on_as_if_it_had_not_been() {
    type Killed = fn(&mut dyn Writer, &[u8]);
    let points: [(&str, Killed); 5] = [
        ("after the checkpoint", |_, _| {}),
        ("after a write", |writer, _| write(writer, 10..15)),
        ("after a prepare that is lost", |writer, _| {
            write(writer, 10..15);
            writer.prepare(Step(9)).unwrap();
            write(writer, 15..17);
        }),
        ("after the publication", |writer, prepared| {
            writer.publish(prepared).unwrap();
        }),
        ("after the publication and a write", |writer, prepared| {
            writer.publish(prepared).unwrap();
            write(writer, 10..15);
        }),
    ];
    for (point, killed) in points {
        for (what, sales) in tables() {
            let what = format!("killed {point}, {what}");
            let mut writer = sales.open();
            write(&mut *writer, 0..6);
            let earlier = writer.prepare(Step(1)).unwrap();
            writer.publish(&earlier).unwrap();
            write(&mut *writer, 6..10);
            let prepared = writer.prepare(Step(2)).unwrap();
            killed(&mut *writer, &prepared);
            kill(writer);
            // Twice, as the process may be killed again before it gets any further.
            for _ in 0..2 {
                let mut writer = sales.open();
                writer.recover(Some(&prepared)).unwrap();
                sales.assert_holds(0..10, &what);
                assert_eq!(sales.staged(), 0, "{what}");
                kill(writer);
            }
            let mut writer = sales.open();
            writer.recover(Some(&prepared)).unwrap();
            write(&mut *writer, 10..30);
            let next = writer.prepare(Step(3)).unwrap();
            sales.assert_holds(0..10, &what);
            writer.publish(&next).unwrap();
            sales.assert_holds(0..30, &what);
        }
    }
}

#[test]
fn a_kill_in_the_middle_of_a_publication_is_made_good() {
    for (what, sales) in tables() {
        let Location::Local(root) = &sales.location else {
            continue;
        };
        // A file where a folder shall be: of one of the two countries, or of the commits.
        let list = match what.contains("delta") {
            true => "_delta_log",
            false => "_millstream/commits",
        };
        let mut seen = Vec::new();
        for blocked in ["country=FR", "country=C%3Ae", list] {
            let _ = std::fs::remove_dir_all(root);
            let mut writer = sales.open();
            write(&mut *writer, 0..10);
            let prepared = writer.prepare(Step(1)).unwrap();
            std::fs::write(root.join(blocked), "").unwrap();
            assert_eq!(writer.publish(&prepared).unwrap_err().kind, Kind::User);
            kill(writer);
            std::fs::remove_file(root.join(blocked)).unwrap();
            assert_eq!(sales.listed(), Vec::<i64>::new());
            seen.push(sales.visible().len());
            sales.open().recover(Some(&prepared)).unwrap();
            sales.assert_holds(0..10, &what);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 5, 10], "{what}");
    }
}

#[test]
fn a_checkpoint_that_does_not_come_about_is_covered_by_the_next() {
    for (what, sales) in tables() {
        let mut writer = sales.open();
        write(&mut *writer, 0..10);
        let lost = writer.prepare(Step(1)).unwrap();
        let again = writer.prepare(Step(2)).unwrap();
        assert!(String::from_utf8_lossy(&lost).contains("part-"));
        write(&mut *writer, 10..20);
        let covers = writer.prepare(Step(3)).unwrap();
        writer.publish(&covers).unwrap();
        sales.assert_holds(0..20, &what);
        kill(writer);
        // The later one turns out to be torn, the one before to be whole.
        let mut writer = sales.open();
        writer.recover(Some(&again)).unwrap();
        assert_eq!(sales.listed(), (0..10).collect::<Vec<_>>(), "{what}");
        write(&mut *writer, 10..25);
        let next = writer.prepare(Step(3)).unwrap();
        writer.publish(&next).unwrap();
        assert_eq!(sales.listed(), (0..25).collect::<Vec<_>>(), "{what}");
    }
}

#[test]
fn the_same_checkpoint_restored_twice_gives_the_same_output() {
    for (what, sales) in tables() {
        let mut writer = sales.open();
        write(&mut *writer, 0..10);
        let old = writer.prepare(Step(1)).unwrap();
        writer.publish(&old).unwrap();
        for _ in 0..2 {
            // Two checkpoints more, which are gone.
            for step in 2..4 {
                write(&mut *writer, step * 10..step * 10 + 7);
                let prepared = writer.prepare(Step(step as u64)).unwrap();
                writer.publish(&prepared).unwrap();
            }
            assert_eq!(sales.visible().len(), 24, "{what}");
            kill(writer);
            writer = sales.open();
            writer.recover(Some(&old)).unwrap();
            if what.contains("delta") {
                // Its files stay for readers of older versions.
                assert_eq!(sales.listed(), (0..10).collect::<Vec<_>>(), "{what}");
                assert!(sales.visible().len() > 10, "{what}");
                std::mem::drop(std::mem::replace(&mut writer, sales.open()));
                writer.recover(Some(&old)).unwrap();
                break;
            }
            sales.assert_holds(0..10, &what);
        }
    }
}

#[test]
fn a_checkpoint_that_is_older_than_the_sink_leaves_what_is_there() {
    for (what, sales) in tables() {
        let mut other = sales.open();
        write(&mut *other, 0..10);
        let prepared = other.prepare(Step(1)).unwrap();
        other.publish(&prepared).unwrap();
        write(&mut *other, 100..110);
        let theirs = other.prepare(Step(2)).unwrap();
        let staged = sales.staged();
        for none in [None, Some(&b""[..])] {
            let mut writer = sales.open();
            writer.recover(none).unwrap();
            sales.assert_holds(0..10, &what);
            assert_eq!(sales.staged(), staged, "{what}: another's files stay");
        }
        let mut writer = sales.open();
        writer.recover(None).unwrap();
        write(&mut *writer, 10..20);
        let prepared = writer.prepare(Step(1)).unwrap();
        writer.publish(&prepared).unwrap();
        sales.assert_holds(0..20, &what);
        writer.recover(Some(&prepared)).unwrap();
        assert_eq!(sales.staged(), staged, "{what}: another's files stay");
        other.publish(&theirs).unwrap();
        assert_eq!(sales.listed().len(), 30, "{what}");
    }
}

#[test]
fn a_users_files_stay() {
    let sales = Sales::local(&[("format", "json")]);
    let Location::Local(root) = &sales.location else {
        unreachable!()
    };
    let theirs = [
        "country=FR/mine.json",
        "country=FR/.hidden",
        "notes.txt",
        "_millstream/x",
    ];
    for name in theirs {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "{\"id\":-1}\n").unwrap();
    }
    let mut writer = sales.open();
    write(&mut *writer, 0..10);
    let old = writer.prepare(Step(1)).unwrap();
    writer.publish(&old).unwrap();
    write(&mut *writer, 10..20);
    let new = writer.prepare(Step(2)).unwrap();
    writer.publish(&new).unwrap();
    write(&mut *writer, 20..30);
    kill(writer);
    sales.open().recover(Some(&old)).unwrap();
    assert!(theirs.iter().all(|name| root.join(name).exists()));
    assert_eq!(sales.listed(), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_writer_that_is_dropped_leaves_what_was_prepared_and_nothing_else() {
    for (what, sales) in tables() {
        let mut writer = sales.open();
        write(&mut *writer, 0..10);
        drop(writer);
        assert_eq!(sales.staged(), 0, "{what}: no checkpoint, no commit");
        let mut writer = sales.open();
        write(&mut *writer, 0..10);
        let prepared = writer.prepare(Step(1)).unwrap();
        let staged = sales.staged();
        write(&mut *writer, 10..20);
        drop(writer);
        assert!(sales.staged() >= staged, "{what}");
        sales.assert_holds(0..0, &what);
        sales.open().recover(Some(&prepared)).unwrap();
        sales.assert_holds(0..10, &what);
        assert_eq!(sales.staged(), 0, "{what}");
    }
}

#[test]
fn files_end_by_size_and_at_checkpoints() {
    let roll = ("sink.rolling-policy.file-size", "100 b");
    for sales in [
        Sales::local(&[("format", "json"), roll]),
        Sales::remote(&[("format", "json"), roll]),
    ] {
        let mut writer = sales.open();
        for at in 0..20 {
            write(&mut *writer, at * 10..at * 10 + 10);
        }
        sales.assert_holds(0..0, "before the checkpoint");
        let prepared = writer.prepare(Step(1)).unwrap();
        writer.publish(&prepared).unwrap();
        sales.assert_holds(0..200, "after it");
        assert!(log_of(&sales).len() > 8);
    }
}

#[test]
fn many_directories_at_once_are_many_files() {
    for sales in [
        Sales::local(&[("format", "json")]),
        Sales::remote(&[("format", "parquet")]),
    ] {
        let rows = |from: i64, countries: i64| {
            let row = |id: i64| format!("+1 c{} {id}", id % countries);
            let rows: Vec<String> = (from..from + 700).map(row).collect();
            millstream_dataflow::testing::delta("country text, id bigint", &rows.join(" / "))
        };
        let mut writer = sales.open();
        writer.write(Step(0), &rows(0, 350)).unwrap();
        writer.write(Step(0), &rows(700, 5)).unwrap();
        writer.write(Step(0), &rows(1400, 600)).unwrap();
        let prepared = writer.prepare(Step(0)).unwrap();
        writer.publish(&prepared).unwrap();
        sales.assert_holds(0..2100, "of many countries");
    }
}

#[test]
fn a_table_that_moved_is_the_users_error() {
    let sales = Sales::local(&[("format", "json")]);
    let mut writer = sales.open();
    write(&mut *writer, 0..10);
    let prepared = writer.prepare(Step(1)).unwrap();
    let moved = Sales::local(&[("format", "json")]);
    let error = moved.open().recover(Some(&prepared)).unwrap_err();
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("path is now"), "{error}");
}

#[test]
fn without_checkpoints_files_are_listed_where_that_is_asked_for() {
    let rolled = ("sink.rolling-policy.file-size", "1 b");
    for (list, listed) in [
        (None, false),
        (Some("manifest"), true),
        (Some("delta"), true),
    ] {
        let mut options = vec![("format", "parquet"), rolled];
        options.extend(list.map(|list| ("sink.commit-format", list)));
        let sales = Sales::local(&options);
        let mut writer = sales.open();
        for at in 0..3 {
            write(&mut *writer, at * 10..at * 10 + 10);
            writer.commit(Step(1)).unwrap();
        }
        writer.finish(Step(1)).unwrap();
        drop(writer);
        assert_eq!(sales.visible(), (0..30).collect::<Vec<_>>());
        assert_eq!(sales.listed().len(), if listed { 30 } else { 0 });
        let Location::Local(root) = &sales.location else {
            unreachable!()
        };
        assert_eq!(root.join("_millstream").exists(), list == Some("manifest"));
    }
    // A list that is there is kept up.
    let sales = Sales::local(&[("format", "json")]);
    let mut writer = sales.open();
    write(&mut *writer, 0..10);
    let prepared = writer.prepare(Step(1)).unwrap();
    writer.publish(&prepared).unwrap();
    drop(writer);
    let mut writer = sales.open();
    write(&mut *writer, 10..20);
    writer.finish(Step(1)).unwrap();
    sales.assert_holds(0..20, "by a job without checkpoints");
}

/// Again until it succeeds, as a job does, but not for ever.
fn again<T>(mut act: impl FnMut() -> Result<T>) -> T {
    for _ in 0..5 {
        match act() {
            Ok(done) => return done,
            Err(error) => assert_eq!(error.kind, Kind::Retryable, "{error}"),
        }
    }
    panic!("it never succeeds");
}

#[test]
fn whatever_request_fails_once_nothing_is_lost_or_doubled() {
    for options in [
        &[("format", "json"), ("sink.rolling-policy.file-size", "1kb")][..],
        &[("format", "parquet"), ("sink.commit-format", "delta")][..],
    ] {
        for fault in [Fault::Refused, Fault::AnswerLost] {
            for request in 0.. {
                let sales = Sales::remote(options);
                let faulty = sales.faulty.clone().unwrap();
                let mut writer = sales.open();
                faulty.fail_after(request, fault);
                for step in 0..3 {
                    for at in [0, 10, 20] {
                        let at = step * 30 + at;
                        again(|| writer.write(Step(0), &rows(at..at + 10)));
                    }
                    let prepared = again(|| writer.prepare(Step(0)));
                    again(|| writer.publish(&prepared));
                    sales.assert_holds(0..step * 30 + 30, "");
                }
                let last = again(|| writer.prepare(Step(0)));
                again(|| writer.recover(Some(&last)));
                sales.assert_holds(0..90, "");
                if !faulty.heal() {
                    assert!(request > 20, "the fault was never seen");
                    break;
                }
            }
        }
    }
}

#[test]
fn whenever_the_store_goes_down_and_the_job_is_killed_it_goes_on() {
    for options in [
        &[("format", "csv"), ("compression", "zstd")][..],
        &[("format", "parquet"), ("sink.commit-format", "delta")][..],
    ] {
        for request in 0.. {
            let sales = Sales::remote(options);
            let faulty = sales.faulty.clone().unwrap();
            let mut writer = sales.open();
            write(&mut *writer, 0..10);
            // What the checkpoint holds, and how many rows that is.
            let mut complete = (writer.prepare(Step(0)).unwrap(), 10);
            faulty.down_after(request);
            let mut outcome = writer.publish(&complete.0);
            for step in 1..4 {
                outcome = outcome.and_then(|()| {
                    writer.write(Step(0), &rows(step * 10..step * 10 + 10))?;
                    complete = (writer.prepare(Step(0))?, step * 10 + 10);
                    writer.publish(&complete.0)
                });
            }
            kill(writer);
            if !faulty.heal() {
                assert!(outcome.is_ok() && request > 15);
                break;
            }
            let mut writer = sales.open();
            writer.recover(Some(&complete.0)).unwrap();
            sales.assert_holds(0..complete.1, &format!("down at {request}"));
            // An upload whose answer or note was lost is empty: it holds nothing.
            assert!(sales.staged() <= 2, "down at {request}");
            write(&mut *writer, complete.1..complete.1 + 5);
            let next = writer.prepare(Step(0)).unwrap();
            writer.publish(&next).unwrap();
            sales.assert_holds(0..complete.1 + 5, &format!("down at {request}"));
        }
    }
}
