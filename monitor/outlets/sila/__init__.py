"""The live interface for picking hardware: SiLA 2, beside the files in the picker's folder.

An extra of its own, colonywatch[sila]. `server` is the only user of the library; what the server
offers is written down in the ``*.sila.xml`` files here, which clients get from the server itself.
"""
