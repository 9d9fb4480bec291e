"""Links from receipt items to catalog items: pool, scorer, acceptance."""
