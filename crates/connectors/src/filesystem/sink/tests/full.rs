//! A full disk and a folder that may not be written, for real: in a file system of the test's own.

use super::*;
use millstream_dataflow::Kind;
use std::fs;
use std::path::Path;
use std::process::Command;

const CHILD: &str = "MILLSTREAM_TEST_SMALL_DISK";

/// Runs the test of this name again as a child, with a tmpfs of 1 MB at the path that it is given. Gives whether this
/// is the child, or `None` where the system lets nobody mount.
fn on_small_disk(test: &str) -> Option<std::path::PathBuf> {
    if let Some(path) = std::env::var_os(CHILD) {
        return Some(path.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().display();
    let unshare = |command: &str| {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", command])
            .env(CHILD, folder.path())
            .output()
    };
    let mount = format!("mount -t tmpfs -o size=1m none {disk}");
    if !unshare(&mount).is_ok_and(|tried| tried.status.success()) {
        eprintln!("not run: no file system can be mounted here");
        return None;
    }
    let own = std::env::current_exe().unwrap();
    let run = unshare(&format!(
        "{mount} && {} --exact {test} --nocapture",
        own.display()
    ))
    .unwrap();
    let said =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    None
}

fn sales_at(path: &Path, options: &[(&str, &str)]) -> Sales {
    Sales::new(options, Location::Local(path.join("sales")), None, None)
}

#[test]
fn a_full_disk_stops_writing_until_there_is_room_and_loses_nothing() {
    let test = "filesystem::sink::tests::full::a_full_disk_stops_writing_until_there_is_room_and_loses_nothing";
    let Some(disk) = on_small_disk(test) else {
        return;
    };
    for options in [
        &[("format", "json")][..],
        &[("format", "json"), ("compression", "gzip")],
        &[
            ("format", "parquet"),
            ("parquet.compression", "none"),
            ("parquet.block.size", "32kb"),
        ],
        &[("format", "parquet"), ("sink.commit-format", "delta")],
    ] {
        let ballast = disk.join("ballast");
        let sales = sales_at(&disk, options);
        let mut writer = sales.open();
        fs::write(&ballast, vec![0; 900_000]).unwrap();
        // Write until the disk is full.
        let (mut written, mut failed) = (0, None);
        while failed.is_none() && written < 2_000_000 {
            match writer.write(Step(0), &rows(written..written + 5000)) {
                Ok(()) => written += 5000,
                Err(error) => failed = Some(error),
            }
            if written % 20_000 == 0 && failed.is_none() {
                failed = writer.prepare(Step(0)).err();
            }
        }
        let error = failed.unwrap();
        assert_eq!(error.kind, Kind::Retryable, "{error}");
        assert!(error.to_string().contains("room on the disk"), "{error}");
        // It stays so, and nothing is taken meanwhile.
        for _ in 0..3 {
            assert_eq!(writer.prepare(Step(0)).unwrap_err().kind, Kind::Retryable);
        }
        sales.assert_holds_nothing();
        fs::remove_file(&ballast).unwrap();
        let prepared = writer.prepare(Step(0)).unwrap();
        writer.publish(&prepared).unwrap();
        sales.assert_holds(0..written, &format!("{options:?}"));
        drop(writer);
        fs::remove_dir_all(disk.join("sales")).unwrap();
    }
}

#[test]
fn a_folder_that_may_not_be_written_is_waited_for() {
    let test = "filesystem::sink::tests::full::a_folder_that_may_not_be_written_is_waited_for";
    let Some(disk) = on_small_disk(test) else {
        return;
    };
    let remount = |how: &str| {
        let mut mount = Command::new("mount");
        mount.args(["-o", &format!("remount,{how}")]).arg(&disk);
        assert!(mount.status().unwrap().success());
    };
    let sales = sales_at(&disk, &[("format", "json")]);
    let mut writer = sales.open();
    remount("ro");
    let error = writer.write(Step(0), &rows(0..10)).unwrap_err();
    assert_eq!(error.kind, Kind::Retryable, "{error}");
    assert!(error.to_string().contains("may write there"), "{error}");
    remount("rw");
    write(&mut *writer, 0..10);
    let prepared = writer.prepare(Step(0)).unwrap();
    remount("ro");
    assert_eq!(writer.publish(&prepared).unwrap_err().kind, Kind::Retryable);
    sales.assert_holds_nothing();
    remount("rw");
    writer.publish(&prepared).unwrap();
    sales.assert_holds(0..10, "when it can be written again");
}

impl Sales {
    fn assert_holds_nothing(&self) {
        self.assert_holds(0..0, "before");
    }
}
