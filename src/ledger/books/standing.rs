//! How the ledger of record stands.

/// Where records are on their way; the number is the metric's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The database takes them.
    #[default]
    Ok,
    /// The journal holds them until the database takes them.
    Behind,
    /// The journal cannot be written: memory holds them, and a process that is killed loses them.
    Memory,
    /// Memory is full: they are lost.
    Losing,
}

impl State {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Behind => "behind",
            State::Memory => "memory",
            State::Losing => "losing",
        }
    }
}

/// How the ledger stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// Why it is not well; empty when it is.
    pub reason: String,
    /// Since when it is as it is.
    pub since_unix_ms: u64,
    /// Records that the database has taken since the start.
    pub entered: u64,
    /// Records that wait for the database.
    pub waiting: u64,
    /// Bytes of memory that they take.
    pub memory_bytes: u64,
    /// Bytes of the journal's segments that they take.
    pub journal_bytes: u64,
    /// Records of an earlier process that were found in a journal.
    pub recovered: u64,
    /// Batches that an earlier process had not written to their end.
    pub torn: u64,
    /// Records lost because journal and memory were full.
    pub lost: u64,
}
