//! What can be the matter with a name. The list grows; a code that was once given out keeps its meaning.

/// How much a reason weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The name may be used; whoever chose it should look at the preview.
    Warning,
    /// The name is not used.
    Refusal,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $severity:ident, $text:literal;)*) => {
        /// One thing that is the matter with a name.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum NameReason { $($(#[$doc])* $name,)* }

        impl NameReason {
            /// Every reason, in the order in which they are told.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// For programs; never changes.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// For people: what is the matter, and what to do.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// How much it weighs.
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// The reason with this code.
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// Nothing but space, or nothing at all.
    Empty = "empty", Refusal, "there is no name";
    /// Longer than the provider takes.
    TooLong = "too_long", Refusal, "the provider takes at most 255 characters";
    /// The provider's own name.
    ContainsWepay = "contains_wepay", Refusal, "the provider refuses names that contain the word wepay";
    /// Personal data, for every payer to read.
    EmailAddress = "email_address", Refusal, "contains an e-mail address; every payer would read it";
    /// Line ends, tabs, NUL and their like.
    ControlCharacter = "control_character", Refusal, "contains a control character, such as a tab or a line end";
    /// Zero width, direction of reading, fillers, variation selectors.
    InvisibleCharacter = "invisible_character", Refusal, "contains a character that cannot be seen";
    /// Private use, not assigned, or the mark of a broken encoding.
    UnprintableCharacter = "unprintable_character", Refusal, "contains a character that has no printed form";
    /// Pictures.
    Emoji = "emoji", Refusal, "contains an emoji; the provider refuses them";
    /// Not in Unicode normalisation form C.
    NotNfc = "not_nfc", Refusal, "is not in Unicode form NFC: looks the same as another text, and is not";
    /// Space at an end.
    SurroundingSpace = "surrounding_space", Refusal, "begins or ends with a space";
    /// Two spaces in a row.
    DoubledSpace = "doubled_space", Refusal, "has more than one space in a row";
    /// A space other than U+0020.
    UnusualSpace = "unusual_space", Refusal, "contains a space that is not the ordinary one, such as a no-break space";
    /// One of the platform's own patterns.
    PlatformPattern = "platform_pattern", Refusal, "contains an id of the platform; card holders do not know it";
    /// A UUID.
    Uuid = "uuid", Refusal, "contains a UUID; card holders do not know it";
    /// A hash, or its beginning.
    Hash = "hash", Refusal, "contains a hash; card holders do not know it";
    /// A prefixed, labelled or random id.
    ReferenceId = "reference_id", Refusal, "contains a reference id; card holders do not know it";
    /// A number of a record, a telephone, a card.
    DigitRun = "digit_run", Refusal, "contains a long number; card holders do not know it";
    /// Digits and signs, but (next to) nothing to read.
    TooFewLetters = "too_few_letters", Refusal, "has too few letters to be known by";
    /// Words for a test, or what fingers type when they must type something.
    TestName = "test_name", Refusal, "is a placeholder or a name for tests";
    /// Only words that fit every merchant.
    Generic = "generic", Refusal, "fits every merchant: account, store and their like say nothing";
    /// The name comes too late.
    StartsUnrecognisable = "starts_unrecognisable", Refusal,
        "its first 14 characters, which is all that some banks show, do not name the merchant";
    /// The opening is made of words that many names begin with.
    StartsCommon = "starts_common", Warning, "its first 14 characters are words that many merchants' names begin with";
    /// Common words only, but put together as a name may be.
    CommonWords = "common_words", Warning, "is made of common words only; make sure that card holders know it";
    /// `X`, `3M`.
    SingleLetter = "single_letter", Warning, "has one letter only; make sure that card holders know it";
    /// Mixed as ids are, and as some names are, too.
    PossibleId = "possible_id", Warning, "looks like an id; make sure that card holders know it";
    /// A number of five or six digits.
    LongNumber = "long_number", Warning, "contains a number that card holders may not know";
    /// Letters of another script.
    NonLatin = "non_latin", Warning, "has letters that are not Latin; many banks cannot show them";
    /// Symbols, ligatures, full-width forms.
    UncommonCharacter = "uncommon_character", Warning, "has characters that many banks cannot show";
}
