//! A folder of numbered records, each created once and never changed: whoever creates a number first has it.

use super::super::location::Location;
use super::super::remote::runtime;
use super::disk::{create_whole, replace_whole, write_error};
use bytes::Bytes;
use millstream_dataflow::{Error, Result};
use std::fs;
use std::io;

/// Numbered records under a table.
#[derive(Clone, Debug)]
pub(super) struct Records {
    location: Location,
    folder: &'static str,
    /// What the names end with.
    extension: &'static str,
}

impl Records {
    pub(super) fn new(location: Location, folder: &'static str, extension: &'static str) -> Self {
        Self {
            location,
            folder,
            extension,
        }
    }

    fn name(&self, number: u64) -> String {
        format!("{number:020}{}", self.extension)
    }

    /// The number of a name; `None` for the name of something else.
    fn number(&self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(self.extension)?;
        let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| digits.parse().ok()).flatten()
    }

    /// The numbers from one on that are taken, in order.
    pub(super) fn numbers(&self, from: u64) -> Result<Vec<u64>> {
        let names = match &self.location {
            Location::Local(root) => {
                let folder = root.join(self.folder);
                local_names(&folder).map_err(|error| {
                    Error::retryable(format!(
                        "the folder '{}' cannot be listed",
                        folder.display()
                    ))
                    .detail(error.to_string())
                })?
            }
            Location::Remote(remote) => {
                let before = from.checked_sub(1).map(|before| self.name(before));
                runtime()?.block_on(remote.list(self.folder, before.as_deref()))?
            }
        };
        let number = |name: &String| self.number(name.rsplit('/').next().unwrap_or(name));
        let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
        numbers.retain(|number| *number >= from);
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A record; `None`: there is none of this number.
    pub(super) fn read(&self, number: u64) -> Result<Option<Bytes>> {
        self.read_name(&self.name(number))
    }

    /// Another file of the folder.
    pub(super) fn read_name(&self, name: &str) -> Result<Option<Bytes>> {
        match &self.location {
            Location::Local(root) => {
                let path = root.join(self.folder).join(name);
                match fs::read(&path) {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(Error::retryable(format!(
                        "the file '{}' cannot be read",
                        path.display()
                    ))
                    .detail(error.to_string())),
                }
            }
            Location::Remote(remote) => {
                runtime()?.block_on(remote.get(&format!("{}/{name}", self.folder)))
            }
        }
    }

    /// Writes another file of the folder, in place of what is there.
    pub(super) fn replace_name(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
        match &self.location {
            Location::Local(root) => {
                let folder = root.join(self.folder);
                replace_whole(&folder, name, &bytes)
                    .map_err(|error| write_error(folder.join(name).display(), &error))
            }
            Location::Remote(remote) => {
                runtime()?.block_on(remote.put(&format!("{}/{name}", self.folder), bytes))
            }
        }
    }

    /// Creates a record, durable, unless the number is taken. Gives whether it was created. After an error it may have
    /// been.
    pub(super) fn create(&self, number: u64, bytes: Vec<u8>) -> Result<bool> {
        let name = self.name(number);
        match &self.location {
            Location::Local(root) => {
                let folder = root.join(self.folder);
                create_whole(&folder, &name, &bytes)
                    .map_err(|error| write_error(folder.join(&name).display(), &error))
            }
            Location::Remote(remote) => {
                runtime()?.block_on(remote.create(&format!("{}/{name}", self.folder), bytes))
            }
        }
    }
}

fn local_names(folder: &std::path::Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_once() {
        let directory = tempfile::tempdir().unwrap();
        let location = Location::Local(directory.path().to_path_buf());
        let records = Records::new(location, "_log", ".json");
        assert_eq!(records.numbers(0).unwrap(), Vec::<u64>::new());
        assert_eq!(records.read(0).unwrap(), None);
        assert!(records.create(9, b"a".to_vec()).unwrap());
        assert!(!records.create(9, b"b".to_vec()).unwrap());
        assert!(records.create(10, b"c".to_vec()).unwrap());
        for other in ["00000000000000000011.checkpoint.parquet", "11.json", "x"] {
            fs::write(directory.path().join("_log").join(other), "").unwrap();
        }
        assert_eq!(records.read(9).unwrap().as_deref(), Some(&b"a"[..]));
        assert_eq!(records.numbers(0).unwrap(), [9, 10]);
        assert_eq!(records.numbers(10).unwrap(), [10]);
        // No draft remains.
        assert_eq!(
            local_names(&directory.path().join("_log")).unwrap().len(),
            5
        );
    }
}
