//! The fields of a JSON object that are wanted, and the guess where they stand: records of one topic mostly have the
//! same keys in the same order, so that comparing the bytes with the last record's replaces parsing them.

use super::fault::{Fault, Parsed, excerpt};
use super::scan::Scan;
use super::text::unescape;
use crate::lane::{Lane, Reading};

/// What a guessed key leads to when nobody wants it.
const SKIP: usize = usize::MAX;
/// So many different keys are remembered; beyond it they replace one another.
const GUESSES_MAX: usize = 64;

/// The wanted fields of an object.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    /// The object's own name, for messages; empty for a record.
    name: String,
    reading: Reading,
    wanted: Vec<Wanted>,
    /// The first one opens the object, and no other does.
    guesses: Vec<Guess>,
    /// Counts the objects read.
    round: u64,
}

#[derive(Clone, Debug)]
struct Wanted {
    key: String,
    target: Target,
    /// The last object that had this field.
    round: u64,
}

/// Where the value of a field goes.
#[derive(Clone, Debug)]
enum Target {
    Lane(usize),
    /// Only fields inside the object are wanted.
    Fields(Box<Fields>),
    /// Several columns come from the same field.
    Several(Vec<Target>),
    /// Notes in a lane that the field is there; with `null` even if it is null.
    Noted {
        lane: usize,
        null: bool,
    },
}

/// What stood before a value in an object read earlier: `{"key":` or `, "key": `.
#[derive(Clone, Debug)]
struct Guess {
    word: u128,
    mask: u128,
    rest: Vec<u8>,
    length: usize,
    wanted: usize,
}

impl Guess {
    fn new(text: &[u8], wanted: usize) -> Self {
        let mut word = [0; 16];
        let first = text.len().min(16);
        word[..first].copy_from_slice(&text[..first]);
        Self {
            word: u128::from_le_bytes(word),
            mask: u128::MAX >> (8 * (16 - first)),
            rest: text[first..].to_vec(),
            length: text.len(),
            wanted,
        }
    }

    #[inline(always)]
    fn fits(&self, scan: &Scan<'_>, pos: usize) -> bool {
        scan.load16(pos)
            .is_some_and(|word| (word ^ self.word) & self.mask == 0)
            && (self.rest.is_empty()
                || scan.slice(pos + 16, pos + self.length) == self.rest.as_slice())
    }

    fn is(&self, text: &[u8]) -> bool {
        let head = self.word.to_le_bytes();
        text.len() == self.length
            && text[..text.len().min(16)] == head[..text.len().min(16)]
            && text.get(16..).unwrap_or_default() == self.rest
    }
}

/// What stands next in an object.
enum Next {
    /// The value of a field (an index in `wanted`, or `SKIP`), and the guess behind it.
    Value {
        pos: usize,
        wanted: usize,
        guess: usize,
    },
    /// The object has ended before this position.
    End(usize),
}

impl Fields {
    /// No fields of an object named `name`.
    pub(crate) fn new(name: &str, reading: Reading) -> Self {
        Self {
            name: name.to_owned(),
            reading,
            wanted: Vec::new(),
            guesses: Vec::new(),
            round: 0,
        }
    }

    /// Wants what stands at a path in a lane.
    pub(crate) fn add(&mut self, path: &[String], lane: usize) {
        self.add_target(path, Target::Lane(lane));
    }

    /// Wants a note in a lane whether something (other than null, without `null`) stands at a path.
    pub(crate) fn note(&mut self, path: &[String], lane: usize, null: bool) {
        self.add_target(path, Target::Noted { lane, null });
    }

    fn add_target(&mut self, path: &[String], target: Target) {
        let Some((key, inner)) = path.split_first() else {
            return;
        };
        let at = match self.wanted.iter().position(|wanted| wanted.key == *key) {
            Some(at) => at,
            None => {
                self.wanted.push(Wanted {
                    key: key.clone(),
                    target: Target::Several(Vec::new()),
                    round: 0,
                });
                self.wanted.len() - 1
            }
        };
        let name = if self.name.is_empty() {
            key.clone()
        } else {
            format!("{}.{key}", self.name)
        };
        let reading = self.reading;
        let place = &mut self.wanted[at].target;
        if inner.is_empty() {
            place.join(target);
        } else if let Some(fields) = place.inner(&name, reading) {
            fields.add_target(inner, target);
        }
    }

    /// Reads the object that begins at `pos` into a row of the lanes; gives the position behind it.
    #[inline]
    pub(crate) fn read(
        &mut self,
        lanes: &mut [Lane],
        scan: &Scan<'_>,
        start: usize,
        row: usize,
    ) -> Parsed {
        self.round += 1;
        let mut pos = start;
        let mut guess = 0;
        loop {
            let wanted = match self.guesses.get(guess) {
                Some(guess) if guess.fits(scan, pos) => {
                    // There may be more white space than the last time.
                    pos = scan.space(pos + guess.length);
                    guess.wanted
                }
                None if guess > 0 && scan.at(pos) == b'}' => {
                    pos += 1;
                    break;
                }
                _ => match self.next(scan, pos, pos == start, guess)? {
                    Next::End(behind) => {
                        pos = behind;
                        break;
                    }
                    Next::Value {
                        pos: value,
                        wanted,
                        guess: at,
                    } => {
                        pos = value;
                        guess = at;
                        wanted
                    }
                },
            };
            guess += 1;
            let Some(field) = self.wanted.get_mut(wanted) else {
                pos = scan.skip(pos)?;
                continue;
            };
            if field.round == self.round {
                // The last of several fields of one name counts.
                field.target.clear(lanes, row);
            }
            field.round = self.round;
            pos = field.target.read(lanes, scan, pos, row)?;
        }
        if self.reading.strict {
            self.check_missing(pos)?;
        }
        Ok(pos)
    }

    /// Parses what stands between two values, and remembers it.
    #[inline(never)]
    fn next(&mut self, scan: &Scan<'_>, from: usize, first: bool, guess: usize) -> Parsed<Next> {
        let mut pos = scan.space(from);
        match (scan.at(pos), first) {
            (b'{', true) => pos = scan.space(pos + 1),
            (_, true) => return Err(scan.unexpected(pos, "'{'")),
            (b',', false) => {
                pos = scan.space(pos + 1);
                if scan.at(pos) == b'}' {
                    return Err(scan.unexpected(pos, "a field name in quotes"));
                }
            }
            (b'}', false) => {}
            (_, false) => return Err(scan.unexpected(pos, "',' or '}'")),
        }
        if scan.at(pos) == b'}' {
            return Ok(Next::End(pos + 1));
        }
        if scan.at(pos) != b'"' {
            return Err(scan.unexpected(pos, "a field name in quotes"));
        }
        let key = scan.string(pos)?;
        let value = scan.colon(key.end + 1)?;
        let text = scan.slice(from, value);
        let candidates = if first { 0..1 } else { 1..self.guesses.len() };
        let mut candidates = candidates.filter(|at| *at < self.guesses.len());
        if let Some(found) = candidates.find(|at| self.guesses[*at].is(text)) {
            return Ok(Next::Value {
                pos: value,
                wanted: self.guesses[found].wanted,
                guess: found,
            });
        }
        let wanted = self.lookup(scan.slice(key.start, key.end), key.escaped);
        let fresh = Guess::new(text, wanted);
        if self.guesses.is_empty() || (!first && self.guesses.len() < GUESSES_MAX) {
            self.guesses.insert(guess.min(self.guesses.len()), fresh);
        } else if let Some(old) = self.guesses.get_mut(guess) {
            *old = fresh;
        }
        Ok(Next::Value {
            pos: value,
            wanted,
            guess,
        })
    }

    fn lookup(&self, key: &[u8], escaped: bool) -> usize {
        let mut plain = Vec::new();
        let key = if escaped {
            // A key that is no text is nobody's.
            if unescape(key, &mut plain).is_err() {
                return SKIP;
            }
            &plain
        } else {
            key
        };
        self.wanted
            .iter()
            .position(|wanted| wanted.key.as_bytes() == key)
            .unwrap_or(SKIP)
    }

    fn check_missing(&self, pos: usize) -> Parsed<()> {
        match self.wanted.iter().find(|field| field.round != self.round) {
            None => Ok(()),
            Some(field) => {
                let dot = if self.name.is_empty() { "" } else { "." };
                Err(Fault::value(
                    pos,
                    format!(
                        "column `{}{dot}{}`: the field is missing",
                        self.name, field.key
                    ),
                ))
            }
        }
    }

    fn clear(&self, lanes: &mut [Lane], row: usize) {
        for field in &self.wanted {
            field.target.clear(lanes, row);
        }
    }
}

impl Target {
    /// Adds another taker of the same field.
    fn join(&mut self, other: Target) {
        match self {
            Self::Several(takers) if takers.is_empty() => *self = other,
            Self::Several(takers) => takers.push(other),
            _ => {
                let first = std::mem::replace(self, Self::Several(Vec::new()));
                *self = Self::Several(vec![first, other]);
            }
        }
    }

    /// The fields inside, added if there are none yet.
    fn inner(&mut self, name: &str, reading: Reading) -> Option<&mut Fields> {
        if self.fields().is_none() {
            self.join(Self::Fields(Box::new(Fields::new(name, reading))));
        }
        self.fields()
    }

    fn fields(&mut self) -> Option<&mut Fields> {
        match self {
            Self::Fields(fields) => Some(fields),
            Self::Several(takers) => takers.iter_mut().find_map(Self::fields),
            Self::Lane(_) | Self::Noted { .. } => None,
        }
    }

    #[inline(always)]
    fn read(&mut self, lanes: &mut [Lane], scan: &Scan<'_>, pos: usize, row: usize) -> Parsed {
        match self {
            Self::Lane(lane) => lanes[*lane].read(scan, pos, row),
            Self::Fields(fields) => match scan.at(pos) {
                b'{' => fields.read_inner(lanes, scan, pos, row),
                b'n' => scan.literal(pos, b"null"),
                _ => fields.refuse(scan, pos),
            },
            Self::Several(_) | Self::Noted { .. } => self.read_rarely(lanes, scan, pos, row),
        }
    }

    #[inline(never)]
    fn read_rarely(
        &mut self,
        lanes: &mut [Lane],
        scan: &Scan<'_>,
        pos: usize,
        row: usize,
    ) -> Parsed {
        match self {
            Self::Several(takers) => {
                let mut behind = pos;
                for taker in takers {
                    behind = taker.read(lanes, scan, pos, row)?;
                }
                Ok(behind)
            }
            Self::Noted { lane, null } => {
                if *null || scan.at(pos) != b'n' {
                    lanes[*lane].valid.set(row);
                }
                scan.skip(pos)
            }
            Self::Lane(_) | Self::Fields(_) => self.read(lanes, scan, pos, row),
        }
    }

    #[cold]
    fn clear(&self, lanes: &mut [Lane], row: usize) {
        match self {
            Self::Lane(lane) | Self::Noted { lane, .. } => lanes[*lane].clear(row),
            Self::Fields(fields) => fields.clear(lanes, row),
            Self::Several(takers) => takers.iter().for_each(|taker| taker.clear(lanes, row)),
        }
    }
}

impl Fields {
    /// Keeps the recursion out of the loop that is inlined.
    #[inline(never)]
    fn read_inner(
        &mut self,
        lanes: &mut [Lane],
        scan: &Scan<'_>,
        pos: usize,
        row: usize,
    ) -> Parsed {
        self.read(lanes, scan, pos, row)
    }

    /// The value of a ROW column is no object.
    #[cold]
    fn refuse(&self, scan: &Scan<'_>, pos: usize) -> Parsed {
        let end = scan.skip(pos)?;
        if self.reading.lenient {
            return Ok(end);
        }
        let value = excerpt(scan.slice(pos, end));
        Err(Fault::value(
            pos,
            format!("column `{}`: {value} is no ROW", self.name),
        ))
    }
}
