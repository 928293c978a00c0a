"""Backups: the whole installation in one file, made while people write, and put back whole.

``archive.py``   the file: a tar of pieces, its manifest, its checksums
``age.py``       the same under a passphrase, so that an age tool opens it without us
``directory.py`` where backups are kept: names, the list, what is pruned
``making.py``    a snapshot of the database and the files, as an archive
``keeping.py``   the same into the directory, noted and mailed, and the oldest go
``restoring.py`` an archive becomes the installation, in one transaction
``verifying.py`` a backup is tried out in a database aside
"""
