//! Values being collected, in one of few forms, to be compared and then turned into an Arrow array once.

/// A column of values under construction. Invariant: `valid` has one entry a value, and a NULL still takes a place.
#[derive(Clone, Debug)]
pub struct Cells {
    pub(super) valid: Vec<bool>,
    pub(super) nulls: usize,
    pub(super) data: Data,
}

/// The values of [`Cells`].
#[derive(Clone, Debug)]
pub(super) enum Data {
    Long(Vec<i64>),
    Wide(Vec<i128>),
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    Lists {
        children: Vec<Cells>,
        ends: Vec<usize>,
    },
}

/// The form in which the values of a type are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everything that fits 64 bits and orders like its `i64` (floats in a code that orders as they do).
    Long,
    /// Decimals.
    Wide,
    /// Text, binary, and nested values in Arrow's row format.
    Bytes,
    /// Lists of rows of these forms: ARRAY has one, MAP two.
    Lists(Vec<Form>),
}

impl Cells {
    /// No values, of a form.
    pub fn new(form: &Form) -> Self {
        let data = match form {
            Form::Long => Data::Long(Vec::new()),
            Form::Wide => Data::Wide(Vec::new()),
            Form::Bytes => Data::Bytes {
                bytes: Vec::new(),
                ends: Vec::new(),
            },
            Form::Lists(forms) => Data::Lists {
                children: forms.iter().map(Self::new).collect(),
                ends: Vec::new(),
            },
        };
        Self {
            valid: Vec::new(),
            nulls: 0,
            data,
        }
    }

    /// No values, of the same form.
    #[must_use]
    pub fn same_form(&self) -> Self {
        let mut empty = self.clone();
        empty.clear();
        empty
    }

    /// How many values there are, NULLs too.
    pub fn len(&self) -> usize {
        self.valid.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.valid.is_empty()
    }

    /// Forgets all values and keeps the room.
    pub fn clear(&mut self) {
        self.valid.clear();
        self.nulls = 0;
        match &mut self.data {
            Data::Long(values) => values.clear(),
            Data::Wide(values) => values.clear(),
            Data::Bytes { bytes, ends } => {
                bytes.clear();
                ends.clear();
            }
            Data::Lists { children, ends } => {
                children.iter_mut().for_each(Self::clear);
                ends.clear();
            }
        }
    }

    /// Adds a NULL.
    pub fn push_null(&mut self) {
        self.mark(false);
        match &mut self.data {
            Data::Long(values) => values.push(0),
            Data::Wide(values) => values.push(0),
            Data::Bytes { bytes, ends } => ends.push(bytes.len()),
            Data::Lists { children, ends } => ends.push(children[0].len()),
        }
    }

    /// Adds a value of the form [`Form::Long`]. A value of another form than the column's is an error of the caller,
    /// and becomes NULL.
    pub fn push_long(&mut self, value: i64) {
        let Data::Long(values) = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return self.push_null();
        };
        values.push(value);
        self.mark(true);
    }

    /// Adds a value of the form [`Form::Wide`].
    pub fn push_wide(&mut self, value: i128) {
        let Data::Wide(values) = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return self.push_null();
        };
        values.push(value);
        self.mark(true);
    }

    /// Adds a value of the form [`Form::Bytes`].
    pub fn push_bytes(&mut self, value: &[u8]) {
        let Data::Bytes { bytes, ends } = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return self.push_null();
        };
        bytes.extend_from_slice(value);
        ends.push(bytes.len());
        self.mark(true);
    }

    /// Adds a value of the form [`Form::Lists`]: `fill` adds the same number of elements to each child.
    pub fn push_list(&mut self, fill: impl FnOnce(&mut [Self])) {
        let Data::Lists { children, ends } = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return self.push_null();
        };
        fill(children);
        ends.push(children[0].len());
        self.mark(true);
    }

    /// Adds values of the form [`Form::Long`], none NULL.
    pub fn extend_longs(&mut self, more: impl Iterator<Item = i64>) {
        let Data::Long(values) = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return;
        };
        values.extend(more);
        self.valid.resize(values.len(), true);
    }

    /// Adds values of the form [`Form::Wide`], none NULL.
    pub fn extend_wides(&mut self, more: &[i128]) {
        let Data::Wide(values) = &mut self.data else {
            debug_assert!(false, "the cells hold another form");
            return;
        };
        values.extend_from_slice(more);
        self.valid.resize(values.len(), true);
    }

    /// Adds values of the form [`Form::Long`] or NULLs.
    pub fn extend_longs_or_null(&mut self, more: impl Iterator<Item = Option<i64>>) {
        for value in more {
            match value {
                Some(value) => self.push_long(value),
                None => self.push_null(),
            }
        }
    }

    /// Adds values of the form [`Form::Wide`] or NULLs.
    pub fn extend_wides_or_null(&mut self, more: impl Iterator<Item = Option<i128>>) {
        for value in more {
            match value {
                Some(value) => self.push_wide(value),
                None => self.push_null(),
            }
        }
    }

    /// Whether the value at `idx` is not NULL.
    pub fn is_valid(&self, idx: usize) -> bool {
        self.valid[idx]
    }

    /// The value at `idx` of the form [`Form::Long`] (zero for NULL).
    pub fn long(&self, idx: usize) -> i64 {
        match &self.data {
            Data::Long(values) => values[idx],
            Data::Wide(_) | Data::Bytes { .. } | Data::Lists { .. } => 0,
        }
    }

    /// The value at `idx` of the form [`Form::Wide`] (zero for NULL).
    pub fn wide(&self, idx: usize) -> i128 {
        match &self.data {
            Data::Wide(values) => values[idx],
            Data::Long(_) | Data::Bytes { .. } | Data::Lists { .. } => 0,
        }
    }

    /// The value at `idx` of the form [`Form::Bytes`] (empty for NULL).
    pub fn bytes(&self, idx: usize) -> &[u8] {
        match &self.data {
            Data::Bytes { bytes, ends } => &bytes[range(ends, idx)],
            Data::Long(_) | Data::Wide(_) | Data::Lists { .. } => &[],
        }
    }

    /// Copies a value (or NULL) of another column of the same form.
    pub fn push_from(&mut self, other: &Self, idx: usize) {
        if !other.valid[idx] {
            return self.push_null();
        }
        match &other.data {
            Data::Long(values) => self.push_long(values[idx]),
            Data::Wide(values) => self.push_wide(values[idx]),
            Data::Bytes { bytes, ends } => self.push_bytes(&bytes[range(ends, idx)]),
            Data::Lists { children, ends } => self.push_list(|mine| {
                for (mine, theirs) in mine.iter_mut().zip(children) {
                    range(ends, idx).for_each(|at| mine.push_from(theirs, at));
                }
            }),
        }
    }

    /// Whether the values at two places are the same; NULLs are.
    pub fn same(&self, left: usize, right: usize) -> bool {
        self.valid[left] == self.valid[right] && (!self.valid[left] || self.same_data(left, right))
    }

    /// Sets `differs[i]` where the value at `i` is not the same as the one at `i + differs.len()`.
    pub fn diff(&self, differs: &mut [bool]) {
        let half = differs.len();
        if let Data::Long(values) = &self.data {
            let (old, new) = values.split_at(half);
            let (was, is) = self.valid.split_at(half);
            for (i, differs) in differs.iter_mut().enumerate() {
                *differs |= old[i] != new[i] || was[i] != is[i];
            }
            return;
        }
        for (i, differs) in differs.iter_mut().enumerate() {
            *differs |= !self.same(i, i + half);
        }
    }

    /// Appends a value to bytes, so that [`Cells::read`] finds it again.
    pub fn write(&self, idx: usize, out: &mut Vec<u8>) {
        out.push(u8::from(self.valid[idx]));
        if !self.valid[idx] {
            return;
        }
        match &self.data {
            Data::Long(values) => out.extend_from_slice(&values[idx].to_le_bytes()),
            Data::Wide(values) => out.extend_from_slice(&values[idx].to_le_bytes()),
            Data::Bytes { bytes, ends } => {
                let value = &bytes[range(ends, idx)];
                out.extend_from_slice(&(value.len() as u32).to_le_bytes());
                out.extend_from_slice(value);
            }
            Data::Lists { children, ends } => {
                let range = range(ends, idx);
                out.extend_from_slice(&(range.len() as u32).to_le_bytes());
                for at in range {
                    children.iter().for_each(|child| child.write(at, out));
                }
            }
        }
    }

    /// Adds the value that [`Cells::write`] wrote at the front of `bytes` and takes it off; `None` when it is cut short.
    pub fn read(&mut self, bytes: &mut &[u8]) -> Option<()> {
        let [valid] = take(bytes)?;
        if valid == 0 {
            self.push_null();
            return Some(());
        }
        match &mut self.data {
            Data::Long(_) => self.push_long(i64::from_le_bytes(take(bytes)?)),
            Data::Wide(_) => self.push_wide(i128::from_le_bytes(take(bytes)?)),
            Data::Bytes { .. } => {
                let length = u32::from_le_bytes(take(bytes)?) as usize;
                let (value, rest) = bytes.split_at_checked(length)?;
                *bytes = rest;
                self.push_bytes(value);
            }
            Data::Lists { children, ends } => {
                for _ in 0..u32::from_le_bytes(take(bytes)?) {
                    children
                        .iter_mut()
                        .try_for_each(|child| child.read(bytes))?;
                }
                ends.push(children[0].len());
                self.mark(true);
            }
        }
        Some(())
    }

    fn same_data(&self, left: usize, right: usize) -> bool {
        match &self.data {
            Data::Long(values) => values[left] == values[right],
            Data::Wide(values) => values[left] == values[right],
            Data::Bytes { bytes, ends } => bytes[range(ends, left)] == bytes[range(ends, right)],
            Data::Lists { children, ends } => {
                let (left, right) = (range(ends, left), range(ends, right));
                left.len() == right.len()
                    && children.iter().all(|child| {
                        left.clone()
                            .zip(right.clone())
                            .all(|(l, r)| child.same(l, r))
                    })
            }
        }
    }

    fn mark(&mut self, valid: bool) {
        self.valid.push(valid);
        self.nulls += usize::from(!valid);
    }
}

/// The range of the value at `idx` when `ends` holds where each value ends.
pub(super) fn range(ends: &[usize], idx: usize) -> std::ops::Range<usize> {
    let start = if idx == 0 { 0 } else { ends[idx - 1] };
    start..ends[idx]
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
