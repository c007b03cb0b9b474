//! Every default, cap and deadline in one place, each with the reason for its number.
//! Constants only: knows nothing of who uses them.

use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Largest WebSocket message before `connect` succeeded: protocol 4's pre-auth limit (protocol.md 1).
pub const PREAUTH_MESSAGE_BYTES: usize = 64 * KIB;
/// Largest message of a protocol 3 connection, announced in `hello-ok.policy.maxPayload` (protocol.md 5).
pub const MESSAGE_BYTES_V3: usize = 512 * KIB;
/// Largest message of a protocol 4 connection.
pub const MESSAGE_BYTES_V4: usize = 25 * MIB;
/// Outbound bytes queued for one protocol 3 client before it counts as slow.
pub const BUFFERED_BYTES_V3: usize = 1536 * KIB;
/// Outbound bytes queued for one protocol 4 client before it counts as slow.
pub const BUFFERED_BYTES_V4: usize = 50 * MIB;
/// Control replies (pong, close) that may wait in one outbox; they skip the byte budget.
pub const QUEUED_CONTROLS: usize = 8;
/// tungstenite's read buffer: 4 KiB keeps an idle client at 35 KiB resident (exemplars 2b).
pub const WS_READ_BUFFER: usize = 4 * KIB;
/// The writer joins queued frames up to this many bytes into one write.
pub const WRITE_BATCH_BYTES: usize = 32 * KIB;

/// Connections of every kind at once; `gateway.maxConnections` changes it.
pub const CONNECTIONS: usize = 256;
/// Share of them, as numerator and denominator, up to which an HTTP connection may stay for another request. The
/// rest is for clients that authenticate.
pub const KEPT_SHARE: (usize, usize) = (3, 4);
/// Files kept back from connections for stores, the log and listeners.
pub const FILES_RESERVED: usize = 48;
/// Refused connections of a listener whose sockets stay open for their answer to arrive; they are among the files kept back.
pub const REFUSED_KEPT: usize = 8;
/// Largest value `gateway.maxConnections` may take: two threads each must fit the usual process limit.
pub const CONNECTIONS_MAX: usize = 8192;
/// Sockets of one address that have not authenticated yet (protocol.md 1).
pub const UNAUTHENTICATED_PER_ADDRESS: usize = 32;
/// Time from the upgrade to a finished handshake (protocol.md 1, v4).
pub const HANDSHAKE: Duration = Duration::from_secs(15);
/// Upper bound for `OPENCLAW_HANDSHAKE_TIMEOUT_MS`.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(120);
/// Interval of the `tick` event; clients give up after two missing ones.
pub const TICK: Duration = Duration::from_secs(30);
/// Interval of WebSocket pings; a connection without a pong for another interval is closed.
pub const PING: Duration = Duration::from_secs(25);
/// A write that makes no progress for this long ends the connection.
pub const WRITE_STALL: Duration = Duration::from_secs(10);
/// How long the peer may take to answer our close frame before the socket is shut down.
pub const CLOSE_LINGER: Duration = Duration::from_secs(2);
/// Characters of an unknown method's name that its error repeats.
pub const METHOD_NAME_CHARS: usize = 128;
/// Unauthorised calls in a row after which a node is closed (protocol.md 7).
pub const UNAUTHORIZED_IN_A_ROW: u32 = 10;

/// Bytes of an HTTP head: request line and headers together (RFC 9110 suggests ≥ 8000).
pub const HTTP_HEAD_BYTES: usize = 16 * KIB;
/// Headers of one request.
pub const HTTP_HEADERS: usize = 64;
/// Time for a whole head, counted from its first byte.
pub const HTTP_HEAD: Duration = Duration::from_secs(10);
/// Idle time of a kept connection between two requests.
pub const HTTP_IDLE: Duration = Duration::from_secs(30);
/// Time for a whole request body.
pub const HTTP_BODY: Duration = Duration::from_secs(30);
/// Bytes of a request body that no route wants; it is drained so that the answer arrives.
pub const HTTP_DRAIN_BYTES: usize = 64 * KIB;
/// Time for that drain.
pub const HTTP_DRAIN: Duration = Duration::from_secs(1);
/// Empty lines tolerated before a request line (RFC 9112, 2.2 asks for at least one).
pub const HTTP_BLANK_LINES: u32 = 4;
/// Bytes of one chunk-size line with its extensions; nobody uses extensions.
pub const CHUNK_LINE_BYTES: usize = 256;
/// Bytes of all chunk extensions of a body, so that tiny chunks cannot carry much of them.
pub const CHUNK_EXTENSION_BYTES: usize = 4096;
/// Lines of trailers, which are dropped.
pub const HTTP_TRAILERS: usize = 16;
/// Bytes of one trailer.
pub const HTTP_TRAILER_BYTES: usize = 1024;
/// Addresses looked at in one `X-Forwarded-For` chain; longer chains are not attributed.
pub const FORWARDED_CHAIN: usize = 32;
/// Largest piece given to the chunked encoder, which recurses once per chunk of a larger write.
pub const SSE_CHUNK_BYTES: usize = 32 * KIB;
/// Time an HTTP handler waits for the state thread.
pub const STATE_REPLY: Duration = Duration::from_secs(5);

/// Nesting of JSON from outside: serde_json's own limit, which the 512 KiB stacks are sized for.
pub const JSON_DEPTH: usize = 127;
/// Values of one message, members and items counted: 25 MiB of `0,` would become 400 MiB, and as members they
/// would break the heap into pieces for good. The largest real messages are a few long texts.
pub const JSON_VALUES: usize = 250_000;
/// Faults the validator reports before it stops.
pub const FAULTS: usize = 16;
/// Characters of a foreign property name that a fault repeats: enough for any real name, and sixteen
/// faults stay far below one kilobyte each.
pub const FAULT_NAME_CHARS: usize = 128;
/// Longest close reason in bytes (RFC 6455 allows 123; the original cuts at 120).
pub const CLOSE_REASON_BYTES: usize = 120;

/// Entries of the idempotency cache.
pub const IDEMPOTENCY_ENTRIES: usize = 1000;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY: Duration = Duration::from_secs(300);
/// Interval of the sweep of expired entries (idempotency keys, pending pairings, beacons).
pub const SWEEP: Duration = Duration::from_secs(60);

/// Presence entries kept.
pub const PRESENCE_ENTRIES: usize = 200;
/// Age at which a beacon leaves the presence list.
pub const PRESENCE_AGE: Duration = Duration::from_secs(300);
/// Smallest distance of two presence broadcasts (at most five a second, decisions.md 10).
pub const PRESENCE_INTERVAL: Duration = Duration::from_millis(200);
/// Characters of one free-text presence field.
pub const PRESENCE_TEXT_CHARS: usize = 512;
/// Items of one list in a presence entry.
pub const PRESENCE_LIST_ITEMS: usize = 64;
/// Characters of one queued system event: a beacon is one line, a note from a script a few paragraphs.
pub const SYSTEM_EVENT_CHARS: usize = 4096;
/// System events waiting for the main session's next turn.
pub const SYSTEM_EVENTS: usize = 20;

/// Age of a cached health answer after which it is refreshed in the background.
pub const HEALTH_AGE: Duration = Duration::from_secs(60);
/// Smallest distance of two health refreshes that connects cause.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// Allowed clock skew of a device signature on protocol 3.
pub const SIGNATURE_SKEW_V3: Duration = Duration::from_secs(600);
/// Allowed clock skew of a device signature on protocol 4.
pub const SIGNATURE_SKEW_V4: Duration = Duration::from_secs(120);
/// Age at which a pending pairing request is dropped.
pub const PAIRING_AGE: Duration = Duration::from_secs(300);
/// Pending pairing requests kept per store.
pub const PAIRING_PENDING: usize = 64;
/// Paired devices or nodes kept per store.
pub const PAIRED: usize = 1024;
/// Bytes of a secret a client may present.
pub const SECRET_BYTES: usize = 4096;

/// Failed logins per address before a lockout (http.md 5.5).
pub const LOGIN_ATTEMPTS: u32 = 10;
/// Window in which they count.
pub const LOGIN_WINDOW: Duration = Duration::from_secs(60);
/// Length of the lockout.
pub const LOGIN_LOCKOUT: Duration = Duration::from_secs(300);
/// Addresses whose failures are remembered; the oldest is forgotten first.
pub const LOGIN_ADDRESSES: usize = 4096;

/// Events the client keeps while nobody reads them; a call that waits long must not eat memory.
pub const CLIENT_EVENTS: usize = 256;
/// Addresses of one name that the client tries.
pub const LOOKUP_ADDRESSES: usize = 8;
/// Bytes of an identity or device token file.
pub const IDENTITY_BYTES: usize = 64 * KIB;
/// Time one subprocess of the command line may take (systemctl answers at once or hangs).
pub const SUBPROCESS: Duration = Duration::from_secs(5);
/// Bytes kept of a subprocess's output.
pub const SUBPROCESS_BYTES: usize = 64 * KIB;
/// Bytes read of a unit file or of the end of a log file.
pub const UNIT_FILE_BYTES: usize = 256 * KIB;
/// Unit files looked at in one directory.
pub const UNIT_FILES: usize = 512;
/// Processes whose open files are searched for a listening socket.
pub const PROC_ENTRIES: usize = 8192;
/// After this time a command that waits shows a spinner.
pub const SPINNER_AFTER: Duration = Duration::from_secs(1);
/// Time between two attempts of `logs --follow` to reach a gateway that went away.
pub const FOLLOW_RETRY: Duration = Duration::from_millis(500);

/// Events waiting for the state thread; a full queue blocks the readers, which is TCP backpressure.
pub const EVENT_QUEUE: usize = 1024;
/// Messages of one connection among them: a client that sends thousands at once must not make the others
/// wait for all of them.
pub const EVENTS_PER_CONNECTION: usize = 32;
/// Requests of one connection that may wait for the disk at once.
pub const READS_PER_CONNECTION: usize = 8;
/// Jobs waiting for the store thread.
pub const STORE_QUEUE: usize = 1024;
/// Whole time of a shutdown after the signal (lifecycle.md 12).
pub const SHUTDOWN: Duration = Duration::from_secs(5);
/// How long the end waits for the disk after that.
pub const STORE_END: Duration = Duration::from_secs(5);

/// Stack of threads that parse JSON: 127 levels recurse (exemplars 2b).
pub const STACK_PARSER: usize = 512 * KIB;
/// Stack of threads that only copy bytes.
pub const STACK_WRITER: usize = 64 * KIB;
/// Stack of accept loops.
pub const STACK_ACCEPT: usize = 128 * KIB;

/// Bytes of a configuration file, includes counted one by one.
pub const CONFIG_BYTES: usize = 4 * MIB;
/// Nesting of a configuration file.
pub const CONFIG_DEPTH: usize = 64;
/// Depth of `$include` (lifecycle.md 3).
pub const INCLUDE_DEPTH: usize = 10;
/// Files one configuration may include.
pub const INCLUDE_FILES: usize = 64;
/// Bytes of a `.env` file; anything larger is not one.
pub const DOTENV_BYTES: u64 = 64 * 1024;
/// Bytes of a token or password file (`--password-file`, the generated token).
pub const SECRET_FILE_BYTES: u64 = 64 * 1024;
/// Bytes of one text after `${NAME}` substitution, so that references cannot multiply without end.
pub const SUBSTITUTED_BYTES: usize = 64 * KIB;
/// Problems and warnings one configuration reports before the rest is only counted.
pub const CONFIG_ISSUES: usize = 100;
/// Quiet time after a config change (lifecycle.md 13); `gateway.reload.debounceMs` changes it.
pub const RELOAD_DEBOUNCE: Duration = Duration::from_millis(300);
/// Bytes of a state file (pairing stores, session index) read at start.
pub const STATE_FILE_BYTES: usize = 64 * MIB;

/// Size at which the log file is rotated (lifecycle.md 14).
pub const LOG_FILE_BYTES: u64 = 100 * 1024 * 1024;
/// Rotated generations kept.
pub const LOG_GENERATIONS: u32 = 5;
/// Age at which the log files of other days are deleted.
pub const LOG_AGE: Duration = Duration::from_secs(24 * 3600);
/// Characters of one log message; the rest is cut and counted.
pub const LOG_MESSAGE_CHARS: usize = 4096;
/// Log lines waiting for the thread that writes them; more are counted and left out.
pub const LOG_QUEUE: usize = 1024;
/// How long the end of the process, or a reader of the log, waits for them.
pub const LOG_FLUSH: Duration = Duration::from_millis(500);
/// Pause after a failed write to the log file (disk full) before the next try.
pub const LOG_RETRY: Duration = Duration::from_secs(5);
/// How often to look whether the log file was moved or removed by somebody else.
pub const LOG_RECHECK: Duration = Duration::from_secs(1);
/// `logs.tail`: default lines, largest lines, default bytes, largest bytes (lifecycle.md 15).
pub const TAIL_LINES: usize = 500;
/// See [`TAIL_LINES`].
pub const TAIL_LINES_MAX: usize = 5000;
/// See [`TAIL_LINES`].
pub const TAIL_BYTES: usize = 250_000;
/// See [`TAIL_LINES`].
pub const TAIL_BYTES_MAX: usize = 1_000_000;
/// How long a start waits for another gateway to let go of the state directory (lifecycle.md 10).
pub const LOCK_WAIT: Duration = Duration::from_secs(5);
/// Distance of the tries.
pub const LOCK_POLL: Duration = Duration::from_millis(50);
/// Range of `OPENCLAW_GATEWAY_TICK_MS`: clients give up after two missing ticks.
pub const TICK_MIN: Duration = Duration::from_secs(1);
/// Largest request body any HTTP route takes (http.md 6.2: 20 MiB); a larger declared one is refused unread.
pub const HTTP_BODY_BYTES: u64 = 20 * 1024 * 1024;
/// Entries of the record of trouble (`diagnostics.stability`).
pub const TROUBLE_ENTRIES: usize = 256;

/// Entries of one directory looked at when leftovers or old logs are searched.
pub const DIR_ENTRIES: usize = 10_000;
/// Age at which an unfinished write of another process counts as left behind.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(60);
/// Symbolic links followed to the real file; the kernel's own limit is 40.
pub const SYMLINKS: usize = 16;
/// Bytes read of one system file; the routing table of a host with thousands of addresses is cut.
pub const SYSTEM_FILE_BYTES: u64 = 256 * 1024;
/// Bytes of a time zone file; the largest ones in use have below 4 KiB.
pub const ZONE_FILE_BYTES: u64 = 64 * 1024;
/// Bytes of a time zone's name or rule.
pub const ZONE_RULE_BYTES: usize = 128;
/// How long a signal waits for room in the event queue before the process leaves without farewell.
pub const SIGNAL_WAIT: Duration = Duration::from_millis(500);
