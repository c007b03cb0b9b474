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

/// Characters of a session key as a client writes it.
pub const SESSION_KEY_CHARS: usize = 512;
/// Entries of the idempotency cache.
pub const IDEMPOTENCY_ENTRIES: usize = 1000;
/// How long an idempotency key is remembered.
pub const IDEMPOTENCY: Duration = Duration::from_secs(300);
/// Characters of an idempotency key; the keys of turns stand in each of their events.
pub const IDEMPOTENCY_KEY_CHARS: usize = 256;
/// Longest idempotency key that is kept as it is; of longer ones the hash is.
pub const IDEMPOTENCY_KEY_BYTES: usize = 64;
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
/// System events waiting for a session's next turn.
pub const SYSTEM_EVENTS: usize = 20;
/// Sessions for which system events wait.
pub const SYSTEM_EVENT_SESSIONS: usize = 256;
/// Bytes of the texts of all that wait: the file is written as a whole, six times as long where all of it is escaped, and
/// must be readable at the next start.
pub const SYSTEM_EVENTS_BYTES: usize = 4 * MIB;
/// Characters of a text that could not be delivered and is told to the main session.
pub const UNDELIVERED_CHARS: usize = 2000;
/// Wishes for a heartbeat within this time make one run (agent.md 25).
pub const HEARTBEAT_COALESCE: Duration = Duration::from_millis(250);
/// Longest time between two looks at the clock: a clock that was set, or stood still while the machine slept, is seen.
pub const HEARTBEAT_LOOK: Duration = Duration::from_secs(60);
/// A clock that went back by more than this was set by somebody.
pub const HEARTBEAT_CLOCK_SLACK_MS: u64 = 10_000;
/// After the start heartbeats wait this long, or one interval if that is shorter.
pub const HEARTBEAT_SETTLING: Duration = Duration::from_secs(60);
/// Shortest interval of heartbeats.
pub const HEARTBEAT_SHORTEST: Duration = Duration::from_secs(1);
/// Longest distance of heartbeats after failures, unless the interval itself is longer.
pub const HEARTBEAT_PATIENCE_MS: u64 = 24 * 3_600_000;
/// Heartbeats of one agent that wishes may start within [`HEARTBEAT_WAKE_WINDOW`]; what a turn does can wake it again.
pub const HEARTBEAT_WAKES: usize = 5;
/// See [`HEARTBEAT_WAKES`].
pub const HEARTBEAT_WAKE_WINDOW: Duration = Duration::from_secs(60);
/// Characters of an answer in the `heartbeat` event.
pub const HEARTBEAT_PREVIEW_CHARS: usize = 200;

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
/// Jobs waiting for the store thread, and as many for the one that reads for clients.
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

/// Time the lock beside a session index is waited for; the original holds it for milliseconds.
pub const INDEX_LOCK_WAIT: Duration = Duration::from_secs(5);
/// Time between two looks at it.
pub const INDEX_LOCK_STEP: Duration = Duration::from_millis(25);
/// Bytes of it that are read.
pub const INDEX_LOCK_BYTES: usize = 4 * KIB;
/// Age at which it is free if its process has ended. Of a process in another container one cannot tell.
pub const INDEX_LOCK_GONE: Duration = Duration::from_secs(1);
/// Age at which nobody holds it any more, as the original has it.
pub const INDEX_LOCK_AGE: Duration = Duration::from_secs(30);

/// Bytes of a transcript's end read first: the last dozens of messages, enough for previews and most turns.
pub const TRANSCRIPT_WINDOW: usize = 256 * KIB;
/// Bytes of a transcript read at most; of a longer one the end counts.
pub const TRANSCRIPT_BYTES: usize = 256 * MIB;
/// Bytes of a transcript's end read for a client; what stands before them is for the file's owner.
pub const TRANSCRIPT_READ_BYTES: usize = 16 * MIB;
/// Bytes of one transcript line: a message with four pictures of the largest size in base64.
pub const TRANSCRIPT_LINE_BYTES: usize = 32 * MIB;
/// Bytes of a transcript's beginning read for its first words.
pub const TRANSCRIPT_HEAD_BYTES: u64 = 64 * 1024;
/// Bytes looked at for a transcript's header.
pub const TRANSCRIPT_HEADER_BYTES: u64 = 16 * 1024;

/// `chat.history`: messages when the caller names no limit, and at most (agent.md 5).
pub const HISTORY_MESSAGES: usize = 200;
/// See [`HISTORY_MESSAGES`].
pub const HISTORY_MESSAGES_MAX: usize = 1000;
/// Bytes of JSON of one history (agent.md 5).
pub const HISTORY_BYTES: usize = 6 * MIB;
/// Transcripts one listing opens for titles and last words.
pub const SESSION_PEEKS: usize = 200;
/// Keys named when a name fits several sessions.
pub const AMBIGUOUS_KEYS: usize = 8;
/// Keys of one `sessions.preview` (protocol.md 8.1).
pub const PREVIEW_KEYS: usize = 64;
/// Items of one preview when the caller names no number, and at most.
pub const PREVIEW_ITEMS: usize = 12;
/// See [`PREVIEW_ITEMS`].
pub const PREVIEW_ITEMS_MAX: usize = 200;
/// Characters of one preview item when the caller names no number (protocol.md 8.1), and at most.
pub const PREVIEW_CHARS: usize = 240;
/// See [`PREVIEW_CHARS`].
pub const PREVIEW_CHARS_MAX: usize = 4000;
/// Characters of the last words in a row.
pub const LAST_MESSAGE_CHARS: usize = 240;
/// Characters of a title made from the first words.
pub const TITLE_CHARS: usize = 60;
/// Characters of a session's label (protocol.md 8.1).
pub const LABEL_CHARS: usize = 64;
/// Characters of a label above an injected note (protocol.md 8.1).
pub const INJECT_LABEL_CHARS: usize = 100;
/// Lines `sessions.compact` keeps when the caller names no number (agent.md 11).
pub const COMPACT_LINES: usize = 400;
/// Tokens kept free before a conversation is compacted: one long answer and the error of the estimate.
pub const COMPACTION_RESERVE_TOKENS: u64 = 16_384;
/// Tokens of recent messages a compaction leaves as they are.
pub const COMPACTION_KEEP_TOKENS: u64 = 20_000;
/// Characters of one block in the log that is summarised; tool output beyond it adds little.
pub const SUMMARY_BLOCK_CHARS: usize = 4000;
/// Characters of one workspace file in the system prompt (agent.md 13).
pub const WORKSPACE_FILE_CHARS: usize = 20_000;
/// Bytes of a workspace file that are read; larger ones are cut to head and tail after reading.
pub const WORKSPACE_FILE_BYTES: usize = 2 * MIB;
/// Characters of an agent's id, as in the original.
pub const AGENT_ID_CHARS: usize = 64;
/// Questions that wait for the errand thread.
pub const ERRANDS: usize = 16;
/// Time after which a count of usage is broken off between two files; what was counted is kept for the next question.
pub const USAGE_PATIENCE: Duration = Duration::from_secs(8);
/// Transcripts that one report of usage covers, newest first.
pub const USAGE_FILES: usize = 4096;
/// Sessions that one report of usage lists when nobody says how many.
pub const USAGE_SESSIONS: usize = 50;
/// Sessions that one report of usage lists at most.
pub const USAGE_SESSIONS_MAX: usize = 1000;
/// Bytes of one transcript's end that a usage curve and its log are made of.
pub const USAGE_DETAIL_BYTES: usize = 32 * MIB;
/// Lines of the log of a session's usage.
pub const USAGE_LOG_LINES: usize = 200;
/// Points of one usage curve.
pub const USAGE_POINTS: usize = 500;
/// Characters of one line in the log of a session's usage.
pub const USAGE_LOG_CHARS: usize = 2000;
/// Characters of a command's text; longer messages are no commands.
pub const COMMAND_CHARS: usize = 4096;

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
/// Largest body of `/v1/embeddings` (http.md 7).
pub const EMBEDDINGS_BODY_BYTES: usize = 5 * MIB;
/// Largest body of `/tools/invoke` (http.md 9).
pub const TOOLS_BODY_BYTES: usize = 2 * MIB;
/// Largest body of `/api/v1/admin/rpc` (http.md 13).
pub const ADMIN_BODY_BYTES: usize = MIB;
/// Turns of hooks that have not ended: a flood of requests must not take all places of the queue.
pub const HOOK_RUNS: usize = 64;
/// Longest text a hook's template makes, and longest message of a hook.
pub const HOOK_TEXT_BYTES: usize = 256 * KIB;
/// Longest name of a hook's turn.
pub const HOOK_NAME_CHARS: usize = 120;
/// Items for which one request of a hook starts turns (http.md 10.4).
pub const HOOK_ITEMS: usize = 200;
/// Bytes of the texts of all of them: a template may put one long member into each.
pub const HOOK_ITEMS_BYTES: usize = 2 * MIB;
/// Longest name a caller gives its request, so that a repeated one is known (http.md 10.3).
pub const HOOK_KEY_CHARS: usize = 256;
/// Requests with a name that are remembered.
pub const HOOK_REPLAYS: usize = 1000;
/// How long such a request is remembered after its turn is over (http.md 10.3).
pub const HOOK_REPLAY: Duration = Duration::from_secs(300);
/// Wrong hook tokens of one address in the window, before it is told to wait (http.md 10.1).
pub const HOOK_FAILURES: u32 = 20;
/// The window, and how long an address is told to wait.
pub const HOOK_WINDOW: Duration = Duration::from_secs(60);
/// Longest id a caller of `/api/v1/admin/rpc` gets back.
pub const ADMIN_ID_CHARS: usize = 256;
/// Calls of HTTP programs that wait for their answer at one time, over all of them.
pub const PROGRAM_CALLS: usize = 64;
/// Tools that run for HTTP programs at one time.
pub const PROGRAM_TOOLS: usize = 16;
/// Bytes of a head that are read off a socket at once: most heads are smaller.
pub const HTTP_HEAD_READ_BYTES: usize = 4 * KIB;
/// Bytes of a request that are read off a socket at once.
pub const HTTP_READ_BYTES: usize = 16 * KIB;
/// Time for a request body to arrive (http.md 3).
pub const HTTP_BODY: Duration = Duration::from_secs(30);
/// Bytes of the bodies of all requests together: callers with the secret could else fill the memory of a small machine.
pub const HTTP_BODIES_BYTES: usize = 128 * MIB;
/// What a kept connection holds of the memory its last answer took: one with vectors has megabytes.
pub const HTTP_OUT_BYTES: usize = 16 * KIB;
/// Time one piece of a streamed answer may wait for its client to read.
pub const HTTP_WRITE: Duration = Duration::from_secs(30);
/// Bytes that a client may send ahead while it waits for an answer, and its end behind them is still seen.
pub const HTTP_AHEAD_BYTES: usize = 64 * KIB;
/// How long a client's going away may stay unnoticed while it waits for an answer.
pub const CLIENT_CHECK: Duration = Duration::from_millis(250);
/// Pictures of one request of a program (http.md 6.3).
pub const PICTURES: usize = 8;
/// How many of them are fetched at one time; all of them within [`WEB_TIME`].
pub const PICTURES_AT_ONCE: usize = 4;
/// Bytes of one of them, without a setting.
pub const PICTURE_BYTES: usize = 10 * MIB;
/// Bytes of all of them.
pub const PICTURES_BYTES: usize = 20 * MIB;
/// Redirects followed to fetch one, without a setting.
pub const PICTURE_REDIRECTS: usize = 3;
/// Time to fetch one, without a setting.
pub const PICTURE_TIME: Duration = Duration::from_secs(10);
/// Tools of one request of a program: four times what OpenAI takes.
pub const CLIENT_TOOLS: usize = 512;
/// Characters of the name of one of them.
pub const CLIENT_TOOL_NAME_CHARS: usize = 128;
/// Texts that end an answer (http.md 6.2).
pub const STOP_TEXTS: usize = 4;
/// Characters of a tool call's arguments in one chunk of a stream (http.md 6.5).
pub const ARGUMENT_CHUNK_CHARS: usize = 256;
/// Bytes of text that wait for a program that reads its stream slowly; beyond them its run is stopped.
pub const PROGRAM_FEED_BYTES: usize = 4 * MIB;
/// Largest file it sends (http.md 8.2).
pub const PROGRAM_FILE_BYTES: usize = 5 * MIB;
/// Characters of a file that go into the prompt.
pub const PROGRAM_FILE_CHARS: usize = 60_000;
/// Files of one request.
pub const PROGRAM_FILES: usize = 16;
/// How long an answer of `/v1/responses` can be named (http.md 8.1).
pub const PREVIOUS_AGE: Duration = Duration::from_secs(30 * 60);
/// Answers that can be named.
pub const PREVIOUS_RESPONSES: usize = 500;
/// Items of them that one request may name: they are looked up while everybody waits.
pub const PREVIOUS_REFERENCES: usize = 256;
/// Bytes of them that are kept: 8 KiB each.
pub const PREVIOUS_BYTES: usize = 4 * MIB;
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

/// Runs that have ended and are remembered for `agent.wait`.
pub const ENDED_RUNS: usize = 1000;
/// How long they are remembered (agent.md 3).
pub const ENDED_RUN_AGE: Duration = Duration::from_secs(600);
/// Clients that wait for runs at once.
pub const RUN_WAITERS: usize = 1024;
/// Smallest distance of two `chat` deltas of one run (agent.md 5).
pub const CHAT_DELTA: Duration = Duration::from_millis(150);
/// Bytes a second that the `agent` events of one run repeat of its text: each has the whole of it so far. A model that
/// answers in a burst (16 runs of 500 pieces in 60 ms, measured) would else close every client of protocol 3 as slow.
pub const AGENT_TEXT_RATE: u32 = 1024 * 1024;
/// How far ahead of that rate a run may be: some fifty short pieces.
pub const AGENT_TEXT_AHEAD: Duration = Duration::from_millis(48);
/// What an `agent` event is counted for besides its text.
pub const AGENT_EVENT_BYTES: usize = 512;
/// Runs waiting or working at once; a client in a loop must not fill memory.
pub const RUNS: usize = 512;
/// Stack of a run's thread: it parses model answers, which recurse.
pub const STACK_RUN: usize = 512 * KIB;
/// Model calls in one run: a model that calls tools for ever is stopped.
pub const RUN_STEPS: usize = 100;
/// `agent.wait` without a time (agent.md 3).
pub const AGENT_WAIT: Duration = Duration::from_secs(30);
/// What a run may take after its time limit before the client is answered without it.
pub const RUN_GRACE: Duration = Duration::from_secs(5);
/// What a run that was told to stop may take before it is given up; commands and models take far less.
pub const RUN_STUCK: Duration = Duration::from_secs(60);
/// How long `sessions.delete` waits for a running turn to stop, as the original does.
pub const DELETE_WAIT: Duration = Duration::from_secs(15);
/// Deletions that may wait at once.
pub const DELETIONS: usize = 64;
/// Sessions whose messages one connection may follow.
pub const FOLLOWED_SESSIONS: usize = 64;
/// Decoded bytes of one attachment (agent.md 2).
pub const ATTACHMENT_BYTES: usize = 5_000_000;
/// Attachments of one message.
pub const ATTACHMENTS: usize = 10;
/// Bytes of one message of a person: beyond any model's context, and bounded before anything is copied.
pub const PROMPT_BYTES: usize = 4 * MIB;
/// What the command line waits beyond a turn's own time limit.
pub const AGENT_ANSWER_MARGIN: Duration = Duration::from_secs(30);
/// Longest time limit a turn may be given: a day, as for `chat.send` (agent.md 5).
pub const AGENT_TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// Bytes kept of an answer that broke off: enough to read, and it never fills a page of history by itself.
pub const BROKEN_OFF_BYTES: usize = 256 * KIB;
/// Silence waited for before messages that came during a turn become the next one (agent.md 6), and the longest setting.
pub const QUEUE_DEBOUNCE: Duration = Duration::from_secs(1);
/// See [`QUEUE_DEBOUNCE`].
pub const QUEUE_DEBOUNCE_MAX: Duration = Duration::from_secs(600);
/// Messages that may wait in a session (agent.md 6), and the largest setting.
pub const QUEUE_CAP: usize = 20;
/// See [`QUEUE_CAP`].
pub const QUEUE_CAP_MAX: usize = 200;
/// Bytes of the journal of turns from which it is written anew with what is still open.
pub const JOURNAL_BYTES: usize = 4 * MIB;
/// Bytes of waiting messages from which on no other is accepted: what is acknowledged must be readable after a kill.
pub const JOURNAL_OPEN_BYTES: usize = 32 * MIB;
/// Bytes of it that are read after a start: twice what is open, and one message in which every character is escaped.
pub const JOURNAL_READ_BYTES: usize = 128 * MIB;
/// How often old sessions are looked for; the first time after the first [`SWEEP`], never at the start.
pub const SESSION_RETAIN: Duration = Duration::from_secs(3600);
/// How long sessions are kept that nobody can name again (a call of a program or a hook that names none, a job's past
/// runs): as long as the newer original keeps those of hooks, and as `usage-cost` looks back, which reads transcripts.
pub const THROWAWAY_AGE: Duration = Duration::from_secs(30 * 86_400);
/// How many of them an agent keeps, of each kind. The index is copied and written as a whole while programs wait: 1,000
/// entries are some 0.4 MB, where the 5,000 of the newer original, which has a database for them, would be 2 MB a call.
pub const THROWAWAY_SESSIONS: usize = 1000;
/// So many more begin before the oldest go without waiting for [`SESSION_RETAIN`]: a look at the index costs a call
/// this part of it.
pub const THROWAWAY_SLACK: usize = 100;
/// Files of a session folder that are looked at in one go.
pub const SESSION_FILES: usize = 100_000;
/// Characters kept of a message that no longer fits.
pub const QUEUE_LINE_CHARS: usize = 160;
/// How long changed session entries that nobody waits for may stay in memory only.
pub const SESSIONS_SAVE: Duration = Duration::from_secs(1);

/// How long an approval waits for an operator (agent.md 17).
pub const APPROVAL_WAIT: Duration = Duration::from_secs(120);
/// Longest wait a request may ask for.
pub const APPROVAL_WAIT_MAX: Duration = Duration::from_secs(3600);
/// How long a decision is remembered for callers that ask late.
pub const APPROVAL_MEMORY: Duration = Duration::from_secs(15);
/// Approvals that may wait at once; a person could not read more.
pub const APPROVALS_PENDING: usize = 64;
/// Callers that may wait for one approval.
pub const APPROVAL_WAITERS: usize = 16;
/// Characters of one text of an approval, the command line included.
pub const APPROVAL_TEXT_CHARS: usize = 16 * KIB;
/// Characters of an approval's id.
pub const APPROVAL_ID_CHARS: usize = 128;
/// Bytes of `exec-approvals.json`.
pub const APPROVALS_FILE_BYTES: usize = MIB;
/// Allowlist entries of one agent.
pub const ALLOWLIST_ENTRIES: usize = 1024;
/// Characters of one allowlist pattern: longer than any path.
pub const PATTERN_CHARS: usize = 4096;
/// Bytes of a command line; the kernel takes 128 KiB in one argument.
pub const COMMAND_BYTES: usize = 64 * KIB;
/// Words of one program call that the allowlist looks at.
pub const COMMAND_WORDS: usize = 1024;
/// Program calls of one command line that the allowlist looks at.
pub const COMMAND_SEGMENTS: usize = 64;
/// Directories of `PATH` that are searched.
pub const PATH_ENTRIES: usize = 256;

/// Places one memory search answers at most.
pub const MEMORY_RESULTS: usize = 20;

/// Time to look up a model server's name and connect, TLS included: two retransmitted SYNs.
pub const MODEL_CONNECT: Duration = Duration::from_secs(15);
/// Longest silence before an answer begins: a small board reads a long prompt for minutes (agent.md 22).
pub const MODEL_FIRST_BYTE: Duration = Duration::from_secs(300);
/// Longest silence inside an answer (agent.md 22).
pub const MODEL_BETWEEN_CHUNKS: Duration = Duration::from_secs(120);
/// Time to send a request: 20 MiB of pictures through a slow uplink.
pub const MODEL_SEND: Duration = Duration::from_secs(120);
/// Bytes of an answer's head: some proxies add a page of headers.
pub const MODEL_HEAD_BYTES: usize = 64 * KIB;
/// Bytes of a streamed answer: the longest ones (128,000 tokens, 350 bytes of framing each) have 45 MB.
pub const MODEL_STREAM_BYTES: u64 = 64 * 1024 * 1024;
/// Bytes of an answer that comes in one piece and is held in memory.
pub const MODEL_WHOLE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of one line of a stream: a tool call with a whole file in its arguments fits.
pub const MODEL_LINE_BYTES: usize = 4 * MIB;
/// Bytes of text, thoughts and arguments one answer may hold: far above any real one.
pub const MODEL_TEXT_BYTES: usize = 8 * MIB;
/// Parts (texts, thoughts, tool calls) of one answer.
pub const MODEL_PARTS: usize = 256;
/// Bytes read of an answer that reports an error.
pub const MODEL_ERROR_BYTES: u64 = 64 * 1024;
/// Time for the rest of such an answer: its status has said what matters.
pub const MODEL_ERROR_TIME: Duration = Duration::from_secs(5);
/// Characters of a provider's error text that people get to see.
pub const MODEL_ERROR_CHARS: usize = 500;
/// Tokens of context when nobody says: most remote models have at least these.
pub const MODEL_CONTEXT: u64 = 128_000;
/// Tokens of context of a local model when nobody says; also the largest `num_ctx` asked of Ollama unasked, because
/// its memory is paid for at once.
pub const MODEL_CONTEXT_LOCAL: u64 = 32_768;
/// Tokens of an answer where the wire form demands a number and nobody says.
pub const MODEL_ANSWER_TOKENS: u64 = 8192;
/// Calls of one model before the next one is tried (agent.md 22).
pub const MODEL_ATTEMPTS: u32 = 3;
/// Pause before the second call; it doubles for each further one (agent.md 22).
pub const MODEL_RETRY: Duration = Duration::from_secs(1);
/// Longest `Retry-After` that is waited for; beyond it the next model is better (agent.md 22).
pub const MODEL_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Models tried for one turn, the first included.
pub const MODEL_FALLBACKS: usize = 8;
/// Time to connect to a model server on loopback while looking for one: it answers at once or is not there.
pub const DISCOVERY_CONNECT: Duration = Duration::from_millis(300);
/// Time for one answer while looking for a local model server.
pub const DISCOVERY_ANSWER: Duration = Duration::from_millis(1500);
/// How long a server that was found is used before it is looked for again: people load another model now and then.
pub const DISCOVERY_AGE: Duration = Duration::from_secs(600);
/// Milliseconds between two notes in the profiles file that an account was used.
pub const PROFILE_USED_MS: u64 = 600_000;
/// Bytes of one such answer: Ollama's description of a model carries its licence.
pub const DISCOVERY_BYTES: u64 = 1024 * 1024;
/// Texts of one request for embeddings (http.md 7).
pub const EMBED_TEXTS: usize = 128;
/// Characters of one such text, counted as JavaScript does (http.md 7).
pub const EMBED_TEXT_CHARS: usize = 8192;
/// Characters of all texts of one request (http.md 7).
pub const EMBED_CHARS: usize = 65_536;
/// Texts of one call of a server: with the longest vectors its answer stays below [`JSON_VALUES`].
pub const EMBED_BATCH: usize = 24;
/// Bytes of the texts of one call: some providers take 16,384 tokens at once, and a token has at least two bytes.
pub const EMBED_BATCH_BYTES: usize = 32 * KIB;
/// Numbers of a vector: twice what today's longest have.
pub const EMBED_DIMENSIONS: usize = 8192;
/// Time for a whole request for embeddings, with its retries: a small board needs a minute for a hundred pages.
pub const EMBED_TIME: Duration = Duration::from_secs(120);
/// Requests for embeddings that are worked on at once; others wait. Each holds up to 30 MiB.
pub const EMBED_AT_ONCE: usize = 8;
/// Models whose tokens are counted apart in `/metrics`; the rest share a place.
pub const METRIC_MODELS: usize = 32;
/// Models of a local server that are asked for their abilities.
pub const DISCOVERY_MODELS: usize = 8;
/// Bytes of a file of CA certificates; the usual bundle has 220 KiB.
pub const CA_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of an `auth-profiles.json`.
pub const AUTH_PROFILES_BYTES: usize = MIB;
/// Bytes of output of a command that stands for a model.
pub const BACKEND_OUTPUT_BYTES: usize = 16 * MIB;
/// Bytes kept of its error output.
pub const BACKEND_ERROR_BYTES: usize = 64 * KIB;
/// Bytes of a prompt given as an argument: Linux allows 128 KiB for one.
pub const BACKEND_ARGUMENT_BYTES: usize = 100 * KIB;
/// Time between SIGTERM and SIGKILL for such a command.
pub const BACKEND_GRACE: Duration = Duration::from_secs(2);
/// Characters that one token stands for when a share of a context is turned into text: low, so that the share holds
/// for code and for languages with short tokens as well.
pub const TOKEN_CHARS: u64 = 3;
/// Share of the model's context that one result of a tool may take (agent.md 15).
pub const TOOL_RESULT_PERCENT: u64 = 30;
/// A result of a tool is never cut below this: a model with a tiny or unknown context must still see something.
pub const TOOL_RESULT_MIN_BYTES: usize = 4 * KIB;
/// A result of a tool is never longer than this, however large the context.
pub const TOOL_RESULT_BYTES: usize = 400_000;
/// Names of one allow or deny list; real ones have a dozen.
pub const POLICY_NAMES: usize = 256;

/// Lines that one `read` shows (agent.md 15).
pub const READ_LINES: usize = 2000;
/// Bytes that one `read` shows (agent.md 15).
pub const READ_BYTES: usize = 50 * KIB;
/// Bytes that one `read` goes through to reach its first line.
pub const READ_SCAN_BYTES: usize = 64 * MIB;
/// Bytes of an image that a tool hands to the model: what providers take.
pub const TOOL_IMAGE_BYTES: usize = 5_000_000;
/// Base64 of the pictures a run keeps and sends along: four of the largest, and below the 32 MB that providers take.
pub const CONTEXT_PICTURE_BYTES: usize = 26 * MIB;
/// Bytes of one `write`.
pub const WRITE_BYTES: usize = 16 * MIB;
/// Bytes of a file that `edit` and `apply_patch` change; it is held in memory twice.
pub const EDIT_BYTES: usize = 8 * MIB;
/// Bytes of a patch.
pub const PATCH_BYTES: usize = 4 * MIB;
/// Files of a patch.
pub const PATCH_FILES: usize = 256;
/// Bytes compared while the hunks of one file are fitted: some tenths of a second.
pub const PATCH_STEPS: usize = 64 * MIB;
/// Bytes of all files a patch writes: they are held in memory until all parts fit.
pub const PATCH_TOTAL_BYTES: usize = 32 * MIB;

/// Rows of `sessions_list` and `sessions_history` without a wish.
pub const TOOL_SESSION_ROWS: usize = 20;
/// Largest wish.
pub const TOOL_SESSION_ROWS_MAX: usize = 200;
/// How long `sessions_send` waits for an answer without a wish.
pub const SESSION_SEND_WAIT: Duration = Duration::from_secs(30);
/// Longest wish: the run's own limit usually ends it before.
pub const SESSION_SEND_WAIT_MAX: Duration = Duration::from_secs(600);

/// How long the outputs of an ended program may stay open before what holds them counts as left behind.
pub const CHILD_DRAIN: Duration = Duration::from_millis(200);
/// Pieces of input waiting for a program that does not read.
pub const CHILD_INPUT_QUEUE: usize = 16;
/// Steps of one path, links included: deeper trees are built to break something.
pub const PATH_STEPS: usize = 256;
/// Time limit of a command without a wish (agent.md 7).
pub const EXEC_TIMEOUT: Duration = Duration::from_secs(1800);
/// Longest wish: what should run longer is a service.
pub const EXEC_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// How long `exec` waits before a command goes on in the background (agent.md 15).
pub const EXEC_YIELD: Duration = Duration::from_secs(10);
/// Longest wish; the run's own limit usually ends it before.
pub const EXEC_YIELD_MAX: Duration = Duration::from_secs(1800);
/// Time between TERM and KILL: an editor or database writes its files in it.
pub const EXEC_GRACE: Duration = Duration::from_secs(2);
/// Smallest distance of two partial results of one command, as that of `chat` deltas.
pub const EXEC_UPDATE: Duration = Duration::from_millis(150);
/// Bytes of output in a partial result.
pub const EXEC_PARTIAL_BYTES: usize = 4 * KIB;
/// Bytes kept of the beginning of a command's output.
pub const EXEC_HEAD_BYTES: usize = 64 * KIB;
/// Bytes kept of its end, where errors stand.
pub const EXEC_TAIL_BYTES: usize = 128 * KIB;
/// Bytes of output in a result's details, which go into transcripts and events a second time.
pub const EXEC_DETAILS_BYTES: usize = 32 * KIB;
/// Commands in the background at once, ended ones included: at most 6 MiB of output.
pub const BACKGROUND_JOBS: usize = 32;
/// Longest wait of one `process poll`.
pub const POLL_WAIT: Duration = Duration::from_secs(30);
/// Lines that `process log` shows without a wish.
pub const LOG_LINES: usize = 200;
/// Bytes of one `process write`; the queue holds sixteen of them.
pub const PROCESS_WRITE_BYTES: usize = 64 * KIB;
/// Characters of a variable's name.
pub const VARIABLE_CHARS: usize = 256;
/// Characters of the label of a call.
pub const META_CHARS: usize = 120;

/// Bytes of a page that are read.
pub const WEB_BYTES: usize = 2 * MIB;
/// Bytes of a page's text without a setting.
pub const WEB_CHARS: usize = 50_000;
/// Largest setting.
pub const WEB_CHARS_MAX: usize = 400_000;
/// Bytes of an address.
pub const WEB_URL_BYTES: usize = 8 * KIB;
/// Redirects followed.
pub const WEB_REDIRECTS: usize = 5;
/// Time for one fetch, redirects included.
pub const WEB_TIME: Duration = Duration::from_secs(30);
/// Time to look up a name and connect.
pub const WEB_CONNECT: Duration = Duration::from_secs(10);
/// Longest silence of a server.
pub const WEB_SILENCE: Duration = Duration::from_secs(15);

/// Places a memory search answers without a wish.
pub const MEMORY_DEFAULT: usize = 6;
/// Characters of one found place (agent.md 27).
pub const MEMORY_SNIPPET: usize = 700;
/// Files of the memory that are searched.
pub const MEMORY_FILES: usize = 1024;
/// Folders below `memory/`.
pub const MEMORY_DEPTH: usize = 4;
/// Bytes of one file of the memory that are searched.
pub const MEMORY_FILE_BYTES: usize = 256 * KIB;
/// Bytes of the whole memory that are searched: some tenths of a second on a small board.
pub const MEMORY_BYTES: usize = 8 * MIB;
/// Different words of one query.
pub const MEMORY_TERMS: usize = 32;
/// Rows of `sessions.list` when the caller names no limit, and at most.
pub const SESSION_ROWS: usize = 200;
/// See [`SESSION_ROWS`].
pub const SESSION_ROWS_MAX: usize = 10_000;
/// Longest time a tool waits for the gateway; the tools' own steps are shorter.
pub const TOOL_ANSWER_MAX: Duration = Duration::from_secs(3600);

/// Jobs in the schedule: its file is written whole at each change.
pub const CRON_JOBS: usize = 500;
/// Bytes of the schedule's file from which no job is added or changed: it is written whole at each change.
pub const CRON_FULL_BYTES: usize = 4 * MIB;
/// Bytes of the schedule's file that are read: a full one has grown by the errors of its jobs' last runs, and not more.
pub const CRON_STORE_BYTES: usize = 16 * MIB;
/// Bytes of a cron expression.
pub const CRON_EXPRESSION_BYTES: usize = 256;
/// Months in which an expression is looked for: the rarest one (a leap day on a weekday, over a century's turn) needs
/// forty years.
pub const CRON_SEARCH_MONTHS: u32 = 12 * 60;
/// Time zones kept in memory.
pub const CRON_ZONES: usize = 64;
/// Shortest interval; a shorter one of a stored job counts as this.
pub const CRON_EVERY_MS: u64 = 1000;
/// How far ahead a one-time job may lie, as the original.
pub const CRON_AHEAD_YEARS: u64 = 10;
/// Missed runs are counted up to this.
pub const CRON_COUNTED: u32 = 1000;
/// A run that begins later than this was missed: a restart takes a second, a look at the clock a minute.
pub const CRON_LATE: Duration = Duration::from_secs(120);
/// The clock is looked at this often while a job waits, so that a change of it is seen (as the original).
pub const CRON_STEP: Duration = Duration::from_secs(60);
/// A clock that goes back less than this repeats no run.
pub const CRON_BACK: Duration = Duration::from_secs(3600);
/// Characters of a job's name.
pub const CRON_NAME_CHARS: usize = 200;
/// Characters of its description.
pub const CRON_DESCRIPTION_CHARS: usize = 2000;
/// Characters of what it says to an agent.
pub const CRON_MESSAGE_CHARS: usize = 16 * KIB;
/// Time of a job's turn without a wish, as the original.
pub const CRON_TIMEOUT: Duration = Duration::from_secs(600);
/// Characters of a run's answer and error that are kept, as the original.
pub const CRON_SUMMARY_CHARS: usize = 2000;
/// Pauses after failures in a row; the last one stays (as the original).
pub const CRON_BACKOFF_MS: [u64; 5] = [30_000, 60_000, 300_000, 900_000, 3_600_000];
/// Bytes of a job's run log from which it is cut, as the original.
pub const CRON_LOG_BYTES: usize = 2_000_000;
/// Lines that stay then, as the original.
pub const CRON_LOG_LINES: usize = 2000;
/// Run logs; the oldest go first.
pub const CRON_LOGS: usize = 2000;
/// Runs that are answered without a wish, and at most.
pub const CRON_RUNS: usize = 200;
/// See [`CRON_RUNS`].
pub const CRON_RUNS_MAX: usize = 5000;
/// Pauses before each time a run is posted to a webhook: a receiver that restarts is back by then.
pub const CRON_POST_PAUSES: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(4)];
/// Jobs of one page.
pub const CRON_PAGE: usize = 200;
