"""The bench of ``tools/small_data_bench.py``: which method helps on these images?

``methods`` says what can be compared, ``sizes`` how wide its networks are, ``recipe`` makes the
config of a run, ``plan`` decides what is trained and for how long, ``search`` chooses learning
rates and ``flat`` what goes on; ``scheduler`` does the ``jobs`` in several processes. ``results``,
``chance``, ``comparisons``, ``verdict``, ``best``, ``table``, ``plots`` and ``report`` say what
came out. ``worker``, ``training``, ``hooks``, ``looking`` and ``measuring``, which import torch,
run in the child processes.
"""
