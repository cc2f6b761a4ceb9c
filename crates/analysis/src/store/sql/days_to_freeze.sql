select stored_days.day, stored_days.last_stored_at
from stored_days left join frozen_days on frozen_days.source = stored_days.source and frozen_days.day = stored_days.day
where stored_days.source = $1 and stored_days.day <= $2 and stored_days.last_stored_at <= $3 and frozen_days.day is null
order by stored_days.day
