-- migrate:up
CREATE TABLE books (
    isbn  TEXT PRIMARY KEY,
    title TEXT NOT NULL
);
INSERT INTO books (isbn, title) VALUES
    ('978-0131103627', 'The C Programming Language'),
    ('978-0201633467', 'TCP/IP Illustrated, Volume 1');

-- migrate:down
DROP TABLE books;
