"""Checkers: each watches one promise while people work and things break, and says what broke it.

A checker is fed with what its side of the world saw; it collects sentences in `broken`, so that one
run tells everything that went wrong. Journeys and ``bin/soak`` use the same ones, and each is
proved by a test that breaks the product on purpose and expects it to cry.

=============  ====================================================================================
``ledger``     what was answered with success or ``ack`` is stored, once, in its last form
``streams``    each socket gets 1, 2, 3 …: nothing lost, doubled or swapped, and what the feed has
``mirror``     following the frames equals fetching again; ``parts``: also what hangs on cards;
               ``client_boards``: and the reference client's boards show the same
``presence``   who is shown present has a socket open, and nobody else
``stranger``   who is no member hears and reads nothing
``private``    conversations and notifications are told to whom they are for, all of them, and to
               nobody else; ``journal`` keeps who was in what when
``unread``     what counts say is what a recount of the tables says
``revoked``    who lost a right hears nothing after
``logs``       the logs have no traceback and no secret
=============  ====================================================================================

``cry.py`` is what they have in common; ``ears.py`` lets them hear a person's socket in a test.
"""
