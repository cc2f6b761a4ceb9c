DELETE FROM cursors WHERE segment = $1
