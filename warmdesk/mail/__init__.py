"""Mail: words in the reader's language (`words`), letters made of them (`letters`), and the way to
the mail server (`postman`). What waits to be sent stands in PostgreSQL: see `warmdesk.jobs.mail`.
"""
