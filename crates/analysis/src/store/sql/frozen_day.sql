select frozen_at from frozen_days where source = $1 and day = $2
