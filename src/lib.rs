//! Strongroom: merchant onboarding and OAuth2 token vault.
//!
//! A platform's merchants are onboarded at a payment provider (WePay API v2), by their own consent or by a registration; the access
//! tokens that come of it are kept, sealed and versioned, and handed to the internal services that may have them, and to nobody else.
//! What nobody else does, and what every decision here serves: **minting a token is destructive**. Each `/oauth2/token` call revokes
//! every earlier token of that (app, user), cannot be undone, and its answer can be lost.
//!
//! # The map
//!
//! ```text
//!             main ── app (composition root)
//!                      │
//!   grpc ──┐           ├─► policy   (grants: caller × action × merchant → Grant)
//!   http ──┴─► service ┼─► provider ──► the provider's HTTP API
//!                      ├─► vault    (keys, AES-256-GCM, signing; no database)
//!                      └─► store    ──► SQLite | PostgreSQL, with the trails
//!                    all ─► domain  (values and decisions; no I/O, no clock, no randomness)
//! ```
//!
//! A request flows from left to right, an answer back; nobody calls leftwards or sideways. `tests/rules.rs` holds this table:
//!
//! | layer | may name | job |
//! |---|---|---|
//! | [`domain`] | – | words, decisions, record format; [`domain::statement`] judges names, [`domain::ambient`] is the seam to time and randomness |
//! | [`policy`] | domain | who may do what to which merchant; a decision is a value, [`policy::Grant`] |
//! | [`vault`] | domain | keyring, sealed bytes, MACs, fingerprints, blind indexes, signatures |
//! | [`provider`] | domain | the provider's API; each call ends as success, not sent, refused or *outcome unknown*, and is logged |
//! | [`store`] | domain | SQL, transactions that commit with their events; the trails and their pages, the call log, kept notices |
//! | [`service`] | the five above | load, decide, act, record |
//! | [`v1`] | – | generated from `proto/` |
//! | [`grpc`] | domain, service, v1 | accept loop, caller identity, handlers, the one table of statuses |
//! | [`http`] | domain, service | the merchant's pages, the provider's redirect and notices, health probes |
//! | [`config`], [`telemetry`] | domain, – | typed configuration; the log |
//! | [`app`] | all of the above | builds, starts, reloads, drains; [`app::doctor`] says what is wrong with an installation |
//! | [`cli`] | domain, v1 | the API from a shell: an outside user |
//! | `sandbox` | [`domain::ambient`] | a faithful local WePay v2: its numbers are its own, so that no mistake agrees with itself |
//! | `demo` | app, config, telemetry, cli, v1, sandbox, domain | `demo` and `dev`: everything in one process, and an outside user's story |
//!
//! What stands where in [`service`], whose modules are private:
//!
//! | modules | job |
//! |---|---|
//! | `onboarding`, `callback` | a merchant's journey: invitation → button → provider → callback → status page |
//! | `registration`, `confirmation` | the other way in, and how its temporary token becomes permanent |
//! | `budget` | leave to call the provider: one permit for each call, at the pace of all processes together, in lanes |
//! | `presence` | this process among those that share its database: alive, leading, or back from being taken for dead |
//! | `guard`, `mint`, `probe`, `recovery` | the protocol below: gate, arm, send once, settle; evidence; what a crash or a lost answer left |
//! | `links`, `sharing`, `newcomers`, `merchants` | whose link it is, further merchants of a connection, first use, what to do next |
//! | `accounts` | payment accounts by the stored token, each opened once; nothing there can mint (`tests/rules.rs`) |
//! | `tokens` | handing out tokens, and what callers report about them |
//! | `audit`, `doorman` | the read trail's writer, and what keeps knocking from filling it |
//! | `events`, `export`, `attempts`, `calls`, `access` | looking through events, trails, attempts, provider calls, grants |
//! | `health` | whether this process should get traffic, and why not |
//! | `owner` | imports the app owner's token, the control of probes |
//! | `notices` | addresses for the provider's notices; *these are kept, nothing acts on them yet* |
//!
//! # Invariants of the mint protocol
//!
//! Tests cite them by number.
//!
//! * **M1** We never cause the revocation of a working token of the merchant for whom the flow was started, with two exceptions, each
//!   bound to connection and head version when it was granted and let through for exactly that head: an approved replacement, and the
//!   upgrade of the merchant's own live *temporary* token (`upgrade_temporary` of StartAuthorization; a probe right before the mint
//!   must show it to be temporary still). Unknown liveness is a refusal. A registration counts as a mint: nobody says that it revokes
//!   nothing. (A *wrong-user consent*, someone logging in as another merchant's provider user, cannot be seen before the mint; it is
//!   made harmless by M2 and the link rule, and counted apart.) *The replacement stands in the decision and its table test; nothing
//!   grants it yet.*
//! * **M2** A token the provider issued to us is durable before anyone is told. The intent is durable before one byte is sent; after
//!   the answer only sealing and one commit remain. An answer that cannot be read is kept sealed. *Not built yet: the spool on local
//!   disk that takes the sealed token before the commit. Until then an answer that arrived, and was not committed when the process
//!   died, is lost; that is detected at the next start, told to the merchant as a clear next step, and never silent.*
//! * **M3** One owner per code, and per registration: the process that claimed it is the only one that ever sends it. No takeover, no
//!   resend. The database allows at most one attempt per merchant, per known connection and per e-mail address to be registered, that
//!   is received, armed or in doubt.
//! * **M4** An unknown outcome is a state (`in_doubt`), not an error: never retried; resolved by quiescence and probing. An exchange is
//!   judged when its code can do nothing more, 630 s after the callback. A registration cannot be looked for: 80 s after it was armed it
//!   is `lost`, and the way on is a consent, or another registration. A registered token whose user has a head that is not dead does not
//!   displace it, nor does one that was minted while another of the same user came in: it waits as a *candidate*, the head is suspect, and
//!   a probe decides. The head lives: the candidate is passed over; it is dead: the candidate is promoted. No mint is let through while
//!   one waits: it could be the one that lives. No head is called live while an attempt that could hit it is armed or in doubt; one that
//!   is given up by leave is suspect from the arming on. An answer that comes after its attempt was given up (its process was paused, and
//!   others took it for dead) is kept: as a candidate beside a head that is not dead, else as a head that is suspect until it is probed.
//!   *Not built yet: looking at all other heads after a doubt.*
//! * **M5** A callback is checked against the browser that pressed the button and its single-use state before the code is
//!   exchanged; the code itself is never stored.
//! * **M6** Only evidence changes liveness. `dead`: 1011, 7003, declared twice, some seconds apart, with a control call answered
//!   sensibly in between (another live connection's token, the app owner's where it was imported, else a second kind of call). Past the end
//!   that the provider set, 1006 declares as much.
//!   `suspect`, and a probe of `/user`, single flight: 1006, 1002 with a token sent, 3002, 4002, 5002, 6002, 7001, 401 without a code,
//!   the wrong-environment text, a caller's report. 1010 on the probe: `insufficient_scope`. Transient and unknown answers change
//!   nothing. 1001 is never about tokens. That a temporary token became permanent takes evidence too: its user was seen pending, asked to
//!   confirm, and then registered, the provider called it approved, or it outlived its end ([`domain::token::is_confirmed`]).
//! * **M7** The exchange runs in a task of its own: a cancelled or short-deadlined call shortens the caller's wait, never the work. So
//!   do registrations, the opening of accounts, and probes.
//!
//! # Invariants of the code
//!
//! 1. Calls go one way (the table above). 2. No provider call inside a database transaction: the transaction type never leaves
//!    [`store`]. 3. Every state change commits together with its event: the only commit takes events. 4. A provider call that can
//!    revoke a token is preceded by a durable claimed attempt, and each call by a permit of the budget ([`domain::budget`]). 5. A token leaves only against a `Grant<ReadToken>` and after its read
//!    event is durable. 6. Plaintext tokens exist only as [`domain::secret::AccessToken`] or in the encoded reply. 7. A ciphertext opens
//!    only for its own attempt and subject; merchants, links, connections with their heads, versions, accounts, invitations and
//!    flows are MACed.
//!    8. Time, randomness and environment enter only through [`domain::ambient`] and [`config`] (deadlines of calls and of the drain
//!    are the runtime's own). 9. Everything has a limit with a named constant. 10. [`service::Error`] reaches
//!    the wire only through the table in `grpc/status.rs` and the pages of [`http`].
//!
//! # Walkthrough: a merchant authorizes
//!
//! `StartAuthorization` ([`service::Services::start_authorization`]) loads or makes the merchant, makes the grant, and asks the guard
//! ([`domain::token::decide`]): while the head is live it refuses with the evidence. It answers *our* link, an invitation whose secret
//! part is derived from the keyring, not stored. Opening it has no effect. Pressing its button ([`service::Services::press`]) makes a
//! single-use state, binds the browser by a `__Host-` cookie (state and cookie are stored as HMACs), and leads to the
//! provider's page with all five scopes. The callback ([`service::Services::callback`]) checks browser and state, then consumes the
//! state and claims an attempt in one transaction, answers 303 to a status page, and leaves the rest to a task: gate (probe the
//! head; live: drop the code unused), arm (only if all that the gate saw is still so), send once, seal, commit. The commit stores the
//! token under the user that *the answer* names, marks the version it revoked, and decides about the link: the user that was
//! linked before keeps its link, anybody else's waits (`held`) until the platform's own page brings the one-time value that
//! `return_url` received ([`service::Services::confirm_connection`]) or a person decides.
//!
//! # Walkthrough: the platform registers a merchant
//!
//! `RegisterMerchant` ([`service::Services::register_merchant`]) brings a person's data. An e-mail address that a connection has, found by
//! its blind index, is refused with the way out ([`service::Kind::ConnectionExists`]): [`service::Services::link_merchant`] lets that
//! connection serve a further merchant, without a mint. A merchant that is known is put before the guard as before any mint. Then one
//! transaction makes the merchant if it is new, keeps its personal data, sealed, and claims an attempt by merchant and by address; a
//! task gates, arms, and sends once. The answer's user decides whose the token is. The platform named the user itself, so the link is
//! active at once, unless that connection serves somebody else or the merchant has another one: then it is held for a person. The
//! token has an end, so it is temporary: `GetMerchant` says until when, and what to do. [`service::Services::send_confirmation`] has the
//! provider mail the person, once for a request id; after the person's click the next probe sees the user registered (`VerifyToken`
//! makes one at once; otherwise one is made every day, and in the token's last hour), and the same version is permanent. Or the person consents on the
//! authorize page, with leave to revoke just that token. An outcome that nobody knows is in doubt for 80 s and then lost: repeating
//! the request says so, and another one may be made.
//!
//! # Walkthrough: an account is made and its answer lost
//!
//! `CreateAccount` ([`service::Services::create_account`]) judges the name ([`domain::statement::judge`]), opens the stored token as a
//! read would, and notes the account as wanted under the request's id, before anything is sent. Its own id is the reference id that
//! the provider keeps. Then, in a task, one owner marks it as sent, sends it once, and notes what came of it
//! ([`domain::account::opening`] has the steps). No answer: it is in doubt, and looked for by that reference id, at once, whenever the
//! request is repeated, and by recovery without anybody asking. Found, it is open, as if nothing had happened. Not found while the
//! provider may still be at it: the caller hears [`service::Kind::AccountUnresolved`], and when to repeat. Not found 80 s after it was
//! sent: it is absent, and only then the same request sends it again. So a request is one account at most, whatever was lost, and the
//! token is the one that was there all along: no way leads from here to a mint, and `tests/rules.rs` holds that.
//!
//! # Walkthrough: a service reads a token
//!
//! The caller's SPIFFE id is taken from its certificate once per connection ([`grpc::auth`]). [`service::Services::read_token`] loads
//! merchant, link, connection, head and sealed bytes in one statement, checks the MAC of each row, and asks the policy for a
//! `Grant<ReadToken>`. A private function takes that grant, opens the token in its place (attempt and subject are part of the
//! associated data), and hands the read event to the writer of this run's read trail ([`service::Auditor`]), which commits what has
//! gathered as one signed record. Only then does the reply leave. A denial takes the same way. If the record cannot be written,
//! nothing is released.
//!
//! # Walkthrough: a process is told to end
//!
//! SIGTERM: `/readyz` and gRPC health say so ([`service::Health`]) for as long as is configured, while calls are still answered. Then
//! [`app::Running::stop`] stops accepting: connections are asked to go, watches of health end, calls under way are answered within
//! the drain's time, mints are waited for without a limit, the read trail is closed. A client with `proto/service_config.json` repeats on
//! another process what this one did not begin.
//!
//! # Walkthrough: a crash in mid-exchange
//!
//! The process dies after the attempt was armed: nobody knows whether the provider minted. At the next start
//! [`service::Services::adopt_open_attempts`] finds it (the lock on the database proves its owner dead) and puts it `in_doubt`,
//! with the time at which it can be judged: 630 s after the callback, when the code can do nothing more. Until then
//! `StartAuthorization` answers `ATTEMPT_UNRESOLVED` with that time, the status page tells the merchant, other merchants notice
//! nothing. When the time has come the heads are probed: one lives, so it was `not_applied`; all are dead or there is none, so it is
//! `lost`. Either way the merchant can go on. What had only been `received` was never sent and is settled at once.
//! Accounts that were on their way are in doubt as well, and looked for.
//!
//! Where several processes share a database nothing proves that another one is dead. Each shows itself every third of a lease; one of
//! them leads ([`service::Presence`]), judges for all, and takes those for dead that were not seen for a lease by the database's clock:
//! their row in `runs` goes, and what they left is settled as above ([`service::Services::settle_orphans`]), accounts when their time
//! is over. One that lives all the same arms nothing more under that row, keeps the answer to what it had sent (M4), and goes on as
//! another run, with another read trail. After an outage of the database, when everybody looks dead, nobody is taken for dead before
//! all had a lease's time to show themselves.

pub mod app;
pub mod cli;
pub mod config;
#[cfg(feature = "sandbox")]
pub mod demo;
pub mod domain;
pub mod grpc;
pub mod http;
pub mod policy;
pub mod provider;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod v1;
pub mod vault;
