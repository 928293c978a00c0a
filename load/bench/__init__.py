"""How fast WarmDesk is, beside other servers: ``bin/bench all``.

What is measured
  The first figure is CPU time per unit of work: user and system time of every process of a server,
  its Redis and its PostgreSQL, after minus before. It depends neither on the loader nor, much, on
  what else the machine does. Memory is a slope: a tenth of the sockets stays open, then come the
  others. Times are read from a mark in each event.
How
  The loader is a process of its own, which counts frames and decodes nothing. Peers run in the same
  command, interleaved, at least two rounds; figures are medians, and what counts is their ratio. A
  peer that is not installed makes a goal "not measured".
Who
  Peers are short honest programs in `load.peers`. WarmDesk runs with everything on: tokens,
  memberships, presence, order, feeds on disk, metrics, logs; only its rate limits are off.

`goals` says how fast is fast enough; `viewing`, `asking` and `uploading` hold the
scenarios, `browsing` that of the page in a browser.
"""
