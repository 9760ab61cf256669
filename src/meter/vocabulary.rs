//! Vocabularies: which exist, how they cut text into pieces, and loading them off the workers.
//!
//! A vocabulary takes 20 MB and a tenth of a second to unpack, so it is loaded on first use, once
//! for the process, on the background thread of [`super::background`]. Loaded vocabularies are
//! facts that never change, which is why they may live in a static.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tiktoken::CoreBpe;
use tokio::sync::Notify;

use super::background::{self, Job};
use super::merges::Merges;
use super::pieces::Pieces;

/// A byte-pair vocabulary together with its rules for cutting text into pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// `o200k_base`: GPT-4o and everything `OpenAI` released after it.
    O200k,
    /// `cl100k_base`: GPT-4, GPT-3.5 Turbo, the embedding models.
    Cl100k,
    /// Llama 3, 3.1, 3.2 and 3.3.
    Llama3,
    /// Qwen 1.5 to 3.
    Qwen2,
    /// `DeepSeek` V3, R1 and V4.
    DeepSeekV3,
    /// Mistral's Tekken.
    MistralV3,
}

/// How a vocabulary's pre-tokenizer differs from the others where [`super::seam`] has to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// A word takes an English contraction that follows it into its own piece.
    pub contraction_suffix: bool,
    /// Line ends after punctuation may go on with slashes in the same piece.
    pub slash_tail: bool,
}

/// A vocabulary in memory.
pub(super) struct Loaded {
    pub vocabulary: Vocabulary,
    pub bpe: &'static CoreBpe,
    /// Built only when a text holds a very long piece.
    long: OnceLock<Long>,
}

/// What the linear-time path for very long pieces needs.
pub(super) struct Long {
    pub merges: Merges,
    pub pieces: Pieces,
}

struct Slot {
    loaded: OnceLock<Loaded>,
    load_asked: AtomicBool,
    long_asked: AtomicBool,
    changed: Notify,
}

static SLOTS: [Slot; Vocabulary::ALL.len()] = [const { Slot::new() }; Vocabulary::ALL.len()];

impl Slot {
    const fn new() -> Self {
        Self {
            loaded: OnceLock::new(),
            load_asked: AtomicBool::new(false),
            long_asked: AtomicBool::new(false),
            changed: Notify::const_new(),
        }
    }
}

impl Vocabulary {
    /// Every vocabulary, in declaration order.
    pub const ALL: [Vocabulary; 6] = [
        Vocabulary::O200k,
        Vocabulary::Cl100k,
        Vocabulary::Llama3,
        Vocabulary::Qwen2,
        Vocabulary::DeepSeekV3,
        Vocabulary::MistralV3,
    ];

    /// Its customary name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Vocabulary::O200k => "o200k_base",
            Vocabulary::Cl100k => "cl100k_base",
            Vocabulary::Llama3 => "llama3",
            Vocabulary::Qwen2 => "qwen2",
            Vocabulary::DeepSeekV3 => "deepseek_v3",
            Vocabulary::MistralV3 => "mistral_v3",
        }
    }

    /// Whether it can count without waiting.
    pub fn is_loaded(self) -> bool {
        self.loaded().is_some()
    }

    pub(super) const fn style(self) -> Style {
        match self {
            Vocabulary::O200k => Style { contraction_suffix: true, slash_tail: true },
            Vocabulary::MistralV3 => Style { contraction_suffix: false, slash_tail: true },
            Vocabulary::Cl100k
            | Vocabulary::Llama3
            | Vocabulary::Qwen2
            | Vocabulary::DeepSeekV3 => Style { contraction_suffix: false, slash_tail: false },
        }
    }

    fn slot(self) -> &'static Slot {
        &SLOTS[self as usize]
    }

    pub(super) fn loaded(self) -> Option<&'static Loaded> {
        self.slot().loaded.get()
    }

    /// Loads it on the calling thread, or waits for the thread that is loading it.
    pub(super) fn load(self) -> &'static Loaded {
        let slot = self.slot();
        let loaded = slot.loaded.get_or_init(|| Loaded {
            vocabulary: self,
            // Cargo.toml enables each of the six names.
            bpe: tiktoken::get_encoding(self.as_str()).expect("a vocabulary that is compiled in"),
            long: OnceLock::new(),
        });
        slot.changed.notify_waiters();
        loaded
    }

    /// Resolves when it is loaded; asks for it first.
    pub(super) async fn ready(self) -> &'static Loaded {
        loop {
            let changed = self.slot().changed.notified();
            if let Some(loaded) = self.loaded() {
                return loaded;
            }
            warm(self);
            changed.await;
        }
    }
}

impl Loaded {
    /// The tables for long pieces, if they are there; asks the background thread for them
    /// otherwise.
    pub fn long_if_ready(&self) -> Option<&Long> {
        let long = self.long.get();
        if long.is_none() {
            ask(&self.vocabulary.slot().long_asked, Job::LoadLong(self.vocabulary));
        }
        long
    }

    /// The tables for long pieces, built on the calling thread if need be.
    pub fn long(&self) -> &Long {
        let long = self.long.get_or_init(|| Long {
            merges: Merges::new(self.bpe),
            pieces: Pieces::new(self.vocabulary),
        });
        self.vocabulary.slot().changed.notify_waiters();
        long
    }

    /// Resolves when the tables for long pieces are there.
    pub async fn long_ready(&self) {
        loop {
            let changed = self.vocabulary.slot().changed.notified();
            if self.long_if_ready().is_some() {
                return;
            }
            changed.await;
        }
    }
}

/// Starts to load a vocabulary off the calling thread. Cheap, and cheap to repeat.
pub fn warm(vocabulary: Vocabulary) {
    if !vocabulary.is_loaded() {
        ask(&vocabulary.slot().load_asked, Job::Load(vocabulary));
    }
}

/// Hands a job over once; a full queue leaves it to the next caller.
fn ask(asked: &AtomicBool, job: Job) {
    if !asked.swap(true, Ordering::AcqRel) && background::submit(job).is_err() {
        asked.store(false, Ordering::Release);
    }
}
