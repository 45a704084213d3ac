//! The words in which the tables of keys (`schema`) are written.
//!
//! A key is one line: its name, what its value must be, its default as it would be written in a file, and whether this
//! version acts on it. Decoding, hints, the list for `check --print` and the tests of the reference file follow from it.

/// What a value must be.
pub(super) enum Kind {
    Bool,
    /// A whole number in this range, ends included.
    Number(u64, u64),
    Text,
    /// Text that a function accepts, or says what is wrong with it.
    Checked(fn(&str) -> Result<(), String>),
    /// One of these words.
    Choice(&'static dyn Words),
    /// With a unit: `250ms`, `10s`, `5m`, `2h`, `7d`; in this range of milliseconds.
    Duration(u64, u64),
    /// With a unit: `512B`, `64KiB`, `1MB`, `1GiB`; in this range of bytes.
    Size(u64, u64),
    /// `{type: env, value: NAME}` or `{type: text, value: X}`; a secret.
    Credential,
    List(&'static Kind),
    /// Keys are free.
    Map(&'static Kind),
    Section(&'static Section),
    /// The key `type` says which section it is.
    Tagged(&'static Tagged),
    /// Not looked into.
    Any,
}

/// Does this version act on it?
#[derive(Clone, Copy)]
pub(super) enum State {
    Acts,
    /// Known and accepted, with a warning that says this.
    Ignored(&'static str),
    /// Known and refused, because to go on without it would keep or send more than the file asks for.
    Refused(&'static str),
}

/// One key of a section.
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub state: State,
    /// As it would be written in a file.
    pub default: Option<&'static str>,
    pub required: bool,
    /// The value that does nothing, so that it needs no warning or error though the key is not acted on.
    pub idle: Option<&'static str>,
}

/// Why our own keys of later versions are refused.
pub(super) const LATER: &str = "is not in this version of Plainspan";

pub(super) const fn key(name: &'static str, kind: Kind) -> Key {
    Key {
        name,
        kind,
        state: State::Acts,
        default: None,
        required: false,
        idle: None,
    }
}

impl Key {
    /// Acted on, and not just a way to keys that are not.
    fn acts(&self) -> bool {
        let leads_somewhere = match self.kind {
            Kind::Section(section) => section.keys.iter().any(Key::acts),
            _ => true,
        };
        matches!(self.state, State::Acts) && leads_somewhere
    }

    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }

    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    pub const fn ignored(mut self, why: &'static str) -> Self {
        self.state = State::Ignored(why);
        self
    }

    pub const fn refused(mut self, why: &'static str) -> Self {
        self.state = State::Refused(why);
        self
    }

    pub const fn idle(mut self, value: &'static str) -> Self {
        self.idle = Some(value);
        self
    }
}

/// A map with known keys.
pub(super) struct Section {
    /// How messages call it.
    pub name: &'static str,
    pub keys: &'static [Key],
}

impl Section {
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|k| k.name == name)
    }
}

/// A map whose key `type` names its section.
pub(super) struct Tagged {
    /// What one of them is called: `event store`.
    pub what: &'static str,
    pub variants: &'static [Variant],
}

impl Tagged {
    pub fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants.iter().find(|v| v.name == name)
    }
}

pub(super) struct Variant {
    pub name: &'static str,
    /// The name that the program uses; another one only for a former name.
    pub is: &'static str,
    pub section: &'static Section,
    pub state: State,
}

pub(super) const fn variant(name: &'static str, section: &'static Section) -> Variant {
    Variant {
        name,
        is: name,
        section,
        state: State::Acts,
    }
}

impl Variant {
    pub const fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    pub const fn former_name_of(mut self, name: &'static str) -> Self {
        self.is = name;
        self
    }
}

/// The words that a choice accepts.
pub(super) trait Words: Sync {
    fn names(&self) -> Vec<&'static str>;
    /// Known, but of a later version.
    fn later(&self) -> &'static [&'static str];
}

/// Words with what each of them means.
pub(super) struct Choices<T: 'static> {
    pub words: &'static [(&'static str, T)],
    pub later: &'static [&'static str],
}

impl<T: Copy> Choices<T> {
    pub const fn new(words: &'static [(&'static str, T)]) -> Self {
        Choices { words, later: &[] }
    }

    pub fn get(&self, word: &str) -> Option<T> {
        self.words
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, value)| *value)
    }
}

impl<T: Sync> Words for Choices<T> {
    fn names(&self) -> Vec<&'static str> {
        self.words.iter().map(|(w, _)| *w).collect()
    }

    fn later(&self) -> &'static [&'static str] {
        self.later
    }
}

/// Section and name of every key that is acted on and that is reached without passing one that is not.
pub(super) fn acting_keys(root: &'static Section) -> Vec<(&'static str, &'static str)> {
    let acting = |key: &&'static Key| key.acts();
    let mut sections = vec![root];
    let mut next = 0;
    while next < sections.len() {
        for section in sections[next]
            .keys
            .iter()
            .filter(acting)
            .flat_map(|k| acting_sections(&k.kind))
        {
            if !sections.iter().any(|s| std::ptr::eq(*s, section)) {
                sections.push(section);
            }
        }
        next += 1;
    }
    sections
        .iter()
        .flat_map(|s| s.keys.iter().filter(acting).map(|k| (s.name, k.name)))
        .collect()
}

fn acting_sections(kind: &Kind) -> Vec<&'static Section> {
    match kind {
        Kind::List(inner) | Kind::Map(inner) => acting_sections(inner),
        Kind::Section(section) => vec![section],
        Kind::Tagged(tagged) => tagged
            .variants
            .iter()
            .filter(|v| matches!(v.state, State::Acts))
            .map(|v| v.section)
            .collect(),
        _ => Vec::new(),
    }
}

/// Sections inside `kind`.
fn sections_in(kind: &Kind) -> Vec<&'static Section> {
    match kind {
        Kind::List(inner) | Kind::Map(inner) => sections_in(inner),
        Kind::Section(section) => vec![section],
        Kind::Tagged(tagged) => tagged.variants.iter().map(|v| v.section).collect(),
        _ => Vec::new(),
    }
}

/// Every section that can be reached from `root`, itself included, each once.
pub(super) fn all_sections(root: &'static Section) -> Vec<&'static Section> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for section in found[next].keys.iter().flat_map(|k| sections_in(&k.kind)) {
            if !found.iter().any(|f| std::ptr::eq(*f, section)) {
                found.push(section);
            }
        }
        next += 1;
    }
    found
}
