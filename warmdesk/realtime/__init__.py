"""The centre. Read it in this order:

=================  ==============================================================================
``events.py``      the catalogue: every event and signal of the protocol, a line each
``channels.py``    the names events are sent to: ``project:42``, ``user:7``, ``control``
``change.py``      a transaction and the events it makes; published after the commit
``feed.py``        the numbered events of a channel in PostgreSQL: why not only pub/sub
``observers.py``   how a part below tells parts above what happens, without knowing them
``bus.py``         Redis pub/sub between processes: makes delivery instant, never certain
``sentinels.py``   which Redis is the primary, where several stand ready
``room.py``        one channel as this process sees it: who follows, what was delivered last
``roster.py``      all sockets of a process; ``sweeper.py``: the one clock that looks after them
``hub.py``         all rooms: from the bus to the sockets, in order, exactly once; catch-up
``waiting.py``     requests that wait for a room's next event
``resume.py``      how one connection comes from what it has seen to where its room is
``counts.py``      how many cards there are, for who was told of events whose text is gone
``frames.py``      RFC 6455 frames, built once per event
``connection.py``  one socket after its handshake: frames in, frames out; ``flood.py``: its limit;
                   ``socket_buffers.py``: what waits on its way out
``handshake.py``   how a socket begins: taken over from aiohttp, or from ``handshake_reader.py``
``people.py``      who people are: the UserRefs that sockets are shown
``leases.py``      the leases in Redis by which people are present (``presence.lua`` is one turn)
``presence.py``    who is here: joins and leaves from the leases; ``presence_frames.py``: how told
``control.py``     follows the control feed: forgets caches, ends sockets
=================  ==============================================================================
"""
