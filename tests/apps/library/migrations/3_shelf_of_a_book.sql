-- migrate:up
ALTER TABLE books ADD COLUMN shelf TEXT NOT NULL DEFAULT 'A1';

-- migrate:down
ALTER TABLE books DROP COLUMN shelf;
