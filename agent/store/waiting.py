"""What waits, listed and counted as it comes and goes: the tables and triggers of a migration.

Nobody has to look for it in the whole log, so that a unit which was away for months shows its
figures, and finds its next picture, as quickly as one of yesterday (decision 0045).
"""

SQL = """
-- Of each record whose picture or recording the centre doesn't hold whole: one row a blob. There
-- is one destination; a second one needs its own rows.
CREATE TABLE blob_due (
    lane       TEXT NOT NULL,
    seq        INTEGER NOT NULL,
    epoch      TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    PRIMARY KEY (lane, seq, epoch, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_due_by_blob ON blob_due (sha256);
INSERT OR IGNORE INTO blob_due (lane, seq, epoch, sha256)
    SELECT lane, seq, epoch, sha256 FROM record_blob
    WHERE sha256 NOT IN (SELECT sha256 FROM blob_settled WHERE complete = 1);

CREATE TRIGGER record_blob_comes AFTER INSERT ON record_blob
WHEN NOT EXISTS (SELECT 1 FROM blob_settled WHERE sha256 = NEW.sha256 AND complete = 1)
BEGIN
    INSERT OR IGNORE INTO blob_due (lane, seq, epoch, sha256)
    VALUES (NEW.lane, NEW.seq, NEW.epoch, NEW.sha256);
END;
CREATE TRIGGER record_blob_moves AFTER UPDATE OF epoch, seq ON record_blob
BEGIN
    UPDATE OR REPLACE blob_due SET epoch = NEW.epoch, seq = NEW.seq
    WHERE lane = OLD.lane AND seq = OLD.seq AND epoch = OLD.epoch AND sha256 = OLD.sha256;
END;
CREATE TRIGGER record_blob_goes AFTER DELETE ON record_blob
BEGIN
    DELETE FROM blob_due
    WHERE lane = OLD.lane AND seq = OLD.seq AND epoch = OLD.epoch AND sha256 = OLD.sha256;
END;
CREATE TRIGGER blob_settled_comes AFTER INSERT ON blob_settled WHEN NEW.complete = 1
BEGIN
    DELETE FROM blob_due WHERE sha256 = NEW.sha256;
END;
CREATE TRIGGER blob_settled_turns AFTER UPDATE OF complete ON blob_settled
WHEN NEW.complete <> OLD.complete
BEGIN
    DELETE FROM blob_due WHERE sha256 = NEW.sha256 AND NEW.complete = 1;
    INSERT OR IGNORE INTO blob_due (lane, seq, epoch, sha256)
    SELECT lane, seq, epoch, sha256 FROM record_blob
    WHERE sha256 = NEW.sha256 AND NEW.complete = 0;
END;
CREATE TRIGGER blob_settled_goes AFTER DELETE ON blob_settled WHEN OLD.complete = 1
BEGIN
    INSERT OR IGNORE INTO blob_due (lane, seq, epoch, sha256)
    SELECT lane, seq, epoch, sha256 FROM record_blob WHERE sha256 = OLD.sha256;
END;

-- Counted as they come and go: a tray may hold whatever was read while nobody was signed in.
CREATE TABLE tally (
    name       TEXT PRIMARY KEY,
    count      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO tally SELECT 'tray', count(*) FROM tray WHERE assigned_by IS NULL;
CREATE TRIGGER tray_fills AFTER INSERT ON tray WHEN NEW.assigned_by IS NULL
BEGIN
    UPDATE tally SET count = count + 1 WHERE name = 'tray';
END;
CREATE TRIGGER tray_empties AFTER DELETE ON tray WHEN OLD.assigned_by IS NULL
BEGIN
    UPDATE tally SET count = count - 1 WHERE name = 'tray';
END;
CREATE TRIGGER tray_is_sorted AFTER UPDATE OF assigned_by ON tray
WHEN (NEW.assigned_by IS NULL) <> (OLD.assigned_by IS NULL)
BEGIN
    UPDATE tally SET count = count + iif(NEW.assigned_by IS NULL, 1, -1) WHERE name = 'tray';
END;

-- What a look at the clock asks for, and a device that sends nonsense for weeks.
CREATE INDEX record_adjusting ON record (boot) WHERE kind = 'clock-adjusted';
CREATE INDEX record_doubted ON record (boot) WHERE clock <> 'synchronised';
DROP INDEX frame_quarantined;
CREATE INDEX frame_quarantined ON frame (reason, frame) WHERE outcome = 'quarantined';
"""
