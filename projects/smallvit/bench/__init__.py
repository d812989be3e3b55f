"""The bench of ``tools/small_data_bench.py``: which method helps on these images?

``run`` contains the steps of a bench and ``planning`` the decisions before the first run.
``methods`` defines the methods, ``sizes`` the widths of the networks, ``recipe`` the
config of a run, ``plan`` the runs and their lengths; ``search`` selects learning
rates and ``flat`` the runs to extend; ``scheduler`` runs the ``jobs`` in several processes.
``results``, ``chance``, ``comparisons``, ``verdict``, ``best``, ``table``, ``plots`` and ``report``
evaluate and present the results. ``worker``, ``training``, ``hooks``, ``looking`` and
``measuring``, which import torch, run in the child processes.
"""
