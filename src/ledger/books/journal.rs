//! The write-ahead journal: what is settled and not yet in the database, in files.
//!
//! A journal is a folder of its own, which one process holds a lock on. Its records are numbered, and
//! the database remembers up to which number it has them, in the same transaction as the records:
//! none is lost and none is entered twice, whenever the process is killed. Whoever comes next takes
//! over a journal that nobody holds.
//!
//! Segments have one size and their space is taken in advance; those that are done with are used again,
//! because what was written before is brought to the disk with less work of the file system than
//! what never was. So many are kept in reserve that a disk which others have filled still takes
//! what is settled for a while.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::direct::{BLOCK, Direct, Outgoing};
use super::frame::{self, END_BYTES, Found};

/// Bytes of a segment, unless a frame needs more.
const SEGMENT_BYTES: u64 = 8 << 20;

const LOCK: &str = "lock";
const SEGMENT: &str = "segment";
const SPARE: &str = "spare";

/// Where a frame stands, or several that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    /// Number of its first record.
    pub(super) first: u64,
    /// Number of records.
    pub(super) count: u64,
    segment: u64,
    at: u64,
    end: u64,
}

impl Placed {
    /// Number of the record after its last.
    pub(super) fn before(&self) -> u64 {
        self.first + self.count
    }

    /// Bytes of the segment.
    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.end - self.at).unwrap_or(usize::MAX)
    }

    /// Both as one, where the other follows at once.
    pub(super) fn with(self, next: Placed) -> Option<Placed> {
        let follows =
            next.segment == self.segment && next.at == self.end && next.first == self.before();
        follows.then_some(Placed { count: self.count + next.count, end: next.end, ..self })
    }
}

/// What was found in a journal that was taken over.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Every whole frame, in order.
    pub(super) frames: Vec<Placed>,
    /// Frames that were not written to their end.
    pub(super) torn: u64,
    /// The records that they say they had.
    pub(super) torn_records: u64,
}

/// How much a journal may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of all segments.
    pub(super) bytes_max: u64,
    /// Bytes that are taken in advance.
    pub(super) reserve_bytes: u64,
}

/// A journal that this process holds.
#[derive(Debug)]
pub(super) struct Journal {
    /// Its name: that of its folder.
    pub(super) name: String,
    folder: PathBuf,
    bounds: Bounds,
    /// Number of the next record.
    next: u64,
    /// Those with records, the oldest first, the last one being written to.
    segments: VecDeque<Segment>,
    /// Numbers of files whose space is taken, for segments to come.
    spares: Vec<(u64, u64)>,
    numbers: u64,
    outgoing: Outgoing,
    dirty: bool,
    _lock: File,
}

#[derive(Debug)]
struct Segment {
    /// Number of its first record, which is in its name.
    first: u64,
    file: Direct,
    bytes: u64,
}

impl Journal {
    /// Makes a new one in `root`.
    pub(super) fn create(root: &Path, name: String, bounds: Bounds) -> io::Result<Self> {
        let folder = root.join(&name);
        fs::create_dir_all(&folder)?;
        let lock = lock(&folder)?.ok_or_else(|| io::Error::other("somebody else has it"))?;
        Ok(Self::empty(name, folder, bounds, lock))
    }

    fn empty(name: String, folder: PathBuf, bounds: Bounds, lock: File) -> Self {
        Self {
            name,
            folder,
            bounds,
            next: 0,
            segments: VecDeque::new(),
            spares: Vec::new(),
            numbers: 0,
            outgoing: Outgoing::default(),
            dirty: false,
            _lock: lock,
        }
    }

    /// Takes over one that nobody holds; `None` if somebody does.
    pub(super) fn take_over(folder: &Path, bounds: Bounds) -> io::Result<Option<(Self, Taken)>> {
        let Some(lock) = lock(folder)? else { return Ok(None) };
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut journal = Self::empty(name, folder.to_owned(), bounds, lock);
        let mut firsts = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(first) = numbered(&name, SEGMENT) {
                firsts.push(first);
            } else if let Some(number) = numbered(&name, SPARE) {
                journal.spares.push((number, entry.metadata()?.len()));
                journal.numbers = journal.numbers.max(number + 1);
            }
        }
        firsts.sort_unstable();
        let mut found = Taken::default();
        for first in firsts {
            journal.scan(first, &mut found)?;
        }
        Ok(Some((journal, found)))
    }

    fn scan(&mut self, first: u64, found: &mut Taken) -> io::Result<()> {
        let file = Direct::open(&self.path(SEGMENT, first))?;
        let mut segment = Segment { first, bytes: file.file().metadata()?.len(), file };
        let (mut next, mut at, mut entries) = (first, 0, Vec::new());
        loop {
            match frame::read(segment.file.file(), at, next, &mut entries)? {
                Found::Frame(head) => {
                    let (count, end) = (head.count, head.end(at));
                    found.frames.push(Placed { first: next, count, segment: first, at, end });
                    next += count;
                    at = end;
                }
                Found::End => break,
                Found::Torn(records) => {
                    found.torn += 1;
                    found.torn_records += records;
                    break;
                }
            }
        }
        segment.file.seek(at)?;
        self.next = self.next.max(next);
        self.segments.push_back(segment);
        Ok(())
    }

    /// Number of the next record.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Goes on with this number, if it is higher: what lies between never was in this journal.
    pub(super) fn skip_to(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
            // Their frames no longer follow one another.
            self.seal();
        }
    }

    /// Bytes of segments with records.
    pub(super) fn used_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes of segments to come.
    fn held_bytes(&self) -> u64 {
        self.spares.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Takes the reserve's space, as far as there is some.
    pub(super) fn reserve(&mut self) -> io::Result<()> {
        while self.held_bytes() < self.bounds.reserve_bytes {
            let number = self.numbers;
            let path = self.path(SPARE, number);
            let made = allocate(&path, SEGMENT_BYTES);
            if made.is_err() {
                let _ = fs::remove_file(&path);
            }
            made?;
            self.numbers += 1;
            self.spares.push((number, SEGMENT_BYTES));
        }
        Ok(())
    }

    /// Writes a batch of entries that begins with this record. It is on the disk after
    /// [`Journal::sync`].
    pub(super) fn append(&mut self, first: u64, count: u64, entries: &[u8]) -> io::Result<Placed> {
        self.skip_to(first);
        let needed = frame::length(entries.len());
        let fits =
            |segment: &Segment| segment.bytes.saturating_sub(segment.file.at()) >= needed as u64;
        if !self.segments.back().is_some_and(fits) {
            self.open_segment(needed.next_multiple_of(BLOCK) as u64)?;
        }
        let first = self.next;
        let Some(segment) = self.segments.back_mut() else {
            return Err(io::Error::other("there is no segment"));
        };
        let at = segment.file.at();
        segment.file.write(&mut self.outgoing, needed, END_BYTES, |out| {
            frame::write(first, count, entries, out);
        })?;
        self.next += count;
        self.dirty = true;
        Ok(Placed { first, count, segment: segment.first, at, end: segment.file.at() })
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.dirty
            && let Some(segment) = self.segments.back()
        {
            segment.file.file().sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// The next frame goes to a segment of its own.
    fn seal(&mut self) {
        if let Some(segment) = self.segments.back_mut() {
            segment.bytes = segment.bytes.min(segment.file.at());
        }
    }

    fn open_segment(&mut self, needed: u64) -> io::Result<()> {
        self.sync()?;
        // An empty one that does not fit gives its name to the next.
        if self.segments.back().is_some_and(|last| last.file.at() == 0 && last.first == self.next)
            && let Some(last) = self.segments.pop_back()
        {
            fs::remove_file(self.path(SEGMENT, last.first))?;
        }
        if self.used_bytes() + needed > self.bounds.bytes_max {
            return Err(io::Error::other("the journal is as large as it may be (ledger.size)"));
        }
        let first = self.next;
        let path = self.path(SEGMENT, first);
        // The one that was written last is the last.
        let at = self.spares.iter().rposition(|(_, bytes)| *bytes >= needed);
        // A new one if there is space and none beyond the reserve, which is for when there is none.
        let beyond = self.held_bytes() >= self.bounds.reserve_bytes + SEGMENT_BYTES;
        let reused = match at {
            Some(at) if beyond => Some(at),
            at => match allocate(&path, needed.max(SEGMENT_BYTES)) {
                Ok(()) => None,
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    Some(at.ok_or(error)?)
                }
            },
        };
        if let Some(at) = reused {
            let (number, _) = self.spares.remove(at);
            fs::rename(self.path(SPARE, number), &path)?;
        }
        let mut file = Direct::open(&path)?;
        file.write(&mut self.outgoing, END_BYTES, END_BYTES, frame::end)?;
        File::open(&self.folder)?.sync_all()?;
        let bytes = file.file().metadata()?.len();
        self.segments.push_back(Segment { first, file, bytes });
        Ok(())
    }

    /// Reads entries back.
    pub(super) fn read(&self, placed: Placed) -> io::Result<Vec<u8>> {
        let segment = self.segments.iter().find(|segment| segment.first == placed.segment);
        let segment = segment.ok_or_else(|| io::Error::other("its segment is gone"))?;
        let (mut at, mut next) = (placed.at, placed.first);
        let (mut all, mut entries) = (Vec::new(), Vec::new());
        while next < placed.before() {
            let Found::Frame(head) = frame::read(segment.file.file(), at, next, &mut entries)?
            else {
                let message = "a frame of the journal has changed since it was written";
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            };
            all.append(&mut entries);
            (at, next) = (head.end(at), next + head.count);
        }
        Ok(all)
    }

    /// The database has every record before this number: their segments are free. The last one
    /// stays, because its name says which number comes next.
    pub(super) fn release(&mut self, before: u64) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[1].first <= before {
            let Some(done) = self.segments.pop_front() else { return Ok(()) };
            let path = self.path(SEGMENT, done.first);
            // One more than the reserve, for the next.
            let wanted = self.held_bytes() < self.bounds.reserve_bytes + SEGMENT_BYTES;
            if wanted && done.bytes >= SEGMENT_BYTES {
                let number = self.numbers;
                fs::rename(path, self.path(SPARE, number))?;
                self.numbers += 1;
                self.spares.push((number, done.file.file().metadata()?.len()));
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Removes it from the disk.
    pub(super) fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }

    fn path(&self, what: &str, number: u64) -> PathBuf {
        self.folder.join(format!("{what}-{number:016x}"))
    }
}

/// Every journal of `root`, as far as it can be seen.
pub(super) fn folders(root: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut folders: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect();
    folders.sort();
    Ok(folders)
}

fn numbered(name: &str, what: &str) -> Option<u64> {
    let digits = name.strip_prefix(what)?.strip_prefix('-')?;
    u64::from_str_radix(digits, 16).ok()
}

/// The lock of a journal; `None` if another process has it. It ends with the process.
fn lock(folder: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// A new file whose space is taken.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    take_space(&file, bytes)?;
    file.sync_all()
}

#[cfg(target_os = "linux")]
fn take_space(file: &File, bytes: u64) -> io::Result<()> {
    nix::fcntl::posix_fallocate(file, 0, bytes as i64).map_err(io::Error::from)
}

#[cfg(not(target_os = "linux"))]
fn take_space(file: &File, bytes: u64) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    const PART: [u8; 1 << 16] = [0; 1 << 16];
    let mut at = 0;
    while at < bytes {
        file.write_all_at(&PART, at)?;
        at += PART.len() as u64;
    }
    Ok(())
}
