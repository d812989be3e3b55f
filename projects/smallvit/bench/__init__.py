"""The bench of ``tools/small_data_bench.py``: which method helps on these images?

``methods`` says what can be compared, ``recipe`` makes the config of a run, ``plan`` decides
what is trained and for how long, ``scheduler`` does it in several processes, ``results``,
``table``, ``plots`` and ``report`` say what came out. ``worker`` is the only module that imports
torch: it runs in the child processes.
"""
