delete from frozen_days where source = $1
