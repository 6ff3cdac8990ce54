//! The sentences. Short, plain, and each says what the reader can do now.

/// One page of text.
pub(super) struct Message {
    /// Title and heading.
    pub(super) title: &'static str,
    /// Its paragraphs.
    pub(super) texts: &'static [&'static str],
}

/// What a scope permits, in plain words (`docs/provider.md` §4 lists the five).
pub(super) fn permission(scope: &str) -> &str {
    match scope {
        "manage_accounts" => "Open and look after your payment accounts.",
        "collect_payments" => "Take payments from your customers into your accounts, and give refunds.",
        "view_user" => "See your name and e-mail address at WePay.",
        "preapprove_payments" => "Take payments that a customer agreed to in advance, such as subscriptions.",
        "send_money" => "Arrange payouts from your payment accounts to your bank.",
        // A scope we have no words for is still shown: nobody is asked for more than the page says.
        unknown => unknown,
    }
}

/// What an outcome means, by its stored form.
pub(super) fn outcome(stored: &str) -> &'static Message {
    match stored {
        "connected" => &CONNECTED,
        "held" => &HELD,
        "already_connected" => &ALREADY_CONNECTED,
        "denied" => &DENIED,
        "unknown" => &UNKNOWN,
        "busy" => &BUSY,
        "rejected" => &REJECTED,
        "not_sent" => &NOT_SENT,
        "lost" => &LOST,
        _ => &OVER,
    }
}

pub(super) const CONNECTED: Message =
    Message { title: "You are connected", texts: &["Everything worked. You can close this page."] };
pub(super) const HELD: Message = Message {
    title: "Almost done",
    texts: &[
        "WePay gave us the permission. Before it is used, the business that sent you the link has to confirm that it is yours.",
        "There is nothing more to do here. You can close this page.",
    ],
};
pub(super) const ALREADY_CONNECTED: Message = Message {
    title: "You are already connected",
    texts: &["Your connection works, so we left it as it is. You can close this page."],
};
pub(super) const DENIED: Message = Message {
    title: "You are not connected",
    texts: &[
        "WePay told us that the permission was not given. Nothing was changed.",
        "If you want to connect after all, open your link again and press the button.",
    ],
};
pub(super) const UNKNOWN: Message = Message {
    title: "You are not connected yet",
    texts: &[
        "We could not find out whether your earlier connection still works, so we changed nothing.",
        "Please open your link again in a few minutes and press the button.",
    ],
};
pub(super) const BUSY: Message = Message {
    title: "An earlier try is not finished",
    texts: &[
        "You, or someone else with your link, tried to connect shortly before. We have to wait for its result.",
        "Please open your link again in about a quarter of an hour.",
    ],
};
pub(super) const REJECTED: Message = Message {
    title: "You are not connected",
    texts: &[
        "WePay did not accept the permission, most often because too much time had passed. Nothing was changed.",
        "Please open your link again and press the button.",
    ],
};
pub(super) const NOT_SENT: Message = Message {
    title: "You are not connected yet",
    texts: &[
        "WePay could not be reached. Nothing was changed.",
        "Please open your link again in a few minutes and press the button.",
    ],
};
pub(super) const LOST: Message = Message {
    title: "You are not connected",
    texts: &[
        "WePay's answer did not reach us, and we know by now that no connection came of it.",
        "Please open your link again and press the button.",
    ],
};
/// For an outcome we have no words for.
const OVER: Message = Message {
    title: "This is finished",
    texts: &["There is nothing more to do here. Ask the business that sent you the link how it went."],
};
pub(super) const WORKING: Message =
    Message { title: "One moment", texts: &["We are finishing your connection. This page looks again by itself."] };
pub(super) const IN_DOUBT: Message = Message {
    title: "We are waiting for certainty",
    texts: &[
        "WePay's answer did not reach us, so we do not know yet whether you are connected. We are finding out.",
        "There is nothing to do for you. Please do not start again until then. This page looks again by itself; you can also close it.",
    ],
};
pub(super) const INVITATION_GONE: Message = Message {
    title: "This link does not work",
    texts: &[
        "It may be incomplete, or too old. Check that you opened the whole link.",
        "If it still does not work, ask the business that sent it to you for a new one.",
    ],
};
pub(super) const CROSS_SITE: Message = Message {
    title: "Please press the button yourself",
    texts: &["This came from another website, so we did nothing. Open your link and press the button there."],
};
pub(super) const UNKNOWN_STATE: Message = Message {
    title: "We cannot tell where this belongs",
    texts: &["Nothing was changed. Please open the link that was sent to you and press the button again."],
};
pub(super) const OTHER_BROWSER: Message = Message {
    title: "You started in another browser",
    texts: &[
        "For your safety, it has to end in the browser where it began. Nothing was changed.",
        "To continue in this browser: open your link again here and press the button.",
    ],
};
pub(super) const EXPIRED: Message = Message {
    title: "This took too long",
    texts: &[
        "For your safety, you have half an hour after pressing the button. Nothing was changed.",
        "Please open your link again and press the button.",
    ],
};
pub(super) const MALFORMED: Message = Message {
    title: "We do not understand this answer",
    texts: &["Nothing was changed. Please open your link again and press the button."],
};
pub(super) const STATUS_UNKNOWN: Message = Message {
    title: "There is nothing to see here",
    texts: &[
        "This page can be seen only in the browser where the button was pressed, and not for long.",
        "If you are not sure that you are connected, open the link that was sent to you.",
    ],
};
pub(super) const NOT_FOUND: Message =
    Message { title: "There is no such page", texts: &["Check that you opened the whole link."] };
pub(super) const METHOD_NOT_ALLOWED: Message =
    Message { title: "This cannot be done here", texts: &["Open the link that was sent to you."] };
pub(super) const LIMIT: Message = Message {
    title: "This is too long",
    texts: &["Your browser sent more than this page can take. Open the link that was sent to you."],
};
pub(super) const UNAVAILABLE: Message = Message {
    title: "This does not work right now",
    texts: &["The trouble is on our side, and nothing was changed by this. Please try again in a few minutes."],
};
pub(super) const FAILED: Message = Message {
    title: "Something went wrong",
    texts: &[
        "The trouble is on our side. Please try again later, or ask for help and give the reference, if one stands below.",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_and_every_outcome_has_words_of_its_own() {
        for scope in ["manage_accounts", "collect_payments", "view_user", "preapprove_payments", "send_money"] {
            assert_ne!(permission(scope), scope);
        }
        let outcomes =
            ["connected", "held", "already_connected", "denied", "unknown", "busy", "rejected", "not_sent", "lost"];
        for stored in outcomes {
            assert_ne!(outcome(stored).title, OVER.title, "{stored}");
        }
        assert_eq!(outcome("something else").title, OVER.title);
    }
}
