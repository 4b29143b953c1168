-- migrate:up
ALTER TABLE loans ADD COLUMN reminders INTEGER NOT NULL DEFAULT 0;

CREATE TABLE reminder_log (loan INTEGER NOT NULL REFERENCES loans (id), sent TEXT NOT NULL);

CREATE TRIGGER remember_reminders AFTER UPDATE OF reminders ON loans
WHEN NEW.reminders > OLD.reminders
BEGIN
    INSERT INTO reminder_log (loan, sent) VALUES (NEW.id, datetime('now'));
END;

-- migrate:down
DROP TRIGGER remember_reminders;
DROP TABLE reminder_log;
ALTER TABLE loans DROP COLUMN reminders;
