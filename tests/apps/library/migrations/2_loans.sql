-- migrate:up
CREATE TABLE loans (
    id         INTEGER PRIMARY KEY,
    isbn       TEXT NOT NULL REFERENCES books (isbn),
    "due date" TEXT NOT NULL,
    reader     TEXT NOT NULL CHECK (reader <> '; DROP')
);
CREATE INDEX "loans by due date" ON loans ("due date");

-- migrate:down
DROP TABLE loans;
