//! What a parquet file says of its sizes, read before the decoder takes its word for it.
//!
//! The decoder makes room for as many columns as a group of the schema says it has, goes as deep as groups lie in one
//! another, and makes room for a page as large as its header says: a few wrong bytes would have it ask for more memory
//! than there is, or run out of its stack, and either ends the process. Here is read what leads to those numbers and
//! nothing else, by the Thrift compact protocol
//! (apache/thrift, `doc/specs/thrift-compact-protocol.md`; apache/parquet-format, `parquet.thrift`).

/// Bytes at the end of a file: the length of the footer, and the magic.
const END_BYTES: usize = 8;
/// Groups within one another. A list in a struct, as CodeContests has them, is three.
const DEPTH_MAX: usize = 32;
/// Values within one another that are passed over.
const NESTING_MAX: usize = 64;

/// Field of a page's header: its size once decompressed.
const UNCOMPRESSED: i64 = 2;
/// Field of a page's header: the bytes that follow the header.
const COMPRESSED: i64 = 3;
/// Field of a file's metadata: its schema, a list of elements.
const SCHEMA: i64 = 2;
/// Field of an element: how many of the elements that follow are its own.
const CHILDREN: i64 = 5;

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Checks that no group of the schema promises more than follows it, nor lies too deep.
///
/// # Errors
/// In a few words what does not fit. A file that has no room for its footer is left to the decoder.
pub(super) fn check_schema(file: &[u8]) -> Result<(), &'static str> {
    let Some((rest, end)) = file.split_last_chunk::<END_BYTES>() else {
        return Ok(());
    };
    let length = u32::from_le_bytes([end[0], end[1], end[2], end[3]]) as usize;
    let Some(start) = rest.len().checked_sub(length) else {
        return Ok(());
    };
    let mut footer = Thrift(&rest[start..]);
    let children = footer.children().ok_or("its schema breaks off")?;
    let mut open: Vec<usize> = Vec::new();
    for (place, own) in children.iter().enumerate() {
        if *own > children.len() - place - 1 {
            return Err("a group of its schema has more columns than follow");
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        open.push(*own);
        if open.len() > DEPTH_MAX {
            return Err("groups of its schema lie too deep in one another");
        }
    }
    Ok(())
}

/// The sizes that the pages of a column chunk say they have once decompressed.
///
/// # Errors
/// In a few words, in the place of the first page whose header cannot be read; none follows.
pub(super) fn pages(chunk: &[u8]) -> impl Iterator<Item = Result<u64, &'static str>> {
    let mut left = Thrift(chunk);
    std::iter::from_fn(move || {
        if left.0.is_empty() {
            return None;
        }
        let page = left.page();
        if page.is_none() {
            left.0 = &[];
        }
        Some(page.ok_or("the header of a page breaks off"))
    })
}

/// What is left of some bytes. Every step takes at least one of them, or gives none.
///
/// Where a field is looked for, its number is read whatever its kind is said to be: so does the decoder.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    /// The size of the next page; passes over it.
    fn page(&mut self) -> Option<u64> {
        let (mut id, mut uncompressed, mut compressed) = (0, 0, 0);
        while let Some(kind) = self.field(&mut id)? {
            match id {
                UNCOMPRESSED => uncompressed = self.size()?,
                COMPRESSED => compressed = self.size()?,
                _ => self.pass_over(kind, NESTING_MAX)?,
            }
        }
        // Of the last page some may be missing: the decoder makes room for what it says all the same.
        if self.take(compressed).is_none() {
            self.0 = &[];
        }
        Some(uncompressed)
    }

    /// For each element of the schema how many it says are its own; no element if there is no schema.
    fn children(&mut self) -> Option<Vec<usize>> {
        let mut id = 0;
        while let Some(kind) = self.field(&mut id)? {
            if id == SCHEMA {
                let (count, kind) = self.list()?;
                if kind != STRUCT {
                    return None;
                }
                // Not made room for: the count is only what the file says.
                return (0..count).map(|_| self.element()).collect();
            }
            self.pass_over(kind, NESTING_MAX)?;
        }
        Some(Vec::new())
    }

    fn element(&mut self) -> Option<usize> {
        let (mut id, mut children) = (0, 0);
        while let Some(kind) = self.field(&mut id)? {
            if id == CHILDREN {
                children = usize::try_from(self.size()?).ok()?;
            } else {
                self.pass_over(kind, NESTING_MAX)?;
            }
        }
        Some(children)
    }

    /// The kind of the next field, whose id follows from that of the last one; none at the end of a struct.
    fn field(&mut self, id: &mut i64) -> Option<Option<u8>> {
        let byte = self.byte()?;
        let (step, kind) = (byte >> 4, byte & 0x0f);
        if kind == 0 {
            return Some(None);
        }
        *id = match step {
            0 => self.signed()?,
            step => id.checked_add(i64::from(step))?,
        };
        Some(Some(kind))
    }

    /// How many values of which kind a list has.
    fn list(&mut self) -> Option<(u64, u8)> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.unsigned()?,
            count => u64::from(count),
        };
        Some((count, byte & 0x0f))
    }

    fn pass_over(&mut self, kind: u8, nesting: usize) -> Option<()> {
        let nesting = nesting.checked_sub(1)?;
        match kind {
            // In a field its kind is its value.
            TRUE | FALSE => {}
            BYTE => self.take(1)?,
            I16 | I32 | I64 => {
                self.unsigned()?;
            }
            DOUBLE => self.take(8)?,
            BINARY => {
                let length = self.unsigned()?;
                self.take(length)?;
            }
            LIST | SET => {
                let (count, kind) = self.list()?;
                for _ in 0..count {
                    self.pass_over_item(kind, nesting)?;
                }
            }
            MAP => {
                let count = self.unsigned()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                for _ in 0..count {
                    self.pass_over_item(kinds >> 4, nesting)?;
                    self.pass_over_item(kinds & 0x0f, nesting)?;
                }
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.pass_over(kind, nesting)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Outside of a field even a truth value takes a byte.
    fn pass_over_item(&mut self, kind: u8, nesting: usize) -> Option<()> {
        match kind {
            TRUE | FALSE => self.take(1),
            kind => self.pass_over(kind, nesting),
        }
    }

    /// A whole number of 32 bits; 0 for one below 0, which the decoder refuses. Of a larger one it takes the lower bits.
    fn size(&mut self) -> Option<u64> {
        let number = self.signed()? as i32;
        Some(u64::try_from(number).unwrap_or(0))
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        let half = i64::try_from(value >> 1).ok()?;
        Some(if value & 1 == 0 { half } else { -half - 1 })
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, length: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}
