"""HTTP, as every resource uses it: routes and what they promise, requests and answers, the
connection below them.

``routing.py``      @route: what an operation takes, who may ask it, what it answers
``request.py``      what a handler finds in its request
``body.py``         JSON bodies: read, decoded, refused with the name of the field
``query.py``        query strings
``answers.py``      responses
``views.py``        what of a board a query asks for
``pages.py``        lists in pages: cursors, and the ``Link`` to the next page
``router.py``       a request's path to its handler
``middleware.py``   around each handler: errors, request id, headers, limits, figures
``bounds.py``       what connections, bodies and unread answers may hold together
``protocol.py``     one connection, as aiohttp serves it
``documents.py``    files that are sent as they are
"""
