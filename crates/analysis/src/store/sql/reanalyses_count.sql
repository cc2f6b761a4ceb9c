select count(*) from reanalyses
