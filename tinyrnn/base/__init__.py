"""Room 1, the ground: errors, version, devices, files and the cache folder, threads. It imports nothing of
tinyrnn.
"""
