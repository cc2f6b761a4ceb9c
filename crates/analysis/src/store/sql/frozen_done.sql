update frozen_days set pending = 0 where source = $1 and day = $2
