_base_ = "./dvt-t2t-12_in1k.py"

# No reuse between exits, as an ablation of feature and relation reuse.
model = dict(backbone=dict(feature_reuse=False, relation_reuse=False))
