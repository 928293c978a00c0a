"""What changes rows: functions that a statement of sql/queries/ calls.

Some set ``plan_cache_mode`` and turn scans and joins off. Their statements are planned once a
session, perhaps while a table is empty, and the plan is kept when it holds millions of rows: so it
goes by indexes, whatever PostgreSQL believes of the table's size. A function that joins such tables
turns all five off, one that looks into a table at a time the scans only. A new function over tables
that grow does the same.
"""
