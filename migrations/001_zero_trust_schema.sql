-- The accounts of a card board that trusts no request by itself, and the board. Passwords and
-- tokens are kept as hashes only; each session and each attempt to log in leaves a row, so that
-- whoever looks at an incident can tell who came from where. Times are UTC, in seconds since 1970.

-- migrate:up

CREATE TABLE users (
    id            INTEGER PRIMARY KEY,
    email         TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    display_name  TEXT    NOT NULL DEFAULT '',
    password_hash TEXT    NOT NULL CHECK (length(password_hash) >= 32),
    role          TEXT    NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'member', 'guest')),
    status        TEXT    NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'locked', 'closed')),
    created_at    INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    updated_at    INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    CHECK (email LIKE '%_@_%')
);

CREATE INDEX idx_users_status ON users (status) WHERE status <> 'active';

-- One row a device that is logged in. A session that ended keeps its row: revoked_at says when.
CREATE TABLE user_sessions (
    id           INTEGER PRIMARY KEY,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash   TEXT    NOT NULL UNIQUE CHECK (length(token_hash) = 64),
    address      TEXT    NOT NULL DEFAULT '',
    user_agent   TEXT    NOT NULL DEFAULT '',
    created_at   INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    last_seen_at INTEGER,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    CHECK (expires_at > created_at),
    CHECK (last_seen_at IS NULL OR last_seen_at >= created_at)
);

CREATE INDEX idx_user_sessions_user ON user_sessions (user_id, expires_at);

-- A refresh token is used once and replaced by the next one of its family. A used token that comes
-- again was stolen: the whole family is revoked then, which is what the index on it is for.
CREATE TABLE refresh_tokens (
    id          INTEGER PRIMARY KEY,
    user_id     INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id  INTEGER NOT NULL REFERENCES user_sessions (id) ON DELETE CASCADE,
    family      TEXT    NOT NULL,
    token_hash  TEXT    NOT NULL UNIQUE CHECK (length(token_hash) = 64),
    replaced_by INTEGER REFERENCES refresh_tokens (id) ON DELETE SET NULL,
    created_at  INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    expires_at  INTEGER NOT NULL,
    used_at     INTEGER,
    revoked_at  INTEGER,
    CHECK (expires_at > created_at),
    CHECK (replaced_by IS NULL OR replaced_by <> id)
);

CREATE INDEX idx_refresh_tokens_session ON refresh_tokens (session_id);
CREATE INDEX idx_refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX idx_refresh_tokens_expiry ON refresh_tokens (expires_at) WHERE revoked_at IS NULL;

-- What a new password may not be equal to.
CREATE TABLE password_history (
    id            INTEGER PRIMARY KEY,
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    password_hash TEXT    NOT NULL CHECK (length(password_hash) >= 32),
    changed_at    INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    changed_by    TEXT    NOT NULL DEFAULT 'user' CHECK (changed_by IN ('user', 'reset', 'operator'))
);

CREATE INDEX idx_password_history_user ON password_history (user_id, changed_at);

-- Also for addresses that have no account: user_id is NULL then, and the answer to the person is
-- the same in both cases.
CREATE TABLE login_attempts (
    id           INTEGER PRIMARY KEY,
    user_id      INTEGER REFERENCES users (id) ON DELETE SET NULL,
    email        TEXT    NOT NULL COLLATE NOCASE,
    address      TEXT    NOT NULL,
    succeeded    INTEGER NOT NULL DEFAULT 0 CHECK (succeeded IN (0, 1)),
    reason       TEXT    NOT NULL DEFAULT '',
    attempted_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
);

CREATE INDEX idx_login_attempts_email ON login_attempts (email, attempted_at);
CREATE INDEX idx_login_attempts_address ON login_attempts (address, attempted_at);

CREATE TABLE workspaces (
    id         INTEGER PRIMARY KEY,
    name       TEXT    NOT NULL CHECK (length(name) > 0),
    owner_id   INTEGER REFERENCES users (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
);

CREATE TABLE cards (
    id           INTEGER PRIMARY KEY,
    workspace_id INTEGER NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    title        TEXT    NOT NULL CHECK (length(title) > 0),
    body         TEXT    NOT NULL DEFAULT '',
    position     INTEGER NOT NULL DEFAULT 0 CHECK (position >= 0),
    created_at   INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER))
);

-- migrate:down

DROP TABLE cards;
DROP TABLE workspaces;
DROP TABLE login_attempts;
DROP TABLE password_history;
DROP TABLE refresh_tokens;
DROP TABLE user_sessions;
DROP TABLE users;
