select day from frozen_days where source = $1 and pending = 1 order by day
