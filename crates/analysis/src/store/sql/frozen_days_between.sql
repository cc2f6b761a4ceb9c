select day from frozen_days where source = $1 and day >= $2 and day <= $3 order by day
