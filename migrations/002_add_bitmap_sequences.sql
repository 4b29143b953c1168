-- A card carries the bit of its place, so that a board can say with one AND over its cards which
-- places are taken. 63 bits, because SQLite's integers are signed.

-- automigrate:depends 001
-- migrate:up

ALTER TABLE cards ADD COLUMN card_bitmap INTEGER NOT NULL DEFAULT 0;

CREATE INDEX idx_cards_workspace ON cards (workspace_id, position);

-- Cards that were there before get the bit that the trigger would have given them.
UPDATE cards SET card_bitmap = 1 << (position % 63);

-- An application that computes the bitmap itself is left alone.
CREATE TRIGGER auto_calculate_card_bitmap
AFTER INSERT ON cards
FOR EACH ROW
WHEN NEW.card_bitmap = 0
BEGIN
    UPDATE cards SET card_bitmap = 1 << (NEW.position % 63) WHERE id = NEW.id;
END;

-- migrate:down

DROP TRIGGER auto_calculate_card_bitmap;
DROP INDEX idx_cards_workspace;
ALTER TABLE cards DROP COLUMN card_bitmap;
